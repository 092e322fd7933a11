//! Many files: found in folders, told apart, done once each, and written down.
//!
//! ```text
//! one_file ──▶ ends, care, ledger, rules, names, replace ──▶ walk ──▶ stamp
//! board, tally                  rules ──▶ facts
//! settle, moves                 of watched folders
//! ```
//! Which files are taken is decided by `commands`. That no file is done twice
//! rests on two things: its request id, which the cluster remembers (P5), and
//! the ledger, which outlives the cluster's memory of a deleted job.

pub mod board;
pub mod care;
pub mod ends;
pub mod facts;
pub mod ledger;
pub mod moves;
pub mod names;
pub mod one_file;
pub mod replace;
pub mod rules;
pub mod settle;
pub mod stamp;
pub mod tally;
pub mod walk;
