//! The leader's loop: ask `plan` what the table and the nodes call for,
//! propose it, and tell the workers what was committed. It holds no decision
//! of its own: all it remembers (when an assignment was last sent) may be
//! lost at any time for the price of a repeated message.

pub mod deliveries;
mod engines;
pub mod intake;
mod members;
mod parted_output;
mod replicas;
pub mod sessions;
mod sight;
mod webhook_message;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{
    AttemptKey, Command, State, Tick, is_engine,
    limits::COMMANDS_PER_ENTRY_MAX,
    plan::{ClusterHealth, plan, waiting},
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use self::sight::Patience;
use self::{
    replicas::Comparison,
    sessions::Sessions,
    sight::{LEASE, Sight},
};
use super::messages::{Assignment, JobProgress, JobsProgress, LeaderReport, ToWorker};
use crate::limits::{
    ASSIGN_RESEND, CLUSTER_TICK, PLAN_TICK, PLAN_TICK_IDLE, PULSE, REPORT_EVERY, REPORT_EVERY_IDLE,
    REPORT_JOBS_MAX,
};

/// Leads whenever this node is the leader; returns when `stop` is set.
pub async fn run(
    cluster: Cluster,
    sessions: Arc<Sessions>,
    patience: Patience,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let mut leadership = cluster.leadership();
    loop {
        let now = leadership.borrow_and_update().clone();
        if now.leading {
            info!(term = now.term, "this node leads");
            let sight = Sight::new(&cluster, &sessions, patience);
            let mut term = Term::new(sight, now.term);
            tokio::select! {
                () = term.lead() => {}
                () = members::keep(sight) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            sessions.close_all();
            info!(term = now.term, "this node no longer leads");
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// One term of leadership.
struct Term<'a> {
    cluster: &'a Cluster,
    sessions: &'a Sessions,
    sight: Sight<'a>,
    term: u64,
    clock: ClusterClock,
}

/// The cluster's time as this leader counts it on.
struct ClusterClock {
    base_ms: u64,
    since: Instant,
}

impl ClusterClock {
    fn at(base_ms: u64) -> Self {
        let since = Instant::now();
        ClusterClock { base_ms, since }
    }

    fn now_ms(&self) -> u64 {
        self.base_ms + self.since.elapsed().as_millis() as u64
    }
}

impl<'a> Term<'a> {
    fn new(sight: Sight<'a>, term: u64) -> Self {
        Term {
            cluster: sight.cluster,
            sessions: sight.sessions,
            sight,
            term,
            clock: ClusterClock::at(sight.cluster.local().cluster_ms()),
        }
    }

    /// Plans and proposes until the leadership is lost.
    async fn lead(&mut self) {
        let mut leadership = self.cluster.leadership();
        let mut applied = self.cluster.applied();
        let mut sent: BTreeMap<AttemptKey, Instant> = BTreeMap::new();
        let mut reported: Option<Instant> = None;
        let mut told = Arc::default();
        let mut comparison = Comparison::default();
        let mut ticked = Instant::now();
        let mut wrote = Instant::now();
        loop {
            {
                let now = leadership.borrow_and_update();
                if !now.leading || now.term != self.term {
                    return;
                }
            }
            applied.borrow_and_update();
            let state = self.cluster.local();
            let health = self.sight.health(&state);
            let mut commands = plan(&state, &health);
            let room = commands.len() < COMMANDS_PER_ENTRY_MAX;
            let idle = state.jobs_count() == 0;
            if idle {
                // Time passes while there are jobs: none must be old when it is made.
                self.clock = ClusterClock::at(state.cluster_ms());
            }
            let time_passed = ticked.elapsed() >= CLUSTER_TICK && !idle;
            let quiet = wrote.elapsed() >= PULSE && state.is_busy();
            if room && (time_passed || quiet) {
                ticked = Instant::now();
                let cluster_ms = self.clock.now_ms();
                commands.push(Command::Tick(Tick { cluster_ms }));
            }
            // Held no longer: the next apply would have to copy what is shared.
            drop(state);
            let proposed = !commands.is_empty();
            if proposed {
                wrote = Instant::now();
                if !self.propose(commands).await {
                    tokio::time::sleep(PLAN_TICK).await;
                    continue;
                }
            }
            self.send_assignments(&self.cluster.local(), &mut sent);
            let pace = Pace::of(&self.cluster.local());
            if reported.is_none_or(|at| at.elapsed() >= pace.report) {
                reported = Some(Instant::now());
                self.send_report(&self.cluster.local(), &health, &mut told, &mut comparison);
            }
            if proposed {
                continue;
            }
            tokio::select! {
                _ = applied.changed() => {}
                _ = leadership.changed() => {}
                () = self.sessions.changed.notified() => {}
                () = tokio::time::sleep(pace.plan) => {}
            }
        }
    }

    /// Proposes as this term's leader; `false` where it could not.
    async fn propose(&self, commands: Vec<Command>) -> bool {
        for command in &commands {
            debug!(?command, "proposing");
        }
        match self.cluster.propose_local(commands).await {
            Ok(_) => true,
            // A newer term has begun, perhaps this node's own: who leads it plans anew.
            Err(ConsensusError::NotLeader { .. }) => false,
            Err(error) => {
                warn!(%error, "the plan could not be proposed");
                false
            }
        }
    }

    /// Sends every running attempt to its node unless the node says that it
    /// has it, and again where an assignment seems lost.
    fn send_assignments(&self, state: &State, sent: &mut BTreeMap<AttemptKey, Instant>) {
        let log_index = *self.cluster.applied().borrow();
        let mut current = BTreeSet::new();
        for entry in state.eventful() {
            for (key, node) in entry.attempts_running() {
                current.insert(key.clone());
                let recently = sent
                    .get(&key)
                    .is_some_and(|at| at.elapsed() < ASSIGN_RESEND);
                if recently || self.sessions.runs(node, &key) {
                    continue;
                }
                let assignment = Assignment {
                    key: key.clone(),
                    log_index,
                    engine: if is_engine(node) { node } else { 0 },
                };
                if self.sessions.send(node, ToWorker::Assign(assignment)) {
                    info!(%key, node, "assigned");
                    sent.insert(key, Instant::now());
                }
            }
        }
        sent.retain(|key, _| current.contains(key));
    }

    /// Tells all nodes about liveness and progress.
    fn send_report(
        &self,
        state: &State,
        health: &ClusterHealth,
        told: &mut Arc<JobsProgress>,
        comparison: &mut Comparison,
    ) {
        let members = self.cluster.members().into_iter();
        let voters = members.filter(|member| member.voter);
        let voters = voters.map(|member| member.id).collect();
        let compared_index = comparison.index(self.cluster.hashed_index());
        comparison.hear(&self.sessions.table_hashes(compared_index), &voters);
        let mut running = self.sessions.shards_running();
        let jobs: JobsProgress = state
            .active()
            .map(|entry| (entry, waiting(entry, health)))
            .filter(|(entry, waiting)| !entry.running.is_empty() || waiting.is_some())
            .take(REPORT_JOBS_MAX)
            .map(|(entry, waiting)| {
                let id = entry.job.id.clone();
                let progress = JobProgress {
                    running: running.remove(&id).unwrap_or_default(),
                    waiting: waiting.map_or_else(String::new, |waiting| waiting.to_string()),
                };
                (id, progress)
            })
            .collect();
        let report = LeaderReport {
            leader: self.cluster.identity().node,
            term: self.term,
            nodes: self.sessions.node_status(LEASE),
            jobs: None,
            compared_index,
            majority: comparison.majority.clone(),
            notes: self.sessions.notes(),
            engines: None,
        };
        if jobs != **told {
            *told = Arc::new(jobs);
        }
        self.sessions.report(&report, told);
    }
}

/// How often the leader does what nothing wakes it for.
struct Pace {
    plan: Duration,
    report: Duration,
}

impl Pace {
    /// Nothing is due by the clock where no job is open.
    fn of(state: &State) -> Self {
        match state.active().next() {
            Some(_) => Pace {
                plan: PLAN_TICK,
                report: REPORT_EVERY,
            },
            None => Pace {
                plan: PLAN_TICK_IDLE,
                report: REPORT_EVERY_IDLE,
            },
        }
    }
}
