//! Reads a blob by ranges; every block is checked before it is handed out.

use std::{fs, fs::File, io, os::unix::fs::FileExt};

use super::{
    BlobError, BlobStore, blocks::Blocks, hash_file, limits::BLOCK_BYTES, names::remove_if_there,
};

/// An open blob. Blocking: to be used on a thread for that.
#[derive(Debug)]
pub struct Reader {
    store: BlobStore,
    job: String,
    hash: String,
    file: File,
    blocks: Blocks,
}

impl Reader {
    pub(super) fn open(store: &BlobStore, job: &str, hash: &str) -> Result<Self, BlobError> {
        let path = store.blob_path(job, hash)?;
        let mut file = File::open(&path).map_err(|error| store.open_error(job, hash, error))?;
        let total_bytes = file
            .metadata()
            .map_err(BlobError::io("look at", &path))?
            .len();
        let blocks = if total_bytes <= BLOCK_BYTES as u64 {
            // One block: its hash is the name.
            let name = blake3::Hash::from_hex(hash).expect("the path was made of a checked hash");
            Blocks {
                total_bytes,
                hashes: vec![name],
            }
        } else {
            let list = fs::read(super::blocks_path(&path)).unwrap_or_default();
            match Blocks::decode(&list, hash).filter(|blocks| blocks.total_bytes == total_bytes) {
                Some(blocks) => blocks,
                None => {
                    let (found, blocks) = hash_file(&mut file, &path)?;
                    if found.to_hex().as_str() != hash {
                        return Err(store.quarantine(job, hash));
                    }
                    store.write_blocks(job, hash, &blocks)?;
                    blocks
                }
            }
        };
        Ok(Reader {
            store: store.clone(),
            job: job.to_string(),
            hash: hash.to_string(),
            file,
            blocks,
        })
    }

    /// The blob's size.
    pub fn total_bytes(&self) -> u64 {
        self.blocks.total_bytes
    }

    /// Reads `bytes` bytes from `offset` on, fewer at the end of the blob.
    ///
    /// # Errors
    /// [`BlobError::Corrupt`] (the blob has then been moved aside),
    /// [`BlobError::PastTheEnd`] and [`BlobError::Io`].
    pub fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, BlobError> {
        let total_bytes = self.blocks.total_bytes;
        if offset > total_bytes {
            return Err(BlobError::PastTheEnd {
                hash: self.hash.clone(),
                offset,
                total_bytes,
            });
        }
        let end = total_bytes.min(offset.saturating_add(bytes as u64));
        let block_bytes = BLOCK_BYTES as u64;
        // Even an empty blob is one block, of no bytes.
        let first = (offset / block_bytes).min(self.blocks.hashes.len() as u64 - 1);
        let last = end.div_ceil(block_bytes).max(first + 1);
        let mut out = Vec::with_capacity((end - offset) as usize);
        let mut buffer = Vec::new();
        for block in first..last {
            let from = block * block_bytes;
            let to = total_bytes.min(from + block_bytes);
            buffer.resize((to - from) as usize, 0);
            match self.file.read_exact_at(&mut buffer, from) {
                Ok(()) if blake3::hash(&buffer) == self.blocks.hashes[block as usize] => {}
                Ok(()) => return Err(self.judge()),
                // Shorter than it was: damaged. Any other error says nothing of
                // the bytes, and must not cost the cluster a copy.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(self.judge());
                }
                Err(error) => {
                    let path = self.store.blob_path(&self.job, &self.hash)?;
                    return Err(BlobError::io("read", &path)(error));
                }
            }
            let begin = offset.saturating_sub(from).min(buffer.len() as u64) as usize;
            let stop = (end.min(to) - from) as usize;
            out.extend_from_slice(&buffer[begin..stop.max(begin)]);
        }
        Ok(out)
    }

    /// A block does not fit its hash: either the bytes are damaged, or the
    /// list of hashes is, which the whole blob's hash tells.
    fn judge(&self) -> BlobError {
        if let Ok(path) = self.store.blob_path(&self.job, &self.hash) {
            let _ = remove_if_there(&super::blocks_path(&path));
        }
        self.store.quarantine(&self.job, &self.hash)
    }
}
