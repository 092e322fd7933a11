//! Reading ranges of a blob. Every block is checked before it is handed out.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use super::{
    blocks::{Blocks, hash_file},
    error::BlobError,
    limits::BLOCK_BYTES,
    names::remove_if_there,
    store::{BlobStore, blocks_path},
};

/// An open blob. Its calls block.
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
            let list = fs::read(blocks_path(&path)).unwrap_or_default();
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
                Ok(()) => return Err(self.damaged()),
                // Shorter than it was: damaged. With any other error the bytes
                // may be good, and it must not cost the cluster a copy.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(self.damaged());
                }
                Err(error) => {
                    let path = self.store.blob_path(&self.job, &self.hash)?;
                    return Err(BlobError::io("read", &path)(error));
                }
            }
            let start = offset.saturating_sub(from).min(buffer.len() as u64) as usize;
            let stop = (end.min(to) - from) as usize;
            out.extend_from_slice(&buffer[start..stop.max(start)]);
        }
        Ok(out)
    }

    /// Moves the blob aside, because a block does not have its hash. The list of
    /// hashes goes too, as it may be what is damaged. Another copy that has the
    /// name by now is left alone: this reader knows nothing of it.
    fn damaged(&self) -> BlobError {
        let corrupt = BlobError::Corrupt {
            job: self.job.clone(),
            hash: self.hash.clone(),
        };
        let Ok(path) = self.store.blob_path(&self.job, &self.hash) else {
            return corrupt;
        };
        if !is_open_file(&path, &self.file) {
            return corrupt;
        }
        let _ = remove_if_there(&blocks_path(&path));
        self.store.quarantine(&self.job, &self.hash)
    }
}

/// Whether a name still belongs to this open file.
fn is_open_file(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(open)) = (fs::metadata(path), file.metadata()) else {
        return false;
    };
    (named.dev(), named.ino()) == (open.dev(), open.ino())
}

impl BlobStore {
    /// Opens a blob for checked reads.
    ///
    /// # Errors
    /// [`BlobError::Missing`], and [`BlobError::Corrupt`] if its block hashes had
    /// to be made again and its bytes do not have its hash any more.
    pub fn reader(&self, job: &str, hash: &str) -> Result<Reader, BlobError> {
        self.blob_path(job, hash)?;
        Reader::open(self, job, hash)
    }

    /// Opens a blob and reads `bytes` bytes from `offset` on, fewer at its end.
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
}
