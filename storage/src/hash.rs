//! The running hash of the table: a sum over its rows, so that it is updated row
//! by row and does not depend on their order.
//!
//! It detects damage and replicas that differ. It is no defence against someone
//! who can choose the rows.

/// The sum of the hashes of all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableHash([u64; 4]);

#[derive(Clone, Copy, Debug)]
pub struct RowHash([u64; 4]);

pub fn row_hash(key: &[u8], bytes: &[u8]) -> RowHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(bytes);
    let digest = hasher.finalize();
    let mut lanes = [0; 4];
    for (lane, bytes) in lanes.iter_mut().zip(digest.as_bytes().chunks_exact(8)) {
        *lane = u64::from_le_bytes(bytes.try_into().expect("a chunk of eight bytes"));
    }
    RowHash(lanes)
}

impl TableHash {
    pub fn add(&mut self, row: &RowHash) {
        for (lane, row) in self.0.iter_mut().zip(row.0) {
            *lane = lane.wrapping_add(row);
        }
    }

    pub fn remove(&mut self, row: &RowHash) {
        for (lane, row) in self.0.iter_mut().zip(row.0) {
            *lane = lane.wrapping_sub(row);
        }
    }

    /// Adds a row by its key and bytes.
    pub fn add_row(&mut self, key: &[u8], bytes: &[u8]) {
        self.add(&row_hash(key, bytes));
    }

    pub(crate) fn lanes(self) -> [u64; 4] {
        self.0
    }

    pub(crate) fn from_lanes(lanes: [u64; 4]) -> Self {
        TableHash(lanes)
    }
}

impl std::fmt::Display for TableHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}
