//! The hashes of a large blob's blocks, kept in a file beside it, so that any
//! range can be checked without reading the whole.
//!
//! ```text
//! "RLBK" | format u32 | total bytes u64 | block hash (32 bytes) ... | seal (32 bytes)
//! ```
//! Little-endian. The seal is the BLAKE3 of everything before it and of the
//! blob's name, so that a list never passes for that of another blob. The list
//! is not authoritative: if it is missing or damaged, it is made again from the
//! bytes, after these were checked against the blob's name.

use std::{fs::File, io::Read, path::Path};

use blake3::Hash;

use super::{
    error::BlobError,
    limits::{BLOB_BYTES_MAX, BLOCK_BYTES},
};

const MAGIC: &[u8; 4] = b"RLBK";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The block hashes of one blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub total_bytes: u64,
    pub hashes: Vec<Hash>,
}

impl Blocks {
    pub fn encode(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + HASH_BYTES * (self.hashes.len() + 1));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.total_bytes.to_le_bytes());
        for hash in &self.hashes {
            bytes.extend_from_slice(hash.as_bytes());
        }
        let seal = seal(&bytes, name);
        bytes.extend_from_slice(seal.as_bytes());
        bytes
    }

    /// `None` unless the bytes are whole and belong to this blob.
    pub fn decode(bytes: &[u8], name: &str) -> Option<Self> {
        let (body, found) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
        if seal(body, name).as_bytes() != found || !body.starts_with(MAGIC) {
            return None;
        }
        let format = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
        let total_bytes = u64::from_le_bytes(body.get(8..HEAD_BYTES)?.try_into().ok()?);
        let list = body.get(HEAD_BYTES..)?;
        let count = total_bytes.div_ceil(BLOCK_BYTES as u64);
        let whole = list.len() as u64 == count * HASH_BYTES as u64;
        if format != FORMAT || total_bytes > BLOB_BYTES_MAX || !whole {
            return None;
        }
        let hashes = list
            .chunks_exact(HASH_BYTES)
            .map(|hash| Hash::from_slice(hash).ok())
            .collect::<Option<Vec<Hash>>>()?;
        Some(Blocks {
            total_bytes,
            hashes,
        })
    }
}

fn seal(body: &[u8], name: &str) -> Hash {
    blake3::Hasher::new()
        .update(body)
        .update(name.as_bytes())
        .finalize()
}

/// Hashes bytes as they come, as a whole and block by block.
#[derive(Debug, Default)]
pub(crate) struct BlockHasher {
    whole: blake3::Hasher,
    block: blake3::Hasher,
    in_block: usize,
    blocks: Blocks,
}

impl BlockHasher {
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.blocks.total_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.in_block));
            self.block.update(now);
            self.in_block += now.len();
            if self.in_block == BLOCK_BYTES {
                self.close_block();
            }
            bytes = later;
        }
    }

    pub fn total_bytes(&self) -> u64 {
        self.blocks.total_bytes
    }

    /// The hash of the whole, and those of the blocks.
    pub fn finish(mut self) -> (Hash, Blocks) {
        if self.in_block > 0 {
            self.close_block();
        }
        (self.whole.finalize(), self.blocks)
    }

    fn close_block(&mut self) {
        self.blocks.hashes.push(self.block.finalize());
        self.block.reset();
        self.in_block = 0;
    }
}

/// Hashes a file from its current position to its end.
///
/// # Errors
/// [`BlobError::Io`].
pub(super) fn hash_file(file: &mut File, path: &Path) -> Result<(blake3::Hash, Blocks), BlobError> {
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
