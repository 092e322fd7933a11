//! What can be said of a job's end before it has come: from its latest shards,
//! by how long they took and how large they are. Shown and never decided by.

use reelraft_model::{JobEntry, JobState, Task, TaskKind, TaskState};

use super::limits::ESTIMATED_FROM;
use crate::node::messages::JobProgress;

/// What is expected of a job that is being encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Thousandths of frames a second; 0 where that is not known.
    pub speed_milli: u64,
    /// Seconds until all its frames are encoded.
    pub eta_s: Option<u64>,
    /// The size of its output; 0 where that is not known.
    pub output_bytes: u64,
}

/// What is expected of a job at a time; `frames_done` counts those of running
/// shards, and `progress` is the leader's last word on it.
pub fn estimate(
    entry: &JobEntry,
    frames_done: u64,
    progress: Option<&JobProgress>,
    now_unix_ms: u64,
) -> Estimate {
    if !matches!(entry.job.state(), JobState::Encoding | JobState::Assembling) {
        return Estimate::default();
    }
    let (mut frames, mut took_ms) = (0, 0);
    let (mut frames_out, mut bytes_out) = (0, 0);
    for task in latest_shards(entry) {
        if task.state() == TaskState::Done {
            // What was made before took no time.
            if task.node != 0 {
                frames += task.frames;
                took_ms += task.ended_unix_ms.saturating_sub(task.started_unix_ms);
            }
            frames_out += task.frames;
            bytes_out += task.bytes_out;
        } else if let Some(so_far) = frames_of(task, progress).filter(|frames| *frames > 0) {
            frames += so_far;
            took_ms += now_unix_ms.saturating_sub(task.started_unix_ms);
        }
    }
    let running = u64::from(entry.counts.shards_running);
    let speed_milli = (frames * running * 1_000_000).checked_div(took_ms);
    let speed_milli = speed_milli.unwrap_or_default();
    let left = entry.job.frames_total.saturating_sub(frames_done);
    let video = u128::from(bytes_out) * u128::from(entry.job.frames_total);
    let video = video.checked_div(frames_out.into()).unwrap_or_default();
    Estimate {
        speed_milli,
        eta_s: (left * 1000).checked_div(speed_milli),
        output_bytes: match video {
            0 => 0,
            video => u64::try_from(video)
                .unwrap_or(u64::MAX)
                .saturating_add(audio_bytes(entry)),
        },
    }
}

/// Shards are encoded about in their order, so these are found by their number.
fn latest_shards(entry: &JobEntry) -> impl Iterator<Item = &Task> {
    let begun = entry.counts.shards_done + entry.counts.shards_running;
    let shards = (TaskKind::Shard, 0)..=(TaskKind::Shard, begun);
    let shards = entry.tasks.range(shards).rev().map(|(_, task)| &**task);
    let shards = shards.filter(|task| task.state() != TaskState::Pending);
    shards.take(ESTIMATED_FROM)
}

/// Frames of a running shard, as its node told them.
fn frames_of(task: &Task, progress: Option<&JobProgress>) -> Option<u64> {
    let mut running = progress?.running.iter();
    let (_, frames) = running.find(|(key, _)| {
        (key.kind(), key.number, key.attempt) == (task.kind(), task.number, task.attempt)
    })?;
    Some(*frames)
}

fn audio_bytes(entry: &JobEntry) -> u64 {
    let tracks = (TaskKind::Audio, 0)..=(TaskKind::Audio, u32::MAX);
    let tracks = entry.tasks.range(tracks);
    tracks.map(|(_, task)| task.bytes_out).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reelraft_model::{AttemptKey, Job, JobEntry};

    use super::*;

    fn shard(number: u32, state: TaskState, frames: u64, took_ms: u64) -> Task {
        Task {
            kind: TaskKind::Shard.into(),
            number,
            state: state.into(),
            attempt: 1,
            node: 1,
            frames,
            bytes_out: frames * 100,
            started_unix_ms: 10_000,
            ended_unix_ms: 10_000 + took_ms,
            ..Default::default()
        }
    }

    fn entry(tasks: Vec<Task>) -> JobEntry {
        let mut entry = JobEntry {
            job: Job {
                id: "j".into(),
                state: JobState::Encoding.into(),
                frames_total: 1_000,
                ..Default::default()
            },
            tasks: Default::default(),
            pending: Default::default(),
            running: Default::default(),
            failed: Default::default(),
            fresh: Default::default(),
            counts: Default::default(),
        };
        for task in tasks {
            entry.counts.shards_done += u32::from(task.state() == TaskState::Done);
            entry.counts.shards_running += u32::from(task.state() == TaskState::Running);
            entry.tasks.insert(task.key(), Arc::new(task));
        }
        entry
    }

    #[test]
    fn a_job_is_as_fast_as_its_latest_shards_for_each_that_runs() {
        let running = |number| shard(number, TaskState::Running, 0, 0);
        let entry = entry(vec![
            // 100 frames in 2 s: 50 a second in a slot.
            shard(0, TaskState::Done, 100, 2_000),
            running(1),
            running(2),
            shard(3, TaskState::Pending, 100, 0),
        ]);
        let key = AttemptKey {
            job: "j".into(),
            kind: TaskKind::Shard.into(),
            number: 1,
            attempt: 1,
        };
        let progress = JobProgress {
            running: [(key, 100)].into(),
            ..Default::default()
        };
        let expected = estimate(&entry, 200, Some(&progress), 12_000);
        assert_eq!(expected.speed_milli, 100_000);
        assert_eq!(expected.eta_s, Some(8));
        assert_eq!(expected.output_bytes, 100_000);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let none = entry(vec![shard(0, TaskState::Running, 0, 0)]);
        assert_eq!(estimate(&none, 0, None, 12_000), Estimate::default());
        let mut ended = entry(vec![shard(0, TaskState::Done, 100, 2_000)]);
        assert_eq!(estimate(&ended, 100, None, 12_000).eta_s, None);
        ended.job.state = JobState::Succeeded.into();
        assert_eq!(estimate(&ended, 100, None, 12_000), Estimate::default());
    }
}
