//! Every limit and time of the client, named once with its reason.
//!
//! The limits of a job (sizes, rates, picture dimensions) are the cluster's, and
//! are not repeated here.

/// One attempt to connect. Loopback and LAN answer in milliseconds; a node whose
/// machine is off must not hold up the others.
pub const CONNECT_MS: u64 = 1_000;

/// How long to wait for one endpoint before trying the next in parallel: a
/// machine that is off does not answer at all.
pub const CONNECT_STAGGER_MS: u64 = 200;

/// One attempt at a unary call: a proof may have to come from another home.
pub const CALL_MS: u64 = 7_000;

/// How long a command looks for a node that serves it. A node itself waits
/// through an election and answers after 1.7 s that there is no leader, which
/// is reported at once: within 2 s a user knows that the quorum is lost.
pub const ANSWER_MS: u64 = 1_500;

/// The same for a command that follows a job, once some node has answered it:
/// machines take a minute to restart, and then the job continues.
pub const FOLLOW_MS: u64 = 60_000;

/// The same when no node has ever answered: a wrong address should be reported
/// soon, but a node that was started just now needs a moment.
pub const UNREACHABLE_MS: u64 = 8_000;

/// First pause after all endpoints failed in a row.
pub const BACKOFF_MS_MIN: u64 = 100;

/// Longest such pause. It also bounds how late a new leader is noticed.
pub const BACKOFF_MS_MAX: u64 = 1_000;

/// After this long a command says that it waits for a leader: most elections are
/// over by then.
pub const WAIT_NOTICE_MS: u64 = 1_000;

/// HTTP/2 pings on an idle stream, so that a stopped machine is noticed.
pub const KEEPALIVE_MS: u64 = 2_000;

/// A ping unanswered for this long ends the connection.
pub const KEEPALIVE_TIMEOUT_MS: u64 = 3_000;

/// Largest message accepted from a node. A proof or a page of shards of a long
/// film exceeds gRPC's default of 4 MiB; nothing honest exceeds this.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Size of a source chunk that the cluster is expected to ask for. The upload
/// plan has the real one; this one only serves to compare a file with a job
/// that is already sealed.
pub const CHUNK_BYTES: u32 = 1 << 20;

/// Largest chunk size accepted from an upload plan: a chunk is one message, and
/// must stay below the servers' receive limit of 4 MiB.
pub const CHUNK_BYTES_MAX: u32 = 3 << 20;

/// How long a node may say nothing of a backup: it may wait for homes that are away,
/// one blob after the other.
pub const BACKUP_SILENCE_MS: u64 = 120_000;

/// How often a backup is begun: each time all of it is read.
pub const BACKUP_TRIES_MAX: u32 = 3;

/// Chunks read ahead of the connection: enough to keep it busy during a disk
/// read, few enough that memory stays at a few MiB.
pub const CHUNKS_IN_FLIGHT: usize = 4;

/// Head and tail of a source that go into its fingerprint.
pub const FINGERPRINT_BYTES: u64 = 64 << 10;

/// Longest file name: that of every common file system on Linux.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// Length of a job's id; what is shorter may be the beginning of one.
pub const JOB_ID_BYTES: usize = 21;

/// Letters of a job's id that go into the name of a partial file: more than
/// any id has, few enough that a name has room for the output's own.
pub const JOB_ID_BYTES_KEPT: usize = 64;

/// How often the partial file is opened again because its name went away
/// between two looks: more than any honest program does it.
pub const PART_OPENS_MAX: usize = 100;

/// Bytes read at a time when a local file is hashed.
pub const HASH_BLOCK_BYTES: usize = 1 << 20;

/// Longest silence on a watch: three of the beats with which a node shows that
/// it is there (2 s). Its pings are answered also while its disk hangs.
pub const WATCH_SILENCE_MS: u64 = 6_000;

/// How long an upload over HTTP may stand still: a node that is full of bytes
/// takes none until all homes have written them.
pub const HTTP_SILENCE_MS: u64 = 60_000;

/// Most of a refusal over HTTP that is read: a few lines of text.
pub const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// Longest silence on a fetch, or before the plan of an upload: a node may have
/// to ask every other home for the bytes first.
pub const STREAM_SILENCE_MS: u64 = 20_000;

/// How long a command that was told to stop may take to say so by itself: its
/// thread may hang in a write to a file system that is gone.
pub const STOP_PATIENCE_MS: u64 = 3_000;

/// How long its last words may take then: standard error may be what hangs.
pub const LAST_WORDS_MS: u64 = 500;

/// Pause between redraws of the progress bar: ten a second look alive and cost
/// nothing.
pub const BAR_MS: u64 = 100;

/// Pause between progress lines without a terminal: a log stays readable.
pub const LINE_MS: u64 = 2_000;

/// Time over which frames per second are averaged.
pub const RATE_WINDOW_MS: u64 = 5_000;

/// Jobs or tasks requested at a time: a page stays far below the message limit.
pub const PAGE_ROWS: u32 = 200;

/// Films of one folder that are looked at: what they need of memory stays at some
/// hundred MiB.
pub const FOLDER_FILES_MAX: usize = 1_000_000;

/// How many folders deep films are looked for: deeper than any library is.
pub const FOLDER_DEPTH_MAX: usize = 64;

/// Most of a film's header that is read to judge it by: the table of a film of ten
/// hours is smaller.
pub const HEADER_BYTES_MAX: u64 = 64 << 20;

/// Boxes or elements passed on the way to a header: a fragmented film of a day
/// has its header before them.
pub const BOXES_MAX: usize = 10_000;

/// Most of a ledger: lines of two million films.
pub const LEDGER_BYTES_MAX: u64 = 1 << 30;

/// How long to wait for another program that adds a line to the ledger.
pub const LEDGER_LOCK_MS: u64 = 5_000;

/// Pause between looks at that.
pub const LEDGER_LOCK_PAUSE_MS: u64 = 5;

/// Numbers tried for an output or a moved source whose name is taken.
pub const FILE_NUMBERS_MAX: u32 = 1_000;

/// Jobs of one file that were deleted, or failed and were tried again.
pub const FILE_TURNS_MAX: u32 = 100;

/// Files done at a time, unless told otherwise: while one is encoded the next is
/// uploaded, and a cluster of a few machines has enough to do.
pub const FILES_AT_ONCE: u16 = 4;

/// Most files done at a time: each has a connection and a few MiB of chunks.
pub const FILES_AT_ONCE_MAX: u16 = 64;

/// Pause before a file is tried again for which the cluster had no room.
pub const ROOM_PAUSE_MS: u64 = 5_000;

/// Shortest pause between looks at a watched folder: each reads all of its names.
pub const SCAN_MS_MIN: u64 = 100;

/// How long a film must not have been written that is replaced: a copy that pauses
/// does so for less.
pub const REPLACE_SETTLE_MS: u64 = 10_000;

/// First pause before a file of a watched folder is tried again that could not be
/// read, written or sent.
pub const FILE_PAUSE_MS_MIN: u64 = 5_000;

/// Longest such pause: whoever has made room sees it go on soon.
pub const FILE_PAUSE_MS_MAX: u64 = 300_000;

/// Extended attributes of a replaced film that go with it, and most of one: what
/// common file systems hold of them.
pub const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

/// Nodes that `dev` may start; more on one machine only slow each other down.
pub const DEV_NODES_MAX: u32 = 9;

/// How far above its port for nodes and the CLI a node of `dev` serves HTTP.
pub const DEV_HTTP_PORTS_ABOVE: u16 = 1000;

/// The highest port of a first node of `dev`: all ports of all nodes fit.
pub const DEV_BASE_PORT_MAX: u16 = u16::MAX - DEV_HTTP_PORTS_ABOVE - DEV_NODES_MAX as u16;

/// Most voters among them: a majority of more costs more than it saves.
pub const DEV_VOTERS_MAX: u32 = 7;

/// First pause before a dead node is restarted.
pub const RESTART_MS_MIN: u64 = 500;

/// Longest such pause: a node must be back within 10 s of its failure.
pub const RESTART_MS_MAX: u64 = 3_000;

/// A node that lived this long is healthy: its next pause is the first one
/// again.
pub const RESTART_WELL_MS: u64 = 10_000;

/// Time a node has to exit by itself before it is killed.
pub const STOP_GRACE_MS: u64 = 10_000;

/// How long `dev` waits for its ports: those of a supervisor just killed are
/// free again in a moment.
pub const PORT_WAIT_MS: u64 = 2_000;

/// Longest log line passed on whole; a longer one is split.
pub const LOG_LINE_BYTES_MAX: u64 = 8 << 10;

/// Log lines that wait for a slow terminal; further ones are dropped, since a
/// paused terminal must not pause the cluster.
pub const LOG_LINES_QUEUED_MAX: usize = 4_096;

const _: () =
    assert!(JOB_ID_BYTES < JOB_ID_BYTES_KEPT && 2 * JOB_ID_BYTES_KEPT < FILE_NAME_BYTES_MAX);
const _: () = assert!(FILES_AT_ONCE <= FILES_AT_ONCE_MAX);
const _: () = assert!(LEDGER_LOCK_PAUSE_MS < LEDGER_LOCK_MS);
const _: () = assert!(CHUNK_BYTES <= CHUNK_BYTES_MAX);
const _: () = assert!(3 * CALL_MS < FOLLOW_MS && CALL_MS < STREAM_SILENCE_MS);
const _: () = assert!(WATCH_SILENCE_MS <= STREAM_SILENCE_MS && STREAM_SILENCE_MS < FOLLOW_MS);
const _: () = assert!(CONNECT_STAGGER_MS < CONNECT_MS && CONNECT_MS < ANSWER_MS);
const _: () = assert!(ANSWER_MS < UNREACHABLE_MS && UNREACHABLE_MS < FOLLOW_MS);
const _: () = assert!(BACKOFF_MS_MIN <= BACKOFF_MS_MAX && RESTART_MS_MIN <= RESTART_MS_MAX);
const _: () = assert!(DEV_VOTERS_MAX % 2 == 1 && DEV_VOTERS_MAX <= DEV_NODES_MAX);

/// How often one looks how far the comparison of an output with its source is.
pub const MEASURE_LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// How often it is asked for of a job whose homes are still putting its tasks by.
pub const MEASURE_TRIES: u32 = 30;
