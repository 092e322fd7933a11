//! The smallest complete client: submits a film, uploads it, watches the job,
//! and fetches the output. Read it from top to bottom; nothing but the
//! generated gRPC code is hidden from you (`proto/reelraft/v1/client.proto`).
//!
//! ```text
//! $ reelraft dev                    # in another terminal
//! $ cargo run --example submit_and_fetch -- 127.0.0.1:7401 film.mov film.mp4
//! ```
//! A cluster with a secret takes it from `REELRAFT_SECRET`.
//!
//! Run it again with the same film and it finds the finished job, because it
//! sends the same request id. So every call here may be repeated. A program
//! that must survive the death of a node repeats a call that failed as
//! unavailable at another node: `submit` then finds the job, `upload` asks only
//! for chunks that are still missing, and `fetch` can start at an offset.

use std::{error::Error, fs, process::ExitCode};

use reelraft_proto::{
    auth::Secret,
    v1::{
        FetchRequest, Job, JobState, Spec, SubmitRequest, UploadChunk, UploadClient, UploadOpen,
        WatchRequest, jobs_client::JobsClient, upload_client::Message as Up,
        upload_server::Message as Down,
    },
};
use reelraft_trust::is_loopback;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

/// The client that `client.proto` describes. It adds the cluster's secret to
/// the metadata of each call, under the key `reelraft-secret`.
type Jobs = JobsClient<InterceptedService<Channel, Secret>>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, source, output] = &args[..] else {
        eprintln!("usage: submit_and_fetch HOST:PORT SOURCE OUTPUT.mp4");
        return ExitCode::from(2);
    };
    match submit_and_fetch(endpoint, source, output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn submit_and_fetch(endpoint: &str, source: &str, output: &str) -> Result<()> {
    let mut jobs = connect(endpoint).await?;
    // A real client would read chunks from the disk as the server asks for them.
    let film = fs::read(source)?;
    let job = submit(&mut jobs, source, &film).await?;
    println!("job {}", job.id);
    // The root of a source is known as soon as the cluster has all of it.
    if job.source_root.is_empty() {
        upload(&mut jobs, &job.id, &film).await?;
    }
    let job = wait(&mut jobs, &job.id).await?;
    fetch(&mut jobs, &job, output).await?;
    println!(
        "{output}: {} bytes, BLAKE3 {}",
        job.output_bytes, job.output_hash
    );
    Ok(())
}

/// Any node will do: it forwards what only the leader can answer.
async fn connect(endpoint: &str) -> Result<Jobs> {
    let text = std::env::var("REELRAFT_SECRET").unwrap_or_default();
    let secret = Secret::new(&text).ok_or("the secret can't be sent as metadata")?;
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}"))?;
    // Beyond loopback nodes speak by TLS, which this client leaves out.
    if secret.is_set() && !is_loopback(endpoint.uri().host().unwrap_or_default()) {
        return Err("a secret is not sent in clear to another machine".into());
    }
    let channel = endpoint.connect().await?;
    Ok(JobsClient::with_interceptor(channel, secret))
}

/// Creates the job, or finds the one that this request created before.
async fn submit(jobs: &mut Jobs, source: &str, film: &[u8]) -> Result<Job> {
    let fingerprint = fingerprint(film);
    let request = SubmitRequest {
        tenant: "default".into(),
        // Any text of your own, such as the id of an order. The same one again
        // never makes a second job.
        request_id: format!("submit-and-fetch-{fingerprint}"),
        // What is not set takes its default: here H.264 and AAC.
        spec: Some(Spec {
            container: "mp4".into(),
            width: 640,
            ..Spec::default()
        }),
        source_name: source.into(),
        source_bytes: film.len() as u64,
        source_fingerprint: fingerprint,
        ..SubmitRequest::default()
    };
    let answer = jobs.submit(request).await?.into_inner();
    Ok(answer.job.ok_or("the answer has no job")?)
}

/// BLAKE3 over the length, the first and the last 64 KiB. With it the cluster
/// refuses a request id that is used again for another film.
fn fingerprint(film: &[u8]) -> String {
    let part = film.len().min(64 << 10);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(film.len() as u64).to_le_bytes());
    hasher.update(&film[..part]);
    hasher.update(&film[film.len() - part..]);
    hasher.finalize().to_hex().to_string()
}

/// The upload is pulled: we open it, and then the server asks for chunks.
async fn upload(jobs: &mut Jobs, job: &str, film: &[u8]) -> Result<()> {
    let (to_server, requests) = mpsc::channel(1);
    let send = async |message| {
        let message = Some(message);
        to_server.send(UploadClient { message }).await
    };
    send(Up::Open(UploadOpen { job: job.into() })).await?;
    let answer = jobs.upload(ReceiverStream::new(requests)).await?;
    let mut from_server = answer.into_inner();
    let mut chunk_bytes = 0;
    while let Some(message) = from_server.message().await? {
        match message.message {
            // Comes first. `plan.have` names the chunks that the cluster has
            // from an earlier upload; it won't ask for them again.
            Some(Down::Plan(plan)) => chunk_bytes = plan.chunk_bytes as usize,
            Some(Down::Ask(ask)) => {
                for number in ask.numbers {
                    let start = number as usize * chunk_bytes;
                    let end = film.len().min(start + chunk_bytes);
                    let data = film[start..end].to_vec().into();
                    send(Up::Chunk(UploadChunk { number, data })).await?;
                }
            }
            // The chunk is on the disks of all nodes that keep this job.
            Some(Down::Acked(acked)) => println!("{} chunks are safe", acked.chunks_safe),
            Some(Down::Sealed(_)) => return Ok(()),
            None => {}
        }
    }
    Err("the upload was broken off".into())
}

/// Follows the job to its end. The stream gives the job as it is now, and then
/// again whenever it has changed.
async fn wait(jobs: &mut Jobs, job: &str) -> Result<Job> {
    let request = WatchRequest { job: job.into() };
    let mut events = jobs.watch(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let job = event.job.unwrap_or_default();
        match job.state() {
            JobState::Succeeded => return Ok(job),
            JobState::Failed | JobState::Cancelled | JobState::Deleted => {
                // Says why: a kind for programs, a cause and a hint for people.
                let problem = job.problem.unwrap_or_default();
                return Err(
                    format!("{}: {} ({})", problem.kind, problem.cause, problem.hint).into(),
                );
            }
            state => println!(
                "{state:?}, {} of {} frames",
                job.frames_done, job.frames_total
            ),
        }
    }
    Err("the watch was broken off".into())
}

/// Writes the output to a file, and checks that it is the one that the job
/// names: the nodes agreed on this hash before the job succeeded.
async fn fetch(jobs: &mut Jobs, job: &Job, output: &str) -> Result<()> {
    let request = FetchRequest {
        job: job.id.clone(),
        ..Default::default()
    };
    let mut parts = jobs.fetch(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        bytes.extend_from_slice(&part.data);
    }
    if blake3::hash(&bytes).to_hex().as_str() != job.output_hash {
        return Err("the bytes that were fetched are not those of the job".into());
    }
    Ok(fs::write(output, bytes)?)
}
