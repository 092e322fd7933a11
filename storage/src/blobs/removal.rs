//! Removing all bytes of a job, so that nothing that comes back is lost with
//! them: under the job's lock its folder loses its name, which is quick and
//! durable; the files are deleted afterwards, which may take minutes.

use std::{fs, io, path::Path};

use super::{
    error::BlobError,
    names::{check_job, names_in},
    store::{BlobStore, QUARANTINE_FOLDER, TRASH_FOLDER, lock},
    sync::sync_folder,
};

/// What has become of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of the job is here any more.
    Removed,
    /// The job is wanted again, and nothing was touched.
    Wanted,
    /// Somebody puts or reads its journal just now: try again later.
    InUse,
}

impl BlobStore {
    /// Removes all bytes of a job, unless somebody uses them or
    /// `still_unwanted` says no. That is asked when nobody can put any more, so
    /// that no answer is older than a put. What is put afterwards stays.
    ///
    /// # Errors
    /// [`BlobError::BadName`], [`BlobError::Io`] and [`BlobError::SyncFailed`].
    pub fn remove_job_if(
        &self,
        job: &str,
        still_unwanted: impl FnOnce() -> bool,
    ) -> Result<Removal, BlobError> {
        check_job(job)?;
        let Some(locked) = self.inner.usage.try_lock(job) else {
            return Ok(Removal::InUse);
        };
        if !still_unwanted() {
            return Ok(Removal::Wanted);
        }
        self.move_to_trash(job)?;
        drop(locked);
        self.empty_trash()?;
        Ok(Removal::Removed)
    }

    /// Deletes what earlier removals have left, as one that was cut off has.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn empty_trash(&self) -> Result<(), BlobError> {
        // One at a time: two would trip over each other's files.
        let _alone = lock(&self.inner.trash);
        let trash = self.inner.root.join(TRASH_FOLDER);
        for name in names_in(&trash)? {
            let folder = trash.join(name);
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BlobError::io("remove", &folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a locked job's folder and its damaged blobs away from their names.
    fn move_to_trash(&self, job: &str) -> Result<(), BlobError> {
        let inner = &self.inner;
        // First of all: from here on nobody may write to the old journal.
        if let Some(journal) = lock(&inner.journals).forget(job) {
            journal.retire();
        }
        lock(&inner.folders).remove(job);
        let trash = inner.root.join(TRASH_FOLDER);
        let aside = trash.join(format!("{:016x}", rand::random::<u64>()));
        fs::create_dir(&aside).map_err(BlobError::io("create", &aside))?;
        move_if_there(&inner.root.join(job), &aside.join("job"))?;
        let quarantine = inner.root.join(QUARANTINE_FOLDER);
        for name in names_in(&quarantine)? {
            if name.split('.').next() == Some(job) {
                move_if_there(&quarantine.join(&name), &aside.join(&name))?;
            }
        }
        // The new name before the old one's end, so that a power cut leaves one
        // of them.
        sync_folder(&aside, &inner.failure)?;
        sync_folder(&trash, &inner.failure)?;
        sync_folder(&inner.root, &inner.failure)
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), BlobError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BlobError::io("move away", from)(error))
        }
        _ => Ok(()),
    }
}
