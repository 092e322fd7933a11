//! The leader's side of the worker sessions: who is connected, what each node
//! says it runs, and how to reach it. All of it is memory that a successor
//! rebuilds from the hellos (P6); nothing here decides anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Instant,
};

use reelraft_model::{AttemptKey, plan::NodeHealth};
use reelraft_proto::v1;
use tokio::sync::{Notify, mpsc};

use crate::faces::convert::{model_progress, wire_progress};

/// What the leader knows of one node.
#[derive(Debug)]
struct Session {
    /// Tells this session from an earlier one of the same node.
    number: u64,
    to_worker: mpsc::Sender<Result<v1::ToWorker, tonic::Status>>,
    hello: v1::Hello,
    beat: v1::Beat,
    running: BTreeMap<AttemptKey, u64>,
    heard: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    next_number: u64,
    open: BTreeMap<u64, Session>,
    /// When each node was last heard, also after its session closed.
    heard: BTreeMap<u64, Instant>,
    /// The process that each node last was.
    pids: BTreeMap<u64, u32>,
}

/// All sessions of this node while it leads.
#[derive(Debug, Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
    /// Woken whenever a session opened, closed or reported something new.
    pub changed: Notify,
}

impl Sessions {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// Opens a session in the place of the node's earlier one, if any, and
    /// returns its number, and whether the node has been started anew since its
    /// last session here: what it does not name then died with it.
    pub fn open(
        &self,
        hello: v1::Hello,
        to_worker: mpsc::Sender<Result<v1::ToWorker, tonic::Status>>,
    ) -> (u64, bool) {
        let mut inner = self.inner();
        inner.next_number += 1;
        let before = inner.pids.insert(hello.node, hello.pid);
        let restarted = before.is_some_and(|pid| pid != hello.pid);
        let number = inner.next_number;
        let running = attempts(&hello.running);
        inner.heard.insert(hello.node, Instant::now());
        inner.open.insert(
            hello.node,
            Session {
                number,
                to_worker,
                running,
                beat: hello.beat.clone().unwrap_or_default(),
                heard: Instant::now(),
                hello,
            },
        );
        drop(inner);
        self.changed.notify_one();
        (number, restarted)
    }

    /// Notes a heartbeat of a session.
    pub fn beat(&self, node: u64, number: u64, beat: v1::Beat) {
        let mut inner = self.inner();
        let now = Instant::now();
        if let Some(session) = inner
            .open
            .get_mut(&node)
            .filter(|session| session.number == number)
        {
            session.running = attempts(&beat.running);
            session.heard = now;
            session.beat = beat;
            inner.heard.insert(node, now);
        }
    }

    /// Closes a session, unless a newer one has taken its place.
    pub fn close(&self, node: u64, number: u64) {
        let mut inner = self.inner();
        if inner
            .open
            .get(&node)
            .is_some_and(|session| session.number == number)
        {
            inner.open.remove(&node);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Ends all sessions: this node no longer leads.
    pub fn close_all(&self) {
        let mut inner = self.inner();
        inner.open.clear();
        inner.heard.clear();
        inner.pids.clear();
    }

    /// Sends a message to a node; `false` where there is no session, or one
    /// whose queue is full (which is then closed, so that the node reconnects
    /// and says anew what it runs).
    pub fn send(&self, node: u64, message: v1::to_worker::Message) -> bool {
        let mut inner = self.inner();
        let Some(session) = inner.open.get(&node) else {
            return false;
        };
        let sent = session
            .to_worker
            .try_send(Ok(v1::ToWorker {
                message: Some(message),
            }))
            .is_ok();
        if !sent {
            inner.open.remove(&node);
        }
        sent
    }

    /// Whether a node has said that it runs (or holds finished) an attempt.
    pub fn runs(&self, node: u64, key: &AttemptKey) -> bool {
        self.inner()
            .open
            .get(&node)
            .is_some_and(|session| session.running.contains_key(key))
    }

    /// The nodes as the plan sees them. `since` is when this node began to
    /// lead: silence is counted from there for nodes never heard.
    pub fn views(
        &self,
        members: &BTreeSet<u64>,
        since: Instant,
        lease: std::time::Duration,
    ) -> BTreeMap<u64, NodeHealth> {
        let inner = self.inner();
        let view = |node: &u64| {
            let heard = inner.heard.get(node).copied().unwrap_or(since).max(since);
            let silent = heard.elapsed();
            let mut view = NodeHealth {
                silent_ms: silent.as_millis() as u64,
                ..Default::default()
            };
            if let Some(session) = inner.open.get(node) {
                view.alive = session.heard.elapsed() < lease;
                view.slots = session.hello.slots;
                view.build = session.hello.build.clone();
                view.trouble = session.beat.trouble.clone();
                view.full = session.beat.full;
            }
            (*node, view)
        };
        members.iter().map(view).collect()
    }

    /// The connected nodes as `cluster status` shows them.
    pub fn node_status(&self, lease: std::time::Duration) -> Vec<v1::NodeStatus> {
        let inner = self.inner();
        let status = |session: &Session| v1::NodeStatus {
            id: session.hello.node,
            address: session.hello.address.clone(),
            reachable: session.heard.elapsed() < lease,
            pid: session.hello.pid,
            slots: session.hello.slots,
            slots_busy: session.running.len() as u32,
            load_milli: session.beat.load_milli,
            disk_free_bytes: session.beat.disk_free_bytes,
            disk_total_bytes: session.beat.disk_total_bytes,
            build: session.hello.build.clone(),
            applied_index: session.beat.applied_index,
            incarnation: session.hello.incarnation.clone(),
            version: session.hello.version.clone(),
            trouble: session.beat.trouble.clone(),
            role: String::new(),
        };
        inner.open.values().map(status).collect()
    }

    /// Shard attempts that the nodes report, with their frames, for each job.
    pub fn shards_running(&self) -> BTreeMap<String, Vec<v1::AttemptProgress>> {
        let inner = self.inner();
        let mut running: BTreeMap<String, Vec<v1::AttemptProgress>> = BTreeMap::new();
        for (key, frames) in inner.open.values().flat_map(|session| &session.running) {
            if key.kind() == reelraft_model::TaskKind::Shard {
                let attempts = running.entry(key.job.clone()).or_default();
                attempts.push(wire_progress(key, *frames));
            }
        }
        running
    }

    /// The nodes with an open session.
    pub fn connected(&self) -> Vec<u64> {
        self.inner().open.keys().copied().collect()
    }
}

fn attempts(wire: &[v1::AttemptProgress]) -> BTreeMap<AttemptKey, u64> {
    wire.iter().filter_map(model_progress).collect()
}
