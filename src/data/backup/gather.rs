//! Makes a backup while the cluster goes on.
//!
//! Bytes may go while they are copied, as when a job ends whose source is read. So
//! the jobs are looked at again after each round, until one was found whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost::Message;
use reelraft_model::{BackupBlobs, BackupMedia, JobEntry, JobState, State, home_rules::sources};
use reelraft_storage::{ArchiveWriter, TableHash};
use tokio::sync::mpsc;

use super::{
    format::{
        BLOB, BLOB_END, Blob, BlobEnd, FORMAT_NEWEST, HEAD, Head, PIECE, ROWS, Row, Rows, TABLE,
        Table,
    },
    held::Held,
    messages::{BackupDone, BackupGap, BackupPart},
};
use crate::data::{
    DataError,
    limits::{BACKUP_AHEAD, BACKUP_ROUNDS_MAX, BACKUP_ROWS_BYTES, PART_BYTES},
    manifest::Manifest,
    plane::DataPlane,
};

/// About how large a backup is: the bytes of the films and sources that go into it.
pub fn backup_bytes(state: &State, media: BackupMedia) -> u64 {
    let wanted = state.jobs().filter(|entry| belongs(entry, media));
    let bytes = wanted.map(|entry| match entry.backup_blobs().source {
        true => entry.job.source_bytes,
        false => entry.job.output_bytes,
    });
    bytes.sum()
}

/// Whether a job's bytes go into a backup.
fn belongs(entry: &JobEntry, media: BackupMedia) -> bool {
    let wanted = match media {
        BackupMedia::None => false,
        BackupMedia::Outputs => entry.job.state() == JobState::Succeeded,
        BackupMedia::All => true,
    };
    wanted && !entry.backup_blobs().blobs.is_empty()
}

/// Sends a backup in pieces, until it is done or nobody takes it any more.
pub fn gather(
    data: Arc<DataPlane>,
    media: BackupMedia,
    (cluster_id, unix_ms): (String, u64),
) -> mpsc::Receiver<Result<BackupPart, DataError>> {
    let (sender, parts) = mpsc::channel(BACKUP_AHEAD);
    let head = Head {
        format: FORMAT_NEWEST,
        cluster_id,
        unix_ms,
        version: env!("CARGO_PKG_VERSION").into(),
        media: media.name().into(),
    };
    tokio::spawn(async move {
        let refusals = sender.clone();
        let mut gathering = Gathering::new(data, media, sender);
        match gathering.all(&head).await {
            Ok(()) | Err(Stopped::Unread) => {}
            Err(Stopped::Refused(error)) => drop(refusals.send(Err(error)).await),
        }
    });
    parts
}

/// Why no more is sent.
enum Stopped {
    /// Its reader is gone.
    Unread,
    Refused(DataError),
}

impl From<DataError> for Stopped {
    fn from(error: DataError) -> Self {
        Stopped::Refused(error)
    }
}

struct Gathering {
    data: Arc<DataPlane>,
    media: BackupMedia,
    sender: mpsc::Sender<Result<BackupPart, DataError>>,
    writer: ArchiveWriter,
    hasher: blake3::Hasher,
    held: Held,
    /// Why bytes of a job could not be had, as of the last look.
    gaps: BTreeMap<String, String>,
}

impl Gathering {
    fn new(
        data: Arc<DataPlane>,
        media: BackupMedia,
        sender: mpsc::Sender<Result<BackupPart, DataError>>,
    ) -> Self {
        Gathering {
            data,
            media,
            sender,
            writer: ArchiveWriter::default(),
            hasher: blake3::Hasher::new(),
            held: Held::default(),
            gaps: BTreeMap::new(),
        }
    }

    async fn all(&mut self, head: &Head) -> Result<(), Stopped> {
        let (writer, begin) = ArchiveWriter::begin();
        self.writer = writer;
        self.send(begin).await?;
        self.put(HEAD, &head.encode_to_vec()).await?;
        let mut round = 1;
        let (state, index, whole) = loop {
            // Once more after the first, which may have taken hours.
            let (state, index) = self.table().await?;
            let (copied, whole) = self.copy_jobs(&state).await?;
            let settled = self.gaps.is_empty() && (copied == 0 || round > 1);
            if settled || round == BACKUP_ROUNDS_MAX {
                break (state, index, whole);
            }
            round += 1;
        };
        let table = self.put_table(&state, index).await?;
        let end = std::mem::take(&mut self.writer).end();
        self.send(end).await?;
        let gaps = std::mem::take(&mut self.gaps).into_iter();
        let done = BackupDone {
            hash: self.hasher.finalize().to_hex().to_string(),
            bytes: self.hasher.count(),
            index,
            table_hash: table,
            jobs: state.jobs_count() as u64,
            jobs_whole: whole,
            gaps: gaps.map(|(job, cause)| BackupGap { job, cause }).collect(),
        };
        let done = BackupPart::Done(Box::new(done));
        let sent = self.sender.send(Ok(done)).await;
        sent.map_err(|_| Stopped::Unread)
    }

    /// The table as everybody knows it by now, and the index that it is of.
    async fn table(&self) -> Result<(Arc<State>, u64), Stopped> {
        let table = &self.data.table;
        let read = table.read().await;
        read.map_err(|problem| Stopped::Refused(DataError::Table(problem)))?;
        Ok(table.local_at())
    }

    /// Copies what is not in the file yet; how many blobs that were, and how many jobs
    /// are whole now.
    async fn copy_jobs(&mut self, state: &State) -> Result<(u64, u64), Stopped> {
        self.gaps.clear();
        // Each look at what they keep costs the patience of a read.
        let mut silent = BTreeSet::new();
        let (mut copied, mut whole) = (0, 0);
        for entry in state.jobs() {
            if !belongs(&entry, self.media) {
                continue;
            }
            let needs = entry.backup_blobs();
            let mut homes = sources(&entry.job).peekable();
            if homes.peek().is_some() && homes.all(|home| silent.contains(&home)) {
                let cause = "its homes can't be reached".to_string();
                self.gaps.insert(entry.job.id.clone(), cause);
                continue;
            }
            match self.copy_job(&entry, &needs).await {
                Ok(blobs) => {
                    copied += blobs;
                    whole += 1;
                }
                Err(Stopped::Refused(error)) => {
                    self.gaps.insert(entry.job.id.clone(), error.to_string());
                    // A sign of life: whoever reads takes long silence for the end.
                    self.put(ROWS, &[]).await?;
                    if error.is_out_of_reach() {
                        let found = self.data.silent_homes(&entry, &needs.blobs[0]).await;
                        silent.extend(found);
                    }
                }
                Err(unread) => return Err(unread),
            }
        }
        Ok((copied, whole))
    }

    async fn copy_job(&mut self, entry: &JobEntry, needs: &BackupBlobs) -> Result<u64, Stopped> {
        let mut copied = 0;
        for hash in &needs.blobs {
            copied += u64::from(self.copy_blob(entry, hash).await?);
        }
        for hash in &needs.beside {
            match self.copy_blob(entry, hash).await {
                Ok(new) => copied += u64::from(new),
                // The film is whole without it, and the rest of it is of no use.
                Err(Stopped::Refused(_)) => {
                    self.put(ROWS, &[]).await?;
                    break;
                }
                Err(unread) => return Err(unread),
            }
        }
        if let Some(manifest) = needs.blobs.first().filter(|_| needs.source) {
            let bytes = self.data.read_whole(entry, manifest).await?;
            for chunk in Manifest::decode(manifest, &bytes)?.chunks() {
                copied += u64::from(self.copy_blob(entry, &chunk).await?);
            }
        }
        Ok(copied)
    }

    /// Copies a blob, if it is not in the file yet; whether it was not.
    async fn copy_blob(&mut self, entry: &JobEntry, hash: &str) -> Result<bool, Stopped> {
        let job = &entry.job.id;
        if self.held.has(job, hash) {
            return Ok(false);
        }
        let blob = Blob {
            job: job.clone(),
            hash: hash.to_string(),
        };
        // Nothing is begun of what can't be had.
        let first = match entry.job.output_hash == hash {
            true => {
                self.data
                    .read_range(entry, hash, 0, PART_BYTES as u64)
                    .await?
            }
            false => self.data.read_whole(entry, hash).await?,
        };
        self.put(BLOB, &blob.encode_to_vec()).await?;
        let copied = self.copy_bytes(entry, hash, first).await;
        let end = BlobEnd {
            whole: copied.is_ok(),
        };
        self.put(BLOB_END, &end.encode_to_vec()).await?;
        copied?;
        self.held.insert(job, hash);
        Ok(true)
    }

    /// The bytes of a blob, of which the first are known: all of a small one.
    async fn copy_bytes(
        &mut self,
        entry: &JobEntry,
        hash: &str,
        first: Vec<u8>,
    ) -> Result<(), Stopped> {
        let total = match entry.job.output_hash == hash {
            true => entry.job.output_bytes,
            false => first.len() as u64,
        };
        let mut found = blake3::Hasher::new();
        let mut next = first;
        loop {
            found.update(&next);
            for piece in next.chunks(PART_BYTES) {
                self.put(PIECE, piece).await?;
            }
            let at = found.count();
            if at >= total {
                break;
            }
            let bytes = (total - at).min(PART_BYTES as u64);
            next = self.data.read_range(entry, hash, at, bytes).await?;
            if next.is_empty() {
                return Err(Stopped::Refused(DataError::Internal {
                    cause: format!("blob {hash} ends at {at} of {total} bytes"),
                }));
            }
        }
        match found.finalize().to_hex().as_str() == hash {
            true => Ok(()),
            false => Err(Stopped::Refused(DataError::Internal {
                cause: format!("blob {hash} was read with other bytes"),
            })),
        }
    }

    /// The rows, and what they are of; the table's hash.
    async fn put_table(&mut self, state: &State, index: u64) -> Result<String, Stopped> {
        let mut count = 0;
        let mut batch = Rows::default();
        let mut bytes = 0;
        // Each batch is hashed as it goes: all rows at once may be gigabytes.
        let mut hash = TableHash::default();
        for (key, value) in state.rows() {
            count += 1;
            hash.add_row(&key, &value);
            bytes += key.len() + value.len();
            batch.rows.push(Row { key, value });
            if bytes >= BACKUP_ROWS_BYTES {
                self.put(ROWS, &batch.encode_to_vec()).await?;
                batch.rows.clear();
                bytes = 0;
            }
        }
        self.put(ROWS, &batch.encode_to_vec()).await?;
        let table = Table {
            index,
            rows: count,
            hash: hash.to_string(),
        };
        self.put(TABLE, &table.encode_to_vec()).await?;
        Ok(table.hash)
    }

    async fn put(&mut self, kind: u8, payload: &[u8]) -> Result<(), Stopped> {
        let bytes = self.writer.record(kind, payload);
        self.send(bytes).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.hasher.update(&bytes);
        let part = Ok(BackupPart::Bytes(bytes.into()));
        self.sender.send(part).await.map_err(|_| Stopped::Unread)
    }
}
