//! Requests to the outside: sources, outputs and webhooks behind a URL that a
//! client named. All of them go through [`Outside`], and so through one guard.
//!
//! ```text
//! source (a file behind a URL) -> client (one request, redirects by hand)
//!   '-> url (what may be named)     '-> guard (who may be connected to) -> addresses
//! s3_parts (a large file, put)  ->  '-> s3 (buckets that the operator named) -> s3_sign
//!   '- s3_known (one that was begun before)
//! ```
//! A URL is hostile: it may name this node, its neighbours, or the machine that
//! hands out a cloud's keys. Only global addresses are connected to, and those
//! that the node's setting allows. A name is resolved once for each connection,
//! every address of the answer is judged, and one of those is connected to.

pub mod addresses;
mod client;
mod guard;
#[cfg(test)]
mod known_tests;
pub mod limits;
#[cfg(test)]
pub(crate) mod parts_tests;
mod s3;
mod s3_known;
mod s3_parts;
mod s3_sign;
mod s3_text;
mod source;
#[cfg(test)]
mod tests;
mod url;

pub use reqwest::{Body, Method, Url, header};

pub use self::{
    client::{Answer, Outside, OutsideError, REFUSED_HINT},
    guard::{Lookup, SystemLookup},
    s3::{Buckets, goes_in_parts, is_bucket, too_large_for},
    s3_known::Resumed,
    s3_parts::{BucketError, Left, PartedUpload, part_bytes},
    source::{Found, Remote, SourceError, look},
    url::{check, host_of},
};
