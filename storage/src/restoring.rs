//! A data folder that is filled from a backup. Until all is there and synced it is no
//! node's, so that none starts on a part of it.
//!
//! ```text
//! DATA/RESTORING   there while it is filled: the next try begins anew
//! DATA/IDENTITY    written last
//! ```

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc,
};

use crate::{
    blobs::{BlobError, BlobStore},
    durable::{empty_folder_but, make_folder, sync_folder, write_file},
    error::StorageError,
    identity::{IDENTITY, Identity, LOCK, RESTORING, close_to_others, found, lock, refuse_foreign},
    limits::RESTORE_SYNC_TIME,
    log::{Log, Vote},
    progress::UNWATCHED,
    snapshot::{SnapshotHead, Snapshots},
    table::Row,
};

/// A folder that is being filled. Dropped before it is finished it stays a part.
#[derive(Debug)]
pub struct Restoring {
    folder: PathBuf,
    _lock: File,
}

impl Restoring {
    /// Takes an empty folder, or one that was not finished, which is emptied.
    ///
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::NotOurs`] where anything else is in
    /// it, and [`StorageError::Io`].
    pub fn begin(folder: &Path) -> Result<Self, StorageError> {
        make_folder(folder)?;
        // With an identity it is whole, and a node may have run on it since.
        let unfinished = folder.join(RESTORING).exists() && !folder.join(IDENTITY).exists();
        if !unfinished {
            // A node's own is as foreign here.
            if crate::known_identity(folder)?.is_some() {
                return Err(StorageError::NotOurs {
                    path: folder.to_path_buf(),
                });
            }
            refuse_foreign(folder)?;
        }
        close_to_others(folder);
        let lock = lock(folder)?;
        if unfinished {
            empty_folder_but(folder, &[LOCK, RESTORING])?;
        }
        write_file(&folder.join(RESTORING), b"by reelraft restore\n")?;
        Ok(Restoring {
            folder: folder.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where its blobs go.
    ///
    /// # Errors
    /// As [`BlobStore::open`].
    pub fn blobs(&self) -> Result<BlobStore, BlobError> {
        BlobStore::open(&self.folder.join("blobs"))
    }

    /// Makes it the folder of a node whose log ends where this snapshot does.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn finish(
        self,
        (cluster_id, node): (&str, u64),
        head: &SnapshotHead,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<Identity, StorageError> {
        let snapshots = Snapshots::open(&self.folder.join("snapshots"))?;
        snapshots.write(head, rows, UNWATCHED)?;
        let log = Log::open(&self.folder.join("log"), true)?;
        let last = head.last.unwrap_or_default();
        log.purge(last)?;
        let vote = Vote {
            term: last.term,
            node,
            committed: false,
        };
        let (sender, receiver) = mpsc::channel();
        log.save_vote(vote, move |result: io::Result<()>| {
            let _ = sender.send(result);
        })?;
        let late = || io::Error::other("the disk did not sync in time");
        let synced = receiver.recv_timeout(RESTORE_SYNC_TIME);
        let synced = synced.unwrap_or_else(|_| Err(late()));
        synced.map_err(StorageError::io(format!("sync {}", self.folder.display())))?;
        drop(log);
        let identity = found(&self.folder, cluster_id, node)?;
        let marker = self.folder.join(RESTORING);
        fs::remove_file(&marker)
            .map_err(StorageError::io(format!("remove {}", marker.display())))?;
        sync_folder(&self.folder)?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{log::LogPosition, open::Storage};

    fn head() -> SnapshotHead {
        SnapshotHead {
            last: Some(LogPosition {
                term: 1,
                node: 1,
                index: 40,
            }),
            membership: b"m".to_vec(),
        }
    }

    #[test]
    fn a_folder_that_was_filled_opens_as_a_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let row = (b"k".to_vec(), b"v".to_vec());
        let restoring = Restoring::begin(dir.path()).unwrap();
        let stored = restoring.blobs().unwrap().put_bytes("job", None, b"film");
        restoring
            .finish(("new", 1), &head(), [row.clone()])
            .unwrap();
        let storage = Storage::open(dir.path(), "other", 1).unwrap();
        assert_eq!(storage.identity().cluster_id, "new");
        assert_eq!(storage.log.bounds().last.unwrap().index, 40);
        assert_eq!(storage.log.vote().unwrap().term, 1);
        let newest = storage.newest.unwrap();
        let rows: Vec<Row> = newest.rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((rows, newest.head()), (vec![row], &head()));
        let blobs = BlobStore::open(&dir.path().join("blobs")).unwrap();
        assert!(blobs.has("job", &stored.unwrap().hash).unwrap());
        drop((storage.folder, storage.log, storage.table));
        let error = Restoring::begin(dir.path()).unwrap_err();
        assert!(matches!(error, StorageError::NotOurs { .. }), "{error}");
    }

    #[test]
    fn a_part_is_no_nodes_and_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let restoring = Restoring::begin(dir.path()).unwrap();
        restoring
            .blobs()
            .unwrap()
            .put_bytes("job", None, b"film")
            .unwrap();
        let second = Restoring::begin(dir.path()).unwrap_err();
        assert!(matches!(second, StorageError::Locked { .. }), "{second}");
        drop(restoring);
        let error = Storage::open(dir.path(), "c", 1).unwrap_err();
        let part = matches!(error, StorageError::HalfRestored { .. });
        assert!(part, "{error}");
        let again = Restoring::begin(dir.path()).unwrap();
        assert!(again.blobs().unwrap().jobs().unwrap().is_empty());
        again.finish(("new", 1), &head(), []).unwrap();
        Storage::open(dir.path(), "c", 1).unwrap();
    }

    #[test]
    fn a_mark_that_was_left_in_a_whole_folder_opens_it_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let restoring = Restoring::begin(dir.path()).unwrap();
        restoring.finish(("new", 1), &head(), []).unwrap();
        fs::write(dir.path().join(RESTORING), "x").unwrap();
        let error = Restoring::begin(dir.path()).unwrap_err();
        assert!(matches!(error, StorageError::NotOurs { .. }), "{error}");
        let storage = Storage::open(dir.path(), "c", 1).unwrap();
        assert_eq!(storage.log.bounds().last.unwrap().index, 40);
    }

    #[test]
    fn a_folder_with_anything_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("holiday.mp4"), "x").unwrap();
        let error = Restoring::begin(dir.path()).unwrap_err();
        assert!(matches!(error, StorageError::NotOurs { .. }), "{error}");
        assert!(dir.path().join("holiday.mp4").exists());
    }
}
