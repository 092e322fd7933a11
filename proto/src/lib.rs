//! The generated types and services of package `reelraft.v1`.
//!
//! Nothing but the check of the shared secret is written by hand here: the `.proto` files beside this crate are
//! the source. Generated types stop at the file that speaks the wire; the
//! rest of the program uses its own.
#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

pub mod auth;

/// Package `reelraft.v1`.
pub mod v1 {
    tonic::include_proto!("reelraft.v1");

    /// The encoded descriptor set, for the reflection service.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
