//! Small files that are there as a whole or not at all, even after a power cut:
//! temporary file, sync, rename, sync of the folder. Those that identify a disk
//! end in a checksum, so that later damage shows.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::error::StorageError;

/// ext4 makes this in the top folder of each file system. It is not ours.
pub(crate) const MADE_BY_EXT4: &str = "lost+found";

/// Syncs a folder, so that names created or removed in it stay so.
///
/// # Errors
/// [`StorageError::Io`]; the node must end then.
pub fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StorageError::io(format!(
            "sync folder {}",
            folder.display()
        )))
}

/// Creates a folder durably, unless it exists.
///
/// # Errors
/// [`StorageError::Io`].
pub fn make_folder(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(StorageError::io(format!(
        "create folder {}",
        folder.display()
    )))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Empties a folder. The folder itself stays: it may be a mount point, which can't
/// be removed.
///
/// # Errors
/// [`StorageError::Io`].
pub fn empty_folder(folder: &Path) -> Result<(), StorageError> {
    empty_folder_but(folder, &[])
}

/// The same, but leaves these files in it.
///
/// # Errors
/// As [`empty_folder`].
pub fn empty_folder_but(folder: &Path, kept: &[&str]) -> Result<(), StorageError> {
    let emptied = fs::read_dir(folder).and_then(|mut entries| {
        entries.try_for_each(|entry| {
            let entry = entry?;
            let name = entry.file_name();
            if name == MADE_BY_EXT4 || kept.iter().any(|kept| name == **kept) {
                return Ok(());
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            }
        })
    });
    emptied.map_err(StorageError::io(format!("empty {}", folder.display())))
}

/// Writes a whole file durably under its name.
///
/// # Errors
/// [`StorageError::Io`]; the node must end then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(StorageError::io(format!("write {}", temporary.display())))?;
    rename(&temporary, path)
}

/// The same for what only this user may read.
///
/// # Errors
/// [`StorageError::Io`].
pub fn write_secret_file(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    // One that is there already may be open to others.
    let _ = fs::remove_file(&temporary);
    let mut options = File::options();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(StorageError::io(format!("write {}", temporary.display())))?;
    rename(&temporary, path)
}

/// Adds a line with a checksum to lines of text.
pub fn seal(lines: &str) -> String {
    format!("{lines}crc32={:08x}\n", crc32fast::hash(lines.as_bytes()))
}

/// The lines that were given to [`seal`]; `None` if the text has changed since.
pub fn unseal(text: &str) -> Option<&str> {
    let lines = &text[..text.rfind("crc32=")?];
    (seal(lines) == text).then_some(lines)
}

/// Renames durably within one folder.
///
/// # Errors
/// [`StorageError::Io`]; the node must end then.
pub fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::io(format!("rename to {}", to.display())))?;
    match to.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}
