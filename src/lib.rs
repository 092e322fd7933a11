//! The node: what runs on every machine of a cluster. The binary beside this
//! library is the clap tree over it and over the client's commands.
//!
//! ```text
//! server -> grpc -> api -> { node::context, data }
//!              \-> node -> { data, media, consensus }
//! ```
//! `api` is what a client may ask, free of any transport; `grpc` puts it, the
//! workers' sessions and the bytes between nodes on the wire.

pub mod api;
pub mod clock;
pub mod config;
pub mod data;
pub mod doctor;
pub mod engine;
pub mod grpc;
pub mod http;
pub mod json_log;
pub mod limits;
pub mod node;
pub mod outside;
pub mod recent_log;
pub mod server;
mod sha256;
pub mod toml_cause;
