//! Every limit and timeout of the data plane, named once with its reason.

use std::time::Duration;

use reelraft_storage::{
    blobs::limits::BLOCK_BYTES,
    limits::{ARCHIVE_RECORD_BYTES_MAX, TABLE_KEY_BYTES_MAX, TABLE_ROW_BYTES_MAX},
};

/// Bytes of a source chunk: every one but the last has them. One block of the
/// blob store, so that a chunk is checked by its name alone.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of one part of a streamed blob: whole blocks, as each is hashed once
/// for every read that touches it.
pub const PART_BYTES: usize = BLOCK_BYTES;

/// Parts under way between a disk and a stream: one is read while one is sent.
pub const PARTS_AHEAD: usize = 2;

/// Chunks named in an upload plan, for the client to compare: 200 GB of them
/// in some 15 MB, of the 32 MiB that a client takes. Of a larger source a
/// sample is named.
pub const PLAN_CHUNKS_MAX: usize = 200_000;

/// A call that fails after this long met silence, and no refusal.
pub const SILENCE_MIN: Duration = Duration::from_millis(1_000);

/// Pause before a silent node is asked again whether it answers.
pub const SILENCE_PAUSE: Duration = Duration::from_millis(250);

/// After this a silent node is called as any other again: its address may have
/// changed, and the question gone to the former one.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long a home may take to apply the log as far as a put asks for.
pub const APPLY_WAIT: Duration = Duration::from_secs(5);

/// How long one small call (a chunk, a question) may take: the wait for the
/// log and three syncs on a busy disk.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// A large put may take this much longer for each MiB that it has.
pub const CALL_TIMEOUT_PER_MIB: Duration = Duration::from_millis(500);

/// How long a stream of bytes may stand still.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// First and longest pause between tries.
pub const RETRY_MIN: Duration = Duration::from_millis(50);
/// See [`RETRY_MIN`].
pub const RETRY_MAX: Duration = Duration::from_millis(1_000);

/// How long a result looks for homes that take it: a lost home is replaced
/// within 8 s, and an election may come on top.
pub const PUT_OUTAGE: Duration = Duration::from_secs(30);

/// How long a read looks for a home that lives, for the same reason.
pub const READ_OUTAGE: Duration = Duration::from_secs(15);

/// Chunks asked of a client and not safe yet: enough to keep a disk and a
/// network busy, and all that an upload holds in memory.
pub const UPLOAD_WINDOW: usize = 16;

/// What a client is asked for ahead, in time at its own pace: longer than any
/// round trip, so that it never runs dry, and what is suddenly wanted waits no
/// longer.
pub const UPLOAD_AHEAD: Duration = Duration::from_secs(1);

/// Chunks that a client is asked for ahead at least, and before its pace is known.
pub const UPLOAD_AHEAD_MIN: usize = 2;
/// See [`UPLOAD_AHEAD_MIN`].
pub const UPLOAD_AHEAD_FIRST: usize = 4;

/// How long a home waits for a chunk that a reader asks for. The reader asks
/// again.
pub const AWAIT_CHUNK: Duration = Duration::from_secs(2);

/// How long a reader of an unsealed source waits for a chunk before it gives up:
/// an upload that stands still is no reason to hold its place. Below what ffmpeg
/// waits for a byte.
pub const SOURCE_PATIENCE: Duration = Duration::from_secs(60);

/// The same of a shard, which holds a slot: what it needs was there when it was planned,
/// but for an index at the end of a file, which its client is asked for next if it can
/// give that.
pub const SHARD_SOURCE_PATIENCE: Duration = Duration::from_secs(15);

/// Pause before a reader asks the homes again that could not be asked.
pub const AWAIT_PAUSE: Duration = Duration::from_millis(200);

/// How long a client may send nothing of what it was asked for.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(60);

/// How long an upload waits for its homes before it gives up. The client can
/// always come back.
pub const UPLOAD_OUTAGE: Duration = Duration::from_secs(120);

/// Chunks copied at once between homes.
pub const COPY_WINDOW: usize = 4;

/// Bytes a second that the scrub reads while that gets a round done: 1.4 TB a
/// day. A tenth of what one hard disk gives, and to hash them takes 2 % of a
/// core.
pub const SCRUB_BYTES_PER_S: u64 = 16 << 20;

/// The same of a scrub that somebody asked for: what a hard disk gives beside its work.
pub const SCRUB_ASKED_BYTES_PER_S: u64 = 100 << 20;

/// Bytes of manifests kept in memory: that of a source of 100 GB has 3 MB, and
/// each of its shards asks for it.
pub const MANIFEST_CACHE_BYTES: usize = 32 << 20;

/// Chunks of one source kept in memory for its reader.
pub const SOURCE_CACHE_CHUNKS: usize = 32;

/// Largest blob that is read into memory whole: lists and reports, of which
/// the longest are those of a day's film. The manifest of the largest source
/// fits in; see `manifest.rs`.
pub const WHOLE_BYTES_MAX: u64 = 513 << 20;

/// Copies that go on at once where an operator has set a rate: enough for one to be
/// begun while another ends.
pub const PACED_COPIES_MAX: usize = 2;

/// Looks at the jobs of a backup until it is found whole. What a busy cluster does
/// between two of them is little beside the first.
pub const BACKUP_ROUNDS_MAX: u32 = 5;

/// Records of a backup that wait for its reader, of a little more than 1 MiB each.
pub const BACKUP_AHEAD: usize = 4;

/// Bytes of rows in one record of a backup, and one row more at most.
pub const BACKUP_ROWS_BYTES: usize = 16 << 10;

/// Bytes of a backup that are read at once.
pub const RESTORE_READ_BYTES: usize = 1 << 20;

/// Pieces of an output read ahead of a client.
pub const FETCH_AHEAD: usize = 4;

/// How often it is looked whether a sync has failed. Puts are refused from
/// that moment on; the node itself may end this much later.
pub const FAILURE_TICK: Duration = Duration::from_secs(1);

/// Largest head of a request to the range server. ffmpeg's have 300 bytes.
pub const REQUEST_HEAD_BYTES_MAX: usize = 8 << 10;

/// How long a connection to the range server may say nothing.
pub const REQUEST_IDLE: Duration = Duration::from_secs(120);

/// Connections to the range server at once: each attempt has a few.
pub const REQUEST_CONNECTIONS_MAX: usize = 256;

/// Connections to the range server that wait to be accepted.
pub const REQUEST_BACKLOG: u32 = 64;

/// Bytes on their way to a reader. It often hangs up after a look at the head
/// of a file, and what is on its way then was fetched from a home for nothing.
pub const REQUEST_SEND_BYTES: u32 = 128 << 10;

/// Bytes written to a reader at once, and counted when they were taken.
pub const REQUEST_PIECE_BYTES: usize = 64 << 10;

/// How many times what an upload has sent is kept free for the rest of it, at
/// most. Whoever wants to keep others out by large announcements must send a
/// part of that.
pub const ROOM_PER_SENT_MAX: u64 = 16;

const _: () = assert!(
    CHUNK_BYTES <= BLOCK_BYTES,
    "a chunk is checked by its name alone"
);
// Each row of a batch has a few bytes of its own.
const _: () = assert!(
    2 * BACKUP_ROWS_BYTES + TABLE_ROW_BYTES_MAX + TABLE_KEY_BYTES_MAX < ARCHIVE_RECORD_BYTES_MAX
);
const _: () = assert!(PART_BYTES <= ARCHIVE_RECORD_BYTES_MAX);
const _: () = assert!(UPLOAD_AHEAD_MIN <= UPLOAD_AHEAD_FIRST);
const _: () = assert!(UPLOAD_AHEAD_FIRST <= UPLOAD_WINDOW);
const _: () = assert!(AWAIT_CHUNK.as_secs() < CALL_TIMEOUT.as_secs());
const _: () = assert!(PLAN_CHUNKS_MAX * 100 < 32 << 20);
