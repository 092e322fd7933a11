//! A job with its tasks, and the indexes of these.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    open_index::Standing,
    rows::{Job, JobState, Task, TaskKey, TaskKind, TaskState},
    task_counts::TaskCounts,
};

/// A job with its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEntry {
    pub job: Job,
    pub tasks: BTreeMap<TaskKey, Arc<Task>>,
    /// Index: tasks that wait for a node.
    pub pending: BTreeSet<TaskKey>,
    pub running: BTreeSet<TaskKey>,
    /// Index: pending tasks that have failed or been lost before, or are to be made
    /// again by a member.
    pub failed: BTreeSet<TaskKey>,
    /// Index: pending shards that have and are not, by their frames, the longest first.
    pub fresh: BTreeSet<(Reverse<u64>, u32)>,
    /// Counts of the tasks, so that nobody has to walk them.
    pub counts: TaskCounts,
}

impl JobEntry {
    pub(crate) fn new(job: Job) -> Self {
        JobEntry {
            job,
            tasks: BTreeMap::new(),
            pending: BTreeSet::new(),
            running: BTreeSet::new(),
            failed: BTreeSet::new(),
            fresh: BTreeSet::new(),
            counts: TaskCounts::default(),
        }
    }

    /// A job that has no tasks.
    pub(crate) fn alone(job: Job) -> Arc<Self> {
        Arc::new(JobEntry::new(job))
    }

    /// Writes a task and keeps the indexes.
    pub(crate) fn put_task(&mut self, task: Task) {
        let key = task.key();
        self.unindex(&key);
        self.counts.add(&task);
        match task.state() {
            TaskState::Pending => {
                self.pending.insert(key);
                if !task.failures.is_empty() || task.claim.is_some() {
                    self.failed.insert(key);
                } else if task.kind() == TaskKind::Shard {
                    self.fresh.insert((Reverse(task.frames), task.number));
                }
            }
            TaskState::Running => drop(self.running.insert(key)),
            TaskState::Done => {}
        }
        self.tasks.insert(key, Arc::new(task));
    }

    pub(crate) fn remove_task(&mut self, key: TaskKey) {
        self.unindex(&key);
        self.tasks.remove(&key);
    }

    fn unindex(&mut self, key: &TaskKey) {
        if let Some(former) = self.tasks.get(key) {
            self.counts.subtract(former);
            if former.kind() == TaskKind::Shard {
                self.fresh.remove(&(Reverse(former.frames), former.number));
            }
        }
        for index in [&mut self.pending, &mut self.running, &mut self.failed] {
            index.remove(key);
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        let assemblies = (TaskKind::Assemble, 0)..=(TaskKind::Assemble, u32::MAX);
        let assemblies = self.pending.range(assemblies);
        Standing {
            eventful: !self.running.is_empty() || !self.failed.is_empty(),
            waits: self.waits(),
            assemblies: assemblies.map(|(_, node)| u64::from(*node)).collect(),
            frames_waiting: self.counts.frames_waiting,
        }
    }

    /// Whether its shards wait for a rate factor that is still searched.
    pub fn is_searching(&self) -> bool {
        let searches = self.job.rate.is_some_and(|rate| rate.film_centi == 0);
        searches && self.job.state() == JobState::Encoding
    }

    /// Whether one of its tasks may be given out once a node is free.
    fn waits(&self) -> bool {
        let mut pending = self.pending.iter().filter_map(|key| self.tasks.get(key));
        match self.job.state() {
            JobState::Uploading => pending.any(|task| task.may_begin_early()),
            JobState::Encoding if self.is_searching() => {
                pending.any(|task| task.kind() != TaskKind::Shard)
            }
            _ => !self.pending.is_empty(),
        }
    }

    /// Pending tasks that were lost with their node while they ran.
    pub fn lost(&self) -> impl Iterator<Item = &Arc<Task>> {
        let failed = self.failed.iter().filter_map(|key| self.tasks.get(key));
        failed.filter(|task| task.was_lost())
    }

    /// Pending shards that have never failed, of at most so many frames, the longest
    /// first.
    pub(crate) fn fresh_shards(&self, frames_max: u64) -> impl Iterator<Item = &Arc<Task>> {
        let fresh = self.fresh.range((Reverse(frames_max), 0)..);
        fresh.filter_map(|(_, number)| self.tasks.get(&(TaskKind::Shard, *number)))
    }

    /// The same, whatever their length, in the film's order.
    pub(crate) fn fresh_in_order(&self) -> impl Iterator<Item = &Arc<Task>> {
        let shards = (TaskKind::Shard, 0)..=(TaskKind::Shard, u32::MAX);
        let fresh = self.pending.range(shards);
        let fresh = fresh.filter(|key| !self.failed.contains(key));
        fresh.filter_map(|key| self.tasks.get(key))
    }

    /// How many of them there are, and the frames of the shortest.
    pub(crate) fn fresh_count(&self) -> usize {
        self.fresh.len()
    }

    pub(crate) fn shortest_fresh(&self) -> Option<u64> {
        self.fresh.last().map(|(frames, _)| frames.0)
    }

    /// The shards that run, in order.
    pub(crate) fn shards_running(&self) -> impl Iterator<Item = &Task> {
        let shards = (TaskKind::Shard, 0)..=(TaskKind::Shard, u32::MAX);
        let running = self.running.range(shards);
        running.filter_map(|key| self.tasks.get(key).map(AsRef::as_ref))
    }

    /// The shards in order.
    pub fn shards(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks
            .range((TaskKind::Shard, 0)..=(TaskKind::Shard, u32::MAX))
            .map(|(_, task)| task)
    }

    /// All tasks whose results are parts of the output: audio tracks and shards,
    /// each in order, and extras.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().filter(|task| task.kind().is_part())
    }

    /// What tasks have found that measure, as far as they are done.
    pub(crate) fn measured_so_far(&self) -> impl Iterator<Item = &String> {
        let tasks = self.tasks.range((TaskKind::Measure, 0)..);
        let done = tasks.filter(|(_, task)| task.state() == TaskState::Done);
        done.map(|(_, task)| &task.report)
    }

    /// How many tasks of a comparison are done.
    pub fn measured_count(&self) -> u32 {
        self.measured_so_far().count() as u32
    }

    /// Whether a node is a home of the job's epoch, and so takes its new bytes.
    pub fn is_home(&self, node: u64) -> bool {
        self.job.current_homes().any(|home| home.node == node)
    }

    /// Whether a node is a home of the job, also one that retires.
    pub fn is_read_from(&self, node: u64) -> bool {
        self.job.homes.iter().any(|home| home.node == node)
    }

    /// The blobs without which a finished job does not have its film.
    pub fn film_blobs(&self) -> Vec<String> {
        let job = &self.job;
        let kept = [&job.index_hash, &job.output_hash, &job.proof_hash];
        let history = Some(&job.history_hash).filter(|hash| !hash.is_empty());
        kept.into_iter().chain(history).cloned().collect()
    }

    /// Whether a blob is what was found of its output, compared with its source.
    pub fn is_measured_blob(&self, hash: &str) -> bool {
        let mut found = self.job.measured_blobs().chain(self.measured_so_far());
        found.any(|blob| blob == hash)
    }

    /// Every blob that a home must have, in the order of their creation. The
    /// manifest comes first and names the source chunks. A finished job keeps
    /// only what its owner can still ask for.
    pub fn blobs(&self) -> Vec<String> {
        let job = &self.job;
        if job.state() == JobState::Succeeded {
            let measured = job.measured_blobs().chain(self.measured_so_far());
            let mut kept = self.film_blobs();
            kept.extend(measured.cloned());
            return kept;
        }
        // It begins again with its analysis.
        if job.keeps_source() {
            return vec![job.manifest.clone()];
        }
        let mut blobs = vec![job.manifest.clone(), job.index_hash.clone()];
        for task in self
            .tasks
            .values()
            .filter(|task| task.state() == TaskState::Done)
        {
            // A probe may come to be the shard that it encodes. Afterwards nobody reads
            // it, so no home may wait for what a lost one alone had of it.
            let probe = task.kind() == TaskKind::Probe;
            if probe && !self.is_searching() {
                continue;
            }
            if task.kind().is_part() || probe {
                blobs.push(task.hash.clone());
            }
            blobs.push(task.report.clone());
        }
        let mut seen = BTreeSet::new();
        blobs.retain(|hash| !hash.is_empty() && seen.insert(hash.clone()));
        blobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rate_row::Rate,
        rows::{Failure, FailureClass},
    };

    #[test]
    fn homes_keep_probes_until_the_rate_factor_is_found() {
        let mut entry = JobEntry::new(Job {
            state: JobState::Encoding.into(),
            rate: Some(Rate::default()),
            ..Default::default()
        });
        entry.put_task(Task {
            state: TaskState::Done.into(),
            hash: "pictures".into(),
            report: "report".into(),
            ..Task::pending(TaskKind::Probe, 0)
        });
        assert_eq!(entry.blobs(), ["pictures", "report"]);
        entry.job.rate = Some(Rate {
            film_centi: 2_300,
            ..Default::default()
        });
        assert!(entry.blobs().is_empty());
    }

    #[test]
    fn an_upload_whose_early_work_has_failed_stands_in_no_line() {
        let mut analysis = Task::pending(TaskKind::Analyze, 0);
        let job = |state: JobState| Job {
            state: state.into(),
            ..Default::default()
        };
        let mut entry = JobEntry::new(job(JobState::Uploading));
        entry.put_task(analysis.clone());
        assert!(entry.standing().waits);
        analysis.failures.push(Failure {
            class: FailureClass::OutOfReach.into(),
            ..Default::default()
        });
        entry.put_task(analysis);
        assert!(!entry.standing().waits);
        entry.job = job(JobState::Analyzing);
        assert!(entry.standing().waits);
    }
}
