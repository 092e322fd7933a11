//! What is sent of a backup.

use bytes::Bytes;

/// A piece of a backup on its way, or what it came to.
#[derive(Debug)]
pub enum BackupPart {
    Bytes(Bytes),
    /// So many bytes are where they were asked to be put.
    Put(u64),
    Done(Box<BackupDone>),
}

/// Bytes that should be in a backup and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupGap {
    pub job: String,
    pub cause: String,
}

/// What a backup came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupDone {
    /// BLAKE3 of the whole file, hex.
    pub hash: String,
    pub bytes: u64,
    /// The last log index that is in its table.
    pub index: u64,
    /// The table's hash there.
    pub table_hash: String,
    pub jobs: u64,
    /// Jobs whose bytes are in it.
    pub jobs_whole: u64,
    pub gaps: Vec<BackupGap>,
}
