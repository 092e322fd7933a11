//! Names that come from outside, checked before they touch the file system.

use std::{fs, io, path::Path};

use super::{error::BlobError, limits::JOB_ID_BYTES_MAX};

/// Removed jobs, while their files are being deleted.
pub(super) const TRASH_FOLDER: &str = "_trash";
/// Blobs that were found damaged.
pub(super) const QUARANTINE_FOLDER: &str = "_quarantine";

/// Refuses a name that is not a job id (`[a-z0-9-]`, 1 to 64 bytes).
///
/// # Errors
/// [`BlobError::BadName`].
pub fn check_job(job: &str) -> Result<(), BlobError> {
    let fits = (1..=JOB_ID_BYTES_MAX).contains(&job.len());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if fits && job.bytes().all(plain) {
        return Ok(());
    }
    Err(bad_name("job id", job))
}

/// Refuses a name that is not a hash (64 lower-case hex digits).
///
/// # Errors
/// [`BlobError::BadName`].
pub fn check_hash(hash: &str) -> Result<(), BlobError> {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if hash.len() == 64 && hash.bytes().all(hex) {
        return Ok(());
    }
    Err(bad_name("hash", hash))
}

fn bad_name(what: &'static str, name: &str) -> BlobError {
    BlobError::BadName {
        what,
        name: name.chars().take(JOB_ID_BYTES_MAX).collect(),
    }
}

/// The names in a folder; none if it does not exist.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, BlobError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BlobError::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BlobError::io("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BlobError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
