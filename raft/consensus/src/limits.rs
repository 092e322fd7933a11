//! Every limit and time of the consensus layer, named once with its reason
//! (P8).

use std::time::Duration;

use reelraft_model::limits::COMMANDS_PER_ENTRY_MAX;
use reelraft_storage::limits::LOG_PAYLOAD_BYTES_MAX;

/// How often a leader sends heartbeats. It is also openraft's limit for the
/// answer, so it must give a busy machine time to schedule two threads.
pub const HEARTBEAT_MS: u64 = 50;

/// Bounds of the election timeout. A follower first waits the upper one (the
/// old leader's lease), then a random time between both. A takeover takes 0.5
/// to 0.7 s, and must stay under a second with the planning (P4).
pub const ELECTION_MS_MIN: u64 = 150;
pub const ELECTION_MS_MAX: u64 = 300;

/// After this long without a quorum's answer a leader no longer counts as one:
/// the others may have elected another by then. Longer than an election, so
/// that a short stall does not end its plans.
pub const QUORUM_SILENCE: Duration = Duration::from_millis(1_000);

/// A snapshot is made when the log since the last one is so many times as long:
/// then writing it costs no more than a part of writing the log did.
pub const SNAPSHOT_LOG_RATIO: u64 = 2;

/// Bounds of that: less log is read in a moment at the next start, and more
/// would take seconds.
pub const SNAPSHOT_LOG_BYTES_MIN: u64 = 4 << 20;
pub const SNAPSHOT_LOG_BYTES_MAX: u64 = 256 << 20;

/// Applied entries after which a snapshot is made however short they are.
pub const SNAPSHOT_EVERY_ENTRIES: u64 = 50_000;

/// By how many percent at most a node makes its snapshots later than another:
/// all apply the same log, and must not be busy with it together.
pub const SNAPSHOT_SPREAD_PERCENT: u64 = 50;

/// Entries kept behind a snapshot, so that a node that lags a little catches
/// up from the log.
pub const LOG_KEEP_ENTRIES: u64 = 1_000;

/// Entries applied together: one batch for the table, one round of replies.
pub const APPLY_BATCH_ENTRIES: usize = 64;

/// Broken rules of the table that are logged one by one at a start. The first
/// ones tell what went wrong.
pub const VIOLATIONS_LOGGED_MAX: usize = 10;

/// Payload bytes sent in one append.
pub const APPEND_BYTES_MAX: u64 = 1 << 20;

/// Longest entry that may be proposed.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Longest message of a peer: an append with one entry over its limit.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of a snapshot in one message.
pub const SNAPSHOT_PIECE_BYTES: usize = 256 << 10;

/// Pieces of a snapshot in flight: bounds memory on a slow link.
pub const SNAPSHOT_PIECES_AHEAD: usize = 4;

/// How long sending and installing a snapshot may take.
pub const SNAPSHOT_TIME: Duration = Duration::from_secs(600);

/// How long an append may take on the other node. If its disk stalls, heartbeats
/// go on meanwhile.
pub const APPEND_TIME: Duration = Duration::from_secs(2);

/// How long a heartbeat or a vote may take: after another election timeout the
/// answer is worthless.
pub const VOTE_TIME: Duration = Duration::from_millis(ELECTION_MS_MAX);

/// How long connecting may take.
pub const CONNECT_TIME: Duration = Duration::from_millis(500);

/// How often a silent connection is probed, and how long the answer may take: a
/// machine that is gone sends no reset.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(2);

/// How openraft waits before it tries an unreachable node again.
pub const BACKOFF: &str = "20ms 50ms 100ms ..300ms";

/// How long a proposal or a linearizable read looks for a leader. An election
/// takes 0.5 to 0.7 s, and up to 1.5 s on a busy machine. A client must hear
/// within 2 s that there is no quorum.
pub const LEADER_WAIT: Duration = Duration::from_millis(1_700);

/// How long the leader waits until its own proposal is confirmed. Nobody waits
/// for the answer to a plan, and a slow disk is not a lost quorum.
pub const CONFIRM_TIME: Duration = Duration::from_secs(5);

/// How long one try with one leader may take within [`LEADER_WAIT`].
pub const TRY_TIME: Duration = Duration::from_millis(1_500);

/// Pause between two tries if nothing has changed meanwhile.
pub const TRY_PAUSE: Duration = Duration::from_millis(20);

/// How long a read waits until this replica has applied its index.
pub const APPLY_WAIT: Duration = Duration::from_secs(5);

/// Reads that may wait for the next round.
pub const READS_WAITING_MAX: usize = 16_384;

/// How often a fresh node asks the others whether they know it.
pub const IDENTIFY_EVERY: Duration = Duration::from_millis(100);

/// How long one such question may take.
pub const IDENTIFY_TIME: Duration = Duration::from_secs(1);

/// How often a fresh node logs what it still waits for.
pub const IDENTIFY_REPORT_EVERY: Duration = Duration::from_secs(10);

/// How often a node checks that the table has its disk and its address, and a
/// leader checks that all learners are members.
pub const UPKEEP_EVERY: Duration = Duration::from_millis(500);

/// How often leadership is checked without an event.
pub const LEADERSHIP_EVERY: Duration = Duration::from_millis(100);

/// How long a planned stop waits until another node leads.
pub const HAND_OVER_TIME: Duration = Duration::from_millis(1_000);

/// How long a planned stop waits for Raft's tasks.
pub const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// The watchdog's tick. It counts ticks rather than time, which also passes
/// while the process is stopped.
pub const HANG_TICK: Duration = Duration::from_millis(100);

/// Ticks after which a leader's unfinished write counts as a hang. With the
/// flush before it and the election after it, another node assigns within 3 s.
/// Busy disks were seen to take 0.4 s for a sync.
pub const HANG_TICKS_LEADER: u64 = 15;

/// The same for a node that does not lead, or is the only voter. Nobody waits
/// for its disk, its encoders should go on, and nodes that share a disk must
/// not all end at once when it stalls.
pub const HANG_TICKS: u64 = 50;

/// Ticks after which a snapshot without progress counts as a hang: syncing a
/// large file takes a while.
pub const HANG_TICKS_SNAPSHOT: u64 = 100;

/// How often the table is flushed. Otherwise sled would hide a hanging disk until
/// its buffers are full.
pub const TABLE_FLUSH_EVERY: Duration = Duration::from_millis(250);

/// Threads of Raft's own runtime: one may wait for the disk while another
/// answers heartbeats.
pub const RAFT_THREADS: usize = 2;

/// Most voters: beyond seven, each adds more cost to every write than safety.
pub const VOTERS_MAX: usize = 7;

const _: () = assert!(HEARTBEAT_MS * 3 <= ELECTION_MS_MIN);
const _: () = assert!(QUORUM_SILENCE.as_millis() as u64 > 2 * ELECTION_MS_MAX);
const _: () = assert!(ELECTION_MS_MIN < ELECTION_MS_MAX);
const _: () = assert!(TRY_TIME.as_millis() < LEADER_WAIT.as_millis());
const _: () = assert!(ENTRY_BYTES_MAX < LOG_PAYLOAD_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX as usize + ENTRY_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(SNAPSHOT_PIECE_BYTES < MESSAGE_BYTES_MAX);
const _: () = assert!(HANG_TICKS_LEADER < HANG_TICKS && HANG_TICKS < HANG_TICKS_SNAPSHOT);
const _: () = assert!(
    TABLE_FLUSH_EVERY.as_millis() as u64
        + HANG_TICK.as_millis() as u64 * (HANG_TICKS_LEADER + 1)
        + 3 * ELECTION_MS_MAX
        < 3_000,
    "a leader whose disk stalls is replaced within 3 s"
);
const _: () = assert!(LOG_KEEP_ENTRIES < SNAPSHOT_EVERY_ENTRIES);
const _: () = assert!(SNAPSHOT_LOG_BYTES_MIN < SNAPSHOT_LOG_BYTES_MAX);
const _: () = assert!(COMMANDS_PER_ENTRY_MAX > 0);
