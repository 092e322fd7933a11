//! What the cluster agrees on: commands, state, `apply`, `plan`, `check`.
//!
//! Pure by rule: no I/O, no clock, no async, no randomness, no floats, no hash
//! maps. Everything is a function of its arguments, so that replicas agree and
//! a whole cluster can be replayed.

mod apply;
pub mod check;
mod command;
mod error;
pub mod home_rules;
mod job_id;
pub mod limits;
mod open_index;
mod output_index;
pub mod plan;
mod rows;
pub mod spec;
mod state;
mod task_counts;

pub use command::*;
pub use error::ModelError;
pub use job_id::job_id;
pub use rows::*;
pub use state::{Applied, JobEntry, State};
pub use task_counts::TaskCounts;
