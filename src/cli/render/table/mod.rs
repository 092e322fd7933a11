//! Answers as tables and cards for people. Columns are as wide as their widest
//! cell; numbers align right. The wording may change from version to version.

mod access;
mod certificates;
mod cluster;
mod document;
mod engines;
mod job;
mod layout;
mod measured;
mod task;
#[cfg(test)]
mod tests;

pub use access::{keys, tenant};
pub use certificates::certificates;
pub use cluster::{nodes, status, upgrade};
pub use document::document;
pub use engines::engines;
pub use job::{job, jobs};
pub use measured::measured_rows;
pub use task::tasks;
