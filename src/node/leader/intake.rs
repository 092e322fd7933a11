//! What workers tell the leader: hellos, beats and results. Results become
//! commands here; each carries its own condition, so that a late or repeated
//! one changes nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
};

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{
    AttemptKey, Command, Complete, FailureClass, JobEntry, PlanAppend, Problem, RegisterNode,
    Release, Reopen, ShardRange, State, TaskKind, is_engine,
    limits::{
        ASSEMBLY_NOTE_LEVEL, COMMANDS_PER_ENTRY_MAX, EARLY_LEVEL, PARTS_LEVEL,
        PLAN_SHARDS_PER_COMMAND_MAX, REPLAN_LEVEL,
    },
};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::sessions::Sessions;
use crate::{
    clock::unix_ms,
    limits::SESSION_QUEUE,
    node::messages::{
        Analysis, AttemptResult, Done, Failed, FromWorker, Hello, Outcome, Progress, ToWorker,
    },
};

/// The leader's ear.
#[derive(Clone)]
pub struct Intake {
    cluster: Cluster,
    sessions: Arc<Sessions>,
    /// Of so many in a hundred results of engines a member makes the same again.
    checks_percent: u32,
    /// Results that are being written down.
    recording: Arc<Mutex<BTreeSet<AttemptKey>>>,
}

/// One worker's open session. It ends when this is dropped.
pub struct WorkerSession {
    intake: Intake,
    node: u64,
    number: u64,
}

impl WorkerSession {
    /// Takes a message of the worker. A result is written down beside the
    /// session, so that beats are not held up.
    pub fn receive(&self, message: FromWorker) {
        match message {
            FromWorker::Beat(beat) => self.intake.sessions.beat(self.node, self.number, beat),
            FromWorker::Result(result) => {
                let (intake, node) = (self.intake.clone(), self.node);
                tokio::spawn(async move { intake.record_result(node, result).await });
            }
        }
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        info!(node = self.node, "session closed");
        self.intake.sessions.close(self.node, self.number);
    }
}

impl Intake {
    /// An intake for the leader's sessions.
    pub fn new(cluster: Cluster, sessions: Arc<Sessions>) -> Self {
        Intake {
            cluster,
            sessions,
            checks_percent: 0,
            recording: Arc::default(),
        }
    }

    /// The same that has so many in a hundred results of engines made again.
    pub fn checking(self, checks_percent: u32) -> Self {
        Intake {
            checks_percent,
            ..self
        }
    }

    /// Refuses a session unless this node leads.
    ///
    /// # Errors
    /// `no-leader`.
    pub fn check_leading(&self) -> Result<(), Problem> {
        match self.cluster.leadership().borrow().leading {
            true => Ok(()),
            false => Err(Problem::new(
                "no-leader",
                "this node does not lead",
                "ask the leader",
            )),
        }
    }

    /// Opens a worker's session; gives what is to be sent to it.
    ///
    /// # Errors
    /// A [`Problem`] where this node does not lead, or knows the worker's id
    /// with another disk.
    pub async fn open(
        &self,
        hello: Hello,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), Problem> {
        self.check_leading()?;
        let leadership = self.cluster.leadership().borrow().clone();
        self.register(&hello).await?;
        let node = hello.node;
        let (to_worker, out) = mpsc::channel(SESSION_QUEUE);
        let welcome = ToWorker::Welcome {
            leader: self.cluster.identity().node,
            term: leadership.term,
        };
        // The first message of an empty queue has room.
        let _ = to_worker.try_send(welcome);
        let named = hello.beat.running.clone();
        info!(node, running = named.len(), "session opened");
        let (number, restarted) = self.sessions.open(hello, to_worker);
        let session = WorkerSession {
            intake: self.clone(),
            node,
            number,
        };
        if restarted {
            self.take_back(node, &named).await;
        }
        Ok((session, out))
    }

    /// Puts a node's disk on record, or refuses one that has changed.
    async fn register(&self, hello: &Hello) -> Result<(), Problem> {
        let state = self.cluster.local();
        let known = state.nodes().any(|node| {
            node.id == hello.node
                && node.incarnation == hello.incarnation
                && node.address == hello.address
                && node.feature_level == hello.feature_level
        });
        if known {
            return Ok(());
        }
        let command = Command::RegisterNode(RegisterNode {
            node: hello.node,
            incarnation: hello.incarnation.clone(),
            address: hello.address.clone(),
            feature_level: hello.feature_level,
            left_behind: false,
        });
        let committed = self.cluster.propose_local(vec![command]).await;
        let committed = committed.map_err(|error| error.problem())?;
        committed
            .replies
            .into_iter()
            .try_for_each(|reply| reply.accepted().map(drop))
    }

    /// Takes back what died with a node's process: it counts as lost with the
    /// node, so that work which kills its node is not given out for ever.
    async fn take_back(&self, node: u64, named: &Progress) {
        let state = self.cluster.local();
        let running = state.eventful().flat_map(|entry| entry.attempts_running());
        let died = running.filter(|(_, at)| *at == node).map(|(key, _)| key);
        let commands: Vec<Command> = died
            .filter(|key| !named.contains_key(key))
            .map(|key| {
                let problem = Problem::new(
                    "node-lost",
                    format!("node {node} was started anew while it ran this"),
                    "the work goes on by itself",
                );
                Command::Release(Release {
                    key,
                    class: FailureClass::NodeLost.into(),
                    problem,
                })
            })
            .collect();
        for part in commands.chunks(COMMANDS_PER_ENTRY_MAX) {
            if let Err(error) = self.cluster.propose_local(part.to_vec()).await {
                // They are sent to the node again instead.
                warn!(node, %error, "lost attempts could not be taken back");
            }
        }
    }

    fn recording(&self) -> MutexGuard<'_, BTreeSet<AttemptKey>> {
        self.recording
            .lock()
            .expect("no holder of this lock panics")
    }

    /// Writes a result down and tells the worker that it may forget it. On an
    /// error the worker keeps it and gives it to the next leader. It repeats a
    /// result with every heartbeat until then: one that is being written down
    /// is not proposed again, as a log that is slow would get more to do.
    async fn record_result(&self, node: u64, result: AttemptResult) {
        let key = result.key;
        if !self.recording().insert(key.clone()) {
            return;
        }
        let engine = Some(result.engine).filter(|engine| is_engine(*engine));
        let (member, node) = (node, engine.unwrap_or(node));
        let frames = match &result.outcome {
            Outcome::Done(done) => Some(done.frames),
            Outcome::Failed(_) => None,
        };
        self.sessions.ended(&key, node, frames);
        let recorded = match result.outcome {
            Outcome::Done(done) => self.record_done(&key, engine, done).await,
            Outcome::Failed(failed) => self.record_failed(&key, failed).await,
        };
        self.recording().remove(&key);
        match recorded {
            Ok(()) => {
                debug!(%key, node, "settled");
                self.sessions.send(member, ToWorker::Settled(key));
            }
            Err(error) => warn!(%key, node, %error, "a result could not be written down"),
        }
    }

    async fn record_done(
        &self,
        key: &AttemptKey,
        engine: Option<u64>,
        done: Done,
    ) -> Result<(), ConsensusError> {
        let Analysis {
            plan,
            mut plan_note,
            audio_tracks,
            extras,
            epoch,
            kept,
            audio_kept,
            shard_keys,
            mut audio_keys,
            mut shard_memory_mib,
            mut shares_parts,
            duration_us,
        } = done.analysis.unwrap_or_default();
        self.record_plan(key, &plan, kept, &shard_keys).await?;
        if self.cluster.local().feature_level() < PARTS_LEVEL {
            audio_keys.clear();
            (shard_memory_mib, shares_parts) = (0, false);
        }
        let readable = self.cluster.local().feature_level() >= REPLAN_LEVEL;
        let said = key.kind() == TaskKind::Analyze && readable;
        let level = self.cluster.local().feature_level();
        if key.kind() == TaskKind::Assemble && level < ASSEMBLY_NOTE_LEVEL {
            plan_note.clear();
        }
        // Only such a job needs it, and all nodes know what it is then.
        let entry = self.cluster.local().job(&key.job);
        let aims = entry.is_some_and(|entry| entry.job.spec.aim().is_some());
        let command = Command::Complete(Complete {
            key: key.clone(),
            hash: done.hash,
            bytes_out: done.bytes_out,
            bytes_in: done.bytes_in,
            frames: done.frames,
            report: done.report,
            unix_ms: unix_ms(),
            shards_total: plan.len() as u32,
            plan_note,
            audio_tracks,
            extras,
            epoch: said.then_some(epoch),
            read: done.read.clone(),
            audio_kept,
            audio_keys,
            shard_memory_mib,
            shares_parts,
            payload: if aims { done.payload } else { 0 },
            score_micro: if aims { done.score_micro } else { 0 },
            duration_us: if aims { duration_us } else { 0 },
            check: engine.is_some_and(|id| self.sessions.checks(id, self.checks_percent)),
        });
        let committed = self.cluster.propose_local(vec![command]).await?;
        match committed.replies.first() {
            Some(reply) if reply.stale => {
                let early = done.read.is_some();
                self.end_if_held(key, said.then_some(epoch), early).await
            }
            _ => Ok(()),
        }
    }

    /// Writes down a plan behind the shards of it that were planned early.
    async fn record_plan(
        &self,
        key: &AttemptKey,
        plan: &[ShardRange],
        kept: u32,
        keys: &[String],
    ) -> Result<(), ConsensusError> {
        let state = self.cluster.local();
        let with_keys = state.feature_level() >= PARTS_LEVEL;
        let replaces = state.feature_level() >= EARLY_LEVEL;
        let analysis = key.kind() == TaskKind::Analyze;
        let entry = state.job(&key.job).filter(|_| analysis);
        let planned = entry.map_or(0, |entry| entry.job.shards_total);
        drop(state);
        for (first, ranges) in parts_of(plan, kept, planned) {
            let command = Command::PlanAppend(PlanAppend {
                key: key.clone(),
                first,
                ranges: ranges.to_vec(),
                replace: replaces && first == kept,
                early: None,
                shard_keys: match with_keys {
                    true => {
                        let own = keys.iter().skip(first as usize).take(ranges.len());
                        own.cloned().collect()
                    }
                    false => Vec::new(),
                },
            });
            self.cluster.propose_local(vec![command]).await?;
        }
        Ok(())
    }

    /// Ends an attempt whose result the table refused, if the table still has it
    /// as running. A late result is refused too, and needs nothing; but one that
    /// is refused while it is awaited would come again in the same form, and the
    /// work would be given out for ever. An analysis is refused when the job's
    /// homes are no longer those of `epoch`, which have it: it is made again. So is
    /// an `early` shard whose source was sealed just before it was told.
    async fn end_if_held(
        &self,
        key: &AttemptKey,
        epoch: Option<u64>,
        early: bool,
    ) -> Result<(), ConsensusError> {
        let state = self.cluster.local();
        if !awaits(&state, key) {
            return Ok(());
        }
        let moved = |job: &JobEntry| epoch.is_some_and(|epoch| epoch != job.job.epoch);
        let moved = state.job(&key.job).is_some_and(|entry| moved(&entry));
        let (class, problem) = if early {
            let cause = "the source was sealed before it was told what this had read";
            let hint = "it is made again by itself";
            let problem = Problem::new("sealed-meanwhile", cause, hint);
            (FailureClass::OutOfReach, problem)
        } else if moved {
            let cause = "the job has other homes by now, and these lack the analysis";
            let hint = "it is made again by itself";
            let problem = Problem::new("homes-changed", cause, hint);
            (FailureClass::OutOfReach, problem)
        } else {
            warn!(%key, "the table refuses the result of an attempt that it waits for");
            let cause = format!("the table refuses the result of {key}, which it waits for");
            let hint = "report this with the node's log; the job can be submitted again";
            let problem = Problem::new("internal", cause, hint);
            (FailureClass::Final, problem)
        };
        let command = Command::Release(Release {
            key: key.clone(),
            class: class.into(),
            problem,
        });
        self.cluster.propose_local(vec![command]).await.map(drop)
    }

    async fn record_failed(&self, key: &AttemptKey, failed: Failed) -> Result<(), ConsensusError> {
        let Failed {
            problem,
            class,
            lost,
        } = failed;
        warn!(%key, ?class, cause = problem.cause, "an attempt failed");
        let reopen = |key| Command::Reopen(Reopen { key });
        let mut commands: Vec<Command> = lost.into_iter().map(reopen).collect();
        commands.push(Command::Release(Release {
            key: key.clone(),
            class: class.into(),
            problem,
        }));
        for part in commands.chunks(COMMANDS_PER_ENTRY_MAX) {
            self.cluster.propose_local(part.to_vec()).await?;
        }
        Ok(())
    }
}

/// Whether the table has an attempt as running.
fn awaits(state: &State, key: &AttemptKey) -> bool {
    let entry = state.current(&key.job);
    let entry = entry.filter(|entry| entry.job.runs(key.kind()));
    let task = entry.and_then(|entry| entry.tasks.get(&key.task()));
    task.is_some_and(|task| task.is_running(key.attempt))
}

/// What is to be written down of a plan, by the number of the first shard: those behind
/// the `kept` ones. Where there are none, what else was `planned` early goes.
fn parts_of(plan: &[ShardRange], kept: u32, planned: u32) -> Vec<(u32, &[ShardRange])> {
    let fresh = plan.get(kept as usize..).unwrap_or_default();
    let parts = fresh.chunks(PLAN_SHARDS_PER_COMMAND_MAX).enumerate();
    let parts = parts.map(|(part, ranges)| {
        let first = kept + (part * PLAN_SHARDS_PER_COMMAND_MAX) as u32;
        (first, ranges)
    });
    let nothing_new: Option<(u32, &[ShardRange])> =
        (fresh.is_empty() && planned > 0).then_some((kept, &[]));
    parts.chain(nothing_new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planned_early_goes_where_the_sealed_source_has_no_pictures() {
        let range = ShardRange {
            from_pts: 0,
            to_pts: 1,
            frames: 1,
        };
        let plan = vec![range; PLAN_SHARDS_PER_COMMAND_MAX + 2];
        let firsts = |plan, kept, planned| -> Vec<(u32, usize)> {
            let parts = parts_of(plan, kept, planned).into_iter();
            parts.map(|(first, ranges)| (first, ranges.len())).collect()
        };
        assert_eq!(firsts(&plan, 0, 0), [(0, 256), (256, 2)]);
        assert_eq!(firsts(&plan, 1, 3), [(1, 256), (257, 1)]);
        assert_eq!(firsts(&plan, 258, 258), [(258, 0)]);
        assert_eq!(firsts(&plan, 258, 260), [(258, 0)]);
        assert_eq!(firsts(&[], 0, 3), [(0, 0)]);
        assert!(firsts(&[], 0, 0).is_empty());
    }
}
