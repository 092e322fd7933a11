//! Checks a blob that nobody asked for, as slowly as the caller likes. When to
//! do that, and who mends what is found, is not known here.

use std::{fs::File, io::Read};

use super::{BlobError, BlobStore, limits::BLOCK_BYTES};

impl BlobStore {
    /// Checks a whole blob against its name. `pause` is told of the bytes after
    /// each read, and may sleep; where it says `false` the check ends early.
    /// Gives how many bytes were read.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Corrupt`] (the blob has then been
    /// moved aside), and [`BlobError::Io`] where the disk can't give the bytes:
    /// that says nothing of them, and the blob stays where it is.
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
            // Judged again, and at once: a reader may have found the damage too
            // since the file was opened, and another copy have taken its place.
            self.verify(job, hash)?;
        }
        Ok(hasher.count())
    }
}
