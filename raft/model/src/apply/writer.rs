//! The state being written: every change goes through here, so that the rows
//! it touched are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    limits::{PROBLEM_BYTES_MAX, REPLAN_LEVEL},
    rows::{Job, Problem, Task, TaskKey},
    state::State,
    table_rows::{job_key, task_key},
    turned::Turned,
};

pub(super) struct Writer<'a> {
    pub(super) state: &'a mut State,
    /// Keys of the rows that were written or removed.
    pub(super) touched: BTreeSet<Vec<u8>>,
    /// Jobs that came into another state, by id.
    pub(super) turned: BTreeMap<String, Turned>,
}

impl Writer<'_> {
    pub(super) fn job(&self, id: &str) -> Option<&Job> {
        self.state.jobs.get(id).map(|entry| &entry.job)
    }

    pub(super) fn put_job(&mut self, job: Job) {
        self.touched.insert(job_key(&job.id));
        if self.job(&job.id).map(Job::state) != Some(job.state()) {
            self.turned.insert(job.id.clone(), Turned::of(&job));
        }
        self.state.put_job(job);
    }

    /// Writes a job that has just ended, with what is to be sent for it.
    pub(super) fn put_ended_job(&mut self, mut job: Job) {
        job.close_source_url();
        if job.holds_source() {
            job.touched_cluster_ms = self.state.cluster_ms();
        }
        let webhook = self.state.webhooks.get(&job.tenant).cloned();
        job.add_deliveries(webhook.as_deref());
        self.put_job(job);
    }

    pub(super) fn put_task(&mut self, job: &str, task: Task) {
        self.touched.insert(task_key(job, task.key()));
        self.state.change_tasks(job, |entry| entry.put_task(task));
    }

    pub(super) fn remove_task(&mut self, job: &str, key: TaskKey) {
        self.touched.insert(task_key(job, key));
        self.state.change_tasks(job, |entry| entry.remove_task(key));
    }

    /// Adds a task that the job did not have.
    pub(super) fn make_task(&mut self, id: &str, mut task: Task) {
        task.attempt = self.job(id).map_or(0, |job| job.attempts_before);
        self.put_task(id, task);
    }

    /// Removes a task that may be made again. What a log of an earlier version
    /// says does what it did there.
    pub(super) fn drop_task(&mut self, id: &str, key: TaskKey) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let attempts = entry.tasks.get(&key).map_or(0, |task| task.last_attempt());
        let readable = self.state.feature_level() >= REPLAN_LEVEL;
        if readable && attempts > entry.job.attempts_before {
            let mut job = entry.job.clone();
            job.attempts_before = attempts;
            self.put_job(job);
        }
        self.remove_task(id, key);
    }
}

/// Cuts a text at a character boundary.
pub(super) fn clip(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_string()
}

pub(super) fn clipped(problem: &Problem) -> Problem {
    Problem {
        kind: clip(&problem.kind, PROBLEM_BYTES_MAX),
        cause: clip(&problem.cause, PROBLEM_BYTES_MAX),
        hint: clip(&problem.hint, PROBLEM_BYTES_MAX),
    }
}
