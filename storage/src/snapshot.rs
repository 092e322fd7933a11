//! Snapshots: the whole table in one plain file. A node starts from it, and sends
//! it to a node that was away.
//!
//! A file gets its name only once it is whole and synced. Only the newest is kept;
//! one that is being sent stays readable through its open handle.
//!
//! ```text
//! "RRSNAP01"
//! head:  1 and position (term node index), or 0 and zeros if nothing is in
//!        it; membership length and bytes
//! rows:  key length, value length, key, value      (u32, all big-endian)
//! end:   u32::MAX, number of rows (u64), BLAKE3 of everything before
//! ```
//! The bytes cross nodes and versions, so the layout is made by hand and depends
//! on no serializer.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    durable::{make_folder, rename, sync_folder},
    error::StorageError,
    limits::{
        COPY_PIECE_BYTES, MEMBERSHIP_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_UNSYNCED_BYTES_MAX,
        SNAPSHOTS_DAMAGED_MAX, TABLE_KEY_BYTES_MAX, TABLE_ROW_BYTES_MAX,
    },
    log::LogPosition,
    progress::{Progress, Steps, UNWATCHED},
    table::Row,
};

const MAGIC: &[u8; 8] = b"RRSNAP01";
const END: u32 = u32::MAX;
const ENDING: &str = "snap";
const DAMAGED_ENDING: &str = "damaged";

/// What a snapshot is of: the state after this entry, and the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The last applied entry; `None` for an empty state.
    pub last: Option<LogPosition>,
    /// The membership, in bytes that mean nothing to storage.
    pub membership: Vec<u8>,
}

/// A whole, checked and synced snapshot.
#[derive(Debug)]
pub struct SnapshotFile {
    head: SnapshotHead,
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Set until it is adopted.
    _part: Option<PartFile>,
}

/// A file that has not its name yet. It goes with the last who holds it, as
/// Raft may ignore a whole snapshot. One that was renamed is not there any more.
#[derive(Debug)]
struct PartFile(PathBuf);

impl Drop for PartFile {
    fn drop(&mut self) {
        // A leftover is cleared away at the next start as well.
        let _ = fs::remove_file(&self.0);
    }
}

/// The folder of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
}

/// A snapshot that is being received, piece by piece.
#[derive(Debug)]
pub struct IncomingSnapshot {
    part: PartFile,
    file: BufWriter<File>,
    bytes: u64,
    unsynced_bytes: usize,
}

impl Snapshots {
    /// Opens the folder. Removes unfinished files, and all damaged ones but the
    /// newest.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        make_folder(folder)?;
        let snapshots = Snapshots {
            folder: folder.to_path_buf(),
        };
        let mut damaged = Vec::new();
        for path in snapshots.files()? {
            match path.extension().and_then(|ending| ending.to_str()) {
                Some(ENDING) => {}
                Some(DAMAGED_ENDING) => damaged.push(path),
                _ => remove(&path)?,
            }
        }
        // Their names sort by age.
        damaged.sort();
        damaged.truncate(damaged.len().saturating_sub(SNAPSHOTS_DAMAGED_MAX));
        for path in damaged {
            remove(&path)?;
        }
        Ok(snapshots)
    }

    /// The newest whole snapshot. A damaged one is renamed (`.damaged`), and the
    /// next older one is tried.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn newest(&self) -> Result<Option<SnapshotFile>, StorageError> {
        let mut paths = self.files()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        paths.sort();
        while let Some(path) = paths.pop() {
            match SnapshotFile::open(&path, UNWATCHED) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(StorageError::DamagedSnapshot { cause, .. }) => {
                    tracing::error!(path = %path.display(), cause, "a snapshot is damaged");
                    rename(&path, &path.with_extension(DAMAGED_ENDING))?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// Writes a snapshot and makes it the newest, durably. That may take
    /// minutes, and `progress` is called all the while.
    ///
    /// # Errors
    /// [`StorageError::Io`] and [`StorageError::SnapshotTooLong`].
    pub fn write(
        &self,
        head: &SnapshotHead,
        rows: impl IntoIterator<Item = Row>,
        progress: Progress<'_>,
    ) -> Result<SnapshotFile, StorageError> {
        let mut incoming = self.receive()?;
        let mut steps = Steps::new(progress);
        let mut hasher = blake3::Hasher::new();
        let mut put = |incoming: &mut IncomingSnapshot, bytes: &[u8]| {
            hasher.update(bytes);
            incoming.write(bytes)
        };
        put(&mut incoming, MAGIC)?;
        put(&mut incoming, &[u8::from(head.last.is_some())])?;
        let last = head.last.unwrap_or_default();
        for number in [last.term, last.node, last.index] {
            put(&mut incoming, &number.to_be_bytes())?;
        }
        put(&mut incoming, &(head.membership.len() as u32).to_be_bytes())?;
        put(&mut incoming, &head.membership)?;
        let mut count: u64 = 0;
        for (key, value) in rows {
            put(&mut incoming, &(key.len() as u32).to_be_bytes())?;
            put(&mut incoming, &(value.len() as u32).to_be_bytes())?;
            put(&mut incoming, &key)?;
            put(&mut incoming, &value)?;
            count += 1;
            steps.row(key.len() + value.len());
        }
        put(&mut incoming, &END.to_be_bytes())?;
        put(&mut incoming, &count.to_be_bytes())?;
        incoming.write(hasher.finalize().as_bytes())?;
        self.adopt(&incoming.finish(progress)?, progress)
    }

    /// Starts receiving a snapshot.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn receive(&self) -> Result<IncomingSnapshot, StorageError> {
        let name = format!("{:016x}.part", rand::random::<u64>());
        let path = self.folder.join(name);
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StorageError::io(format!("create {}", path.display())))?;
        Ok(IncomingSnapshot {
            part: PartFile(path),
            file: BufWriter::new(file),
            bytes: 0,
            unsynced_bytes: 0,
        })
    }

    /// Makes a whole snapshot the newest of this folder and removes older ones. One
    /// that was received here gets its name; one from another folder is copied.
    /// The newest itself may be adopted again.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn adopt(
        &self,
        snapshot: &SnapshotFile,
        progress: Progress<'_>,
    ) -> Result<SnapshotFile, StorageError> {
        if snapshot.path.parent() != Some(&self.folder) {
            let mut copy = self.receive()?;
            loop {
                let piece = snapshot.piece(copy.bytes, COPY_PIECE_BYTES)?;
                if piece.is_empty() {
                    return self.adopt(&copy.finish(progress)?, progress);
                }
                copy.write(&piece)?;
                progress();
            }
        }
        let last = snapshot.head.last.unwrap_or_default();
        // Index first, so that the names sort by age.
        let name = format!("{:020}-{:020}-{:020}", last.index, last.term, last.node);
        let path = self.folder.join(name).with_extension(ENDING);
        if snapshot.path != path {
            rename(&snapshot.path, &path)?;
        }
        for other in self.files()? {
            if other < path && other.extension().is_some_and(|ending| ending == ENDING) {
                remove(&other)?;
                progress();
            }
        }
        sync_folder(&self.folder)?;
        Ok(SnapshotFile {
            head: snapshot.head.clone(),
            file: snapshot
                .file
                .try_clone()
                .map_err(StorageError::io(format!("open {}", path.display())))?,
            bytes: snapshot.bytes,
            path,
            _part: None,
        })
    }

    fn files(&self) -> Result<Vec<PathBuf>, StorageError> {
        let failed = || StorageError::io(format!("list {}", self.folder.display()));
        let entries = fs::read_dir(&self.folder).map_err(failed())?;
        entries
            .map(|entry| Ok(entry.map_err(failed())?.path()))
            .collect()
    }
}

fn remove(path: &Path) -> Result<(), StorageError> {
    fs::remove_file(path).map_err(StorageError::io(format!("remove {}", path.display())))
}

impl IncomingSnapshot {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`StorageError::SnapshotTooLong`] and [`StorageError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > SNAPSHOT_BYTES_MAX {
            return Err(StorageError::SnapshotTooLong {
                limit_bytes: SNAPSHOT_BYTES_MAX,
            });
        }
        self.file.write_all(bytes).map_err(self.failed("write"))?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= SNAPSHOT_UNSYNCED_BYTES_MAX {
            self.unsynced_bytes = 0;
            let synced = self.file.flush();
            let synced = synced.and_then(|()| self.file.get_ref().sync_data());
            synced.map_err(self.failed("sync"))?;
        }
        Ok(())
    }

    /// Syncs and checks what was received. It is gone again once the result is
    /// dropped, unless [`Snapshots::adopt`] gave it a name.
    ///
    /// # Errors
    /// [`StorageError::DamagedSnapshot`] if it is not whole, and
    /// [`StorageError::Io`].
    pub fn finish(mut self, progress: Progress<'_>) -> Result<SnapshotFile, StorageError> {
        let synced = self.file.flush();
        let synced = synced.and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(self.failed("sync"))?;
        progress();
        let mut opened = SnapshotFile::open(&self.part.0, progress)?;
        opened._part = Some(self.part);
        Ok(opened)
    }

    fn failed(&self, action: &str) -> impl FnOnce(std::io::Error) -> StorageError + use<> {
        StorageError::io(format!("{action} {}", self.part.0.display()))
    }
}

impl SnapshotFile {
    /// Opens a file and checks all of it.
    fn open(path: &Path, progress: Progress<'_>) -> Result<Self, StorageError> {
        let failed = || StorageError::io(format!("read {}", path.display()));
        let file = File::open(path).map_err(failed())?;
        let bytes = file.metadata().map_err(failed())?.len();
        let mut scan = Scan::start(path, &file)?;
        let head = scan.head.clone();
        let mut steps = Steps::new(progress);
        while let Some((key, value)) = scan.next_row()? {
            steps.row(key.len() + value.len());
        }
        Ok(SnapshotFile {
            head,
            path: path.to_path_buf(),
            file,
            bytes,
            _part: None,
        })
    }

    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its rows, read one by one.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::DamagedSnapshot`] for a row.
    pub fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<Row, StorageError>> + use<>, StorageError> {
        let mut scan = Scan::start(&self.path, &self.file)?;
        Ok(std::iter::from_fn(move || scan.next_row().transpose()))
    }

    /// Reads the piece of the file at `offset`: `bytes_max` long, shorter at the
    /// end, and empty beyond it.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn piece(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, StorageError> {
        let left = self.bytes.saturating_sub(offset).min(bytes_max as u64);
        let mut piece = vec![0; left as usize];
        self.file
            .read_exact_at(&mut piece, offset)
            .map_err(StorageError::io(format!("read {}", self.path.display())))?;
        Ok(piece)
    }
}

/// Reads by offset. Clones of a handle share its position, so one reader would
/// move another's.
struct FromStart {
    file: File,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads a snapshot from its start and keeps the hash.
struct Scan {
    path: PathBuf,
    file: BufReader<FromStart>,
    hasher: blake3::Hasher,
    head: SnapshotHead,
    rows: u64,
    ended: bool,
}

impl Scan {
    fn start(path: &Path, file: &File) -> Result<Self, StorageError> {
        let file = file
            .try_clone()
            .map_err(StorageError::io(format!("open {}", path.display())))?;
        let file = FromStart { file, offset: 0 };
        let mut scan = Scan {
            path: path.to_path_buf(),
            file: BufReader::new(file),
            hasher: blake3::Hasher::new(),
            head: SnapshotHead {
                last: None,
                membership: Vec::new(),
            },
            rows: 0,
            ended: false,
        };
        if scan.take::<8>()? != *MAGIC {
            return Err(scan.damaged("it does not start like one of this format"));
        }
        let present = scan.take()? != [0];
        let last = LogPosition {
            term: u64::from_be_bytes(scan.take()?),
            node: u64::from_be_bytes(scan.take()?),
            index: u64::from_be_bytes(scan.take()?),
        };
        scan.head.last = present.then_some(last);
        let length = u32::from_be_bytes(scan.take()?) as usize;
        scan.head.membership = scan.take_long(length, MEMBERSHIP_BYTES_MAX)?;
        Ok(scan)
    }

    fn next_row(&mut self) -> Result<Option<Row>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        let key_length = u32::from_be_bytes(self.take()?);
        if key_length == END {
            return self.end().map(|()| None);
        }
        let value_length = u32::from_be_bytes(self.take()?) as usize;
        let key = self.take_long(key_length as usize, TABLE_KEY_BYTES_MAX)?;
        let value = self.take_long(value_length, TABLE_ROW_BYTES_MAX)?;
        self.rows += 1;
        Ok(Some((key, value)))
    }

    fn end(&mut self) -> Result<(), StorageError> {
        let rows = u64::from_be_bytes(self.take()?);
        let hash = self.hasher.finalize();
        if rows != self.rows || self.take::<32>()? != *hash.as_bytes() {
            return Err(self.damaged("its hash differs"));
        }
        if self.file.read(&mut [0]).unwrap_or(1) != 0 {
            return Err(self.damaged("bytes follow its end"));
        }
        self.ended = true;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn take_long(&mut self, length: usize, limit: usize) -> Result<Vec<u8>, StorageError> {
        if length > limit {
            return Err(self.damaged("a length beyond its limit"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StorageError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.hasher.update(bytes);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends too early"))
            }
            Err(error) => Err(StorageError::io(format!("read {}", self.path.display()))(
                error,
            )),
        }
    }

    fn damaged(&self, cause: &str) -> StorageError {
        StorageError::DamagedSnapshot {
            path: self.path.clone(),
            cause: cause.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
