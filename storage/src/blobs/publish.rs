//! How a blob gets its name durably.

use std::{
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use super::{
    blocks::Blocks,
    error::BlobError,
    store::{BlobStore, blocks_path, lock},
    sync::sync_folder,
    temp::TempFile,
};

impl BlobStore {
    /// Makes a complete, hashed file a blob: sync, block hashes, rename, sync of
    /// the folder.
    pub(super) fn publish(
        &self,
        job: &str,
        hash: &str,
        blocks: &Blocks,
        file: &File,
        path: &Path,
    ) -> Result<(), BlobError> {
        let failure = &self.inner.failure;
        failure.check(path)?;
        let _used = self.inner.usage.enter(job);
        let folder = self.job_folder(job)?;
        let target = folder.join(hash);
        // A blob that is here already counts only if it is whole. The check
        // moves a damaged one aside, and this one takes its place.
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
            self.inner.quota.put(blocks.total_bytes);
        }
        // So that a removal that has seen it before finds that it was put again.
        touch(&target)?;
        // Even if it was here: another put may not have synced it yet.
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
}

fn touch(blob: &Path) -> Result<(), BlobError> {
    let file = File::open(blob).map_err(BlobError::io("open", blob))?;
    file.set_modified(SystemTime::now())
        .map_err(BlobError::io("touch", blob))
}
