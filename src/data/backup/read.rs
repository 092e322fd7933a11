//! Reads a backup: all of it is checked before anything is made of it.

use std::{
    collections::{HashMap, HashSet},
    io::{BufReader, Read},
    sync::Arc,
};

use prost::Message;
use reelraft_model::{InBackup, JobEntry, Problem, State, limits::FEATURE_LEVEL};
use reelraft_storage::{
    ArchiveError, ArchiveReader, StorageError, TableHash,
    blobs::{BlobError, BlobStore, check_hash, check_job},
};

use super::{
    file::BackupFile,
    format::{
        BLOB, BLOB_END, Blob, BlobEnd, FORMAT_NEWEST, HEAD, Head, PIECE, ROWS, Rows, TABLE, Table,
    },
    held::Held,
};
use crate::data::{
    limits::{RESTORE_READ_BYTES, WHOLE_BYTES_MAX},
    manifest::Manifest,
};

/// Why a backup is refused.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{name} {error}")]
    File { name: String, error: ArchiveError },
    /// Its records are whole, and make no sense.
    #[error("{name} is no whole backup: {cause}")]
    Bad { name: String, cause: String },
    #[error("{name} was made by a later version: {cause}")]
    Newer { name: String, cause: String },
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl BackupError {
    /// The refusal as users see it.
    pub fn problem(&self) -> Problem {
        let (kind, hint) = match self {
            BackupError::File {
                error: ArchiveError::Io(_),
                ..
            } => (
                "source-unfit",
                "check the file's name, its permissions and its disk",
            ),
            BackupError::File {
                error: ArchiveError::Truncated { .. },
                ..
            } => (
                "backup-truncated",
                "copy the file again, or take another backup; nothing was restored",
            ),
            BackupError::File { .. } | BackupError::Bad { .. } => (
                "backup-damaged",
                "copy the file again, or take another backup; nothing was restored",
            ),
            BackupError::Newer { .. } => {
                ("newer-format", "restore it with the program that made it")
            }
            BackupError::Blobs(error) => (error.kind(), error.hint()),
            BackupError::Storage(error) => (error.kind(), error.hint()),
        };
        Problem::new(kind, self.to_string(), hint)
    }
}

/// A whole and checked backup.
#[derive(Debug)]
pub struct Backup {
    file: Arc<dyn BackupFile>,
    pub cluster_id: String,
    /// When it was begun.
    pub unix_ms: u64,
    /// The program that made it.
    pub version: String,
    /// Which bytes were asked for.
    pub media: String,
    /// The last log index that is in its table.
    pub index: u64,
    pub table_hash: String,
    pub state: State,
    /// Bytes of whole blobs.
    pub blob_bytes: u64,
    held: Held,
    /// Jobs whose sources are in it, with all their chunks.
    sources: HashSet<String>,
}

/// The blob that is being read.
struct Current {
    blob: Blob,
    hasher: blake3::Hasher,
    /// Where its record begins.
    at: u64,
    /// Whether it begins as a manifest does.
    manifest: bool,
}

/// What is gathered on the way.
struct Reading {
    file: Arc<dyn BackupFile>,
    head: Option<Head>,
    table: Option<Table>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    current: Option<Current>,
    held: Held,
    /// Where blobs begin that may be manifests. They are read once the table says which
    /// of them are: what a client sent may look like one, a gigabyte of it too.
    manifests: HashMap<String, u64>,
    blob_bytes: u64,
}

type Records = ArchiveReader<BufReader<Box<dyn Read>>>;

fn unreadable(file: &dyn BackupFile) -> impl Fn(ArchiveError) -> BackupError {
    move |error| BackupError::File {
        name: file.name(),
        error,
    }
}

fn opened_at(file: &dyn BackupFile, at: u64) -> Result<BufReader<Box<dyn Read>>, BackupError> {
    let opened = file.open_at(at);
    let opened = opened.map_err(|error| unreadable(file)(error.into()))?;
    Ok(BufReader::with_capacity(RESTORE_READ_BYTES, opened))
}

fn records(file: &dyn BackupFile) -> Result<Records, BackupError> {
    ArchiveReader::begin(opened_at(file, 0)?).map_err(unreadable(file))
}

/// The bytes of the blob whose record begins there, of a file that was checked before.
fn blob_at(file: &dyn BackupFile, at: u64) -> Result<Vec<u8>, BackupError> {
    let refused = unreadable(file);
    let mut records = ArchiveReader::at_record(opened_at(file, at)?, at);
    let mut bytes = Vec::new();
    while let Some((kind, payload)) = records.next_record().map_err(&refused)? {
        match kind {
            BLOB if bytes.is_empty() => {}
            PIECE if ((bytes.len() + payload.len()) as u64) < WHOLE_BYTES_MAX => {
                bytes.extend_from_slice(&payload);
            }
            _ => break,
        }
    }
    Ok(bytes)
}

impl Backup {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// [`BackupError`]: of what is cut, damaged or of a later version nothing is taken.
    pub fn read(file: Arc<dyn BackupFile>) -> Result<Self, BackupError> {
        let mut reading = Reading {
            file: file.clone(),
            head: None,
            table: None,
            rows: Vec::new(),
            current: None,
            held: Held::default(),
            manifests: HashMap::new(),
            blob_bytes: 0,
        };
        let mut records = records(&*file)?;
        let failed = unreadable(&*file);
        loop {
            let at = records.at();
            let Some((kind, payload)) = records.next_record().map_err(&failed)? else {
                break;
            };
            reading.take(at, kind, &payload)?;
        }
        reading.finish()
    }

    /// Whether a job's bytes are in it: all that it needs, and what comes along.
    pub fn has_bytes_of(&self, entry: &JobEntry) -> InBackup {
        let (needs, job) = (entry.backup_blobs(), &entry.job.id);
        let source = !needs.source || self.sources.contains(job);
        let has = |blobs: &[String]| blobs.iter().all(|hash| self.held.has(job, hash));
        InBackup {
            whole: source && has(&needs.blobs),
            beside: has(&needs.beside),
        }
    }

    /// Puts the blobs of those jobs into a store of which `wanted` says so.
    ///
    /// # Errors
    /// What the disk refuses, and [`BackupError::File`] where the file has changed.
    pub fn put_blobs(
        &self,
        store: &BlobStore,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), BackupError> {
        store.check_room(self.blob_bytes)?;
        let mut writing = None;
        let mut records = records(&*self.file)?;
        let failed = unreadable(&*self.file);
        while let Some((kind, payload)) = records.next_record().map_err(&failed)? {
            match kind {
                BLOB => {
                    let blob: Blob = decoded(&*self.file, &payload)?;
                    writing = match wanted(&blob.job) && self.held.has(&blob.job, &blob.hash) {
                        true => Some((store.writer(&blob.job, 0)?, blob.hash)),
                        false => None,
                    };
                }
                PIECE => {
                    if let Some((writer, _)) = &mut writing {
                        writer.write(&payload)?;
                    }
                }
                BLOB_END => {
                    let end: BlobEnd = decoded(&*self.file, &payload)?;
                    // What was broken off came again later.
                    if let Some((writer, hash)) = writing.take().filter(|_| end.whole) {
                        writer.finish(Some(&hash))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn decoded<M: Message + Default>(file: &dyn BackupFile, payload: &[u8]) -> Result<M, BackupError> {
    M::decode(payload).map_err(|error| BackupError::Bad {
        name: file.name(),
        cause: format!("a record can't be read: {error}"),
    })
}

impl Reading {
    fn bad<T>(&self, cause: &str) -> Result<T, BackupError> {
        Err(BackupError::Bad {
            name: self.file.name(),
            cause: cause.to_string(),
        })
    }

    fn newer<T>(&self, cause: String) -> Result<T, BackupError> {
        Err(BackupError::Newer {
            name: self.file.name(),
            cause,
        })
    }

    fn take(&mut self, at: u64, kind: u8, payload: &[u8]) -> Result<(), BackupError> {
        if self.head.is_none() != (kind == HEAD) {
            return self.bad("it has not one head");
        }
        match kind {
            HEAD => {
                let head: Head = decoded(&*self.file, payload)?;
                if head.format > FORMAT_NEWEST {
                    let found = head.format;
                    return self.newer(format!(
                        "format {found}, and this one reads {FORMAT_NEWEST}"
                    ));
                }
                self.head = Some(head);
            }
            BLOB => {
                let blob: Blob = decoded(&*self.file, payload)?;
                if check_job(&blob.job).is_err() || check_hash(&blob.hash).is_err() {
                    return self.bad("a blob has no name");
                }
                self.current = Some(Current {
                    blob,
                    hasher: blake3::Hasher::new(),
                    at,
                    manifest: false,
                });
            }
            PIECE => return self.take_piece(payload),
            BLOB_END => {
                let end: BlobEnd = decoded(&*self.file, payload)?;
                return self.end_blob(end.whole);
            }
            ROWS => {
                let rows: Rows = decoded(&*self.file, payload)?;
                let rows = rows.rows.into_iter();
                self.rows.extend(rows.map(|row| (row.key, row.value)));
            }
            TABLE if self.table.is_none() => self.table = Some(decoded(&*self.file, payload)?),
            _ => return self.newer(format!("it has a record of kind {kind}")),
        }
        Ok(())
    }

    fn take_piece(&mut self, payload: &[u8]) -> Result<(), BackupError> {
        let Some(current) = &mut self.current else {
            return self.bad("bytes of no blob");
        };
        current.hasher.update(payload);
        let first = current.hasher.count() == payload.len() as u64;
        current.manifest |= first && Manifest::begins(payload);
        Ok(())
    }

    fn end_blob(&mut self, whole: bool) -> Result<(), BackupError> {
        let Some(current) = self.current.take() else {
            return self.bad("the end of no blob");
        };
        if !whole {
            return Ok(());
        }
        let Blob { job, hash } = current.blob;
        if current.hasher.finalize().to_hex().as_str() != hash {
            return self.bad("the bytes of a blob are not those of its name");
        }
        if current.manifest && current.hasher.count() < WHOLE_BYTES_MAX {
            self.manifests.insert(hash.clone(), current.at);
        }
        if self.held.insert(&job, &hash) {
            self.blob_bytes += current.hasher.count();
        }
        Ok(())
    }

    /// The jobs of a table whose sources are here whole.
    fn sources(&self, state: &State) -> Result<HashSet<String>, BackupError> {
        let mut whole = HashSet::new();
        for entry in state.jobs() {
            let (needs, job) = (entry.backup_blobs(), &entry.job.id);
            let Some(hash) = needs.blobs.first().filter(|_| needs.source) else {
                continue;
            };
            let Some(&at) = self.manifests.get(hash) else {
                continue;
            };
            let bytes = blob_at(&*self.file, at)?;
            // A file that was changed since it was checked is found by this, too.
            if blake3::hash(&bytes).to_hex().as_str() != hash {
                return self.bad("the bytes of a blob are not those of its name");
            }
            if let Ok(manifest) = Manifest::decode(hash, &bytes) {
                let chunks = manifest.into_chunks();
                let mut chunks = chunks.iter().map(blake3::Hash::to_hex);
                if chunks.all(|chunk| self.held.has(job, &chunk)) {
                    whole.insert(job.clone());
                }
            }
        }
        Ok(whole)
    }

    fn finish(mut self) -> Result<Backup, BackupError> {
        let (Some(head), Some(table)) = (&self.head, &self.table) else {
            return self.bad("it has no table");
        };
        let mut hash = TableHash::default();
        for (key, value) in &self.rows {
            hash.add_row(key, value);
        }
        if self.rows.len() as u64 != table.rows || hash.to_string() != table.hash {
            return self.bad("its rows are not those of the table that was backed up");
        }
        let (head, table) = (head.clone(), table.clone());
        let (file, name) = (self.file.clone(), self.file.name());
        let state = match State::from_rows(std::mem::take(&mut self.rows)) {
            Ok(state) => state,
            Err(error) => {
                let cause = format!("its table can't be read: {error}");
                return Err(BackupError::Newer { name, cause });
            }
        };
        let level = state.feature_level();
        if level > FEATURE_LEVEL {
            let cause =
                format!("its table is of level {level}, and this one reads {FEATURE_LEVEL}");
            return Err(BackupError::Newer { name, cause });
        }
        let sources = self.sources(&state)?;
        Ok(Backup {
            file,
            cluster_id: head.cluster_id,
            unix_ms: head.unix_ms,
            version: head.version,
            media: head.media,
            index: table.index,
            table_hash: table.hash,
            state,
            blob_bytes: self.blob_bytes,
            held: self.held,
            sources,
        })
    }
}
