//! The partial file beside `OUT`, in which the bytes gather. Its name holds the
//! job's id, so that it is never another program's or another job's; it is
//! opened without following links, must be a plain file of our own, and is
//! locked. At the end it takes the name `OUT`, or, where it has lost its own
//! name meanwhile, is written once more.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{CliError, os_reason},
    file_lock::try_lock,
    limits::PART_OPENS_MAX,
    transfer::{
        local_files::{FileId, effective_user, is_at, new_file, part_name, rename},
        output_file::{OutputFile, hint_for, unwritable},
    },
};

/// What to do about something else under the partial file's name.
const MOVE_AWAY: &str = "move it away, or give OUT another name";

/// The partial file, open and locked.
pub struct PartFile {
    target: OutputFile,
    job: String,
    path: PathBuf,
    pub file: Arc<File>,
}

impl PartFile {
    /// Opens or makes it.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`] if it can't be had, or is not ours.
    pub fn open(target: OutputFile, job: &str) -> Result<Self, CliError> {
        let path = target.folder.join(part_name(&target.out, job));
        for _ in 0..PART_OPENS_MAX {
            let refused = |cause: &str, hint: &str| unwritable(&path, cause, hint);
            let opened = open_or_make(&path).map_err(|error| {
                if std::fs::symlink_metadata(&path).is_ok() {
                    return refused(&os_reason(&error), MOVE_AWAY);
                }
                unwritable(&target.out, &os_reason(&error), hint_for(&error))
            })?;
            let Some((file, made)) = opened else { continue };
            let found = file
                .metadata()
                .map_err(|error| refused(&os_reason(&error), "check the disk"))?;
            let theirs = ![target.owner, effective_user()].contains(&found.uid());
            let unfit = if !found.is_file() {
                "it is not a regular file"
            } else if found.nlink() > 1 {
                "it has other names, too"
            } else if theirs && !made {
                "it belongs to another user"
            } else if target.is_source(FileId::of(&found)) {
                "it is IN itself"
            } else {
                ""
            };
            if !unfit.is_empty() {
                return Err(refused(unfit, MOVE_AWAY));
            }
            match try_lock(&file) {
                Ok(true) => {}
                Ok(false) => {
                    let cause = "another program is writing it";
                    return Err(refused(cause, "wait for it, or choose another name"));
                }
                Err(_) => target.notice(&format!(
                    "{} can't be locked on this file system: write it with one command at a time",
                    path.display()
                )),
            }
            // Whoever held the lock before may have renamed or removed it.
            if is_at(&file, &path) {
                return Ok(PartFile {
                    target,
                    job: job.to_string(),
                    path,
                    file: Arc::new(file),
                });
            }
        }
        let cause = "it is made and removed over and over by another program";
        Err(unwritable(&path, cause, "choose another name"))
    }

    /// Reading or writing it failed.
    pub fn failed(&self, error: &io::Error) -> CliError {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
            io::ErrorKind::FileTooLarge => "choose a place for larger files",
            _ => "check the disk",
        };
        unwritable(&self.path, &os_reason(error), hint)
    }

    /// Syncs the file, renames it to `OUT` and syncs the name: a reported output
    /// survives a power cut.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn finish(mut self) -> Result<(), CliError> {
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        if !is_at(&self.file, &self.path) {
            let text = format!("{} was removed, writing it once more", self.path.display());
            self.target.notice(&text);
            self.write_once_more()
                .map_err(|error| self.failed(&error))?;
        }
        self.target.refuse_unfit()?;
        let renamed = rename(&self.path, &self.target.out, self.target.overwrite);
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => unwritable(
                &self.target.out,
                "a file of that name was made meanwhile",
                "fetch the output under another name, or replace the file with --overwrite",
            ),
            _ => self.failed(&error),
        })?;
        sync_folder(&self.target)
    }

    /// Copies what is still open but has lost its name to a file that has one.
    fn write_once_more(&mut self) -> io::Result<()> {
        if std::fs::symlink_metadata(&self.path).is_ok() {
            // Another's file: it stays as it is.
            let other = format!("{}.{:08x}", self.job, rand::random::<u32>());
            let name = part_name(&self.target.out, &other);
            self.path = self.target.folder.join(name);
        }
        let copy = new_file(&self.path)?;
        let (mut from, mut to) = (&*self.file, &copy);
        io::Seek::seek(&mut from, io::SeekFrom::Start(0))?;
        io::copy(&mut from, &mut to)?;
        copy.sync_all()?;
        self.file = Arc::new(copy);
        Ok(())
    }
}

/// Removes an empty partial file, also after Ctrl-C. One with bytes stays for
/// the next attempt; after success the name is already gone.
impl Drop for PartFile {
    fn drop(&mut self) {
        let empty = self.file.metadata().is_ok_and(|found| found.len() == 0);
        if empty && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens what is there, or makes it; says whether it was made. None if it
/// went between the two.
fn open_or_make(path: &Path) -> io::Result<Option<(File, bool)>> {
    match new_file(path) {
        Ok(file) => return Ok(Some((file, true))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        // A pipe must not hold us up before it is refused.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => Ok(Some((file, false))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link"),
            Some(libc::ENXIO) => io::Error::other("it is not a regular file"),
            _ => error,
        }),
    }
}

/// Syncs the new name. The file is whole by now, so a folder that can't be
/// synced at all is worth a word and no failure.
pub fn sync_folder(target: &OutputFile) -> Result<(), CliError> {
    let Err(error) = File::open(&target.folder).and_then(|folder| folder.sync_all()) else {
        return Ok(());
    };
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EACCES | libc::EPERM) => {
            target.notice(&format!(
                "{} is written, but its folder can't be synced: {}",
                target.out.display(),
                os_reason(&error)
            ));
            Ok(())
        }
        _ => Err(unwritable(
            &target.out,
            &format!("its name could not be synced: {}", os_reason(&error)),
            "the file itself is whole and synced; check the disk",
        )),
    }
}
