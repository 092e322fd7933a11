//! This node's own disk as a home: judges what others put, and does the disk's
//! work on threads that may block. Other nodes' calls and the short way of this
//! node's own both end here, so that both are judged alike.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use reelraft_storage::{
    blobs::{BlobStore, Stored},
    journal::Chunk,
};
use tokio::sync::mpsc;

use super::{
    awaited::Awaited,
    error::DataError,
    limits::{APPLY_WAIT, AWAIT_CHUNK, PART_BYTES, PARTS_AHEAD, STALL_TIMEOUT},
    manifest::chunk_bytes,
    table::Table,
    upkeep::Upkeep,
};

/// What a put relies on.
#[derive(Debug, Clone, Default)]
pub struct PutTicket {
    /// The job.
    pub job: String,
    /// The epoch of its homes that the sender saw.
    pub epoch: u64,
    /// The home applies the log at least this far before it judges.
    pub log_index: u64,
}

/// Parts of a blob as they are read; the first says the blob's whole size.
pub type Parts = mpsc::Receiver<Result<(u64, Bytes), DataError>>;

/// This node's disk and table.
#[derive(Clone)]
pub struct LocalStore {
    pub(super) table: Arc<dyn Table>,
    pub(super) store: BlobStore,
    awaited: Arc<Awaited>,
    upkeep: Arc<Upkeep>,
}

/// Runs disk work on a thread where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| {
        Err(DataError::Internal {
            cause: error.to_string(),
        })
    })
}

impl LocalStore {
    /// A store judged by a table.
    pub fn new(table: Arc<dyn Table>, store: BlobStore, upkeep: Arc<Upkeep>) -> Self {
        LocalStore {
            table,
            store,
            awaited: Arc::default(),
            upkeep,
        }
    }

    /// Has this node check all that it keeps, soon.
    pub fn begin_scrub(&self) {
        self.upkeep.ask_scrub();
    }

    /// Refuses a put that this node must not take; gives the source's size.
    ///
    /// # Errors
    /// [`DataError::Behind`], [`DataError::NoSuchJob`],
    /// [`DataError::JobEnded`], [`DataError::OldEpoch`] and
    /// [`DataError::NotHome`].
    pub async fn judge(&self, ticket: &PutTicket) -> Result<u64, DataError> {
        // The epoch is the log index of the change that made it.
        let index = ticket.log_index.max(ticket.epoch);
        self.reach(index).await?;
        let state = self.table.local();
        let entry = state.job(&ticket.job).ok_or_else(|| DataError::NoSuchJob {
            job: ticket.job.clone(),
        })?;
        let job = &entry.job;
        if !job.state().keeps_bytes() {
            return Err(DataError::JobEnded {
                job: job.id.clone(),
                state: job.state().name(),
            });
        }
        if ticket.epoch != job.epoch {
            return Err(DataError::OldEpoch {
                job: job.id.clone(),
                given: ticket.epoch,
                current: job.epoch,
            });
        }
        if !entry.is_home(self.table.node()) {
            return Err(DataError::NotHome {
                job: job.id.clone(),
                node: self.table.node(),
            });
        }
        Ok(job.source_bytes)
    }

    /// Judges once more, when the bytes are here: under a newer epoch a new
    /// home may have asked this one what it has before they were, and what is
    /// no home any more may have been swept meanwhile.
    async fn judge_again(&self, ticket: &PutTicket) -> Result<(), DataError> {
        self.judge(ticket).await.map(drop)
    }

    /// Waits until the log is applied up to an index.
    ///
    /// # Errors
    /// [`DataError::Behind`].
    pub async fn reach(&self, index: u64) -> Result<(), DataError> {
        self.table
            .wait_applied(index, APPLY_WAIT)
            .await
            .map_err(|problem| DataError::Behind {
                index,
                cause: problem.cause,
            })
    }

    /// Stores a source chunk and journals it; gives the chunks of the job that
    /// are waited for here.
    ///
    /// # Errors
    /// As [`LocalStore::judge`], [`DataError::BadChunk`], and what the store
    /// refuses.
    pub async fn put_chunk(
        &self,
        ticket: &PutTicket,
        number: u64,
        hash: &str,
        data: Bytes,
    ) -> Result<Vec<u64>, DataError> {
        let source_bytes = self.judge(ticket).await?;
        let expected = chunk_bytes(source_bytes, number);
        if expected == 0 || data.len() as u64 != expected {
            return Err(DataError::BadChunk {
                job: ticket.job.clone(),
                number,
                cause: format!("has {} bytes where the source has {expected}", data.len()),
            });
        }
        let (store, job, hash) = (self.store.clone(), ticket.job.clone(), hash.to_string());
        blocking(move || Ok(store.put_chunk(&job, number, &hash, &data)?)).await?;
        self.awaited.came(&ticket.job, number);
        self.judge_again(ticket).await?;
        Ok(self.awaited.of(&ticket.job))
    }

    /// The hash of a source chunk that is here, or comes within a moment. The
    /// answers to puts name it meanwhile.
    ///
    /// # Errors
    /// What the store refuses.
    pub async fn await_chunk(&self, job: &str, number: u64) -> Result<Option<String>, DataError> {
        reelraft_storage::blobs::check_job(job)?;
        let given_up = tokio::time::Instant::now() + AWAIT_CHUNK;
        let mut puts = self.awaited.puts();
        // Before the first look, so that none that comes meanwhile is missed.
        let _waits = self.awaited.enter(job, number);
        loop {
            if !self.takes_chunks(job) {
                return Ok(None);
            }
            let (store, id) = (self.store.clone(), job.to_string());
            let chunk = blocking(move || Ok(store.journal(&id)?.chunk(number)?)).await?;
            if let Some(chunk) = chunk {
                return Ok(Some(chunk.hash));
            }
            let put = tokio::time::timeout_at(given_up, puts.changed()).await;
            if !matches!(put, Ok(Ok(()))) {
                return Ok(None);
            }
        }
    }

    #[cfg(test)]
    pub fn awaited(&self, job: &str) -> Vec<u64> {
        self.awaited.of(job)
    }

    /// Whether this node is a home that may be given chunks of a job: of any
    /// other, no folder is to be made.
    fn takes_chunks(&self, job: &str) -> bool {
        let entry = self.table.local().job(job);
        entry.is_some_and(|entry| {
            entry.job.state().keeps_bytes() && entry.is_read_from(self.table.node())
        })
    }

    /// Stores a blob whose bytes come in parts.
    ///
    /// # Errors
    /// As [`LocalStore::judge`], and what the store refuses.
    pub async fn put_parts(
        &self,
        ticket: &PutTicket,
        hash: &str,
        bytes: u64,
        parts: mpsc::Receiver<Bytes>,
    ) -> Result<(), DataError> {
        self.judge(ticket).await?;
        self.write_parts(&ticket.job, hash, bytes, parts).await?;
        self.judge_again(ticket).await
    }

    /// Stores a file of this machine as a blob, by a second name.
    ///
    /// # Errors
    /// As [`LocalStore::judge`], and what the store refuses.
    pub async fn put_file(
        &self,
        ticket: &PutTicket,
        hash: &str,
        bytes: u64,
        path: PathBuf,
    ) -> Result<(), DataError> {
        self.judge(ticket).await?;
        let (store, job, hash) = (self.store.clone(), ticket.job.clone(), hash.to_string());
        blocking(move || {
            store.check_room(bytes)?;
            store.link_file(&job, &path, &hash)?;
            Ok(())
        })
        .await?;
        self.judge_again(ticket).await
    }

    /// Stores a blob from its parts without judging: for what this node
    /// fetches by itself.
    pub(super) async fn write_parts(
        &self,
        job: &str,
        hash: &str,
        bytes: u64,
        mut parts: mpsc::Receiver<Bytes>,
    ) -> Result<Stored, DataError> {
        let (store, job, hash) = (self.store.clone(), job.to_string(), hash.to_string());
        let name = hash.clone();
        let mut writer = blocking(move || {
            reelraft_storage::blobs::check_hash(&name)?;
            Ok(store.writer(&job, bytes)?)
        })
        .await?;
        // A thread that may block is only held while a part is written: senders
        // that are slow must not use them up.
        while let Some(part) = parts.recv().await {
            writer = blocking(move || {
                writer.write(&part)?;
                Ok(writer)
            })
            .await?;
            if writer.written_bytes() > bytes {
                break;
            }
        }
        blocking(move || Ok(writer.finish(Some(&hash))?)).await
    }

    /// Reads a range of a blob, each block checked; `bytes` 0 reads to the end.
    pub fn read(&self, job: &str, hash: &str, offset: u64, bytes: u64) -> Parts {
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let (store, job, hash) = (self.store.clone(), job.to_string(), hash.to_string());
        tokio::spawn(async move {
            let result = read_parts(store, job, hash, (offset, bytes), &sender).await;
            if let Err(error) = result {
                // A reader that has gone, or takes nothing, needs no error.
                let _ = sender.try_send(Err(error));
            }
        });
        parts
    }

    /// The chunks that this home has of a job, once it has applied the log up
    /// to `log_index`.
    ///
    /// # Errors
    /// [`DataError::Behind`], and what the store refuses.
    pub async fn journal(
        &self,
        job: &str,
        log_index: u64,
    ) -> Result<BTreeMap<u64, Chunk>, DataError> {
        reelraft_storage::blobs::check_job(job)?;
        self.reach(log_index).await?;
        let known = self.table.local().has_job(job);
        if !known {
            return Err(DataError::NoSuchJob {
                job: job.to_string(),
            });
        }
        let (store, job) = (self.store.clone(), job.to_string());
        blocking(move || Ok(store.journal(&job)?.chunks()?)).await
    }

    /// Which of these blobs are here.
    ///
    /// # Errors
    /// What the store refuses.
    pub async fn stat(&self, job: &str, hashes: Vec<String>) -> Result<Vec<bool>, DataError> {
        let (store, job) = (self.store.clone(), job.to_string());
        blocking(move || {
            let present = hashes.iter().map(|hash| store.has(&job, hash));
            Ok(present.collect::<Result<Vec<bool>, _>>()?)
        })
        .await
    }
}

/// Sends the parts of a range. A thread that may block is only held while a
/// part is read: readers that take nothing must not use them up.
async fn read_parts(
    store: BlobStore,
    job: String,
    hash: String,
    (offset, bytes): (u64, u64),
    sender: &mpsc::Sender<Result<(u64, Bytes), DataError>>,
) -> Result<(), DataError> {
    let mut reader = blocking(move || Ok(store.reader(&job, &hash)?)).await?;
    let total = reader.total_bytes();
    let end = if bytes == 0 {
        total
    } else {
        total.min(offset.saturating_add(bytes))
    };
    let mut at = offset;
    loop {
        // Up to the next boundary, so that each block is hashed once.
        let to = end.min((at / PART_BYTES as u64 + 1) * PART_BYTES as u64);
        let wanted = to.saturating_sub(at) as usize;
        let part;
        (reader, part) = blocking(move || {
            let part = reader.read(at, wanted)?;
            Ok((reader, part))
        })
        .await?;
        at += part.len() as u64;
        let sent = sender
            .send_timeout(Ok((total, part.into())), STALL_TIMEOUT)
            .await;
        if sent.is_err() || at >= end {
            return Ok(());
        }
    }
}
