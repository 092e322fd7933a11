//! Nodes come, go, fill up and change their builds in thousands of ways: the
//! homes of a job always come to rest, and the table always knows f + 1 full
//! copies of what was sealed, each of which is really there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use reelraft_model::{
    Assign, AttemptKey, Command, CreateJob, Entry, HomeFilled, SealSource, State, TaskKind,
    check::check,
    home_rules::{FillDuty, holders, keeps_bytes_of, must_fill, sources},
    job_id,
    plan::{ClusterHealth, NodeHealth, plan},
    spec::Spec,
};

/// Plans after which the homes must be at rest: one that moves them, and one
/// more for what that made possible.
const ROUNDS_MAX: usize = 4;

struct World {
    state: State,
    health: ClusterHealth,
    index: u64,
    job: String,
    /// The nodes on whose disks the sealed source is.
    whole: BTreeSet<u64>,
    random: u64,
}

impl World {
    fn new(nodes: u64, seed: u64) -> Self {
        let node = NodeHealth {
            alive: true,
            build: "b".into(),
            slots: 1,
            ..Default::default()
        };
        World {
            state: State::default(),
            health: ClusterHealth {
                nodes: (1..=nodes).map(|id| (id, node.clone())).collect(),
                voters: nodes as u32,
                ..Default::default()
            },
            index: 0,
            job: job_id("t", "r"),
            whole: BTreeSet::new(),
            random: seed,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }

    fn apply(&mut self, commands: Vec<Command>) {
        self.index += 1;
        self.state.apply(self.index, &Entry::new(commands));
        assert_eq!(check(&self.state), []);
    }

    fn create(&mut self) {
        self.apply(vec![Command::CreateJob(CreateJob {
            tenant: "t".into(),
            request_id: "r".into(),
            spec: Spec::default(),
            source_bytes: 1,
            ..Default::default()
        })]);
    }

    fn seal(&mut self) {
        let job = &self.state.job(&self.job).unwrap().job;
        self.whole = job.current_homes().map(|home| home.node).collect();
        let seal = SealSource {
            job: self.job.clone(),
            epoch: job.epoch,
            manifest: "m".into(),
            root: "r".into(),
            ..Default::default()
        };
        self.apply(vec![Command::SealSource(seal)]);
        let key = AttemptKey {
            job: self.job.clone(),
            kind: TaskKind::Analyze.into(),
            attempt: 1,
            ..Default::default()
        };
        // From now on the job has a build.
        self.apply(vec![Command::Assign(Assign {
            key,
            node: 1,
            build: "b".into(),
            unix_ms: 0,
            twin: false,
        })]);
    }

    /// Lets the leader plan until it has nothing more to move.
    fn come_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let moves = plan(&self.state, &self.health);
            let moves: Vec<Command> = moves
                .into_iter()
                .filter(|command| matches!(command, Command::SetHomes(_)))
                .collect();
            if moves.is_empty() {
                return;
            }
            self.apply(moves);
        }
        let job = &self.state.job(&self.job).unwrap().job;
        panic!("the homes go round in circles: {job:?} {:?}", self.health);
    }

    /// Something happens to a node.
    fn disturb(&mut self) {
        let nodes = self.health.nodes.len() as u64;
        let node = 1 + self.below(nodes);
        let what = self.below(8);
        let health = self.health.nodes.get_mut(&node).unwrap();
        match what {
            0..=2 => {
                health.alive = false;
                health.silent_ms = 9_000;
            }
            3 => {
                health.alive = false;
                health.silent_ms = 3_000;
            }
            4 => health.full = !health.full,
            5 => {
                let other = health.build == "b";
                health.build = if other { "c" } else { "b" }.into();
            }
            _ => {
                health.alive = true;
                health.silent_ms = 0;
            }
        }
    }

    /// A node does its duties, if it lives.
    fn do_duties(&mut self, node: u64) {
        if !self.health.nodes[&node].alive {
            return;
        }
        if !keeps_bytes_of(&self.state, &self.job, node) {
            self.whole.remove(&node);
        }
        let entry = self.state.job(&self.job).unwrap().clone();
        let from = sources(&entry.job)
            .any(|home| self.health.nodes[&home].alive && self.whole.contains(&home));
        if must_fill(&entry, node) == Some(FillDuty::BecomeWhole) && from {
            self.whole.insert(node);
            self.apply(vec![Command::HomeFilled(HomeFilled {
                job: self.job.clone(),
                epoch: entry.job.epoch,
                node,
                index_hash: Some(entry.job.index_hash.clone()),
            })]);
        }
    }

    fn judge(&self) {
        let job = &self.state.job(&self.job).unwrap().job;
        let known: BTreeSet<u64> = holders(job).collect();
        let copies = (self.health.voters as usize - 1) / 2 + 1;
        assert!(known.is_subset(&self.whole), "{job:?} {:?}", self.whole);
        assert!(known.len() >= copies, "{job:?}");
        let alive = |node: &u64| self.health.nodes[node].alive;
        let room = |node: &u64| alive(node) && !self.health.nodes[node].full;
        if known.iter().any(alive) && self.health.nodes.keys().any(room) {
            let mut homes = job.current_homes();
            assert!(homes.any(|home| alive(&home.node)), "{job:?}");
        }
    }
}

#[test]
fn homes_come_to_rest_and_full_copies_stay() {
    for seed in 0..60 {
        for nodes in [3, 4, 5, 7] {
            let mut world = World::new(nodes, seed);
            world.create();
            world.come_to_rest();
            for _ in 0..world.below(20) {
                world.disturb();
                world.come_to_rest();
            }
            world.seal();
            for _ in 0..60 {
                world.disturb();
                world.come_to_rest();
                world.judge();
                let node = 1 + world.below(nodes);
                world.do_duties(node);
                world.come_to_rest();
                world.judge();
            }
        }
    }
}
