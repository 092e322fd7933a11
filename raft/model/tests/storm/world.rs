//! The cluster as plain data, and what all actors share: who reaches whom,
//! who reads what, and how a proposal gets into the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{
    AttemptKey, Command, JobEntry, Reply, State, Task, check::check, home_rules::sources,
};

use crate::{
    bugs::{Bug, Bugs},
    client::Client,
    engine::Engines,
    log::Log,
    node::Node,
    rng::Rng,
    story::Story,
    truth::Truth,
};

/// Whose proposal it is: who gets the reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    Plan,
    Client(usize),
    Upload(usize),
    Result(u64, AttemptKey),
    Home,
    TakeBack,
}

/// A proposal on its way into the log.
#[derive(Clone)]
pub struct Proposal {
    pub due_ms: u64,
    /// Entries, one after the other.
    pub entries: Vec<Vec<Command>>,
    pub origin: Origin,
}

/// What the leader knows of a node's session.
pub struct Session {
    pub heard_ms: u64,
    pub running: BTreeSet<AttemptKey>,
    pub build: String,
    pub slots: u32,
    pub full: bool,
}

/// A term of leadership, and what is remembered in it alone.
pub struct Leader {
    pub node: u64,
    pub term: u64,
    pub since_ms: u64,
    /// Where the log ended when it was elected: it leads once it has applied
    /// that.
    pub since_index: u64,
    pub heard: BTreeMap<u64, u64>,
    pub processes: BTreeMap<u64, u64>,
    pub open: BTreeMap<u64, Session>,
    pub sent: BTreeMap<AttemptKey, u64>,
    pub ticked_ms: u64,
}

/// What homes had of films that are compared with their sources, when that was looked
/// for last.
#[derive(Default)]
pub struct Seen {
    /// Homes that have what was found of a job's output: with the comparison it is of.
    pub findings: BTreeSet<(String, u64, u64)>,
    /// Homes that have a source that is held there.
    pub sources: BTreeSet<(String, u64)>,
    /// Whether some film was compared so far.
    pub measured: bool,
}

/// What is put on a home.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Chunk(u64),
    Manifest,
}

/// How far a put has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutStage {
    Sent,
    Judged,
    Written,
}

/// A put on its way.
pub struct Put {
    pub client: usize,
    /// Tells it from those of an earlier stretch of the upload.
    pub round: u64,
    pub node: u64,
    pub job: String,
    pub epoch: u64,
    pub log_index: u64,
    pub load: Load,
    pub stage: PutStage,
    pub due_ms: u64,
    pub until_ms: u64,
}

pub struct World {
    pub rng: Rng,
    pub bugs: Bugs,
    pub now_ms: u64,
    pub step_ms: u64,
    pub log: Log,
    pub nodes: BTreeMap<u64, Node>,
    pub voters: u32,
    pub term: u64,
    pub leader: Option<Leader>,
    pub election_due_ms: u64,
    pub proposals: Vec<Proposal>,
    pub replies: Vec<(Origin, Vec<Reply>)>,
    pub assignments: Vec<(u64, AttemptKey, u64)>,
    pub puts: Vec<Put>,
    pub engines: Engines,
    pub clients: Vec<Client>,
    /// The build that a node has after a restart.
    pub upgraded_to: &'static str,
    /// No more faults: all is to end well.
    pub calm: bool,
    /// Bytes or the table have changed since the oracles looked.
    pub dirty: bool,
    /// What the homes had when they were looked at last.
    pub seen: Seen,
    pub truth: Truth,
    pub story: Story,
}

impl World {
    /// How many nodes may be lost for good.
    pub fn faults(&self) -> u64 {
        u64::from(self.voters - 1) / 2
    }

    pub fn in_reach(&self, node: u64) -> bool {
        let node = self.nodes.get(&node);
        node.is_some_and(|node| node.in_reach(self.now_ms))
    }

    /// Whether one node's call gets an answer from another.
    pub fn reaches(&self, from: u64, to: u64) -> bool {
        match from == to {
            true => self.nodes[&from].up(self.now_ms),
            false => self.in_reach(from) && self.in_reach(to),
        }
    }

    pub fn nodes_in_reach(&self) -> Vec<u64> {
        let ids = self.nodes.keys().copied();
        ids.filter(|&node| self.in_reach(node)).collect()
    }

    /// A node's own replica, however old.
    pub fn local(&self, node: u64) -> Arc<State> {
        self.log.state_at(self.nodes[&node].applied).clone()
    }

    /// The table as it is now on all nodes, once this node has applied it.
    pub fn read(&mut self, node: u64) -> Option<Arc<State>> {
        if self.leader.is_none() || !self.in_reach(node) {
            return None;
        }
        let index = self.log.index();
        let lags = self.nodes[&node].lag_until_ms > self.now_ms;
        if lags && self.nodes[&node].applied < index {
            return None;
        }
        self.node(node).applied = index;
        Some(self.log.state().clone())
    }

    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("nodes are never forgotten")
    }

    /// Nodes that a job's bytes are read from by one node: itself, then what
    /// the table names.
    fn readers(&self, entry: &JobEntry, node: u64) -> Vec<u64> {
        let current = |id: &u64| entry.job.current_homes().any(|home| home.node == *id);
        let mut readers = vec![node];
        readers.extend(
            sources(&entry.job)
                .filter(|id| *id != node)
                .filter(|id| !self.bugs.has(Bug::FormerHomeUnread) || current(id)),
        );
        readers
    }

    /// Nodes in reach that a node would read from, as it knows the job now;
    /// and whether those out of reach are at most some that retire.
    fn asked(&self, entry: &JobEntry, node: u64) -> (Vec<u64>, bool) {
        let local = self.log.state_at(self.nodes[&node].applied);
        let newer = local.job(&entry.job.id);
        let newer = newer.filter(|newer| newer.job.epoch > entry.job.epoch);
        let latest = newer.as_deref().unwrap_or(entry);
        let all = self.readers(latest, node);
        let (asked, away): (Vec<u64>, Vec<u64>) =
            all.into_iter().partition(|&to| self.reaches(node, to));
        let retires = |id: u64| latest.job.retiring_homes().any(|home| home.node == id);
        let everyone = away.into_iter().all(retires);
        (asked, everyone)
    }

    /// Whether a node can read a blob; an error says whether it is rather made
    /// again than waited for.
    pub fn can_read(&self, entry: &JobEntry, node: u64, blob: &str) -> Result<(), bool> {
        let (asked, everyone) = self.asked(entry, node);
        let job = &entry.job.id;
        let found = asked.iter().any(|id| self.nodes[id].has_blob(job, blob));
        found.then_some(()).ok_or(everyone)
    }

    /// Whether a node can take a blob of a part from the job that had made it before.
    pub fn can_take(&self, task: &Task, node: u64, blob: &str) -> bool {
        let state = self.log.state_at(self.nodes[&node].applied);
        let other = state.job(&task.taken_from);
        other.is_some_and(|other| self.can_read(&other, node, blob).is_ok())
    }

    /// The chunks that a node can read.
    pub fn readable_chunks(&self, entry: &JobEntry, node: u64) -> u64 {
        let (asked, _) = self.asked(entry, node);
        let chunks = asked.iter().map(|id| self.nodes[id].chunks(&entry.job.id));
        chunks.fold(0, |all, chunks| all | chunks)
    }

    /// Sends a proposal on its way. It may come late, and twice.
    pub fn propose(&mut self, entries: Vec<Vec<Command>>, origin: Origin) {
        let delay = |world: &mut World| match world.calm {
            true => world.step_ms,
            false => world.step_ms * [0, 1, 1, 1, 2, 5][world.rng.below(6) as usize],
        };
        let due_ms = self.now_ms + delay(self);
        let twice = !self.calm && self.rng.chance(100);
        if twice {
            let due_ms = due_ms + self.rng.between(1, 10) * delay(self);
            self.proposals.push(Proposal {
                due_ms,
                entries: entries.clone(),
                origin: Origin::Home,
            });
        }
        self.proposals.push(Proposal {
            due_ms,
            entries,
            origin,
        });
    }

    /// Writes the proposals that have arrived, where there is a leader.
    pub fn deliver(&mut self) {
        let (due, later): (Vec<Proposal>, Vec<Proposal>) = std::mem::take(&mut self.proposals)
            .into_iter()
            .partition(|proposal| proposal.due_ms <= self.now_ms);
        self.proposals = later;
        if self.leader.is_none() {
            return;
        }
        for proposal in due {
            self.repeat_homes(&proposal);
            let mut replies = Vec::new();
            for commands in proposal.entries {
                replies = self.commit(commands);
            }
            self.replies.push((proposal.origin, replies));
        }
        // What a leader wrote, it has applied before it plans again.
        let leader = self.leader.as_ref().map(|leader| leader.node);
        let (now_ms, index) = (self.now_ms, self.log.index());
        if let Some(leader) = leader.map(|node| self.node(node))
            && leader.lag_until_ms <= now_ms
        {
            leader.applied = index;
        }
    }

    /// Plants the bug of homes that are set again later.
    fn repeat_homes(&mut self, proposal: &Proposal) {
        let mut commands = proposal.entries.concat();
        commands.retain(|command| matches!(command, Command::SetHomes(_)));
        let planned = proposal.origin == Origin::Plan && !commands.is_empty();
        if planned && self.bugs.has(Bug::HomesSetAgain) {
            self.proposals.push(Proposal {
                due_ms: self.now_ms + 15_000,
                entries: vec![commands],
                origin: Origin::Home,
            });
        }
    }

    fn commit(&mut self, mut commands: Vec<Command>) -> Vec<Reply> {
        for command in &mut commands {
            self.twist(command);
        }
        let before = self.log.state().clone();
        let applied = self.log.append(commands.clone());
        let after = self.log.state().clone();
        self.dirty = true;
        for (command, reply) in commands.iter().zip(&applied.replies) {
            self.story.command(self.now_ms, command, reply);
            if let Command::Assign(c) = command {
                self.note_binding(&c.key.job, &before, &after);
            }
            let absent = |node: u64| self.nodes[&node].absent_ms(self.now_ms);
            self.truth
                .command(command, reply, (&before, &after), &absent);
        }
        for violation in check(&after) {
            self.truth.broken(violation.0);
        }
        applied.replies
    }

    fn note_binding(&mut self, job: &str, before: &State, after: &State) {
        let build = |state: &State| state.job(job).map(|entry| entry.job.build.clone());
        if let Some(bound) = build(after).filter(|bound| build(before).as_ref() != Some(bound)) {
            let homes = after.current(job).into_iter();
            let homes = homes.flat_map(|entry| &entry.job.homes);
            let unfit = homes.filter(|home| self.nodes[&home.node].build != bound);
            let unfit = unfit.count() as u64;
            self.truth.bound(job, unfit);
        }
    }

    /// Plants the bugs of apply: the command is made to fit where its
    /// condition would refuse it.
    fn twist(&self, command: &mut Command) {
        let state = self.log.state();
        let epoch = |job: &str| state.job(job).map_or(0, |entry| entry.job.epoch);
        match command {
            Command::CreateJob(c) if self.bugs.has(Bug::BoundsForgotten) => c.bounds = None,
            Command::SealSource(c) if self.bugs.has(Bug::SealedUnderAnyEpoch) => {
                c.epoch = epoch(&c.job);
            }
            Command::SetHomes(c) if self.bugs.has(Bug::HomesSetAgain) => {
                c.epoch = epoch(&c.job);
            }
            Command::Complete(c) if self.bugs.has(Bug::AnyAttemptCompletes) => {
                let entry = state.current(&c.key.job);
                let task = entry.and_then(|entry| entry.tasks.get(&c.key.task()));
                if let Some(task) = task {
                    c.key.attempt = task.attempt;
                }
            }
            // As if the new plan's attempts were counted from one.
            Command::Complete(c) if self.bugs.has(Bug::ReplanCountsAnew) => {
                let entry = state.current(&c.key.job);
                let before = entry.map_or(0, |entry| entry.job.attempts_before);
                let task = entry.and_then(|entry| entry.tasks.get(&c.key.task()));
                if task.is_some_and(|task| task.attempt == c.key.attempt + before) {
                    c.key.attempt += before;
                }
            }
            _ => {}
        }
    }
}
