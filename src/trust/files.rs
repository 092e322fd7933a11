//! Files that only the node's user may read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::{error::TrustError, limits::PEM_BYTES_MAX};

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TrustError + '_ {
    |source| TrustError::File {
        path: path.to_path_buf(),
        source,
    }
}

/// A whole file, if it is there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, TrustError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(read) if read as u64 > PEM_BYTES_MAX => {
            let cause = "is too long for certificates";
            Err(TrustError::bad(path.display().to_string(), cause))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes a file for this user alone: there whole or not at all, also after a
/// power cut.
pub fn write(path: &Path, text: &str) -> Result<(), TrustError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(failed(folder))?;
    let temporary = path.with_extension("tmp");
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(failed(&temporary))?;
    let named = fs::rename(&temporary, path)
        .and_then(|()| File::open(folder))
        .and_then(|folder| folder.sync_all());
    named.map_err(failed(path))
}
