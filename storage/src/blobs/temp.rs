//! Temporary files that leave nothing behind.

use std::{fs, path::PathBuf};

/// A file that is removed unless it was moved away.
#[derive(Debug)]
pub(super) struct TempFile(pub PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        // A file that was renamed is no longer here. One that can't be removed
        // goes when the store is opened again.
        let _ = fs::remove_file(&self.0);
    }
}
