//! The pull upload: the node asks for chunks, and we send them.
//!
//! ```text
//! open ──▶ plan (what is already safe: checked) ──▶ ask ⇄ chunk … acked … ──▶ sealed
//! ```

use std::{collections::VecDeque, future::pending};

use reelraft_proto::v1::{
    Problem, UploadChunk, UploadClient, UploadOpen, UploadPlan, UploadServer,
    upload_client::Message as Up, upload_server::Message as Down,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::sending::{Broken, Upload, blocking, nonsense};
use crate::{
    client::{Client, RetryBudget, next_message, open_stream},
    limits::{CHUNK_BYTES_MAX, CHUNKS_IN_FLIGHT, STREAM_SILENCE_MS},
    render::progress::bytes_line,
    transfer::source::Change,
};

impl Upload {
    /// Sends what is asked for until all is sealed; the root.
    pub(super) async fn over_one_connection(
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
