//! Blobs: immutable bytes named by their BLAKE3, in a folder for each job.
//!
//! ```text
//! blobs/<job>/<hash>           the bytes, as they are
//! blobs/<job>/<hash>.blocks    hashes of its blocks, where there are several
//! blobs/<job>/journal          the job's source chunks (see `journal`)
//! blobs/_tmp/                  being written; emptied at open
//! blobs/_quarantine/           damaged ones, for a look at what happened
//! ```
//! A blob stands under its name only when its bytes are synced, and a put
//! returns when the name is synced too. Nothing is served unchecked: a read
//! checks every block that it touches, and a damaged blob is moved aside, so
//! that it counts as missing and can be put again from another home.
//!
//! All calls block and belong on threads for that. Which blobs a job needs and
//! who else has them is not known here.

mod blocks;
mod error;
pub mod limits;
mod names;
mod reader;
mod scrub;
mod settle;
mod space;
pub(crate) mod sync;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use blocks::{BlockHasher, Blocks};
pub use error::BlobError;
use limits::{BLOB_BYTES_MAX, BLOCK_BYTES, FREE_PERCENT_MIN, JOURNALS_OPEN_MAX};
pub use names::{check_hash, check_job};
use names::{names_in, remove_if_there};
pub use reader::Reader;
pub use space::{Space, SpaceProbe};
use sync::{Failure, GroupSync, sync_folder};
use writer::TempFile;
pub use writer::Writer;

use crate::journal::Journal;

const TEMP_FOLDER: &str = "_tmp";
const QUARANTINE_FOLDER: &str = "_quarantine";
const JOURNAL_FILE: &str = "journal";
const BLOCKS_ENDING: &str = "blocks";

/// A blob that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its BLAKE3 in lower-case hex.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
}

/// The blobs of this disk. Clones share one store.
#[derive(Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    probe: SpaceProbe,
    failure: Arc<Failure>,
    temps: AtomicU64,
    damaged: AtomicU64,
    folders: Mutex<HashMap<String, Arc<GroupSync>>>,
    journals: Mutex<HashMap<String, Arc<Journal>>>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStore")
            .field("root", &self.inner.root)
            .finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the store in `root` (made if missing) and removes what was being
    /// written when it was last closed.
    ///
    /// # Errors
    /// [`BlobError::Io`] and [`BlobError::SyncFailed`].
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        Self::open_with(root, Arc::new(space::statvfs))
    }

    /// [`BlobStore::open`] with another way to ask for the room.
    ///
    /// # Errors
    /// As [`BlobStore::open`].
    pub fn open_with(root: &Path, probe: SpaceProbe) -> Result<Self, BlobError> {
        let failure = Arc::new(Failure::default());
        let temp = root.join(TEMP_FOLDER);
        if temp.exists() {
            fs::remove_dir_all(&temp).map_err(BlobError::io("empty", &temp))?;
        }
        for folder in [temp, root.join(QUARANTINE_FOLDER)] {
            fs::create_dir_all(&folder).map_err(BlobError::io("create", &folder))?;
        }
        sync_folder(root, &failure)?;
        if let Some(parent) = root
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent, &failure)?;
        }
        Ok(BlobStore {
            inner: Arc::new(Inner {
                root: root.to_path_buf(),
                probe,
                failure,
                temps: AtomicU64::new(0),
                damaged: AtomicU64::new(0),
                folders: Mutex::default(),
                journals: Mutex::default(),
            }),
        })
    }

    /// The sync that failed, if one has: the node must then stop for good.
    pub fn failure(&self) -> Option<String> {
        self.inner.failure.cause().map(str::to_string)
    }

    /// How many blobs were found damaged and moved aside since the store was
    /// opened: where it has grown, something is to be filled again.
    pub fn damaged(&self) -> u64 {
        self.inner.damaged.load(Ordering::Relaxed)
    }

    /// The room on this disk.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn space(&self) -> Result<Space, BlobError> {
        (self.inner.probe)(&self.inner.root)
            .map_err(BlobError::io("ask for the room of", &self.inner.root))
    }

    /// Refuses a put that would leave less than the reserved share free.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`].
    pub fn check_room(&self, wanted_bytes: u64) -> Result<(), BlobError> {
        let Space {
            free_bytes,
            total_bytes,
        } = self.space()?;
        let reserved = total_bytes / 100 * FREE_PERCENT_MIN;
        if free_bytes < reserved.saturating_add(wanted_bytes) {
            return Err(BlobError::DiskFull {
                free_bytes,
                total_bytes,
                wanted_bytes,
            });
        }
        Ok(())
    }

    /// Begins a blob of about `bytes` bytes.
    ///
    /// # Errors
    /// [`BlobError::BadName`], [`BlobError::TooLarge`] and
    /// [`BlobError::DiskFull`].
    pub fn writer(&self, job: &str, bytes: u64) -> Result<Writer, BlobError> {
        check_job(job)?;
        if bytes > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { bytes });
        }
        self.inner.failure.check(&self.inner.root)?;
        self.check_room(bytes)?;
        Writer::new(self.clone(), job)
    }

    /// Stores bytes; they are on the disk when this returns.
    ///
    /// # Errors
    /// As [`BlobStore::writer`] and [`Writer::finish`].
    pub fn put_bytes(
        &self,
        job: &str,
        expected: Option<&str>,
        bytes: &[u8],
    ) -> Result<Stored, BlobError> {
        let mut writer = self.writer(job, bytes.len() as u64)?;
        writer.write(bytes)?;
        writer.finish(expected)
    }

    /// Takes a finished file over by renaming it; it is read once, for its
    /// hash, and is gone from `path` afterwards. It must lie on the store's
    /// file system, and nobody may write to it any more.
    ///
    /// # Errors
    /// As [`BlobStore::writer`] and [`Writer::finish`].
    pub fn adopt_file(&self, job: &str, path: &Path) -> Result<Stored, BlobError> {
        check_job(job)?;
        self.inner.failure.check(path)?;
        let mut file = File::open(path).map_err(BlobError::io("open", path))?;
        let (hash, blocks) = hash_file(&mut file, path)?;
        let hash = hash.to_hex().to_string();
        self.settle(job, &hash, &blocks, &file, path)?;
        // Where the blob was here already, the file is still at its place.
        let _ = TempFile(path.to_path_buf());
        Ok(Stored {
            hash,
            bytes: blocks.total_bytes,
        })
    }

    /// Takes a finished file as a blob and leaves it at `path` too: a second
    /// name for the same bytes, to which nobody may write any more. Copied
    /// where it lies on another file system.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`], and as [`BlobStore::adopt_file`].
    pub fn link_file(&self, job: &str, path: &Path, expected: &str) -> Result<Stored, BlobError> {
        check_hash(expected)?;
        let temp = TempFile(self.temp_path());
        if fs::hard_link(path, &temp.0).is_err() {
            fs::copy(path, &temp.0).map_err(BlobError::io("copy", path))?;
        }
        let stored = self.adopt_file(job, &temp.0)?;
        if stored.hash != expected {
            return Err(BlobError::HashMismatch {
                expected: expected.to_string(),
                found: stored.hash,
            });
        }
        Ok(stored)
    }

    /// The size of a blob, if it is here. Its bytes are not checked.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn stat(&self, job: &str, hash: &str) -> Result<Option<u64>, BlobError> {
        let path = self.blob_path(job, hash)?;
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BlobError::io("look at", &path)(error)),
        }
    }

    /// Whether a blob is here. Its bytes are not checked.
    ///
    /// # Errors
    /// As [`BlobStore::stat`].
    pub fn has(&self, job: &str, hash: &str) -> Result<bool, BlobError> {
        Ok(self.stat(job, hash)?.is_some())
    }

    /// Opens a blob for checked reads.
    ///
    /// # Errors
    /// [`BlobError::Missing`], and [`BlobError::Corrupt`] where its block
    /// hashes had to be made again and its bytes are not its own any more.
    pub fn reader(&self, job: &str, hash: &str) -> Result<Reader, BlobError> {
        self.blob_path(job, hash)?;
        Reader::open(self, job, hash)
    }

    /// Reads `bytes` bytes from `offset` on, fewer at the end of the blob;
    /// every block that is touched has been checked.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Corrupt`] (the blob has then been
    /// moved aside) and [`BlobError::PastTheEnd`].
    pub fn read_range(
        &self,
        job: &str,
        hash: &str,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, BlobError> {
        self.reader(job, hash)?.read(offset, bytes)
    }

    /// Checks a whole blob against its name.
    ///
    /// # Errors
    /// [`BlobError::Missing`] and [`BlobError::Corrupt`] (the blob has then
    /// been moved aside).
    pub fn verify(&self, job: &str, hash: &str) -> Result<u64, BlobError> {
        let path = self.blob_path(job, hash)?;
        let mut file = File::open(&path).map_err(|error| self.open_error(job, hash, error))?;
        let (found, blocks) = hash_file(&mut file, &path)?;
        if found.to_hex().as_str() != hash {
            return Err(self.quarantine(job, hash));
        }
        Ok(blocks.total_bytes)
    }

    /// The file of a blob, checked as a whole just now, for a program that
    /// reads files by itself.
    ///
    /// # Errors
    /// As [`BlobStore::verify`].
    pub fn path_of_verified(&self, job: &str, hash: &str) -> Result<PathBuf, BlobError> {
        self.verify(job, hash)?;
        self.blob_path(job, hash)
    }

    /// The blobs of a job, by name; none if there is no such job here.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn list(&self, job: &str) -> Result<Vec<Stored>, BlobError> {
        check_job(job)?;
        let folder = self.inner.root.join(job);
        let mut blobs = Vec::new();
        for name in names_in(&folder)? {
            if check_hash(&name).is_ok()
                && let Some(bytes) = self.stat(job, &name)?
            {
                blobs.push(Stored { hash: name, bytes });
            }
        }
        blobs.sort_by(|a, b| a.hash.cmp(&b.hash));
        Ok(blobs)
    }

    /// The jobs that have bytes here.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn jobs(&self) -> Result<Vec<String>, BlobError> {
        let mut jobs = names_in(&self.inner.root)?;
        jobs.retain(|name| check_job(name).is_ok());
        jobs.sort();
        Ok(jobs)
    }

    /// Removes one blob, if it is here.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn remove(&self, job: &str, hash: &str) -> Result<(), BlobError> {
        let path = self.blob_path(job, hash)?;
        remove_if_there(&path)?;
        remove_if_there(&blocks_path(&path))
    }

    /// Removes all bytes of a job, its journal and what of it was damaged.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn remove_job(&self, job: &str) -> Result<(), BlobError> {
        check_job(job)?;
        lock(&self.inner.journals).remove(job);
        lock(&self.inner.folders).remove(job);
        let quarantine = self.inner.root.join(QUARANTINE_FOLDER);
        for name in names_in(&quarantine)? {
            if name.split('.').next() == Some(job) {
                remove_if_there(&quarantine.join(name))?;
            }
        }
        let folder = self.inner.root.join(job);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::io("remove", &folder)(error))
            }
            _ => sync_folder(&self.inner.root, &self.inner.failure),
        }
    }

    /// The chunk journal of a job, opened at the first use.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn journal(&self, job: &str) -> Result<Arc<Journal>, BlobError> {
        check_job(job)?;
        let mut journals = lock(&self.inner.journals);
        if let Some(journal) = journals.get(job) {
            return Ok(journal.clone());
        }
        let folder = self.job_folder(job)?;
        let journal = Journal::open(&folder.join(JOURNAL_FILE), job, self.inner.failure.clone())?;
        let journal = Arc::new(journal);
        if journals.len() >= JOURNALS_OPEN_MAX {
            journals.retain(|_, journal| Arc::strong_count(journal) > 1);
        }
        journals.insert(job.to_string(), journal.clone());
        Ok(journal)
    }

    fn blob_path(&self, job: &str, hash: &str) -> Result<PathBuf, BlobError> {
        check_job(job)?;
        check_hash(hash)?;
        Ok(self.inner.root.join(job).join(hash))
    }

    fn temp_path(&self) -> PathBuf {
        let number = self.inner.temps.fetch_add(1, Ordering::Relaxed);
        self.inner.root.join(TEMP_FOLDER).join(number.to_string())
    }

    fn full(&self, wanted_bytes: u64) -> BlobError {
        let space = self.space().unwrap_or(Space {
            free_bytes: 0,
            total_bytes: 0,
        });
        BlobError::DiskFull {
            free_bytes: space.free_bytes,
            total_bytes: space.total_bytes,
            wanted_bytes,
        }
    }

    fn open_error(&self, job: &str, hash: &str, error: io::Error) -> BlobError {
        if error.kind() == io::ErrorKind::NotFound {
            return BlobError::Missing {
                job: job.to_string(),
                hash: hash.to_string(),
            };
        }
        BlobError::io("open", &self.inner.root.join(job).join(hash))(error)
    }
}

fn blocks_path(blob: &Path) -> PathBuf {
    blob.with_extension(BLOCKS_ENDING)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

fn hash_file(file: &mut File, path: &Path) -> Result<(blake3::Hash, Blocks), BlobError> {
    let mut hasher = BlockHasher::default();
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        match file
            .read(&mut buffer)
            .map_err(BlobError::io("read", path))?
        {
            0 => return Ok(hasher.finish()),
            bytes => hasher.update(&buffer[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests;
