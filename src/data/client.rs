//! The other nodes' bytes: one connection to each node, kept apart from that
//! of Raft, and this node's own disk without one. Which homes to ask, and what
//! to do when one fails, is decided elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use reelraft_proto::{
    auth::Secret,
    v1::{self, blobs_client::BlobsClient},
};
use reelraft_storage::journal::Chunk;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{
    DataError,
    home::{LocalHome, Parts, PutTicket},
    limits::{
        CALL_TIMEOUT, CALL_TIMEOUT_PER_MIB, CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, FRAME_BYTES,
        KEEPALIVE_EVERY, KEEPALIVE_TIMEOUT, MESSAGE_BYTES_MAX, PART_BYTES, PARTS_AHEAD,
        SILENCE_MAX, SILENCE_MIN, SILENCE_PAUSE, STALL_TIMEOUT, STREAM_WINDOW_BYTES,
    },
};

type Client = BlobsClient<InterceptedService<Channel, Secret>>;

/// Where the bytes of a put come from.
#[derive(Debug, Clone)]
pub enum Payload {
    /// From memory.
    Bytes(Bytes),
    /// From a file, which stays as it is.
    File(PathBuf),
}

/// All nodes' bytes, this one's included.
pub struct Peers {
    home: LocalHome,
    secret: Secret,
    channels: Mutex<BTreeMap<u64, (String, Channel)>>,
    /// The nodes that took a call, did not answer it, and were not heard since.
    /// The kernel of a machine whose programs hang still takes connections, so
    /// that every call would wait anew, and with it every slot of the others.
    silent: Silent,
}

type Silent = Arc<Mutex<BTreeSet<u64>>>;

impl Peers {
    /// Nothing is connected before it is used.
    pub fn new(home: LocalHome, secret: Secret) -> Self {
        Peers {
            home,
            secret,
            channels: Mutex::default(),
            silent: Silent::default(),
        }
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.home.table.node()
    }

    /// A client of a node that is not silent.
    fn client(&self, node: u64) -> Result<Client, DataError> {
        if locked(&self.silent).contains(&node) {
            return Err(DataError::Unreachable {
                node,
                cause: "it did not answer just now".to_string(),
            });
        }
        self.any_client(node)
    }

    fn any_client(&self, node: u64) -> Result<Client, DataError> {
        let unreachable = |cause: String| DataError::Unreachable { node, cause };
        let address = self
            .home
            .table
            .address(node)
            .ok_or_else(|| unreachable("it is no member".to_string()))?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(&node) {
            Some((known, channel)) if *known == address => channel.clone(),
            _ => {
                let channel = Endpoint::from_shared(format!("http://{address}"))
                    .map_err(|error| unreachable(error.to_string()))?
                    .connect_timeout(CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(KEEPALIVE_EVERY)
                    .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                    .keep_alive_while_idle(true)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .max_frame_size(FRAME_BYTES)
                    .tcp_nodelay(true)
                    .connect_lazy();
                channels.insert(node, (address, channel.clone()));
                channel
            }
        };
        let client = BlobsClient::with_interceptor(channel, self.secret.clone());
        Ok(client
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// An answer within its time, or why there is none. A failure that took
    /// long is remembered as silence; a refused connection comes at once.
    async fn answer<A>(
        &self,
        node: u64,
        timeout: Duration,
        answer: impl Future<Output = Result<A, Status>>,
    ) -> Result<A, DataError> {
        let begun = Instant::now();
        let answer = within(node, timeout, answer).await;
        if is_silence(&answer, begun)
            && let Ok(client) = self.any_client(node)
            && locked(&self.silent).insert(node)
        {
            tokio::spawn(until_heard(node, client, Arc::clone(&self.silent)));
        }
        answer
    }

    /// Puts a source chunk on a home; it is synced and journalled there when
    /// this returns.
    ///
    /// # Errors
    /// What the home refuses, or [`DataError::Unreachable`].
    pub async fn put_chunk(
        &self,
        node: u64,
        ticket: &PutTicket,
        number: u64,
        hash: &str,
        data: Bytes,
    ) -> Result<(), DataError> {
        if node == self.node() {
            return self.home.put_chunk(ticket, number, hash, data).await;
        }
        let request = v1::PutChunkRequest {
            job: ticket.job.clone(),
            epoch: ticket.epoch,
            number,
            hash: hash.to_string(),
            data,
            log_index: ticket.log_index,
        };
        let mut client = self.client(node)?;
        self.answer(node, CALL_TIMEOUT, client.put_chunk(request))
            .await?;
        Ok(())
    }

    /// Puts a blob on a home; it is synced there when this returns.
    ///
    /// # Errors
    /// What the home refuses, or [`DataError::Unreachable`].
    pub async fn put(
        &self,
        node: u64,
        ticket: &PutTicket,
        hash: &str,
        bytes: u64,
        payload: Payload,
    ) -> Result<(), DataError> {
        if node == self.node() {
            return match payload {
                Payload::File(path) => self.home.put_file(ticket, hash, bytes, path).await,
                payload => {
                    self.home
                        .put_parts(ticket, hash, bytes, parts_of(payload))
                        .await
                }
            };
        }
        let parts = parts_of(payload);
        let head = v1::PutPart {
            head: Some(v1::PutHead {
                job: ticket.job.clone(),
                epoch: ticket.epoch,
                hash: hash.to_string(),
                bytes,
                log_index: ticket.log_index,
            }),
            data: Bytes::new(),
        };
        let parts = ReceiverStream::new(parts).map(|data| v1::PutPart { head: None, data });
        let stream = futures::stream::iter([head]).chain(parts);
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let timeout = CALL_TIMEOUT.saturating_add(CALL_TIMEOUT_PER_MIB.saturating_mul(mib));
        let mut client = self.client(node)?;
        self.answer(node, timeout, client.put(stream)).await?;
        Ok(())
    }

    /// Reads a range of a blob from a node; `bytes` 0 reads to the end.
    ///
    /// # Errors
    /// What the node refuses, or [`DataError::Unreachable`]; the stream of
    /// parts may end with the same.
    pub async fn read(
        &self,
        node: u64,
        job: &str,
        hash: &str,
        offset: u64,
        bytes: u64,
    ) -> Result<Parts, DataError> {
        if node == self.node() {
            return Ok(self.home.read(job, hash, offset, bytes));
        }
        let request = v1::ReadRequest {
            job: job.to_string(),
            hash: hash.to_string(),
            offset,
            bytes,
        };
        let mut client = self.client(node)?;
        let mut incoming = self
            .answer(node, CALL_TIMEOUT, client.read(request))
            .await?
            .into_inner();
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        tokio::spawn(async move {
            let mut total = 0;
            loop {
                let part = within(node, STALL_TIMEOUT, incoming.message()).await;
                let part = match part {
                    Ok(None) => return,
                    Ok(Some(part)) => {
                        total = if part.total_bytes > 0 {
                            part.total_bytes
                        } else {
                            total
                        };
                        Ok((total, part.data))
                    }
                    Err(error) => Err(error),
                };
                let ended = part.is_err();
                if sender.send(part).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(parts)
    }

    /// The chunks that a home has of a job.
    ///
    /// # Errors
    /// What the home refuses, or [`DataError::Unreachable`].
    pub async fn journal(
        &self,
        node: u64,
        job: &str,
        log_index: u64,
    ) -> Result<BTreeMap<u64, Chunk>, DataError> {
        if node == self.node() {
            return self.home.journal(job, log_index).await;
        }
        let request = v1::JournalRequest {
            job: job.to_string(),
            log_index,
        };
        let mut client = self.client(node)?;
        let mut pages = self
            .answer(node, CALL_TIMEOUT, client.journal(request))
            .await?
            .into_inner();
        let mut chunks = BTreeMap::new();
        while let Some(page) = within(node, STALL_TIMEOUT, pages.message()).await? {
            let page = page.chunks.into_iter();
            chunks.extend(page.map(|chunk| {
                let v1::JournalChunk {
                    number,
                    hash,
                    bytes,
                } = chunk;
                (number, Chunk { hash, bytes })
            }));
        }
        Ok(chunks)
    }

    /// Which of these blobs a node has.
    ///
    /// # Errors
    /// What the node refuses, or [`DataError::Unreachable`].
    pub async fn stat(
        &self,
        node: u64,
        job: &str,
        hashes: Vec<String>,
    ) -> Result<Vec<bool>, DataError> {
        if node == self.node() {
            return self.home.stat(job, hashes).await;
        }
        let request = v1::StatRequest {
            job: job.to_string(),
            hashes,
        };
        let mut client = self.client(node)?;
        Ok(self
            .answer(node, CALL_TIMEOUT, client.stat(request))
            .await?
            .into_inner()
            .present)
    }
}

fn locked(silent: &Silent) -> MutexGuard<'_, BTreeSet<u64>> {
    silent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a call asked at `begun` met a node that hangs: one that is gone
/// refuses the connection, and that is soon known.
fn is_silence<A>(answer: &Result<A, DataError>, begun: Instant) -> bool {
    matches!(answer, Err(DataError::Unreachable { .. })) && begun.elapsed() >= SILENCE_MIN
}

/// Asks a silent node for nothing until it answers or refuses, so that what is
/// meant for it need not find that out by waiting.
async fn until_heard(node: u64, mut client: Client, silent: Silent) {
    let since = Instant::now();
    while since.elapsed() < SILENCE_MAX {
        tokio::time::sleep(SILENCE_PAUSE).await;
        let begun = Instant::now();
        let question = client.stat(v1::StatRequest::default());
        if !is_silence(&within(node, CALL_TIMEOUT, question).await, begun) {
            break;
        }
    }
    locked(&silent).remove(&node);
}

/// An answer within its time, or why there is none.
async fn within<A>(
    node: u64,
    timeout: Duration,
    answer: impl Future<Output = Result<A, Status>>,
) -> Result<A, DataError> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(DataError::from_status(node, &status)),
        Err(_) => Err(DataError::Unreachable {
            node,
            cause: format!("no answer in {} s", timeout.as_secs()),
        }),
    }
}

/// The parts of a payload, a file's read on a thread for that. A file that
/// can't be read ends early, which its hash then shows.
fn parts_of(payload: Payload) -> mpsc::Receiver<Bytes> {
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    match payload {
        Payload::Bytes(mut bytes) => {
            tokio::spawn(async move {
                while !bytes.is_empty() {
                    let part = bytes.split_to(bytes.len().min(PART_BYTES));
                    if sender.send(part).await.is_err() {
                        return;
                    }
                }
            });
        }
        Payload::File(path) => {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = send_file(&path, &sender) {
                    tracing::warn!(path = %path.display(), %error, "a file could not be read for the homes");
                }
            });
        }
    }
    parts
}

fn send_file(path: &std::path::Path, sender: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        (&file).take(PART_BYTES as u64).read_to_end(&mut part)?;
        if part.is_empty() || sender.blocking_send(part.into()).is_err() {
            return Ok(());
        }
    }
}
