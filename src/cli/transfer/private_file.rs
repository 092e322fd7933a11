//! A file that only its owner may read, and that has its name only once it is whole.

use std::{
    fs::File,
    io::{self, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use crate::{
    error::{CliError, os_reason},
    transfer::{
        local_files::{part_name, rename},
        output_file::{OutputFile, unwritable},
        part_file::sync_folder,
    },
};

/// The file as it grows, beside the one that it is to be. It goes where it is not
/// finished.
pub struct PrivateFile {
    target: OutputFile,
    path: PathBuf,
    file: File,
    named: bool,
}

impl PrivateFile {
    /// Makes it.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`], also for a name that is taken.
    pub fn begin(target: OutputFile) -> Result<Self, CliError> {
        target.refuse_existing()?;
        let name = part_name(&target.out, &format!("{:016x}", rand::random::<u64>()));
        let path = target.folder.join(name);
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = made.map_err(|error| {
            let hint = "choose a folder that you may write to";
            unwritable(&target.out, &os_reason(&error), hint)
        })?;
        Ok(PrivateFile {
            target,
            path,
            file,
            named: false,
        })
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn empty(&self) -> Result<(), CliError> {
        let emptied = self.file.set_len(0);
        let emptied = emptied.and_then(|()| (&self.file).rewind());
        emptied.map_err(|error| self.failed(&error))
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        let written = (&self.file).write_all(bytes);
        written.map_err(|error| self.failed(&error))
    }

    /// Syncs it and gives it its name, durably.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn finish(mut self) -> Result<(), CliError> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        self.target.refuse_unfit()?;
        let renamed = rename(&self.path, &self.target.out, self.target.overwrite);
        renamed.map_err(|error| self.failed(&error))?;
        self.named = true;
        sync_folder(&self.target)
    }

    fn failed(&self, error: &io::Error) -> CliError {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "free some space, or choose another disk",
            io::ErrorKind::AlreadyExists => "choose another name, or replace it with --overwrite",
            _ => "check the disk",
        };
        unwritable(&self.target.out, &os_reason(error), hint)
    }
}

/// Its name is random: it can't be another's.
impl Drop for PrivateFile {
    fn drop(&mut self) {
        if !self.named {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
