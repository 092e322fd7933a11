//! The attempts at a task: which run, and which numbers are taken.

use crate::{
    command::AttemptKey,
    job_entry::JobEntry,
    rows::{Task, TaskState},
};

impl JobEntry {
    /// All attempts that run, with their nodes.
    pub fn attempts_running(&self) -> impl Iterator<Item = (AttemptKey, u64)> + '_ {
        let running = self.running.iter().filter_map(|key| self.tasks.get(key));
        running.flat_map(|task| {
            task.attempts_running().map(|(attempt, node)| {
                let key = AttemptKey::of(&self.job.id, task);
                (AttemptKey { attempt, ..key }, node)
            })
        })
    }
}

impl Task {
    /// The highest number that an attempt at it has had.
    pub fn last_attempt(&self) -> u32 {
        let twin = self.twin.as_ref().map_or(0, |twin| twin.attempt);
        self.attempt.max(twin)
    }

    /// The attempts that run, with their nodes: none, one, or two.
    pub fn attempts_running(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let runs = self.state() == TaskState::Running;
        let own = runs.then_some((self.attempt, self.node));
        let twin = self.twin.as_ref().filter(|twin| runs && !twin.over);
        own.into_iter()
            .chain(twin.map(|twin| (twin.attempt, twin.node)))
    }

    /// Whether an attempt runs.
    pub fn is_running(&self, attempt: u32) -> bool {
        self.attempts_running()
            .any(|(running, _)| running == attempt)
    }

    /// Whether an attempt runs beside the one that the row names.
    pub(crate) fn has_twin(&self) -> bool {
        self.attempts_running().count() > 1
    }

    /// Has the row name the twin, if that runs, in the place of the attempt that it
    /// names now.
    pub(crate) fn swap_with_twin(&mut self) {
        if let Some(twin) = &mut self.twin {
            std::mem::swap(&mut self.attempt, &mut twin.attempt);
            std::mem::swap(&mut self.node, &mut twin.node);
            std::mem::swap(&mut self.started_unix_ms, &mut twin.started_unix_ms);
        }
    }

    /// The attempt beside the one that the row names runs no more.
    pub(crate) fn end_twin(&mut self) {
        if let Some(twin) = &mut self.twin {
            twin.over = true;
        }
    }
}
