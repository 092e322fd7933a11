//! The chunk journal of a home: which chunks of a job's source are here.
//!
//! ```text
//! "RLJN" | format u32 | record ...      record: crc32 u32 | body
//! ```
//! A record is appended when the chunk's blob is on the disk already, and a
//! chunk is acknowledged when its record is too. So a record that can be read
//! is true, whatever became of its neighbours: a torn or rotten one is
//! dropped, wherever it stands, which only means that the chunk is asked for
//! again. After the seal the manifest says the same, and the journal rests.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use crate::blobs::{
    BlobError, check_hash,
    sync::{Failure, GroupSync, sync_folder},
};

const MAGIC: &[u8; 4] = b"RLJN";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 8;
/// A record's body in format 1: number, hash and size.
const BODY_BYTES: usize = 8 + 32 + 4;
const RECORD_BYTES: usize = 4 + BODY_BYTES;

/// The body of a record in format 1. Frozen: bincode does not evolve.
#[derive(Serialize, Deserialize)]
struct RecordV1 {
    number: u64,
    hash: [u8; 32],
    bytes: u32,
}

/// A chunk that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its BLAKE3 in lower-case hex.
    pub hash: String,
    /// Its size.
    pub bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    hash: blake3::Hash,
    bytes: u32,
}

/// The journal of one job on this disk. Blocking: to be used on a thread for
/// that.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    job: String,
    failure: Arc<Failure>,
    open: Mutex<Open>,
    group: GroupSync,
}

#[derive(Debug)]
struct Open {
    file: File,
    held: BTreeMap<u64, Held>,
}

impl Journal {
    /// Opens a journal, or begins one. Records that can't be read are dropped.
    ///
    /// # Errors
    /// [`BlobError::NewerFormat`], [`BlobError::Io`] and
    /// [`BlobError::SyncFailed`].
    pub(crate) fn open(path: &Path, job: &str, failure: Arc<Failure>) -> Result<Self, BlobError> {
        failure.check(path)?;
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(BlobError::io("read", path)(error)),
        };
        let (held, whole) = replay(&bytes, path)?;
        if !whole {
            rewrite(path, &held, &failure)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(BlobError::io("open", path))?;
        Ok(Journal {
            path: path.to_path_buf(),
            job: job.to_string(),
            failure,
            open: Mutex::new(Open { file, held }),
            group: GroupSync::default(),
        })
    }

    /// Records a chunk whose blob is on the disk; the record is too when this
    /// returns. A chunk that is recorded already is left as it is.
    ///
    /// # Errors
    /// [`BlobError::ChunkConflict`] if the number has other bytes, and
    /// [`BlobError::SyncFailed`], after which the node must stop.
    pub fn append(&self, number: u64, hash: &str, bytes: u32) -> Result<(), BlobError> {
        check_hash(hash)?;
        self.failure.check(&self.path)?;
        let hash = blake3::Hash::from_hex(hash).expect("a checked hash is hex");
        let held = Held { hash, bytes };
        {
            let mut open = self.lock();
            match open.held.get(&number) {
                Some(known) if *known != held => {
                    return Err(BlobError::ChunkConflict {
                        job: self.job.clone(),
                        number,
                        known: known.hash.to_hex().to_string(),
                        found: hash.to_hex().to_string(),
                    });
                }
                Some(_) => {}
                None => {
                    open.file
                        .write_all(&record(number, held))
                        .map_err(BlobError::io("write", &self.path))?;
                    open.held.insert(number, held);
                }
            }
        }
        // Also for a known one: the append that wrote it may still be syncing.
        self.group.wait(|| {
            let file = self.lock().file.try_clone().map_err(BlobError::io("open", &self.path))?;
            self.failure.check(&self.path)?;
            self.failure.keep(&self.path, file.sync_data())
        })
    }

    /// The chunk of a number, if it is here.
    pub fn get(&self, number: u64) -> Option<Chunk> {
        self.lock().held.get(&number).map(Chunk::from)
    }

    /// All chunks that are here, by number.
    pub fn chunks(&self) -> BTreeMap<u64, Chunk> {
        let open = self.lock();
        open.held.iter().map(|(number, held)| (*number, held.into())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }
}

impl From<&Held> for Chunk {
    fn from(held: &Held) -> Self {
        Chunk {
            hash: held.hash.to_hex().to_string(),
            bytes: held.bytes,
        }
    }
}

fn record(number: u64, held: Held) -> Vec<u8> {
    let body = bincode::serialize(&RecordV1 {
        number,
        hash: *held.hash.as_bytes(),
        bytes: held.bytes,
    })
    .expect("a record of plain numbers has a fixed size");
    debug_assert_eq!(body.len(), BODY_BYTES);
    let mut record = crc32fast::hash(&body).to_le_bytes().to_vec();
    record.extend_from_slice(&body);
    record
}

fn read_record(bytes: &[u8]) -> Option<RecordV1> {
    let (crc, body) = bytes.split_at_checked(4)?;
    if body.len() != BODY_BYTES || crc32fast::hash(body).to_le_bytes() != crc {
        return None;
    }
    bincode::deserialize(body).ok()
}

/// The chunks of a journal's bytes, and whether all of it could be read.
fn replay(bytes: &[u8], path: &Path) -> Result<(BTreeMap<u64, Held>, bool), BlobError> {
    let mut held = BTreeMap::new();
    let Some((head, records)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Ok((held, false));
    };
    let format = u32::from_le_bytes(head[4..].try_into().expect("a head has 8 bytes"));
    if head.starts_with(MAGIC) && format > FORMAT {
        return Err(BlobError::NewerFormat {
            path: path.to_path_buf(),
            found: format,
            newest: FORMAT,
        });
    }
    let mut dropped = 0;
    for bytes in records.chunks(RECORD_BYTES) {
        match read_record(bytes) {
            Some(RecordV1 { number, hash, bytes }) => {
                let hash = blake3::Hash::from_bytes(hash);
                held.insert(number, Held { hash, bytes });
            }
            None => dropped += 1,
        }
    }
    if dropped > 0 {
        tracing::warn!(path = %path.display(), dropped, "dropped unreadable records of a chunk journal");
    }
    Ok((held, dropped == 0 && head.starts_with(MAGIC)))
}

/// Writes a journal anew, with only what could be read.
fn rewrite(path: &Path, held: &BTreeMap<u64, Held>, failure: &Failure) -> Result<(), BlobError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    for (number, held) in held {
        bytes.extend_from_slice(&record(*number, *held));
    }
    let temp = path.with_extension("new");
    fs::write(&temp, &bytes).map_err(BlobError::io("write", &temp))?;
    let file = File::open(&temp).map_err(BlobError::io("open", &temp))?;
    failure.keep(&temp, file.sync_data())?;
    fs::rename(&temp, path).map_err(BlobError::io("name", path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    sync_folder(folder, failure)
}
