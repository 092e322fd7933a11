//! The node: what runs on every machine of a cluster. The binary beside this
//! library is the clap tree over it and over the client's commands.

pub mod config;
pub mod data;
pub mod doctor;
pub mod faces;
pub mod limits;
pub mod node;
