//! The same work once: a job whose tenant has had the very same made before takes
//! that output. Its own source was sent all the same, and is kept until it has
//! succeeded: where the other job's bytes are gone by then, it is made like any other.
//! Each job has bytes of its own, so that either may be deleted.

use crate::{
    job_index::ResultKey,
    limits::REUSE_LEVEL,
    rows::{Job, JobState},
    state::State,
};

/// The output that a job takes, and whose it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reuse {
    /// The job that made it.
    #[prost(string, tag = "1")]
    pub job: String,
    /// What its homes are to have; empty once the job has succeeded, as its own row
    /// says it then.
    #[prost(string, tag = "2")]
    pub index_hash: String,
    #[prost(string, tag = "3")]
    pub output_hash: String,
    #[prost(string, tag = "4")]
    pub proof_hash: String,
}

/// Answers the offer of an output, which a job was made when its source was sealed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DecideReuse {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The job whose output was offered.
    #[prost(string, tag = "2")]
    pub of: String,
    /// Whether it is taken; else the job is analysed.
    #[prost(bool, tag = "3")]
    pub taken: bool,
}

impl Job {
    /// The output that it may take, while that is not decided.
    pub fn offer(&self) -> Option<&Reuse> {
        let open = self.state() == JobState::Analyzing;
        self.reuse.as_ref().filter(|_| open)
    }

    /// Whether another job's output is the very one that this one would make under
    /// its build: source, spec and tenant are the same.
    pub(crate) fn is_made_by(&self, other: &Job) -> bool {
        other.state() == JobState::Succeeded
            && (&self.tenant, &self.source_root, self.source_bytes)
                == (&other.tenant, &other.source_root, other.source_bytes)
            && self.spec == other.spec
            && ![&other.index_hash, &other.output_hash, &other.proof_hash]
                .iter()
                .any(|hash| hash.is_empty())
    }
}

impl State {
    /// The output of an equal job of the same tenant, the latest if there are several.
    pub(crate) fn made_before(&self, job: &Job) -> Option<Reuse> {
        if self.feature_level() < REUSE_LEVEL {
            return None;
        }
        let age = self.index.latest_result(ResultKey::of(job))?;
        let other = self.job_at(age)?;
        let other = Some(&other.job).filter(|other| job.is_made_by(other))?;
        Some(Reuse {
            job: other.id.clone(),
            index_hash: other.index_hash.clone(),
            output_hash: other.output_hash.clone(),
            proof_hash: other.proof_hash.clone(),
        })
    }
}
