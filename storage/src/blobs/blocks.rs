//! The hashes of a large blob's blocks, kept in a file beside it, so that any
//! range can be checked without reading the whole.
//!
//! ```text
//! "RLBK" | format u32 | total bytes u64 | block hash (32 bytes) ... | seal (32 bytes)
//! ```
//! Little-endian. The seal is the BLAKE3 of everything before it and of the
//! blob's name, so that a list never passes for that of another blob. The
//! list is no authority: where it is missing or damaged, it is made again from
//! the bytes, after these have been checked against the blob's name.

use blake3::Hash;

use super::limits::{BLOB_BYTES_MAX, BLOCK_BYTES};

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
    /// The file's bytes.
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

    /// Reads a file's bytes; `None` unless they are whole and this blob's.
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

/// Hashes bytes as they come: the whole, and each block.
#[derive(Debug, Default)]
pub(crate) struct BlockHasher {
    whole: blake3::Hasher,
    block: blake3::Hasher,
    in_block: usize,
    blocks: Blocks,
}

impl BlockHasher {
    /// Takes the next bytes.
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

    /// Bytes taken so far.
    pub fn total_bytes(&self) -> u64 {
        self.blocks.total_bytes
    }

    /// The hash of all, and those of the blocks.
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
