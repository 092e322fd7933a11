//! The leader's side of the worker sessions: who is connected, what each node
//! says it runs, and how to reach it. All of it is memory that a successor
//! rebuilds from the hellos (P6); nothing here decides anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use reelraft_model::{
    AttemptKey, State, TaskKind, is_engine,
    plan::{NodeHealth, Speeds},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::engines::Engines;
use crate::node::{
    engine_messages::{EngineNews, EngineStatus},
    messages::{Beat, Hello, JobsProgress, LeaderReport, NodeStatus, Progress, ToWorker},
};

/// What the leader knows of one node.
#[derive(Debug)]
struct Session {
    /// Tells this session from an earlier one of the same node.
    number: u64,
    to_worker: mpsc::Sender<ToWorker>,
    hello: Hello,
    /// The last one; its first came with the hello.
    beat: Beat,
    heard: Instant,
    /// The jobs and the engines that it was told of last.
    told: Option<Arc<JobsProgress>>,
    told_engines: Option<Arc<Vec<EngineStatus>>>,
}

#[derive(Debug, Default)]
struct Inner {
    next_number: u64,
    open: BTreeMap<u64, Session>,
    engines: Engines,
    /// When each node was last heard, also after its session closed.
    heard: BTreeMap<u64, Instant>,
    /// The process that each node last was, by its random name.
    processes: BTreeMap<u64, u64>,
    /// How fast what runs goes, and since when that is watched.
    speeds: Arc<Speeds>,
    began: Option<Instant>,
}

impl Inner {
    /// The leader's own time, in which speeds are taken.
    fn now_ms(&mut self) -> u64 {
        let began = self.began.get_or_insert_with(Instant::now);
        began.elapsed().as_millis() as u64
    }

    /// Notes what a node says of its engines.
    fn hear_engines(&mut self, node: u64, news: EngineNews) {
        for (engine, running) in self.engines.hear(node, news) {
            self.note_progress(engine, &running);
        }
    }

    /// The session by which a node or an engine is reached.
    fn session_of(&self, worker: u64) -> Option<&Session> {
        match is_engine(worker) {
            true => self.open.get(&self.engines.member_of(worker)?),
            false => self.open.get(&worker),
        }
    }

    /// Notes how far a node's shards are. Sound and all else have no frames to go by.
    fn note_progress(&mut self, node: u64, running: &Progress) {
        let shards = running.iter();
        let shards = shards.filter(|(key, _)| key.kind() == TaskKind::Shard);
        let shards = shards.map(|(key, frames)| (key.clone(), *frames)).collect();
        let now_ms = self.now_ms();
        Arc::make_mut(&mut self.speeds).runs(node, &shards, now_ms);
    }
}

/// All sessions of this node while it leads.
#[derive(Debug, Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
    /// Woken whenever a session opened, closed or reported something new.
    pub changed: Notify,
    /// By node: what is done about its place in the cluster, and why.
    notes: Mutex<BTreeMap<u64, String>>,
}

impl Sessions {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// Opens a session in the place of the node's earlier one, if any, and
    /// returns its number, and whether the node has been started anew since its
    /// last session here: what it does not name then died with it.
    pub fn open(&self, mut hello: Hello, to_worker: mpsc::Sender<ToWorker>) -> (u64, bool) {
        let mut inner = self.inner();
        inner.next_number += 1;
        let before = inner.processes.insert(hello.node, hello.process);
        let restarted = before.is_some_and(|process| process != hello.process);
        let number = inner.next_number;
        inner.note_progress(hello.node, &hello.beat.running);
        // Its first beat names all that it has.
        inner.engines.lose(hello.node);
        let engines = std::mem::take(&mut hello.beat.engines);
        inner.hear_engines(hello.node, engines);
        inner.heard.insert(hello.node, Instant::now());
        inner.open.insert(
            hello.node,
            Session {
                number,
                to_worker,
                beat: std::mem::take(&mut hello.beat),
                heard: Instant::now(),
                told: None,
                told_engines: None,
                hello,
            },
        );
        drop(inner);
        self.changed.notify_one();
        (number, restarted)
    }

    /// Notes a heartbeat of a session.
    pub fn beat(&self, node: u64, number: u64, mut beat: Beat) {
        let mut inner = self.inner();
        let now = Instant::now();
        let news = !beat.engines.is_empty();
        if let Some(session) = inner
            .open
            .get_mut(&node)
            .filter(|session| session.number == number)
        {
            session.heard = now;
            let running = beat.running.clone();
            let engines = std::mem::take(&mut beat.engines);
            session.beat = beat;
            inner.heard.insert(node, now);
            inner.note_progress(node, &running);
            inner.hear_engines(node, engines);
        }
        drop(inner);
        if news {
            self.changed.notify_one();
        }
    }

    /// Notes that an attempt is over, with the frames of its result if it has one.
    pub fn ended(&self, key: &AttemptKey, node: u64, frames: Option<u64>) {
        let mut inner = self.inner();
        let now_ms = inner.now_ms();
        Arc::make_mut(&mut inner.speeds).ended(key, node, frames, now_ms);
    }

    /// How fast nodes and jobs go. Of jobs that have ended nothing is kept.
    pub fn speeds(&self, is_open: impl Fn(&str) -> bool) -> Arc<Speeds> {
        let mut inner = self.inner();
        if inner.speeds.has_other_than(&is_open) {
            Arc::make_mut(&mut inner.speeds).retain(is_open);
        }
        inner.speeds.clone()
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
            inner.engines.lose(node);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Notes what is done about the nodes' places in the cluster.
    pub fn set_notes(&self, notes: BTreeMap<u64, String>) {
        *self.notes.lock().expect("no holder of this lock panics") = notes;
    }

    /// What is done about the nodes' places in the cluster.
    pub fn notes(&self) -> BTreeMap<u64, String> {
        let notes = self.notes.lock();
        notes.expect("no holder of this lock panics").clone()
    }

    /// Ends all sessions: this node no longer leads.
    pub fn close_all(&self) {
        self.set_notes(BTreeMap::new());
        let mut inner = self.inner();
        inner.open.clear();
        inner.heard.clear();
        inner.processes.clear();
        inner.speeds = Arc::default();
        inner.engines = Engines::default();
    }

    /// Whether a result of an engine is to be made again by a member, of so many in a
    /// hundred.
    pub fn checks(&self, engine: u64, percent: u32) -> bool {
        self.inner().engines.checks(engine, percent)
    }

    /// Sends a message to a node; `false` where there is no session, or one
    /// whose queue is full (which is then closed, so that the node reconnects
    /// and says anew what it runs).
    pub fn send(&self, node: u64, message: ToWorker) -> bool {
        let mut inner = self.inner();
        let Some(session) = inner.session_of(node) else {
            return false;
        };
        let reached = session.hello.node;
        let begun = match &message {
            ToWorker::Assign(assignment) => Some(assignment.key.clone()),
            _ => None,
        };
        let sent = session.to_worker.try_send(message).is_ok();
        if let Some(key) = begun.filter(|key| sent && key.kind() == TaskKind::Shard) {
            let now_ms = inner.now_ms();
            Arc::make_mut(&mut inner.speeds).goes(&key, node, 0, now_ms);
        }
        if !sent {
            inner.open.remove(&reached);
            inner.engines.lose(reached);
        }
        sent
    }

    /// Whether a node has said that it runs (or holds finished) an attempt.
    pub fn runs(&self, node: u64, key: &AttemptKey) -> bool {
        let inner = self.inner();
        let session = inner.open.get(&node);
        inner.engines.runs(node, key)
            || session.is_some_and(|session| session.beat.running.contains_key(key))
    }

    /// The engines as the plan sees them: those that are there, and those that may
    /// come back.
    pub fn engines_health(
        &self,
        state: &State,
        since: Instant,
        lease: Duration,
    ) -> BTreeMap<u64, NodeHealth> {
        let inner = self.inner();
        let silence = |member: u64| {
            let session = inner.open.get(&member);
            let silent = session.map_or(Duration::MAX, |session| session.heard.elapsed());
            if silent < lease {
                Duration::ZERO
            } else {
                silent
            }
        };
        inner.engines.health(state, since, silence)
    }

    /// The nodes as the plan sees them. `since` is when this node began to
    /// lead: silence is counted from there for nodes never heard.
    pub fn health(
        &self,
        members: &BTreeSet<u64>,
        since: Instant,
        lease: Duration,
    ) -> BTreeMap<u64, NodeHealth> {
        let inner = self.inner();
        let health_of = |node: &u64| {
            let heard = inner.heard.get(node).copied().unwrap_or(since).max(since);
            let silent = heard.elapsed();
            let mut health = NodeHealth {
                silent_ms: silent.as_millis() as u64,
                ..Default::default()
            };
            if let Some(session) = inner.open.get(node) {
                health.alive = session.heard.elapsed() < lease;
                health.slots = session.hello.slots;
                health.memory_mib = session.beat.memory_mib;
                health.zone = session.hello.zone.clone();
                health.build = session.hello.build.clone();
                health.starting = session.hello.starting;
                let lacks = session.beat.lacks.iter();
                health.lacks = lacks.map(|lack| lack.what.clone()).collect();
                health.speeds = session.beat.speeds.clone();
                health.trouble = session.beat.trouble.clone();
                health.full = session.beat.full;
                health.room_bytes = session.beat.room_bytes;
            }
            (*node, health)
        };
        members.iter().map(health_of).collect()
    }

    /// The connected nodes as `cluster status` shows them.
    pub fn node_status(&self, lease: Duration) -> Vec<NodeStatus> {
        let inner = self.inner();
        let status = |session: &Session| NodeStatus {
            id: session.hello.node,
            address: session.hello.address.clone(),
            http: session.hello.http.clone(),
            reachable: session.heard.elapsed() < lease,
            pid: session.hello.pid,
            slots: session.hello.slots,
            slots_busy: session.beat.running.len() as u32,
            load_milli: session.beat.load_milli,
            disk_free_bytes: session.beat.disk_free_bytes,
            disk_total_bytes: session.beat.disk_total_bytes,
            build: session.hello.build.clone(),
            build_words: session.hello.build_words.clone(),
            lacks: session.beat.lacks.clone(),
            speeds: session.beat.speeds.clone(),
            applied_index: session.beat.applied_index,
            incarnation: session.hello.incarnation.clone(),
            version: session.hello.version.clone(),
            trouble: session.beat.trouble.clone(),
            room_bytes: session.beat.room_bytes,
            starting: session.hello.starting,
            memory_mib: session.beat.memory_mib,
            feature_level: session.hello.feature_level,
            certificate: session.beat.certificate.clone(),
            upkeep: session.beat.upkeep,
            zone: session.hello.zone.clone(),
            role: None,
            note: String::new(),
        };
        inner.open.values().map(status).collect()
    }

    /// What the nodes say of their tables at an index.
    pub fn table_hashes(&self, index: u64) -> BTreeMap<u64, String> {
        let inner = self.inner();
        let said = inner.open.iter().filter_map(|(node, session)| {
            let point = session.beat.table.as_ref()?;
            (point.index == index).then(|| (*node, point.hash.clone()))
        });
        said.collect()
    }

    /// Shard attempts that the nodes report, with their frames, for each job.
    pub fn shards_running(&self) -> BTreeMap<String, Progress> {
        let inner = self.inner();
        let mut running: BTreeMap<String, Progress> = BTreeMap::new();
        let all = inner
            .open
            .values()
            .flat_map(|session| &session.beat.running)
            .chain(inner.engines.running());
        for (key, frames) in all.filter(|(key, _)| key.kind() == TaskKind::Shard) {
            let attempts = running.entry(key.job.clone()).or_default();
            attempts.insert(key.clone(), *frames);
        }
        running
    }

    /// Sends a report to all connected nodes, with these jobs. A session that
    /// was told of the very same is spared them: there may be thousands.
    pub fn report(&self, report: &LeaderReport, jobs: &Arc<JobsProgress>) {
        let mut inner = self.inner();
        let engines = inner.engines.status();
        inner.open.retain(|_, session| {
            let known = session.told.as_ref();
            let known = known.is_some_and(|told| Arc::ptr_eq(told, jobs));
            session.told = Some(jobs.clone());
            let told = session.told_engines.replace(engines.clone());
            let same = told.is_some_and(|told| Arc::ptr_eq(&told, &engines));
            let report = LeaderReport {
                jobs: (!known).then(|| jobs.clone()),
                engines: (!same).then(|| engines.clone()),
                ..report.clone()
            };
            session.to_worker.try_send(ToWorker::Report(report)).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(process: u64) -> Hello {
        Hello {
            node: 7,
            pid: 8,
            process,
            ..Hello::default()
        }
    }

    /// In a container each process of a node has the same pid.
    #[test]
    fn a_node_started_anew_is_told_by_its_process_not_by_its_pid() {
        let sessions = Sessions::default();
        let restarted = |process| sessions.open(hello(process), mpsc::channel(1).0).1;
        assert!(!restarted(1), "never seen before");
        assert!(!restarted(1), "a session that broke and came back");
        assert!(restarted(2), "another process under the same pid");
        assert!(!restarted(2));
    }
}
