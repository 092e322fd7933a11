//! The worker: keeps one session with whoever leads, runs the attempts that
//! the leader assigns, and holds each result until it is written down.
//!
//! An attempt outlives its session. When the leader is lost the encoders go
//! on, and the hello to the next leader names them. What ends an attempt is
//! the table alone: an attempt that the node's own replica no longer holds
//! for it is stopped at once, which is also how a cancel works.

mod beats;
mod blame;
mod early;
mod engine_shard;
pub mod link;
mod room;
mod tasks;
mod trial_rest;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reelraft_media::Cancel;
use reelraft_model::{
    AttemptKey, FailureClass, JobEntry, Problem, is_engine, plan::attempt_is_current,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_stream::StreamExt;
use tracing::{debug, info, warn};

use self::{
    beats::{Speaker, table_at},
    blame::is_blamed,
    link::{LeaderLink, LinkError},
};
use super::{
    context::NodeContext,
    engines::EnginesTold,
    load::Load,
    messages::{
        Assignment, AttemptResult, Failed, FromWorker, Outcome, Progress, TablePoint, ToWorker,
    },
};
use crate::limits::{ASSIGN_APPLY, BEAT, BEAT_AT_REST, GIVE_BACK, SESSION_RETRY, TRIAL_REST};

/// Waits until the encoders have been tried.
async fn tried(ready: &mut watch::Receiver<bool>) {
    let _ = ready.wait_for(|ready| *ready).await;
}

/// Why a node takes no work yet.
const STARTING: &str = "its encoders are still being tried";

/// An attempt that this node works on.
struct Running {
    /// This node, or an engine that is connected to it.
    runner: u64,
    /// The table says nothing of the attempt before it is applied this far.
    log_index: u64,
    cancel: Cancel,
    frames: Arc<AtomicU64>,
}

#[derive(Default)]
struct Attempts {
    running: BTreeMap<AttemptKey, Running>,
    /// Results that no leader has written down yet, with who gave them.
    finished: BTreeMap<AttemptKey, (u64, Outcome)>,
}

/// The worker of this node.
pub struct Worker {
    context: Arc<NodeContext>,
    link: Arc<dyn LeaderLink>,
    load: Load,
    attempts: Mutex<Attempts>,
    /// Woken when a result is there to be sent.
    finished: Notify,
    /// Set once its encoders have been tried.
    ready: watch::Sender<bool>,
    /// Set when the node is to stop: nothing new is begun.
    stopping: AtomicBool,
}

impl Worker {
    /// A worker that runs nothing yet.
    pub fn new(context: Arc<NodeContext>, link: Arc<dyn LeaderLink>) -> Arc<Self> {
        Arc::new(Worker {
            load: Load::new(context.config.data.clone()),
            context,
            link,
            attempts: Mutex::default(),
            finished: Notify::new(),
            ready: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().expect("no holder of this lock panics")
    }

    /// Tries the encoders, and keeps a session with whoever leads until `stop` is
    /// set. At the end it stops its attempts and gives them back, so
    /// that others go on at once and nobody blames the work for a planned stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let trying = tokio::spawn(self.clone().try_encoders());
        let guard = tokio::spawn(self.clone().follow_table());
        let trial = self.context.work_threads.spawn(self.clone().try_jobs());
        let mut leadership = self.context.cluster.leadership();
        loop {
            let leader = leadership.borrow_and_update().leader;
            let address = leader.and_then(|id| self.context.address_of(id));
            let ended = async {
                match address {
                    Some(address) => {
                        if let Err(error) = self.session(&address).await {
                            debug!(%error, "no session");
                        }
                        tokio::time::sleep(SESSION_RETRY).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                let _ = stop.wait_for(|stop| *stop).await;
                self.give_back().await;
            };
            tokio::select! {
                () = ended => {}
                // A new leader: the old session is of no use any more.
                changed = leadership.wait_for(|now| now.leader != leader) => if changed.is_err() { break },
                () = stopped => break,
            }
        }
        guard.abort();
        trying.abort();
        trial.abort();
    }

    /// On a busy machine this takes many seconds. The node votes, stores and says
    /// that it lives meanwhile.
    async fn try_encoders(self: Arc<Self>) {
        let encoders = self.context.encoders().await;
        encoders.recall(&self.context.config.data);
        info!(
            node = self.context.node(),
            listen = %self.context.config.listen,
            build = encoders.build,
            words = encoders.words,
            "ready"
        );
        self.ready.send_replace(true);
    }

    /// Ends every attempt and waits a moment until a leader has taken note.
    async fn give_back(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        for running in self.attempts().running.values() {
            running.cancel.cancel();
        }
        let idle = || {
            let attempts = self.attempts();
            attempts.running.is_empty() && attempts.finished.is_empty()
        };
        while !idle() && begun.elapsed() < GIVE_BACK {
            tokio::time::sleep(SESSION_RETRY).await;
        }
    }

    /// Stops what the table no longer gives this node.
    async fn follow_table(self: Arc<Self>) {
        let mut applied = self.context.cluster.applied();
        while applied.changed().await.is_ok() {
            let index = *applied.borrow_and_update();
            let state = self.context.cluster.local();
            let mut attempts = self.attempts();
            for (key, running) in &attempts.running {
                if running.log_index <= index && !attempt_is_current(&state, key, running.runner) {
                    info!(%key, "no longer ours, stopping");
                    running.cancel.cancel();
                }
            }
            attempts
                .finished
                .retain(|key, (runner, _)| attempt_is_current(&state, key, *runner));
        }
    }

    /// What runs, and what has finished and is not written down yet, by who runs it: a
    /// finished shard counts as encoded until it is.
    fn progress(&self) -> BTreeMap<u64, Progress> {
        let attempts = self.attempts();
        let running = attempts.running.iter().map(|(key, running)| {
            let frames = running.frames.load(Ordering::Relaxed);
            (running.runner, key, frames)
        });
        let finished = attempts.finished.iter().map(|(key, (runner, outcome))| {
            let frames = match outcome {
                Outcome::Done(done) => done.frames,
                Outcome::Failed(_) => 0,
            };
            (*runner, key, frames)
        });
        let mut progress: BTreeMap<u64, Progress> = BTreeMap::new();
        for (runner, key, frames) in running.chain(finished) {
            let of_runner = progress.entry(runner).or_default();
            of_runner.insert(key.clone(), frames);
        }
        progress
    }

    /// What it speaks of now.
    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            context: &self.context,
            load: &self.load,
            ready: *self.ready.borrow(),
            running: self.progress(),
        }
    }

    fn unsent_results(&self) -> Vec<AttemptResult> {
        let attempts = self.attempts();
        let finished = attempts.finished.iter();
        let results = finished.map(|(key, (runner, outcome))| AttemptResult {
            key: key.clone(),
            engine: if is_engine(*runner) { *runner } else { 0 },
            outcome: outcome.clone(),
        });
        results.collect()
    }

    async fn session(self: &Arc<Self>, address: &str) -> Result<(), LinkError> {
        let mut ready = self.ready.subscribe();
        let starting = !*ready.borrow();
        let trouble = match starting {
            true => Some(STARTING.to_string()),
            false => {
                let tools = &self.context.encoders().await.tools;
                tools.as_ref().err().map(|problem| problem.cause.clone())
            }
        };
        let mut told = EnginesTold::default();
        let hello = self.speaker().hello(&trouble, &mut told);
        let mut session = self.link.open(address, hello).await?;
        debug!(address, "session with the leader");
        let send = async |message| {
            let sent = session.to_leader.send(message).await;
            sent.map_err(|_| "the session has ended".to_string())
        };
        // The hello had the first one.
        let mut beat = Instant::now();
        // Everything unsettled goes to a new leader at once, and again with
        // every beat: a leader may fail to write a result down.
        let mut unsent = true;
        loop {
            if unsent {
                for result in self.unsent_results() {
                    send(FromWorker::Result(result)).await?;
                }
            }
            tokio::select! {
                message = session.from_leader.next() => match message {
                    Some(message) => { self.receive(message?); unsent = false; }
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(beat + self.beat_pause()) => {
                    beat = Instant::now();
                    send(FromWorker::Beat(self.speaker().beat(&trouble, &mut told))).await?;
                    unsent = true;
                }
                // An engine that came is not to wait for a beat.
                () = self.context.engines.news.notified() => {
                    self.take_over();
                    send(FromWorker::Beat(self.speaker().beat(&trouble, &mut told))).await?;
                }
                () = self.finished.notified() => unsent = true,
                // The next session says what this node can do.
                () = tried(&mut ready), if starting => return Ok(()),
            }
        }
    }

    /// Ends what runs here where the disk is nearly full, with a leader or without.
    pub fn spare_disk(&self) {
        let attempts = self.attempts();
        let running = attempts.running.iter().map(|(key, it)| (key, &it.cancel));
        room::spare_disk(self.context.data.store(), running);
    }

    fn beat_pause(&self) -> Duration {
        match self.context.cluster.local().active().next() {
            Some(_) => BEAT,
            None => BEAT_AT_REST,
        }
    }

    fn receive(self: &Arc<Self>, message: ToWorker) {
        match message {
            ToWorker::Assign(assignment) => self.start(assignment),
            ToWorker::Settled(key) => drop(self.attempts().finished.remove(&key)),
            ToWorker::Report(report) => {
                if let Some(majority) = &report.majority {
                    self.compare(majority);
                }
                self.context.report.set(report);
            }
            ToWorker::Welcome { leader, term } => debug!(leader, term, "welcomed"),
        }
    }

    /// Ends the node if most voters have another table than it has: whatever it
    /// would say or do from here on would be wrong.
    fn compare(&self, majority: &TablePoint) {
        let own = table_at(&self.context, majority.index);
        if let Some(own) = own.filter(|own| own != majority) {
            let (node, index) = (self.context.node(), own.index);
            let cause = format!(
                "node {node} has another table than most voters at index {index}: {} and not {}",
                own.hash, majority.hash
            );
            let hint = "remove the folder table in its data folder, which is built anew from \
                        snapshot and log, and start it again; if it differs still, start a new \
                        node with an empty folder under a new id";
            let problem = Problem::new("replica-differs", cause, hint);
            self.context.failure.send_replace(Some(problem));
        }
    }

    /// Tries whole jobs once the cluster has had a rest: what it is asked for first
    /// shows by itself what works. Work that comes meanwhile ends a trial, also
    /// work of other nodes, which may be on this machine. What may pass, or was not
    /// tried to its end, is tried after another rest.
    async fn try_jobs(self: Arc<Self>) {
        let (encoders, config) = (self.context.encoders().await, &self.context.config);
        let folder = self.context.work_root().join("trial");
        let mut rest = TRIAL_REST;
        loop {
            self.rest(rest).await;
            let trial = encoders.try_jobs(&config.data, &folder);
            let ended = tokio::select! {
                lasting = trial => match lasting {
                    true => return,
                    false => true,
                },
                () = self.work_comes() => {
                    debug!("work comes before the trial's end");
                    false
                }
            };
            rest = trial_rest::rest_after(rest, ended);
        }
    }

    /// Returns once no node has run anything for so long.
    async fn rest(&self, long: Duration) {
        while tokio::time::timeout(long, self.work_comes()).await.is_ok() {
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Returns as soon as some node runs something.
    async fn work_comes(&self) {
        let mut applied = self.context.cluster.applied();
        loop {
            applied.borrow_and_update();
            let works = |entry: &Arc<JobEntry>| !entry.running.is_empty();
            if self.context.cluster.local().eventful().any(works) {
                return;
            }
            if applied.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Takes up what engines have begun for another member.
    fn take_over(self: &Arc<Self>) {
        let state = self.context.cluster.local();
        let taken = self.context.engines.taken_over().into_iter();
        for (engine, key) in taken.filter(|(id, key)| attempt_is_current(&state, key, *id)) {
            info!(%key, engine, "an engine goes on here");
            self.start(Assignment {
                key,
                log_index: 0,
                engine,
            });
        }
    }

    fn start(self: &Arc<Self>, assignment: Assignment) {
        let Assignment {
            key,
            log_index,
            engine,
        } = assignment;
        let runner = match engine {
            0 => self.context.node(),
            engine => engine,
        };
        let frames = Arc::new(AtomicU64::new(0));
        let cancel = Cancel::new();
        {
            let mut attempts = self.attempts();
            if self.stopping.load(Ordering::Relaxed)
                || attempts.running.contains_key(&key)
                || attempts.finished.contains_key(&key)
            {
                return;
            }
            attempts.running.insert(
                key.clone(),
                Running {
                    runner,
                    log_index,
                    cancel: cancel.clone(),
                    frames: frames.clone(),
                },
            );
        }
        let worker = self.clone();
        tokio::spawn(async move {
            let (inner, inner_key) = (worker.clone(), key.clone());
            let attempt = async move {
                let attempt = inner.attempt(&inner_key, runner, log_index, cancel, frames);
                attempt.await
            };
            // A task of its own, so that a panic in it is one failed attempt
            // and not one that is held for ever.
            let attempt = worker.context.work_threads.spawn(attempt);
            let outcome = attempt.await.unwrap_or_else(|panic| {
                let problem =
                    Problem::new("internal", panic.to_string(), "please report this file");
                Some(Outcome::Failed(Failed::new(FailureClass::Work, problem)))
            });
            let mut attempts = worker.attempts();
            attempts.running.remove(&key);
            // An engine outlives this node, and goes on at another one.
            let goes_on = is_engine(runner) && worker.stopping.load(Ordering::Relaxed);
            if let Some(outcome) = outcome.filter(|_| !goes_on) {
                attempts.finished.insert(key, (runner, outcome));
            }
            drop(attempts);
            worker.finished.notify_one();
        });
    }

    /// Runs one attempt; `None` where it is not (or no longer) ours to report.
    async fn attempt(
        &self,
        key: &AttemptKey,
        runner: u64,
        log_index: u64,
        cancel: Cancel,
        frames: Arc<AtomicU64>,
    ) -> Option<Outcome> {
        let applied = self.context.cluster.wait_applied(log_index, ASSIGN_APPLY);
        if applied.await.is_err() {
            // The leader sends it again if it is still wanted.
            return None;
        }
        if !attempt_is_current(&self.context.cluster.local(), key, runner) {
            return None;
        }
        info!(%key, runner, "started");
        let begun = Instant::now();
        let outcome = tasks::run(&self.context, key, runner, &cancel, &frames).await;
        let tally = &self.context.tally;
        tally.count(key.kind(), &outcome, begun.elapsed());
        if !attempt_is_current(&self.context.cluster.local(), key, runner) {
            return None;
        }
        if is_engine(runner) {
            self.context.engines.note_end(runner, is_blamed(&outcome));
        }
        match &outcome {
            Outcome::Done(done) => info!(%key, frames = done.frames, hash = done.hash, "finished"),
            Outcome::Failed(failed) => warn!(%key, problem = %failed.problem, "failed"),
        }
        Some(outcome)
    }
}
