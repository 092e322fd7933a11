//! The pull upload from the client's side: the server asks for chunks, we send
//! them, and continue at another node when a connection breaks.
//!
//! ```text
//! open ──▶ plan (what is already safe: checked) ──▶ ask ⇄ chunk … acked … ──▶ sealed
//!   ▲                                                 │ connection breaks
//!   └─────────────────────────────────────────────────┘ (other endpoint)
//! ```
//! Whether this file belongs to the job at all is decided in
//! [`crate::transfer::submit`].

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use reelraft_proto::v1::{
    GetRequest, Job, JobRef, JobState, Problem, UploadChunk, UploadClient, UploadOpen, UploadPlan,
    UploadServer, upload_client::Message as Up, upload_server::Message as Down,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    client::{Client, RetryBudget, next_message, open_stream},
    error::CliError,
    job_end::outcome,
    limits::{CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT, STREAM_SILENCE_MS},
    render::progress::{Meter, bytes_line},
    transfer::{
        compare::refuse_other,
        on_thread::on_thread,
        source::{Change, Source},
    },
};

/// One upload, over as many connections as it takes.
pub(super) struct Upload {
    pub(super) job: String,
    pub(super) source: Arc<Source>,
    /// The hashes of this file's chunks that we have sent, or compared with the
    /// cluster's.
    known: HashMap<u64, blake3::Hash>,
    /// How large the cluster's chunks are.
    pub(super) chunk_bytes: u32,
    meter: Meter,
}

/// Why one connection's part of an upload ended.
pub(super) enum Broken {
    /// To be retried at another node, unless it is a refusal.
    Status(Status),
    /// Not to be retried.
    Final(CliError),
    /// The file is no longer what it was.
    Changed(Change),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Broken::Status(status)
    }
}

/// Uploads all of the job's source, and checks that it was sealed as this very
/// file: another client may have sent other bytes under the same request.
///
/// # Errors
/// [`CliError::SourceChanged`] (the job is then cancelled),
/// [`CliError::SourceDiffers`], the job's own failure, or that no node serves.
pub async fn upload(client: &mut Client, job: &str, source: &Arc<Source>) -> Result<(), CliError> {
    let mut upload = Upload {
        job: job.to_string(),
        source: source.clone(),
        known: HashMap::new(),
        chunk_bytes: CHUNK_BYTES,
        meter: Meter::default(),
    };
    client.follow_job();
    let mut retries = RetryBudget::default();
    loop {
        match upload.once(client, &mut retries).await {
            Ok(root) => {
                client.screen().clear();
                return upload.check_sealed(client, &root).await;
            }
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Changed(change)) => return Err(upload.give_up(client, change).await),
            Err(Broken::Status(status)) => {
                if let Err(refusal) = client.retry_or_fail(&mut retries, &status).await {
                    return Err(upload.explain(client, refusal).await);
                }
            }
        }
    }
}

impl Upload {
    /// Goes on over one connection, until it breaks or all is sealed.
    async fn once(
        &mut self,
        client: &mut Client,
        retries: &mut RetryBudget,
    ) -> Result<String, Broken> {
        match client.http().await? {
            Some(door) => self.over_one_request(client, &door, retries).await,
            None => self.over_one_connection(client, retries).await,
        }
    }

    async fn over_one_connection(
        &mut self,
        client: &mut Client,
        retries: &mut RetryBudget,
    ) -> Result<String, Broken> {
        let mut jobs = client.jobs().await?;
        let (up, outgoing) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let job = self.job.clone();
        // The queue is empty, and its receiver is in our hands.
        let _ = up.send(up_message(Up::Open(UploadOpen { job }))).await;
        let mut incoming = open_stream(jobs.upload(ReceiverStream::new(outgoing))).await?;

        let first = next_message(&mut incoming, STREAM_SILENCE_MS).await;
        let plan = match known_message(first)? {
            Down::Plan(plan) => plan,
            Down::Sealed(sealed) => return Ok(sealed.root),
            Down::Ask(_) | Down::Acked(_) => return Err(nonsense("no upload plan came first")),
        };
        let chunk_bytes = plan.chunk_bytes;
        if !(1..=CHUNK_BYTES_MAX).contains(&chunk_bytes) {
            return Err(nonsense(format!("chunks of {chunk_bytes} bytes")));
        }
        if self.chunk_bytes != chunk_bytes {
            self.known.clear();
            self.chunk_bytes = chunk_bytes;
        }
        let chunks = self.source.chunks(chunk_bytes);
        let mut safe = plan.have.len() as u64;
        self.compare(client, plan).await?;

        let mut asked: VecDeque<u64> = VecDeque::new();
        loop {
            let bytes_safe = safe.saturating_mul(chunk_bytes.into());
            self.show(client, bytes_safe.min(self.source.bytes));
            let room = async {
                match asked.front() {
                    Some(_) => up.reserve().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                message = next(&mut incoming) => match message? {
                    Down::Ask(ask) => queue(&mut asked, ask.numbers, chunks)?,
                    Down::Acked(acked) => {
                        safe = acked.chunks_safe;
                        client.record_progress(retries);
                    }
                    Down::Sealed(sealed) => return Ok(sealed.root),
                    Down::Plan(_) => return Err(nonsense("a second upload plan")),
                },
                room = room => {
                    let Some(number) = asked.pop_front() else { continue };
                    let permit = room.map_err(|_| broken_off())?;
                    self.send_chunk(permit, number).await?;
                }
            }
        }
    }

    /// Sends one chunk, or word that the file has changed.
    async fn send_chunk(
        &mut self,
        permit: mpsc::Permit<'_, UploadClient>,
        number: u64,
    ) -> Result<(), Broken> {
        let read = self.read_chunk(number).await;
        if let Err(Broken::Changed(change)) = &read {
            permit.send(up_message(Up::Gone(source_changed(change))));
            return read.map(drop);
        }
        let data = read?;
        permit.send(up_message(Up::Chunk(UploadChunk { number, data })));
        Ok(())
    }

    /// Reads one chunk, and remembers its hash.
    pub(super) async fn read_chunk(&mut self, number: u64) -> Result<Bytes, Broken> {
        let (source, chunk_bytes) = (self.source.clone(), self.chunk_bytes);
        let read = move || {
            let data = source.chunk(number, chunk_bytes)?;
            Ok((blake3::hash(&data), data))
        };
        let (hash, data) = blocking(read).await?.map_err(Broken::Changed)?;
        self.known.insert(number, hash);
        Ok(data)
    }

    /// Checks that the chunks the cluster already has are those of this file.
    async fn compare(&mut self, client: &Client, plan: UploadPlan) -> Result<(), Broken> {
        let chunks = self.source.chunks(plan.chunk_bytes);
        let all = plan.have.len() as u64;
        for (done, have) in (0..).zip(plan.have) {
            if client.screen().due() {
                let bytes = |count: u64| count.saturating_mul(plan.chunk_bytes.into());
                let line = bytes_line("comparing", bytes(done), bytes(all), 0);
                client.screen().progress(&line);
            }
            if have.number >= chunks {
                return Err(Broken::Final(self.differs()));
            }
            let hash = match self.known.get(&have.number) {
                Some(hash) => *hash,
                None => {
                    let source = self.source.clone();
                    let read = move || source.chunk(have.number, plan.chunk_bytes);
                    let data = blocking(read).await?.map_err(Broken::Changed)?;
                    blake3::hash(&data)
                }
            };
            if hash.to_hex().as_str() != have.hash {
                return Err(Broken::Final(self.differs()));
            }
            self.known.insert(have.number, hash);
        }
        Ok(())
    }

    fn differs(&self) -> CliError {
        CliError::SourceDiffers {
            path: self.source.path.clone(),
            job: self.job.clone(),
        }
    }

    /// Compares the root that the source was sealed under with this file's. What
    /// was never asked of us, as others sent it, is read now.
    async fn check_sealed(&self, client: &Client, root: &str) -> Result<(), CliError> {
        let chunks = self.source.chunks(self.chunk_bytes);
        let hashes: Option<Vec<_>> = (0..chunks).map(|at| self.known.get(&at)).collect();
        let Some(hashes) = hashes else {
            return refuse_other(client, &self.source, &self.job, root, self.chunk_bytes).await;
        };
        let mut own = blake3::Hasher::new();
        for hash in hashes {
            own.update(hash.as_bytes());
        }
        match own.finalize().to_hex().as_str() == root {
            true => Ok(()),
            false => Err(self.differs()),
        }
    }

    /// Shows how many bytes are there.
    pub(super) fn show(&mut self, client: &Client, safe: u64) {
        let total = self.source.bytes;
        self.meter.record(Instant::now(), safe);
        if client.screen().due() {
            let speed = self.meter.milli_per_second();
            let line = bytes_line("uploading", safe, total, speed);
            client.screen().progress(&line);
        }
    }

    /// Cancels the job: the file is no longer what it was made from.
    async fn give_up(&self, client: &mut Client, change: Change) -> CliError {
        client.screen().clear();
        let job = self.job.clone();
        let cancelled = client
            .call(JobRef { job }, async |mut jobs, request| {
                jobs.cancel(request).await
            })
            .await;
        let job = &self.job;
        let job_fate = match cancelled {
            Ok(_) => format!(
                "job {job} was cancelled; submit the file again once nothing writes to it any more"
            ),
            Err(_) => format!(
                "job {job} could not be cancelled and still waits for the file; cancel it with \
                 `reelraft job cancel {job}`"
            ),
        };
        CliError::SourceChanged {
            path: self.source.path.clone(),
            how: change.0,
            job_fate,
        }
    }

    /// An upload refused because its job ended is reported as the job's end.
    async fn explain(&self, client: &mut Client, refusal: CliError) -> CliError {
        client.screen().clear();
        if !matches!(refusal, CliError::Refused { .. }) {
            return refusal;
        }
        let get = GetRequest {
            job: self.job.clone(),
            local: false,
        };
        let job: Result<Job, CliError> = client
            .call(get, async |mut jobs, request| jobs.get(request).await)
            .await;
        match job {
            Ok(job) if matches!(job.state(), JobState::Failed | JobState::Cancelled) => {
                outcome(&job).err().unwrap_or(refusal)
            }
            _ => refusal,
        }
    }
}

fn up_message(message: Up) -> UploadClient {
    UploadClient {
        message: Some(message),
    }
}

fn source_changed(change: &Change) -> Problem {
    Problem {
        kind: "source-changed".into(),
        cause: format!("the source {} while it was being uploaded", change.0),
        hint: "submit it again when it is complete".into(),
    }
}

/// Queues the chunks that were asked for. A server that asks for a chunk twice
/// gets it twice, but the queue never holds more than the file twice over.
fn queue(asked: &mut VecDeque<u64>, numbers: Vec<u64>, chunks: u64) -> Result<(), Broken> {
    if numbers.iter().any(|&number| number >= chunks) {
        return Err(nonsense("a chunk beyond the file's end was asked for"));
    }
    asked.extend(numbers);
    if asked.len() as u64 > 2 * chunks {
        return Err(nonsense("the file was asked for over and over"));
    }
    Ok(())
}

/// What a node says during an upload. It may be silent for long, while the
/// other homes write.
async fn next(incoming: &mut Streaming<UploadServer>) -> Result<Down, Broken> {
    known_message(incoming.message().await)
}

fn known_message(message: Result<Option<UploadServer>, Status>) -> Result<Down, Broken> {
    match message? {
        Some(UploadServer {
            message: Some(message),
        }) => Ok(message),
        Some(_) => Err(nonsense("an upload message of an unknown kind")),
        None => Err(broken_off()),
    }
}

/// A stream that ends early is as good as a node that is gone.
fn broken_off() -> Broken {
    Broken::Status(Status::unavailable("the node broke the upload off"))
}

pub(super) fn nonsense(what: impl Into<String>) -> Broken {
    Broken::Final(CliError::Nonsense { what: what.into() })
}

/// Reads from disk on another thread, so that the connection's pings continue.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Change> + Send + 'static,
) -> Result<Result<T, Change>, Broken> {
    let done = on_thread("reading the source", work).await;
    done.map_err(Broken::Final)
}
