//! How far the Raft log is known to be on the disk, recorded beside it. It tells a
//! truncated log from a torn one.
//!
//! A write that a crash cut short leaves a short tail, which is dropped. A missing
//! tail of *synced* records looks the same, and dropping it would lose what this
//! node has acknowledged and voted. So after each sync, and before anything is
//! acknowledged, the end of what was synced is written to a small file. A log
//! that ends before it is refused by name.
//!
//! The file itself is not synced: that would double the cost of every write. It
//! survives a kill of the process. After a power cut it may be some seconds old,
//! and is then a lower bound: losing the last seconds before a power cut can't be
//! told from a torn tail. Nor can a log and a note that were both restored from
//! an older copy.
//!
//! ```text
//! LOG/synced    "RRLE", end as u64, crc32 of both      (big-endian)
//! ```
//! The end counts bytes since the log was created, across its files. Each file's
//! name says where it starts.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::error::StorageError;

const NAME: &str = "synced";
const MAGIC: &[u8; 4] = b"RRLE";
const NOTE_BYTES: usize = 16;

/// A record's kind and checksum, without its content.
const RECORD_BYTES_MIN: u64 = 12;

/// The note of an open log.
#[derive(Debug)]
pub(crate) struct SyncedEnd {
    file: File,
    path: PathBuf,
    /// The end in the file.
    noted: Mutex<u64>,
}

impl SyncedEnd {
    /// Opens the note in a log's folder, or creates it. An unreadable note is
    /// logged and replaced.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(NAME);
        let failed = || StorageError::io(format!("open {}", path.display()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed())?;
        let bytes = fs::read(&path).map_err(failed())?;
        // An empty note belongs to a log that is not begun yet.
        let has_log = end_of_files(folder)? > 0;
        let noted = decode(&bytes).unwrap_or_else(|| {
            if !bytes.is_empty() || has_log {
                tracing::error!(
                    path = %path.display(),
                    "the note of the log's end is damaged: it is written anew, and a cut of the \
                     log before this start would not be noticed"
                );
            }
            0
        });
        Ok(SyncedEnd {
            file,
            path,
            noted: Mutex::new(noted),
        })
    }

    /// Refuses a log that ends before what was synced, or has zeros there. Call it
    /// before the library opens the log and cuts off such a tail.
    ///
    /// # Errors
    /// [`StorageError::DamagedLog`] and [`StorageError::Io`].
    pub fn check(&self, folder: &Path) -> Result<(), StorageError> {
        let noted = *self.noted.lock().expect("no holder of this lock panics");
        let end = end_of_files(folder)?;
        let cause = if end < noted {
            format!("ends at byte {end}")
        } else if noted > 0 && zeros_before(folder, noted)? {
            "has zeros at its end".to_string()
        } else {
            return Ok(());
        };
        Err(StorageError::DamagedLog {
            cause: format!(
                "{} {cause}, but was synced up to byte {noted}",
                folder.display()
            ),
        })
    }

    /// Records that the log is on the disk up to `end`.
    ///
    /// # Errors
    /// The system's refusal. What this was to record must not be acknowledged then.
    pub fn advance(&self, end: u64) -> io::Result<()> {
        let mut noted = self.noted.lock().expect("no holder of this lock panics");
        if end <= *noted {
            return Ok(());
        }
        self.file.write_all_at(&encode(end), 0).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })?;
        *noted = end;
        Ok(())
    }
}

fn encode(end: u64) -> [u8; NOTE_BYTES] {
    let mut note = [0; NOTE_BYTES];
    note[..4].copy_from_slice(MAGIC);
    note[4..12].copy_from_slice(&end.to_be_bytes());
    let check = crc32fast::hash(&note[..12]);
    note[12..].copy_from_slice(&check.to_be_bytes());
    note
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let end = u64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?);
    (bytes == encode(end)).then_some(end)
}

/// The files of a log: where each starts, and its length.
fn files(folder: &Path) -> Result<Vec<(u64, u64, PathBuf)>, StorageError> {
    let failed = || StorageError::io(format!("list {}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name();
        if let Some(start) = start_of_file(&name.to_string_lossy()) {
            let bytes = entry.metadata().map_err(failed())?.len();
            files.push((start, bytes, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// Where a log ends; 0 if there is none.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn end_of_files(folder: &Path) -> Result<u64, StorageError> {
    let last = files(folder)?.pop();
    Ok(last.map_or(0, |(start, bytes, _)| start + bytes))
}

/// Whether the bytes before an offset are zeros, as many as the shortest record
/// has. The last eight of a record are a checksum, and four of those are zero
/// only by a chance that we accept.
fn zeros_before(folder: &Path, offset: u64) -> Result<bool, StorageError> {
    let mut files = files(folder)?;
    files.retain(|(start, ..)| *start < offset);
    let Some((start, _, path)) = files.pop() else {
        return Ok(false);
    };
    let mut tail = vec![0; RECORD_BYTES_MIN.min(offset - start) as usize];
    let from = offset - start - tail.len() as u64;
    File::open(&path)
        .and_then(|file| file.read_exact_at(&mut tail, from))
        .map_err(StorageError::io(format!("read {}", path.display())))?;
    Ok(tail.iter().all(|byte| *byte == 0))
}

/// The offset in the name of one of the log's files, `r-00_…_123_456.wal`.
fn start_of_file(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("r-")?.strip_suffix(".wal")?;
    digits.replace('_', "").parse().ok()
}
