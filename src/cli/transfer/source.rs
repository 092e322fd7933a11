//! A local source file: checked before it is uploaded, identified by its
//! fingerprint, read chunk by chunk, and watched for changes meanwhile.
//!
//! All reads block: callers run them on a blocking thread. Nothing here knows
//! the network.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{
    error::{CliError, os_reason},
    limits::FINGERPRINT_BYTES,
};

/// An open source. Its size and change time are those it had when opened.
pub struct Source {
    /// As the user wrote it.
    pub path: PathBuf,
    /// The file name, for display.
    pub name: String,
    /// Size in bytes, above 0.
    pub bytes: u64,
    /// BLAKE3 over the size (u64, little endian), the first and the last
    /// 64 KiB, in hex.
    pub fingerprint: String,
    file: File,
    stamp: Stamp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// How a source has changed since it was opened: "shrank", "was removed".
#[derive(Debug)]
pub struct Change(pub String);

impl Source {
    /// Opens a file and refuses what can't be a source.
    ///
    /// # Errors
    /// [`CliError::SourceUnfit`]: missing, unreadable, not a regular file, empty.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let unfit = |cause: String, hint: &str| CliError::SourceUnfit {
            path: path.to_path_buf(),
            cause,
            hint: hint.to_string(),
        };
        let hint_for = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound if path == Path::new("-") => "write the stream to a file first",
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "give yourself permission to read it",
            _ => "check the file and its disk",
        };
        // Checked before it is opened: opening a pipe would wait for a writer.
        let metadata =
            std::fs::metadata(path).map_err(|error| unfit(os_reason(&error), hint_for(&error)))?;
        if metadata.is_dir() {
            return Err(unfit("it is a directory".into(), "give one video file"));
        }
        if !metadata.is_file() {
            return Err(unfit(
                "it is not a regular file".into(),
                "write the stream to a file first",
            ));
        }
        let file = File::open(path).map_err(|error| unfit(os_reason(&error), hint_for(&error)))?;
        Self::of(path, file)
    }

    /// Takes a file that is open already: a regular one.
    ///
    /// # Errors
    /// [`CliError::SourceUnfit`]: unreadable, empty.
    pub fn of(path: &Path, file: File) -> Result<Self, CliError> {
        let unfit = |cause: String, hint: &str| CliError::SourceUnfit {
            path: path.to_path_buf(),
            cause,
            hint: hint.to_string(),
        };
        let unreadable = |error: io::Error| unfit(os_reason(&error), "check the file and its disk");
        let stamp = Stamp::of(&file).map_err(unreadable)?.0;
        if stamp.bytes == 0 {
            return Err(unfit(
                "it is empty".into(),
                "give a file with a video in it",
            ));
        }
        let fingerprint = fingerprint(&file, stamp.bytes).map_err(unreadable)?;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Source {
            path: path.to_path_buf(),
            name,
            bytes: stamp.bytes,
            fingerprint,
            file,
            stamp,
        })
    }

    pub fn chunks(&self, chunk_bytes: u32) -> u64 {
        self.bytes.div_ceil(u64::from(chunk_bytes))
    }

    /// One chunk's bytes, read from the file as it was when opened.
    ///
    /// # Errors
    /// [`Change`] if the file changed, shrank, vanished or can't be read.
    pub fn chunk(&self, number: u64, chunk_bytes: u32) -> Result<Bytes, Change> {
        let start = number.saturating_mul(u64::from(chunk_bytes));
        let length = u64::from(chunk_bytes).min(self.bytes.saturating_sub(start));
        let length = usize::try_from(length).map_err(|_| Change("is too large".into()))?;
        let mut data = vec![0; length];
        let read = self.file.read_exact_at(&mut data, start);
        // Checked after the read, so that a change before or during it shows.
        self.unchanged()?;
        read.map_err(|error| Change(format!("could not be read ({})", os_reason(&error))))?;
        Ok(Bytes::from(data))
    }

    /// The root hash that the cluster would seal it under: BLAKE3 over the
    /// ordered chunk hashes, in hex. `on_bytes` is told how far it is.
    ///
    /// # Errors
    /// As [`Source::chunk`].
    pub fn root(&self, chunk_bytes: u32, mut on_bytes: impl FnMut(u64)) -> Result<String, Change> {
        let mut read = 0;
        let mut root = blake3::Hasher::new();
        for number in 0..self.chunks(chunk_bytes) {
            let data = self.chunk(number, chunk_bytes)?;
            root.update(blake3::hash(&data).as_bytes());
            read += data.len() as u64;
            on_bytes(read);
        }
        Ok(root.finalize().to_hex().to_string())
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is still as it was when opened, whatever its name is now.
    ///
    /// # Errors
    /// How it changed.
    pub fn unchanged(&self) -> Result<(), Change> {
        let (now, links) = Stamp::of(&self.file)
            .map_err(|error| Change(format!("could not be read ({})", os_reason(&error))))?;
        if links == 0 {
            Err(Change("was removed".into()))
        } else if now.bytes < self.stamp.bytes {
            Err(Change("shrank".into()))
        } else if now.bytes > self.stamp.bytes {
            Err(Change("grew".into()))
        } else if now != self.stamp {
            Err(Change("changed".into()))
        } else {
            Ok(())
        }
    }
}

impl Stamp {
    fn of(file: &File) -> io::Result<(Self, u64)> {
        let metadata = file.metadata()?;
        let stamp = Stamp {
            bytes: metadata.len(),
            changed_s: metadata.mtime(),
            changed_ns: metadata.mtime_nsec(),
        };
        Ok((stamp, metadata.nlink()))
    }
}

fn fingerprint(file: &File, bytes: u64) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes.to_le_bytes());
    let part = bytes.min(FINGERPRINT_BYTES);
    let mut data = vec![0; usize::try_from(part).unwrap_or(usize::MAX)];
    for start in [0, bytes - part] {
        file.read_exact_at(&mut data, start)?;
        hasher.update(&data);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cause(path: &Path) -> String {
        Source::open(path).err().unwrap().to_string()
    }

    #[test]
    fn unfit_files_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.mp4");
        std::fs::write(&empty, b"").unwrap();
        assert!(cause(&empty).ends_with("it is empty"));
        assert!(cause(folder.path()).ends_with("it is a directory"));
        assert!(cause(&folder.path().join("none")).ends_with("no such file or directory"));
        assert!(cause(Path::new("/dev/null")).ends_with("it is not a regular file"));
    }

    #[test]
    fn a_change_is_seen_with_the_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, vec![7; 2500]).unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!(source.chunks(1000), 3);
        assert_eq!(source.chunk(2, 1000).unwrap().len(), 500);
        let hashes: Vec<u8> = [1000, 1000, 500]
            .iter()
            .flat_map(|&bytes| *blake3::hash(&vec![7; bytes]).as_bytes())
            .collect();
        let root = blake3::hash(&hashes).to_hex().to_string();
        assert_eq!(source.root(1000, |_| {}).unwrap(), root);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(900)
            .unwrap();
        assert_eq!(source.chunk(0, 1000).unwrap_err().0, "shrank");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(source.chunk(0, 1000).unwrap_err().0, "was removed");
    }

    #[test]
    fn the_fingerprint_is_the_documented_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let data: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let mut wanted = 200_000_u64.to_le_bytes().to_vec();
        wanted.extend_from_slice(&data[..65_536]);
        wanted.extend_from_slice(&data[200_000 - 65_536..]);
        let source = Source::open(&path).unwrap();
        assert_eq!(
            source.fingerprint,
            blake3::hash(&wanted).to_hex().to_string()
        );
    }
}
