//! The local file an output is written to: whether it may be written is found
//! out before anything is submitted, and again when its bytes are whole.
//!
//! Nothing that is not ours is ever replaced: an existing `OUT` only when told
//! so, the source never, and anything but a regular file never. Bytes gather
//! in a partial file; only a verified whole becomes `OUT`.

use std::{
    fs::Metadata,
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{CliError, os_reason},
    render::{format::shell_quoted, screen::Screen},
    transfer::local_files::{FileId, effective_user, new_file, part_name},
};

/// Mode bit of a folder in which only owners may remove and replace files.
const STICKY: u32 = 0o1000;

/// The user who may do anything.
const ROOT: u32 = 0;

/// `OUT`, found fit to be written.
pub struct OutputFile {
    pub out: PathBuf,
    pub folder: PathBuf,
    pub overwrite: bool,
    /// The file that must never be written to.
    source: Option<FileId>,
    /// Whose a file is that this user makes here: a network file system may
    /// give it to another.
    pub owner: u32,
    screen: Arc<Screen>,
}

impl OutputFile {
    /// Makes sure that `out` can be written before anything else is done, and
    /// leaves nothing behind. An existing file is refused later, when it is
    /// known whether it is the very output: see [`OutputFile::refuse_existing`].
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`], or [`CliError::Usage`] if it is `source`.
    pub fn check(
        out: &Path,
        overwrite: bool,
        source: Option<&Path>,
        screen: &Arc<Screen>,
    ) -> Result<Self, CliError> {
        if out == Path::new("-") {
            return Err(unwritable(
                out,
                "an output is verified as a file, so it can't go to standard output",
                "give a file name, or ./- for a file of that name",
            ));
        }
        let ends_in_slash = out.as_os_str().as_bytes().ends_with(b"/");
        if out.file_name().is_none() || (ends_in_slash && !out.is_dir()) {
            let cause = "it does not name a file";
            return Err(unwritable(out, cause, "give a file name"));
        }
        let folder = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let mut file = OutputFile {
            out: out.to_path_buf(),
            folder,
            overwrite,
            source: source.and_then(|path| FileId::at(path).ok()),
            owner: 0,
            screen: screen.clone(),
        };
        file.refuse_unfit()?;
        file.owner = file.probe()?;
        Ok(file)
    }

    /// Refuses an `OUT` that can't or must not be replaced, whatever was told.
    ///
    /// # Errors
    /// As [`OutputFile::check`].
    pub fn refuse_unfit(&self) -> Result<(), CliError> {
        let found = match std::fs::symlink_metadata(&self.out) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unwritable(&self.out, &os_reason(&error), hint_for(&error))),
        };
        let followed = FileId::at(&self.out).ok();
        if self.source.is_some() && followed == self.source {
            let cause = "IN and OUT are the same file";
            return Err(CliError::usage(cause, "give OUT another name"));
        }
        let (cause, hint) = if found.is_dir() {
            ("it is a directory", "give a file name in it")
        } else if found.is_symlink() {
            (
                "it is a symbolic link",
                "name the file that it points to, or another",
            )
        } else if !found.is_file() {
            ("it is not a regular file", "choose another name")
        } else if is_mount_root(&self.out) {
            (
                "it is mounted by itself, so it can't be replaced",
                "mount its folder instead, or choose another place",
            )
        } else if is_held_by_sticky(&found, &self.folder) {
            (
                "it belongs to another user, in a folder where only owners may replace files",
                "choose another name",
            )
        } else {
            return Ok(());
        };
        Err(unwritable(&self.out, cause, hint))
    }

    /// Refuses an `OUT` that exists, unless told to overwrite it.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn refuse_existing(&self) -> Result<(), CliError> {
        if self.overwrite || std::fs::symlink_metadata(&self.out).is_err() {
            return Ok(());
        }
        Err(unwritable(
            &self.out,
            "it exists already",
            "give OUT another name, or replace it with --overwrite",
        ))
    }

    /// Tries whether this user may make files in the folder; returns whose
    /// they are then.
    fn probe(&self) -> Result<u32, CliError> {
        let name = part_name(&self.out, &format!("{:016x}", rand::random::<u64>()));
        let path = self.folder.join(name);
        let made = new_file(&path).and_then(|file| file.metadata());
        let owner = made
            .map(|made| made.uid())
            .map_err(|error| unwritable(&self.out, &os_reason(&error), hint_for(&error)));
        if owner.is_ok() {
            // Its name is random: it can't be another's.
            let _ = std::fs::remove_file(&path);
        }
        owner
    }

    /// Whether this is the file that must never be written to.
    pub fn is_source(&self, id: FileId) -> bool {
        self.source == Some(id)
    }

    pub fn notice(&self, text: &str) {
        self.screen.notice(text);
    }

    /// The command that fetches the job's output to this file.
    pub fn fetch_command(&self, job: &str) -> String {
        let out = shell_quoted(&self.out.to_string_lossy());
        let overwrite = if self.overwrite { " --overwrite" } else { "" };
        format!("`reelraft job fetch {job} {out}{overwrite}`")
    }
}

/// Whether the folder keeps this user from replacing the file in it.
fn is_held_by_sticky(file: &Metadata, folder: &Path) -> bool {
    let user = effective_user();
    let held_in = |folder: Metadata| {
        folder.mode() & STICKY != 0 && ![file.uid(), folder.uid()].contains(&user)
    };
    // Root may replace what it does not own.
    user != ROOT && std::fs::metadata(folder).is_ok_and(held_in)
}

/// Whether something is mounted right there: a rename onto it is refused.
fn is_mount_root(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: the call writes one statx, which `found` is, and an all-zero one
    // is a valid value; the path outlives the call.
    let found = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            libc::STATX_TYPE,
            &mut found,
        );
        found
    };
    found.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0
}

pub fn hint_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create its folder first",
        io::ErrorKind::PermissionDenied => "choose a folder you may write to",
        io::ErrorKind::InvalidFilename => "choose a shorter name",
        io::ErrorKind::StorageFull => "free some space, or choose another place",
        _ => "choose another place",
    }
}

pub fn unwritable(path: &Path, cause: &str, hint: &str) -> CliError {
    CliError::OutputUnwritable {
        path: path.to_path_buf(),
        cause: cause.to_string(),
        hint: hint.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(out: &Path, source: Option<&Path>) -> Result<OutputFile, CliError> {
        OutputFile::check(out, true, source, &Arc::new(Screen::new()))
    }

    fn cause(out: &Path, source: Option<&Path>) -> String {
        check(out, source).err().unwrap().to_string()
    }

    #[test]
    fn what_can_not_be_replaced_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&file, "precious").unwrap();
        symlink(&file, &link).unwrap();
        assert!(cause(&link, None).ends_with("it is a symbolic link"));
        assert!(cause(folder.path(), None).ends_with("it is a directory"));
        assert!(cause(Path::new("/dev/full"), None).ends_with("it is not a regular file"));
        assert!(cause(&folder.path().join("none/"), None).ends_with("does not name a file"));
        let socket = folder.path().join("s");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(cause(&socket, None).ends_with("it is not a regular file"));
        assert!(cause(&link, Some(&file)).contains("the same file"));
        let long = folder.path().join("x".repeat(256));
        assert!(check(&long, None).err().unwrap().hint().contains("shorter"));
        assert!(check(&folder.path().join("x".repeat(255)), None).is_ok());
        assert!(check(&file, None).is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_mount_is_told_from_a_file() {
        assert!(is_mount_root(Path::new("/proc")));
        assert!(!is_mount_root(Path::new("/proc/version")));
    }
}
