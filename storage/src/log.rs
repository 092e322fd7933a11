//! Raft's log and vote in a write-ahead log, really synced (fdatasync, in groups)
//! before anything is acknowledged.
//!
//! The file format is the library's (`raft-log`); the codecs of position, vote and
//! payload are ours. A payload's length has a checksum of its own: a flipped
//! length must count as damage, never as a torn tail, which would silently cut
//! off everything after it. Only a short or zeroed tail counts as torn, and only
//! beyond what is known to be synced (see `log_end`).
//!
//! The log does not know what entries mean.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use raft_log::{
    Callback, Config, RaftLog, Types,
    api::raft_log_writer::RaftLogWriter,
    chunked_wal,
    codeq::{Decode, Encode, OffsetSize},
};

use crate::{
    durable::make_folder,
    error::StorageError,
    limits::{
        LOG_CACHE_BYTES_MAX, LOG_CACHE_ENTRIES_MAX, LOG_CHUNK_BYTES_MAX, LOG_CHUNK_RECORDS_MAX,
        LOG_GROUP_WAIT, LOG_PAYLOAD_BYTES_MAX, LOG_READ_BUFFER_BYTES,
    },
    log_end::{SyncedEnd, end_of_files},
};

/// An entry's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The leader's id.
    pub node: u64,
    pub index: u64,
}

/// The vote of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub term: u64,
    /// The candidate.
    pub node: u64,
    /// Whether that candidate is known to lead.
    pub committed: bool,
}

/// One entry: its position, and bytes that mean nothing to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub position: LogPosition,
    pub payload: Bytes,
}

/// Which entries a log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// The last entry that was purged.
    pub purged: Option<LogPosition>,
    /// The last entry, or the last purged one if the log is empty.
    pub last: Option<LogPosition>,
}

/// The log on disk. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Mutex<RaftLog<Records>>>,
    synced: Arc<SyncedEnd>,
}

impl Log {
    /// Opens the log of a folder, or creates it if `create` is set.
    ///
    /// # Errors
    /// [`StorageError::MissingLog`], [`StorageError::DamagedLog`],
    /// [`StorageError::Locked`] and [`StorageError::Io`].
    pub fn open(folder: &Path, create: bool) -> Result<Self, StorageError> {
        make_folder(folder)?;
        if !create && !has_chunks(folder)? {
            return Err(StorageError::MissingLog {
                path: folder.to_path_buf(),
            });
        }
        let config = Config {
            wal: chunked_wal::Config {
                dir: folder.display().to_string(),
                read_buffer_size: Some(LOG_READ_BUFFER_BYTES),
                chunk_max_records: Some(LOG_CHUNK_RECORDS_MAX),
                chunk_max_size: Some(LOG_CHUNK_BYTES_MAX),
                truncate_incomplete_record: Some(true),
                flush_batch_wait: Some(LOG_GROUP_WAIT),
                flush_batch_max_items: None,
                flush_queue_max_bytes: None,
            },
            log_cache_max_items: Some(LOG_CACHE_ENTRIES_MAX),
            log_cache_capacity: Some(LOG_CACHE_BYTES_MAX),
        };
        // Before the library cuts a short or zeroed tail off.
        let synced = Arc::new(SyncedEnd::open(folder)?);
        synced.check(folder)?;
        let mut inner = RaftLog::open(Arc::new(config)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StorageError::Locked {
                path: folder.to_path_buf(),
            },
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull => {
                StorageError::io(format!("open the Raft log {}", folder.display()))(error)
            }
            // What the system refuses is no damage.
            _ if error.raw_os_error().is_some() => {
                StorageError::io(format!("open the Raft log {}", folder.display()))(error)
            }
            _ => StorageError::DamagedLog {
                cause: error.to_string(),
            },
        })?;
        let end = end_of_files(folder)?;
        // A new log's first chunk is written but not yet synced.
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let done = Done::new(move |result| {
            Callback::send(sender, result);
        });
        let done = done.noting(&synced, end);
        inner.flush(true, Some(done)).map_err(changing)?;
        receiver
            .recv()
            .map_err(|_| StorageError::LogStopped)?
            .map_err(StorageError::io("sync the Raft log"))?;
        Ok(Log {
            inner: Arc::new(Mutex::new(inner)),
            synced,
        })
    }

    fn lock(&self) -> MutexGuard<'_, RaftLog<Records>> {
        // A panic while the log was held leaves it in an unknown state: the
        // node must not go on with it.
        self.inner.lock().expect("no holder of this lock panics")
    }

    pub fn vote(&self) -> Option<Vote> {
        self.lock().log_state().vote().copied()
    }

    /// The last entry known to be committed. May lag.
    pub fn committed(&self) -> Option<LogPosition> {
        self.lock().log_state().committed().copied()
    }

    pub fn bounds(&self) -> LogBounds {
        let log = self.lock();
        LogBounds {
            purged: log.log_state().purged().copied(),
            last: log.log_state().last().copied(),
        }
    }

    /// Saves a vote. Another thread calls `done` once it is on the disk, or with
    /// the error.
    ///
    /// # Errors
    /// [`StorageError::RefusedByLog`] for a vote older than the saved one, and
    /// [`StorageError::LogStopped`]. `done` is then called with an error too.
    pub fn save_vote(
        &self,
        vote: Vote,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Result<(), StorageError> {
        let done = Done::new(done);
        let mut log = self.lock();
        let end = log.save_vote(vote).map_err(changing)?.end().0;
        let done = done.noting(&self.synced, end);
        log.flush(true, Some(done)).map_err(changing)
    }

    /// Appends entries, which are readable at once. Another thread calls `done`
    /// once they are on the disk, or with the error.
    ///
    /// # Errors
    /// [`StorageError::RefusedByLog`] for a gap or a payload that is too
    /// long, and [`StorageError::LogStopped`].
    pub fn append(
        &self,
        records: impl IntoIterator<Item = LogRecord>,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Result<(), StorageError> {
        let done = Done::new(done);
        let mut log = self.lock();
        let mut end = 0;
        for record in records {
            if record.payload.len() > LOG_PAYLOAD_BYTES_MAX {
                return Err(StorageError::RefusedByLog {
                    cause: format!("an entry of {} bytes", record.payload.len()),
                });
            }
            let segment = log.append([(record.position, Payload(record.payload))]);
            end = segment.map_err(changing)?.end().0;
        }
        let done = done.noting(&self.synced, end);
        log.flush(true, Some(done)).map_err(changing)
    }

    /// Drops all entries after `keep`; `None` drops all.
    ///
    /// The next sync makes it durable. Until then the old tail may come back after
    /// a power cut, and Raft cuts it off again.
    ///
    /// # Errors
    /// [`StorageError::RefusedByLog`] for committed entries and
    /// [`StorageError::LogStopped`].
    pub fn truncate_after(&self, keep: Option<LogPosition>) -> Result<(), StorageError> {
        let mut log = self.lock();
        let next = keep.map_or(0, |keep| keep.index + 1);
        let end = log.log_state().last().map_or(0, |last| last.index + 1);
        if next >= end {
            return Ok(());
        }
        log.truncate(next).map_err(changing)?;
        log.flush(true, None).map_err(changing)
    }

    /// Drops entries up to and including `upto`. They must be in a durable
    /// snapshot.
    ///
    /// # Errors
    /// [`StorageError::LogStopped`].
    pub fn purge(&self, upto: LogPosition) -> Result<(), StorageError> {
        let mut log = self.lock();
        log.purge(upto).map_err(changing)?;
        // Chunks are only freed behind a sync.
        log.flush(true, None).map_err(changing)
    }

    /// Records how far entries are committed. Written but not synced: it only
    /// spares the table some catching up after a start.
    ///
    /// # Errors
    /// [`StorageError::RefusedByLog`] and [`StorageError::LogStopped`].
    pub fn save_committed(&self, position: LogPosition) -> Result<(), StorageError> {
        let mut log = self.lock();
        let state = log.log_state();
        // Past the last entry after a snapshot came in: nothing to note.
        if state.committed() >= Some(&position) || state.last() < Some(&position) {
            return Ok(());
        }
        log.commit(position).map_err(changing)?;
        log.flush(false, None).map_err(changing)
    }

    /// Reads the log's entries `from..to`, in order: at least one if there is one,
    /// then no more than `bytes_max` of payload.
    ///
    /// # Errors
    /// [`StorageError::DamagedLog`] and [`StorageError::Io`].
    pub fn read(&self, from: u64, to: u64, bytes_max: u64) -> Result<Vec<LogRecord>, StorageError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        let log = self.lock();
        for entry in log.read(from, to) {
            let (position, payload) = entry.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    StorageError::DamagedLog {
                        cause: error.to_string(),
                    }
                }
                _ => StorageError::io("read the Raft log")(error),
            })?;
            bytes += payload.0.len() as u64;
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(LogRecord {
                position,
                payload: payload.0,
            });
        }
        Ok(records)
    }
}

fn has_chunks(folder: &Path) -> Result<bool, StorageError> {
    let failed = || StorageError::io(format!("list {}", folder.display()));
    for entry in fs::read_dir(folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        if name.to_string_lossy().ends_with(".wal") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The library reports a forbidden change as invalid input, and everything after a
/// failed write as `Other`.
fn changing(error: io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::InvalidInput => StorageError::RefusedByLog {
            cause: error.to_string(),
        },
        io::ErrorKind::Other => StorageError::LogStopped,
        _ => StorageError::io("write the Raft log")(error),
    }
}

/// Called after a sync. If the writer has ended and drops it uncalled, it reports
/// that, so that nobody waits for ever.
struct Done {
    tell: Option<Box<dyn FnOnce(io::Result<()>) + Send>>,
    /// How far the log is on the disk then, and where to record that.
    noting: Option<(Arc<SyncedEnd>, u64)>,
}

impl Done {
    fn new(done: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Done {
            tell: Some(Box::new(done)),
            noting: None,
        }
    }

    /// Records how far the log was synced before anybody learns of it.
    fn noting(mut self, synced: &Arc<SyncedEnd>, end: u64) -> Self {
        self.noting = Some((synced.clone(), end));
        self
    }
}

impl Callback for Done {
    fn send(mut self, result: io::Result<()>) {
        let noted = result.and_then(|()| match self.noting.take() {
            Some((synced, end)) => synced.advance(end),
            None => Ok(()),
        });
        if let Some(tell) = self.tell.take() {
            tell(noted);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Err(io::Error::other("the Raft log has stopped")));
        }
    }
}

/// Names our types to the library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Records;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Payload(Bytes);

impl Types for Records {
    type LogId = LogPosition;
    type LogPayload = Payload;
    type Vote = Vote;
    type Callback = Done;
    type UserData = String;

    fn log_index(position: &LogPosition) -> u64 {
        position.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.0.len() as u64
    }
}

impl Encode for LogPosition {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        Ok(self.term.encode(&mut w)? + self.node.encode(&mut w)? + self.index.encode(&mut w)?)
    }
}

impl Decode for LogPosition {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(LogPosition {
            term: u64::decode(&mut r)?,
            node: u64::decode(&mut r)?,
            index: u64::decode(&mut r)?,
        })
    }
}

impl Encode for Vote {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let committed = u8::from(self.committed);
        Ok(self.term.encode(&mut w)? + self.node.encode(&mut w)? + committed.encode(&mut w)?)
    }
}

impl Decode for Vote {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        Ok(Vote {
            term: u64::decode(&mut r)?,
            node: u64::decode(&mut r)?,
            committed: u8::decode(&mut r)? != 0,
        })
    }
}

impl Encode for Payload {
    fn encode<W: Write>(&self, mut w: W) -> io::Result<usize> {
        let length = (self.0.len() as u32).to_be_bytes();
        w.write_all(&length)?;
        w.write_all(&crc32fast::hash(&length).to_be_bytes())?;
        w.write_all(&self.0)?;
        Ok(8 + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut r: R) -> io::Result<Self> {
        let mut length = [0; 4];
        let mut check = [0; 4];
        r.read_exact(&mut length)?;
        r.read_exact(&mut check)?;
        if crc32fast::hash(&length).to_be_bytes() != check {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an entry's length fails its checksum",
            ));
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        r.read_exact(&mut bytes)?;
        Ok(Payload(bytes.into()))
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
