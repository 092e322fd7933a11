//! Three nodes under load that an experiment can disturb, again and again: it
//! waits until all is well, does its harm, and waits for what must follow.

use std::{
    collections::BTreeSet,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Random, Settings,
    client::Asked,
    fleet::Fleet,
    load::Load,
    now_us,
    record::{End, Key, Kill, Record},
};

/// Nodes of a scene's cluster.
pub const NODES: u16 = 3;

/// How long a cluster may take to come up on a machine whose cores are busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node that was disturbed may take until it works again.
const WHOLE_PATIENCE: Duration = Duration::from_secs(60);

/// How long what a fault interrupted may take to be done.
const DONE_PATIENCE: Duration = Duration::from_secs(60);

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct Scene {
    pub random: Random,
    pub fleet: Fleet,
    pub record: Record,
    pub load: Load,
    /// The nodes that were killed.
    pub kills: Vec<Kill>,
    /// When the calm film was done.
    pub from_us: u64,
}

impl Scene {
    /// Waits until the nodes are up, and makes the calm film.
    ///
    /// # Errors
    /// That they don't come up, or can't make it.
    pub fn open(settings: &Settings, folder: &Path, fleet: Fleet) -> Result<Self, String> {
        fleet.await_nodes(NODES.into(), START_PATIENCE)?;
        let load = Load::new(settings, folder, &fleet)?;
        Ok(Scene {
            random: Random::new(settings.seed),
            record: fleet.record(),
            load,
            fleet,
            kills: Vec::new(),
            from_us: now_us(),
        })
    }

    /// Fills the queue, and waits until every node is there, has caught up and
    /// is at work: harm before that would be a second fault.
    ///
    /// # Errors
    /// That it does not come to that.
    pub fn await_whole(&mut self) -> Result<(), String> {
        let mut filled = self.load.keep_busy(&self.fleet)?;
        let started = Instant::now();
        while started.elapsed() < WHOLE_PATIENCE {
            self.record.update();
            let whole = self.record.whole(NODES.into(), &self.kills);
            if filled && whole && self.busy_nodes() == usize::from(NODES) {
                return Ok(());
            }
            sleep(LOOK_EVERY);
            filled = filled || self.load.keep_busy(&self.fleet)?;
        }
        Err(format!(
            "not all nodes were back at work after {} s",
            WHOLE_PATIENCE.as_secs()
        ))
    }

    /// Nodes that run something now.
    fn busy_nodes(&self) -> usize {
        let nodes = self.fleet.nodes();
        let busy = |node: &&serde_json::Value| node["slots_busy"].as_u64().unwrap_or(0) > 0;
        nodes.iter().filter(busy).count()
    }

    /// Sleeps for a while between two bounds in milliseconds, so that harm is
    /// done at any phase of the nodes' beats and plans.
    pub fn settle(&mut self, (low_ms, high_ms): (u64, u64)) {
        sleep(Duration::from_millis(self.random.within(low_ms, high_ms)));
    }

    /// Who leads, by the nodes' logs.
    ///
    /// # Errors
    /// That nobody ever did.
    pub fn leader(&mut self) -> Result<u64, String> {
        self.record.update();
        let leader = self.record.leader_at(now_us());
        leader.ok_or("no node has said that it leads".to_string())
    }

    /// Any node, or any but one.
    pub fn any_node(&mut self, but: Option<u64>) -> u64 {
        let mut ids = self.fleet.ids();
        ids.retain(|&id| Some(id) != but);
        ids[self.random.within(0, ids.len() as u64) as usize]
    }

    /// Waits until the record shows something; `None` where it does not in time.
    pub fn await_record<T>(
        &mut self,
        patience: Duration,
        mut find: impl FnMut(&Record) -> Option<T>,
    ) -> Option<T> {
        let started = Instant::now();
        loop {
            self.record.update();
            let found = find(&self.record);
            if found.is_some() || started.elapsed() > patience {
                return found;
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Waits until the tasks that a fault interrupted are done. A task that is
    /// hit three times fails its job as poison, which is meant so: the next
    /// fault must not meet what the last one did.
    pub fn await_done(&mut self, interrupted: &[Key]) {
        let kills = self.kills.clone();
        // Where it takes longer, the next fault comes all the same.
        self.await_record(DONE_PATIENCE, |record| {
            let tries = record.tries(&kills, now_us());
            let done = |key: &Key| {
                let mine = tries.iter().filter(|found| found.key.task() == key.task());
                let last = mine.max_by_key(|found| found.key.attempt);
                last.is_none_or(|last| last.end == End::Finished)
            };
            interrupted.iter().all(done).then_some(())
        });
    }

    /// Attempts at the films that gave no result, as the table tells them, but
    /// for those that were lost with one of these nodes.
    ///
    /// # Errors
    /// That the cluster does not answer.
    pub fn failures_but_on(&self, lost: &BTreeSet<u64>) -> Result<Vec<String>, String> {
        let mut others = Vec::new();
        for id in &self.load.films {
            let list = self.fleet.document(&["job", "tasks", id])?;
            for shard in list["tasks"].as_array().cloned().unwrap_or_default() {
                let failures = shard["failures"].as_array().cloned().unwrap_or_default();
                for failure in failures.iter().filter_map(|failure| failure.as_str()) {
                    let explained = lost
                        .iter()
                        .any(|node| failure.contains(&format!("on node {node}: node-lost")));
                    if !explained {
                        others.push(format!(
                            "{id} {} {}: {failure}",
                            shard["kind"], shard["number"]
                        ));
                    }
                }
            }
        }
        Ok(others)
    }
}
