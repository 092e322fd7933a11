//! What the failover experiments in `src/bin` share. Each experiment makes one
//! kind of thing fail, again and again, while a cluster transcodes, and ends
//! with an error if a promise of ARCHITECTURE.md is broken.
//!
//! Start with [`experiment`], the frame of every `main`, and [`three_nodes`],
//! the cluster under load that most of them harm. What they saw comes from
//! [`event_log`], and [`invariants`] judges it. Nothing here knows the inside
//! of a node: it runs the `reelraft` program, calls it over gRPC, and reads
//! its log. The one exception is [`filled_table`], which proposes what a leader
//! would, as no machine encodes ten thousand films for a test.
// Most fields and variants say with their name all there is to say.
#![allow(missing_docs)]

pub mod busy_engines;
pub mod checking_client;
pub mod cli_client;
pub mod clips;
pub mod clock;
pub mod event_log;
pub mod events;
pub mod experiment;
pub mod faketime;
pub mod fetch_probe;
pub mod figures;
pub mod filled_table;
pub mod growing_cluster;
pub mod grpc;
pub mod holdings;
pub mod hostile;
pub mod idle_engines;
pub mod invariants;
pub mod ledger;
mod log_line;
pub mod nat_site;
pub mod network;
pub mod node_cost;
pub mod other_ffmpeg;
pub mod process_cluster;
pub mod program_upgrade;
pub mod random;
pub mod report;
pub mod requests;
pub mod rotation;
pub mod scratch_disk;
mod seccomp;
mod source_file;
pub mod supervisor;
mod svg;
pub mod takeover;
pub mod three_nodes;
pub mod timeline_svg;
pub mod traced_node;
pub mod users;
pub mod web_users;
pub mod workload;
