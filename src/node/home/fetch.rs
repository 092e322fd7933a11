//! Fetches the sources of jobs that name a URL, as a client of the upload engine:
//! what it asks for is read from the server by ranges. The table says which home
//! does it; what is safe stays safe whatever becomes of a fetch, and the next one
//! goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use reelraft_model::{Command, FailFetch, Job, home_rules::must_fetch, limits::FENCES_LEVEL};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info};

use super::fetch_turns::{Failures, chosen, stamps};
use crate::{
    clock::unix_ms,
    data::{
        DataError,
        limits::{CHUNK_BYTES, UPLOAD_WINDOW},
        upload::{self, Order, Turn, UploadReply, UploadRequest},
    },
    limits::{DUTY_TICK, FETCH_LOOK_PAUSE},
    node::context::NodeContext,
    outside::{Remote, SourceError, check},
};

/// How a fetch ended.
enum End {
    /// The source is there, or nobody wants it any more.
    Done,
    /// It is tried again; whether something came meanwhile, and why it broke off.
    Again { progress: bool, error: SourceError },
}

/// Fetches what this home is to fetch until `stop` is set.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut applied = context.cluster.applied();
    let mut fetches = Fetches {
        context,
        tasks: JoinSet::new(),
        running: BTreeMap::new(),
        failures: BTreeMap::new(),
        stamping: None,
    };
    loop {
        applied.borrow_and_update();
        fetches.look();
        let now = Instant::now();
        let paused = fetches.failures.values();
        let next = paused.filter_map(|it| it.pauses_until(now)).min();
        let next = next.unwrap_or(now + DUTY_TICK);
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            ended = fetches.tasks.join_next(), if !fetches.tasks.is_empty() => ended,
            _ = applied.changed() => None,
            () = sleep_until(next) => None,
        };
        match ended {
            Some(Ok((job, end))) => fetches.end(&job, end).await,
            Some(Err(ended)) => fetches.running.retain(|_, it| it.task.id() != ended.id()),
            None => sleep(FETCH_LOOK_PAUSE).await,
        }
    }
}

/// A source that is being fetched.
struct Running {
    task: AbortHandle,
    tenant: String,
    /// The epoch of the homes of which this one fetches it.
    epoch: u64,
}

struct Fetches {
    context: Arc<NodeContext>,
    tasks: JoinSet<(String, End)>,
    running: BTreeMap<String, Running>,
    failures: BTreeMap<String, Failures>,
    /// Stamps of jobs in line that are being written.
    stamping: Option<JoinHandle<()>>,
}

impl Fetches {
    /// Begins what is due, and ends what is another home's now.
    fn look(&mut self) {
        let node = self.context.node();
        let state = self.context.cluster.local();
        let mine = state.uploading().map(|entry| &entry.job);
        let mine: Vec<&Job> = mine.filter(|job| must_fetch(job, node)).collect();
        let ids: BTreeSet<&str> = mine.iter().map(|job| job.id.as_str()).collect();
        self.failures.retain(|job, _| ids.contains(job.as_str()));
        self.running.retain(|job, running| {
            let keep = ids.contains(job.as_str());
            if !keep {
                running.task.abort();
            }
            keep
        });
        let now = Instant::now();
        let mut due = mine;
        due.retain(|job| {
            let failures = self.failures.entry(job.id.clone()).or_default();
            failures.pauses_until(now).is_none() && !self.running.contains_key(&job.id)
        });
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for running in self.running.values() {
            *held.entry(running.tenant.clone()).or_default() += 1;
        }
        for job in chosen(&due, held) {
            self.begin(job, now);
        }
        due.retain(|job| !self.running.contains_key(&job.id));
        for job in &due {
            if let Some(failures) = self.failures.get_mut(&job.id) {
                failures.wait(now);
            }
        }
        let stamping = self.stamping.as_ref();
        if stamping.is_none_or(JoinHandle::is_finished) {
            self.stamping = self.stamp(stamps(&state, due.into_iter()));
        }
    }

    fn begin(&mut self, job: &Job, now: Instant) {
        self.failures.entry(job.id.clone()).or_default().begin(now);
        let (id, context) = (job.id.clone(), self.context.clone());
        let fetch = fetch(context, Job::clone(job));
        let task = self.tasks.spawn(async move {
            let job = id;
            (job, fetch.await)
        });
        let running = Running {
            task,
            tenant: job.tenant.clone(),
            epoch: job.epoch,
        };
        self.running.insert(job.id.clone(), running);
    }

    /// What can't be written now is due again at the next look.
    fn stamp(&self, stamps: Vec<Command>) -> Option<JoinHandle<()>> {
        if stamps.is_empty() {
            return None;
        }
        let context = self.context.clone();
        Some(tokio::spawn(async move {
            if let Err(error) = context.cluster.propose(stamps).await {
                debug!(%error, "jobs that wait for a fetch could not be stamped");
            }
        }))
    }

    async fn end(&mut self, job: &str, end: End) {
        let running = self.running.remove(job);
        let End::Again { progress, error } = end else {
            self.failures.remove(job);
            return;
        };
        let failures = self.failures.entry(job.to_string()).or_default();
        let given_up = failures.note(Instant::now(), progress, &error);
        debug!(job, ?error, "its source is not fetched yet");
        if given_up && let Some(Running { epoch, .. }) = running {
            self.fail(job, epoch, error).await;
        }
    }

    async fn fail(&self, job: &str, epoch: u64, error: SourceError) {
        let (url, fenced) = {
            let state = self.context.cluster.local();
            let entry = state.job(job);
            let url = entry.and_then(|entry| entry.job.fetches_from().map(str::to_string));
            (url, state.feature_level() >= FENCES_LEVEL)
        };
        let problem = error.problem(&url.unwrap_or_default());
        info!(job, %problem, "its source can't be fetched");
        let command = Command::FailFetch(FailFetch {
            job: job.to_string(),
            problem,
            unix_ms: unix_ms(),
            // Whoever fetches it for other homes may do better.
            epoch: fenced.then_some(epoch),
        });
        if let Err(error) = self.context.cluster.propose(vec![command]).await {
            debug!(job, %error, "that could not be proposed");
        }
    }
}

/// Fetches one source, as far as it goes.
async fn fetch(context: Arc<NodeContext>, job: Job) -> End {
    let mut progress = false;
    match try_fetch(&context, &job, &mut progress).await {
        Ok(()) => End::Done,
        Err(error) => End::Again { progress, error },
    }
}

async fn try_fetch(
    context: &NodeContext,
    job: &Job,
    progress: &mut bool,
) -> Result<(), SourceError> {
    let Some(url) = job.fetches_from() else {
        return Ok(());
    };
    let url = check("source_url", url, true).map_err(SourceError::Never)?;
    let validator = job.outside.as_ref().map(|it| it.source_validator.as_str());
    let validator = validator.unwrap_or_default();
    let mut remote = Remote::new(&context.outside, url, job.source_bytes, validator);
    // The engine does not wait while a server without ranges is read over.
    if let Some(first) = first_wanted(context, job).await? {
        remote.seek(first * CHUNK_BYTES as u64).await?;
    }
    let (requests, mut replies) = open(context, job);
    while let Some(reply) = replies.next().await {
        match reply.map_err(of_engine)? {
            UploadReply::Ask { numbers } => {
                for number in numbers {
                    let from = number * CHUNK_BYTES as u64;
                    let bytes = (job.source_bytes - from).min(CHUNK_BYTES as u64);
                    let data = remote.read(from, bytes as usize).await?;
                    let chunk = UploadRequest::Chunk { number, data };
                    // An engine that has ended says why in its last reply.
                    let _ = requests.send(Ok(chunk)).await;
                }
            }
            UploadReply::Acked { .. } => *progress = true,
            UploadReply::Plan { .. } => {}
            UploadReply::Sealed { root } => {
                info!(job = job.id, root, "its source is fetched");
                return Ok(());
            }
        }
    }
    Err(SourceError::Later("the upload ended early".to_string()))
}

type Requests = mpsc::Sender<Result<UploadRequest, upload::BrokenOff>>;

fn open(
    context: &NodeContext,
    job: &Job,
) -> (
    Requests,
    impl futures::Stream<Item = Result<UploadReply, DataError>> + Unpin,
) {
    let (requests, incoming) = mpsc::channel(UPLOAD_WINDOW + 1);
    let job = job.id.clone();
    // There is room for it, and the other end is here.
    let _ = requests.try_send(Ok(UploadRequest::Open { job }));
    let incoming = ReceiverStream::new(incoming);
    let replies = upload::serve(
        context.data.clone(),
        incoming,
        Turn::default(),
        Order::Rising,
    );
    (requests, Box::pin(replies))
}

/// The first chunk that is not safe yet; none if all are.
async fn first_wanted(context: &NodeContext, job: &Job) -> Result<Option<u64>, SourceError> {
    let (_hold, mut replies) = open(context, job);
    while let Some(reply) = replies.next().await {
        match reply.map_err(of_engine)? {
            UploadReply::Ask { numbers } => return Ok(numbers.first().copied()),
            UploadReply::Sealed { .. } => return Ok(None),
            UploadReply::Plan { .. } | UploadReply::Acked { .. } => {}
        }
    }
    Err(SourceError::Later("the upload ended early".to_string()))
}

/// What the engine refuses: what it holds may differ from what the server gives now.
fn of_engine(error: DataError) -> SourceError {
    match &error {
        DataError::SourceChanged { .. } => SourceError::Never(error.problem()),
        _ => SourceError::Later(error.to_string()),
    }
}
