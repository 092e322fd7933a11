//! How the cluster agrees: openraft over gRPC on our own log and table.

mod config;
#[cfg(test)]
mod conformance;
mod error;
pub mod limits;
mod log_store;
mod state_machine;
mod types;
mod wire;

pub use config::ClusterConfig;
pub use error::ConsensusError;
