//! The chunk journal of a home: which chunks of a job's source are here.
//!
//! ```text
//! "RLJN" | format u32 | record ...      record: crc32 u32 | body
//! ```
//! A record is appended once the chunk's blob is on the disk, and a chunk is
//! acknowledged once its record is on the disk too. So a readable record is
//! true, whatever happened to its neighbours. A torn or damaged one is dropped,
//! wherever it is, and its chunk is asked for again. After the seal the
//! manifest says the same, and the journal is not written any more.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    error::BlobError,
    names::check_hash,
    sync::{Failure, GroupSync, sync_folder},
    usage::Usage,
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

/// A chunk on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// BLAKE3 in lower-case hex.
    pub hash: String,
    pub bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    hash: blake3::Hash,
    bytes: u32,
}

/// The journal of one job on this disk. Its calls block.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    job: String,
    failure: Arc<Failure>,
    usage: Arc<Usage>,
    /// Set once the job's bytes were removed: the file has no name any more.
    retired: AtomicBool,
    open: Mutex<Open>,
    /// How many chunks were recorded: asked by who must not wait for a write.
    count: AtomicU64,
    group: GroupSync,
}

#[derive(Debug)]
struct Open {
    file: File,
    file_bytes: u64,
    held: BTreeMap<u64, Held>,
}

impl Journal {
    /// Opens a journal, or creates it. Unreadable records are dropped.
    ///
    /// # Errors
    /// [`BlobError::NewerFormat`], [`BlobError::Io`] and
    /// [`BlobError::SyncFailed`].
    pub(super) fn open(
        path: &Path,
        job: &str,
        failure: Arc<Failure>,
        usage: Arc<Usage>,
    ) -> Result<Self, BlobError> {
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
        let file_bytes = file
            .metadata()
            .map_err(BlobError::io("look at", path))?
            .len();
        Ok(Journal {
            path: path.to_path_buf(),
            job: job.to_string(),
            failure,
            usage,
            retired: AtomicBool::new(false),
            count: AtomicU64::new(held.len() as u64),
            open: Mutex::new(Open {
                file,
                file_bytes,
                held,
            }),
            group: GroupSync::default(),
        })
    }

    /// Records a chunk whose blob is on the disk. The record is on the disk when
    /// this returns. Recording the same chunk again changes nothing.
    ///
    /// # Errors
    /// [`BlobError::ChunkConflict`] if the number has other bytes,
    /// [`BlobError::Removed`], and [`BlobError::SyncFailed`], after which the
    /// node must stop.
    pub fn append(&self, number: u64, hash: &str, bytes: u32) -> Result<(), BlobError> {
        check_hash(hash)?;
        let _used = self.usage.enter(&self.job);
        self.check_name()?;
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
                    self.write(&mut open, &record(number, held))?;
                    open.held.insert(number, held);
                    self.count.store(open.held.len() as u64, Ordering::Relaxed);
                }
            }
        }
        // Even for a known one: the append that wrote it may still be syncing.
        self.sync()
    }

    /// The chunk of a number, if it is here. It may not be on the disk yet, so
    /// nobody may acknowledge it.
    ///
    /// # Errors
    /// [`BlobError::Removed`].
    pub fn chunk(&self, number: u64) -> Result<Option<Chunk>, BlobError> {
        self.check_name()?;
        Ok(self.lock().held.get(&number).map(Chunk::from))
    }

    /// How many chunks were recorded. Never waits for the disk.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All chunks that are here, by number. The caller may acknowledge them, so
    /// all are on the disk when this returns.
    ///
    /// # Errors
    /// [`BlobError::Removed`], and [`BlobError::SyncFailed`], after which the
    /// node must stop.
    pub fn chunks(&self) -> Result<BTreeMap<u64, Chunk>, BlobError> {
        let _used = self.usage.enter(&self.job);
        self.check_name()?;
        let held = self.lock().held.clone();
        self.sync()?;
        Ok(held
            .iter()
            .map(|(number, held)| (*number, held.into()))
            .collect())
    }

    /// Says that the file has lost its name. Called with the job locked, so
    /// that no append is under way.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// What is written to a file without a name is gone at the next start.
    fn check_name(&self) -> Result<(), BlobError> {
        if self.retired.load(Ordering::SeqCst) {
            return Err(BlobError::Removed {
                job: self.job.clone(),
            });
        }
        Ok(())
    }

    /// Appends a whole record or none: half of one would shift all that follow.
    fn write(&self, open: &mut Open, record: &[u8]) -> Result<(), BlobError> {
        if let Err(error) = open.file.write_all(record) {
            self.failure
                .keep(&self.path, open.file.set_len(open.file_bytes))?;
            return Err(BlobError::io("write", &self.path)(error));
        }
        open.file_bytes += record.len() as u64;
        Ok(())
    }

    fn sync(&self) -> Result<(), BlobError> {
        self.group.wait(|| {
            let file = self
                .lock()
                .file
                .try_clone()
                .map_err(BlobError::io("open", &self.path))?;
            self.failure.check(&self.path)?;
            self.failure.keep(&self.path, file.sync_data())
        })
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

/// How many records a file of this length has, read or not. An unreadable one
/// counts until the journal is opened.
pub(super) fn records_in(file_bytes: u64) -> u64 {
    file_bytes.saturating_sub(HEAD_BYTES as u64) / RECORD_BYTES as u64
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

/// The chunks in a journal's bytes, and whether every record was readable.
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
            Some(RecordV1 {
                number,
                hash,
                bytes,
            }) => {
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

/// Writes a journal again, with only the readable records.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn hash(text: &str) -> String {
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    fn open(folder: &Path) -> Journal {
        let path = folder.join("journal");
        Journal::open(&path, "job", Arc::default(), Arc::default()).unwrap()
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        for number in [0, 1, 7] {
            journal
                .append(number, &hash(&number.to_string()), 5)
                .unwrap();
        }
        journal.append(7, &hash("7"), 5).unwrap();
        let before = journal.chunks().unwrap();
        drop(journal);
        let after = open(folder.path()).chunks().unwrap();
        assert_eq!(before, after);
        assert_eq!(after.keys().copied().collect::<Vec<_>>(), [0, 1, 7]);
        assert_eq!(
            after[&7],
            Chunk {
                hash: hash("7"),
                bytes: 5
            }
        );
        let bytes = fs::metadata(folder.path().join("journal")).unwrap().len();
        assert_eq!(
            bytes as usize,
            HEAD_BYTES + 3 * RECORD_BYTES,
            "an append of the same writes nothing"
        );
    }

    #[test]
    fn every_torn_tail_is_dropped_and_the_journal_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = open(folder.path());
        journal.append(0, &hash("a"), 1).unwrap();
        journal.append(1, &hash("b"), 1).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let journal = open(folder.path());
            let kept = length.saturating_sub(HEAD_BYTES) / RECORD_BYTES;
            assert_eq!(journal.chunks().unwrap().len(), kept, "cut at {length}");
            journal.append(9, &hash("c"), 1).unwrap();
            drop(journal);
            assert_eq!(
                open(folder.path()).chunks().unwrap().len(),
                kept + 1,
                "cut at {length}"
            );
        }
    }

    #[test]
    fn a_rotten_record_is_dropped_and_its_neighbours_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = open(folder.path());
        for number in 0..3 {
            journal
                .append(number, &hash(&number.to_string()), 1)
                .unwrap();
        }
        drop(journal);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEAD_BYTES + RECORD_BYTES + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let kept: Vec<u64> = open(folder.path()).chunks().unwrap().into_keys().collect();
        assert_eq!(kept, [0, 2]);
    }

    #[test]
    fn chunks_are_counted_while_a_slow_disk_takes_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(open(folder.path()));
        journal.append(0, &hash("a"), 1).unwrap();
        let _written_to = journal.lock();
        let (told, count) = std::sync::mpsc::channel();
        let other = journal.clone();
        std::thread::spawn(move || told.send(other.count()));
        let count = count.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(count, Ok(1));
    }

    #[test]
    fn other_bytes_under_a_taken_number_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        journal.append(3, &hash("a"), 1).unwrap();
        let refused = journal.append(3, &hash("b"), 1).unwrap_err();
        assert_eq!(refused.kind(), "source-changed");
        assert!(matches!(
            refused,
            BlobError::ChunkConflict { number: 3, .. }
        ));
    }

    #[test]
    fn a_later_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, b"RLJN\x02\0\0\0and more").unwrap();
        let refused = Journal::open(&path, "job", Arc::default(), Arc::default()).unwrap_err();
        assert!(matches!(
            refused,
            BlobError::NewerFormat {
                found: 2,
                newest: 1,
                ..
            }
        ));
        assert_eq!(fs::read(&path).unwrap(), b"RLJN\x02\0\0\0and more");
    }

    #[test]
    fn format_1_has_these_bytes() {
        let held = Held {
            hash: blake3::Hash::from_bytes([0xab; 32]),
            bytes: 0x0102,
        };
        let mut golden = vec![0xaa, 0, 0, 0, 0, 0, 0, 0];
        golden.extend_from_slice(&[0xab; 32]);
        golden.extend_from_slice(&[2, 1, 0, 0]);
        let record = record(0xaa, held);
        assert_eq!(record[4..], golden);
        assert_eq!(record[..4], crc32fast::hash(&golden).to_le_bytes());
    }
}
