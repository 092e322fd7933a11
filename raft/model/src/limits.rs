//! Every limit of the replicated table, named once with its reason.

use crate::housekeeping::JobBounds;

/// Shards that one command may add. A command stays far below the wire's 4 MiB
/// even with long rows, and applying it never delays the log.
pub const PLAN_SHARDS_PER_COMMAND_MAX: usize = 256;

/// Shards of one job. At the usual shard length this is a film of two days;
/// a longer one gets longer shards.
pub const SHARDS_PER_JOB_MAX: usize = 20_000;

/// Tombstones that one command may remove, for the same reason as shards.
pub const PURGE_ROWS_PER_COMMAND_MAX: usize = 256;

/// Commands in one log entry. The leader cuts its plan into entries of this size.
pub const COMMANDS_PER_ENTRY_MAX: usize = 64;

/// Assemblies that a node may run beside its slots, more take slots: a film whose
/// frames are all encoded does not wait behind the shards of another. One copies
/// bytes for the most part and takes little of a processor.
pub const ASSEMBLIES_BESIDE_SLOTS: u32 = 1;

/// The speed of a node of which nothing is known: frames in a thousand seconds, as
/// if it took as long as the film lasts.
pub const SPEED_DEFAULT_MFPS: u64 = 25_000;

/// The highest speed that is believed, in the same unit: sums of it stay small.
pub const SPEED_MFPS_MAX: u64 = 1_000_000_000;

/// What is known beforehand of a speed weighs as much as so long a look at it: an
/// attempt's first second shows how long its encoder takes to start, and no more.
pub const SPEED_PRIOR_MS: u64 = 2_000;

/// How long an attempt is watched to say how fast it goes now: several heartbeats, as
/// encoders give frames by the dozen.
pub const SPEED_RECENT_MS: u64 = 5_000;

/// A shard has a twin begun where that would end in a part of so many of the time
/// which the shard itself still takes, and so much earlier: what is expected is never
/// quite so, and a twin is work done twice.
pub const TWIN_TIMES_FASTER: u64 = 2;
pub const TWIN_GAIN_MS: u64 = 3_000;

/// What was seen of a speed longer ago counts half: machines get other work, too.
pub const SPEED_MEMORY_MS: u64 = 120_000;

/// Nodes that are looked at to see how fast they are in general, or how hard a job is.
/// A plan is made for each event, and more would say the same.
pub const SPEED_SAMPLE_NODES: usize = 64;

/// Nodes whose speeds differ by less than a part of so many count as equally fast.
pub const SPEED_CLASSES: u64 = 8;

/// A task that takes no longer than this goes to the slowest node that is free, so
/// that long ones find the fast ones free.
pub const SMALL_TASK_MS: u64 = 1_000;

/// A film's shards are given out in its order while all nodes have this many times as
/// long to do as one of them takes for the longest: enough is left then to end together
/// by the longest first.
pub const IN_ORDER_TIMES: u64 = 2;

/// A job is small up to so large a source, and so many frames: two minutes.
pub const SMALL_SOURCE_BYTES: u64 = 64 << 20;
pub const SMALL_JOB_FRAMES: u64 = 3_000;

/// One running task in so many of a tenant may be that of a small job which has
/// overtaken its older ones.
pub const SMALL_JOBS_SHARE: u32 = 4;

/// Jobs that one plan passes by because their last shards wait for faster nodes than
/// are free: each costs a look at all nodes.
pub const JOBS_HELD_BACK_MAX: usize = 4;

/// Attempts at one task before its job fails (lost nodes do not count).
pub const ATTEMPTS_MAX: u32 = 6;

/// The highest priority of a job; the lowest is as far below 0.
pub const PRIORITY_MAX: i32 = 10;

/// How often a job's owner may have a task's own failures tried again, at most.
pub const RETRIES_MAX: u32 = 10;

/// Distinct nodes on which a task fails before its job fails, or fewer if fewer can
/// run it. Nodes that fall silent with it don't count: nodes are also killed, cut
/// off, or ended by their own disks, and an encoder that takes too much ends
/// before its node does.
pub const POISON_NODES: usize = 3;

/// Attempts that one task may lose to faults or losses of nodes before its job
/// fails. Waiting for bytes that are out of reach is no such fault. A cluster whose disks are all full, or whose nodes all die of one task,
/// must say so in the end.
pub const NODE_FAULTS_MAX: u32 = 30;

/// Former homes of one job that are kept to be read from while their
/// replacements are filled: those with a full copy, at most as many as the homes
/// of a job with seven voters, and as many that came and went meanwhile.
pub const RETIRING_HOMES_MAX: usize = 8;

/// Finished jobs whose homes one entry may change. Each change costs a copy of
/// an output, and whatever else an entry carries is more urgent.
pub const REHOMED_PER_ENTRY_MAX: usize = 16;

/// How long a home of a finished output may be silent before another node takes
/// its place, by default. Long enough for a reboot with its checks of the disk:
/// copying all outputs of a node takes hours, and the other homes have them.
pub const REHOME_AFTER_MS: u64 = 10 * 60 * 1000;

/// How long a node may be silent before nobody counts on it to come back with the
/// encoder build that a job is bound to, by default: the job is then planned anew
/// under another. As long as for a finished output: all that was encoded is
/// encoded again, and a reboot must not cost that.
pub const REPLAN_AFTER_MS: u64 = REHOME_AFTER_MS;

/// What this program can read and write in the log. 1 brought [`crate::Replan`],
/// [`crate::Complete::epoch`], and all that bounds the table: [`crate::Fold`],
/// [`crate::TouchUpload`] and [`crate::CreateJob::bounds`]. From 2 on an analysis
/// whose build lacks an encoder unbinds its job. 3 brought the options that choose
/// streams, and notes of the assembly. 4 brought keys, quotas, and what a job's owner
/// says of its turn and its retries, sources behind URLs, deliveries and webhooks,
/// kept sources and [`crate::RetryJob`], and from it on tombstones are forgotten
/// fairly, a node that is gone does not hold the level of the others down, and an
/// analysis whose build lacks a decoder unbinds its job too. 5 brought work on a source
/// that is still being uploaded, and the output of an equal job instead of another
/// ([`crate::DecideReuse`]). 6 brought options that direct the encoder: a cap on the
/// rate, tunes and keyframes; tokens, nodes that are let in, drained and removed, and a
/// number of voters that is asked for; aims at a size, a bit rate or a quality; single
/// parts that were made before ([`crate::KeptParts`]), and second attempts at shards
/// ([`crate::Twin`]). 7 brought engines ([`crate::Engine`]), deadlines, and aims at a percentile.
/// 8 brought outputs that go into a bucket in parts ([`crate::NoteUpload`]), and those that are
/// compared with their sources after the end ([`crate::MeasureJob`]). 9 brought commands that
/// say what more their proposers saw, and kept sources that leave a node which drains.
pub const FEATURE_LEVEL: u32 = 9;

/// The level from which on a fetch is given up, a job is tried again and a comparison is
/// cancelled only as their proposers saw them.
pub const FENCES_LEVEL: u32 = 9;

/// The level from which on the source of a job that may be tried again counts as bytes of
/// its homes: it is handed over when one drains, and given up when all are gone for good.
pub const KEPT_SOURCES_LEVEL: u32 = 9;

/// The level from which on outputs go into buckets in parts.
pub const PARTED_OUTPUTS_LEVEL: u32 = 8;

/// The level from which on a quality may be one that a percentile of the frames reaches.
pub const PERCENTILE_LEVEL: u32 = 7;

/// The level from which on the homes of a finished job hold its source for a while where
/// its owner asks for that, and its output is compared with it.
pub const MEASURE_LEVEL: u32 = 8;

/// Tasks of such a comparison: enough for all slots of a job's homes, and few enough
/// for the row to name what each has found.
pub const MEASURE_TASKS_MAX: u32 = 32;

/// Bytes that all tasks of such a comparison may read of the output together: each reads
/// and hashes all of it, to know that it is what was made.
pub const MEASURE_READ_BYTES_MAX: u64 = 128 << 30;

/// Comparisons of one tenant that may be open at once, and of all tenants: the leader
/// looks at each whenever it plans.
pub const MEASURING_OF_TENANT_MAX: usize = 64;
pub const MEASURING_MAX: usize = 256;

/// The least memory that a comparison counts for, in MiB: it decodes two films.
pub const MEASURE_MEMORY_MIB_MIN: u64 = 256;

/// How long the source of a finished job is held where its owner asked for that, at
/// most: as long as its parts, for the same reason.
pub const HOLD_SOURCE_MS: u64 = KEEP_PARTS_MS;

/// How long a comparison may wait in line before the source goes that is held for it.
pub const COMPARE_WAITS_MS: u64 = 6 * 3600 * 1000;

/// Sources are held while the disks of their homes could take so many times as much as
/// all of these there: nobody is to be refused for what somebody may ask for.
pub const HELD_SOURCE_ROOM: u64 = 4;

/// The level from which on there are engines.
pub const ENGINES_LEVEL: u32 = 7;

/// Engines that the table knows: a row has some hundred bytes, and the leader looks at
/// each when it plans.
pub const ENGINES_MAX: u64 = 4_096;

/// How many times as fast as a usual member an engine may say that it is.
pub const ENGINE_SPEED_TIMES_MAX: u64 = 4;

/// Engines of which a job says what they made: its row is to stay small.
pub const ENGINE_SHARES_MAX: usize = 16;

/// Bytes of an engine token's secret: nobody guesses 256 bits.
pub const ENGINE_SECRET_BYTES: usize = 32;

/// The level from which on nodes are let in, drained and removed.
pub const MEMBERS_LEVEL: u32 = 6;

/// Most voters: each write waits for more than half of them.
pub const VOTERS_MAX: u32 = 7;

/// Voters where nobody has asked for another number: the fewest of which one may
/// fail.
pub const VOTERS_DEFAULT: usize = 3;

/// Entries that a learner may lack and still be given a vote: what a leader sends in
/// a moment.
pub const CAUGHT_UP_ENTRIES: u64 = 256;

/// How long a voter may be silent before a learner takes its vote. Longer than a
/// reboot takes, since the vote moves for good; a vote costs no copy of any bytes.
pub const REPLACE_VOTER_AFTER_MS: u64 = 60_000;

/// Nodes of a cluster: each has some five connections to every other, of which a node
/// holds 128.
pub const NODES_MAX: u64 = 25;

/// Bytes of a joining token's secret: nobody guesses 256 bits.
pub const TOKEN_SECRET_BYTES: usize = 32;

/// Tokens that are remembered: for one day's newcomers.
pub const TOKENS_MAX: u64 = 256;

/// How long a token is remembered once its time is over, so that a late newcomer is
/// told why it is refused.
pub const TOKEN_MEMORY_MS: u64 = 24 * 3600 * 1000;

/// Bytes of a node's address: a name has at most 253.
pub const ADDRESS_BYTES_MAX: usize = 300;

/// The level from which on the nodes' authorities are in the table.
pub const AUTHORITIES_LEVEL: u32 = 6;

/// The level from which on a shard may have a second attempt beside the first.
pub const TWINS_LEVEL: u32 = 6;

/// The level from which on a job takes single parts that were made before.
pub const PARTS_LEVEL: u32 = 6;

/// Parts that are kept of one job: a film of eleven hours at the usual shard length.
/// Its row has about a megabyte then.
pub const KEPT_PARTS_PER_JOB_MAX: usize = 4_096;

/// Parts that are kept of all jobs, some twenty megabytes in the memory of every
/// node. Beyond them the jobs that have been kept longest lose theirs.
pub const KEPT_PARTS_MAX: usize = 8 * KEPT_PARTS_PER_JOB_MAX;

/// How long the parts of a finished job are kept for others: they take as much of the
/// disks as its output. Whoever wants another sound or container asks for it soon.
pub const KEEP_PARTS_MS: u64 = 3600 * 1000;

/// Jobs of the same source that are asked for parts, the latest first.
pub const SAME_SOURCE_JOBS_MAX: usize = 8;
/// The level from which on a rate factor may be found, and outputs are measured.
pub const AIM_LEVEL: u32 = 6;

/// Films of so few shards are probed as a whole: each shard counts for much.
pub const SAMPLES_OF_ALL: u32 = 8;

/// Of what a film has beyond that, one shard in so many is probed, up to a number that
/// says enough of the longest: a probed shard is encoded three times.
pub const SAMPLES_ONE_OF: u32 = 6;
pub const SAMPLES_MAX: u32 = 40;

/// Rounds of probes. The second is mostly near enough; each costs a wait for its
/// slowest probe.
pub const PROBE_ROUNDS_MAX: u32 = 4;

/// How near a probe must be to a rate factor that is found, in hundredths: that close
/// the logarithm of a size is a straight line.
pub const PROBE_NEAR_CENTI: u32 = 30;

/// Rounds in which shards are encoded again to come nearer to a size, and the first of
/// them in which a film is made larger too: that it has no byte too much counts more.
pub const CORRECTIONS_MAX: u32 = 6;
pub const ENLARGEMENTS_MAX: u32 = 2;

/// How far a single shard is moved for that, in hundredths of a rate factor: nobody
/// sees where it is.
pub const CORRECTION_STEP_CENTI: u32 = 100;

/// The least size, and bit rates, that can be asked for: what is below holds no film,
/// and what is above no encoder gives.
pub const AIM_SIZE_MIN: u64 = 10_000;
pub const AIM_BITRATE_MIN: u32 = 10_000;
pub const AIM_BITRATE_MAX: u32 = 2_000_000_000;

/// The level from which on a job takes the output of an equal one.
pub const REUSE_LEVEL: u32 = 5;

/// The level from which on a source is analysed and encoded while it is uploaded.
pub const EARLY_LEVEL: u32 = 5;

/// Smallest source that is worked on while it is uploaded, in bytes. One that is
/// smaller is looked at as a whole, and is there before much could be done.
pub const EARLY_SOURCE_BYTES_MIN: u64 = 17 << 20;

/// Analyses and audio tracks of unsealed sources that a node may run beside its slots:
/// they wait for their clients for the most part, and must keep no work from a slot.
pub const EARLY_BESIDE_SLOTS: u32 = 4;

/// The level from which on jobs are planned anew, and analyses name their epoch.
pub const REPLAN_LEVEL: u32 = 1;

/// The level from which on a job leaves an encoder build that can't make it.
pub const UNBIND_LEVEL: u32 = 2;

/// The level from which on it also leaves one that can't read its source.
pub const DECODER_LEVEL: u32 = 4;

/// The level from which on nodes may be left behind.
pub const LEFT_BEHIND_LEVEL: u32 = 4;

/// How long a node may be silent before the others write what its program may not
/// be able to read. Longer than any reboot or upgrade, as it must then come back
/// with their program.
pub const LEFT_BEHIND_AFTER_MS: u64 = 3600 * 1000;

/// The level from which on a spec may choose streams.
pub const STREAM_CHOICE_LEVEL: u32 = 3;

/// The level from which on a spec may cap the rate, name a tune and set keyframes.
pub const ENCODER_CHOICE_LEVEL: u32 = 6;

/// The level from which on an assembly may note something of its job.
pub const ASSEMBLY_NOTE_LEVEL: u32 = 3;

/// The level from which on there are keys and quotas.
pub const KEYS_LEVEL: u32 = 4;

/// The level from which on sources outlive a failure, and jobs are tried again.
pub const RETRY_LEVEL: u32 = 4;

/// The level from which on a job may have a priority, and its own bound of retries.
pub const PRIORITY_LEVEL: u32 = 4;

/// The level from which on a job may have a deadline.
pub const DEADLINE_LEVEL: u32 = 7;

/// The level from which on jobs fetch from the outside and send there.
pub const OUTSIDE_LEVEL: u32 = 4;

/// Pauses between the attempts at a delivery, after each that failed: over a day in
/// all, as the receivers' people sleep, too. A short fault costs seconds.
pub const DELIVERY_PAUSES_MS: [u64; 14] = [
    5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 900_000, 1_800_000, 3_600_000,
    7_200_000, 14_400_000, 28_800_000, 28_800_000,
];

/// Attempts that are kept of a delivery, of at most a kilobyte each.
pub const DELIVERY_LOG_MAX: usize = 8;

/// Deliveries that are kept of a job: of four times that it ended.
pub const DELIVERIES_KEPT_MAX: usize = 12;

/// How long a former secret signs beside the one that took its place.
pub const WEBHOOK_SECRET_OVERLAP_MS: u64 = 24 * 3600 * 1000;

/// Secrets that sign at once.
pub const WEBHOOK_SECRETS_MAX: usize = 3;

/// Tenants with a webhook, as many as keys.
pub const WEBHOOKS_MAX: u64 = KEYS_MAX;

/// How long tries at a source may come to nothing before its job fails. A store's outage
/// takes minutes, and someone waits for the film.
pub const FETCH_PATIENCE_MS: u64 = 3600 * 1000;

/// Highest number of a program: MPEG-TS has 16 bits for it.
pub const PROGRAM_MAX: u32 = 65_535;

/// Highest number of a video track; no source is opened that has more streams.
pub const VIDEO_TRACK_MAX: u32 = 1_000;

/// The level from which on tombstones are forgotten fairly: a job that is refused
/// costs nobody one, and a tenant that deletes much loses its own.
pub const FAIR_TOMBSTONES_LEVEL: u32 = 4;

/// The level from which on the table is bounded.
pub const HOUSEKEEPING_LEVEL: u32 = 1;

/// Jobs that one entry may fold, and tasks that may leave the table with them
/// (more only where a single job has more). Each is a row to be removed from
/// the disk, and nothing waits for it.
pub const FOLDS_PER_ENTRY_MAX: usize = 16;
pub const FOLD_TASKS_PER_ENTRY_MAX: usize = 1_024;

/// Failed tasks that the row of a folded job keeps, and their size: enough to
/// see what went wrong, and a row stays small.
pub const FAILED_TASKS_KEPT_MAX: usize = 16;
pub const FAILED_TASKS_BYTES_MAX: usize = 6 << 10;

/// Jobs of one tenant, until they are deleted. Each that is over takes
/// about 600 bytes of the memory of every node.
pub const JOBS_MAX: u64 = 20_000;

/// Unfinished uploads of one tenant: each holds bytes on its homes.
pub const UPLOADING_MAX: u64 = 1_000;

/// Jobs of all tenants, the deleted ones that are remembered included: sixty
/// megabytes in the memory of every node, and more where their tasks are rows.
pub const JOB_ROWS_MAX: u64 = 100_000;

/// These bounds together. They go with each request for a job: nodes of other
/// versions may have others.
pub const JOB_BOUNDS: JobBounds = JobBounds {
    jobs: JOBS_MAX,
    uploading: UPLOADING_MAX,
    rows: JOB_ROWS_MAX,
};

/// Keys of one tenant: one for each person and program that works for it.
pub const KEYS_OF_TENANT_MAX: u64 = 256;

/// Keys of all tenants: some megabytes in the memory of every node.
pub const KEYS_MAX: u64 = 10_000;

/// Tenants with a quota of their own, as many as keys.
pub const QUOTAS_MAX: u64 = KEYS_MAX;

/// Bytes of a key's secret: nobody guesses 256 bits.
pub const KEY_SECRET_BYTES: usize = 32;

/// Digits of a key's id: 48 bits, so that a few thousand never meet.
pub const KEY_ID_DIGITS: usize = 12;

/// How long an upload may make no progress before it ends, by default: a client
/// that comes back the next morning finds its chunks.
pub const UPLOAD_EXPIRY_MS: u64 = 24 * 3600 * 1000;

/// How long the source of a job that failed or was cancelled is kept, by default:
/// whoever looks at it the next morning need not upload it again.
pub const KEEP_SOURCE_MS: u64 = 24 * 3600 * 1000;

/// How old an upload's stamp of progress becomes before it is renewed: an entry
/// of the log now and then, rather than one for each chunk.
pub const UPLOAD_TOUCH_MS: u64 = 5 * 60 * 1000;

/// How long an upload without a new stamp counts as one that goes on: two
/// renewals, since each may come late.
pub const UPLOAD_LIVE_MS: u64 = 2 * UPLOAD_TOUCH_MS;

/// How long a job's id is remembered after its deletion, so that a late retry of
/// its request finds it (P5).
pub const REQUEST_MEMORY_MS: u64 = 7 * 24 * 3600 * 1000;

/// Entries in a page of a map that is kept in pages. Large enough that what a page
/// costs besides is nothing, and a change copies a few kilobytes at most.
pub const PAGE_ENTRIES_MAX: usize = 64;

/// Hexadecimal digits in a row that are written as half as many bytes where a row
/// is kept in short; what is shorter than a hash is hardly worth its count.
pub const HEX_DIGITS_MIN: usize = 16;

/// Longest text of a name, tenant or request id, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest URL, in bytes: signed ones of object stores, with a session's token in
/// them, have 2 KB.
pub const URL_BYTES_MAX: usize = 4 << 10;

/// Longest cause or hint kept in the table. The whole stderr is a blob.
pub const PROBLEM_BYTES_MAX: usize = 1_000;

/// Failures kept with a task: all its attempts, and some losses of nodes.
pub const FAILURES_KEPT_MAX: usize = 8;

/// Largest source, in bytes: 16 TiB, like ext4's largest file.
pub const SOURCE_BYTES_MAX: u64 = 16 << 40;

/// Longest side of a picture. x264, x265 and VP9 take 16384, and larger pictures
/// cost gigabytes a frame.
pub const PICTURE_SIDE_MAX: u32 = 16_384;

/// Bounds of the shard length to aim at. Shorter shards are mostly lead-in, and
/// longer ones leave nodes idle.
pub const SHARD_MS_MIN: u32 = 500;
pub const SHARD_MS_MAX: u32 = 600_000;

/// Runs of chunks that an attempt may have read of an unsealed source to be kept:
/// the head, the index, and its own part; an audio track lies in many small pieces.
/// A row with so many has a few KB. See [`crate::ChunksRead`].
pub const CHUNKS_READ_RANGES_MAX: usize = 256;

/// Highest output frame rate. Above it, an hour has more than 2^20 frames.
pub const FPS_MAX: u32 = 300;

/// Most audio tracks in an output: each is a task of its own.
pub const TRACKS_MAX: usize = 32;

const _: () = assert!(PLAN_SHARDS_PER_COMMAND_MAX <= SHARDS_PER_JOB_MAX);
const _: () = assert!(REHOMED_PER_ENTRY_MAX < COMMANDS_PER_ENTRY_MAX);
const _: () = assert!(FOLDS_PER_ENTRY_MAX <= COMMANDS_PER_ENTRY_MAX);
const _: () = assert!(UPLOAD_LIVE_MS < UPLOAD_EXPIRY_MS);
const _: () = assert!(MEASURING_OF_TENANT_MAX <= MEASURING_MAX);
const _: () = assert!(JOBS_MAX <= JOB_ROWS_MAX && UPLOADING_MAX <= JOBS_MAX);
const _: () = assert!(KEYS_OF_TENANT_MAX <= KEYS_MAX && KEY_SECRET_BYTES == blake3::KEY_LEN);
const _: () = assert!(FAILURES_KEPT_MAX >= ATTEMPTS_MAX as usize);
