//! `apply`: the only writer of the table. A total function: any command on
//! any state gives a reply, and a command whose premise has passed changes
//! nothing (so a retried or late proposal is harmless).

mod stages;
mod tasks;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    command::{
        Assign, CancelJob, Command, Complete, CreateJob, DeleteJob, Entry, FailJob, HomeFilled,
        PlanAppend, RegisterNode, Release, Reopen, Reply, SealSource, SetHomes, Tick,
    },
    job_id,
    limits::{
        COMMANDS_PER_ENTRY_MAX, FAILURES_KEPT_MAX, PLAN_SHARDS_PER_COMMAND_MAX, PROBLEM_BYTES_MAX,
        PURGE_ROWS_PER_COMMAND_MAX, REQUEST_MEMORY_MS, SHARDS_PER_JOB_MAX,
    },
    rows::{Failure, FailureClass, Home, Job, JobState, Node, Problem, Task, TaskKind, TaskState},
    state::{Applied, JobEntry, State, TaskKey, cluster_key, job_key, node_key, task_key},
};

impl State {
    /// Applies one entry of the log at its index.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Applied {
        let mut writer = Writer {
            state: self,
            touched: BTreeSet::new(),
        };
        let mut replies = Vec::with_capacity(entry.commands.len());
        for (position, envelope) in entry.commands.iter().enumerate() {
            let command = envelope
                .command
                .as_ref()
                .expect("decode refuses unknown commands");
            let age = index * COMMANDS_PER_ENTRY_MAX as u64 + position as u64;
            replies.push(writer.command(index, age, command));
        }
        Applied {
            replies,
            touched: writer.touched.into_iter().collect(),
        }
    }
}

/// The state being written, and which rows were.
struct Writer<'a> {
    state: &'a mut State,
    touched: BTreeSet<Vec<u8>>,
}

impl Writer<'_> {
    fn command(&mut self, index: u64, age: u64, command: &Command) -> Reply {
        match command {
            Command::CreateJob(c) => self.create_job(age, c),
            Command::SetHomes(c) => self.set_homes(index, c),
            Command::HomeFilled(c) => self.home_filled(c),
            Command::SealSource(c) => self.seal_source(c),
            Command::Assign(c) => self.assign(c),
            Command::Release(c) => self.release(c),
            Command::PlanAppend(c) => self.plan_append(c),
            Command::Complete(c) => self.complete(c),
            Command::Reopen(c) => self.reopen(c),
            Command::FailJob(c) => self.fail_job(c),
            Command::CancelJob(c) => self.cancel_job(c),
            Command::DeleteJob(c) => self.delete_job(c),
            Command::Tick(c) => self.tick(c),
            Command::RegisterNode(c) => self.register_node(c),
        }
    }

    fn entry(&mut self, job: &str) -> Option<&mut JobEntry> {
        self.state.jobs.get_mut(job).map(Arc::make_mut)
    }

    fn job(&self, id: &str) -> Option<&Job> {
        self.state.jobs.get(id).map(|entry| &entry.job)
    }

    fn put_job(&mut self, job: Job) {
        self.touched.insert(job_key(&job.id));
        self.state.put_job(job);
    }

    fn put_task(&mut self, job: &str, task: Task) {
        self.touched
            .insert(task_key(job, (task.kind(), task.number)));
        if let Some(entry) = self.entry(job) {
            entry.put_task(task);
        }
    }

    fn remove_task(&mut self, job: &str, key: TaskKey) {
        self.touched.insert(task_key(job, key));
        if let Some(entry) = self.entry(job) {
            entry.remove_task(key);
        }
    }

    fn create_job(&mut self, age: u64, c: &CreateJob) -> Reply {
        let id = job_id(&c.tenant, &c.request_id);
        if let Some(job) = self.job(&id) {
            let same = job.spec == c.spec
                && job.source_bytes == c.source_bytes
                && job.source_fingerprint == c.source_fingerprint;
            if !same {
                let what = if job.spec == c.spec { "source" } else { "spec" };
                return Reply::refused(
                    &id,
                    Problem::new(
                        "request-id-reused",
                        format!(
                            "request id '{}' already belongs to job {id} with another {what}",
                            c.request_id
                        ),
                        "use a new --request-id, or send the same file and options again",
                    ),
                );
            }
            return Reply {
                job: id,
                existed: true,
                ..Default::default()
            };
        }
        self.put_job(Job {
            id: id.clone(),
            tenant: c.tenant.clone(),
            request_id: c.request_id.clone(),
            state: JobState::Uploading.into(),
            spec: c.spec.clone(),
            source_name: c.source_name.clone(),
            source_bytes: c.source_bytes,
            source_fingerprint: c.source_fingerprint.clone(),
            created_index: age,
            created_unix_ms: c.unix_ms,
            ..Default::default()
        });
        Reply::done(&id)
    }

    fn set_homes(&mut self, index: u64, c: &SetHomes) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let useless = matches!(
            job.state(),
            JobState::Failed | JobState::Cancelled | JobState::Deleted
        );
        if useless || job.epoch != c.epoch || c.homes.is_empty() {
            return Reply::stale(&c.job);
        }
        let first = job.epoch == 0;
        let before = std::mem::take(&mut job.homes);
        job.homes = c
            .homes
            .iter()
            .map(|&node| {
                let kept = before.iter().find(|home| home.node == node);
                Home {
                    node,
                    filled: kept.map_or(first, |home| home.filled),
                }
            })
            .collect();
        job.epoch = index;
        let homes: Vec<u64> = job.homes.iter().map(|home| home.node).collect();
        let assembling = job.state() == JobState::Assembling;
        self.put_job(job);
        if assembling {
            for home in before.iter().filter(|home| !homes.contains(&home.node)) {
                self.remove_task(&c.job, (TaskKind::Assemble, home.node as u32));
            }
            self.open_assemblies(&c.job);
            self.succeed_if_agreed(&c.job, 0);
        }
        Reply::done(&c.job)
    }

    fn home_filled(&mut self, c: &HomeFilled) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let epoch = job.epoch;
        match job
            .homes
            .iter_mut()
            .find(|home| home.node == c.node && !home.filled)
        {
            Some(home) if epoch == c.epoch => home.filled = true,
            _ => return Reply::stale(&c.job),
        }
        self.put_job(job);
        Reply::done(&c.job)
    }

    fn seal_source(&mut self, c: &SealSource) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        if job.state() != JobState::Uploading || job.epoch != c.epoch {
            return Reply::stale(&c.job);
        }
        job.manifest = c.manifest.clone();
        job.source_root = c.root.clone();
        job.state = JobState::Analyzing.into();
        // The epoch is that of the homes that acknowledged every chunk.
        for home in &mut job.homes {
            home.filled = true;
        }
        self.put_job(job);
        self.put_task(&c.job, pending(TaskKind::Analyze, 0));
        Reply::done(&c.job)
    }

    fn fail_job(&mut self, c: &FailJob) -> Reply {
        match self.job(&c.job) {
            Some(job) if !job.state().ended() => self.end(&c.job, c.unix_ms, clipped(&c.problem)),
            _ => Reply::stale(&c.job),
        }
    }

    fn cancel_job(&mut self, c: &CancelJob) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return not_found(&c.job);
        };
        match job.state() {
            JobState::Cancelled => return Reply::stale(&c.job),
            JobState::Deleted => return not_found(&c.job),
            state if state.ended() => {
                return Reply::refused(
                    &c.job,
                    Problem::new(
                        "already-ended",
                        format!("job {} has already {}", c.job, state.name()),
                        "delete it if it is no longer needed",
                    ),
                );
            }
            _ => {}
        }
        job.state = JobState::Cancelled.into();
        job.ended_unix_ms = c.unix_ms;
        self.put_job(job);
        self.stop_tasks(&c.job);
        Reply::done(&c.job)
    }

    fn delete_job(&mut self, c: &DeleteJob) -> Reply {
        let cluster_ms = self.state.cluster_ms();
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return not_found(&c.job);
        };
        if entry.job.state() == JobState::Deleted {
            return Reply::stale(&c.job);
        }
        let mut job = entry.job.clone();
        let tasks: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        job.state = JobState::Deleted.into();
        job.deleted_cluster_ms = cluster_ms;
        job.ended_unix_ms = c.unix_ms;
        self.put_job(job);
        for key in tasks {
            self.remove_task(&c.job, key);
        }
        Reply::done(&c.job)
    }

    fn tick(&mut self, c: &Tick) -> Reply {
        let now = self.state.cluster.cluster_ms.max(c.cluster_ms);
        self.state.cluster.cluster_ms = now;
        self.touched.insert(cluster_key());
        let old: Vec<(u64, String)> = self
            .state
            .tombstones
            .iter()
            .take_while(|(deleted_ms, _)| deleted_ms + REQUEST_MEMORY_MS <= now)
            .take(PURGE_ROWS_PER_COMMAND_MAX)
            .cloned()
            .collect();
        for tombstone in old {
            if let Some(entry) = self.state.jobs.remove(&tombstone.1) {
                self.state.by_age.remove(&entry.job.created_index);
            }
            self.touched.insert(job_key(&tombstone.1));
            self.state.tombstones.remove(&tombstone);
        }
        Reply::default()
    }

    fn register_node(&mut self, c: &RegisterNode) -> Reply {
        if let Some(known) = self.state.nodes.get(&c.node)
            && known.incarnation != c.incarnation
        {
            return Reply::refused(
                "",
                Problem::new(
                    "other-incarnation",
                    format!("node {} is known with another disk", c.node),
                    "start it with its own data folder, or under a new id",
                ),
            );
        }
        let node = Node {
            id: c.node,
            incarnation: c.incarnation.clone(),
            address: c.address.clone(),
        };
        self.touched.insert(node_key(c.node));
        self.state.nodes.insert(c.node, node);
        Reply::default()
    }
}

pub(super) fn pending(kind: TaskKind, number: u32) -> Task {
    Task {
        kind: kind.into(),
        number,
        state: TaskState::Pending.into(),
        ..Default::default()
    }
}

fn not_found(id: &str) -> Reply {
    Reply::refused(
        id,
        Problem::new(
            "not-found",
            format!("there is no job {id}"),
            "see `reelraft job list`",
        ),
    )
}

/// Cuts a text at a character boundary.
fn clip(text: &str, bytes_max: usize) -> String {
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
