//! Why the disk says no: one enum for the crate, each variant a refusal with
//! its cause and a hint at what to do next (P10).

use std::{io, path::PathBuf};

/// "Input/output error", which the standard library has no name for.
const EIO: i32 = 5;

/// A refusal of the storage layer.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused a call. After a failed sync the node must
    /// end: a sync that is tried again lies.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's own words.
        source: io::Error,
    },
    /// Another process has this data folder open.
    #[error("data folder {} is in use by another process", path.display())]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// The folder holds files, but no data folder of ours.
    #[error("{} holds other files and is no reelraft data folder", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// A later version wrote this folder.
    #[error("data format {found} is newer than {newest}, the newest this version reads")]
    NewerFormat {
        /// The format on the disk.
        found: u32,
        /// The newest that this version reads.
        newest: u32,
    },
    /// The folder belongs to another node.
    #[error("data folder belongs to node {found}, not to node {asked}")]
    OtherNode {
        /// The node id on the disk.
        found: u64,
        /// The node id asked for.
        asked: u64,
    },
    /// The format marker or the identity file can't be read.
    #[error("{} is damaged: {cause}", path.display())]
    DamagedIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The folder was formatted, but its Raft log is gone.
    #[error("the Raft log is missing from {}", path.display())]
    MissingLog {
        /// Where it should be.
        path: PathBuf,
    },
    /// A whole record of the Raft log fails its checksum: what this node has
    /// acknowledged can't be trusted any more.
    #[error("the Raft log is damaged: {cause}")]
    DamagedLog {
        /// What the log says.
        cause: String,
    },
    /// The log refuses a change that Raft's rules forbid: a caller's bug.
    #[error("the Raft log refuses a change: {cause}")]
    RefusedByLog {
        /// What the log says.
        cause: String,
    },
    /// The log's writer has ended after an earlier failure.
    #[error("the Raft log has stopped")]
    LogStopped,
    /// The log was purged further than any durable snapshot or table reaches.
    #[error("entries up to {purged} were purged, but no snapshot reaches them")]
    MissingSnapshot {
        /// The last purged index.
        purged: u64,
    },
    /// A snapshot file fails its own checks.
    #[error("snapshot {} is damaged: {cause}", path.display())]
    DamagedSnapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A snapshot grew beyond its limit.
    #[error("a snapshot of more than {limit_bytes} bytes is refused")]
    SnapshotTooLong {
        /// The limit.
        limit_bytes: u64,
    },
    /// The table fails its own checks; it is dropped and rebuilt.
    #[error("the table is damaged: {cause}")]
    DamagedTable {
        /// What is wrong with it.
        cause: String,
    },
    /// A row's key is one that the table does not take.
    #[error("a row key of {bytes} bytes, or with a zero byte, is refused")]
    BadRowKey {
        /// Its length.
        bytes: usize,
    },
    /// A row is longer than the table takes.
    #[error("a row of {bytes} bytes is longer than the limit of {limit_bytes}")]
    RowTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}

impl StorageError {
    /// Wraps a system error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| StorageError::Io { what, source }
    }

    /// Whether the disk refuses for now: it is full, or does not answer as it
    /// should, and the same may work later.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            StorageError::Io { source, .. } => {
                matches!(
                    source.kind(),
                    StorageFull | QuotaExceeded | ReadOnlyFilesystem
                ) || source.raw_os_error() == Some(EIO)
            }
            _ => false,
        }
    }

    /// The refusal's stable name, for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            StorageError::Io { .. } => "disk-failed",
            StorageError::Locked { .. } => "data-in-use",
            StorageError::NotOurs { .. } => "not-a-data-folder",
            StorageError::NewerFormat { .. } => "newer-format",
            StorageError::OtherNode { .. } => "other-node",
            StorageError::DamagedIdentity { .. } => "damaged-identity",
            StorageError::MissingLog { .. } => "missing-log",
            StorageError::DamagedLog { .. } => "damaged-log",
            StorageError::RefusedByLog { .. } => "refused-by-log",
            StorageError::LogStopped => "log-stopped",
            StorageError::MissingSnapshot { .. } => "missing-snapshot",
            StorageError::DamagedSnapshot { .. } => "damaged-snapshot",
            StorageError::SnapshotTooLong { .. } => "snapshot-too-long",
            StorageError::DamagedTable { .. } => "damaged-table",
            StorageError::BadRowKey { .. } => "bad-row-key",
            StorageError::RowTooLong { .. } => "row-too-long",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            StorageError::Io { .. } => {
                "check the disk, its free space and its permissions, then start the node again"
            }
            StorageError::Locked { .. } => {
                "end the other node, or give this one its own --data folder"
            }
            StorageError::NotOurs { .. } => "give an empty folder as --data",
            StorageError::NewerFormat { .. } => "start the newer version that wrote this folder",
            StorageError::OtherNode { .. } => {
                "give the node its own --data folder, or its own --id"
            }
            StorageError::DamagedIdentity { .. }
            | StorageError::MissingLog { .. }
            | StorageError::DamagedLog { .. }
            | StorageError::MissingSnapshot { .. } => {
                "keep the folder aside, never put an older copy of it back, and start with an \
                 empty one under a new node id, as a learner: the other nodes have everything \
                 that was acknowledged"
            }
            StorageError::RefusedByLog { .. }
            | StorageError::BadRowKey { .. }
            | StorageError::RowTooLong { .. } => "this is a bug: report it with the node's log",
            StorageError::LogStopped => {
                "see the first error of the node's log, then start it again"
            }
            StorageError::DamagedSnapshot { .. } => {
                "start the node again: it fetches a snapshot from the leader"
            }
            StorageError::SnapshotTooLong { .. } => "delete finished jobs that are not needed",
            StorageError::DamagedTable { .. } => {
                "start the node again: the table is rebuilt from snapshot and log"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_failing_disk_may_get_well_and_a_forbidden_folder_does_not() {
        let refused = |source: io::Error| StorageError::io("write")(source).may_pass();
        assert!(refused(io::ErrorKind::StorageFull.into()));
        assert!(refused(io::Error::from_raw_os_error(EIO)));
        assert!(!refused(io::ErrorKind::PermissionDenied.into()));
        assert!(!StorageError::LogStopped.may_pass());
    }
}
