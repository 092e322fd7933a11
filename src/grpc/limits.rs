//! Every limit and timeout of the gRPC adapters, named once with its reason.

use std::time::Duration;

use reelraft_proto::dial::Timing;

use crate::{
    api::limits::UPLOAD_CHUNKS_MAX,
    data::limits::{
        CHUNK_BYTES, PART_BYTES, PARTS_AHEAD, SILENCE_MIN, STALL_TIMEOUT, UPLOAD_WINDOW,
    },
};

/// Largest message that carries bytes: one chunk, its names and some slack.
pub const MESSAGE_BYTES_MAX: usize = CHUNK_BYTES + (64 << 10);

/// Largest request of a call that carries no bytes: names of 255 bytes at most,
/// a spec of a few hundred, and the token of a page.
pub const SMALL_REQUEST_BYTES_MAX: usize = 16 << 10;

/// How long such a request may take to come: 1.6 KiB a second are enough for the
/// largest. What has come of it waits in this node's memory.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Calls at once on one connection that need no secret: checks of health, and
/// watches of it. All newcomers together hold 8 MiB of requests by them.
pub const CALLS_WITHOUT_SECRET_MAX: usize = 8;

/// Newcomers that are let in at once: each waits for an entry of the log.
pub const JOINS_MAX: usize = 8;

/// How long a newcomer waits for its answer: as long as a proposal may take, and a look
/// at who listens at its address.
pub const JOIN_TIME: Duration = Duration::from_secs(15);

/// Looks at the reflection at once. Each is a stream whose caller may leave its
/// answers unread; what it sends then waits in a window of 4 MiB.
pub const REFLECTIONS_MAX: usize = 8;

/// Chunks named in one message of a journal, some 80 bytes each.
pub const JOURNAL_PAGE: usize = 4_096;

/// Flow control of one stream and of one connection, and the largest frame:
/// measured to move 2,174 MB/s where the defaults move 1,395.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const FRAME_BYTES: u32 = 1 << 20;

/// Connections of clients that a node holds at once. With those of nodes and
/// newcomers below the 1,024 files that a process may have open by default, so
/// that its log and its blobs can still be opened.
pub const CLIENTS_MAX: usize = 448;

/// A client's connection on which nothing is asked for this long gives way where
/// there is no room for another's: longer than between two calls of one command.
pub const IDLE_GIVES_WAY_AFTER: Duration = Duration::from_secs(5);

/// Connections of other nodes: each makes a handful, and more while it starts
/// again and the old ones are not yet known to be dead.
pub const PEERS_MAX: usize = 128;

/// Connections on which no secret was shown yet. A node shows its own with its
/// first call, within milliseconds.
pub const NEWCOMERS_MAX: usize = 64;

/// How long a connection may stay without showing a secret: more than a health
/// check or a look at the reflection takes.
pub const NEWCOMER_PATIENCE: Duration = Duration::from_secs(60);

/// Pause after a connection that could not be accepted, as when no more files
/// can be opened.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Calls at once on one connection. A node has one to each other node: the
/// chunks of as many uploads as it serves, and what its own slots read.
pub const STREAMS_MAX: u32 = 512;

/// Blobs that a node reads for others at once: far more than a disk gains
/// from. Each has [`PARTS_AHEAD`] parts of 1 MiB ready, one being read, one
/// encoded and one sent: 5 MiB each, and 240 MiB for all of them.
pub const READS_MAX: usize = 48;

/// Bytes of an output in one message. A client that hears nothing for 20 s looks
/// for another node: a line of 4 KiB a second still delivers one in time.
pub const FETCH_PART_BYTES: usize = 64 << 10;

/// How long a read waits for its turn. The others end within seconds, and the
/// reader asks another home after a refusal.
pub const READ_TURN: Duration = Duration::from_secs(2);

/// How long a connection to a node may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A node with a call under way is asked this often whether it still lives. A slot of a worker
/// waits while a home that hangs has not been found out, and shards of a dead
/// node can't be given to it.
pub const KEEPALIVE_EVERY: Duration = Duration::from_millis(500);

/// An unanswered question ends the connection after this: some retransmissions
/// on a bad link, and more than a busy node needs to be scheduled.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A silent connection is asked by the server as well, so that one whose client is
/// gone leaves its place. A stream that nobody reads ends by its own limit.
pub const SILENT_ASKED_EVERY: Duration = Duration::from_secs(5);

/// Connections to other nodes' disks.
pub const BLOB_TIMING: Timing = Timing {
    connect: CONNECT_TIMEOUT,
    keepalive_every: KEEPALIVE_EVERY,
    keepalive_timeout: KEEPALIVE_TIMEOUT,
};

/// The worker's session with the leader. Connecting is short, as it is on the
/// path of a takeover. Beats show the leader that the worker lives; the pings
/// show the worker a flow that the network swallows, long before TCP would. A
/// busy machine must not end a session by being late.
pub const SESSION_TIMING: Timing = Timing {
    connect: CONNECT_TIMEOUT,
    keepalive_every: Duration::from_secs(2),
    keepalive_timeout: Duration::from_secs(5),
};

const _: () = assert!(CLIENTS_MAX + PEERS_MAX + NEWCOMERS_MAX <= 640);
const _: () =
    assert!(NEWCOMERS_MAX * CALLS_WITHOUT_SECRET_MAX * SMALL_REQUEST_BYTES_MAX <= 8 << 20);
const _: () = assert!(REFLECTIONS_MAX * STREAM_WINDOW_BYTES as usize <= 32 << 20);
const _: () = assert!(READS_MAX * (PARTS_AHEAD + 3) * PART_BYTES <= 256 << 20);
const _: () = assert!(READ_TURN.as_millis() < STALL_TIMEOUT.as_millis());
const _: () = assert!(UPLOAD_CHUNKS_MAX < STREAMS_MAX as usize);
const _: () = assert!(SILENCE_MIN.as_millis() <= KEEPALIVE_TIMEOUT.as_millis());
const _: () = assert!(PART_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(JOURNAL_PAGE * 100 < MESSAGE_BYTES_MAX);
const _: () = assert!(UPLOAD_WINDOW * CHUNK_BYTES <= CONNECTION_WINDOW_BYTES as usize);
