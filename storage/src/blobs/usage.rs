//! Who uses a job's bytes just now, so that they are never removed under its
//! hands.
//!
//! Whoever puts, records or looks for bytes of a job holds a [`JobInUse`]
//! meanwhile. A removal is let in only when nobody does, and whoever comes
//! during its short part waits for the end of it. A removal itself never
//! waits: one that finds the job in use is tried again later. So nobody waits
//! behind a long put, and a user may become one again.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

/// The uses of all jobs of one store.
#[derive(Debug, Default)]
pub(super) struct Usage {
    jobs: Mutex<HashMap<String, Use>>,
    removed: Condvar,
}

/// A job that nobody uses has no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// So many users, at least one.
    Users(usize),
    Removing,
}

/// Keeps a job's bytes from being removed while it is held.
#[derive(Debug)]
pub(super) struct JobInUse {
    usage: Arc<Usage>,
    job: String,
}

/// Keeps everybody from a job's bytes while it is held.
#[derive(Debug)]
pub(super) struct JobLocked {
    usage: Arc<Usage>,
    job: String,
}

impl Usage {
    /// Begins a use. Waits while the job's bytes are being removed.
    pub fn enter(self: &Arc<Self>, job: &str) -> JobInUse {
        let mut jobs = self.lock();
        while jobs.get(job) == Some(&Use::Removing) {
            jobs = self
                .removed
                .wait(jobs)
                .expect("no holder of this lock panics");
        }
        match jobs.get_mut(job) {
            Some(Use::Users(users)) => *users += 1,
            _ => drop(jobs.insert(job.to_string(), Use::Users(1))),
        }
        JobInUse {
            usage: self.clone(),
            job: job.to_string(),
        }
    }

    /// Locks all users out, if there are none.
    pub fn try_lock(self: &Arc<Self>, job: &str) -> Option<JobLocked> {
        let mut jobs = self.lock();
        if jobs.contains_key(job) {
            return None;
        }
        jobs.insert(job.to_string(), Use::Removing);
        Some(JobLocked {
            usage: self.clone(),
            job: job.to_string(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.jobs.lock().expect("no holder of this lock panics")
    }
}

impl Drop for JobInUse {
    fn drop(&mut self) {
        let mut jobs = self.usage.lock();
        match jobs.get_mut(&self.job) {
            Some(Use::Users(users)) if *users > 1 => *users -= 1,
            _ => drop(jobs.remove(&self.job)),
        }
    }
}

impl Drop for JobLocked {
    fn drop(&mut self) {
        self.usage.lock().remove(&self.job);
        self.usage.removed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_job_in_use_is_not_locked_and_a_locked_one_is_waited_for() {
        let usage = Arc::new(Usage::default());
        let (one, two) = (usage.enter("j"), usage.enter("j"));
        drop(one);
        assert!(usage.try_lock("j").is_none());
        let other = usage.try_lock("other");
        assert!(other.is_some(), "each job has its own lock");
        drop(two);
        let locked = usage.try_lock("j").unwrap();
        assert!(usage.try_lock("j").is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| usage.enter("j"));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!waiting.is_finished());
            drop(locked);
            drop(waiting.join().unwrap());
        });
        drop(other);
        assert!(usage.lock().is_empty(), "nothing is kept of unused jobs");
    }
}
