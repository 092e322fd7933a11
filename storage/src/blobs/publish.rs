//! How a blob comes to last under its name, and how a damaged one leaves it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use super::{
    BlobError, BlobStore, QUARANTINE_FOLDER,
    blocks::Blocks,
    blocks_path,
    limits::QUARANTINE_FILES_MAX,
    lock,
    names::{names_in, remove_if_there},
    sync::sync_folder,
    writer::TempFile,
};

impl BlobStore {
    /// The folder of a job, made to last if it is new.
    pub(super) fn job_folder(&self, job: &str) -> Result<PathBuf, BlobError> {
        let folder = self.inner.root.join(job);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BlobError::io("create", &folder)(error)),
        }
        // Once for each folder and run, also for one that is there: the run
        // that made it may have ended before it was synced.
        if !lock(&self.inner.folders).contains_key(job) {
            sync_folder(&self.inner.root, &self.inner.failure)?;
            lock(&self.inner.folders)
                .entry(job.to_string())
                .or_default();
        }
        Ok(folder)
    }

    /// Makes a complete, hashed file last as a blob: sync, block hashes,
    /// rename, sync of the folder.
    pub(super) fn settle(
        &self,
        job: &str,
        hash: &str,
        blocks: &Blocks,
        file: &File,
        path: &Path,
    ) -> Result<(), BlobError> {
        let failure = &self.inner.failure;
        failure.check(path)?;
        let folder = self.job_folder(job)?;
        let target = folder.join(hash);
        // A blob that is here already must be whole to count: a damaged one
        // is moved aside by the check, and this one takes its place.
        let here = match self.verify(job, hash) {
            Ok(_) => true,
            Err(BlobError::Missing { .. } | BlobError::Corrupt { .. }) => false,
            Err(other) => return Err(other),
        };
        if !here {
            failure.keep(path, file.sync_data())?;
            if blocks.hashes.len() > 1 {
                self.write_blocks(job, hash, blocks)?;
            }
            fs::rename(path, &target).map_err(BlobError::io("name", &target))?;
        }
        // Also for one that is here: another put may not have synced it yet.
        let group = lock(&self.inner.folders)
            .entry(job.to_string())
            .or_default()
            .clone();
        group.wait(|| sync_folder(&folder, failure))
    }

    /// Writes the list of block hashes beside its blob.
    pub(super) fn write_blocks(
        &self,
        job: &str,
        hash: &str,
        blocks: &Blocks,
    ) -> Result<(), BlobError> {
        let temp = TempFile(self.temp_path());
        fs::write(&temp.0, blocks.encode(hash)).map_err(BlobError::io("write", &temp.0))?;
        let file = File::open(&temp.0).map_err(BlobError::io("open", &temp.0))?;
        self.inner.failure.keep(&temp.0, file.sync_data())?;
        let target = blocks_path(&self.inner.root.join(job).join(hash));
        fs::rename(&temp.0, &target).map_err(BlobError::io("name", &target))
    }

    /// Moves a damaged blob aside and says so.
    pub(super) fn quarantine(&self, job: &str, hash: &str) -> BlobError {
        let path = self.inner.root.join(job).join(hash);
        let aside = self.inner.root.join(QUARANTINE_FOLDER);
        let kept = names_in(&aside).map_or(QUARANTINE_FILES_MAX, |names| names.len());
        let moved = kept < QUARANTINE_FILES_MAX
            && fs::rename(&path, aside.join(format!("{job}.{hash}"))).is_ok();
        if !moved && let Err(error) = remove_if_there(&path) {
            tracing::error!(job, hash, %error, "a damaged blob could not be moved aside");
        }
        // Its block hashes are made again with the next put.
        let _ = remove_if_there(&blocks_path(&path));
        self.inner.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            file = %path.display(),
            moved,
            "a blob is damaged on this disk: it is moved aside, to be copied from another home"
        );
        BlobError::Corrupt {
            job: job.to_string(),
            hash: hash.to_string(),
        }
    }
}
