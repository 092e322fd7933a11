//! The disks of all nodes, this one's included: a call for this node takes the
//! short way, one for another goes through the [`HomeTransport`].
//!
//! Which homes to ask, and what to do when one fails, is decided elsewhere;
//! how a call crosses the wire, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use reelraft_storage::journal::Chunk;
use tokio::{sync::mpsc, time::Instant};

use super::{
    error::DataError,
    limits::{
        CALL_TIMEOUT, CALL_TIMEOUT_PER_MIB, PART_BYTES, PARTS_AHEAD, SILENCE_MAX, SILENCE_MIN,
        SILENCE_PAUSE,
    },
    local_store::{LocalStore, Parts, PutTicket, blocking},
};

/// Where the bytes of a put come from.
#[derive(Debug, Clone)]
pub enum Payload {
    /// From memory.
    Bytes(Bytes),
    /// From a file, which stays as it is.
    File(PathBuf),
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: u64,
    /// Where it listens, as `host:port`.
    pub address: String,
}

/// An answer that is on its way.
pub type Answer<T> = BoxFuture<'static, Result<T, DataError>>;

/// How another node's disk is reached. The methods answer what that node's
/// [`LocalStore`] does; a refusal of its own is [`DataError::Refused`], and
/// a call that nobody judged is [`DataError::Unreachable`].
pub trait HomeTransport: Send + Sync + 'static {
    /// Puts a source chunk; it is synced and journalled when this returns. The
    /// answer is which chunks of the job somebody waits for there.
    fn put_chunk(
        &self,
        to: &Peer,
        ticket: &PutTicket,
        number: u64,
        hash: &str,
        data: Bytes,
    ) -> Answer<Vec<u64>>;

    /// The hash of a source chunk, if the node has it or is given it soon.
    fn await_chunk(&self, of: &Peer, job: &str, number: u64) -> Answer<Option<String>>;

    /// Puts a blob of `bytes` bytes; it is synced when this returns.
    fn put(
        &self,
        to: &Peer,
        ticket: &PutTicket,
        hash: &str,
        bytes: u64,
        parts: mpsc::Receiver<Bytes>,
    ) -> Answer<()>;

    /// Begins to read a range of a blob; `bytes` 0 reads to the end. The
    /// parts may end with an error.
    fn read(&self, from: &Peer, job: &str, hash: &str, offset: u64, bytes: u64) -> Answer<Parts>;

    /// The chunks that the node has of a job, once it has applied the log up
    /// to `log_index`.
    fn journal(&self, of: &Peer, job: &str, log_index: u64) -> Answer<BTreeMap<u64, Chunk>>;

    /// Which of these blobs the node has.
    fn stat(&self, of: &Peer, job: &str, hashes: Vec<String>) -> Answer<Vec<bool>>;

    /// Has the node check all that it keeps, soon.
    fn begin_scrub(&self, of: &Peer) -> Answer<()>;
}

/// The disks of all nodes.
pub struct HomePeers {
    local: LocalStore,
    transport: Arc<dyn HomeTransport>,
    /// The nodes that took a call, did not answer it, and were not heard since.
    /// The kernel of a machine whose programs hang still takes connections, so
    /// that every call would wait anew, and with it every slot of the others.
    silent: Silent,
}

type Silent = Arc<Mutex<BTreeSet<u64>>>;

impl HomePeers {
    /// Nothing is connected before it is used.
    pub fn new(local: LocalStore, transport: Arc<dyn HomeTransport>) -> Self {
        HomePeers {
            local,
            transport,
            silent: Silent::default(),
        }
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.local.table.node()
    }

    /// A node that is not silent.
    fn peer(&self, node: u64) -> Result<Peer, DataError> {
        if locked(&self.silent).contains(&node) {
            return Err(DataError::Unreachable {
                node,
                cause: "it did not answer just now".to_string(),
            });
        }
        let address = self.local.table.address(node);
        let address = address.ok_or_else(|| DataError::Unreachable {
            node,
            cause: "it is not a member".to_string(),
        })?;
        Ok(Peer { node, address })
    }

    /// An answer within its time, or why there is none. A failure that took
    /// long is remembered as silence; a refused connection comes at once.
    async fn answered<T>(
        &self,
        peer: Peer,
        timeout: Duration,
        answer: Answer<T>,
    ) -> Result<T, DataError> {
        let asked_at = Instant::now();
        let answer = within(peer.node, timeout, answer).await;
        self.note_silence(peer, &answer, asked_at);
        answer
    }

    fn note_silence<T>(&self, peer: Peer, answer: &Result<T, DataError>, asked_at: Instant) {
        if is_silence(answer, asked_at) && locked(&self.silent).insert(peer.node) {
            let (transport, silent) = (Arc::clone(&self.transport), Arc::clone(&self.silent));
            tokio::spawn(until_heard(peer, transport, silent));
        }
    }

    /// Puts a source chunk on a home; it is synced and journalled there when
    /// this returns. Gives the chunks of the job that somebody waits for there.
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
    ) -> Result<Vec<u64>, DataError> {
        if node == self.node() {
            return self.local.put_chunk(ticket, number, hash, data).await;
        }
        let peer = self.peer(node)?;
        let answer = self.transport.put_chunk(&peer, ticket, number, hash, data);
        self.answered(peer, CALL_TIMEOUT, answer).await
    }

    /// The hash of a source chunk, if a home has it or is given it soon. The
    /// upload asks its client for it next.
    ///
    /// # Errors
    /// What the home refuses, or [`DataError::Unreachable`].
    pub async fn await_chunk(
        &self,
        node: u64,
        job: &str,
        number: u64,
    ) -> Result<Option<String>, DataError> {
        if node == self.node() {
            return self.local.await_chunk(job, number).await;
        }
        let peer = self.peer(node)?;
        let answer = self.transport.await_chunk(&peer, job, number);
        self.answered(peer, CALL_TIMEOUT, answer).await
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
                Payload::File(path) => self.local.put_file(ticket, hash, bytes, path).await,
                payload => {
                    let parts = parts_of(payload);
                    self.local.put_parts(ticket, hash, bytes, parts).await
                }
            };
        }
        let peer = self.peer(node)?;
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        let timeout = CALL_TIMEOUT.saturating_add(CALL_TIMEOUT_PER_MIB.saturating_mul(mib));
        let parts = parts_of(payload);
        let answer = self.transport.put(&peer, ticket, hash, bytes, parts);
        self.answered(peer, timeout, answer).await
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
            return Ok(self.local.read(job, hash, offset, bytes));
        }
        let peer = self.peer(node)?;
        let answer = self.transport.read(&peer, job, hash, offset, bytes);
        self.answered(peer, CALL_TIMEOUT, answer).await
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
            return self.local.journal(job, log_index).await;
        }
        let peer = self.peer(node)?;
        // A long one may take its time: the transport bounds each page.
        let asked_at = Instant::now();
        let answer = self.transport.journal(&peer, job, log_index).await;
        self.note_silence(peer, &answer, asked_at);
        answer
    }

    /// Has a node check all that it keeps, soon.
    ///
    /// # Errors
    /// [`DataError::Unreachable`].
    pub async fn begin_scrub(&self, node: u64) -> Result<(), DataError> {
        if node == self.node() {
            self.local.begin_scrub();
            return Ok(());
        }
        let peer = self.peer(node)?;
        let answer = self.transport.begin_scrub(&peer);
        self.answered(peer, CALL_TIMEOUT, answer).await
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
            return self.local.stat(job, hashes).await;
        }
        let peer = self.peer(node)?;
        let answer = self.transport.stat(&peer, job, hashes);
        self.answered(peer, CALL_TIMEOUT, answer).await
    }
}

fn locked(silent: &Silent) -> MutexGuard<'_, BTreeSet<u64>> {
    silent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a call met a node that hangs: one that is gone refuses the
/// connection, and that is soon known.
fn is_silence<T>(answer: &Result<T, DataError>, asked_at: Instant) -> bool {
    matches!(answer, Err(DataError::Unreachable { .. })) && asked_at.elapsed() >= SILENCE_MIN
}

/// Asks a silent node for nothing until it answers or refuses, so that what is
/// meant for it need not find that out by waiting.
async fn until_heard(peer: Peer, transport: Arc<dyn HomeTransport>, silent: Silent) {
    let since = Instant::now();
    while since.elapsed() < SILENCE_MAX {
        tokio::time::sleep(SILENCE_PAUSE).await;
        let asked_at = Instant::now();
        let question = transport.stat(&peer, "", Vec::new());
        if !is_silence(&within(peer.node, CALL_TIMEOUT, question).await, asked_at) {
            break;
        }
    }
    locked(&silent).remove(&peer.node);
}

/// An answer within its time, or why there is none.
async fn within<T>(node: u64, timeout: Duration, answer: Answer<T>) -> Result<T, DataError> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer,
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
            tokio::spawn(async move {
                if let Err(error) = send_file(&path, &sender).await {
                    tracing::warn!(path = %path.display(), %error, "a file could not be read for the homes");
                }
            });
        }
    }
    parts
}

/// Sends a file in parts. A thread that may block is only held while one is
/// read: homes that take nothing must not use them up.
async fn send_file(path: &Path, sender: &mpsc::Sender<Bytes>) -> Result<(), DataError> {
    let unread = |error: std::io::Error| DataError::Internal {
        cause: error.to_string(),
    };
    let path = path.to_path_buf();
    let mut file = blocking(move || File::open(path).map_err(unread)).await?;
    loop {
        let part;
        (file, part) = blocking(move || {
            let mut part = Vec::with_capacity(PART_BYTES);
            let mut rest = file.take(PART_BYTES as u64);
            rest.read_to_end(&mut part).map_err(unread)?;
            Ok((rest.into_inner(), part))
        })
        .await?;
        if part.is_empty() || sender.send(part.into()).await.is_err() {
            return Ok(());
        }
    }
}
