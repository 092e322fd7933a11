//! Engines: who may be one, and what becomes of what they give.

use std::sync::Arc;

use super::{stages::assemblies_of, writer::Writer};
use crate::{
    command::{Complete, Release, Reply},
    engine_rows::{
        Claim, CreateEngine, ENGINE_ID_MIN, Engine, Quarantine, RevokeEngine, engine_key, is_engine,
    },
    limits::NAME_BYTES_MAX,
    rows::{FailureClass, JobState, Problem, Task, TaskKind, TaskState},
    table_rows::cluster_key,
};

impl Writer<'_> {
    pub(super) fn create_engine(&mut self, c: &CreateEngine) -> Reply {
        let asked = &c.engine;
        let alike = |it: &&Arc<Engine>| it.digest == asked.digest || it.name == asked.name;
        let known = self.state.engines.all().find(alike).cloned();
        if let Some(known) = known {
            if known.digest == asked.digest && known.name == asked.name {
                return Reply {
                    existed: true,
                    node: known.id,
                    ..Default::default()
                };
            }
            let cause = format!("there is an engine '{}' already", asked.name);
            let hint = "choose another name; if its token is lost, revoke it first";
            return Reply::refused("", Problem::new("engine-exists", cause, hint));
        }
        let count = self.state.engines.all().len() as u64;
        if count >= c.engines_max {
            let cause = format!("the cluster knows {count} engines");
            let hint = "revoke those that are gone, see `reelraft cluster engines`";
            return Reply::refused("", Problem::new("too-many-engines", cause, hint));
        }
        if asked.name.is_empty() || asked.name.len() > NAME_BYTES_MAX {
            let problem = Problem::new("bad-request", "an engine has no name", "give it one");
            return Reply::refused("", problem);
        }
        self.state.cluster.engines_made += 1;
        self.touched.insert(cluster_key());
        let id = ENGINE_ID_MIN + self.state.cluster.engines_made;
        self.put_engine(Engine {
            id,
            quarantine: None,
            ..asked.clone()
        });
        Reply {
            node: id,
            ..Default::default()
        }
    }

    pub(super) fn revoke_engine(&mut self, c: &RevokeEngine) -> Reply {
        if self.state.engines.get(c.id).is_none() {
            return Reply::stale("");
        }
        self.touched.insert(engine_key(c.id));
        self.state.engines.remove(c.id);
        Reply::default()
    }

    fn put_engine(&mut self, engine: Engine) {
        self.touched.insert(engine_key(engine.id));
        self.state.engines.put(engine);
    }

    /// What becomes of a result by or after an engine; `None` where it counts. `task`
    /// names the attempt that gave it.
    pub(super) fn judge_engine(&mut self, task: &mut Task, c: &Complete) -> Option<Reply> {
        let id = &c.key.job;
        if !is_engine(task.node) {
            self.compare_with_claim(task, c);
            return None;
        }
        let engine = task.node;
        let row = self.state.engines.get(engine);
        task.engine_name = row.map(|row| row.name.clone()).unwrap_or_default();
        // A shard that is made again must give what it gave before.
        let doubtful = c.check || (!task.hash.is_empty() && task.hash != c.hash);
        if self.state.takes_engine(engine) && !doubtful {
            return None;
        }
        if self.state.takes_engine(engine) {
            task.claim = Some(Claim {
                engine,
                hash: c.hash.clone(),
                confirmed: false,
            });
        }
        let mut task = task.clone();
        match task.has_twin() {
            true => {
                task.swap_with_twin();
                task.end_twin();
            }
            false => task.state = TaskState::Pending.into(),
        }
        self.put_task(id, task);
        Some(Reply::done(id))
    }

    /// Compares what a member made with what an engine gave for the same, if one did.
    fn compare_with_claim(&mut self, task: &mut Task, c: &Complete) {
        match &mut task.claim {
            Some(claim) if claim.confirmed => {}
            Some(claim) if claim.hash == c.hash => claim.confirmed = true,
            claim => {
                let lied = claim.take();
                task.engine_name.clear();
                if let Some(claim) = lied {
                    self.found_lying(&claim, task, c);
                }
            }
        }
    }

    /// What the failure of an attempt counts as.
    pub(super) fn class_of(&mut self, task: &Task, c: &Release) -> FailureClass {
        use FailureClass::{Final, PlanMismatch, Work};
        match c.class() {
            // What an engine says of the work is worth nothing: a member finds out.
            class if is_engine(task.node) && class.is_blamed() => FailureClass::NodeFault,
            // It may have failed by what an engine gave: members make that first.
            Work | Final | PlanMismatch
                if task.kind() == TaskKind::Assemble && self.doubt_engines(&c.key.job) =>
            {
                FailureClass::Stopped
            }
            class => class,
        }
    }

    /// Has members make the shards of a job that rest on the word of engines alone, to be
    /// compared; whether there was any.
    fn doubt_engines(&mut self, id: &str) -> bool {
        let Some(entry) = self.state.jobs.get(id) else {
            return false;
        };
        let alone = entry.shards().filter(|task| rests_on_engine(task));
        let mut again: Vec<Task> = alone.map(|task| Task::clone(task)).collect();
        for task in &mut again {
            task.claim = Some(Claim::unconfirmed(task));
        }
        let any = !again.is_empty();
        self.make_again(id, again);
        any
    }

    /// Has shards of a job be made again. What was assembled of them counts no more.
    fn make_again(&mut self, id: &str, shards: Vec<Task>) {
        let Some(entry) = self.state.jobs.get(id).filter(|_| !shards.is_empty()) else {
            return;
        };
        let mut job = entry.job.clone();
        let assemblies = assemblies_of(entry);
        if job.state() == JobState::Assembling {
            job.state = JobState::Encoding.into();
            self.put_job(job);
        }
        for mut task in shards {
            task.state = TaskState::Pending.into();
            task.hash.clear();
            self.put_task(id, task);
        }
        for key in assemblies {
            self.suspend(id, key);
        }
    }

    /// Notes what an engine gave in the place of what a member made, `c`, and has all else
    /// that rests on its word made again, in every job that has not ended. What it gives
    /// from then on does not count, so this is done once an engine.
    pub(super) fn found_lying(&mut self, claim: &Claim, by: &Task, c: &Complete) {
        if let Some(engine) = self.state.engines.get(claim.engine).cloned() {
            if engine.quarantine.is_some() {
                return;
            }
            self.put_engine(Engine {
                quarantine: Some(Quarantine {
                    job: c.key.job.clone(),
                    shard: c.key.number,
                    gave: claim.hash.clone(),
                    right: c.hash.clone(),
                    node: by.node,
                    unix_ms: c.unix_ms,
                }),
                ..Engine::clone(&engine)
            });
        }
        let its = |task: &&Arc<Task>| task.node == claim.engine && rests_on_engine(task);
        let active = self.state.active();
        let active = active.filter(|entry| entry.counts.shards_done > 0);
        let again = active.map(|entry| {
            let shards = entry.shards().filter(its);
            let shards: Vec<Task> = shards.map(|task| Task::clone(task)).collect();
            (entry.job.id.clone(), shards)
        });
        let again: Vec<(String, Vec<Task>)> = again.collect();
        for (id, shards) in again {
            self.make_again(&id, shards);
        }
    }
}

/// Whether a shard is done, and no member has made the same.
fn rests_on_engine(task: &Task) -> bool {
    task.state() == TaskState::Done && task.is_by_engine() && task.claim.is_none()
}
