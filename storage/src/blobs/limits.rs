//! Every limit of the blob store and the chunk journal, with its reason.

use std::time::Duration;

/// Bytes of a block, the unit in which reads are checked. A source chunk has the
/// same size, so it needs no hash but its name.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Below this share of free space a put is refused. The rest is for the Raft log:
/// without it nothing could be deleted.
pub const FREE_PERCENT_MIN: u64 = 5;

/// With less than this of that share free, what else writes to the disk is to end: a
/// second of its writing would take the rest.
pub const NEARLY_FULL_PERCENT: u64 = 25;

/// Longest job id: it is the name of a folder.
pub const JOB_ID_BYTES_MAX: usize = 64;

/// Damaged blobs kept for examination. More are removed at once, so that a dying
/// disk does not fill itself.
pub const QUARANTINE_FILES_MAX: usize = 64;

/// Bytes of damaged blobs kept for examination: thousands of chunks, or a few
/// large outputs, and far less than the share of a disk that is kept free.
pub const QUARANTINE_BYTES_MAX: u64 = 4 << 30;

/// Chunk journals kept open. Each is a file descriptor, and only those of running
/// uploads are in use. The others are opened again when needed.
pub const JOURNALS_OPEN_MAX: usize = 128;

/// Single blobs of a job that are removed before its users get their turn. Deleting
/// a large file takes milliseconds.
pub const REMOVED_AT_ONCE: usize = 16;

/// Largest blob: 16 TiB, like ext4's largest file. It bounds the length of a list
/// of block hashes.
pub const BLOB_BYTES_MAX: u64 = 16 << 40;

/// A blob is handed to the disk whenever this much more of it is written: a
/// fraction of a second's work for it.
pub const WRITE_BACK_BYTES: u64 = 8 << 20;

/// How often a store that has a limit counts what it keeps: what was removed leaves no
/// room before. A million chunks are counted in a few seconds.
pub const QUOTA_LOOK_EVERY: Duration = Duration::from_secs(60);

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(FREE_PERCENT_MIN < 100);
const _: () = assert!(BLOB_BYTES_MAX.is_multiple_of(BLOCK_BYTES as u64));
