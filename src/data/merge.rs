//! What the chunk journals of a job's homes say together: a chunk is safe when
//! all of them have it.

use std::collections::BTreeMap;

use blake3::Hash;
use reelraft_storage::journal::Chunk;

use super::error::DataError;

/// What the homes' journals say together.
pub(super) struct Merged {
    /// Chunks that every home has.
    pub on_all: BTreeMap<u64, Hash>,
    /// Chunks that some homes lack.
    pub on_some: BTreeMap<u64, Hash>,
}

/// Merges the journals of all homes of a job.
///
/// # Errors
/// [`DataError::SourceChanged`] if two homes have other bytes under one number.
pub(super) fn merge(job: &str, journals: &[BTreeMap<u64, Chunk>]) -> Result<Merged, DataError> {
    let mut seen: BTreeMap<u64, (Hash, usize)> = BTreeMap::new();
    for (number, chunk) in journals.iter().flatten() {
        let changed = |cause: String| DataError::SourceChanged {
            job: job.to_string(),
            cause,
        };
        let hash = Hash::from_hex(&chunk.hash)
            .map_err(|_| changed(format!("'{}' is no hash", chunk.hash)))?;
        let (known, homes) = seen.entry(*number).or_insert((hash, 0));
        if *known != hash {
            return Err(changed(format!(
                "chunk {number} is {known} on one home and {hash} on another"
            )));
        }
        *homes += 1;
    }
    let mut merged = Merged {
        on_all: BTreeMap::new(),
        on_some: BTreeMap::new(),
    };
    for (number, (hash, homes)) in seen {
        let side = if homes == journals.len() {
            &mut merged.on_all
        } else {
            &mut merged.on_some
        };
        side.insert(number, hash);
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn journal(chunks: &[(u64, u8)]) -> BTreeMap<u64, Chunk> {
        let chunk = |&(number, byte): &(u64, u8)| {
            let hash = Hash::from_bytes([byte; 32]).to_hex().to_string();
            (number, Chunk { hash, bytes: 1 })
        };
        chunks.iter().map(chunk).collect()
    }

    #[test]
    fn safe_is_what_all_homes_have() {
        let merged = merge(
            "j",
            &[journal(&[(0, 1), (1, 2)]), journal(&[(1, 2), (5, 3)])],
        )
        .unwrap();
        assert_eq!(merged.on_all.into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(merged.on_some.into_keys().collect::<Vec<_>>(), [0, 5]);
        let alone = merge("j", &[journal(&[(0, 1)])]).unwrap();
        assert_eq!(alone.on_all.len(), 1);
        assert!(merge("j", &[]).unwrap().on_all.is_empty());
    }

    #[test]
    fn two_bytes_under_one_number_are_a_changed_source() {
        let refused = merge("j", &[journal(&[(0, 1)]), journal(&[(0, 2)])])
            .err()
            .unwrap();
        assert_eq!(refused.kind(), "source-changed");
    }
}
