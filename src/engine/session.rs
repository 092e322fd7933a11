//! An engine's talk with one member after the other: it registers, says what it runs,
//! and does what it is told.

use std::sync::Arc;

use reelraft_model::Problem;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Duration};
use tracing::{debug, info, warn};

use super::{
    link::{LinkError, Members, ONLY_HTTPS, Pauses, Place},
    machine::Machine,
    work::{Asked, Works},
};
use crate::limits::ENGINE_POLL_MAX;

/// An engine that talks.
pub struct Session {
    members: Members,
    works: Arc<Works>,
    machine: Machine,
}

/// Refusals that no other member would take back.
const FINAL: [&str; 3] = ["unauthenticated", "quarantined", "forbidden"];

impl Session {
    /// Nothing was said yet.
    pub fn new(members: Members, works: Arc<Works>, machine: Machine) -> Self {
        Session {
            members,
            works,
            machine,
        }
    }

    /// Talks until `stop` is set, and then gives all back.
    ///
    /// # Errors
    /// A refusal that is final.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) -> Result<(), Problem> {
        let session = std::sync::Mutex::new(None);
        let talk = self.talk(&session);
        let stopped = async {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let ended = tokio::select! {
            problem = talk => Err(problem),
            () = stopped => Ok(()),
        };
        self.works.cancel_all();
        let last = session
            .lock()
            .expect("no holder of this lock panics")
            .take();
        if let Some((member, session)) = last {
            info!("gives back what it runs");
            let said = json!({ "session": session });
            let left = self.members.ask(&member, "leave", &said);
            let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        }
        ended
    }

    async fn talk(&self, session: &std::sync::Mutex<Option<(String, String)>>) -> Problem {
        let mut pauses = Pauses::default();
        loop {
            let member = self.members.current();
            let error = match self.register(&member).await {
                Ok(id) => {
                    pauses.reset();
                    let now = Some((member.clone(), id.clone()));
                    *session.lock().expect("no holder of this lock panics") = now;
                    self.beats(&member, &id).await
                }
                Err(error) => error,
            };
            match error {
                LinkError::Refused(problem) if FINAL.contains(&problem.kind.as_str()) => {
                    return problem;
                }
                // What another member said of this one may be wrong; its operator's word is
                // to be mended.
                LinkError::Refused(problem)
                    if problem.kind == ONLY_HTTPS && self.members.was_given(&member) =>
                {
                    return problem;
                }
                LinkError::Refused(problem) if problem.kind == "not-registered" => {
                    debug!(member, "registers again");
                }
                error => {
                    warn!(member, %error, "goes to another member");
                    self.members.next();
                }
            }
            pauses.pause().await;
        }
    }

    async fn register(&self, member: &str) -> Result<String, LinkError> {
        let machine = &self.machine;
        let hello = json!({
            "build": machine.build,
            "build_words": machine.build_words,
            "version": env!("CARGO_PKG_VERSION"),
            "slots": machine.slots,
            "lacks": machine.lacks,
            "speeds": machine.speeds,
            "labels": machine.labels,
        });
        let told = self.members.ask(member, "register", &hello).await?;
        let servers = told["servers"].as_array().into_iter().flatten();
        let servers = servers.filter_map(Value::as_str).map(str::to_string);
        self.members.learn(&servers.collect::<Vec<_>>());
        let name = told["name"].as_str().unwrap_or_default();
        info!(member, name, "registered");
        self.note(&told);
        Ok(told["session"].as_str().unwrap_or_default().to_string())
    }

    fn note(&self, told: &Value) {
        if let Some(note) = told["note"].as_str() {
            warn!(note, "gets no work");
        }
    }

    /// Heartbeats to one member, until it is lost.
    async fn beats(&self, member: &str, session: &str) -> LinkError {
        let mut noted = Value::Null;
        loop {
            let (here, elsewhere): (Vec<_>, Vec<_>) = self
                .works
                .all()
                .into_iter()
                .partition(|work| work.place().member == member);
            let underway = elsewhere.iter().map(|work| {
                json!({
                    "task": work.place().task, "attempt": work.attempt, "digest": work.digest,
                })
            });
            let running = here.iter().map(|work| work.place().task);
            let said = json!({
                "session": session,
                "running": running.collect::<Vec<_>>(),
                "underway": underway.collect::<Vec<_>>(),
                "wait_s": ENGINE_POLL_MAX.as_secs(),
            });
            let told = match self.members.ask(member, "beat", &said).await {
                Ok(told) => told,
                Err(error) => return error,
            };
            if told["note"] != noted {
                self.note(&told);
                noted = told["note"].clone();
            }
            self.follow(member, &told);
            let again_ms = told["again_in_ms"].as_u64().unwrap_or_default();
            // What ends by itself is not waited for: the next beat says so.
            let busy = !self.works.all().is_empty();
            let pause = if busy {
                again_ms.max(BUSY_MS)
            } else {
                again_ms
            };
            tokio::time::sleep(Duration::from_millis(pause.min(PAUSE_MS_MAX))).await;
        }
    }

    fn follow(&self, member: &str, told: &Value) {
        let place = |task: &Value| Place {
            member: member.to_string(),
            task: task.as_str().unwrap_or_default().to_string(),
        };
        for task in told["begin"].as_array().into_iter().flatten() {
            match Asked::read(member, task) {
                Some(asked) => self.works.begin(&self.members, asked),
                None => warn!("a task is not one that this program can run"),
            }
        }
        for task in told["stop"].as_array().into_iter().flatten() {
            self.works.stop(&place(task));
        }
        for task in told["cancel"].as_array().into_iter().flatten() {
            let place = place(task);
            match self.works.find(&place) {
                Some(_) => self.works.cancel(&place),
                // One of another member, which this one does not want either.
                None => {
                    let all = self.works.all().into_iter();
                    let named = all.filter(|work| work.place().task == place.task);
                    named.for_each(|work| self.works.cancel(&work.place()));
                }
            }
        }
    }
}

/// How long it tries to say that it goes.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// Between two heartbeats while something runs, and at most.
const BUSY_MS: u64 = 200;
const PAUSE_MS_MAX: u64 = 5_000;
