//! What the cluster agrees on: commands, state, `apply`, `plan`, `check`.
//!
//! Pure by rule: no I/O, no clock, no async, no randomness, no floats, no hash
//! maps. Everything here is a function of its arguments, so that replicas
//! agree and a whole cluster can be replayed.

mod apply;
pub mod check;
mod command;
pub mod limits;
pub mod plan;
mod rows;
pub mod spec;
mod state;

pub use command::*;
pub use rows::*;
pub use state::{Applied, JobEntry, State, TaskKey};

/// The id of the job that a request makes: the same request finds the same
/// job on any node and after any failover (P5).
///
/// BLAKE3 over the length-prefixed tenant and the request id, 80 bits of it.
pub fn job_id(tenant: &str, request_id: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes());
    hasher.update(tenant.as_bytes());
    hasher.update(request_id.as_bytes());
    format!("j{}", &hasher.finalize().to_hex()[..20])
}
