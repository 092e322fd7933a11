//! The local file an output is written to. Bytes go to `OUT.part`; only a
//! verified whole is synced and renamed to `OUT`.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{CliError, os_reason},
    file_lock::try_lock,
};

/// `OUT` and its partial file `OUT.part`, open and locked.
pub struct OutputFile {
    out: PathBuf,
    part: PathBuf,
    pub file: File,
    /// Whether `OUT.part` existed before.
    found: bool,
}

impl OutputFile {
    /// Makes sure that `out` can be written before anything else is done.
    /// Keeps what an earlier attempt left in `OUT.part`.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn open(out: &Path) -> Result<Self, CliError> {
        if out == Path::new("-") {
            return Err(unwritable(
                out,
                "an output is verified as a file, so it can't go to standard output",
                "give a file name, or ./- for a file of that name",
            ));
        }
        let Some(name) = out.file_name() else {
            return Err(unwritable(
                out,
                "it does not name a file",
                "give a file name",
            ));
        };
        if out.is_dir() {
            return Err(unwritable(
                out,
                "it is a directory",
                "give a file name in it",
            ));
        }
        let mut part_name = name.to_os_string();
        part_name.push(".part");
        let part = out.with_file_name(part_name);
        let found = part.exists();
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part);
        let file = opened.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "create its folder first",
                io::ErrorKind::PermissionDenied => "choose a folder you may write to",
                _ => "choose another place",
            };
            unwritable(out, &os_reason(&error), hint)
        })?;
        let locked = try_lock(&file)
            .map_err(|error| unwritable(out, &os_reason(&error), "choose another place"))?;
        if !locked {
            let cause = format!("another program is writing {}", part.display());
            return Err(unwritable(
                out,
                &cause,
                "wait for it, or choose another name",
            ));
        }
        Ok(OutputFile {
            out: out.to_path_buf(),
            part,
            file,
            found,
        })
    }

    /// A write to the partial file failed.
    pub fn failed(&self, error: &io::Error) -> CliError {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => {
                "free some space and fetch again: it resumes where it stopped"
            }
            _ => "check the disk and fetch again: it resumes where it stopped",
        };
        unwritable(&self.part, &os_reason(error), hint)
    }

    /// Syncs the file, renames it to `OUT` and syncs the name: a reported output
    /// survives a power cut.
    ///
    /// # Errors
    /// The system's own.
    pub fn finish(&self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.out)?;
        let folder = match self.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

/// Removes an empty `OUT.part` that we created, also after Ctrl-C. One with
/// bytes stays for the next attempt; after success the name is already gone.
impl Drop for OutputFile {
    fn drop(&mut self) {
        let empty = self.file.metadata().is_ok_and(|meta| meta.len() == 0);
        if !self.found && empty {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

fn unwritable(path: &Path, cause: &str, hint: &str) -> CliError {
    CliError::OutputUnwritable {
        path: path.to_path_buf(),
        cause: cause.to_string(),
        hint: hint.to_string(),
    }
}
