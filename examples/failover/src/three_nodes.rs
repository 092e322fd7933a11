//! Three nodes under load, which an experiment disturbs again and again: it
//! waits until all is well, does its harm, and waits for what must follow.

use std::{
    collections::BTreeSet,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cli_client::CliClient,
    clock::now_us,
    event_log::EventLog,
    events::{AttemptEnd, AttemptKey, Kill},
    experiment::Settings,
    process_cluster::ProcessCluster,
    random::Random,
    workload::Workload,
};

pub const NODES: u16 = 3;

/// How long a cluster may take to come up on a machine whose cores are busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node that was disturbed may take until it works again.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);

/// How long the tasks that a fault interrupted may take to be done.
const DONE_PATIENCE: Duration = Duration::from_secs(60);

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct ThreeNodes {
    pub random: Random,
    pub cluster: ProcessCluster,
    pub log: EventLog,
    pub workload: Workload,
    /// The nodes that were killed.
    pub kills: Vec<Kill>,
    /// When the calm film was done.
    pub from_us: u64,
}

impl ThreeNodes {
    /// Waits until the nodes of `cluster` are up, and makes the calm film.
    ///
    /// # Errors
    /// If they don't come up, or can't make it.
    pub fn new(
        settings: &Settings,
        folder: &Path,
        cluster: ProcessCluster,
    ) -> Result<Self, String> {
        cluster.wait_for_nodes(NODES.into(), START_PATIENCE)?;
        let workload = Workload::new(settings, folder, &cluster)?;
        Ok(ThreeNodes {
            random: Random::new(settings.seed),
            log: cluster.event_log(),
            workload,
            cluster,
            kills: Vec::new(),
            from_us: now_us(),
        })
    }

    /// Fills the queue, and waits until every node is there, has caught up and
    /// is at work. Harm before that would be a second fault.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn wait_until_all_work(&mut self) -> Result<(), String> {
        let mut filled = self.workload.keep_busy(&self.cluster)?;
        let started = Instant::now();
        while started.elapsed() < RECOVERY_PATIENCE {
            self.log.update();
            let ready = self.log.all_nodes_ready(NODES.into(), &self.kills);
            if filled && ready && self.cluster.busy_nodes() == usize::from(NODES) {
                return Ok(());
            }
            sleep(LOOK_EVERY);
            filled = filled || self.workload.keep_busy(&self.cluster)?;
        }
        Err(format!(
            "not all nodes were back at work after {} s",
            RECOVERY_PATIENCE.as_secs()
        ))
    }

    /// Sleeps between two bounds in milliseconds, so that the harm comes at any
    /// phase of the nodes' heartbeats and plans.
    pub fn sleep_within(&mut self, bounds_ms: (u64, u64)) {
        sleep(self.random.duration(bounds_ms));
    }

    /// Who leads, by the nodes' logs.
    ///
    /// # Errors
    /// If nobody ever did.
    pub fn leader(&mut self) -> Result<u64, String> {
        self.log.update();
        let leader = self.log.leader_at(now_us());
        leader.ok_or("no node has said that it leads".to_string())
    }

    /// Any node, except one if given.
    pub fn any_node(&mut self, except: Option<u64>) -> u64 {
        let mut ids = self.cluster.ids();
        ids.retain(|&id| Some(id) != except);
        self.random.choose(&ids)
    }

    /// Waits until the log shows something; `None` if it does not in time.
    pub fn wait_for_events<T>(
        &mut self,
        patience: Duration,
        mut find: impl FnMut(&EventLog) -> Option<T>,
    ) -> Option<T> {
        let started = Instant::now();
        loop {
            self.log.update();
            let found = find(&self.log);
            if found.is_some() || started.elapsed() > patience {
                return found;
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Waits until the tasks that a fault interrupted are done. A task that is
    /// hit three times fails its job as poison, by design: the next fault must
    /// not hit what the last one did. If they take too long, it comes all the
    /// same.
    pub fn wait_until_done(&mut self, interrupted: &[AttemptKey]) {
        let kills = self.kills.clone();
        self.wait_for_events(DONE_PATIENCE, |log| {
            let attempts = log.attempts(&kills, now_us());
            let is_done = |key: &AttemptKey| {
                let mine = attempts
                    .iter()
                    .filter(|attempt| attempt.key.task() == key.task());
                let last = mine.max_by_key(|attempt| attempt.key.attempt);
                last.is_none_or(|last| last.end == AttemptEnd::Finished)
            };
            interrupted.iter().all(is_done).then_some(())
        });
    }

    /// Attempts at the films that failed, by the table's own word, except those
    /// that were lost with one of the nodes `lost`.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn other_failures(&self, lost: &BTreeSet<u64>) -> Result<Vec<String>, String> {
        let mut others = Vec::new();
        for id in &self.workload.films {
            let list = self.cluster.try_json(&["job", "tasks", id])?;
            for task in list["tasks"].as_array().cloned().unwrap_or_default() {
                let failures = task["failures"].as_array().cloned().unwrap_or_default();
                for failure in failures.iter().filter_map(|failure| failure.as_str()) {
                    let explained = lost
                        .iter()
                        .any(|node| failure.contains(&format!("on node {node}: node-lost")));
                    if !explained {
                        others.push(format!(
                            "{id} {} {}: {failure}",
                            task["kind"], task["number"]
                        ));
                    }
                }
            }
        }
        Ok(others)
    }
}
