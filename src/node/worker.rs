//! The worker: keeps one session with whoever leads, runs the attempts that
//! the leader assigns, and holds each result until it is written down.
//!
//! An attempt outlives its session. When the leader is lost the encoders go
//! on, and the hello to the next leader names them. What ends an attempt is
//! the table alone: an attempt that the node's own replica no longer holds
//! for it is stopped at once, which is also how a cancel works.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use reelraft_model::{AttemptKey, FailureClass, Problem, plan::attempt_is_current};
use reelraft_proto::v1::{
    self, from_worker::Message as From, to_worker::Message as To, workers_client::WorkersClient,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::Endpoint;
use tracing::{debug, info, warn};

use crate::{
    faces::convert::{model_attempt, wire_attempt, wire_problem, wire_progress},
    limits::{
        ASSIGN_APPLY, BEAT, GIVE_BACK, ROOM_BYTES_MIN, SESSION_CONNECT, SESSION_QUEUE,
        SESSION_RETRY,
    },
    node::{
        Shared,
        load::Load,
        tasks::{self, Failed, Outcome},
        view::View,
    },
};

/// An attempt that this node works on.
struct Running {
    /// The table says nothing of the attempt before it is applied this far.
    log_index: u64,
    cancel: reelraft_media::Cancel,
    frames: Arc<AtomicU64>,
}

#[derive(Default)]
struct Attempts {
    running: BTreeMap<AttemptKey, Running>,
    /// Results that no leader has written down yet.
    finished: BTreeMap<AttemptKey, v1::Result>,
}

/// The worker of this node.
pub struct Worker {
    shared: Arc<Shared>,
    view: Arc<View>,
    load: Load,
    attempts: Mutex<Attempts>,
    /// Woken when a result is there to be sent.
    finished: Notify,
    /// Set when the node is to stop: nothing new is begun.
    stopping: AtomicBool,
}

impl Worker {
    /// A worker that runs nothing yet.
    pub fn new(shared: Arc<Shared>, view: Arc<View>) -> Arc<Self> {
        Arc::new(Worker {
            load: Load::new(shared.config.data.clone()),
            shared,
            view,
            attempts: Mutex::default(),
            finished: Notify::new(),
            stopping: AtomicBool::new(false),
        })
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().expect("no holder of this lock panics")
    }

    /// Tries the encoders, and then keeps a session with the leader of the
    /// moment until `stop` is set; at the end it ends its attempts and gives them back, so that others go on at once and
    /// nobody blames the work for a planned stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        // The node votes and stores meanwhile: with a busy machine's encoders
        // it would be missing from the quorum for seconds.
        tokio::select! {
            encoders = self.shared.encoders() => info!(
                node = self.shared.node(),
                listen = %self.shared.config.listen,
                build = encoders.build,
                "ready"
            ),
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let guard = tokio::spawn(self.clone().follow_table());
        let mut leadership = self.shared.cluster.leadership();
        loop {
            let leader = leadership.borrow_and_update().leader;
            let address = leader.and_then(|id| self.shared.address_of(id));
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
        let node = self.shared.node();
        let mut applied = self.shared.cluster.applied();
        while applied.changed().await.is_ok() {
            let index = *applied.borrow_and_update();
            let state = self.shared.cluster.local();
            let mut attempts = self.attempts();
            for (key, running) in &attempts.running {
                if running.log_index <= index && !attempt_is_current(&state, key, node) {
                    info!(%key, "no longer ours, stopping");
                    running.cancel.cancel();
                }
            }
            attempts
                .finished
                .retain(|key, _| attempt_is_current(&state, key, node));
        }
    }

    fn running(&self) -> Vec<v1::AttemptProgress> {
        let attempts = self.attempts();
        let running = attempts
            .running
            .iter()
            .map(|(key, running)| wire_progress(key, running.frames.load(Ordering::Relaxed)));
        // A finished shard counts as encoded until it is written down.
        let finished = attempts.finished.iter().map(|(key, result)| {
            let frames = match &result.outcome {
                Some(v1::result::Outcome::Done(done)) => done.frames,
                _ => 0,
            };
            wire_progress(key, frames)
        });
        running.chain(finished).collect()
    }

    async fn session(self: &Arc<Self>, address: &str) -> Result<(), tonic::Status> {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| tonic::Status::internal(error.to_string()))?
            .connect_timeout(SESSION_CONNECT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let (out, outgoing) = mpsc::channel(SESSION_QUEUE);
        let send = async |message: From| {
            out.send(v1::FromWorker {
                message: Some(message),
            })
            .await
            .map_err(|_| tonic::Status::unavailable("the session has ended"))
        };
        let tools = &self.shared.encoders().await.tools;
        let trouble = tools.as_ref().err().map(|problem| problem.cause.clone());
        send(From::Hello(self.hello(&trouble))).await?;
        let mut client = WorkersClient::with_interceptor(channel, self.shared.secret());
        let mut incoming = client
            .session(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        debug!(address, "session with the leader");
        let mut beat = tokio::time::interval(BEAT);
        // Everything unsettled goes to a new leader at once, and again with
        // every beat: a leader may fail to write a result down.
        let mut unsent = true;
        loop {
            if unsent {
                let results: Vec<v1::Result> = self.attempts().finished.values().cloned().collect();
                for result in results {
                    send(From::Result(result)).await?;
                }
            }
            tokio::select! {
                message = incoming.next() => match message {
                    Some(message) => { self.incoming(message?); unsent = false; }
                    None => return Ok(()),
                },
                _ = beat.tick() => { send(From::Beat(self.beat(&trouble))).await?; unsent = true; }
                () = self.finished.notified() => unsent = true,
            }
        }
    }

    fn incoming(self: &Arc<Self>, message: v1::ToWorker) {
        match message.message {
            Some(To::Assign(assignment)) => self.start(assignment),
            Some(To::Settled(attempt)) => {
                if let Some(key) = model_attempt(&attempt) {
                    self.attempts().finished.remove(&key);
                }
            }
            Some(To::View(view)) => self.view.set(view),
            Some(To::Welcome(_)) | None => {}
        }
    }

    fn hello(&self, trouble: &Option<String>) -> v1::Hello {
        let identity = self.shared.cluster.identity();
        v1::Hello {
            node: identity.node,
            incarnation: identity.incarnation.clone(),
            address: self.shared.config.advertise.clone(),
            pid: std::process::id(),
            slots: self.shared.config.slots,
            build: self.shared.build(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            running: self.running(),
            beat: Some(self.beat(trouble)),
        }
    }

    /// `trouble` is why this node takes no work, if it does not.
    fn beat(&self, trouble: &Option<String>) -> v1::Beat {
        let (free, total) = self.load.disk();
        let full = self.shared.data.store().check_room(ROOM_BYTES_MIN).is_err();
        v1::Beat {
            running: self.running(),
            load_milli: self.load.load_milli(),
            disk_free_bytes: free,
            disk_total_bytes: total,
            applied_index: *self.shared.cluster.applied().borrow(),
            trouble: match trouble {
                Some(trouble) => trouble.clone(),
                None if full => "its disk is full".to_string(),
                None => String::new(),
            },
            full,
        }
    }

    fn start(self: &Arc<Self>, assignment: v1::Assignment) {
        let Some(key) = assignment.attempt.as_ref().and_then(model_attempt) else {
            return;
        };
        let frames = Arc::new(AtomicU64::new(0));
        let cancel = reelraft_media::Cancel::new();
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
                    log_index: assignment.log_index,
                    cancel: cancel.clone(),
                    frames: frames.clone(),
                },
            );
        }
        let worker = self.clone();
        tokio::spawn(async move {
            let (inner, inner_key) = (worker.clone(), key.clone());
            let attempt = async move {
                inner
                    .attempt(&inner_key, assignment.log_index, cancel, frames)
                    .await
            };
            // A task of its own, so that a panic in it is one failed attempt
            // and not one that is held for ever.
            let attempt = worker.shared.work_threads.spawn(attempt);
            let outcome = attempt.await.unwrap_or_else(|panic| {
                let problem =
                    Problem::new("internal", panic.to_string(), "please report this file");
                Some(Outcome::Failed(Failed {
                    problem,
                    class: FailureClass::Work,
                    lost: Vec::new(),
                }))
            });
            let mut attempts = worker.attempts();
            attempts.running.remove(&key);
            if let Some(outcome) = outcome {
                let attempt = Some(wire_attempt(&key));
                attempts.finished.insert(
                    key,
                    v1::Result {
                        attempt,
                        outcome: Some(wire_outcome(outcome)),
                    },
                );
            }
            drop(attempts);
            worker.finished.notify_one();
        });
    }

    /// Runs one attempt; `None` where it is not (or no longer) ours to report.
    async fn attempt(
        &self,
        key: &AttemptKey,
        log_index: u64,
        cancel: reelraft_media::Cancel,
        frames: Arc<AtomicU64>,
    ) -> Option<Outcome> {
        if self
            .shared
            .cluster
            .wait_applied(log_index, ASSIGN_APPLY)
            .await
            .is_err()
        {
            // The leader sends it again if it is still wanted.
            return None;
        }
        let node = self.shared.node();
        if !attempt_is_current(&self.shared.cluster.local(), key, node) {
            return None;
        }
        info!(%key, "started");
        let outcome = tasks::run(&self.shared, key, &cancel, &frames).await;
        if !attempt_is_current(&self.shared.cluster.local(), key, node) {
            return None;
        }
        match &outcome {
            Outcome::Done(done) => info!(%key, frames = done.frames, hash = done.hash, "finished"),
            Outcome::Failed(failed) => warn!(%key, problem = %failed.problem, "failed"),
        }
        Some(outcome)
    }
}

fn wire_outcome(outcome: Outcome) -> v1::result::Outcome {
    match outcome {
        Outcome::Done(done) => v1::result::Outcome::Done(done),
        Outcome::Failed(failed) => v1::result::Outcome::Failed(v1::Failed {
            problem: Some(wire_problem(&failed.problem)),
            class: wire_class(failed.class).into(),
            lost: failed.lost.iter().map(wire_attempt).collect(),
        }),
    }
}

/// Who is to blame, as the wire says it.
fn wire_class(class: FailureClass) -> v1::FailureClass {
    match class {
        FailureClass::Work => v1::FailureClass::Work,
        FailureClass::NodeFault | FailureClass::NodeLost => v1::FailureClass::NodeFault,
        FailureClass::Final => v1::FailureClass::Final,
        FailureClass::PlanMismatch => v1::FailureClass::PlanMismatch,
        FailureClass::Stopped => v1::FailureClass::Stopped,
    }
}
