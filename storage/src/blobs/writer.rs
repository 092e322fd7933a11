//! Writes one blob: to a temporary file, hashed on the way, then synced and
//! moved to its name. Dropped before it is finished, it leaves nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use super::{BlobError, BlobStore, Stored, blocks::BlockHasher};

/// A blob being written. Blocking: to be used on a thread for that.
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

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`] where the disk takes no more, [`BlobError::Io`]
    /// otherwise.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::StorageFull {
                return self.store.full(bytes.len() as u64);
            }
            BlobError::io("write", &self.temp.0)(error)
        })?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Bytes taken so far.
    pub fn written_bytes(&self) -> u64 {
        self.hasher.total_bytes()
    }

    /// Makes the blob last under its name; it is on the disk when this
    /// returns.
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
            .settle(&self.job, &hash, &blocks, &self.file, &self.temp.0)?;
        Ok(Stored {
            hash,
            bytes: blocks.total_bytes,
        })
    }
}

/// A file that is removed unless it was moved away.
#[derive(Debug)]
pub(super) struct TempFile(pub PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        // A file that was moved to its name is no longer here; one that can't
        // be removed goes when the store is opened the next time.
        let _ = fs::remove_file(&self.0);
    }
}
