//! Putting blobs. Bytes go to a temporary file and are hashed on the way; then
//! the file is synced and renamed. A writer that is dropped before it is
//! finished leaves nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
};

use super::{
    blocks::{BlockHasher, hash_file},
    error::BlobError,
    journal::Chunk,
    limits::{BLOB_BYTES_MAX, WRITE_BACK_BYTES},
    names::{check_hash, check_job},
    store::{BlobStore, Stored},
    temp::TempFile,
};

/// A blob being written. Its calls block.
#[derive(Debug)]
pub struct Writer {
    store: BlobStore,
    job: String,
    temp: TempFile,
    file: File,
    hasher: BlockHasher,
}

impl Writer {
    pub(super) fn new(store: BlobStore, job: &str) -> Result<Self, BlobError> {
        let temp = TempFile(store.temp_path());
        let file = File::create_new(&temp.0).map_err(BlobError::io("create", &temp.0))?;
        Ok(Writer {
            store,
            job: job.to_string(),
            temp,
            file,
            hasher: BlockHasher::default(),
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`] if the disk takes no more, and
    /// [`BlobError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::StorageFull {
                return self.store.full(bytes.len() as u64);
            }
            BlobError::io("write", &self.temp.0)(error)
        })?;
        let before = self.written_bytes() / WRITE_BACK_BYTES;
        self.hasher.update(bytes);
        if self.written_bytes() / WRITE_BACK_BYTES > before {
            start_write_back(&self.file);
        }
        Ok(())
    }

    pub fn written_bytes(&self) -> u64 {
        self.hasher.total_bytes()
    }

    /// Publishes the blob under its name; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`] if the bytes are not the expected ones, and
    /// [`BlobError::SyncFailed`], after which the node must stop.
    pub fn finish(self, expected: Option<&str>) -> Result<Stored, BlobError> {
        let (hash, blocks) = self.hasher.finish();
        let hash = hash.to_hex().to_string();
        if let Some(expected) = expected.filter(|expected| *expected != hash) {
            return Err(BlobError::HashMismatch {
                expected: expected.to_string(),
                found: hash,
            });
        }
        self.store
            .publish(&self.job, &hash, &blocks, &self.file, &self.temp.0)?;
        Ok(Stored {
            hash,
            bytes: blocks.total_bytes,
        })
    }
}

/// Has the kernel write what lies in its cache. Otherwise it keeps gigabytes of a
/// large blob, and the next sync of the Raft log may wait for all of them. Says
/// nothing about durability: a failure shows in the sync at the end.
fn start_write_back(file: &File) {
    // SAFETY: a system call on a descriptor that is open for as long.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

impl BlobStore {
    /// Starts a blob of about `bytes` bytes.
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

    /// Stores a chunk of a job's source and records it in the job's journal.
    /// Both are on the disk when this returns, and nothing removes the one
    /// without the other.
    ///
    /// # Errors
    /// As [`BlobStore::put_bytes`] and [`Journal::append`].
    ///
    /// [`Journal::append`]: super::journal::Journal::append
    pub fn put_chunk(
        &self,
        job: &str,
        number: u64,
        hash: &str,
        bytes: &[u8],
    ) -> Result<(), BlobError> {
        check_job(job)?;
        let _used = self.inner.usage.enter(job);
        self.put_bytes(job, Some(hash), bytes)?;
        self.journal(job)?.append(number, hash, bytes.len() as u32)
    }

    /// Records a chunk whose blob is here already.
    ///
    /// # Errors
    /// [`BlobError::Missing`], and as [`Journal::append`].
    ///
    /// [`Journal::append`]: super::journal::Journal::append
    pub fn record_chunk(&self, job: &str, number: u64, chunk: &Chunk) -> Result<(), BlobError> {
        check_job(job)?;
        let _used = self.inner.usage.enter(job);
        if !self.has(job, &chunk.hash)? {
            return Err(BlobError::Missing {
                job: job.to_string(),
                hash: chunk.hash.clone(),
            });
        }
        self.journal(job)?.append(number, &chunk.hash, chunk.bytes)
    }

    /// Makes a finished file a blob by renaming it. It is read once, for its
    /// hash, and is gone from `path` afterwards. It must be on the store's file
    /// system, and nobody may write to it any more.
    ///
    /// # Errors
    /// As [`BlobStore::writer`] and [`Writer::finish`].
    pub fn adopt_file(&self, job: &str, path: &Path) -> Result<Stored, BlobError> {
        check_job(job)?;
        self.inner.failure.check(path)?;
        let mut file = File::open(path).map_err(BlobError::io("open", path))?;
        let (hash, blocks) = hash_file(&mut file, path)?;
        let hash = hash.to_hex().to_string();
        self.publish(job, &hash, &blocks, &file, path)?;
        // If the blob was here already, the file is still at `path`.
        let _ = TempFile(path.to_path_buf());
        Ok(Stored {
            hash,
            bytes: blocks.total_bytes,
        })
    }

    /// Makes a finished file a blob and leaves it at `path` too: a second name
    /// for the same bytes, to which nobody may write any more. A file on another
    /// file system is copied.
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
}
