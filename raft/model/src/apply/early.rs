//! Work that is done while a source is uploaded. The table keeps it apart until
//! the seal: then a plan of the sealed source takes over what has the same key and
//! rests on the same chunks, and the rest goes.

use super::writer::Writer;
use crate::{
    command::{EarlyPlan, PlanAppend, Reply},
    early::Early,
    job_entry::JobEntry,
    limits::{PLAN_SHARDS_PER_COMMAND_MAX, SHARDS_PER_JOB_MAX, TRACKS_MAX},
    rows::{Job, JobState, Task, TaskKey, TaskKind},
};

impl Writer<'_> {
    /// Adds shards to a plan that is not whole yet. What a former attempt has
    /// planned alike stays as it is.
    pub(super) fn append_early(&mut self, c: &PlanAppend, early: &EarlyPlan) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let last = c.first as usize + c.ranges.len();
        let fits = c.ranges.len() <= PLAN_SHARDS_PER_COMMAND_MAX && last <= SHARDS_PER_JOB_MAX;
        // What is searched for later can't be begun before.
        if entry.job.spec.aim().is_some() {
            return Reply::stale(id);
        }
        let known = c.first <= entry.job.shards_total && c.ranges.len() == early.keys.len();
        if !is_unplanned(&entry.job) || entry.job.plan_sealed || !fits || !known {
            return Reply::stale(id);
        }
        let planned = (c.first..).zip(c.ranges.iter().zip(&early.keys));
        let is_there = |entry: &JobEntry, number: u32, range, key: &String| {
            let task = entry.tasks.get(&(TaskKind::Shard, number));
            task.is_some_and(|task| {
                let own = task.early.as_ref().map(|early| &early.key);
                (task.from_pts, task.to_pts) == range && own == Some(key)
            })
        };
        let kept = planned.clone().take_while(|(number, (range, key))| {
            is_there(entry, *number, (range.from_pts, range.to_pts), key)
        });
        let kept = kept.count();
        if entry.job.shard_memory_mib != early.shard_memory_mib {
            let mut job = entry.job.clone();
            job.shard_memory_mib = early.shard_memory_mib;
            self.put_job(job);
        }
        self.begin_audio(id, early);
        if kept == c.ranges.len() {
            return Reply::done(id);
        }
        self.drop_shards_from(id, c.first + kept as u32);
        for (number, (range, key)) in planned.skip(kept) {
            let mut task = Task::shard(number, range);
            task.early = Some(Early {
                index: early.index.clone(),
                key: key.clone(),
                read: None,
            });
            self.make_task(id, task);
        }
        self.count_shards(id);
        Reply::done(id)
    }

    /// Has audio tracks begin before the plan is whole, where they have not.
    fn begin_audio(&mut self, id: &str, early: &EarlyPlan) {
        let keys = early.audio_keys.iter().take(TRACKS_MAX);
        for (number, key) in (0..).zip(keys) {
            let named = (TaskKind::Audio, number);
            let task = self
                .state
                .jobs
                .get(id)
                .and_then(|entry| entry.tasks.get(&named));
            let own = task.and_then(|task| task.early.as_ref());
            if own.is_some_and(|own| own.key == *key) {
                continue;
            }
            self.drop_task(id, named);
            let mut task = Task::pending(TaskKind::Audio, number);
            task.early = Some(Early {
                index: early.index.clone(),
                key: key.clone(),
                read: None,
            });
            self.make_task(id, task);
        }
    }

    /// Makes the audio tracks of a plan, but for so many that were begun early.
    pub(super) fn settle_audio(&mut self, id: &str, tracks: u32, kept: u32, keys: &[String]) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let begun = (TaskKind::Audio, kept)..=(TaskKind::Audio, u32::MAX);
        let begun: Vec<TaskKey> = entry.tasks.range(begun).map(|(key, _)| *key).collect();
        for key in begun {
            self.drop_task(id, key);
        }
        for track in 0..tracks {
            let named = (TaskKind::Audio, track);
            let entry = self.state.jobs.get(id);
            if entry.is_some_and(|entry| !entry.tasks.contains_key(&named)) {
                let mut task = Task::pending(TaskKind::Audio, track);
                task.part_key = keys.get(track as usize).cloned().unwrap_or_default();
                self.make_task(id, task);
            }
        }
    }

    /// Drops all that was begun early.
    pub(super) fn drop_early(&mut self, id: &str) {
        self.drop_shards_from(id, 0);
        self.settle_audio(id, 0, 0, &[]);
    }

    /// Removes the shards from a number on; what comes late of them is refused.
    pub(super) fn drop_shards_from(&mut self, id: &str, first: u32) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let shards = entry
            .tasks
            .range((TaskKind::Shard, first)..=(TaskKind::Shard, u32::MAX));
        let shards: Vec<TaskKey> = shards.map(|(key, _)| *key).collect();
        for key in shards {
            self.drop_task(id, key);
        }
        self.count_shards(id);
    }

    fn count_shards(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let total = entry.shards().count() as u32;
        if total != entry.job.shards_total {
            let mut job = entry.job.clone();
            job.shards_total = total;
            self.put_job(job);
        }
    }

    /// Drops what an analysis that has failed has planned, but for what may go on
    /// before there is a plan.
    pub(super) fn drop_plan(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let early = entry.shards().take_while(|task| task.early.is_some());
        let early = early.count() as u32;
        let sealed = entry.job.plan_sealed;
        self.drop_shards_from(id, early);
        if let Some(mut job) = self.job(id).filter(|_| sealed).cloned() {
            job.plan_sealed = false;
            self.put_job(job);
        }
    }

    /// Forgets what has failed by now: it was judged by bytes that were not sealed,
    /// or by a plan that was not whole, and is tried once more.
    pub(super) fn forgive(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let failed = entry.failed.iter().filter_map(|key| entry.tasks.get(key));
        let failed: Vec<Task> = failed.map(|task| Task::clone(task)).collect();
        for mut task in failed {
            task.failures.clear();
            task.work_failures = 0;
            task.node_faults = 0;
            self.put_task(id, task);
        }
    }
}

/// Whether the plan of a job is not whole yet.
pub(super) fn is_unplanned(job: &Job) -> bool {
    matches!(job.state(), JobState::Uploading | JobState::Analyzing)
}
