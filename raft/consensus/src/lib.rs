//! How the cluster agrees: openraft over gRPC on our own log and table.
//!
//! [`Cluster`] is the handle. openraft's types do not leave this crate: the
//! wire and the disk see only the protocol's messages. What the cluster agrees
//! on is in the model, and the layout on the disk is in storage.

mod admission;
mod alone;
mod cluster;
mod config;
#[cfg(test)]
mod conformance;
mod core;
mod disk_work;
mod error;
mod heard;
mod heartbeats;
mod left_out;
pub mod limits;
mod log_store;
mod members;
mod network;
mod outdated;
mod pace;
mod peers;
mod planted;
mod propose;
mod raft_clock;
mod reads;
mod recover;
mod runtime;
mod service;
mod snapshot_pace;
mod start;
mod state_machine;
mod turns;
mod types;
mod upkeep;
mod watchdog;
mod wire;

pub use cluster::{Cluster, Member, Progress};
pub use config::ClusterConfig;
pub use core::Leadership;
pub use error::ConsensusError;
pub use members::{MemberChange, Members};
pub use planted::plant;
pub use propose::Committed;
pub use recover::{Survivor, recover, survivor};
pub use service::PeerService;
pub use turns::{Turn, Turns};
pub use watchdog::{Hang, HangAction, Operation};
