//! Files of this user, handled so that nobody else's is touched: told apart by
//! device and inode, made without following links, renamed without replacing.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{File, OpenOptions},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use crate::limits::{FILE_NAME_BYTES_MAX, JOB_ID_BYTES_KEPT};

/// Which file it is, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file at a path, following links.
    ///
    /// # Errors
    /// The system's own.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|found| FileId::of(&found))
    }

    /// Of no file.
    pub fn of_nothing() -> Self {
        FileId {
            device: 0,
            inode: 0,
        }
    }

    /// As text: of the device and of the inode.
    pub fn text(&self) -> String {
        format!("{}:{}", self.device, self.inode)
    }

    pub fn of(found: &std::fs::Metadata) -> Self {
        FileId {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// Syncs a folder, where its file system can do that.
///
/// # Errors
/// The system's own.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems have folders that can't be synced, and of some folders
        // this user may not read the names.
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::EACCES | libc::EPERM) => {
                Ok(())
            }
            _ => Err(error),
        },
        Ok(()) => Ok(()),
    }
}

/// Syncs the folders of a path from its own up to `root`: any may have been made
/// just now.
///
/// # Errors
/// As [`sync_folder`].
pub fn sync_folders(path: &Path, root: &Path) -> io::Result<()> {
    let folders = path.ancestors().skip(1);
    let mut folders = folders.take_while(|folder| folder.starts_with(root));
    folders.try_for_each(sync_folder)
}

/// Makes a file that was not there before.
///
/// # Errors
/// The system's own.
pub fn new_file(path: &Path) -> io::Result<File> {
    new_file_as(path, 0o666)
}

/// Makes it with these permissions, as far as the user's mask leaves them.
///
/// # Errors
/// As [`new_file`].
pub fn new_file_as(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// `.OUT.JOB.part`, which no other program uses; a long `OUT` is shortened and
/// told apart by its hash.
pub fn part_name(out: &Path, job: &str) -> OsString {
    let name = out.file_name().unwrap_or_else(|| OsStr::new("output"));
    let mut end: String = job
        .chars()
        .take(JOB_ID_BYTES_KEPT)
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    end.push_str(".part");
    let room = FILE_NAME_BYTES_MAX - end.len() - ".".len() - ".".len();
    let mut whole = b".".to_vec();
    if name.len() <= room {
        whole.extend_from_slice(name.as_bytes());
    } else {
        let mut hash = blake3::hash(name.as_bytes()).to_hex().to_string();
        hash.truncate(16);
        let text = name.to_string_lossy();
        let mut kept = (room - hash.len()).min(text.len());
        while !text.is_char_boundary(kept) {
            kept -= 1;
        }
        whole.extend_from_slice(&text.as_bytes()[..kept]);
        whole.extend_from_slice(hash.as_bytes());
    }
    whole.push(b'.');
    whole.extend_from_slice(end.as_bytes());
    OsString::from_vec(whole)
}

/// Whether the path still names this very file.
pub fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::symlink_metadata(path)) else {
        return false;
    };
    FileId::of(&open) == FileId::of(&named)
}

/// Renames; an existing file stays as it is unless it is to be overwritten.
///
/// # Errors
/// The system's own; [`io::ErrorKind::AlreadyExists`] for one that stays.
pub fn rename(from: &Path, to: &Path, overwrite: bool) -> io::Result<()> {
    if overwrite {
        return std::fs::rename(from, to);
    }
    let from_c = CString::new(from.as_os_str().as_bytes())?;
    let to_c = CString::new(to.as_os_str().as_bytes())?;
    // SAFETY: both strings outlive the call, which keeps neither.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from_c.as_ptr(),
            libc::AT_FDCWD,
            to_c.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if answer == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Older network file systems can't: looking first is the next best.
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        _ => Err(error),
    }
}

/// Whose files this process makes.
pub fn effective_user() -> u32 {
    // SAFETY: takes nothing and can't fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_partial_files_fit_and_differ() {
        let name = |out: &str| part_name(Path::new(out), "j1/../x");
        assert_eq!(name("a/film.mp4"), ".film.mp4.j1----x.part");
        let (one, two) = ("é".repeat(127) + "1", "é".repeat(127) + "2");
        assert!(name(&one).len() <= FILE_NAME_BYTES_MAX && name(&one) != name(&two));
        assert!(name(&one).to_str().is_some(), "no letter is cut in two");
    }

    #[test]
    fn a_rename_replaces_only_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        let refused = rename(&from, &to, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
        rename(&from, &to, true).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        rename(&to, &from, false).unwrap();
        assert_eq!(std::fs::read(&from).unwrap(), b"new");
    }
}
