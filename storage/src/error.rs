//! Why the disk refuses: one enum for the crate. Each variant has a cause and a
//! hint at what to do next (P10).

use std::{io, path::PathBuf};

/// "Input/output error", which the standard library has no name for.
const EIO: i32 = 5;

/// A refusal of the storage layer.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused a call. After a failed sync the node must
    /// end: a second try would report success wrongly.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        source: io::Error,
    },
    /// Another process has this data folder open.
    #[error("data folder {} is in use by another process", path.display())]
    Locked { path: PathBuf },
    /// The folder has files in it, but is no data folder.
    #[error("{} holds other files and is no reelraft data folder", path.display())]
    NotOurs { path: PathBuf },
    /// A restore began to fill it, and did not end.
    #[error("{} was not restored to the end", path.display())]
    HalfRestored { path: PathBuf },
    /// A later version wrote this folder.
    #[error("data format {found} is newer than {newest}, the newest this version reads")]
    NewerFormat { found: u32, newest: u32 },
    /// The folder belongs to another node.
    #[error("data folder belongs to node {found}, not to node {asked}")]
    OtherNode { found: u64, asked: u64 },
    /// The format marker or the identity file can't be read.
    #[error("{} is damaged: {cause}", path.display())]
    DamagedIdentity { path: PathBuf, cause: String },
    /// The folder was formatted, but its Raft log is gone.
    #[error("the Raft log is missing from {}", path.display())]
    MissingLog {
        /// Where it should be.
        path: PathBuf,
    },
    /// A complete record of the Raft log fails its checksum, so this node can't
    /// vouch for what it has acknowledged.
    #[error("the Raft log is damaged: {cause}")]
    DamagedLog { cause: String },
    /// The log refuses a change that Raft's rules forbid: a bug of the caller.
    #[error("the Raft log refuses a change: {cause}")]
    RefusedByLog { cause: String },
    /// The log's writer has ended after an earlier failure.
    #[error("the Raft log has stopped")]
    LogStopped,
    /// The log was purged further than any durable snapshot or table reaches.
    #[error("entries up to {purged} were purged, but no snapshot reaches them")]
    MissingSnapshot { purged: u64 },
    /// A snapshot file fails its own checks.
    #[error("snapshot {} is damaged: {cause}", path.display())]
    DamagedSnapshot { path: PathBuf, cause: String },
    #[error("a snapshot of more than {limit_bytes} bytes is refused")]
    SnapshotTooLong { limit_bytes: u64 },
    /// The table fails its own checks. It is dropped and rebuilt.
    #[error("the table is damaged: {cause}")]
    DamagedTable { cause: String },
    /// The table does not take keys like this one.
    #[error("a row key of {bytes} bytes, or with a zero byte, is refused")]
    BadRowKey { bytes: usize },
    #[error("a row of {bytes} bytes is longer than the limit of {limit_bytes}")]
    RowTooLong { bytes: usize, limit_bytes: usize },
}

impl StorageError {
    /// Adds what was being done to a system error.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| StorageError::Io { what, source }
    }

    /// Whether the same may work later: the disk is full, or fails for the moment.
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

    /// The refusal's stable name, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            StorageError::Io { .. } => "disk-failed",
            StorageError::Locked { .. } => "data-in-use",
            StorageError::NotOurs { .. } => "not-a-data-folder",
            StorageError::HalfRestored { .. } => "half-restored",
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
            StorageError::HalfRestored { .. } => {
                "run `reelraft restore` with this folder again: it begins anew"
            }
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
