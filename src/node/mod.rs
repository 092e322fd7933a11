//! What a node does: leads when it is elected, works on what it is assigned,
//! and keeps the bytes of the jobs whose home it is.
//!
//! ```text
//! leader    plans and proposes; the sessions of the workers
//! worker    one session with the leader, and the attempts it runs
//! engines   those that are connected here: what they run, and what comes of it
//! home      fills, joins, sweeps and scrubs what this disk keeps
//! joining   letting a new machine in
//! messages  what worker and leader say to each other
//! context   what all of them share
//! ```
//! What clients may ask is the business of `api`, and how any of it crosses
//! the wire that of `grpc`.

pub mod authorities;
pub mod certificates;
pub mod context;
pub mod cramped;
mod encoders;
pub mod engine_messages;
pub mod engines;
pub mod hang;
pub mod home;
pub mod joined_ahead;
pub mod joining;
pub mod leader;
pub mod load;
pub mod messages;
pub mod picture_cache;
pub mod pictures;
pub mod previews;
pub mod report;
pub mod tally;
mod work_dir;
mod work_threads;
pub mod worker;
