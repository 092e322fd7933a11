//! Moving bytes between this machine and a cluster, and following the job that
//! they belong to. Every step survives broken connections and new leaders.
//!
//! ```text
//! submit ──▶ upload ──▶ source          follow          fetch ──▶ output_file
//! ```

pub mod fetch;
pub mod follow;
pub mod output_file;
pub mod source;
pub mod submit;
pub mod upload;
