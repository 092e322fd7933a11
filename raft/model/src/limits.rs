//! Every limit of the replicated table, named once with its reason.

/// Shards that one command may add. A command stays far below the wire's
/// 4 MiB even with long rows, and applying it never holds the log up.
pub const PLAN_SHARDS_PER_COMMAND_MAX: usize = 256;

/// Shards of one job. At the default shard length this is a film of 27 hours;
/// a longer one gets longer shards.
pub const SHARDS_PER_JOB_MAX: usize = 20_000;

/// Tombstoned jobs forgotten by one command, for the same reason as shards.
pub const PURGE_ROWS_PER_COMMAND_MAX: usize = 256;

/// Commands in one log entry. The leader's plan is cut into entries of this.
pub const COMMANDS_PER_ENTRY_MAX: usize = 64;

/// Attempts at one task before its job fails (lost nodes do not count).
pub const ATTEMPTS_MAX: u32 = 6;

/// Distinct nodes on which a task fails before its job fails. Fewer where fewer
/// nodes can run it. Nodes that fall silent with it don't count: they are
/// killed, cut off and ended by their own disks, and an encoder that takes too
/// much ends before its node does.
pub const POISON_NODES: usize = 3;

/// Attempts that nodes' own faults, or their loss, may cost one task before the
/// job fails all the same: a cluster whose every disk is full, or whose nodes
/// all die of one task, must say so in the end.
pub const NODE_FAULTS_MAX: u32 = 30;

/// A deleted or finished job's id is remembered this long after deletion, so
/// that a late retry of its request finds it (P5).
pub const REQUEST_MEMORY_MS: u64 = 7 * 24 * 3600 * 1000;

/// Longest text of a name, tenant or request id, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest cause or hint kept in the table; the whole stderr is a blob.
pub const PROBLEM_BYTES_MAX: usize = 1_000;

/// Failures kept with a task: as many as it has attempts, and lost nodes.
pub const FAILURES_KEPT_MAX: usize = 8;

/// Largest source, in bytes: 16 TiB, ext4's own largest file.
pub const SOURCE_BYTES_MAX: u64 = 16 << 40;

/// Largest picture side. x264, x265 and VP9 take 16384; larger ones cost
/// gigabytes a frame.
pub const PICTURE_SIDE_MAX: u32 = 16_384;

/// Bounds of the aimed-at shard length. Shorter ones are all lead-in, longer
/// ones leave nodes idle.
pub const SHARD_MS_MIN: u32 = 500;
/// See [`SHARD_MS_MIN`].
pub const SHARD_MS_MAX: u32 = 600_000;
/// The default shard length: long enough that lead-in costs little, short
/// enough that three nodes share a one-minute clip.
pub const SHARD_MS_DEFAULT: u32 = 6_000;

/// Highest output frame rate. Above it a one-hour clip has over 2^20 frames.
pub const FPS_MAX: u32 = 300;

/// Most audio tracks of an output: each is a task of its own.
pub const TRACKS_MAX: usize = 32;

const _: () = assert!(PLAN_SHARDS_PER_COMMAND_MAX <= SHARDS_PER_JOB_MAX);
const _: () = assert!(SHARD_MS_MIN <= SHARD_MS_DEFAULT && SHARD_MS_DEFAULT <= SHARD_MS_MAX);
const _: () = assert!(FAILURES_KEPT_MAX >= ATTEMPTS_MAX as usize);
