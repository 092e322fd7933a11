//! Following a job: it now, and again whenever it changed, until it has ended.

use reelraft_consensus::ConsensusError;
use reelraft_model::{Problem, Scope};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use super::{Api, Consistency, JobView, Outgoing, limits::CLIENT_STALL, not_found, problem};
use crate::limits::{WATCH_EVERY, WATCH_KEEPALIVE, WATCH_LEADERLESS, WATCH_QUEUE};

/// A job as it is now, and who leads.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchEvent {
    pub job: JobView,
    /// None during an election.
    pub leader: Option<u64>,
    pub term: u64,
}

impl WatchEvent {
    /// Whether nothing happened since another: what is expected changes by itself
    /// as time passes.
    fn tells_no_more_than(&self, other: &WatchEvent) -> bool {
        let mut same = self.clone();
        same.job.estimate = other.job.estimate;
        same == *other
    }
}

type Events = mpsc::Sender<Result<WatchEvent, Problem>>;

impl Api {
    /// The job now, then whenever it or its progress changed, at most every
    /// [`WATCH_EVERY`] and at least every [`WATCH_KEEPALIVE`], until it has
    /// ended.
    ///
    /// # Errors
    /// `not-found`, `too-busy`, and what keeps the cluster from reading; the
    /// stream ends with `no-leader` where there is none for long.
    pub async fn watch(&self, id: &str) -> Result<Outgoing<WatchEvent>, Problem> {
        self.entry(Scope::Read, id, Consistency::Linearizable)
            .await?;
        let pass = self.doors().watches.enter(1)?;
        let (out, events) = mpsc::channel(WATCH_QUEUE);
        let (api, id) = (self.clone(), id.to_string());
        tokio::spawn(async move {
            if let Err(problem) = api.follow(&id, &out).await {
                // A watcher that has gone needs no answer.
                let _ = out.send(Err(problem)).await;
            }
        });
        Ok(Outgoing::new(
            ReceiverStream::new(events),
            pass,
            self.welcome(),
            CLIENT_STALL,
        ))
    }

    /// Waits until a job has ended or is gone.
    async fn ended(&self, id: &str) {
        let mut applied = self.table().applied();
        loop {
            applied.borrow_and_update();
            let state = self.table().local();
            if state.job(id).is_none_or(|entry| entry.job.state().ended()) {
                return;
            }
            drop(state);
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Sends events until the job has ended or nobody listens.
    async fn follow(&self, id: &str, out: &Events) -> Result<(), Problem> {
        let mut applied = self.table().applied();
        let mut last: Option<WatchEvent> = None;
        let mut sent = Instant::now();
        let mut led = Instant::now();
        loop {
            applied.borrow_and_update();
            let state = self.table().local();
            let entry = state.job(id).ok_or_else(|| not_found(id))?;
            drop(state);
            let leadership = self.table().leadership().borrow().clone();
            if leadership.leader.is_some() {
                led = Instant::now();
            } else if led.elapsed() >= WATCH_LEADERLESS {
                let waited_ms = led.elapsed().as_millis() as u64;
                return Err(problem(ConsensusError::NoLeader { waited_ms }));
            }
            let event = WatchEvent {
                job: self.view(&entry),
                leader: leadership.leader,
                term: leadership.term,
            };
            let told = last
                .as_ref()
                .is_some_and(|last| event.tells_no_more_than(last));
            if !told || sent.elapsed() >= WATCH_KEEPALIVE {
                sent = Instant::now();
                last = Some(event.clone());
                if out.send(Ok(event)).await.is_err() {
                    return Ok(());
                }
            }
            if entry.job.state().ended() {
                return Ok(());
            }
            // Held no longer: the next apply would have to copy what is shared.
            drop(entry);
            // Progress is no table change, so look again after a while; and
            // never more often than a person can read. The end is waited for.
            tokio::select! {
                () = self.ended(id) => continue,
                () = tokio::time::sleep(WATCH_EVERY) => {}
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(WATCH_EVERY) => {}
                () = out.closed() => return Ok(()),
            }
        }
    }
}
