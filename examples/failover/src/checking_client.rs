//! A client that remembers: it submits, uploads, watches and fetches over
//! gRPC, adds every acknowledgement to its [`Ledger`], and holds the cluster
//! to it at each new connection. After an outage it tries the next node, for
//! as long as it takes; a refusal is a broken promise.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use bytes::Bytes;
use reelraft_proto::v1::{
    Job, JobRef, JobState, Spec, SubmitRequest, UploadChunk, UploadClient, UploadOpen, UploadPlan,
    WatchRequest, upload_client::Message as Up, upload_server::Message as Down,
};
use tokio::{sync::mpsc as bounded, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    grpc::{self, CallError, Jobs, in_time},
    ledger::{Ack, Acknowledged, Ledger},
    source_file::SourceFile,
};

/// Pause before the next node is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause between chunks unless a client has its own, so that an upload takes
/// long enough to be hit.
const CHUNK_PAUSE: Duration = Duration::from_millis(15);

/// Messages of an upload that wait to be sent.
const UPLOAD_QUEUE: usize = 4;

/// One user of the cluster. Clones share the ledger.
#[derive(Clone)]
pub struct CheckingClient {
    endpoints: Vec<String>,
    pub source: PathBuf,
    spec: Spec,
    /// What every output must be, once the calm run has shown it.
    pub expected_hash: Option<String>,
    /// Pause between the chunks of an upload.
    pub chunk_pause: Duration,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
}

impl CheckingClient {
    /// A user of these nodes with a ledger in the file `ledger`, and where each
    /// entry of it is announced.
    ///
    /// # Errors
    /// If the ledger can't be created.
    pub fn new(
        endpoints: Vec<String>,
        ledger: &Path,
        source: PathBuf,
        spec: Spec,
    ) -> Result<(Self, Receiver<(String, Ack)>), String> {
        let (observer, entries) = mpsc::channel();
        let client = CheckingClient {
            endpoints,
            source,
            spec,
            expected_hash: None,
            chunk_pause: CHUNK_PAUSE,
            ledger: Arc::new(Mutex::new(Ledger::new(ledger, observer)?)),
            stop: Arc::new(AtomicBool::new(false)),
        };
        Ok((client, entries))
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder of the ledger panics")
    }

    /// Has all clones give up what they are doing, or lets them work again.
    pub fn set_stopped(&self, stopped: bool) {
        self.stop.store(stopped, Ordering::Relaxed);
    }

    /// Makes one film, from submit to fetched file. `false` if the client was
    /// stopped, or if a promise was broken, which the ledger then holds.
    pub async fn make_film(&self, request: &str) -> bool {
        self.retry(request, async |jobs| self.film_once(jobs, request).await)
            .await
    }

    /// The same, but tried once and at one node.
    ///
    /// # Errors
    /// Why there is no film.
    pub async fn try_make_film(&self, endpoint: &str, request: &str) -> Result<(), CallError> {
        self.film_once(grpc::connect(endpoint).await?, request)
            .await
    }

    /// Deletes the request's job. If there is none yet, one is created, never
    /// gets a byte and is deleted: acknowledgements with next to no work.
    pub async fn delete(&self, request: &str) -> bool {
        self.retry(request, async |mut jobs| {
            let job = self.submit(&mut jobs, request).await?;
            if self.ledger().of(request).deleted {
                return Ok(());
            }
            // It may be done though its answer never reaches us.
            self.ledger().add(request, Ack::Deleting);
            jobs.delete(JobRef { job: job.id }).await?;
            self.ledger().add(request, Ack::Deleted);
            Ok(())
        })
        .await
    }

    /// Submits a request again, and checks what was acknowledged of it.
    pub async fn confirm(&self, request: &str) -> bool {
        self.retry(request, async |mut jobs| {
            self.submit(&mut jobs, request).await.map(drop)
        })
        .await
    }

    /// Fetches a finished output again.
    pub async fn fetch_again(&self, request: &str) -> bool {
        let id = self.ledger().of(request).id;
        self.retry(request, async |mut jobs| {
            self.fetch(&mut jobs, request, &id).await
        })
        .await
    }

    /// Tries some work at one node after the other until it is done.
    async fn retry(
        &self,
        request: &str,
        work: impl AsyncFn(Jobs) -> Result<(), CallError>,
    ) -> bool {
        for endpoint in self.endpoints.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let result = match grpc::connect(endpoint).await {
                Ok(jobs) => work(jobs).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => return true,
                Err(CallError::Outage(_)) => sleep(PAUSE).await,
                Err(CallError::Broken(what)) => {
                    self.ledger().add_broken(request, &what);
                    return false;
                }
            }
        }
        false
    }

    async fn film_once(&self, mut jobs: Jobs, request: &str) -> Result<(), CallError> {
        let job = self.submit(&mut jobs, request).await?;
        if job.source_root.is_empty() {
            self.upload(&mut jobs, request, &job.id).await?;
        }
        self.watch(&mut jobs, request, &job.id).await?;
        self.fetch(&mut jobs, request, &job.id).await
    }

    async fn submit(&self, jobs: &mut Jobs, request: &str) -> Result<Job, CallError> {
        let source = self.open_source()?;
        // Before the call: another thread may be told more meanwhile.
        let known = self.ledger().of(request);
        let answer = jobs.submit(SubmitRequest {
            tenant: "experiment".into(),
            request_id: request.into(),
            spec: Some(self.spec.clone()),
            source_name: source.name.clone(),
            source_bytes: source.bytes,
            source_fingerprint: source.fingerprint().map_err(unreadable)?,
            ..Default::default()
        });
        let answer = in_time(answer).await??.into_inner();
        let job = answer.job.unwrap_or_default();
        if !known.id.is_empty() && !answer.existed {
            return broken(format!("job {} was made anew as {}", known.id, job.id));
        }
        let deleting = self.ledger().of(request).deleting;
        if says_less(&job, &known, deleting) {
            let (state, problem) = (job.state(), job.problem);
            return broken(format!("is {state:?} now, {problem:?}, after {known:?}"));
        }
        self.ledger().add(request, Ack::Job { id: job.id.clone() });
        Ok(job)
    }

    fn open_source(&self) -> Result<SourceFile, CallError> {
        SourceFile::open(&self.source).map_err(unreadable)
    }

    /// Sends the chunks that the server asks for until all are safe.
    async fn upload(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), CallError> {
        let source = self.open_source()?;
        let (up, outgoing) = bounded::channel(UPLOAD_QUEUE);
        let send = async |message| {
            let message = Some(message);
            let sent = up.send(UploadClient { message }).await;
            sent.map_err(|_| CallError::Outage("the upload ended".into()))
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
                () = sleep(self.chunk_pause), if !asked.is_empty() => {
                    let Some(number) = asked.pop_front() else { continue };
                    let data = read_chunk(&source, number, chunk_bytes)?;
                    send(Up::Chunk(UploadChunk { number, data })).await?;
                    continue;
                }
            };
            match message {
                Some(Down::Plan(plan)) => {
                    chunk_bytes = plan.chunk_bytes;
                    self.check_plan(request, plan, &source)?;
                }
                Some(Down::Ask(ask)) => asked.extend(ask.numbers),
                Some(Down::Acked(acked)) => {
                    let number = acked.number;
                    self.ledger().add(request, Ack::Chunk { number });
                }
                Some(Down::Sealed(sealed)) => {
                    let root = sealed.root;
                    self.ledger().add(request, Ack::Sealed { root });
                    return Ok(());
                }
                None => return Err(CallError::Outage("the upload ended".into())),
            }
        }
    }

    /// The chunks that were acknowledged must be among those that the server
    /// has, and these must have the right bytes.
    fn check_plan(
        &self,
        request: &str,
        plan: UploadPlan,
        source: &SourceFile,
    ) -> Result<(), CallError> {
        let mut missing = self.ledger().of(request).chunks;
        for have in plan.have {
            missing.remove(&have.number);
            let data = read_chunk(source, have.number, plan.chunk_bytes)?;
            if blake3::hash(&data).to_hex().as_str() != have.hash {
                return broken(format!("chunk {} has other bytes", have.number));
            }
        }
        if !missing.is_empty() {
            return broken(format!("acknowledged chunks {missing:?} are gone"));
        }
        Ok(())
    }

    /// Follows a job until it has succeeded with the right output.
    async fn watch(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), CallError> {
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
                    let expected = self.expected_hash.as_ref();
                    if expected.is_some_and(|expected| *expected != hash) {
                        return broken(format!("its output is {hash}, not the calm run's"));
                    }
                    self.ledger().add(request, Ack::Succeeded { hash });
                    return Ok(());
                }
                JobState::Uploading | JobState::Analyzing => continue,
                state => return broken(format!("is {state:?}: {:?}", job.problem)),
            };
            if last.as_ref() != Some(&ack) {
                self.ledger().add(request, ack.clone());
                last = Some(ack);
            }
        }
        Err(CallError::Outage("the watch ended".into()))
    }

    /// Fetches the output and compares its hash with the one that was named.
    async fn fetch(&self, jobs: &mut Jobs, request: &str, job: &str) -> Result<(), CallError> {
        let found = grpc::fetch(jobs, job).await?;
        if self.ledger().of(request).output.as_ref() != Some(&found) {
            return broken(format!("the output that was fetched is {found}"));
        }
        self.ledger().add(request, Ack::Fetched);
        Ok(())
    }
}

/// Whether a job is in a state that what was acknowledged of it rules out.
/// `deleting`: a deletion was requested, which may have happened by now.
fn says_less(job: &Job, known: &Acknowledged, deleting: bool) -> bool {
    match job.state() {
        JobState::Deleted => !deleting,
        _ if known.deleted => true,
        JobState::Succeeded => false,
        _ if known.output.is_some() => true,
        JobState::Failed | JobState::Cancelled => true,
        _ => known
            .root
            .as_ref()
            .is_some_and(|root| *root != job.source_root),
    }
}

fn read_chunk(source: &SourceFile, number: u64, chunk_bytes: u32) -> Result<Bytes, CallError> {
    source.chunk(number, chunk_bytes).map_err(unreadable)
}

fn unreadable(error: io::Error) -> CallError {
    CallError::Broken(format!("the source can't be read: {error}"))
}

fn broken<T>(what: String) -> Result<T, CallError> {
    Err(CallError::Broken(what))
}
