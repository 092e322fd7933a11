//! Fetches the sources of jobs that name a URL, as a client of the upload engine:
//! what it asks for is read from the server by ranges. The table says which home
//! does it; what is safe stays safe whatever becomes of a fetch, and the next one
//! goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use reelraft_model::{Command, FailFetch, Job, home_rules::must_fetch, limits::FETCH_PATIENCE_MS};
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info};

use crate::{
    clock::unix_ms,
    data::{
        DataError,
        limits::{CHUNK_BYTES, UPLOAD_WINDOW},
        upload::{self, Order, Turn, UploadReply, UploadRequest},
    },
    limits::{
        DUTY_TICK, FETCH_LOOK_PAUSE, FETCH_REFUSALS_MAX, FETCH_RETRY_MAX, FETCH_RETRY_MIN,
        FETCHES_AT_ONCE,
    },
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

/// Tries at one source that failed, with nothing fetched since.
#[derive(Default)]
struct Failures {
    tries: u32,
    /// How many of them in a row the server refused with a status below 500.
    refusals: u32,
    until: Option<Instant>,
}

/// Fetches what this home is to fetch until `stop` is set.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut applied = context.cluster.applied();
    let mut fetches = Fetches {
        context,
        tasks: JoinSet::new(),
        running: BTreeMap::new(),
        failures: BTreeMap::new(),
    };
    loop {
        applied.borrow_and_update();
        fetches.look();
        let next = fetches.failures.values().filter_map(|it| it.until).min();
        let next = next.unwrap_or_else(|| Instant::now() + DUTY_TICK);
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            ended = fetches.tasks.join_next(), if !fetches.tasks.is_empty() => ended,
            _ = applied.changed() => None,
            () = sleep_until(next) => None,
        };
        match ended {
            Some(Ok((job, end))) => fetches.end(&job, end).await,
            Some(Err(ended)) => fetches.running.retain(|_, task| task.id() != ended.id()),
            None => sleep(FETCH_LOOK_PAUSE).await,
        }
    }
}

struct Fetches {
    context: Arc<NodeContext>,
    tasks: JoinSet<(String, End)>,
    running: BTreeMap<String, AbortHandle>,
    failures: BTreeMap<String, Failures>,
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
        self.running.retain(|job, task| {
            let keep = ids.contains(job.as_str());
            if !keep {
                task.abort();
            }
            keep
        });
        let now = Instant::now();
        for job in mine {
            let failures = self.failures.entry(job.id.clone()).or_default();
            let waits = failures.until.is_some_and(|until| until > now);
            let full = self.running.len() >= FETCHES_AT_ONCE;
            if waits || full || self.running.contains_key(&job.id) {
                continue;
            }
            failures.until = None;
            let (id, context) = (job.id.clone(), self.context.clone());
            let fetch = fetch(context, Job::clone(job));
            let task = self.tasks.spawn(async move {
                let job = id;
                (job, fetch.await)
            });
            self.running.insert(job.id.clone(), task);
        }
    }

    async fn end(&mut self, job: &str, end: End) {
        self.running.remove(job);
        let End::Again { progress, error } = end else {
            self.failures.remove(job);
            return;
        };
        let failures = self.failures.entry(job.to_string()).or_default();
        if progress {
            *failures = Failures::default();
        }
        let refused = matches!(error, SourceError::Status(400..=499));
        let passes = matches!(error, SourceError::Status(408 | 425 | 429));
        failures.refusals = match refused && !passes {
            true => failures.refusals + 1,
            false => 0,
        };
        let pause = FETCH_RETRY_MIN * 2_u32.saturating_pow(failures.tries.min(16));
        failures.tries += 1;
        failures.until = Some(Instant::now() + pause.min(FETCH_RETRY_MAX));
        let stays = failures.refusals >= FETCH_REFUSALS_MAX;
        let never = matches!(error, SourceError::Never(_));
        debug!(job, ?error, "its source is not fetched yet");
        if stays || never || self.is_late(job) {
            self.fail(job, error).await;
        }
    }

    /// Whether nothing of a source has come for too long.
    fn is_late(&self, job: &str) -> bool {
        let state = self.context.cluster.local();
        let touched_ms = state.job(job).map(|entry| entry.job.touched_cluster_ms);
        touched_ms.is_some_and(|ms| state.cluster_ms() >= ms.saturating_add(FETCH_PATIENCE_MS))
    }

    async fn fail(&self, job: &str, error: SourceError) {
        let url = {
            let state = self.context.cluster.local();
            let entry = state.job(job);
            entry.and_then(|entry| entry.job.fetches_from().map(str::to_string))
        };
        let problem = error.problem(&url.unwrap_or_default());
        info!(job, %problem, "its source can't be fetched");
        let command = Command::FailFetch(FailFetch {
            job: job.to_string(),
            problem,
            unix_ms: unix_ms(),
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

const _: () = assert!(FETCH_RETRY_MIN.as_millis() < FETCH_RETRY_MAX.as_millis());
const _: () =
    assert!(FETCH_RETRY_MAX.as_millis() < Duration::from_millis(FETCH_PATIENCE_MS).as_millis());
