//! Moving bytes between this machine and a cluster, and following the job that
//! they belong to. Every step survives broken connections and new leaders.
//!
//! ```text
//! submit ──▶ upload ──▶ compare ──▶ source      follow      fetch ──▶ output_file ──▶ part_file
//! ```

pub mod backup;
pub mod compare;
pub mod fetch;
pub mod follow;
pub mod local_files;
pub mod on_thread;
pub mod output_file;
pub mod part_file;
pub mod private_file;
pub mod source;
pub mod submit;
pub mod tar;
pub mod upload;
