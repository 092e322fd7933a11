//! Single calls to one node over gRPC. The CLI would try the other nodes for
//! so long that an experiment could not tell what this one answered.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use reelraft_proto::v1::{FetchRequest, Job, ListRequest, jobs_client::JobsClient};
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A call that gives nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Largest message accepted: chunks have 1 MiB.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Jobs listed in one call.
const PAGE_JOBS: u32 = 200;

/// Pause before a node that has no leader yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The client that all calls need.
pub type Jobs = JobsClient<Channel>;

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The connection broke, or the node had no leader: to be tried again.
    Outage(String),
    /// A promise is broken, in words.
    Broken(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        let temporary = matches!(
            status.code(),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
        );
        if temporary || status.source().is_some() || text.contains("h2 protocol error") {
            CallError::Outage(text)
        } else {
            CallError::Broken(text)
        }
    }
}

/// A connection to one node.
///
/// # Errors
/// If there is nobody, or the address can't be one.
pub async fn connect(endpoint: &str) -> Result<Jobs, CallError> {
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| CallError::Broken(error.to_string()))?
        .connect_timeout(CONNECT_MAX);
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| CallError::Outage(error.to_string()))?;
    Ok(JobsClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Gives a call its time: no answer by then is an outage.
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, CallError> {
    let silence = || CallError::Outage(format!("nothing for {} s", SILENCE_MAX.as_secs()));
    timeout(SILENCE_MAX, call).await.map_err(|_| silence())
}

/// The BLAKE3 of a job's output as one node serves it.
///
/// # Errors
/// If it does not serve all of it.
pub async fn fetch(jobs: &mut Jobs, job: &str) -> Result<String, CallError> {
    let request = FetchRequest {
        job: job.into(),
        ..Default::default()
    };
    let mut parts = in_time(jobs.fetch(request)).await??.into_inner();
    let (mut hasher, mut bytes, mut total_bytes) = (blake3::Hasher::new(), 0, None);
    while let Some(part) = in_time(parts.message()).await?? {
        total_bytes.get_or_insert(part.total_bytes);
        bytes += part.data.len() as u64;
        hasher.update(&part.data);
    }
    if Some(bytes) != total_bytes {
        let text = format!("{bytes} of {total_bytes:?} bytes");
        return Err(CallError::Outage(text));
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// All jobs that a node knows of.
///
/// # Errors
/// If it does not answer.
pub async fn list(endpoint: &str) -> Result<Vec<Job>, CallError> {
    let mut jobs = connect(endpoint).await?;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = jobs.list(ListRequest {
            page_size: PAGE_JOBS,
            page_token,
            ..Default::default()
        });
        let page = in_time(page).await??.into_inner();
        all.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        page_token = page.next_page_token;
    }
}

/// Waits until a node answers and has a leader, as long as `is_alive` finds
/// nothing wrong and `patience` lasts.
///
/// # Errors
/// If it does not come to that.
pub async fn wait_until_ready(
    endpoint: &str,
    patience: Duration,
    mut is_alive: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let started = Instant::now();
    while let Err(error) = list(endpoint).await {
        is_alive()?;
        if started.elapsed() > patience {
            return Err(format!("it does not answer: {error:?}"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
