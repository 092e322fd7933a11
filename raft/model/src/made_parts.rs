//! Which parts of a job were made before: see [`KeptParts`].

use std::sync::Arc;

use crate::{
    job_entry::JobEntry,
    kept_parts::{KeptPart, KeptParts},
    limits::SAME_SOURCE_JOBS_MAX,
    rows::{Job, Task, TaskState},
    state::State,
};

impl State {
    /// The kept parts of a job, if there are any.
    pub fn kept_parts(&self, job: &str) -> Option<&Arc<KeptParts>> {
        self.shelf.get(job)
    }

    /// Whether shards of a job that is about to be uploaded may well be there already,
    /// so that work on it had better wait for the seal.
    pub(crate) fn may_be_made(&self, job: &Job) -> bool {
        self.shelf.has_like(job.likeness())
    }

    /// The jobs that may have made parts of a job before, to be asked for each.
    pub(crate) fn made_parts_for(&self, job: &Job) -> MadeParts {
        if !job.shares_parts {
            return MadeParts::default();
        }
        let source = job.source_key();
        let kept = self.shelf.of_source(source);
        let own = (&job.tenant, &job.source_root, &job.build);
        let kept = kept.filter(|row| (&row.tenant, &row.source_root, &row.build) == own);
        let current = self.index.planned_of(source).filter_map(|age| {
            let entry = self.at_age(age)?;
            let other = &entry.job;
            let same = (&other.tenant, &other.source_root, &other.build) == own;
            (same && other.shares_parts && other.id != job.id).then(|| entry.clone())
        });
        MadeParts {
            kept: kept.take(SAME_SOURCE_JOBS_MAX).cloned().collect(),
            current: current.take(SAME_SOURCE_JOBS_MAX).collect(),
        }
    }
}

/// Where parts of a job may be found.
#[derive(Default)]
pub(crate) struct MadeParts {
    kept: Vec<Arc<KeptParts>>,
    current: Vec<Arc<JobEntry>>,
}

impl MadeParts {
    /// The part that a task would make, and the job that has it.
    pub fn find(&self, task: &Task) -> Option<(KeptPart, &str)> {
        let (key, made_by) = (task.key(), task.made_by());
        // A shard that is reopened must give what it gave before.
        let fresh = task.state() == TaskState::Pending && task.hash.is_empty();
        let fresh = fresh && task.claim.is_none();
        if !fresh || made_by.is_empty() {
            return None;
        }
        let kept = self.kept.iter().find_map(|row| {
            let at = row.parts.binary_search_by_key(&key, KeptPart::task).ok()?;
            let part = &row.parts[at];
            (part.made_by == made_by).then(|| (part.clone(), row.job.as_str()))
        });
        let current = || {
            self.current.iter().find_map(|entry| {
                let other = entry.tasks.get(&key)?;
                let done = other.state() == TaskState::Done && other.taken_from.is_empty();
                let done = done && !other.is_by_engine();
                (done && other.made_by() == made_by)
                    .then(|| (KeptPart::of(other), entry.job.id.as_str()))
            })
        };
        kept.or_else(current)
    }
}
