//! What tests, the demo and the failover experiments share: a cluster of real
//! processes on loopback, started with `reelraft dev` and driven with the CLI
//! as a user would, and clips to feed it.
//!
//! Everything here panics when it fails: its callers are tests, or programs
//! that end at the first surprise. It does not depend on the `reelraft` crate,
//! so that it can only see what a user sees.

mod bucket;
mod clips;
mod cluster;
mod http;
mod ports;
mod processes;
mod web;

pub use bucket::BucketServer;
pub use clips::{blake3_of, frames_of, make_clip};
pub use cluster::{LocalCluster, Options};
pub use http::{HttpAnswer, HttpEvent, HttpEvents, http_ask, http_exchange};
pub use ports::free_ports;
pub use processes::{all_pids, binary, example, parent_of, tail};
pub use web::{WebAnswer, WebRequest, WebServer};
