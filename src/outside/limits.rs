//! Every limit of requests to the outside, named once with its reason.

use std::time::Duration;

/// How long a name may take to resolve and a connection to be made, TLS included.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the other side may say nothing, before its answer and within it.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Redirects of one request: a link shortener, a load balancer and a store.
pub const REDIRECTS_MAX: usize = 5;

/// Longest name that is taken from an answer; those of file systems end here.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest entity tag that is kept with a job; those of stores have 40 bytes.
pub const VALIDATOR_BYTES_MAX: usize = 256;

/// Most bytes that one request puts into a bucket: AWS takes no more.
pub const BUCKET_PUT_BYTES_MAX: u64 = 5 << 30;

/// The largest output that is put in one request: what breaks off begins anew.
pub const BUCKET_WHOLE_BYTES_MAX: u64 = 32 << 20;

/// Parts of one file that a bucket takes, and the least size of each but the last: those
/// of S3.
pub const BUCKET_PARTS_MAX: u64 = 10_000;
const BUCKET_PART_BYTES_MIN: u64 = 5 << 20;

/// The least size of our parts but the last: what is lost with a connection, and large
/// enough for a request of its own.
pub const BUCKET_PART_BYTES: u64 = 16 << 20;

/// What sizes of parts are multiples of: blocks of outputs, which are checked as a whole.
pub const BUCKET_PART_UNIT: u64 = 1 << 20;

/// Parts that are asked for in one answer: each is named in some 200 bytes.
pub const BUCKET_PARTS_LISTED: u64 = 100;

/// Longest name of an upload that is kept with a job; those of servers have some hundred
/// bytes.
pub const UPLOAD_ID_BYTES_MAX: usize = 1 << 10;

/// Bytes of a put that are handed over at once: a slow line takes them within
/// [`SILENCE_MAX`] from 4 KiB a second on.
pub const PUT_PIECE_BYTES: usize = 256 << 10;

/// How often a bucket's server is asked the same where it fails.
pub const BUCKET_TRIES_MAX: u32 = 5;

/// Longest answer of a bucket's server that is read: a few names.
pub const BUCKET_ANSWER_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(BUCKET_PART_BYTES >= BUCKET_PART_BYTES_MIN);
const _: () = assert!(BUCKET_PART_BYTES.is_multiple_of(BUCKET_PART_UNIT));
const _: () = assert!(BUCKET_WHOLE_BYTES_MAX <= BUCKET_PUT_BYTES_MAX);
