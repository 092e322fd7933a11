//! Bytes on this disk: the data folder and its identity, the Raft log, the
//! table, snapshots and blobs. Knows no video, no peers and no consensus
//! library.
//!
//! What is acknowledged is in the log, and really synced. The table is a view
//! that can be rebuilt, never the only copy.

mod archive;
pub mod blobs;
mod durable;
mod error;
mod hash;
mod identity;
pub mod limits;
mod log;
mod log_end;
mod open;
mod progress;
mod reserve;
mod restoring;
mod snapshot;
mod table;

pub use archive::{ArchiveError, ArchiveReader, ArchiveWriter};
pub use blobs::journal;
pub use durable::{make_folder, rename, seal, sync_folder, unseal, write_file, write_secret_file};
pub use error::StorageError;
pub use hash::TableHash;
pub use identity::{DataFolder, Identity, be_let_in, known_identity, newcomer};
pub use log::{Log, LogBounds, LogPosition, LogRecord, Vote};
pub use open::Storage;
pub use progress::{Progress, UNWATCHED};
pub use reserve::{Reserve, ReserveTurn};
pub use restoring::Restoring;
pub use snapshot::{IncomingSnapshot, SnapshotFile, SnapshotHead, Snapshots};
pub use table::{Changes, OpenedTable, Row, Table, TableFlusher, TableHead};
