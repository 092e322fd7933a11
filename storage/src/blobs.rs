//! Blobs: immutable bytes named by their BLAKE3, in a folder for each job.
//!
//! ```text
//! blobs/<job>/<hash>           the bytes, as they are
//! blobs/<job>/<hash>.blocks    hashes of its blocks, if it has several
//! blobs/<job>/journal          the job's source chunks (see `journal`)
//! blobs/_tmp/                  blobs being written; emptied at open
//! blobs/_quarantine/           damaged blobs, kept for examination
//! blobs/_trash/                removed jobs whose files are still being deleted
//! ```
//! A blob has its name only once its bytes are synced, and a put returns once
//! the name is synced too. Nothing is served unchecked: a read checks every
//! block that it touches. A damaged blob is moved aside, so that it counts as
//! missing and can be put again from another home.
//!
//! All calls block, so call them on blocking threads. The store does not know
//! which blobs a job needs, nor who else has them.

mod blocks;
mod error;
pub mod journal;
mod journals;
pub mod limits;
mod names;
mod publish;
mod quarantine;
mod quota;
mod reader;
mod removal;
#[cfg(test)]
mod removal_tests;
mod space;
mod store;
mod sync;
mod temp;
#[cfg(test)]
mod tests;
mod usage;
mod verify;
mod writer;

pub use self::{
    error::BlobError,
    names::{check_hash, check_job},
    reader::Reader,
    removal::Removal,
    space::{Space, SpaceProbe},
    store::{BlobStore, Stored},
    writer::Writer,
};
pub(crate) use space::statvfs;
