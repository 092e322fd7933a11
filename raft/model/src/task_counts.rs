//! How many tasks of a job are in which state.

use crate::rows::{Task, TaskKind, TaskState};

/// Counts of one job's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Shards that are done, and their frames.
    pub shards_done: u32,
    /// Frames of those.
    pub frames_done: u64,
    /// Shards that run.
    pub shards_running: u32,
    /// Frames of shards that wait for a node.
    pub frames_waiting: u64,
    /// Parts of the output, whatever their kind, that are not done.
    pub parts_open: u32,
    /// Tasks of any kind that are done.
    pub done: u32,
}

impl TaskCounts {
    pub(crate) fn add(&mut self, task: &Task) {
        self.count(task, |count, by| *count += by);
        self.frames_done += frames(task, TaskState::Done);
        self.frames_waiting += frames(task, TaskState::Pending);
    }

    pub(crate) fn subtract(&mut self, task: &Task) {
        self.count(task, |count, by| *count -= by);
        self.frames_done -= frames(task, TaskState::Done);
        self.frames_waiting -= frames(task, TaskState::Pending);
    }

    fn count(&mut self, task: &Task, step: impl Fn(&mut u32, u32)) {
        let (shard, state) = (task.kind() == TaskKind::Shard, task.state());
        let done = state == TaskState::Done;
        let part_open = task.kind().is_part() && !done;
        step(&mut self.shards_done, u32::from(shard && done));
        step(
            &mut self.shards_running,
            u32::from(shard && state == TaskState::Running),
        );
        step(&mut self.parts_open, u32::from(part_open));
        step(&mut self.done, u32::from(done));
    }
}

/// The frames that a shard in a state adds.
fn frames(task: &Task, state: TaskState) -> u64 {
    let counts = task.kind() == TaskKind::Shard && task.state() == state;
    if counts { task.frames } else { 0 }
}
