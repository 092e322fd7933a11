//! Elections, and the leader: sessions, plan, assignments.

use std::collections::{BTreeMap, BTreeSet};

use reelraft_model::{
    AttemptKey, Command, FailureClass, Problem, Release, SetHomes, State, Tick,
    plan::{ClusterHealth, HOME_LOST_MS, LEASE_MS, NodeHealth, plan},
};

use crate::{
    bugs::Bug,
    world::{Leader, Origin, Session, World},
};

/// A leader's table may stand still for so long.
const LAG_MS_MAX: u64 = 5_000;

/// An assignment that a node does not name is sent again after this.
const ASSIGN_RESEND_MS: u64 = 1_500;

/// How long the source of a failed job is kept: hours in a real cluster.
pub const KEEP_SOURCE_MS: u64 = 40_000;

/// How long the home of a finished output may be away: minutes in a real
/// cluster, and here short enough to happen in a storm.
pub const REHOME_AFTER_MS: u64 = 40_000;

/// How long a node that is back tries its encoders.
const STARTING_MS: u64 = 2_000;

/// The same of how long a silent node is counted on for its build.
const REPLAN_AFTER_MS: u64 = 60_000;

/// How long an upload may stand still: a day in a real cluster, and here more
/// than a client is ever kept from it.
pub const UPLOAD_EXPIRY_MS: u64 = 500_000;

/// The cluster's time is written down this often.
const CLUSTER_TICK_MS: u64 = 30_000;

impl World {
    /// Ends a leader that is out of reach, and elects another where most
    /// voters are there.
    pub fn elect(&mut self) {
        let reach: Vec<u64> = self.nodes_in_reach();
        let voters: Vec<u64> = reach
            .into_iter()
            .filter(|node| self.nodes[node].voter)
            .collect();
        let quorum = voters.len() as u32 > self.voters / 2;
        let unseated = !self.calm && self.rng.chance(8);
        // A leader whose table stands still ends itself.
        let stands = |node: &u64| self.nodes[node].lag_until_ms > self.now_ms + LAG_MS_MAX;
        let able: Vec<u64> = voters
            .iter()
            .copied()
            .filter(|node| !stands(node))
            .collect();
        let keeps = |leader: &Leader| able.contains(&leader.node);
        if self
            .leader
            .as_ref()
            .is_some_and(|leader| !quorum || unseated || !keeps(leader))
        {
            self.leader = None;
            self.election_due_ms = self.now_ms + self.rng.between(1, 4) * 500;
        }
        if self.leader.is_some() || !quorum || self.now_ms < self.election_due_ms {
            return;
        }
        let Some(node) = self.rng.pick(&able) else {
            return;
        };
        self.term += 1;
        self.truth.term = self.term;
        self.story
            .say(self.now_ms, format!("node {node} leads term {}", self.term));
        self.leader = Some(Leader {
            node,
            term: self.term,
            since_ms: self.now_ms,
            since_index: self.log.index(),
            heard: BTreeMap::new(),
            processes: BTreeMap::new(),
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            ticked_ms: self.now_ms,
        });
    }

    /// A worker's hello; what it does not name died with its last process.
    pub fn hello(&mut self, node: u64, named: BTreeSet<AttemptKey>) {
        let process = match self.bugs.has(Bug::RestartByPid) {
            true => 7,
            false => self.nodes[&node].process,
        };
        let Some(leader) = &mut self.leader else {
            return;
        };
        let before = leader.processes.insert(node, process);
        let restarted = before.is_some_and(|before| before != process);
        leader.heard.insert(node, self.now_ms);
        let of = self
            .nodes
            .get_mut(&node)
            .expect("nodes are never forgotten");
        self.truth.losses += u64::from(std::mem::take(&mut of.new_build));
        let session = Session {
            heard_ms: self.now_ms,
            running: named.clone(),
            build: of.build.clone(),
            slots: of.slots,
            full: of.full(self.now_ms),
        };
        leader.open.insert(node, session);
        if restarted {
            self.take_back(node, &named);
        }
    }

    fn take_back(&mut self, node: u64, named: &BTreeSet<AttemptKey>) {
        let Some(leader) = &self.leader else { return };
        let state = self.local(leader.node);
        let mut commands = Vec::new();
        for entry in state.eventful() {
            for (key, at) in entry.attempts_running() {
                if at == node && !named.contains(&key) {
                    commands.push(Command::Release(Release {
                        key,
                        class: FailureClass::NodeLost.into(),
                        problem: Problem::new("node-lost", "started anew", ""),
                    }));
                }
            }
        }
        if !commands.is_empty() {
            self.propose(vec![commands], Origin::TakeBack);
        }
    }

    pub fn health(&self, leader: &Leader) -> ClusterHealth {
        let health_of = |&node: &u64| {
            let heard = leader.heard.get(&node).copied();
            let heard = heard.unwrap_or(leader.since_ms).max(leader.since_ms);
            let mut health = NodeHealth {
                silent_ms: self.now_ms - heard,
                room_bytes: self.nodes[&node].room_bytes,
                ..Default::default()
            };
            if let Some(session) = leader.open.get(&node) {
                health.alive = self.now_ms - session.heard_ms < LEASE_MS;
                health.slots = session.slots;
                health.build = session.build.clone();
                health.full = session.full;
                let back_ms = self.now_ms - self.nodes[&node].returned_ms;
                if back_ms < STARTING_MS {
                    health.starting = true;
                    health.build.clear();
                }
                if session.full {
                    health.trouble = "its disk is full".into();
                }
            }
            (node, health)
        };
        let mut health = ClusterHealth {
            nodes: self.nodes.keys().map(health_of).collect(),
            voters: self.voters,
            rehome_after_ms: REHOME_AFTER_MS,
            replan_after_ms: REPLAN_AFTER_MS,
            keep_source_ms: KEEP_SOURCE_MS,
            upload_expiry_ms: match self.bugs.has(Bug::LiveUploadExpired) {
                true => UPLOAD_EXPIRY_MS / 20,
                false => UPLOAD_EXPIRY_MS,
            },
            ..Default::default()
        };
        self.add_engines(&mut health);
        health.take_standings(self.log.state());
        health
    }

    /// One round of the leader: plan, propose, send assignments.
    pub fn lead(&mut self) {
        let Some(mut leader) = self.leader.take() else {
            return;
        };
        let behind = self
            .proposals
            .iter()
            .any(|proposal| proposal.origin == Origin::Plan);
        let behind = behind || self.nodes[&leader.node].applied < leader.since_index;
        // A plan is written down before the next one is made.
        if !behind {
            let state = self.local(leader.node);
            let health = self.health(&leader);
            let mut commands = plan(&state, &health);
            self.story.planned(self.now_ms, &health, &commands);
            self.begin_early(&mut commands);
            self.throw_twins(&state, &health, &mut commands);
            self.twist_plan(&state, &health, &mut commands);
            if self.now_ms - leader.ticked_ms >= CLUSTER_TICK_MS {
                leader.ticked_ms = self.now_ms;
                let cluster_ms = self.now_ms;
                commands.push(Command::Tick(Tick { cluster_ms }));
            }
            if !commands.is_empty() {
                self.propose(vec![commands], Origin::Plan);
            }
        }
        self.send_assignments(&mut leader);
        self.leader = Some(leader);
    }

    /// Sources here are small: which of them are worked on early is thrown.
    fn begin_early(&mut self, commands: &mut [Command]) {
        for command in commands {
            if let Command::SetHomes(set) = command
                && set.epoch == 0
            {
                set.early = self.rng.chance(600);
            }
        }
    }

    /// Plants the bugs of plan.
    fn twist_plan(&self, state: &State, health: &ClusterHealth, commands: &mut Vec<Command>) {
        match self.bugs.0 {
            Some(Bug::FinishedMovedAtOnce) => self.move_finished(health, commands),
            Some(Bug::AnalysisToAnyBuild) => bind_to_rarest(state, health, commands),
            Some(Bug::FailedUnfolded) => {
                commands.retain(|command| !matches!(command, Command::Fold(_)));
            }
            Some(Bug::AbandonedKept) => {
                commands.retain(|command| !matches!(command, Command::ExpireUpload(_)));
            }
            _ => {}
        }
    }

    fn move_finished(&self, health: &ClusterHealth, commands: &mut Vec<Command>) {
        let silent = |node: u64| {
            let health = &health.nodes[&node];
            !health.alive && health.silent_ms >= HOME_LOST_MS
        };
        for entry in self.log.state().jobs() {
            let job = &entry.job;
            let (gone, stay): (Vec<u64>, Vec<u64>) = job
                .homes
                .iter()
                .map(|home| home.node)
                .partition(|&node| silent(node));
            let new = health.nodes.keys().copied();
            let new: Vec<u64> = new
                .filter(|&node| health.nodes[&node].alive && !entry.is_home(node))
                .take(gone.len())
                .collect();
            if job.state() == reelraft_model::JobState::Succeeded
                && new.len() == gone.len()
                && !gone.is_empty()
                && job
                    .homes
                    .iter()
                    .any(|home| home.filled && stay.contains(&home.node))
            {
                commands.push(Command::SetHomes(SetHomes {
                    job: job.id.clone(),
                    epoch: job.epoch,
                    homes: stay.into_iter().chain(new).collect(),
                    retiring: Vec::new(),
                    ..Default::default()
                }));
            }
        }
    }

    fn send_assignments(&mut self, leader: &mut Leader) {
        let index = self.nodes[&leader.node].applied;
        let state = self.log.state_at(index).clone();
        let mut current = BTreeSet::new();
        for entry in state.eventful() {
            for (key, node) in entry.attempts_running() {
                current.insert(key.clone());
                let sent = leader.sent.get(&key);
                let recently = sent.is_some_and(|at| self.now_ms - at < ASSIGN_RESEND_MS);
                let at = self.member_of(node);
                let session = at.and_then(|at| leader.open.get(&at));
                let runs = session.is_some_and(|session| session.running.contains(&key));
                if recently || runs || session.is_none() {
                    continue;
                }
                leader.sent.insert(key.clone(), self.now_ms);
                if self.calm || !self.rng.chance(50) {
                    self.assignments.push((node, key, index));
                }
            }
        }
        leader.sent.retain(|key, _| current.contains(key));
    }
}

/// Gives analyses to nodes whose build fewest have.
fn bind_to_rarest(state: &State, health: &ClusterHealth, commands: &mut [Command]) {
    let of = |build: &str| {
        let nodes = health.nodes.values();
        nodes.filter(|node| node.build == build).count()
    };
    let living = health.nodes.iter().filter(|(_, node)| node.alive);
    let Some((&rarest, node)) = living.min_by_key(|(_, node)| of(&node.build)) else {
        return;
    };
    for command in commands {
        if let Command::Assign(c) = command
            && state
                .job(&c.key.job)
                .is_some_and(|entry| entry.job.build.is_empty())
        {
            c.node = rarest;
            c.build = node.build.clone();
        }
    }
}
