//! Where a backup is read: a file, or what can be read like one.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

/// A backup's bytes, which are read more than once.
pub trait BackupFile: fmt::Debug {
    /// What people call it.
    fn name(&self) -> String;

    /// Its bytes from an offset on.
    ///
    /// # Errors
    /// What keeps it from being read.
    fn open_at(&self, at: u64) -> io::Result<Box<dyn Read>>;
}

impl BackupFile for PathBuf {
    fn name(&self) -> String {
        self.display().to_string()
    }

    fn open_at(&self, at: u64) -> io::Result<Box<dyn Read>> {
        let mut file = File::open(self)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Box::new(file))
    }
}
