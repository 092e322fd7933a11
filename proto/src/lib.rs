//! The wire: the generated types and services of package `reelraft.v1`, and
//! what every speaker of it shares: the secret, the form of a refusal, how
//! a connection is made, and how a bucket is named.
//!
//! The `.proto` files beside this crate are the source. Generated types stop
//! at the files that speak the wire; the rest of the program uses its own.
#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

pub mod auth;
pub mod bucket;
pub mod dial;
pub mod documents;
pub mod problem;
pub mod utc;

/// Package `reelraft.v1`.
pub mod v1 {
    tonic::include_proto!("reelraft.v1");

    /// The encoded descriptor set, for the reflection service.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
