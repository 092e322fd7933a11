//! Every limit and time of the consensus layer, named once with its reason
//! (P8).

use std::time::Duration;

use reelraft_model::limits::COMMANDS_PER_ENTRY_MAX;
use reelraft_storage::limits::LOG_PAYLOAD_BYTES_MAX;

/// Turns of jobs that a node remembers for those who follow them: some hundred
/// jobs from beginning to end, and with names and problems of usual length 2 MiB.
pub const TURNS_KEPT: usize = 4_096;

/// Turns that a follower takes at once, and holds until its client took them.
pub const TURNS_TAKEN_MAX: usize = 64;

/// How often a leader sends heartbeats. A takeover is no quicker with more of
/// them, since it begins with the last one, and on a small share of a core each
/// is dear: it wakes a few threads on both sides.
pub const HEARTBEAT: Duration = Duration::from_millis(90);

/// The same while no job is open. A lost leader is missed by nobody then, and
/// nodes that do nothing should cost nothing.
pub const HEARTBEAT_AT_REST: Duration = Duration::from_millis(500);

/// How far Raft's times are stretched meanwhile, in percent of the usual ones: a
/// takeover then takes 2 to 3 s.
pub const STRETCH_PERCENT_AT_REST: u32 = 400;

/// How long nothing must have been open before a leader's heartbeats become
/// rarer: followers must have heard by then that all jobs have ended, and be as
/// patient.
pub const REST_AFTER: Duration = Duration::from_secs(2);

/// How far the search for a leader is stretched at rest, in percent: as long as a
/// takeover takes then, and not as long as clients would wait where there is no
/// quorum.
pub const LEADER_WAIT_PERCENT_AT_REST: u32 = 200;

/// How long openraft waits for the answer to one. It must give a busy machine
/// time to schedule a few threads, and an answer that comes later than a lease
/// is worthless. openraft calls it the interval, and looks at its timers five
/// times in it.
pub const HEARTBEAT_ANSWER_MS: u64 = 140;

/// How long an answer is still waited for to learn how slow the other node is.
pub const HEARTBEAT_LATE: Duration = DELAY_IS_FAULT;

/// A follower whose log takes longer than this to sync answers heartbeats
/// without waiting for it. Usual disks are quicker, and need no second look.
pub const HEARTBEAT_SYNC_WAIT: Duration = Duration::from_millis(10);

/// Bounds of the election timeout. A follower first waits the upper one (the
/// old leader's lease), then a random time between both. A takeover takes 0.5
/// to 0.7 s, and must stay under a second with the planning (P4).
pub const ELECTION_MS_MIN: u64 = 150;
pub const ELECTION_MS_MAX: u64 = 300;

/// What the usual timeouts bear, with some reserve. A pause between two
/// heartbeats: two thirds of the lease and the shortest timeout after it.
pub const BEAT_GAP_USUAL_MAX: Duration =
    Duration::from_millis((ELECTION_MS_MAX + ELECTION_MS_MIN) * 2 / 3);
/// A heartbeat's answer: of the time that openraft waits for it.
pub const ROUND_TRIP_USUAL_MAX: Duration = Duration::from_millis(HEARTBEAT_ANSWER_MS * 5 / 7);
/// A sync: openraft waits for a vote as long as for the shortest timeout, and
/// the voter must have synced it by then.
pub const LOG_SYNC_USUAL_MAX: Duration = Duration::from_millis(ELECTION_MS_MIN);

/// How far Raft's times are stretched at most, in percent of the usual ones: a
/// takeover then takes 4 to 5 s. What is still slower is of no use.
pub const STRETCH_PERCENT_MAX: u32 = 800;

/// How far one single delay stretches them at most. A takeover after a fault
/// that is over must not take much longer than usual.
pub const STRETCH_ONCE_PERCENT_MAX: u32 = 150;

/// How long a delay is remembered: nine slots of five seconds, less than the
/// minute after which a machine that is quiet again must be as quick as ever.
pub const PACE_SLOTS: usize = 9;
pub const PACE_SLOT_TIME: Duration = Duration::from_secs(5);

/// A silence this long is no slowness: a node was stopped, or cut off.
pub const DELAY_IS_FAULT: Duration = Duration::from_secs(3);

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

/// Rows after which such a batch is written: entries with plans of long films
/// have thousands each, and the table must take them well within the time after
/// which the watchdog calls it a hang. One entry is never divided.
pub const APPLY_BATCH_ROWS: usize = 1_000;

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

/// How openraft waits, in its own time, before it tries an unreachable node
/// again. On the busiest machine that is eight times as long.
pub const BACKOFF: &str = "20ms 50ms ..100ms";

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

/// How long a read waits in Raft's time until this replica has applied its
/// index.
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

/// The same, while nothing is missing and nothing is applied.
pub const UPKEEP_AT_REST: Duration = Duration::from_secs(5);

/// How often leadership is checked without an event, in Raft's time.
pub const LEADERSHIP_EVERY: Duration = Duration::from_millis(100);

/// How long a change of the members may take: two entries, and a quorum of the old and
/// of the new voters.
pub const CHANGE_TIME: Duration = Duration::from_secs(10);

/// How often a node that hears of no leader asks whether it was removed.
pub const REMOVAL_LOOK_EVERY: Duration = Duration::from_secs(3);

/// How long a planned stop waits until another node leads.
pub const HAND_OVER_TIME: Duration = Duration::from_millis(1_000);

/// How long a planned stop waits for Raft's tasks.
pub const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// The watchdog's tick. It counts ticks rather than time, which also passes
/// while the process is stopped.
pub const HANG_TICK: Duration = Duration::from_millis(100);

/// How often the watchdog looks up while no operation is open, and after how
/// many ticks without one it begins to.
pub const HANG_REST: Duration = Duration::from_secs(1);
pub const HANG_REST_TICKS: u64 = 10;

/// Ticks after which a leader's unfinished write counts as a hang. With the
/// flush before it and the election after it, another node assigns within 3 s.
/// Busy disks were seen to take 0.4 s for a sync.
pub const HANG_TICKS_LEADER: u64 = 15;

/// Where operations take long again and again, as on a disk that other programs
/// fill, they may take this many times as long as lately before they count as a
/// hang, but not longer than the bounds below.
pub const HANG_FACTOR: u64 = 3;
pub const HANG_TICKS_LEADER_MAX: u64 = 60;
pub const HANG_TICKS_MAX: u64 = 90;

/// The same for a node that does not lead, or is the only voter. Nobody waits
/// for its disk, its encoders should go on, and nodes that share a disk must
/// not all end at once when it stalls.
pub const HANG_TICKS: u64 = 50;

/// A disk that has completed a write within so many ticks is busy and does not
/// hang: operations have as long as the bounds above allow.
pub const DISK_WORKS_TICKS: u64 = 5;

/// Ticks after which a snapshot without progress counts as a hang: syncing a
/// large file takes a while.
pub const HANG_TICKS_SNAPSHOT: u64 = 100;

/// How often the table is flushed. Otherwise sled would hide a hanging disk until
/// its buffers are full.
pub const TABLE_FLUSH_EVERY: Duration = Duration::from_millis(250);

/// Table hashes kept with their indexes, so that replicas can be compared at one
/// that all have passed: some seconds' worth of a busy cluster.
pub const TABLE_HASHES_KEPT: usize = 1024;

/// Threads of Raft's own runtime: one may wait for the disk while another
/// answers heartbeats.
pub const RAFT_THREADS: usize = 2;

/// Most voters: beyond seven, each adds more cost to every write than safety.
pub const VOTERS_MAX: usize = 7;

/// By how many terms a recovered node is ahead of those that were given up: more
/// than their elections can raise in years, and far from the end of the numbers.
pub const RECOVERY_TERMS: u64 = 1 << 32;

/// How long the disk of a recovered node may take to sync an entry.
pub const RECOVERY_SYNC_TIME: Duration = Duration::from_secs(60);

const _: () = assert!(
    HEARTBEAT.as_millis() as u64 * 4 < ELECTION_MS_MAX + ELECTION_MS_MIN,
    "nobody asks for votes before three heartbeats in a row are lost"
);
const _: () = assert!(HEARTBEAT_ANSWER_MS < ELECTION_MS_MIN);
const _: () = assert!(HEARTBEAT.as_millis() * 3 < BEAT_GAP_USUAL_MAX.as_millis());
const _: () = assert!(
    PACE_SLOT_TIME.as_secs() * (PACE_SLOTS as u64 + 1) < 60,
    "what is over is forgotten within a minute"
);
const _: () =
    assert!(HANG_TICKS_LEADER_MAX < HANG_TICKS_MAX && HANG_TICKS_MAX < HANG_TICKS_SNAPSHOT);
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

const _: () = assert!(
    HEARTBEAT_AT_REST.as_millis() as u64 * 2
        < ELECTION_MS_MAX * (STRETCH_PERCENT_AT_REST / 100) as u64,
    "one lost heartbeat does not end the lease at rest"
);
const _: () = assert!(HEARTBEAT.as_millis() < HEARTBEAT_AT_REST.as_millis());
