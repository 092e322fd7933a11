//! Every limit of the storage layer, named once with its reason (P8).

use std::time::Duration;

/// The newest data format that this version reads, and the one it writes.
pub const FORMAT_NEWEST: u32 = 1;

/// Bytes in one chunk of the Raft log. A purge frees whole chunks, so this
/// bounds unused space and what a start reads in vain; and the payload of the chunk
/// that is being written stays in memory.
pub const LOG_CHUNK_BYTES_MAX: usize = 4 << 20;

/// Records in one chunk of the Raft log, for the same reason.
pub const LOG_CHUNK_RECORDS_MAX: usize = 16_384;

/// Bytes of payload from closed chunks kept in memory. Replicas that lag a little
/// are served from here; one that lags more costs a read.
pub const LOG_CACHE_BYTES_MAX: usize = 1 << 20;

/// Entries in that cache: blank ones cost memory too.
pub const LOG_CACHE_ENTRIES_MAX: usize = 20_000;

/// How long the log's writer waits for more entries before it syncs. Raft groups
/// writes by itself, so this only needs to drain the queue.
pub const LOG_GROUP_WAIT: Duration = Duration::from_micros(50);

/// The read buffer at start.
pub const LOG_READ_BUFFER_BYTES: usize = 1 << 20;

/// Longest payload of one log entry. Far above the length that commands are cut
/// to, and far below what would stall a heartbeat.
pub const LOG_PAYLOAD_BYTES_MAX: usize = 2 << 20;

/// Longest value given to sled, which puts longer ones into separate files that it
/// never syncs. Rows are cut into parts of this length.
pub const TABLE_VALUE_BYTES_MAX: usize = 4 << 10;

/// Bytes of a row in one part, below [`TABLE_VALUE_BYTES_MAX`] by more than
/// the envelope.
pub const TABLE_PART_BYTES_MAX: usize = TABLE_VALUE_BYTES_MAX - 64;

/// Longest row: a job with every text at its longest is far shorter.
pub const TABLE_ROW_BYTES_MAX: usize = 1 << 20;

/// Longest row key.
pub const TABLE_KEY_BYTES_MAX: usize = 512;

/// sled's page cache. The state is in memory anyway, and the default of 1 GiB
/// would be taken from the encoders. It holds the rows of jobs that run; sled
/// keeps a page in each of 256 parts of it, whatever their size.
pub const TABLE_CACHE_BYTES: u64 = 4 << 20;

/// Rows and bytes after which work on the whole table says that it gets on. A
/// slow disk takes and hashes them within a second or two, and the watchdog
/// waits for several.
pub const STEP_ROWS: usize = 500;
pub const STEP_BYTES: usize = 32 << 20;

/// Rows in one batch while the table is dropped or refilled. sled's memory
/// grows with the batch.
pub const TABLE_REFILL_ROWS: usize = 500;

/// How long opening the table waits for the lock of a closed one. sled releases it
/// once its threads have ended their work, which a slow disk may hold up; nobody
/// else can have it.
pub const TABLE_LOCK_WAIT_MAX: Duration = Duration::from_secs(60);

/// The pause between tries.
pub const TABLE_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Longest snapshot file. The table is thousands of rows of a few hundred
/// bytes; a peer that sends more is broken.
pub const SNAPSHOT_BYTES_MAX: u64 = 8 << 30;

/// Damaged snapshots kept for examination after a start. Few, because each may be
/// as long as the table.
pub const SNAPSHOTS_DAMAGED_MAX: usize = 1;

/// Bytes of a snapshot that may wait for their sync while it is written, so that
/// the last one is short.
pub const SNAPSHOT_UNSYNCED_BYTES_MAX: usize = STEP_BYTES;

/// Bytes read at once while a snapshot is copied.
pub const COPY_PIECE_BYTES: usize = 256 << 10;

/// Longest membership record.
pub const MEMBERSHIP_BYTES_MAX: usize = 64 << 10;

/// Longest record of a backup: a row of the table with its key, or a piece of a blob.
pub const ARCHIVE_RECORD_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Bytes that a node keeps free for itself at most: some chunks of the log and the
/// table's own growth, while somebody makes room.
pub const RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The part of a smaller disk that it keeps: less than puts leave free. It counts as
/// taken, so films have so much less: a thousandth of a disk of 64 GiB, and this part of
/// a small one.
pub const RESERVE_DISK_PART: u64 = 32;

/// Pieces in which it is given up.
pub const RESERVE_PIECES: u64 = 4;

/// With less than this free a piece is given up: some chunks of the log fit in, and so
/// does what a node wants to have free before it starts.
pub const RESERVE_LOW_BYTES: u64 = 32 << 20;

/// The part of a disk that must be free beside it for it to be taken back. Less than
/// what puts leave free, or it would never be.
pub const RESERVE_SPARE_PART: u64 = 64;

/// How long a disk may take to sync the log of a folder that was filled. Nobody waits
/// for it but a person.
pub const RESTORE_SYNC_TIME: Duration = Duration::from_secs(60);

const _: () = assert!(
    100 / RESERVE_DISK_PART + 100 / RESERVE_SPARE_PART < crate::blobs::limits::FREE_PERCENT_MIN,
    "what puts leave free has room for it"
);
const _: () = assert!(TABLE_ROW_BYTES_MAX + TABLE_KEY_BYTES_MAX < ARCHIVE_RECORD_BYTES_MAX);
const _: () = assert!(TABLE_PART_BYTES_MAX < TABLE_VALUE_BYTES_MAX);
const _: () = assert!(TABLE_ROW_BYTES_MAX / TABLE_PART_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(TABLE_REFILL_ROWS <= STEP_ROWS && COPY_PIECE_BYTES < STEP_BYTES);
const _: () = assert!(MEMBERSHIP_BYTES_MAX <= TABLE_ROW_BYTES_MAX);
const _: () = assert!(LOG_PAYLOAD_BYTES_MAX < LOG_CHUNK_BYTES_MAX);
