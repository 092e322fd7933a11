//! The weather: nodes that reboot, are cut off, lag, fill up, come back with
//! another build, drain for a while, or lose their disks, at most f at a time.

use reelraft_model::{Command, DrainNode, Job, Replan, plan::HOME_LOST_MS};

use crate::{
    node::{AMPLE_ROOM_BYTES, Node},
    world::{Origin, World},
};

impl World {
    /// Perhaps breaks something.
    pub fn break_something(&mut self) {
        if self.log.state().nodes().any(|node| node.is_draining()) {
            self.truth.drained_ms = Some(self.now_ms);
        }
        if self.calm {
            self.drain(None);
            return;
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let Some(node) = self.rng.pick(&ids) else {
            return;
        };
        if self.nodes[&node].lost {
            return;
        }
        let now_ms = self.now_ms;
        match self.rng.below(400) {
            0..=9 => self.reboot(node),
            10..=13 => {
                let ms = self.rng.between(1, 20) * 1_000;
                self.node(node).cut_until_ms = now_ms + ms;
                self.story
                    .say(now_ms, format!("node {node} is cut off for {ms} ms"));
            }
            14..=19 => {
                let longest = if self.rng.chance(200) { 120 } else { 10 };
                let ms = self.rng.between(1, longest) * 1_000;
                self.node(node).lag_until_ms = now_ms + ms;
                self.story
                    .say(now_ms, format!("node {node} lags for {ms} ms"));
            }
            20..=22 if !self.nodes[&node].full(now_ms) => {
                let ms = self.rng.between(5, 60) * 1_000;
                self.node(node).full_until_ms = now_ms + ms;
                // It has little room afterwards, for some sources enough.
                self.node(node).room_bytes = ms / 1_000;
                self.truth.losses += 1;
                self.story
                    .say(now_ms, format!("node {node} is full for {ms} ms"));
            }
            23..=29 => self.lose_disk(node),
            30..=31 => self.join(),
            32 => self.ask_to_replan(node),
            33..=34 => self.drain(Some(node)),
            _ => {}
        }
    }

    fn reboot(&mut self, node: u64) {
        let away = self
            .nodes
            .values()
            .filter(|node| !node.in_reach(self.now_ms));
        let away = away.count() as u64;
        // Now and then more nodes than may fail are away at once.
        if away >= self.faults() && !self.rng.chance(150) {
            return;
        }
        let ms = match self.rng.below(10) {
            0..=3 => self.rng.between(2, 14) * 500,
            4..=7 => self.rng.between(16, 60) * 500,
            _ => self.rng.between(60, 120) * 500,
        };
        let now_ms = self.now_ms;
        self.story
            .say(now_ms, format!("node {node} reboots, away for {ms} ms"));
        // Now and then an upgrade begins; each node that restarts has it then.
        if self.rng.chance(150) {
            self.upgraded_to = if self.upgraded_to == "b" { "c" } else { "b" };
        }
        let build = self.upgraded_to;
        let of = self.node(node);
        of.down_until_ms = now_ms + ms;
        of.process += 1;
        of.memory = Default::default();
        if of.build != build {
            self.change_build(node, build);
        }
        for put in self.puts.iter_mut().filter(|put| put.node == node) {
            put.due_ms = now_ms;
        }
    }

    fn lose_disk(&mut self, node: u64) {
        let lost = |node: &&Node| node.lost;
        let lost_count = self.nodes.values().filter(lost).count() as u64;
        let voters = self.nodes.values().filter(lost).filter(|node| node.voter);
        let voters = voters.count() as u64;
        let state = self.log.state().clone();
        let first = lost_count < self.faults();
        let voter = self.nodes[&node].voter;
        let copied = || {
            self.truth
                .all_copied(&state, &self.nodes, self.faults() + 1)
        };
        // The voters are fixed: of them no more than f may ever be lost.
        if (voter && voters >= self.faults()) || !(first || copied()) {
            return;
        }
        self.truth.losses += 1;
        self.truth.lost_disks.insert(node);
        let now_ms = self.now_ms;
        let of = self.node(node);
        of.lost = true;
        of.disk.clear();
        of.memory = Default::default();
        self.dirty = true;
        for put in self.puts.iter_mut().filter(|put| put.node == node) {
            put.due_ms = now_ms;
        }
        self.story
            .say(now_ms, format!("node {node} loses its disk for good"));
        if self.rng.chance(700) {
            self.join();
        }
    }

    /// A new node joins with an empty disk.
    pub fn join(&mut self) {
        let id = self.nodes.keys().max().map_or(1, |id| id + 1);
        if id > 7 {
            return;
        }
        let mut node = Node::new(id, false);
        node.seen_ms = self.now_ms;
        self.nodes.insert(id, node);
        self.story.say(self.now_ms, format!("node {id} joins"));
    }

    /// Counts how long nodes are away, and lets replicas catch up.
    pub fn pass_time(&mut self) {
        let (now_ms, step_ms, index) = (self.now_ms, self.step_ms, self.log.index());
        for node in self.nodes.values_mut() {
            let away_ms = now_ms - node.seen_ms;
            if node.in_reach(now_ms) {
                if away_ms > step_ms {
                    node.returned_ms = now_ms;
                    node.absence_ms = away_ms;
                }
                node.seen_ms = now_ms;
                let lags = node.lag_until_ms > now_ms;
                let behind = !self.calm && self.rng.chance(200);
                if !lags {
                    node.applied = node.applied.max(index - u64::from(behind && index > 0));
                }
            } else if (HOME_LOST_MS..HOME_LOST_MS + step_ms).contains(&away_ms) {
                self.truth.losses += 1;
            }
        }
    }

    /// All that is broken and not lost is mended.
    pub fn heal(&mut self) {
        self.calm = true;
        for node in self.nodes.values_mut() {
            node.down_until_ms = node.down_until_ms.min(self.now_ms);
            node.cut_until_ms = 0;
            node.lag_until_ms = 0;
            node.full_until_ms = 0;
            node.room_bytes = AMPLE_ROOM_BYTES;
        }
        // Enough nodes for all homes, though some disks are gone.
        while (self.nodes_in_reach().len() as u64) < self.faults() + 1 {
            self.join();
        }
        self.settle_builds();
        self.story
            .say(self.now_ms, "all nodes are well from here on".into());
    }

    fn change_build(&mut self, node: u64, build: &str) {
        let of = self.node(node);
        of.build = build.into();
        of.new_build = true;
        self.story
            .say(self.now_ms, format!("node {node} will have build {build}"));
    }

    /// Either an upgrade is through, or the nodes keep the builds that they have
    /// come to, where enough have the same to assemble a job.
    fn settle_builds(&mut self) {
        let reach = self.nodes_in_reach();
        let of = |build: &str| {
            reach
                .iter()
                .filter(|id| self.nodes[id].build == build)
                .count()
        };
        let enough = of("b").max(of("c")) as u64 > self.faults();
        let build = match (enough && self.rng.chance(500), self.rng.chance(500)) {
            (true, _) => return,
            (false, true) => "b",
            (false, false) => "c",
        };
        let others = reach.into_iter().filter(|id| self.nodes[id].build != build);
        for node in others.collect::<Vec<u64>>() {
            self.change_build(node, build);
            let of = self.node(node);
            of.process += 1;
            of.memory = Default::default();
        }
    }

    /// A user asks at some node to have a job planned anew.
    fn ask_to_replan(&mut self, node: u64) {
        let state = self.local(node);
        let active: Vec<&Job> = state.active().map(|entry| &entry.job).collect();
        let Some(job) = self.rng.pick(&active) else {
            return;
        };
        let command = Command::Replan(Replan {
            job: job.id.clone(),
            build: job.build.clone(),
            replans: job.replans,
            note: "asked for".into(),
        });
        self.propose(vec![vec![command]], Origin::Home);
    }
    /// A node is to hand over what it has, and whichever did so before stays after all.
    fn drain(&mut self, node: Option<u64>) {
        let state = self.log.state().clone();
        let drains: Vec<u64> = state
            .nodes()
            .filter(|it| it.is_draining())
            .map(|it| it.id)
            .collect();
        let drain = |node, draining| Command::DrainNode(DrainNode { node, draining });
        let stay = drains.iter().map(|node| drain(*node, false));
        let goes = node.filter(|node| !drains.contains(node));
        let goes = goes.map(|node| drain(node, true));
        let commands: Vec<Command> = stay.chain(goes).collect();
        if !commands.is_empty() {
            // What has moved may move back.
            self.truth.losses += commands.len() as u64;
            self.story.say(
                self.now_ms,
                format!("node {node:?} drains, and {drains:?} stay"),
            );
            self.propose(vec![commands], Origin::Home);
        }
    }
}
