//! The folder in which one attempt works, or whatever else makes files.

use std::{
    io,
    path::{Path, PathBuf},
};

use reelraft_model::AttemptKey;

/// A folder for one work, removed with all in it when that ends.
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// An empty folder below `root`.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn new(root: &Path, name: &str) -> io::Result<Self> {
        let path = root.join(name);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(named)?;
        Ok(WorkDir(path))
    }

    /// That of an attempt.
    ///
    /// # Errors
    /// As [`WorkDir::new`].
    pub fn of_attempt(root: &Path, key: &AttemptKey) -> io::Result<Self> {
        let kind = key.kind().name();
        let name = format!("{}-{kind}-{}-{}", key.job, key.number, key.attempt);
        WorkDir::new(root, &name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
