//! Every limit of what clients may ask of a node, and of the streams that they have
//! open, named once with its reason.

use std::time::Duration;

use crate::{
    data::limits::{CHUNK_BYTES, FETCH_AHEAD, PART_BYTES, UPLOAD_IDLE, UPLOAD_WINDOW},
    limits::WATCH_QUEUE,
};

/// Downloads that a node serves at once. Each reads [`FETCH_AHEAD`] pieces of
/// 1 MiB ahead, one more is being encoded and one sent: 6 MiB each, and 240 MiB
/// for all of them.
pub const FETCHES_MAX: usize = 40;

/// How much of a film a preview has at most, in milliseconds: it is to be looked at,
/// not to be kept.
pub const PREVIEW_MS_MAX: u64 = 600_000;

/// Jobs of each kind, open and ended, that a bundle for help tells of.
pub const DIAGNOSED_JOBS_MAX: usize = 500;

/// Violations that it names.
pub const DIAGNOSED_VIOLATIONS_MAX: usize = 50;

/// Backups that a node makes at once. Each holds the records of
/// [`crate::data::limits::BACKUP_AHEAD`], a list of a job of half a gigabyte at most,
/// and sixteen bytes for each blob; and it reads as fast as its client takes it.
pub const BACKUPS_MAX: usize = 1;

/// Chunks of 1 MiB that all uploads to a node may hold at once: 256 MiB. A film
/// takes a whole [`UPLOAD_WINDOW`] of them while at least half is free,
/// [`SHARE_SMALL`] while an eighth is, and then one, as a source of one chunk does.
pub const UPLOAD_CHUNKS_MAX: usize = 256;

/// What a stream of a room that fills gets: enough that a line of 100 ms carries 40
/// MiB/s.
pub const SHARE_SMALL: u32 = 4;

/// One tenant has at most one in so many of a room that tenants share: 26 uploads of
/// films, however slow they are, and as much is left to all others.
pub const TENANT_SHARE_MAX: usize = 2;

/// Watches that a node serves at once. Each holds [`WATCH_QUEUE`] events and
/// two more, of 8 KiB at most: 48 MiB for all of them. A client that waits for
/// its job has one for hours, so that there may be many.
pub const WATCHES_MAX: usize = 1_024;

/// Streams of events that a node serves at once. All share the events; each has
/// its place among them, some 20 KiB with its connection: dashboards and
/// programs have one for days, so that there may be many.
pub const EVENTS_MAX: usize = 1_024;

/// A stream of events tells this often that it lives, so that whoever hears
/// nothing twice goes to another node.
pub const EVENTS_PING: Duration = Duration::from_secs(15);

/// How often progress is looked at, and told where it has changed.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// News of progress that are kept for slow readers, which lose older ones: what
/// the slots of some hundred nodes say in a few seconds, in 300 bytes each.
pub const PROGRESS_KEPT: usize = 1_024;

/// The largest parts of a backup in a bucket: one is held in memory.
pub const BACKUP_PART_BYTES_MAX: u64 = 256 << 20;

/// The largest backup that is put into a bucket: as many of the largest parts as one
/// takes, but for a tenth that may come while it is made.
pub const BACKUP_IN_BUCKET_BYTES_MAX: u64 =
    BACKUP_PART_BYTES_MAX / 10 * 9 * crate::outside::limits::BUCKET_PARTS_MAX;

/// How often whoever waits for a backup in a bucket hears of it.
pub const BACKUP_SIGN_EVERY: Duration = Duration::from_secs(1);

/// What it may be late in hearing.
pub const BACKUP_PUT_AHEAD: usize = 4;

/// How long a client may take nothing of a stream. What it has not taken waits
/// in this node's memory. A client on a slow line takes the largest message,
/// 1 MiB, within it from 17 KiB a second on.
pub const CLIENT_STALL: Duration = Duration::from_secs(60);

/// The same of a download: a player that is paused, a disk that hangs, a reader that holds
/// itself to some KiB a second and takes them in lumps. It keeps one of [`FETCHES_MAX`]
/// places, and only while no other wants it: see [`GIVES_WAY_AFTER`].
pub const FETCH_STALL: Duration = Duration::from_secs(15 * 60);

/// A download is handed on in pieces of this size, so that a slow reader is seen to read.
pub const FETCH_PIECE_BYTES: usize = 64 << 10;

/// A stream whose client has done nothing for this long gives way to another
/// where a node serves as many as it can. Longer than a client's slow line takes
/// for the 64 KiB of a message of an output.
pub const GIVES_WAY_AFTER: Duration = Duration::from_secs(5);

/// The same of an upload, counted while nothing but its client is waited for. A
/// chunk counts as one message, however much of it has come: a client has the
/// time that it takes at [`UPLOAD_BYTES_PER_SECOND_MIN`].
pub const UPLOAD_GIVES_WAY_AFTER: Duration =
    Duration::from_secs(CHUNK_BYTES as u64 / UPLOAD_BYTES_PER_SECOND_MIN);

/// The slowest line, 256 kbit/s, over which an upload goes on where others want
/// its place. On a slower one it gives way before a chunk is through.
pub const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// Hex digits of a source's fingerprint: of a BLAKE3 hash.
pub const FINGERPRINT_DIGITS: usize = 64;

/// How long the refusal of a job is held back whose tenant has too many: whoever
/// asks again at once, without end, takes little from the others' jobs.
pub const REFUSAL_PAUSE: Duration = Duration::from_millis(250);

/// Entries that a table may lack while its node counts as ready: a few seconds of
/// a busy cluster's log.
pub const READY_LAG_MAX: u64 = 10_000;

/// How often a stream looks at most whether its key still holds. As often as a
/// resting cluster's beat: no node knows of a revocation earlier.
pub const KEY_LOOKS_EVERY: Duration = Duration::from_millis(500);

/// How long it looks away at most, so that a clock that was set is noticed.
pub const KEY_SLEEP_MAX: Duration = Duration::from_secs(60);

/// The highest rate of requests that a tenant may be held to.
pub const REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;

/// How much of its rate a tenant that has asked nothing may ask for at once: a
/// page that opens asks several things.
pub const RATE_BURST: Duration = Duration::from_secs(1);

/// Tenants of which it is known when they asked, before those that have not
/// asked lately are forgotten.
pub const RATES_KEPT_MAX: usize = 10_000;

/// Tries to change keys or quotas that others change at the same time.
pub const ACCESS_TRIES: usize = 8;

/// How long a node may take to say that it begins a scrub: all are asked at once, and
/// one that is gone holds nobody up.
pub const SCRUB_ASK_PATIENCE: Duration = Duration::from_secs(2);

/// How long a link to an output holds: as long as someone looks at a film, with
/// pauses.
pub const LINK_MS: u64 = 6 * 3600 * 1000;

/// How long a job that has just succeeded may take until its tasks are put by, and how
/// often one looks: its homes write them down within moments.
pub const SETTLE_PATIENCE: Duration = Duration::from_secs(3);
pub const SETTLE_LOOK: Duration = Duration::from_millis(200);

/// Shards that an estimate is made from, the latest: what has changed since is
/// seen soon, and it costs little.
pub const ESTIMATED_FROM: usize = 64;

/// What each kind of stream may hold for all its clients together.
const CLIENT_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(BACKUP_PART_BYTES_MAX >= crate::outside::limits::BUCKET_PART_BYTES);
const _: () = assert!(GIVES_WAY_AFTER.as_millis() < CLIENT_STALL.as_millis());
const _: () = assert!(CLIENT_STALL.as_millis() <= FETCH_STALL.as_millis());
const _: () = assert!(UPLOAD_GIVES_WAY_AFTER.as_millis() < CLIENT_STALL.as_millis());
const _: () = assert!(UPLOAD_GIVES_WAY_AFTER.as_millis() < UPLOAD_IDLE.as_millis());
const _: () = assert!(FETCHES_MAX * (FETCH_AHEAD + 2) * PART_BYTES <= CLIENT_BYTES_MAX);
const _: () = assert!(UPLOAD_CHUNKS_MAX * CHUNK_BYTES <= CLIENT_BYTES_MAX);
const _: () = assert!(UPLOAD_WINDOW <= UPLOAD_CHUNKS_MAX);
const _: () = assert!(WATCHES_MAX * (WATCH_QUEUE + 2) * (8 << 10) <= CLIENT_BYTES_MAX);
