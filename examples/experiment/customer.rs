//! A client that remembers: it submits, uploads, watches and fetches over
//! gRPC, writes every acknowledgement into the [`Ledger`], and holds the
//! cluster to it at each new connection. An outage makes it try again at the
//! next node, for as long as it takes; a refusal is a broken promise.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use reelraft_cli::source::Source;
use reelraft_proto::v1::{
    Job, JobRef, JobState, Spec, SubmitRequest, UploadChunk, UploadClient, UploadOpen,
    WatchRequest, upload_client::Message as Up, upload_server::Message as Down,
};
use tokio::{sync::mpsc as bounded, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    calls::{self, Jobs, Trouble, in_time},
    fleet::Fleet,
    ledger::{Ack, Ledger},
};

/// Pause before the next node is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause between chunks, so that an upload takes long enough to be hit.
const CHUNK_PAUSE: Duration = Duration::from_millis(15);

/// One user of the cluster.
#[derive(Clone)]
pub struct Customer {
    pub endpoints: Vec<String>,
    pub source: PathBuf,
    pub spec: Spec,
    /// The calm run's output, once there is one.
    pub calm: Option<String>,
    pub ledger: Arc<Mutex<Ledger>>,
    /// Set when the experiment wants no more.
    pub stop: Arc<AtomicBool>,
}

impl Customer {
    /// A user of all nodes of `fleet` with a ledger of its own in the file
    /// `ledger`, and where each entry of that is told.
    pub fn new(
        fleet: &Fleet,
        ledger: &Path,
        source: PathBuf,
        spec: Spec,
    ) -> Result<(Self, Receiver<(String, Ack)>), String> {
        let (told, moments) = mpsc::channel();
        let customer = Customer {
            endpoints: fleet.endpoints(),
            source,
            spec,
            calm: None,
            ledger: Arc::new(Mutex::new(Ledger::new(ledger, told)?)),
            stop: Arc::new(AtomicBool::new(false)),
        };
        Ok((customer, moments))
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of the ledger panics")
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes one film, from submit to fetched file. `false` where it was
    /// stopped, or broke a promise that the ledger then holds.
    pub async fn film(&self, request: &str) -> bool {
        self.patiently(request, async |jobs| self.film_once(jobs, request).await)
            .await
    }

    /// One try at the same, at one node.
    pub async fn try_film(&self, endpoint: &str, request: &str) -> Result<(), Trouble> {
        self.film_once(calls::connect(endpoint).await?, request)
            .await
    }

    /// Deletes the request's job. One that is not there yet is made, never gets
    /// a byte and goes again: acknowledgements with next to no work.
    pub async fn note(&self, request: &str) -> bool {
        self.patiently(request, async |mut jobs| {
            let job = self.submit(&mut jobs, request).await?;
            let known = self.ledger().known(request);
            if known.deleted {
                return Ok(());
            }
            // It may be done without our ever hearing of it.
            self.ledger().note(request, Ack::Deleting);
            jobs.delete(JobRef { job: job.id }).await?;
            self.ledger().note(request, Ack::Deleted);
            Ok(())
        })
        .await
    }

    /// Asks again for what was acknowledged of a request.
    pub async fn confirm(&self, request: &str) -> bool {
        self.patiently(request, async |mut jobs| {
            self.submit(&mut jobs, request).await.map(drop)
        })
        .await
    }

    async fn patiently(
        &self,
        request: &str,
        work: impl AsyncFn(Jobs) -> Result<(), Trouble>,
    ) -> bool {
        for endpoint in self.endpoints.iter().cycle() {
            if self.stopped() {
                return false;
            }
            let ended = match calls::connect(endpoint).await {
                Ok(jobs) => work(jobs).await,
                Err(trouble) => Err(trouble),
            };
            match ended {
                Ok(()) => return true,
                Err(Trouble::Outage(_)) => sleep(PAUSE).await,
                Err(Trouble::Broken(what)) => {
                    self.ledger().accuse(request, &what);
                    return false;
                }
            }
        }
        false
    }

    async fn submit(&self, jobs: &mut Jobs, request: &str) -> Result<Job, Trouble> {
        let source = self.open()?;
        // Before the question: another thread may be told more meanwhile.
        let known = self.ledger().known(request);
        let answer = jobs.submit(SubmitRequest {
            tenant: "experiment".into(),
            request_id: request.into(),
            spec: Some(self.spec.clone()),
            source_name: source.name.clone(),
            source_bytes: source.bytes,
            source_fingerprint: source.fingerprint.clone(),
        });
        let answer = in_time(answer).await??.into_inner();
        let job = answer.job.unwrap_or_default();
        if !known.id.is_empty() && !answer.existed {
            return broken(format!("job {} was made anew as {}", known.id, job.id));
        }
        let lost = match job.state() {
            JobState::Deleted => !self.ledger().known(request).deleting,
            _ if known.deleted => true,
            JobState::Succeeded => false,
            _ if known.output.is_some() => true,
            JobState::Failed | JobState::Cancelled => true,
            _ => known
                .root
                .as_ref()
                .is_some_and(|root| *root != job.source_root),
        };
        if lost {
            let (state, problem) = (job.state(), job.problem);
            return broken(format!("is {state:?} now, {problem:?}, after {known:?}"));
        }
        self.ledger().note(request, Ack::Job { id: job.id.clone() });
        Ok(job)
    }

    fn open(&self) -> Result<Source, Trouble> {
        Source::open(&self.source).map_err(|error| Trouble::Broken(error.to_string()))
    }

    async fn film_once(&self, mut jobs: Jobs, request: &str) -> Result<(), Trouble> {
        let job = self.submit(&mut jobs, request).await?;
        if job.source_root.is_empty() {
            self.upload(&mut jobs, request, &job.id).await?;
        }
        self.watch(&mut jobs, request, &job.id).await?;
        self.fetch(&mut jobs, request, &job.id).await
    }

    /// The upload; what was acknowledged before must be among what is there.
    async fn upload(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), Trouble> {
        let source = self.open()?;
        let (up, outgoing) = bounded::channel(4);
        let send = async |message| {
            let message = Some(message);
            let sent = up.send(UploadClient { message }).await;
            sent.map_err(|_| Trouble::Outage("the upload ended".into()))
        };
        let open = UploadOpen { job: job.into() };
        send(Up::Open(open)).await?;
        let incoming = jobs.upload(ReceiverStream::new(outgoing));
        let mut incoming = in_time(incoming).await??.into_inner();
        let mut asked = VecDeque::new();
        let mut chunk_bytes = 0;
        loop {
            let message = tokio::select! {
                message = in_time(incoming.message()) => message??.and_then(|message| message.message),
                () = sleep(CHUNK_PAUSE), if !asked.is_empty() => {
                    let Some(number) = asked.pop_front() else { continue };
                    let data = source.chunk(number, chunk_bytes);
                    let data = data.map_err(|change| Trouble::Broken(change.0))?;
                    send(Up::Chunk(UploadChunk { number, data })).await?;
                    continue;
                }
            };
            match message {
                Some(Down::Plan(plan)) => {
                    chunk_bytes = plan.chunk_bytes;
                    let mut missing = self.ledger().known(request).chunks;
                    for have in plan.have {
                        missing.remove(&have.number);
                        let data = source.chunk(have.number, chunk_bytes);
                        let data = data.map_err(|change| Trouble::Broken(change.0))?;
                        if blake3::hash(&data).to_hex().as_str() != have.hash {
                            return broken(format!("chunk {} has other bytes", have.number));
                        }
                    }
                    if !missing.is_empty() {
                        return broken(format!("acknowledged chunks {missing:?} are gone"));
                    }
                }
                Some(Down::Ask(ask)) => asked.extend(ask.numbers),
                Some(Down::Acked(acked)) => {
                    let number = acked.number;
                    self.ledger().note(request, Ack::Chunk { number });
                }
                Some(Down::Sealed(sealed)) => {
                    let root = sealed.root;
                    self.ledger().note(request, Ack::Sealed { root });
                    return Ok(());
                }
                None => return Err(Trouble::Outage("the upload ended".into())),
            }
        }
    }

    async fn watch(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), Trouble> {
        let job = job.to_string();
        let mut events = in_time(jobs.watch(WatchRequest { job }))
            .await??
            .into_inner();
        let mut last = None;
        while let Some(event) = in_time(events.message()).await?? {
            let Some(job) = event.job else { continue };
            let ack = match job.state() {
                JobState::Encoding => Ack::Encoding {
                    done: job.shards_done,
                },
                JobState::Assembling => Ack::Assembling,
                JobState::Succeeded => {
                    let hash = job.output_hash;
                    if self.calm.as_ref().is_some_and(|calm| *calm != hash) {
                        return broken(format!("its output is {hash}, not the calm run's"));
                    }
                    self.ledger().note(request, Ack::Succeeded { hash });
                    return Ok(());
                }
                JobState::Uploading | JobState::Analyzing => continue,
                state => return broken(format!("is {state:?}: {:?}", job.problem)),
            };
            if last.as_ref() != Some(&ack) {
                self.ledger().note(request, ack.clone());
                last = Some(ack);
            }
        }
        Err(Trouble::Outage("the watch ended".into()))
    }

    /// Fetches the output and compares its hash with the one that was said.
    async fn fetch(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), Trouble> {
        let found = calls::fetch(jobs, job).await?;
        if self.ledger().known(request).output.as_ref() != Some(&found) {
            return broken(format!("the output that was fetched is {found}"));
        }
        self.ledger().note(request, Ack::Fetched);
        Ok(())
    }

    /// Fetches a finished output again, through the same doors.
    pub async fn fetch_again(&self, request: &str) -> bool {
        let id = self.ledger().known(request).id;
        self.patiently(request, async |mut jobs| {
            self.fetch(&mut jobs, request, &id).await
        })
        .await
    }
}

fn broken<T>(what: String) -> Result<T, Trouble> {
    Err(Trouble::Broken(what))
}
