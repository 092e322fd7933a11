//! A job as clients see it: the row of the table, counted up, with what only
//! the leader knows.

use reelraft_model::{AttemptKey, Job, JobEntry, TaskState};

use crate::node::messages::JobProgress;

/// A job as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The table's own row.
    pub job: Job,
    pub shards_done: u32,
    pub shards_running: u32,
    /// Encoded frames, those of running attempts included.
    pub frames_done: u64,
    /// Why the job waits, in words; empty if it does not.
    pub waiting: String,
}

impl JobView {
    /// A view of a job; `progress` is the leader's last word on it.
    pub fn new(entry: &JobEntry, progress: Option<&JobProgress>) -> Self {
        let counts = entry.counts;
        JobView {
            job: entry.job.clone(),
            shards_done: counts.shards_done,
            shards_running: counts.shards_running,
            frames_done: counts.frames_done
                + progress.map_or(0, |progress| frames_running(entry, progress)),
            waiting: progress.map_or_else(String::new, |progress| progress.waiting.clone()),
        }
    }
}

/// Frames of the attempts that the table still has as running: one that has
/// just been written down counts as done already.
fn frames_running(entry: &JobEntry, progress: &JobProgress) -> u64 {
    let current = |key: &AttemptKey| {
        let task = entry.tasks.get(&key.task());
        task.is_some_and(|task| task.state() == TaskState::Running && task.attempt == key.attempt)
    };
    let running = progress.running.iter().filter(|(key, _)| current(key));
    running.map(|(_, frames)| frames).sum()
}
