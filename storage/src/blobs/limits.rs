//! Every limit of the blob store and the chunk journal, with its reason.

/// Bytes of a block, the unit in which reads are checked. The size of a source
/// chunk, so that a chunk needs no hashes besides its name.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Below this share of free space a put is refused: the rest belongs to the
/// Raft log, which must go on for anything to be deleted.
pub const FREE_PERCENT_MIN: u64 = 5;

/// Longest job id; it is a folder's name.
pub const JOB_ID_BYTES_MAX: usize = 64;

/// Damaged blobs kept aside for a look at what happened to them. More are
/// removed at once, so that a dying disk does not fill itself.
pub const QUARANTINE_FILES_MAX: usize = 64;

/// Chunk journals held open. Each is a descriptor, and only those of running
/// uploads are in use; the others are opened again when they are asked for.
pub const JOURNALS_OPEN_MAX: usize = 128;

/// Largest blob: 16 TiB, ext4's own largest file. It bounds what a list of
/// block hashes may claim.
pub const BLOB_BYTES_MAX: u64 = 16 << 40;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(FREE_PERCENT_MIN < 100);
const _: () = assert!(BLOB_BYTES_MAX.is_multiple_of(BLOCK_BYTES as u64));
