//! The server side of `Jobs.Upload`, on any node: asks the client for the
//! chunks that are not safe yet, puts each on all homes of the job, and seals
//! the source when all are there.
//!
//! ```text
//! settle -> transfer -> seal
//!    ^---------'----------'     a home failed, or the homes changed
//! ```
//! *settle* reads the job's row and the homes' journals: a chunk is safe when
//! all homes have it. It is the same on a first upload, on a resumed one, and
//! when a lost home was replaced; what some homes lack is copied from another
//! before the client is asked for it. All state here may be lost at any time:
//! the client opens the stream again, on any node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use blake3::Hash;
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    future::{join_all, try_join_all},
    stream::{self, FuturesUnordered},
};
use reelraft_model::{Command, JobEntry, JobState, Problem, SealSource};
use reelraft_proto::v1::{self, UploadClient, UploadServer, upload_client, upload_server};
use reelraft_storage::{blobs::check_job, journal::Chunk};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    DataError, DataPlane,
    client::Payload,
    home::PutTicket,
    homes::{home_ids, ticket},
    limits::{
        CHUNK_BYTES, COPY_WINDOW, PLAN_CHUNKS_MAX, UPLOAD_IDLE, UPLOAD_OUTAGE, UPLOAD_WINDOW,
    },
    manifest::{Manifest, chunk_bytes, chunk_count},
    merge::{Merged, merge},
    retry::Patience,
};

type Out = mpsc::Sender<Result<UploadServer, Status>>;

/// Serves one upload stream.
pub fn serve<S>(
    data: Arc<DataPlane>,
    mut incoming: S,
) -> impl Stream<Item = Result<UploadServer, Status>> + Send + 'static
where
    S: Stream<Item = Result<UploadClient, Status>> + Send + Unpin + 'static,
{
    let (out, answers) = mpsc::channel(UPLOAD_WINDOW);
    tokio::spawn(async move {
        let end = tokio::select! {
            end = run(data, &mut incoming, &out) => end,
            () = out.closed() => return,
        };
        let last = match end {
            Ok(root) => Ok(message(upload_server::Message::Sealed(v1::UploadSealed {
                root,
            }))),
            Err(error) => {
                tracing::debug!(%error, "an upload ended");
                Err(error.status())
            }
        };
        // A client that has gone needs no answer.
        let _ = out.send(last).await;
    });
    ReceiverStream::new(answers)
}

fn message(message: upload_server::Message) -> UploadServer {
    UploadServer {
        message: Some(message),
    }
}

async fn run<S>(data: Arc<DataPlane>, incoming: &mut S, out: &Out) -> Result<String, DataError>
where
    S: Stream<Item = Result<UploadClient, Status>> + Unpin,
{
    let upload_client::Message::Open(open) = next_message(incoming).await? else {
        return Err(DataError::ClientLost {
            cause: "sent something else before it named its job".to_string(),
        });
    };
    check_job(&open.job)?;
    let mut upload = Upload {
        data,
        out,
        job: open.job,
        source_bytes: 0,
        ticket: Arc::default(),
        nodes: Arc::default(),
        safe: BTreeMap::new(),
        held: BTreeMap::new(),
        asked: BTreeSet::new(),
        next: 0,
    };
    if let Some(root) = upload.settle().await? {
        return Ok(root);
    }
    upload.send_plan().await?;
    let mut patience = Patience::new(UPLOAD_OUTAGE);
    loop {
        if let Some(root) = upload.transfer(incoming).await? {
            return Ok(root);
        }
        match upload.seal().await {
            Ok(Some(root)) => return Ok(root),
            Ok(None) => {}
            Err(error) => patience.wait(error).await?,
        }
        if let Some(root) = upload.settle().await? {
            return Ok(root);
        }
    }
}

/// One upload stream.
struct Upload<'a> {
    data: Arc<DataPlane>,
    out: &'a Out,
    job: String,
    source_bytes: u64,
    /// The homes as they were last settled, and their epoch.
    ticket: Arc<PutTicket>,
    nodes: Arc<[u64]>,
    /// Chunks on all these homes.
    safe: BTreeMap<u64, Hash>,
    /// Chunks that came and are not safe yet.
    held: BTreeMap<u64, Bytes>,
    /// Chunks asked for that have not come.
    asked: BTreeSet<u64>,
    /// All chunks below are safe, held or asked for.
    next: u64,
}

impl Upload<'_> {
    /// Learns which chunks are safe on the homes of now; gives the root if the
    /// source is sealed already.
    async fn settle(&mut self) -> Result<Option<String>, DataError> {
        let mut patience = Patience::new(UPLOAD_OUTAGE);
        loop {
            match self.try_settle().await {
                Ok(sealed) => return Ok(sealed),
                Err(error) => patience.wait(error).await?,
            }
        }
    }

    async fn try_settle(&mut self) -> Result<Option<String>, DataError> {
        let entry = self.entry().await?;
        let job = &entry.job;
        if !job.source_root.is_empty() {
            return Ok(Some(job.source_root.clone()));
        }
        if job.homes.is_empty() {
            return Err(DataError::NoHomes {
                job: self.job.clone(),
            });
        }
        let log_index = *self.data.table.applied().borrow();
        self.source_bytes = job.source_bytes;
        self.ticket = Arc::new(ticket(job, log_index));
        self.nodes = home_ids(job).into();
        let journals = self
            .nodes
            .iter()
            .map(|&node| self.data.peers.journal(node, &self.job, log_index));
        let journals = try_join_all(journals).await?;
        let Merged { on_all, on_some } = merge(&self.job, &journals)?;
        self.safe = on_all;
        let copied = self.copy(&entry, on_some, &journals).await?;
        self.safe.extend(copied);
        self.held
            .retain(|number, _| !self.safe.contains_key(number));
        self.next = 0;
        Ok(None)
    }

    /// The job as it is now, if it still takes bytes.
    async fn entry(&self) -> Result<Arc<JobEntry>, DataError> {
        let state = self.data.table.read().await.map_err(DataError::Table)?;
        let gone = || DataError::NoSuchJob {
            job: self.job.clone(),
        };
        let entry = state.job(&self.job).ok_or_else(gone)?;
        match entry.job.state() {
            JobState::Deleted => Err(gone()),
            state @ (JobState::Failed | JobState::Cancelled) => Err(DataError::JobEnded {
                job: self.job.clone(),
                state: state.name(),
            }),
            _ => Ok(entry.clone()),
        }
    }

    /// Copies chunks to the homes that lack them; gives those that are safe
    /// now. One that no home can give any more is asked of the client again.
    async fn copy(
        &self,
        entry: &JobEntry,
        on_some: BTreeMap<u64, Hash>,
        journals: &[BTreeMap<u64, Chunk>],
    ) -> Result<Vec<(u64, Hash)>, DataError> {
        let copies = on_some.into_iter().map(|(number, hash)| {
            let has = |(at, _): &(usize, &u64)| journals[*at].contains_key(&number);
            let (have, lack): (Vec<_>, Vec<_>) = self.nodes.iter().enumerate().partition(has);
            let ids = |nodes: Vec<(usize, &u64)>| {
                nodes.into_iter().map(|(_, id)| *id).collect::<Vec<u64>>()
            };
            self.copy_chunk(entry, number, hash, ids(have), ids(lack))
        });
        let copied = stream::iter(copies).buffer_unordered(COPY_WINDOW);
        copied
            .try_filter_map(|copied| async move { Ok(copied) })
            .try_collect()
            .await
    }

    async fn copy_chunk(
        &self,
        entry: &JobEntry,
        number: u64,
        hash: Hash,
        have: Vec<u64>,
        lack: Vec<u64>,
    ) -> Result<Option<(u64, Hash)>, DataError> {
        let name = hash.to_hex();
        let bytes = match self.data.try_range(entry, &name, (0, 0), &have).await {
            Err(error) if error.is_lost() => return Ok(None),
            bytes => Bytes::from(bytes?),
        };
        let puts = lack.iter().map(|&node| {
            self.data
                .peers
                .put_chunk(node, &self.ticket, number, &name, bytes.clone())
        });
        try_join_all(puts).await?;
        Ok(Some((number, hash)))
    }

    /// Tells the client what is safe, so that it can compare.
    async fn send_plan(&self) -> Result<(), DataError> {
        let step = self.safe.len().div_ceil(PLAN_CHUNKS_MAX).max(1);
        let have = self
            .safe
            .iter()
            .step_by(step)
            .map(|(number, hash)| v1::ChunkHash {
                number: *number,
                hash: hash.to_hex().to_string(),
            });
        let plan = v1::UploadPlan {
            chunk_bytes: CHUNK_BYTES as u32,
            have: have.collect(),
        };
        self.send(upload_server::Message::Plan(plan)).await
    }

    async fn send(&self, answer: upload_server::Message) -> Result<(), DataError> {
        self.out
            .send(Ok(message(answer)))
            .await
            .map_err(|_| DataError::ClientLost {
                cause: "hung up".to_string(),
            })
    }

    /// Asks for chunks and puts them until all are safe; gives the root if the
    /// source was sealed by another stream meanwhile.
    async fn transfer<S>(&mut self, incoming: &mut S) -> Result<Option<String>, DataError>
    where
        S: Stream<Item = Result<UploadClient, Status>> + Unpin,
    {
        let count = chunk_count(self.source_bytes);
        let mut patience = Patience::new(UPLOAD_OUTAGE);
        let mut puts = FuturesUnordered::new();
        let mut trouble: Option<DataError> = None;
        puts.extend(
            self.held
                .iter()
                .map(|(number, data)| self.put(*number, data.clone())),
        );
        while (self.safe.len() as u64) < count || !puts.is_empty() {
            if puts.is_empty()
                && let Some(error) = trouble.take()
            {
                patience.wait(error).await?;
                let waiting: Vec<u64> = self.held.keys().copied().collect();
                if let Some(root) = self.settle().await? {
                    return Ok(Some(root));
                }
                // Some had reached a home, and were copied on from there.
                for number in waiting
                    .into_iter()
                    .filter(|number| !self.held.contains_key(number))
                {
                    self.ack(number).await?;
                }
                puts.extend(
                    self.held
                        .iter()
                        .map(|(number, data)| self.put(*number, data.clone())),
                );
                // What was copied may have been all that was missing.
                continue;
            }
            if trouble.is_none() {
                self.ask(count).await?;
            }
            tokio::select! {
                Some((number, result)) = puts.next() => match result {
                    Ok(hash) => {
                        patience = Patience::new(UPLOAD_OUTAGE);
                        self.held.remove(&number);
                        self.safe.insert(number, hash);
                        self.ack(number).await?;
                    }
                    Err(error) => trouble = Some(error),
                },
                message = next_message(incoming), if trouble.is_none() && !self.asked.is_empty() => {
                    let (number, data) = self.take(message?)?;
                    if !self.safe.contains_key(&number) {
                        self.held.insert(number, data.clone());
                        puts.push(self.put(number, data));
                    }
                }
                else => return Err(DataError::Internal {
                    cause: format!("the upload of job {} waits for nothing", self.job),
                }),
            }
        }
        Ok(None)
    }

    /// Asks for as many chunks as there is room for.
    async fn ask(&mut self, count: u64) -> Result<(), DataError> {
        let mut numbers = Vec::new();
        while self.next < count && self.asked.len() + self.held.len() < UPLOAD_WINDOW {
            let number = self.next;
            self.next += 1;
            let known = self.safe.contains_key(&number) || self.held.contains_key(&number);
            if !known && self.asked.insert(number) {
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        self.send(upload_server::Message::Ask(v1::UploadAsk { numbers }))
            .await
    }

    async fn ack(&self, number: u64) -> Result<(), DataError> {
        let acked = v1::UploadAcked {
            number,
            chunks_safe: self.safe.len() as u64,
        };
        self.send(upload_server::Message::Acked(acked)).await
    }

    /// Takes a chunk that was asked for.
    fn take(&mut self, message: upload_client::Message) -> Result<(u64, Bytes), DataError> {
        let chunk = match message {
            upload_client::Message::Chunk(chunk) => chunk,
            upload_client::Message::Gone(gone) => {
                let v1::Problem { kind, cause, hint } = gone;
                return Err(DataError::SourceGone(Problem { kind, cause, hint }));
            }
            upload_client::Message::Open(_) => {
                return Err(DataError::ClientLost {
                    cause: "named a job again within one stream".to_string(),
                });
            }
        };
        let bad = |cause: String| DataError::BadChunk {
            job: self.job.clone(),
            number: chunk.number,
            cause,
        };
        let expected = chunk_bytes(self.source_bytes, chunk.number);
        if chunk.data.len() as u64 != expected {
            return Err(bad(format!(
                "has {} bytes where {expected} were asked for",
                chunk.data.len()
            )));
        }
        if !self.asked.contains(&chunk.number) {
            return Err(bad("was not asked for".to_string()));
        }
        self.asked.remove(&chunk.number);
        Ok((chunk.number, chunk.data))
    }

    /// Puts one chunk on all homes.
    fn put(
        &self,
        number: u64,
        data: Bytes,
    ) -> impl Future<Output = (u64, Result<Hash, DataError>)> + Send + use<> {
        let (plane, ticket, nodes) = (self.data.clone(), self.ticket.clone(), self.nodes.clone());
        async move {
            let hash = blake3::hash(&data);
            let name = hash.to_hex();
            let puts = nodes.iter().map(|&node| {
                plane
                    .peers
                    .put_chunk(node, &ticket, number, &name, data.clone())
            });
            let failed = join_all(puts).await.into_iter().find_map(Result::err);
            (number, failed.map_or(Ok(hash), Err))
        }
    }

    /// Puts the manifest on all homes and seals the source; gives nothing if
    /// the homes changed meanwhile.
    async fn seal(&self) -> Result<Option<String>, DataError> {
        let chunks = self.safe.values().copied().collect();
        let manifest =
            Manifest::new(self.source_bytes, chunks).ok_or_else(|| DataError::Internal {
                cause: format!(
                    "job {} was to be sealed with other chunks than its source has",
                    self.job
                ),
            })?;
        let root = manifest.root();
        let bytes = Bytes::from(manifest.encode());
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let puts = self.nodes.iter().map(|&node| {
            let payload = Payload::Bytes(bytes.clone());
            self.data
                .peers
                .put(node, &self.ticket, &hash, bytes.len() as u64, payload)
        });
        try_join_all(puts).await?;
        let seal = Command::SealSource(SealSource {
            job: self.job.clone(),
            epoch: self.ticket.epoch,
            manifest: hash.clone(),
            root: root.clone(),
        });
        self.data
            .table
            .propose(vec![seal])
            .await
            .map_err(DataError::Table)?;
        let entry = self.entry().await?;
        match entry.job.source_root.as_str() {
            "" => Ok(None),
            sealed if sealed == root => Ok(Some(root)),
            sealed => Err(DataError::SourceChanged {
                job: self.job.clone(),
                cause: format!("it was sealed as {sealed}, and this client sent {root}"),
            }),
        }
    }
}

/// The client's next message.
async fn next_message<S>(incoming: &mut S) -> Result<upload_client::Message, DataError>
where
    S: Stream<Item = Result<UploadClient, Status>> + Unpin,
{
    let lost = |cause: &str| DataError::ClientLost {
        cause: cause.to_string(),
    };
    let next = tokio::time::timeout(UPLOAD_IDLE, incoming.next()).await;
    match next.map_err(|_| lost("sent nothing of what it was asked for"))? {
        Some(Ok(UploadClient {
            message: Some(message),
        })) => Ok(message),
        Some(Ok(_)) => Err(lost("sent a message that this version does not know")),
        Some(Err(status)) => Err(lost(&format!("broke off: {}", status.message()))),
        None => Err(lost("ended the stream before all was sent")),
    }
}
