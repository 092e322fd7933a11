//! Opening a node's disk: lock, identity, log, table and snapshots, and the checks
//! between them.
//!
//! ```text
//! DATA/LOCK IDENTITY FORMAT
//! DATA/log/        Raft's log and vote: what is acknowledged
//! DATA/table/      sled: a view of the state, dropped when in doubt
//! DATA/snapshots/  the newest snapshot: what the log was purged up to
//! ```

use std::path::Path;

use crate::{
    error::StorageError,
    identity::{DataFolder, Identity},
    log::{Log, LogPosition},
    progress::UNWATCHED,
    snapshot::{SnapshotFile, SnapshotHead, Snapshots},
    table::{OpenedTable, Row, Table},
};

/// A node's open disk.
#[derive(Debug)]
pub struct Storage {
    /// Locked while this lives.
    pub folder: DataFolder,
    pub log: Log,
    /// Empty if it had to be dropped: then it is refilled from `newest` and the
    /// log.
    pub table: Table,
    /// The table's rows, in the order of their keys.
    pub rows: Vec<Row>,
    pub snapshots: Snapshots,
    /// The newest snapshot.
    pub newest: Option<SnapshotFile>,
}

impl Storage {
    /// Opens a data folder, or formats an empty one.
    ///
    /// `cluster_id` is used only for a new folder.
    ///
    /// # Errors
    /// Any [`StorageError`] about the folder, the log or snapshots.
    pub fn open(path: &Path, cluster_id: &str, node: u64) -> Result<Self, StorageError> {
        let mut folder = DataFolder::open(path, cluster_id, node)?;
        let log_path = path.join("log");
        let log = Log::open(&log_path, !folder.formatted())?;
        let used = log.vote().is_some() || log.bounds().last.is_some();
        if used && !folder.formatted() {
            return Err(StorageError::DamagedIdentity {
                path: path.to_path_buf(),
                cause: "there is a Raft log, but no format marker".to_string(),
            });
        }
        let snapshots = Snapshots::open(&path.join("snapshots"))?;
        let mut newest = snapshots.newest()?;
        let snapshot_last = newest.as_ref().and_then(|snapshot| snapshot.head().last);

        let table_path = path.join("table");
        let mut opened = Table::open(&table_path)?;
        if let Some(cause) = contradiction(&log, snapshot_last, opened.table.head().applied)? {
            tracing::warn!(cause, "the table is dropped and rebuilt");
            opened.table.clear(UNWATCHED)?;
            opened.rows.clear();
        }
        let OpenedTable { table, rows, .. } = opened;

        let reached = table.head().applied.max(snapshot_last);
        if let Some(purged) = log.bounds().purged
            && reached.is_none_or(|reached| reached.index < purged.index)
        {
            return Err(StorageError::MissingSnapshot {
                purged: purged.index,
            });
        }
        // The table alone reaches the purged log: a snapshot that was damaged
        // is replaced at once, before the table is needed for it again.
        if newest.is_none()
            && log.bounds().purged.is_some()
            && let Some(applied) = table.head().applied
        {
            let head = SnapshotHead {
                last: Some(applied),
                membership: table.head().membership.clone(),
            };
            newest = Some(snapshots.write(&head, rows.iter().cloned(), UNWATCHED)?);
            tracing::warn!(
                index = applied.index,
                "a snapshot was written anew from the table"
            );
        }
        folder.finish()?;
        Ok(Storage {
            folder,
            log,
            table,
            rows,
            snapshots,
            newest,
        })
    }

    pub fn identity(&self) -> &Identity {
        self.folder.identity()
    }
}

/// Why a table can't belong to this log, if it can't. The log is synced before
/// anything is applied, so it is never behind.
fn contradiction(
    log: &Log,
    snapshot_last: Option<LogPosition>,
    applied: Option<LogPosition>,
) -> Result<Option<&'static str>, StorageError> {
    let Some(applied) = applied else {
        return Ok(None);
    };
    if Some(applied) <= snapshot_last {
        return Ok(None);
    }
    if log.bounds().last < Some(applied) {
        return Ok(Some("it is ahead of the log"));
    }
    let entry = log.read(applied.index, applied.index + 1, 0)?;
    match entry.first() {
        Some(entry) if entry.position != applied => Ok(Some("the log has another entry there")),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, sync::mpsc};

    use bytes::Bytes;

    use super::*;
    use crate::{
        log::{LogRecord, Vote},
        table::Changes,
    };

    fn at(index: u64) -> LogPosition {
        LogPosition {
            term: 1,
            node: 1,
            index,
        }
    }

    fn append(log: &Log, indexes: std::ops::Range<u64>) {
        let records = indexes.map(|index| LogRecord {
            position: at(index),
            payload: Bytes::from_static(b"x"),
        });
        let (sender, receiver) = mpsc::channel();
        log.append(records.collect::<Vec<_>>(), move |result| {
            sender.send(result).unwrap();
        })
        .unwrap();
        receiver.recv().unwrap().unwrap();
    }

    fn open(path: &Path) -> Result<Storage, StorageError> {
        Storage::open(path, "c", 1)
    }

    #[test]
    fn a_disk_opens_again_with_all_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = open(dir.path()).unwrap();
        append(&storage.log, 0..5);
        let changes = Changes::from([(b"k".to_vec(), Some(b"v".to_vec()))]);
        storage.table.write(&changes, at(3), None).unwrap();
        drop(storage);
        let storage = open(dir.path()).unwrap();
        assert_eq!(storage.log.bounds().last, Some(at(4)));
        assert_eq!(storage.table.head().applied, Some(at(3)));
        assert_eq!(storage.rows, [(b"k".to_vec(), b"v".to_vec())]);
    }

    #[test]
    fn a_table_ahead_of_the_log_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = open(dir.path()).unwrap();
        append(&storage.log, 0..5);
        storage.table.write(&Changes::new(), at(9), None).unwrap();
        drop(storage);
        let storage = open(dir.path()).unwrap();
        assert_eq!(storage.table.head().applied, None);
    }

    #[test]
    fn a_lost_table_opens_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = open(dir.path()).unwrap();
        append(&storage.log, 0..5);
        storage.table.write(&Changes::new(), at(3), None).unwrap();
        drop(storage);
        fs::remove_dir_all(dir.path().join("table")).unwrap();
        assert_eq!(open(dir.path()).unwrap().table.head().applied, None);
    }

    #[test]
    fn a_purged_log_without_its_snapshot_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path()).unwrap();
        append(&storage.log, 0..5);
        let head = SnapshotHead {
            last: Some(at(3)),
            membership: Vec::new(),
        };
        storage.snapshots.write(&head, [], UNWATCHED).unwrap();
        storage.log.purge(at(2)).unwrap();
        append(&storage.log, 5..6);
        drop(storage);
        drop(open(dir.path()).unwrap());
        fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(
            matches!(error, StorageError::MissingSnapshot { purged: 2 }),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_snapshot_is_written_anew_from_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = open(dir.path()).unwrap();
        append(&storage.log, 0..5);
        let changes = Changes::from([(b"k".to_vec(), Some(b"v".to_vec()))]);
        storage.table.write(&changes, at(4), None).unwrap();
        let head = SnapshotHead {
            last: Some(at(3)),
            membership: Vec::new(),
        };
        storage.snapshots.write(&head, [], UNWATCHED).unwrap();
        storage.log.purge(at(3)).unwrap();
        append(&storage.log, 5..6);
        drop(storage);
        let folder = dir.path().join("snapshots");
        for file in fs::read_dir(&folder).unwrap() {
            fs::write(file.unwrap().path(), "rotten").unwrap();
        }
        let storage = open(dir.path()).unwrap();
        let newest = storage.newest.unwrap();
        assert_eq!(newest.head().last, Some(at(4)));
        let rows: Vec<Row> = newest.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [(b"k".to_vec(), b"v".to_vec())]);
        fs::remove_dir_all(dir.path().join("table")).unwrap();
        drop((storage.folder, storage.log, storage.table));
        open(dir.path()).unwrap();
    }

    #[test]
    fn a_used_log_without_a_marker_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(dir.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        storage
            .log
            .save_vote(Vote::default(), move |result| sender.send(result).unwrap())
            .unwrap();
        receiver.recv().unwrap().unwrap();
        drop(storage);
        fs::remove_file(dir.path().join("FORMAT")).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(
            matches!(error, StorageError::DamagedIdentity { .. }),
            "{error}"
        );
    }
}
