//! The JSON of `-o json`. Stable: fields are added, never renamed or removed.
//!
//! docs/json.md describes every document and field to users; a test holds it
//! to the types here.

mod cluster;
mod error;
mod field;
mod job;
mod spec;
mod task;
#[cfg(test)]
mod tests;

pub use cluster::{Leader, Nodes, Status};
pub use error::Document as ErrorDocument;
pub use field::line;
pub use job::{Event, Job, JobList, Reference, Submitted};
pub use task::TaskList;
