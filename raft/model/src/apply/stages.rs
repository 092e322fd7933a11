//! What follows from a command for the job as a whole: its next stage, its
//! collapse to one shard, its end.

use std::sync::Arc;

use super::{
    homes::all_filled,
    writer::{Writer, clip},
};
use crate::{
    command::Reply,
    job_entry::JobEntry,
    limits::{MEASURE_LEVEL, PROBLEM_BYTES_MAX},
    rows::{JobState, Problem, ShardRange, Task, TaskKey, TaskKind, TaskState},
};

impl Writer<'_> {
    /// Puts a task back to pending. Its attempt number stays, so that a late
    /// result is refused.
    pub(super) fn suspend(&mut self, id: &str, key: TaskKey) {
        let task = self
            .state
            .jobs
            .get(id)
            .and_then(|entry| entry.tasks.get(&key))
            .map(|task| Task::clone(task));
        if let Some(mut task) = task {
            task.state = TaskState::Pending.into();
            task.end_twin();
            self.put_task(id, task);
        }
    }

    pub(super) fn fail(&mut self, id: &str, unix_ms: u64, problem: Problem) -> Reply {
        if let Some(mut job) = self.job(id).cloned() {
            job.state = JobState::Failed.into();
            job.problem = Some(problem);
            job.ended_unix_ms = unix_ms;
            self.put_ended_job(job);
            self.stop_tasks(id);
        }
        Reply::done(id)
    }

    /// An ended job has no running task: workers read that from the table and
    /// end their processes.
    pub(super) fn stop_tasks(&mut self, id: &str) {
        let running: Vec<TaskKey> = self
            .state
            .jobs
            .get(id)
            .map(|entry| entry.running.iter().copied().collect())
            .unwrap_or_default();
        for key in running {
            self.suspend(id, key);
        }
    }

    pub(super) fn drop_shards(&mut self, id: &str) {
        let shards: Vec<TaskKey> = self
            .state
            .jobs
            .get(id)
            .map(|entry| entry.shards().map(|task| task.key()).collect())
            .unwrap_or_default();
        for key in shards {
            self.remove_task(id, key);
        }
        if let Some(mut job) = self.job(id).cloned() {
            job.shards_total = 0;
            self.put_job(job);
        }
    }

    /// Makes the whole film one shard. The decoder gives other frames than the
    /// packets promised, or the parts do not fit together, so no cut can be
    /// trusted. The new shard counts its attempts from above all old ones,
    /// which fences those off.
    pub(super) fn collapse(&mut self, id: &str, why: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let Some(mut job) = (!entry.job.single).then(|| entry.job.clone()) else {
            return;
        };
        let mut whole = Task::shard(
            0,
            &ShardRange {
                from_pts: entry.shards().map(|task| task.from_pts).min().unwrap_or(0),
                to_pts: entry.shards().map(|task| task.to_pts).max().unwrap_or(0),
                frames: job.frames_total,
            },
        );
        whole.attempt = entry
            .shards()
            .map(|task| task.last_attempt())
            .max()
            .unwrap_or(0);
        let assemblies = assemblies_of(entry);
        self.drop_shards(id);
        for key in assemblies {
            self.suspend(id, key);
        }
        job.state = JobState::Encoding.into();
        job.single = true;
        job.shards_total = 1;
        // What the analysis noted, such as streams left out, stays true.
        job.plan_note = joined_notes([why, &job.plan_note]);
        self.put_job(job);
        self.put_task(id, whole);
        self.begin_search(id);
    }

    pub(super) fn assemble_if_encoded(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        if entry.counts.parts_open > 0 || entry.job.state() != JobState::Encoding {
            return;
        }
        if self.correct(id) {
            return;
        }
        self.note_reached(id);
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let mut job = entry.job.clone();
        job.state = JobState::Assembling.into();
        self.put_job(job);
        self.open_assemblies(id);
    }

    /// Every home assembles by itself.
    pub(super) fn open_assemblies(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let missing: Vec<u32> = entry
            .job
            .current_homes()
            .map(|home| home.node as u32)
            .filter(|&node| !entry.tasks.contains_key(&(TaskKind::Assemble, node)))
            .collect();
        for node in missing {
            self.make_task(id, Task::pending(TaskKind::Assemble, node));
        }
    }

    /// Ends the job once all homes hold the same output, or two of them differ.
    pub(super) fn succeed_if_agreed(&mut self, id: &str, unix_ms: u64) -> Reply {
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let done: Vec<Arc<Task>> = entry
            .tasks
            .values()
            .filter(|task| task.kind() == TaskKind::Assemble && task.state() == TaskState::Done)
            .cloned()
            .collect();
        let Some(first) = done.first() else {
            return Reply::done(id);
        };
        if let Some(other) = done
            .iter()
            .find(|task| (&task.hash, &task.report) != (&first.hash, &first.report))
        {
            let cause = format!(
                "node {} assembled {} and node {} assembled {}",
                first.number, first.hash, other.number, other.hash
            );
            return self.fail(id, unix_ms, not_reproducible(cause));
        }
        let agreed = entry
            .job
            .current_homes()
            .all(|home| done.iter().any(|task| u64::from(task.number) == home.node));
        if !agreed {
            return Reply::done(id);
        }
        if self.correct_output(id, first.bytes_out) {
            let assemblies = self.state.jobs.get(id).map(|entry| assemblies_of(entry));
            for key in assemblies.unwrap_or_default() {
                self.suspend(id, key);
            }
            return Reply::done(id);
        }
        if let Some(mut job) = self.job(id).cloned() {
            job.state = JobState::Succeeded.into();
            job.output_hash = first.hash.clone();
            job.output_bytes = first.bytes_out;
            job.proof_hash = first.report.clone();
            if let Some(reuse) = &mut job.reuse {
                job.index_hash = std::mem::take(&mut reuse.index_hash);
                reuse.output_hash.clear();
                reuse.proof_hash.clear();
            }
            job.ended_unix_ms = done
                .iter()
                .map(|task| task.ended_unix_ms)
                .max()
                .unwrap_or(unix_ms);
            all_filled(&mut job);
            if job.spec.holds_source() && self.state.feature_level() >= MEASURE_LEVEL {
                job.source_at = job.current_homes().map(|home| home.node).collect();
            }
            self.put_ended_job(job);
            self.stop_tasks(id);
        }
        Reply::done(id)
    }
}

pub(super) fn assemblies_of(entry: &JobEntry) -> Vec<TaskKey> {
    let keys = entry.tasks.keys();
    keys.filter(|(kind, _)| *kind == TaskKind::Assemble)
        .copied()
        .collect()
}

pub(super) fn joined_notes(notes: [&str; 2]) -> String {
    let notes = notes.map(str::trim).into_iter();
    let notes: Vec<&str> = notes.filter(|note| !note.is_empty()).collect();
    clip(&notes.join("; "), PROBLEM_BYTES_MAX)
}

pub(super) fn not_reproducible(cause: String) -> Problem {
    Problem::new(
        Problem::NOT_REPRODUCIBLE,
        cause,
        "two machines gave different bytes for the same work: check their memory and ffmpeg, then submit again",
    )
}
