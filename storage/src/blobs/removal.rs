//! Removing all bytes of a job, so that nothing that comes back is lost with
//! them: under the job's lock its folder loses its name, which is quick and
//! durable; the files are deleted afterwards, which may take minutes. Single
//! blobs of a job that goes on are deleted under its lock, a few at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

use super::{
    error::BlobError,
    limits::REMOVED_AT_ONCE,
    names::{QUARANTINE_FOLDER, TRASH_FOLDER, check_hash, check_job, names_in},
    store::{BlobStore, lock},
    sync::sync_folder,
};

/// What has become of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing is here any more of what was to go.
    Removed,
    /// It is wanted again, and what was still here stays.
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

    /// The blobs of a job with the time of their last put, by which
    /// [`BlobStore::remove_blobs_if`] knows whether they were put again. Two puts
    /// never leave the same one.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn last_puts(&self, job: &str) -> Result<BTreeMap<String, SystemTime>, BlobError> {
        check_job(job)?;
        let mut puts = BTreeMap::new();
        for name in names_in(&self.inner.root.join(job))? {
            if check_hash(&name).is_ok()
                && let Some(put) = self.last_put(job, &name)?
            {
                puts.insert(name, put);
            }
        }
        Ok(puts)
    }

    fn last_put(&self, job: &str, hash: &str) -> Result<Option<SystemTime>, BlobError> {
        let path = self.blob_path(job, hash)?;
        match fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(put) => Ok(Some(put)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BlobError::io("look at", &path)(error)),
        }
    }

    /// Removes those of some blobs that were not put since and that are not
    /// `needed`. That is asked when nobody can put, for a few blobs at a time; where
    /// it gives nothing, the rest stays. So does what is left when somebody uses the
    /// job.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn remove_blobs_if(
        &self,
        job: &str,
        blobs: &BTreeMap<String, SystemTime>,
        needed: impl Fn() -> Option<BTreeSet<String>>,
    ) -> Result<Removal, BlobError> {
        check_job(job)?;
        let blobs: Vec<_> = blobs.iter().collect();
        for some in blobs.chunks(REMOVED_AT_ONCE) {
            let Some(_locked) = self.inner.usage.try_lock(job) else {
                return Ok(Removal::InUse);
            };
            let Some(needed) = needed() else {
                return Ok(Removal::Wanted);
            };
            for (hash, seen) in some {
                if !needed.contains(*hash) && self.last_put(job, hash)?.as_ref() == Some(seen) {
                    self.remove(job, hash)?;
                }
            }
        }
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
