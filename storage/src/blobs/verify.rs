//! Checking whole blobs: at once, or as slowly as the caller likes. When to do
//! so, and who repairs the damage, is decided elsewhere.

use std::{fs::File, io::Read, path::PathBuf};

use super::{blocks::hash_file, error::BlobError, limits::BLOCK_BYTES, store::BlobStore};

impl BlobStore {
    /// Checks a whole blob against its name.
    ///
    /// # Errors
    /// [`BlobError::Missing`] and [`BlobError::Corrupt`] (the blob has then
    /// been moved aside).
    pub fn verify(&self, job: &str, hash: &str) -> Result<u64, BlobError> {
        let path = self.blob_path(job, hash)?;
        let _used = self.inner.usage.enter(job);
        let mut file = File::open(&path).map_err(|error| self.open_error(job, hash, error))?;
        let (found, blocks) = hash_file(&mut file, &path)?;
        if found.to_hex().as_str() != hash {
            return Err(self.quarantine(job, hash));
        }
        Ok(blocks.total_bytes)
    }

    /// The file of a blob that was just checked as a whole, for a program that
    /// reads the file by itself.
    ///
    /// # Errors
    /// As [`BlobStore::verify`].
    pub fn path_of_verified(&self, job: &str, hash: &str) -> Result<PathBuf, BlobError> {
        self.verify(job, hash)?;
        self.blob_path(job, hash)
    }

    /// Checks a whole blob against its name, and returns how many bytes were
    /// read. After each read `pause` gets the number of bytes, and may sleep; if
    /// it returns `false`, the check ends early.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Corrupt`] (the blob has then been
    /// moved aside), and [`BlobError::Io`] if the disk can't read the bytes: they
    /// may be good, so the blob stays.
    pub fn verify_slowly(
        &self,
        job: &str,
        hash: &str,
        mut pause: impl FnMut(usize) -> bool,
    ) -> Result<u64, BlobError> {
        let path = self.blob_path(job, hash)?;
        let mut file = File::open(&path).map_err(|error| self.open_error(job, hash, error))?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BLOCK_BYTES];
        loop {
            let read = file.read(&mut buffer);
            match read.map_err(BlobError::io("read", &path))? {
                0 => break,
                bytes => {
                    hasher.update(&buffer[..bytes]);
                    if !pause(bytes) {
                        return Ok(hasher.count());
                    }
                }
            }
        }
        if hasher.finalize().to_hex().as_str() != hash {
            // Check again, at once: since the file was opened, a reader may have
            // found the damage too, and another copy may have taken its place.
            self.verify(job, hash)?;
        }
        Ok(hasher.count())
    }
}
