//! Single calls to one node over gRPC, where the CLI would try the others for
//! so long that an experiment could not tell what this node said. What is kept
//! of the answers is the caller's affair.

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

/// An open connection that gives nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Largest message taken: chunks are of 1 MiB.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Jobs asked for at once.
const PAGE_JOBS: u32 = 200;

/// Pause before a node that has no leader yet is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The client that all calls need.
pub type Jobs = JobsClient<Channel>;

/// Why a call ended without what was asked for.
#[derive(Debug)]
pub enum Trouble {
    /// The connection broke, or the node had no leader: to be tried again.
    Outage(String),
    /// A promise is broken: what, in words.
    Broken(String),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let said = format!("{:?}: {}", status.code(), status.message());
        let passing = matches!(
            status.code(),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
        );
        if passing || status.source().is_some() || said.contains("h2 protocol error") {
            Trouble::Outage(said)
        } else {
            Trouble::Broken(said)
        }
    }
}

/// A connection to one node.
pub async fn connect(endpoint: &str) -> Result<Jobs, Trouble> {
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| Trouble::Broken(error.to_string()))?
        .connect_timeout(CONNECT_MAX);
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| Trouble::Outage(error.to_string()))?;
    Ok(JobsClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// What is not answered in time is an outage.
pub async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    let silence = || Trouble::Outage(format!("nothing for {} s", SILENCE_MAX.as_secs()));
    timeout(SILENCE_MAX, work).await.map_err(|_| silence())
}

/// The BLAKE3 of a job's output as one node gives it.
pub async fn fetch(jobs: &mut Jobs, job: &str) -> Result<String, Trouble> {
    let request = FetchRequest {
        job: job.into(),
        offset: 0,
    };
    let mut parts = in_time(jobs.fetch(request)).await??.into_inner();
    let (mut hasher, mut bytes, mut total_bytes) = (blake3::Hasher::new(), 0, None);
    while let Some(part) = in_time(parts.message()).await?? {
        total_bytes.get_or_insert(part.total_bytes);
        bytes += part.data.len() as u64;
        hasher.update(&part.data);
    }
    if Some(bytes) != total_bytes {
        return Err(Trouble::Outage(format!("{bytes} of {total_bytes:?} bytes")));
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// All jobs that a node knows.
pub async fn list(endpoint: &str) -> Result<Vec<Job>, Trouble> {
    let mut jobs = connect(endpoint).await?;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = jobs.list(ListRequest {
            tenant: String::new(),
            page_size: PAGE_JOBS,
            page_token,
            local: false,
        });
        let page = in_time(page).await??.into_inner();
        all.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        page_token = page.next_page_token;
    }
}

/// Waits until a node answers with a leader, for as long as `lives` finds
/// nothing wrong and `patience` lasts.
pub async fn until_ready(
    endpoint: &str,
    patience: Duration,
    mut lives: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let begun = Instant::now();
    while let Err(trouble) = list(endpoint).await {
        lives()?;
        if begun.elapsed() > patience {
            return Err(format!("it does not answer: {trouble:?}"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
