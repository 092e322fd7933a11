//! What is made of a source before it is sealed, and what it rests on. It counts
//! only once the seal has confirmed that.

use blake3::Hash;

use crate::limits::CHUNKS_READ_RANGES_MAX;

/// What a part rests on that was begun while its source was uploaded.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Early {
    /// Blob with as much of the analysis as it needs.
    #[prost(string, tag = "1")]
    pub index: String,
    /// Hash over all that determines its bytes beside the source and the build: the
    /// plan of the sealed source must have a part with the same.
    #[prost(string, tag = "2")]
    pub key: String,
    /// What its attempt read of the source, once it was done before the seal.
    #[prost(message, optional, tag = "3")]
    pub read: Option<ChunksRead>,
}

/// Which chunks of a source were read, and what they were.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChunksRead {
    /// The number of the first chunk of each run of them, and how many it has.
    #[prost(uint64, repeated, tag = "1")]
    pub runs: Vec<u64>,
    /// BLAKE3 over the hashes of all of them in order, hex.
    #[prost(string, tag = "2")]
    pub digest: String,
}

impl ChunksRead {
    /// Of chunks with rising numbers.
    pub fn of(chunks: impl Iterator<Item = (u64, Hash)>) -> Self {
        let mut runs: Vec<u64> = Vec::new();
        let mut hasher = blake3::Hasher::new();
        for (number, hash) in chunks {
            hasher.update(hash.as_bytes());
            match runs.as_mut_slice() {
                [.., first, count] if *first + *count == number => *count += 1,
                _ => runs.extend([number, 1]),
            }
        }
        ChunksRead {
            runs,
            digest: hasher.finalize().to_hex().to_string(),
        }
    }

    /// Whether it is short enough for a row.
    pub fn fits(&self) -> bool {
        self.runs.len() <= 2 * CHUNKS_READ_RANGES_MAX
    }

    /// Whether the chunks are those of a sealed source, which has these hashes.
    pub fn agrees(&self, hash_of: impl Fn(u64) -> Option<Hash>) -> bool {
        let mut hasher = blake3::Hasher::new();
        for run in self.runs.chunks(2) {
            let [first, count] = *run else { return false };
            for number in first..first.saturating_add(count) {
                let Some(hash) = hash_of(number) else {
                    return false;
                };
                hasher.update(hash.as_bytes());
            }
        }
        hasher.finalize().to_hex().as_str() == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_compared_by_number_and_hash() {
        let hash = |number: u64| blake3::hash(&number.to_le_bytes());
        let of = |numbers: &[u64]| ChunksRead::of(numbers.iter().map(|at| (*at, hash(*at))));
        let read = of(&[0, 1, 2, 7, 9, 10]);
        assert_eq!(read.runs, [0, 3, 7, 1, 9, 2]);
        assert!(read.fits() && read.agrees(|number| Some(hash(number))));
        assert!(!read.agrees(|number| Some(hash(number + u64::from(number == 7)))));
        assert!(!read.agrees(|number| (number < 10).then(|| hash(number))));
        let scattered: Vec<u64> = (0..1_000).step_by(2).collect();
        assert!(!of(&scattered).fits());
    }
}
