//! Clients that want to take a node down: they open more than it can hold, read
//! nothing, and don't finish what they say. What they are told is counted; a refusal
//! must say why (P10).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reelraft_proto::{
    problem,
    v1::{
        FetchRequest, GetRequest, SubmitRequest, UploadChunk, UploadClient, UploadOpen,
        WatchRequest, jobs_client::JobsClient, upload_client::Message as Up,
    },
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    transport::{Channel, Endpoint},
};

/// Calls that share one connection.
const CALLS_PER_CONNECTION: usize = 50;

/// What a reader takes that never reads: the least that HTTP/2 allows for.
const WINDOW_BYTES: u32 = 65_535;

/// Chunks that an upload sends whether or not they are wanted.
const CHUNKS_SENT: u64 = 4;
const CHUNK_BYTES: usize = 1 << 20;

/// How much of a message is sent at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Size of the sources that are promised and never sent.
const SOURCE_BYTES: u64 = 64 << 20;

/// Submits that are on their way at once.
const SUBMITS_AT_ONCE: u64 = 64;

/// A call that is not answered for so long counts as hanging.
const HANG: Duration = Duration::from_secs(30);

/// What the calls were told.
#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    /// By the kind of the problem.
    pub refused: BTreeMap<String, u64>,
    /// Refusals that no node has given a reason for.
    pub untyped: BTreeMap<String, u64>,
}

impl Tally {
    fn add<T>(&mut self, answer: Result<T, Status>) -> Option<T> {
        let status = match answer {
            Ok(accepted) => {
                self.accepted += 1;
                return Some(accepted);
            }
            Err(status) => status,
        };
        let (counts, name) = match problem::of_status(&status) {
            Some(problem) => (&mut self.refused, problem.kind),
            None => (&mut self.untyped, format!("{status:?}")),
        };
        *counts.entry(name).or_default() += 1;
        None
    }
}

/// Something that is held open until it is dropped.
type Held = Box<dyn std::any::Any + Send>;

/// An attack under way. It ends when this is dropped.
#[derive(Default)]
pub struct Attack {
    pub tally: Tally,
    held: Vec<Held>,
}

impl Attack {
    fn hold<T: Send + 'static>(&mut self, answer: Result<T, Status>) {
        if let Some(accepted) = self.tally.add(answer) {
            self.held.push(Box::new(accepted));
        }
    }

    /// Things that are still open.
    pub fn open(&self) -> usize {
        self.held.len()
    }
}

/// Uploads that send what nobody asked for and read nothing.
///
/// # Errors
/// If the nodes can't be reached, or take no job at all.
pub async fn uploads(endpoints: &[String], count: usize) -> Result<Attack, String> {
    let mut attack = Attack::default();
    for (number, mut jobs) in callers(endpoints, count).await? {
        let request = format!("hostile-upload-{}", number / CALLS_PER_CONNECTION);
        let job = match answered(jobs.submit(submit(&request))).await {
            Ok(answer) => answer.into_inner().job.unwrap_or_default().id,
            Err(status) => {
                attack.tally.add(Err::<(), _>(status));
                continue;
            }
        };
        let (up, outgoing) = mpsc::channel(CHUNKS_SENT as usize + 1);
        let mut messages = vec![Up::Open(UploadOpen { job })];
        messages.extend((0..CHUNKS_SENT).map(|number| {
            let data = Bytes::from(vec![0; CHUNK_BYTES]);
            Up::Chunk(UploadChunk { number, data })
        }));
        for message in messages {
            let message = Some(message);
            let _ = up.try_send(UploadClient { message });
        }
        let answer = answered(jobs.upload(ReceiverStream::new(outgoing))).await;
        attack.hold(answer.map(|stream| (up, stream)));
    }
    Ok(attack)
}

/// Readers of an output that take nothing of it.
///
/// # Errors
/// If the nodes can't be reached.
pub async fn readers(endpoints: &[String], count: usize, job: &str) -> Result<Attack, String> {
    let mut attack = Attack::default();
    for (_, mut jobs) in callers(endpoints, count).await? {
        let job = job.to_string();
        attack.hold(
            answered(jobs.fetch(FetchRequest {
                job,
                ..Default::default()
            }))
            .await,
        );
    }
    Ok(attack)
}

/// Watches of a job in which nothing happens.
///
/// # Errors
/// If the nodes can't be reached, or take no job.
pub async fn watches(endpoints: &[String], count: usize) -> Result<Attack, String> {
    let mut attack = Attack::default();
    let mut watched = String::new();
    for (number, mut jobs) in callers(endpoints, count).await? {
        if number == 0 {
            let answer = answered(jobs.submit(submit("hostile-watch"))).await;
            let answer = answer.map_err(|status| format!("no job to watch: {status:?}"))?;
            watched = answer.into_inner().job.unwrap_or_default().id;
        }
        let job = watched.clone();
        attack.hold(answered(jobs.watch(WatchRequest { job })).await);
    }
    Ok(attack)
}

/// Connections to one node, each with one call.
///
/// # Errors
/// If the address can't be one.
pub async fn connections(endpoint: &str, count: usize) -> Result<Attack, String> {
    let mut attack = Attack::default();
    for _ in 0..count {
        // A socket that was closed at once is a refusal without words, as
        // newcomers' are who give way to others.
        let Ok(mut jobs) = connect(endpoint).await else {
            *attack.tally.untyped.entry("closed".into()).or_default() += 1;
            continue;
        };
        let job = "jnone".to_string();
        let answer = answered(jobs.get(GetRequest { job, local: true })).await;
        attack.tally.add(answer);
        attack.held.push(Box::new(jobs));
    }
    Ok(attack)
}

/// Calls whose one message, of so many bytes, lacks its last byte for ever.
///
/// # Errors
/// If the nodes can't be reached.
pub async fn unfinished(
    endpoints: &[String],
    count: usize,
    call: &'static str,
    bytes: usize,
) -> Result<Attack, String> {
    let mut calls = JoinSet::new();
    for first in (0..count).step_by(CALLS_PER_CONNECTION) {
        let node = first / CALLS_PER_CONNECTION % endpoints.len();
        let channel = channel(&endpoints[node]).await?;
        for _ in first..count.min(first + CALLS_PER_CONNECTION) {
            let mut channel = channel.clone();
            calls.spawn(answered(async move {
                let broken = |error: tonic::transport::Error| Status::unknown(format!("{error:?}"));
                let ready = std::future::poll_fn(|context| channel.poll_ready(context));
                ready.await.map_err(broken)?;
                let answer = channel.call(unfinished_request(call, bytes)?).await;
                let answer = answer.map_err(broken)?;
                match Status::from_header_map(answer.headers()) {
                    Some(status) => Err(status),
                    None => Ok(answer),
                }
            }));
        }
    }
    let mut attack = Attack::default();
    while let Some(answer) = calls.join_next().await {
        let answer = answer.map_err(|error| error.to_string())?;
        attack.hold(answer);
    }
    Ok(attack)
}

fn unfinished_request(call: &str, bytes: usize) -> Result<http::Request<Body>, Status> {
    let mut head = vec![0];
    head.extend((bytes as u32).to_be_bytes());
    let piece = Bytes::from(vec![0; PIECE_BYTES]);
    let mut parts = vec![Bytes::from(head)];
    parts.extend(vec![piece.clone(); bytes / PIECE_BYTES - 1]);
    parts.push(piece.slice(1..));
    let frames = parts
        .into_iter()
        .map(|part| Ok::<_, Status>(Frame::data(part)));
    let frames = tokio_stream::iter(frames).chain(tokio_stream::pending());
    http::Request::post(format!("http://node{call}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(frames)))
        .map_err(|error| Status::internal(error.to_string()))
}

/// So many jobs, as fast as they are taken.
///
/// # Errors
/// If the nodes can't be reached.
pub async fn submits(endpoints: &[String], count: u64) -> Result<Attack, String> {
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..SUBMITS_AT_ONCE {
        let endpoint = &endpoints[number as usize % endpoints.len()];
        let mut jobs = connect(endpoint).await?;
        let next = next.clone();
        clients.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return tally;
                }
                let request = submit(&format!("hostile-submit-{number}"));
                tally.add(answered(jobs.submit(request)).await);
            }
        });
    }
    let mut attack = Attack::default();
    while let Some(tally) = clients.join_next().await {
        let tally = tally.map_err(|error| error.to_string())?;
        attack.tally.accepted += tally.accepted;
        for (kind, count) in tally.refused {
            *attack.tally.refused.entry(kind).or_default() += count;
        }
        for (what, count) in tally.untyped {
            *attack.tally.untyped.entry(what).or_default() += count;
        }
    }
    Ok(attack)
}

/// So many callers, some on each connection, one node after the other.
async fn callers(
    endpoints: &[String],
    count: usize,
) -> Result<Vec<(usize, JobsClient<Channel>)>, String> {
    let mut callers: Vec<(usize, JobsClient<Channel>)> = Vec::new();
    for number in 0..count {
        let jobs = match callers.last() {
            Some((_, jobs)) if !number.is_multiple_of(CALLS_PER_CONNECTION) => jobs.clone(),
            _ => {
                let node = number / CALLS_PER_CONNECTION % endpoints.len();
                connect(&endpoints[node]).await?
            }
        };
        callers.push((number, jobs));
    }
    Ok(callers)
}

async fn connect(endpoint: &str) -> Result<JobsClient<Channel>, String> {
    let channel = channel(endpoint).await?;
    Ok(JobsClient::new(channel).max_decoding_message_size(8 << 20))
}

async fn channel(endpoint: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(HANG)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let channel = endpoint.connect().await;
    channel.map_err(|error| format!("{endpoint:?}: {error}"))
}

async fn answered<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let hangs = |_| Status::unknown(format!("no answer within {} s", HANG.as_secs()));
    timeout(HANG, call).await.map_err(hangs)?
}

fn submit(request: &str) -> SubmitRequest {
    SubmitRequest {
        tenant: "hostile".into(),
        request_id: request.into(),
        source_name: "hostile.mp4".into(),
        source_bytes: SOURCE_BYTES,
        source_fingerprint: "0".repeat(64),
        ..Default::default()
    }
}
