//! Commands about tasks: assigning, releasing, planning, completing and
//! reopening them. Each takes effect only for the attempt that the table names.

use super::{
    early::is_unplanned,
    stages::{assemblies_of, joined_notes, not_reproducible},
    writer::{Writer, clipped},
};
use crate::{
    command::{Assign, AttemptKey, Complete, PlanAppend, Release, Reopen, Reply},
    early::ChunksRead,
    engine_rows::{Claim, is_engine},
    limits::{
        ASSEMBLY_NOTE_LEVEL, DECODER_LEVEL, FAILURES_KEPT_MAX, PARTS_LEVEL,
        PLAN_SHARDS_PER_COMMAND_MAX, SHARDS_PER_JOB_MAX, TRACKS_MAX, UNBIND_LEVEL,
    },
    rows::{Failure, FailureClass, Job, JobState, Problem, Task, TaskKind, TaskState},
    twin::Twin,
};

impl Writer<'_> {
    /// The task of a key, if the key names an attempt that runs. The row that is given
    /// names that attempt.
    pub(super) fn running(&self, key: &AttemptKey) -> Option<Task> {
        let entry = self.state.jobs.get(&key.job)?;
        let task = entry.tasks.get(&key.task())?;
        let current = task.is_running(key.attempt) && entry.job.runs(key.kind());
        let mut task = current.then(|| Task::clone(task))?;
        if task.attempt != key.attempt {
            task.swap_with_twin();
        }
        Some(task)
    }

    pub(super) fn assign(&mut self, c: &Assign) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let Some(task) = entry.tasks.get(&c.key.task()) else {
            return Reply::stale(id);
        };
        if c.twin {
            return self.assign_twin(c);
        }
        let ready = task.state() == TaskState::Pending && c.key.attempt == task.last_attempt() + 1;
        let same_build = entry.job.build.is_empty() || entry.job.build == c.build;
        if !ready || !same_build || !entry.job.runs(c.key.kind()) {
            return Reply::stale(id);
        }
        let offered = entry.job.offer().is_some();
        // It was planned before the seal that brought the offer, which goes first.
        if offered && self.state.feature_level() >= PARTS_LEVEL {
            return Reply::stale(id);
        }
        if entry.job.state() == JobState::Encoding
            && let Some(mut made) = self.made_meanwhile(&entry.job, task)
        {
            made.attempt = c.key.attempt;
            self.put_task(id, made);
            self.assemble_if_encoded(id);
            return Reply::done(id);
        }
        let mut task = Task::clone(task);
        if entry.job.build.is_empty() || offered {
            let mut job = entry.job.clone();
            job.build = c.build.clone();
            if offered {
                job.reuse = None;
            }
            self.put_job(job);
        }
        task.state = TaskState::Running.into();
        task.attempt = c.key.attempt;
        task.node = c.node;
        task.started_unix_ms = c.unix_ms;
        task.twin = None;
        self.put_task(id, task);
        Reply::done(id)
    }

    /// Gives a shard that runs to a second node.
    fn assign_twin(&mut self, c: &Assign) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let may_run = entry.job.state() == JobState::Encoding && entry.job.build == c.build;
        let task = entry.tasks.get(&c.key.task()).filter(|task| {
            may_run
                && task.kind() == TaskKind::Shard
                && task.state() == TaskState::Running
                && !task.has_twin()
                && task.node != c.node
                && c.key.attempt == task.last_attempt() + 1
        });
        let Some(mut task) = task.map(|task| Task::clone(task)) else {
            return Reply::stale(id);
        };
        task.twin = Some(Twin {
            attempt: c.key.attempt,
            node: c.node,
            started_unix_ms: c.unix_ms,
            over: false,
        });
        self.put_task(id, task);
        Reply::done(id)
    }

    pub(super) fn release(&mut self, c: &Release) -> Reply {
        let id = &c.key.job;
        let Some(mut task) = self.running(&c.key) else {
            return Reply::stale(id);
        };
        let engine = is_engine(task.node);
        let class = self.class_of(&task, c);
        match class {
            _ if engine => {}
            FailureClass::Work | FailureClass::Final | FailureClass::PlanMismatch => {
                task.work_failures += 1
            }
            FailureClass::NodeFault | FailureClass::NodeLost => task.node_faults += 1,
            FailureClass::Stopped | FailureClass::OutOfReach => {}
        }
        // A long wait for bytes must not push out the failures that count.
        let last = task.failures.last().map(Failure::class);
        if class == FailureClass::OutOfReach && last == Some(FailureClass::OutOfReach) {
            task.failures.pop();
        }
        if task.failures.len() == FAILURES_KEPT_MAX {
            task.failures.remove(0);
        }
        task.failures.push(Failure {
            node: task.node,
            attempt: c.key.attempt,
            class: class.into(),
            problem: clipped(&c.problem),
        });
        let kind = task.kind();
        if task.has_twin() {
            task.swap_with_twin();
            task.end_twin();
        } else {
            task.state = TaskState::Pending.into();
        }
        self.put_task(id, task);
        if kind == TaskKind::Analyze {
            self.drop_plan(id);
            let level = match c.problem.kind.as_str() {
                Problem::ENCODER_MISSING => UNBIND_LEVEL,
                Problem::DECODER_MISSING => DECODER_LEVEL,
                _ => u32::MAX,
            };
            if self.state.feature_level() >= level {
                self.unbind(id);
            }
        }
        let away = matches!(class, FailureClass::NodeLost | FailureClass::Stopped);
        let reuses = self.job(id).is_some_and(|job| job.reuse.is_some());
        if kind == TaskKind::Assemble && reuses && !away {
            self.give_up_reuse(id);
            return Reply::done(id);
        }
        let cut = matches!(kind, TaskKind::Shard | TaskKind::Assemble | TaskKind::Probe);
        let planned = self.job(id).is_some_and(|job| !is_unplanned(job));
        if cut && planned && class == FailureClass::PlanMismatch {
            self.collapse(id, &c.problem.cause);
        }
        Reply::done(id)
    }

    /// Lets a job's analysis take another encoder build.
    fn unbind(&mut self, id: &str) {
        self.drop_early(id);
        if let Some(mut job) = self.job(id).cloned() {
            job.build.clear();
            self.put_job(job);
        }
    }

    pub(super) fn plan_append(&mut self, c: &PlanAppend) -> Reply {
        let id = &c.key.job;
        if self.running(&c.key).is_none() || c.key.kind() != TaskKind::Analyze {
            return Reply::stale(id);
        }
        if let Some(early) = &c.early {
            return self.append_early(c, early);
        }
        let Some(job) = self.job(id) else {
            return Reply::stale(id);
        };
        let total = c.first as usize + c.ranges.len();
        let fits = c.ranges.len() <= PLAN_SHARDS_PER_COMMAND_MAX && total <= SHARDS_PER_JOB_MAX;
        let follows = c.first == job.shards_total || (c.replace && c.first < job.shards_total);
        // Of a source that is not sealed there is no other plan.
        if !follows || !fits || job.state() == JobState::Uploading {
            return Reply::stale(id);
        }
        if c.replace {
            self.drop_shards_from(id, c.first);
        }
        let Some(mut job) = self.job(id).cloned() else {
            return Reply::stale(id);
        };
        let mut keys = c.shard_keys.iter();
        for (number, range) in (c.first..).zip(&c.ranges) {
            let mut task = Task::shard(number, range);
            task.part_key = keys.next().cloned().unwrap_or_default();
            self.make_task(id, task);
        }
        job.shards_total = total as u32;
        job.plan_sealed |= c.replace;
        self.put_job(job);
        Reply::done(id)
    }

    pub(super) fn complete(&mut self, c: &Complete) -> Reply {
        let id = &c.key.job;
        let Some(mut task) = self.running(&c.key) else {
            return self.compare_with_twin(c);
        };
        let Some(mut job) = self.job(id).cloned() else {
            return Reply::stale(id);
        };
        let kind = task.kind();
        if !counts_now(&job, c) {
            return Reply::stale(id);
        }
        // A plan has something to encode: sound alone has no shards.
        let planned = c.shards_total == job.shards_total
            && (c.shards_total, c.audio_tracks) != (0, 0)
            && c.audio_tracks as usize <= TRACKS_MAX;
        // The index alone can't be made again once the job relies on it: homes
        // that came since it was put on them all may lack it.
        let kept = c.epoch.is_none_or(|epoch| epoch == job.epoch);
        if kind == TaskKind::Analyze && !(planned && kept) {
            return Reply::stale(id);
        }
        if let Some(reply) = self.judge_engine(&mut task, c) {
            return reply;
        }
        if let Some(problem) = differs(&task, c) {
            return self.fail(id, c.unix_ms, problem);
        }
        task.end_twin();
        take_result(&mut task, c);
        self.put_task(id, task);
        match kind {
            TaskKind::Analyze => {
                job.state = JobState::Encoding.into();
                job.reuse = None;
                job.index_hash = c.hash.clone();
                job.frames_total = c.frames;
                job.plan_note = joined_notes([&job.replan_note, &c.plan_note]);
                job.audio_tracks = c.audio_tracks;
                job.shard_memory_mib = c.shard_memory_mib;
                // Of one that aims at something a key does not say how its shards are made.
                job.shares_parts = c.shares_parts && !job.spec.aims_or_measures();
                job.duration_us = c.duration_us;
                self.put_job(job);
                let kept = c.audio_kept.min(c.audio_tracks);
                self.settle_audio(id, c.audio_tracks, kept, &c.audio_keys);
                if c.extras {
                    self.make_task(id, Task::pending(TaskKind::Extras, 0));
                }
                self.forgive(id);
                self.take_made_parts(id);
                self.begin_search(id);
                self.assemble_if_encoded(id);
            }
            TaskKind::Probe => return self.search_on(id, c.unix_ms),
            TaskKind::Audio | TaskKind::Extras => {
                self.assemble_if_encoded(id);
                return self.search_on(id, c.unix_ms);
            }
            TaskKind::Shard => self.assemble_if_encoded(id),
            TaskKind::Measure => return self.measured(id),
            TaskKind::Assemble => {
                self.note_of_assembly(job, &c.plan_note);
                return self.succeed_if_agreed(id, c.unix_ms);
            }
        }
        Reply::done(id)
    }

    /// A result that comes after the other one at the same shard must be the same,
    /// unless it may rest on other bytes than were sealed.
    fn compare_with_twin(&mut self, c: &Complete) -> Reply {
        let id = &c.key.job;
        let entry = self.state.jobs.get(id).filter(|_| c.read.is_none());
        let entry = entry.filter(|entry| entry.job.state() == JobState::Encoding);
        let task = entry.and_then(|entry| entry.tasks.get(&c.key.task()));
        let done = task.filter(|task| task.state() == TaskState::Done && task.hash != c.hash);
        let twin = done.and_then(|task| task.twin.as_ref());
        let other = done.filter(|_| twin.is_some_and(|twin| twin.attempt == c.key.attempt));
        if let (Some(task), Some(twin)) = (other, twin) {
            // An engine's word is worth nothing against a member's.
            let (task, late) = (
                Task::clone(task),
                Task {
                    node: twin.node,
                    ..Task::default()
                },
            );
            match (task.is_by_engine(), is_engine(late.node)) {
                (false, false) => {}
                (true, false) if task.claim.is_none() => {
                    self.found_lying(&Claim::unconfirmed(&task), &late, c);
                    return Reply::done(id);
                }
                _ => return Reply::stale(id),
            }
        }
        match other.and_then(|task| differs(task, c)) {
            Some(problem) => self.fail(id, c.unix_ms, problem),
            None => Reply::stale(id),
        }
    }

    /// Adds what an assembly has to say. An entry of a former level does what it
    /// did.
    fn note_of_assembly(&mut self, mut job: Job, note: &str) {
        let noted = self.state.feature_level() >= ASSEMBLY_NOTE_LEVEL;
        // Every home says the same.
        if noted && !job.plan_note.contains(note) {
            job.plan_note = joined_notes([&job.plan_note, note]);
            self.put_job(job);
        }
    }

    pub(super) fn reopen(&mut self, c: &Reopen) -> Reply {
        let id = &c.key.job;
        let Some(entry) = self.state.jobs.get(id) else {
            return Reply::stale(id);
        };
        let Some(task) = entry.tasks.get(&c.key.task()) else {
            return Reply::stale(id);
        };
        let finished = task.state() == TaskState::Done && task.attempt == c.key.attempt;
        let finished = finished && !is_unplanned(&entry.job);
        if !finished || !task.kind().is_part() || entry.job.state().ended() {
            return Reply::stale(id);
        }
        let mut job = entry.job.clone();
        let mut task = Task::clone(task);
        let assemblies = assemblies_of(entry);
        task.state = TaskState::Pending.into();
        if task.is_by_engine() && task.claim.is_none() {
            task.claim = Some(Claim::unconfirmed(&task));
            task.hash.clear();
        }
        task.taken_from.clear();
        job.state = JobState::Encoding.into();
        self.put_job(job);
        self.put_task(id, task);
        for key in assemblies {
            self.suspend(id, key);
        }
        Reply::done(id)
    }
}

/// Why a job fails of which a task gave another result than before: a reopened one
/// must give the same (lineage), and so must both attempts at a shard.
fn differs(task: &Task, c: &Complete) -> Option<Problem> {
    let (before, now) = (&task.hash, &c.hash);
    let judged = !matches!(task.kind(), TaskKind::Assemble | TaskKind::Measure);
    let same = before.is_empty() || before == now || !judged;
    let (kind, number) = (task.kind().name(), task.number);
    let cause = || format!("{kind} {number} gave {before} and then {now}");
    (!same).then(|| not_reproducible(cause()))
}

/// Has a task be done as a result says.
fn take_result(task: &mut Task, c: &Complete) {
    task.state = TaskState::Done.into();
    task.hash = c.hash.clone();
    task.bytes_out = c.bytes_out;
    task.bytes_in = c.bytes_in;
    task.frames = c.frames;
    task.report = c.report.clone();
    task.payload = c.payload;
    task.score_micro = c.score_micro;
    task.ended_unix_ms = c.unix_ms;
    if let Some(early) = &mut task.early {
        early.read = c.read.clone();
    }
}

/// Whether a result counts: before the seal only what can be confirmed by it, and
/// after it nothing that still would have to be.
fn counts_now(job: &Job, c: &Complete) -> bool {
    let uploading = job.state() == JobState::Uploading;
    let part = matches!(c.key.kind(), TaskKind::Shard | TaskKind::Audio);
    let confirmable = part && c.read.is_some();
    uploading == confirmable && c.read.as_ref().is_none_or(ChunksRead::fits)
}
