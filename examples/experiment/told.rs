//! A client that writes down what it was told, so that an experiment can hold
//! the cluster to it: which job, which chunks are safe, under which root the
//! source is sealed, which output the job has (P2, P5). It goes on where an
//! earlier connection broke and complains if something told is gone.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::StreamExt;
use reelraft_proto::v1::{
    FetchRequest, GetRequest, Job, JobState, ListRequest, Spec, SubmitRequest, UploadChunk,
    UploadClient, UploadOpen, jobs_client::JobsClient, upload_client::Message as Up,
    upload_server::Message as Down,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// How long one call may take. A restarted node elects itself within a second.
pub const CALL_TIME: Duration = Duration::from_secs(10);

/// Pause between two looks at a job that is being made.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a client was told about one request.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The job's id.
    pub job: Option<String>,
    /// Chunks that were acknowledged, with the hash of what was sent.
    pub chunks: BTreeMap<u64, String>,
    /// The root under which the source was sealed.
    pub root: Option<String>,
    /// The output's hash, once the job had succeeded.
    pub output: Option<String>,
}

/// Why a job could not be made now.
#[derive(Debug)]
pub enum Trouble {
    /// The connection broke, or the node had no leader: to be tried again.
    Passing(String),
    /// A promise is broken.
    Broken(String),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let said = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::InvalidArgument | Code::DataLoss => Trouble::Broken(said),
            _ => Trouble::Passing(said),
        }
    }
}

fn broken<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Broken(what.into()))
}

/// What is asked for.
pub struct Request<'a> {
    /// Where the node listens.
    pub endpoint: &'a str,
    /// The request's id.
    pub id: &'a str,
    /// The film.
    pub source: &'a [u8],
    /// Length of a shard.
    pub shard_ms: u32,
}

type Jobs = JobsClient<Channel>;

/// A connection to one node.
pub async fn connect(endpoint: &str) -> Result<Jobs, Trouble> {
    let channel = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| Trouble::Broken(error.to_string()))?
        .connect_timeout(CALL_TIME)
        .timeout(Duration::from_secs(60))
        .connect()
        .await
        .map_err(|error| Trouble::Passing(error.to_string()))?;
    Ok(JobsClient::new(channel).max_decoding_message_size(32 << 20))
}

async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIME, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Trouble::Passing("no answer in time".into())),
    }
}

/// Submits, uploads, waits and fetches; gives the output's BLAKE3. Checks at
/// each step that what was told before still holds.
pub async fn make(request: &Request<'_>, told: &mut Told) -> Result<String, Trouble> {
    let mut jobs = connect(request.endpoint).await?;
    held(&mut jobs, told).await?;
    let submit = SubmitRequest {
        tenant: "experiment".into(),
        request_id: request.id.into(),
        spec: Some(Spec {
            preset: "ultrafast".into(),
            shard_ms: request.shard_ms,
            ..Spec::default()
        }),
        source_name: "film.mp4".into(),
        source_bytes: request.source.len() as u64,
        source_fingerprint: blake3::hash(request.source).to_hex().to_string(),
    };
    let answer = within(jobs.submit(submit)).await?;
    let job = answer.job.unwrap_or_default();
    match &told.job {
        Some(id) if *id != job.id || !answer.existed => {
            return broken(format!(
                "P5: request {} was job {id}, is {}",
                request.id, job.id
            ));
        }
        _ => told.job = Some(job.id.clone()),
    }
    if job.source_root.is_empty() {
        upload(&mut jobs, &job.id, request.source, told).await?;
    }
    let job = ended(&mut jobs, &job.id).await?;
    if job.state() != JobState::Succeeded {
        let problem = job.problem.map(|problem| problem.cause);
        return broken(format!("job {} has failed: {problem:?}", job.id));
    }
    told.output = Some(job.output_hash.clone());
    fetch(&mut jobs, &job).await
}

/// Everything that was told must be there, before anything is sent again.
async fn held(jobs: &mut Jobs, told: &Told) -> Result<(), Trouble> {
    let Some(id) = &told.job else {
        return Ok(());
    };
    let job = match get(jobs, id).await {
        Err(Trouble::Passing(why)) if why.starts_with("NotFound") => {
            return broken(format!("P2: job {id} was acknowledged and is gone"));
        }
        job => job?,
    };
    if let Some(root) = &told.root
        && job.source_root != *root
    {
        return broken(format!(
            "P2: job {id} was sealed, and has root '{}'",
            job.source_root
        ));
    }
    if let Some(output) = &told.output
        && (job.state() != JobState::Succeeded || job.output_hash != *output)
    {
        return broken(format!(
            "P2: job {id} had succeeded and is {:?}",
            job.state()
        ));
    }
    Ok(())
}

async fn get(jobs: &mut Jobs, id: &str) -> Result<Job, Trouble> {
    let request = GetRequest {
        job: id.into(),
        local: false,
    };
    within(jobs.get(request)).await
}

async fn upload(jobs: &mut Jobs, job: &str, source: &[u8], told: &mut Told) -> Result<(), Trouble> {
    let (up, outgoing) = mpsc::channel(4);
    let open = Up::Open(UploadOpen { job: job.into() });
    let _ = up.send(message(open)).await;
    let mut incoming = within(jobs.upload(ReceiverStream::new(outgoing))).await?;
    let mut chunk_bytes = 0;
    loop {
        let next = tokio::time::timeout(CALL_TIME, incoming.next()).await;
        let next = match next {
            Ok(Some(next)) => next?.message,
            _ => return Err(Trouble::Passing("the upload's stream broke".into())),
        };
        match next {
            Some(Down::Plan(plan)) => {
                chunk_bytes = plan.chunk_bytes as usize;
                let here: BTreeMap<_, _> =
                    plan.have.into_iter().map(|c| (c.number, c.hash)).collect();
                for (number, hash) in &told.chunks {
                    if here.get(number) != Some(hash) {
                        return broken(format!("P2: chunk {number} was safe and is gone"));
                    }
                }
            }
            Some(Down::Ask(ask)) => {
                for number in ask.numbers {
                    let data = chunk(source, number, chunk_bytes)?.to_vec().into();
                    let _ = up
                        .send(message(Up::Chunk(UploadChunk { number, data })))
                        .await;
                }
            }
            Some(Down::Acked(acked)) => {
                let bytes = chunk(source, acked.number, chunk_bytes)?;
                let hash = blake3::hash(bytes).to_hex().to_string();
                told.chunks.insert(acked.number, hash);
            }
            Some(Down::Sealed(sealed)) => {
                told.root = Some(sealed.root);
                return Ok(());
            }
            None => {}
        }
    }
}

fn message(message: Up) -> UploadClient {
    UploadClient {
        message: Some(message),
    }
}

fn chunk(source: &[u8], number: u64, chunk_bytes: usize) -> Result<&[u8], Trouble> {
    let chunk = source.chunks(chunk_bytes.max(1)).nth(number as usize);
    chunk.ok_or_else(|| Trouble::Broken(format!("there is no chunk {number} of {chunk_bytes}")))
}

async fn ended(jobs: &mut Jobs, id: &str) -> Result<Job, Trouble> {
    loop {
        let job = get(jobs, id).await?;
        match job.state() {
            JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Deleted => {
                return Ok(job);
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// A finished job's output from one node, by its BLAKE3; other bytes than the
/// job says are a broken promise.
pub async fn fetch(jobs: &mut Jobs, job: &Job) -> Result<String, Trouble> {
    let request = FetchRequest {
        job: job.id.clone(),
        offset: 0,
    };
    let mut parts = within(jobs.fetch(request)).await?;
    let mut hasher = blake3::Hasher::new();
    while let Some(part) = parts.next().await {
        hasher.update(&part?.data);
    }
    let hash = hasher.finalize().to_hex().to_string();
    if hash != job.output_hash {
        return broken(format!(
            "P2: job {} gives {hash}, not {}",
            job.id, job.output_hash
        ));
    }
    Ok(hash)
}

/// All jobs that a node knows.
pub async fn list(endpoint: &str) -> Result<Vec<Job>, Trouble> {
    let mut jobs = connect(endpoint).await?;
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListRequest {
            tenant: String::new(),
            page_size: 200,
            page_token,
            local: false,
        };
        let page = within(jobs.list(request)).await?;
        all.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        page_token = page.next_page_token;
    }
}

/// Waits until a node answers with a leader, or `patience` is over.
pub async fn ready(endpoint: &str, patience: Duration) -> Result<(), String> {
    let started = Instant::now();
    loop {
        match list(endpoint).await {
            Ok(_) => return Ok(()),
            Err(Trouble::Broken(why)) => return Err(why),
            Err(Trouble::Passing(why)) if started.elapsed() > patience => return Err(why),
            Err(Trouble::Passing(_)) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
