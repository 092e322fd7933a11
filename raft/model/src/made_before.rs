//! Which outputs are the very ones that a job would make: see [`Reuse`].

use crate::{
    job_index::ResultKey,
    limits::REUSE_LEVEL,
    reuse::Reuse,
    rows::{Job, JobState},
    state::State,
};

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
            && self.spec.as_made() == other.spec.as_made()
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
