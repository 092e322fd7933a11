//! `apply`: the only writer of the table. A total function: any command on
//! any state gives a reply, and a command whose premise has passed changes
//! nothing (so a retried or late proposal is harmless).

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
    spec::Audio,
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

    /// The task of a key, if the key names its latest attempt and it runs.
    fn running(&self, key: &crate::command::AttemptKey) -> Option<Task> {
        let entry = self.state.jobs.get(&key.job)?;
        let task = entry.tasks.get(&key.task())?;
        let current = task.attempt == key.attempt && task.state() == TaskState::Running;
        (current && !entry.job.state().ended()).then(|| Task::clone(task))
    }

    fn assign(&mut self, c: &Assign) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let Some(task) = entry.tasks.get(&c.key.task()) else {
            return Reply::stale(id);
        };
        let ready = task.state() == TaskState::Pending && c.key.attempt == task.attempt + 1;
        let same_build = entry.job.build.is_empty() || entry.job.build == c.build;
        if !ready || !same_build || entry.job.state().ended() {
            return Reply::stale(id);
        }
        let mut task = Task::clone(task);
        if entry.job.build.is_empty() {
            let mut job = entry.job.clone();
            job.build = c.build.clone();
            self.put_job(job);
        }
        task.state = TaskState::Running.into();
        task.attempt = c.key.attempt;
        task.node = c.node;
        task.started_unix_ms = c.unix_ms;
        self.put_task(id, task);
        Reply::done(id)
    }

    fn release(&mut self, c: &Release) -> Reply {
        let id = &c.key.job;
        let Some(mut task) = self.running(&c.key) else {
            return Reply::stale(id);
        };
        task.state = TaskState::Pending.into();
        match c.class() {
            FailureClass::Work | FailureClass::Final | FailureClass::PlanMismatch => {
                task.work_failures += 1
            }
            FailureClass::NodeFault | FailureClass::NodeLost => task.node_faults += 1,
            FailureClass::Stopped => {}
        }
        if task.failures.len() == FAILURES_KEPT_MAX {
            task.failures.remove(0);
        }
        task.failures.push(Failure {
            node: task.node,
            attempt: c.key.attempt,
            class: c.class,
            problem: clipped(&c.problem),
        });
        let kind = task.kind();
        self.put_task(id, task);
        if kind == TaskKind::Analyze {
            self.drop_shards(id);
        }
        let cut = matches!(kind, TaskKind::Shard | TaskKind::Assemble);
        if cut && c.class() == FailureClass::PlanMismatch {
            self.collapse(id, &c.problem.cause);
        }
        Reply::done(id)
    }

    fn plan_append(&mut self, c: &PlanAppend) -> Reply {
        let id = &c.key.job;
        if self.running(&c.key).is_none() || c.key.kind() != TaskKind::Analyze {
            return Reply::stale(id);
        }
        let Some(mut job) = self.job(id).cloned() else {
            return Reply::stale(id);
        };
        let total = job.shards_total as usize + c.ranges.len();
        let fits = c.ranges.len() <= PLAN_SHARDS_PER_COMMAND_MAX && total <= SHARDS_PER_JOB_MAX;
        if c.first != job.shards_total || !fits {
            return Reply::stale(id);
        }
        for (number, range) in (c.first..).zip(&c.ranges) {
            self.put_task(
                id,
                Task {
                    from_pts: range.from_pts,
                    to_pts: range.to_pts,
                    frames: range.frames,
                    ..pending(TaskKind::Shard, number)
                },
            );
        }
        job.shards_total = total as u32;
        self.put_job(job);
        Reply::done(id)
    }

    fn complete(&mut self, c: &Complete) -> Reply {
        let id = &c.key.job;
        let Some(mut task) = self.running(&c.key) else {
            return Reply::stale(id);
        };
        let Some(mut job) = self.job(id).cloned() else {
            return Reply::stale(id);
        };
        let kind = task.kind();
        if kind == TaskKind::Analyze && (c.shards_total != job.shards_total || c.shards_total == 0)
        {
            return Reply::stale(id);
        }
        // A reopened task must give the bytes it gave before (lineage).
        if !task.hash.is_empty() && task.hash != c.hash && kind != TaskKind::Assemble {
            let cause = format!(
                "{} {} gave {} and then {}",
                kind.name(),
                task.number,
                task.hash,
                c.hash
            );
            return self.end(id, c.unix_ms, not_reproducible(cause));
        }
        task.state = TaskState::Done.into();
        task.hash = c.hash.clone();
        task.bytes_out = c.bytes_out;
        task.bytes_in = c.bytes_in;
        task.frames = c.frames;
        task.report = c.report.clone();
        task.ended_unix_ms = c.unix_ms;
        self.put_task(id, task);
        match kind {
            TaskKind::Analyze => {
                job.state = JobState::Encoding.into();
                job.index_hash = c.hash.clone();
                job.frames_total = c.frames;
                job.plan_note = c.plan_note.clone();
                job.has_audio = c.has_audio && job.spec.audio() != Audio::None;
                let has_audio = job.has_audio;
                self.put_job(job);
                if has_audio {
                    self.put_task(id, pending(TaskKind::Audio, 0));
                }
            }
            TaskKind::Audio | TaskKind::Shard => self.assemble_if_encoded(id),
            TaskKind::Assemble => return self.succeed_if_agreed(id, c.unix_ms),
        }
        Reply::done(id)
    }

    fn reopen(&mut self, c: &Reopen) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let Some(task) = entry.tasks.get(&c.key.task()) else {
            return Reply::stale(id);
        };
        let finished = task.state() == TaskState::Done && task.attempt == c.key.attempt;
        let encoded = matches!(task.kind(), TaskKind::Shard | TaskKind::Audio);
        if !finished || !encoded || entry.job.state().ended() {
            return Reply::stale(id);
        }
        let mut job = entry.job.clone();
        let mut task = Task::clone(task);
        let assemblies = assemblies_of(entry);
        task.state = TaskState::Pending.into();
        job.state = JobState::Encoding.into();
        self.put_job(job);
        self.put_task(id, task);
        for key in assemblies {
            self.suspend(id, key);
        }
        Reply::done(id)
    }

    /// Takes an assembly back while a shard is encoded anew, keeping its
    /// attempt number so that a late result is refused.
    fn suspend(&mut self, id: &str, key: TaskKey) {
        let task = self
            .state
            .jobs
            .get(id)
            .and_then(|entry| entry.tasks.get(&key))
            .map(|task| Task::clone(task));
        if let Some(mut task) = task {
            task.state = TaskState::Pending.into();
            self.put_task(id, task);
        }
    }

    fn fail_job(&mut self, c: &FailJob) -> Reply {
        match self.job(&c.job) {
            Some(job) if !job.state().ended() => self.end(&c.job, c.unix_ms, clipped(&c.problem)),
            _ => Reply::stale(&c.job),
        }
    }

    fn end(&mut self, id: &str, unix_ms: u64, problem: Problem) -> Reply {
        if let Some(mut job) = self.job(id).cloned() {
            job.state = JobState::Failed.into();
            job.problem = Some(problem);
            job.ended_unix_ms = unix_ms;
            self.put_job(job);
            self.stop_tasks(id);
        }
        Reply::done(id)
    }

    /// Running tasks of an ended job are not running any more: workers read
    /// that from the table and end their processes.
    fn stop_tasks(&mut self, id: &str) {
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

    fn drop_shards(&mut self, id: &str) {
        let shards: Vec<TaskKey> = self
            .state
            .jobs
            .get(id)
            .map(|entry| {
                entry
                    .shards()
                    .map(|task| (TaskKind::Shard, task.number))
                    .collect()
            })
            .unwrap_or_default();
        for key in shards {
            self.remove_task(id, key);
        }
        if let Some(mut job) = self.job(id).cloned() {
            job.shards_total = 0;
            self.put_job(job);
        }
    }

    /// Makes the whole film one shard: the packets promised other frames than
    /// the decoder gives, or the parts do not fit together, so no other cut
    /// can be trusted. The new shard goes on counting attempts above all old
    /// ones, which fences those off.
    fn collapse(&mut self, id: &str, why: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let Some(mut job) = (!entry.job.single).then(|| entry.job.clone()) else {
            return;
        };
        let mut whole = pending(TaskKind::Shard, 0);
        whole.from_pts = entry.shards().map(|task| task.from_pts).min().unwrap_or(0);
        whole.to_pts = entry.shards().map(|task| task.to_pts).max().unwrap_or(0);
        whole.frames = job.frames_total;
        whole.attempt = entry.shards().map(|task| task.attempt).max().unwrap_or(0);
        let assemblies = assemblies_of(entry);
        self.drop_shards(id);
        for key in assemblies {
            self.suspend(id, key);
        }
        job.state = JobState::Encoding.into();
        job.single = true;
        job.shards_total = 1;
        job.plan_note = clip(why, PROBLEM_BYTES_MAX);
        self.put_job(job);
        self.put_task(id, whole);
    }

    fn assemble_if_encoded(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let encoded = entry
            .tasks
            .values()
            .filter(|task| matches!(task.kind(), TaskKind::Shard | TaskKind::Audio))
            .all(|task| task.state() == TaskState::Done);
        if !encoded || entry.job.state() != JobState::Encoding {
            return;
        }
        let mut job = entry.job.clone();
        job.state = JobState::Assembling.into();
        self.put_job(job);
        self.open_assemblies(id);
    }

    /// Every home assembles by itself.
    fn open_assemblies(&mut self, id: &str) {
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let missing: Vec<u32> = entry
            .job
            .homes
            .iter()
            .map(|home| home.node as u32)
            .filter(|&node| !entry.tasks.contains_key(&(TaskKind::Assemble, node)))
            .collect();
        for node in missing {
            self.put_task(id, pending(TaskKind::Assemble, node));
        }
    }

    /// Ends the job when all homes hold the same output, or do not.
    fn succeed_if_agreed(&mut self, id: &str, unix_ms: u64) -> Reply {
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let mut job = entry.job.clone();
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
            return self.end(id, unix_ms, not_reproducible(cause));
        }
        let agreed = job
            .homes
            .iter()
            .all(|home| done.iter().any(|task| u64::from(task.number) == home.node));
        if agreed {
            job.state = JobState::Succeeded.into();
            job.output_hash = first.hash.clone();
            job.output_bytes = first.bytes_out;
            job.proof_hash = first.report.clone();
            job.ended_unix_ms = done
                .iter()
                .map(|task| task.ended_unix_ms)
                .max()
                .unwrap_or(unix_ms);
            for home in &mut job.homes {
                home.filled = true;
            }
            self.put_job(job);
        }
        Reply::done(id)
    }
}

fn assemblies_of(entry: &JobEntry) -> Vec<TaskKey> {
    let keys = entry.tasks.keys();
    keys.filter(|(kind, _)| *kind == TaskKind::Assemble)
        .copied()
        .collect()
}

fn pending(kind: TaskKind, number: u32) -> Task {
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

fn not_reproducible(cause: String) -> Problem {
    Problem::new(
        "not-reproducible",
        cause,
        "two machines gave different bytes for the same work: check their memory and ffmpeg, then submit again",
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

fn clipped(problem: &Problem) -> Problem {
    Problem {
        kind: clip(&problem.kind, PROBLEM_BYTES_MAX),
        cause: clip(&problem.cause, PROBLEM_BYTES_MAX),
        hint: clip(&problem.hint, PROBLEM_BYTES_MAX),
    }
}
