//! What engines do: they come and go, move from one member to another with what they run,
//! and some of them lie.

use reelraft_model::{
    AttemptKey, Complete, FailureClass, is_engine,
    plan::{ClusterHealth, NodeHealth, attempt_is_current},
};

use crate::{
    engine::{Engine, FALSE, UNFIT, forget_check},
    node::{Attempt, Outcome},
    world::World,
};

/// After so long its member lets a silent engine go.
const SILENT_MS: u64 = 10_000;

impl World {
    /// Where a worker's attempts are run: of an engine at its member.
    pub fn member_of(&self, worker: u64) -> Option<u64> {
        match is_engine(worker) {
            true => self.engines.get(worker).map(|engine| engine.member),
            false => Some(worker),
        }
    }

    /// Whose attempt this is that runs on a node.
    pub fn runner(&self, node: u64, key: &AttemptKey) -> u64 {
        let runners = &self.nodes[&node].memory.runners;
        runners.get(key).copied().unwrap_or(node)
    }

    fn is_heard(&self, engine: &Engine) -> bool {
        engine.down_until_ms <= self.now_ms && self.in_reach(engine.member)
    }

    /// Perhaps takes an engine away, or has it go to another member.
    pub fn move_engines(&mut self) {
        let members = self.nodes_in_reach();
        for at in 0..self.engines.all.len() {
            let mut engine = self.engines.all[at].clone();
            if self.is_heard(&engine) {
                engine.seen_ms = self.now_ms;
            }
            let leaves = !self.calm && self.engines.rng.chance(10);
            if leaves {
                let ms = self.engines.rng.between(1, 60) * 500;
                engine.down_until_ms = self.now_ms + ms;
                let text = format!("engine {} is away for {ms} ms", at + 1);
                self.story.say(self.now_ms, text);
            }
            let lost = !self.in_reach(engine.member);
            let moves = lost || (!self.calm && self.engines.rng.chance(10));
            if let Some(member) = self.engines.rng.pick(&members).filter(|_| moves) {
                self.take_over(&engine, member);
                engine.member = member;
            }
            if self.calm {
                engine.down_until_ms = engine.down_until_ms.min(self.now_ms);
            }
            self.engines.all[at] = engine;
        }
    }

    /// Has a member go on with what an engine has begun for another one.
    fn take_over(&mut self, engine: &Engine, member: u64) {
        let former = &self.nodes[&engine.member].memory;
        let own = |key: &&AttemptKey| former.runners.get(*key) == Some(&engine.id);
        let begun: Vec<AttemptKey> = former.running.keys().filter(own).cloned().collect();
        let state = self.local(member);
        for key in begun {
            let memory = &mut self.node(member).memory;
            let known = memory.running.contains_key(&key) || memory.finished.contains_key(&key);
            if !known && attempt_is_current(&state, &key, engine.id) {
                memory.runners.insert(key.clone(), engine.id);
                memory.running.insert(key, Attempt::new(0, 1_000));
            }
        }
    }

    /// Adds the engines that the leader hears of.
    pub fn add_engines(&self, health: &mut ClusterHealth) {
        for engine in &self.engines.all {
            let member = self.nodes.get(&engine.member);
            let Some(member) = member.filter(|_| self.now_ms - engine.seen_ms < SILENT_MS) else {
                continue;
            };
            let heard = self.is_heard(engine);
            let of = NodeHealth {
                alive: heard,
                silent_ms: self.now_ms - engine.seen_ms,
                slots: 2,
                build: member.build.clone(),
                ..Default::default()
            };
            health.engines.insert(engine.id, of);
        }
    }

    /// What becomes of an engine's attempt where it is away, or fails.
    pub fn engine_fails(
        &mut self,
        node: u64,
        key: &AttemptKey,
        attempt: &mut Attempt,
    ) -> Option<Outcome> {
        let engine = self.engines.get(self.runner(node, key))?;
        let failed = |class, cause: &str| Some(Outcome::Failed(class, cause.into(), vec![]));
        if engine.member != node || engine.down_until_ms > self.now_ms {
            attempt.silent_ms += self.step_ms;
            let gone = attempt.silent_ms > SILENT_MS;
            return failed(FailureClass::Stopped, "it has gone").filter(|_| gone);
        }
        attempt.silent_ms = 0;
        if self.calm || !self.engines.rng.chance(20) {
            return None;
        }
        let classes = [
            FailureClass::Work,
            FailureClass::Final,
            FailureClass::PlanMismatch,
        ];
        let class = self.engines.rng.pick(&classes)?;
        failed(class, "an engine says so")
    }

    /// What an engine makes of the right result, and whether that is made again.
    pub fn made_by(&mut self, runner: u64, made: Complete) -> Complete {
        let Some(engine) = self.engines.get(runner) else {
            return made;
        };
        let lies = engine.lies && self.engines.rng.chance(500);
        let check = self.engines.rng.chance(400);
        let lie = match (lies, check) {
            (false, _) => return Complete { check, ..made },
            (true, true) => FALSE,
            (true, false) => UNFIT,
        };
        let hash = format!("{lie}({} by {runner})", made.hash);
        let mut made = Complete {
            report: format!("r({hash})"),
            hash,
            check,
            ..made
        };
        forget_check(self.bugs, &mut made);
        made
    }
}
