//! The workers: sessions, attempts, results.

use std::{collections::BTreeSet, sync::Arc};

use reelraft_model::{
    AttemptKey, Command, Complete, FailureClass, JobEntry, PlanAppend, Problem, Release, Reopen,
    Reuse, ShardRange, TaskKind, is_engine, plan::attempt_is_current,
};

use crate::{
    aims::{bytes_of, encodes, is_first_shard, payload_of, with_bug},
    bugs::Bug,
    early::{EarlyStep, audio_taken_over, is_right, taken_over},
    engine::{is_unfit, unfit_class},
    home::Judged,
    node::{Attempt, Outcome},
    truth,
    world::{Origin, World},
};

/// How long an assignment waits for the replica to reach its entry.
const ASSIGN_APPLY_MS: u64 = 10_000;
/// How long a read looks for a home that lives.
const READ_OUTAGE_MS: u64 = 15_000;
/// How long a result looks for homes that take it.
const PUT_OUTAGE_MS: u64 = 30_000;
/// The same for an analysis, which must be on every home.
const PUT_PATIENCE_MS: u64 = 60_000;
/// A result that is not settled is sent again after this.
const RESULT_RESEND_MS: u64 = 1_000;

impl World {
    pub fn take_assignments(&mut self) {
        for (worker, key, log_index) in std::mem::take(&mut self.assignments) {
            let node = self.member_of(worker).filter(|node| self.in_reach(*node));
            let Some(node) = node else { continue };
            let work_left_ms = 500 * self.rng.between(0, 12);
            let process = self.nodes[&node].process;
            let memory = &mut self.node(node).memory;
            if memory.running.contains_key(&key) || memory.finished.contains_key(&key) {
                continue;
            }
            let attempt = Attempt::new(log_index, work_left_ms);
            memory.running.insert(key.clone(), attempt);
            match is_engine(worker) {
                true => drop(memory.runners.insert(key, worker)),
                false => self.truth.begun(&key, node, process, self.term),
            }
        }
    }

    /// One round of a node's worker.
    pub fn work(&mut self, node: u64) {
        self.follow_table(node);
        let running = std::mem::take(&mut self.node(node).memory.running);
        for (key, mut attempt) in running {
            match self.attempt(node, &key, &mut attempt) {
                Step::Goes => drop(self.node(node).memory.running.insert(key, attempt)),
                Step::Dropped => {}
                Step::Ended(outcome) => {
                    drop(self.node(node).memory.finished.insert(key, outcome));
                }
            }
        }
        self.keep_session(node);
    }

    /// Stops what the table no longer gives this node.
    fn follow_table(&mut self, node: u64) {
        let state = self.local(node);
        let applied = self.nodes[&node].applied;
        let kept = self.bugs.has(Bug::LateResultKept);
        let memory = &mut self.node(node).memory;
        let runners = &memory.runners;
        let runner = |key: &AttemptKey| runners.get(key).copied().unwrap_or(node);
        let current = |key: &AttemptKey| attempt_is_current(&state, key, runner(key));
        memory
            .running
            .retain(|key, attempt| attempt.log_index > applied || current(key));
        memory.finished.retain(|key, _| kept || current(key));
        let (running, finished) = (&memory.running, &memory.finished);
        let known = |key: &AttemptKey| running.contains_key(key) || finished.contains_key(key);
        memory.runners.retain(|key, _| known(key));
        let finished = &memory.finished;
        memory.sent_ms.retain(|key, _| finished.contains_key(key));
    }

    fn keep_session(&mut self, node: u64) {
        let reached = self
            .leader
            .as_ref()
            .map(|leader| (leader.node, leader.term));
        let reached = reached.filter(|(leader, _)| self.reaches(node, *leader));
        let Some((_, term)) = reached else {
            self.node(node).memory.session = None;
            return;
        };
        let memory = &self.nodes[&node].memory;
        let named: BTreeSet<AttemptKey> = memory
            .running
            .keys()
            .chain(memory.finished.keys())
            .cloned()
            .collect();
        if memory.session != Some(term) {
            self.node(node).memory.session = Some(term);
            self.hello(node, named);
        } else {
            let full = self.nodes[&node].full(self.now_ms);
            let now_ms = self.now_ms;
            if let Some(leader) = &mut self.leader
                && let Some(session) = leader.open.get_mut(&node)
            {
                session.heard_ms = now_ms;
                session.running = named;
                session.full = full;
                leader.heard.insert(node, now_ms);
            }
        }
        self.send_results(node);
    }

    fn send_results(&mut self, node: u64) {
        let now_ms = self.now_ms;
        let memory = &mut self.node(node).memory;
        let mut due = Vec::new();
        for (key, outcome) in &memory.finished {
            let sent = memory.sent_ms.get(key);
            if sent.is_none_or(|at| now_ms - at >= RESULT_RESEND_MS) {
                due.push((key.clone(), outcome.clone()));
            }
        }
        for (key, outcome) in due {
            self.node(node).memory.sent_ms.insert(key.clone(), now_ms);
            let runner = self.runner(node, &key);
            let current = attempt_is_current(self.log.state(), &key, runner);
            self.truth.sent(&key, node, current, now_ms);
            self.propose(entries_of(&key, outcome), Origin::Result(node, key));
        }
    }

    /// A result was written down, or came too late: both settle it.
    pub fn settled(&mut self, node: u64, key: &AttemptKey, stale: bool) {
        // An analysis of other homes than the job has now is made again.
        let runner = self.runner(node, key);
        if stale && attempt_is_current(self.log.state(), key, runner) {
            let failed = Outcome::Failed(FailureClass::OutOfReach, "moved".into(), vec![]);
            self.propose(entries_of(key, failed), Origin::Home);
        }
        if !(stale && self.bugs.has(Bug::LateResultKept)) {
            self.node(node).memory.finished.remove(key);
        }
    }

    fn attempt(&mut self, node: u64, key: &AttemptKey, attempt: &mut Attempt) -> Step {
        attempt.age_ms += self.step_ms;
        let state = self.local(node);
        if let Some(failed) = self.engine_fails(node, key, attempt) {
            return Step::Ended(failed);
        }
        let runner = self.runner(node, key);
        let entry = match &attempt.entry {
            Some(entry) => entry.clone(),
            None => {
                if self.nodes[&node].applied < attempt.log_index {
                    return match attempt.age_ms > ASSIGN_APPLY_MS {
                        true => Step::Dropped,
                        false => Step::Goes,
                    };
                }
                if !attempt_is_current(&state, key, runner) {
                    return Step::Dropped;
                }
                let of = state.job(&key.job).expect("it is current");
                let foreign = of.job.build != self.nodes[&node].build;
                if foreign && !self.bugs.has(Bug::BuildUnchecked) {
                    let cause = "other-build".to_string();
                    let failed = Outcome::Failed(FailureClass::Stopped, cause, vec![]);
                    return Step::Ended(failed);
                }
                let entry = state.job(&key.job).expect("it is current").clone();
                attempt.entry = Some(entry.clone());
                entry
            }
        };
        if attempt.made.is_some() {
            return self.give_to_homes(node, key, attempt, &state);
        }
        let entry = match self.go_early(node, key, attempt, &entry) {
            EarlyStep::Goes => return Step::Goes,
            EarlyStep::GivenUp => {
                let cause = "no chunk comes".to_string();
                let failed = Outcome::Failed(FailureClass::OutOfReach, cause, vec![]);
                return Step::Ended(failed);
            }
            EarlyStep::AsEver => attempt.entry.clone().unwrap_or(entry),
        };
        if let Some(step) = self.read_inputs(node, key, attempt, &entry) {
            return step;
        }
        if attempt.work_left_ms > 0 {
            attempt.work_left_ms = attempt.work_left_ms.saturating_sub(self.step_ms);
            return Step::Goes;
        }
        if let Some(failed) = self.injected_failure(key, &entry) {
            return Step::Ended(failed);
        }
        attempt.outage_ms = 0;
        if is_unfit(key, &entry) {
            let cause = "the parts do not fit".to_string();
            return Step::Ended(Outcome::Failed(unfit_class(self.bugs), cause, vec![]));
        }
        let build = &self.nodes[&node].build;
        let made = with_bug(self.bugs, made(key, &entry, build));
        attempt.made = Some(self.made_by(runner, made));
        self.give_to_homes(node, key, attempt, &state)
    }

    fn read_inputs(
        &mut self,
        node: u64,
        key: &AttemptKey,
        attempt: &mut Attempt,
        entry: &Arc<JobEntry>,
    ) -> Option<Step> {
        let mut lost = Vec::new();
        let mut away = false;
        let mut read = |world: &World, blob: &str, of: Option<&reelraft_model::Task>| match (
            world.can_read(entry, node, blob),
            of,
        ) {
            (Ok(()), _) => {}
            _ if of.is_some_and(|task| world.can_take(task, node, blob)) => {}
            (Err(true), Some(task)) => lost.push(AttemptKey::of(&entry.job.id, task)),
            (Err(_), _) => away = true,
        };
        if key.kind() == TaskKind::Measure {
            return self.read_both(node, entry).err().map(Step::Ended);
        }
        if let Some(reuse) = &entry.job.reuse {
            return self.read_other(node, reuse);
        }
        if key.kind() == TaskKind::Assemble {
            read(self, &entry.job.index_hash, None);
            for task in entry.parts() {
                read(self, &task.hash, Some(task));
                read(self, &task.report, Some(task));
            }
        } else if key.kind() != TaskKind::Analyze && entry.job.index_hash.is_empty() {
            // What it needs was looked for when it began.
        } else {
            let blob = match key.kind() {
                TaskKind::Analyze => &entry.job.manifest,
                _ => &entry.job.index_hash,
            };
            read(self, blob, None);
            let all = truth::all_chunks(entry.job.source_bytes);
            away |= self.readable_chunks(entry, node) & all != all;
        }
        if !lost.is_empty() && !away {
            lost.dedup();
            let failed = Outcome::Failed(FailureClass::NodeFault, "lost-bytes".into(), lost);
            return Some(Step::Ended(failed));
        }
        if !away && lost.is_empty() {
            attempt.outage_ms = 0;
            return None;
        }
        attempt.outage_ms += self.step_ms;
        if attempt.outage_ms < READ_OUTAGE_MS {
            return Some(Step::Goes);
        }
        let class = match self.bugs.has(Bug::OutageEndsJob) {
            true => FailureClass::Final,
            false => FailureClass::OutOfReach,
        };
        let failed = Outcome::Failed(class, "unavailable".into(), vec![]);
        Some(Step::Ended(failed))
    }

    /// Whether a node can't take the output of an equal job.
    fn read_other(&self, node: u64, reuse: &Reuse) -> Option<Step> {
        let hashes = [&reuse.index_hash, &reuse.output_hash, &reuse.proof_hash];
        let state = self.local(node);
        let other = state.job(&reuse.job);
        let other = other.filter(|other| other.job.output_hash == reuse.output_hash);
        let readable = other.is_some_and(|other| {
            hashes
                .iter()
                .all(|hash| self.can_read(&other, node, hash).is_ok())
        });
        let failed = || Outcome::Failed(FailureClass::NodeFault, "output-gone".into(), vec![]);
        (!readable).then(|| Step::Ended(failed()))
    }

    fn injected_failure(&mut self, key: &AttemptKey, entry: &JobEntry) -> Option<Outcome> {
        let cursed = self
            .truth
            .job(&key.job)
            .map_or((false, false), |job| (job.cursed, job.odd));
        let cut = encodes(key, entry) || key.kind() == TaskKind::Assemble;
        let odd = cursed.1 && !entry.job.single && cut;
        let class = match (cursed.0, odd) {
            (true, _) if is_first_shard(key, entry) => FailureClass::Work,
            (_, true) if self.rng.chance(400) => FailureClass::PlanMismatch,
            _ if !self.calm && self.rng.chance(10) => FailureClass::NodeFault,
            _ => return None,
        };
        Some(Outcome::Failed(class, "injected".into(), vec![]))
    }

    /// Puts a result on the homes, or keeps an output on this disk.
    fn give_to_homes(
        &mut self,
        node: u64,
        key: &AttemptKey,
        attempt: &mut Attempt,
        state: &reelraft_model::State,
    ) -> Step {
        let Some(made) = attempt.made.clone() else {
            return Step::Goes;
        };
        let blobs = [made.hash.clone(), made.report.clone()];
        let failed = |cause: &str| {
            Step::Ended(Outcome::Failed(
                FailureClass::NodeFault,
                cause.into(),
                vec![],
            ))
        };
        if key.kind() == TaskKind::Assemble {
            if self.nodes[&node].full(self.now_ms) {
                return failed("disk-full");
            }
            let index = attempt.index();
            if !(attempt.takes_output() && self.bugs.has(Bug::OutputNotTaken)) {
                self.write(node, &key.job, &blobs);
                self.write(node, &key.job, &[index]);
            }
            return Step::Ended(Outcome::Done(Box::new(made), vec![]));
        }
        let index = self.nodes[&node].applied;
        let Some(entry) = state.job(&key.job) else {
            return failed("gone");
        };
        let homes: Vec<u64> = entry.job.current_homes().map(|home| home.node).collect();
        attempt.stored.retain(|home| homes.contains(home));
        let (mut refused, mut away) = (false, false);
        for &home in &homes {
            match self.judge(node, home, (&key.job, entry.job.epoch, index)) {
                Judged::Taken => {
                    self.write(home, &key.job, &blobs);
                    attempt.stored.insert(home);
                }
                Judged::Refused => refused = true,
                Judged::OutOfReach => away = true,
            }
        }
        let everywhere = key.kind() == TaskKind::Analyze;
        let missed = attempt.stored.is_empty() || refused || (everywhere && away);
        if !missed {
            return Step::Ended(self.given(node, key, made, &entry));
        }
        attempt.outage_ms += self.step_ms;
        let patience_ms = if everywhere {
            PUT_PATIENCE_MS
        } else {
            PUT_OUTAGE_MS
        };
        match attempt.outage_ms < patience_ms {
            true => Step::Goes,
            false if refused => failed("no home takes it"),
            false => {
                let cause = "no home can be reached".to_string();
                Step::Ended(Outcome::Failed(FailureClass::OutOfReach, cause, vec![]))
            }
        }
    }
}

impl World {
    /// A result that the homes have.
    fn given(&self, node: u64, key: &AttemptKey, made: Complete, entry: &JobEntry) -> Outcome {
        let analysis = key.kind() == TaskKind::Analyze;
        let made = Complete {
            epoch: analysis.then_some(entry.job.epoch),
            read: self.read_early(node, key),
            audio_kept: match analysis {
                true => audio_taken_over(entry, self.bugs.has(Bug::EarlyKept)),
                false => 0,
            },
            ..made
        };
        let mut ranges = truth::ranges_of(key, made.shards_total);
        if analysis {
            let kept = taken_over(entry, self.bugs.has(Bug::EarlyKept));
            ranges.drain(..kept.min(ranges.len()));
        }
        Outcome::Done(Box::new(made), ranges)
    }
}

#[allow(clippy::large_enum_variant, reason = "never held in numbers")]
enum Step {
    Goes,
    Dropped,
    Ended(Outcome),
}

/// What an attempt makes: a function of the job, its parts and the build alone.
pub fn made(key: &AttemptKey, entry: &JobEntry, build: &str) -> Complete {
    let hash = match key.kind() {
        TaskKind::Assemble => {
            let parts: Vec<&str> = entry.parts().map(|task| task.hash.as_str()).collect();
            format!("{build}:out({})", parts.join(" "))
        }
        _ => truth::part_hash(build, entry, key.task()),
    };
    let reuse = entry.job.reuse.as_ref();
    if let Some(reuse) = reuse.filter(|_| key.kind() != TaskKind::Measure) {
        return Complete {
            hash: reuse.output_hash.clone(),
            report: reuse.proof_hash.clone(),
            bytes_out: 10,
            frames: 100,
            key: key.clone(),
            ..Default::default()
        };
    }
    let task = entry.tasks.get(&key.task());
    let wrong = entry.job.index_hash.is_empty() && task.is_some_and(|task| !is_right(task));
    let hash = match wrong {
        true => format!("wrong({hash})"),
        false => hash,
    };
    let analysis = key.kind() == TaskKind::Analyze;
    Complete {
        report: if analysis {
            String::new()
        } else {
            format!("r({hash})")
        },
        hash,
        bytes_out: bytes_of(key, entry),
        shards_total: if analysis {
            truth::shards(&entry.job)
        } else {
            0
        },
        audio_tracks: u32::from(analysis),
        shares_parts: analysis,
        audio_keys: analysis.then(|| "k0".to_string()).into_iter().collect(),
        extras: analysis && entry.job.source_bytes.is_multiple_of(2),
        frames: 100,
        payload: payload_of(entry, task.map(AsRef::as_ref)),
        key: key.clone(),
        ..Default::default()
    }
}

/// The entries by which a leader writes a result down.
fn entries_of(key: &AttemptKey, outcome: Outcome) -> Vec<Vec<Command>> {
    match outcome {
        Outcome::Done(complete, ranges) => {
            // Those that the early plan had are taken over.
            let kept = complete.shards_total as usize - ranges.len();
            let keys = (0..complete.shards_total).map(|number| format!("k{number}"));
            let keys: Vec<String> = keys.collect();
            let first = |part: usize, ranges: &[ShardRange]| {
                vec![Command::PlanAppend(PlanAppend {
                    key: key.clone(),
                    first: (kept + 2 * part) as u32,
                    ranges: ranges.to_vec(),
                    shard_keys: keys.iter().skip(kept + 2 * part).take(2).cloned().collect(),
                    replace: part == 0,
                    ..Default::default()
                })]
            };
            let planned = key.kind() == TaskKind::Analyze;
            let nothing_new = (planned && ranges.is_empty()).then(|| first(0, &[]));
            let parts = ranges.chunks(2).enumerate();
            let parts = parts.map(|(part, ranges)| first(part, ranges));
            let parts = nothing_new.into_iter().chain(parts);
            let end = vec![Command::Complete(*complete)];
            parts.chain(std::iter::once(end)).collect()
        }
        Outcome::Failed(class, cause, lost) => {
            let reopen = |key| Command::Reopen(Reopen { key });
            let mut commands: Vec<Command> = lost.into_iter().map(reopen).collect();
            commands.push(Command::Release(Release {
                key: key.clone(),
                class: class.into(),
                problem: Problem::new(&cause, &cause, "mend it"),
            }));
            vec![commands]
        }
    }
}
