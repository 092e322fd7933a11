//! The gRPC adapters: each decodes, calls, and encodes. What may be asked is
//! the business of `api`; what workers and the leader say to each other is in
//! `node::messages`, and what nodes ask of each other's disks in `data`.
//!
//! The types of the wire stand here and in `proto` alone; [`convert`] turns
//! them into ours.

mod access;
pub mod blob_client;
pub(crate) mod blobs;
mod cluster;
pub(crate) mod convert;
pub(crate) mod convert_access;
mod convert_authorities;
mod convert_backup;
mod convert_certificates;
mod convert_done;
pub(crate) mod convert_engines;
pub(crate) mod convert_outside;
mod convert_progress;
mod convert_session;
pub(crate) mod convert_spec;
mod convert_upkeep;
mod convert_upload;
mod jobs;
pub mod join;
pub(crate) mod limits;
pub mod listener;
pub mod places;
pub mod router;
mod small_calls;
pub mod worker_client;
mod workers;
