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
