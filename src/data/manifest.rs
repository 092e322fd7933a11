//! The manifest of a sealed source: its chunk hashes in order, as a blob.
//!
//! ```text
//! "RLMF" | format u32 | source bytes u64 | chunk bytes u32 | chunk hash (32 bytes) ...
//! ```
//! Little-endian. Its bytes are a pure function of the source, and the blob's
//! name guards them. The root is the BLAKE3 over the chunk hashes alone.

use blake3::Hash;

use reelraft_model::limits::SOURCE_BYTES_MAX;

use super::{
    error::DataError,
    limits::{CHUNK_BYTES, WHOLE_BYTES_MAX},
};

const MAGIC: &[u8; 4] = b"RLMF";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 20;
const HASH_BYTES: usize = 32;

/// The manifest of the largest source can be read back whole.
const _: () = assert!(
    WHOLE_BYTES_MAX
        > HEAD_BYTES as u64 + SOURCE_BYTES_MAX.div_ceil(CHUNK_BYTES as u64) * HASH_BYTES as u64
);

/// The chunks of a sealed source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    source_bytes: u64,
    chunks: Vec<Hash>,
}

/// How many chunks a source of this size has.
pub fn chunk_count(source_bytes: u64) -> u64 {
    source_bytes.div_ceil(CHUNK_BYTES as u64)
}

/// The size of a chunk; 0 for one that the source does not have.
pub fn chunk_bytes(source_bytes: u64, number: u64) -> u64 {
    let from = number.saturating_mul(CHUNK_BYTES as u64);
    source_bytes.saturating_sub(from).min(CHUNK_BYTES as u64)
}

impl Manifest {
    /// A manifest of all chunks in order; `None` if they are not as many as
    /// the source has.
    pub fn new(source_bytes: u64, chunks: Vec<Hash>) -> Option<Self> {
        (chunks.len() as u64 == chunk_count(source_bytes)).then_some(Manifest {
            source_bytes,
            chunks,
        })
    }

    /// Reads a manifest's blob.
    ///
    /// # Errors
    /// [`DataError::BadManifest`].
    pub fn decode(hash: &str, bytes: &[u8]) -> Result<Self, DataError> {
        let bad = |cause| DataError::BadManifest {
            hash: hash.to_string(),
            cause,
        };
        let (head, list) = bytes
            .split_at_checked(HEAD_BYTES)
            .ok_or_else(|| bad("it is too short"))?;
        let word = |at: usize| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes of the head"))
        };
        let source_bytes =
            u64::from_le_bytes(head[8..16].try_into().expect("eight bytes of the head"));
        if !head.starts_with(MAGIC) || word(4) != FORMAT {
            return Err(bad("it has another format"));
        }
        if word(16) as usize != CHUNK_BYTES {
            return Err(bad("it has chunks of another size"));
        }
        let chunks: Vec<Hash> = list
            .chunks(HASH_BYTES)
            .map(Hash::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|_| bad("it ends within a hash"))?;
        Manifest::new(source_bytes, chunks)
            .ok_or_else(|| bad("it has not as many chunks as its source"))
    }

    /// Whether bytes begin as a manifest does.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The chunks' hashes in order.
    pub fn into_chunks(self) -> Vec<Hash> {
        self.chunks
    }

    /// The blob's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + HASH_BYTES * self.chunks.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.source_bytes.to_le_bytes());
        bytes.extend_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk.as_bytes());
        }
        bytes
    }

    /// BLAKE3 over the chunk hashes, in lower-case hex.
    pub fn root(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for chunk in &self.chunks {
            hasher.update(chunk.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The source's size.
    pub fn source_bytes(&self) -> u64 {
        self.source_bytes
    }

    /// The chunk's hash in lower-case hex, if the source has that chunk.
    pub fn chunk(&self, number: u64) -> Option<String> {
        Some(self.hash_of(number)?.to_hex().to_string())
    }

    /// The chunk's hash, if the source has that chunk.
    pub fn hash_of(&self, number: u64) -> Option<Hash> {
        self.chunks.get(usize::try_from(number).ok()?).copied()
    }

    /// All chunks' hashes in order, in lower-case hex.
    pub fn chunks(&self) -> impl Iterator<Item = String> + '_ {
        self.chunks.iter().map(|hash| hash.to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_manifest_reads_back_and_its_bytes_are_frozen() {
        let size = CHUNK_BYTES as u64 + 5;
        let chunks = vec![Hash::from_bytes([1; 32]), Hash::from_bytes([2; 32])];
        let manifest = Manifest::new(size, chunks).unwrap();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode("x", &bytes).unwrap(), manifest);
        let mut golden = b"RLMF\x01\0\0\0\x05\0\x10\0\0\0\0\0\0\0\x10\0".to_vec();
        golden.extend_from_slice(&[1; 32]);
        golden.extend_from_slice(&[2; 32]);
        assert_eq!(bytes, golden);
        assert_eq!(
            manifest.root(),
            blake3::hash(&golden[HEAD_BYTES..]).to_hex().as_str()
        );
        for cut in 0..bytes.len() {
            assert!(
                Manifest::decode("x", &bytes[..cut]).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn the_last_chunk_has_the_rest() {
        let chunk = CHUNK_BYTES as u64;
        assert_eq!(chunk_count(0), 0);
        assert_eq!(chunk_count(chunk), 1);
        assert_eq!(chunk_count(chunk + 1), 2);
        assert_eq!(chunk_bytes(chunk + 1, 0), chunk);
        assert_eq!(chunk_bytes(chunk + 1, 1), 1);
        assert_eq!(chunk_bytes(chunk + 1, 2), 0);
        assert_eq!(chunk_bytes(chunk, u64::MAX), 0);
    }
}
