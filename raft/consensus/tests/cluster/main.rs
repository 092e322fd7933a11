//! Whole clusters in one process, over real gRPC on loopback and real disks.
#![allow(clippy::unwrap_used)]

mod agreement;
mod hang;
mod members;
mod nodes;
mod recovery;
