//! The data plane of a node: bytes of jobs, here and on the other homes.
//!
//! ```text
//! upload       the client's source, chunk by chunk, to all homes; then the seal
//! put, read    results to every reachable home; reads from the nearest one
//! fill         what a home lacks, copied from the others
//! backup       a cluster's table and bytes as one file, and back
//! scrub        looks for rot in what nobody reads
//! room         what this disk can still take
//! source       a sealed source as one file, and the range server for ffmpeg
//! output       a finished output, from an offset on
//! local_store  what other nodes ask of this disk; peers: what it asks of theirs
//! ```
//! The table says whose bytes they are and who keeps them; nothing here
//! decides that. How bytes last on a disk is the business of the storage room,
//! and how a call crosses the wire that of the [`HomeTransport`].

mod awaited;
pub mod backup;
pub mod byte_cache;
mod error;
mod fill;
pub mod limits;
mod local_store;
pub mod manifest;
mod merge;
pub mod output;
mod pace;
mod peers;
mod plane;
mod put;
mod read;
mod retry;
mod room;
mod scrub;
mod source;
mod table;
pub mod upkeep;
pub mod upload;

#[cfg(test)]
mod tests;

pub use error::{DataError, LOST_BYTES, is_out_of_reach};
pub use local_store::{LocalStore, Parts, PutTicket};
pub use peers::{Answer, HomePeers, HomeTransport, Payload, Peer};
pub use plane::DataPlane;
pub use put::PutOutcome;
pub use source::{
    Source,
    range_server::{RangeServer, Ranged, ServedSource},
};
pub use table::Table;
