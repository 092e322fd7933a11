//! The folder in which one attempt works.

use std::{
    io,
    path::{Path, PathBuf},
};

use reelraft_model::AttemptKey;

/// The folder of one attempt, removed with all in it when the attempt ends.
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// An empty folder below `root`.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn new(root: &Path, key: &AttemptKey) -> io::Result<Self> {
        let name = format!(
            "{}-{}-{}-{}",
            key.job,
            key.kind().name(),
            key.number,
            key.attempt
        );
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
