//! Backups: a cluster's table as of one applied index, and the bytes of jobs, in one
//! file.
//!
//! ```text
//! head, blobs (each: its name, pieces, its end), rows of the table, the table, end
//! ```
//! The table comes last and is of the end of the time that the copying took. What it
//! names was copied before, so that a job that ended meanwhile is in the file as it
//! ended. Bytes that the table does not name any more are in the file for nothing.
//!
//! The file holds secrets: the key of the cluster's authority, those that sign
//! webhooks, and whatever the films show.

mod file;
pub(super) mod format;
mod gather;
mod held;
mod messages;
mod read;

pub use self::{
    file::BackupFile,
    gather::{backup_bytes, gather},
    messages::{BackupDone, BackupGap, BackupPart},
    read::{Backup, BackupError},
};
