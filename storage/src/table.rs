//! The table on disk: rows in sled, with the last applied position and a running
//! hash, written in one atomic batch.
//!
//! It is a view that can be rebuilt from snapshot and log at any time. One that
//! won't open, or fails its hash, is dropped: that costs time at start, never
//! data. So sled's own durability does not matter.
//!
//! ```text
//! h 00 part          -> head: applied position, membership, hash
//! r KEY 00 part      -> a row, cut into parts that sled keeps in its log
//! value = 'R' version crc32 + bincode of the frozen type of that version
//! ```
//! The table does not know what rows mean.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread::sleep,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sled::{Batch, Db};

use crate::{
    durable::{empty_folder, make_folder},
    error::StorageError,
    hash::{TableHash, row_hash},
    limits::{
        MEMBERSHIP_BYTES_MAX, STEP_BYTES, TABLE_CACHE_BYTES, TABLE_KEY_BYTES_MAX, TABLE_LOCK_PAUSE,
        TABLE_LOCK_WAIT_MAX, TABLE_PART_BYTES_MAX, TABLE_REFILL_ROWS, TABLE_ROW_BYTES_MAX,
    },
    log::LogPosition,
    progress::Progress,
};

/// A row: its key and its bytes.
pub type Row = (Vec<u8>, Vec<u8>);

/// The changes of one batch, by key: a row's new bytes, or `None` to remove it.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// How far the table is applied, and its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableHead {
    pub applied: Option<LogPosition>,
    /// The last membership, in bytes that mean nothing to storage.
    pub membership: Vec<u8>,
    /// Over all rows. Replicas that have applied the same entries have the same.
    pub hash: TableHash,
}

/// The open table.
#[derive(Debug)]
pub struct Table {
    db: Db,
    head: TableHead,
}

/// Flushes what a table has written to its files. Clones share the table. It is
/// apart from the table, so that a disk that hangs delays no write.
#[derive(Clone, Debug)]
pub struct TableFlusher(Db);

impl TableFlusher {
    /// Returns when all that was written before was given to the disk.
    ///
    /// # Errors
    /// [`StorageError::Io`] and [`StorageError::DamagedTable`]; the node must
    /// end then.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.0.flush().map(drop).map_err(sled_failed)
    }
}

/// A table that was just opened.
#[derive(Debug)]
pub struct OpenedTable {
    pub table: Table,
    /// All its rows, in the order of their keys.
    pub rows: Vec<Row>,
    /// Why the previous table had to be dropped, if it was.
    pub dropped: Option<String>,
}

/// One part of a value. Frozen: a new shape is a new version.
#[derive(Serialize, Deserialize)]
struct PartV1 {
    /// How many parts the whole has.
    parts: u16,
    bytes: Vec<u8>,
}

/// The head. Frozen.
#[derive(Serialize, Deserialize)]
struct HeadV1 {
    applied: Option<(u64, u64, u64)>,
    membership: Vec<u8>,
    hash: [u64; 4],
}

const MAGIC: u8 = b'R';
const VERSION: u8 = 1;
const ENVELOPE_BYTES: usize = 6;
const HEAD: &[u8] = b"h";
const ROW: u8 = b'r';

impl Table {
    /// Opens the table of a folder and checks every row. An unusable one is dropped,
    /// and an empty one opened in its place.
    ///
    /// # Errors
    /// [`StorageError::Io`] if not even an empty one can be made.
    pub fn open(folder: &Path) -> Result<OpenedTable, StorageError> {
        make_folder(folder)?;
        let dropped = match Self::open_checked(folder) {
            Ok((table, rows)) => {
                return Ok(OpenedTable {
                    table,
                    rows,
                    dropped: None,
                });
            }
            Err(StorageError::DamagedTable { cause }) => cause,
            // A disk that refuses for now is waited for; else the file is bad.
            Err(error @ StorageError::Io { .. }) if !error.may_pass() => error.to_string(),
            Err(other) => return Err(other),
        };
        tracing::warn!(cause = dropped, "the table is dropped and rebuilt");
        empty_folder(folder)?;
        let (table, rows) = Self::open_checked(folder)?;
        Ok(OpenedTable {
            table,
            rows,
            dropped: Some(dropped),
        })
    }

    fn open_checked(folder: &Path) -> Result<(Self, Vec<Row>), StorageError> {
        let db = open_sled(folder)?;
        // sled panics on some damage, and may do so while it is read.
        let read = catch_unwind(AssertUnwindSafe(|| -> Result<_, StorageError> {
            let head = match read_value(&db, HEAD)? {
                Some(bytes) => decode_head(&bytes)?,
                None => TableHead::default(),
            };
            Ok((head, read_rows(&db)?))
        }));
        let (head, rows) = read.unwrap_or_else(|_| Err(damaged("sled panicked")))?;
        let mut hash = TableHash::default();
        for (key, bytes) in &rows {
            hash.add(&row_hash(key, bytes));
        }
        if hash != head.hash {
            return Err(damaged("its rows do not give its hash"));
        }
        let bytes: usize = rows.iter().map(|(_, bytes)| bytes.len()).sum();
        let db = match bytes as u64 > TABLE_CACHE_BYTES {
            // sled looks at its cache's size only after many reads of the same
            // pages: what was read once would stay in memory, the whole table.
            true => {
                drop(db);
                open_sled(folder)?
            }
            false => db,
        };
        Ok((Table { db, head }, rows))
    }

    /// Flushes this table, which does not do so by itself.
    pub fn flusher(&self) -> TableFlusher {
        TableFlusher(self.db.clone())
    }

    pub fn head(&self) -> &TableHead {
        &self.head
    }

    /// Writes the rows that entries up to `applied` have touched, and the
    /// membership if it has changed, in one atomic batch.
    ///
    /// # Errors
    /// [`StorageError::BadRowKey`], [`StorageError::RowTooLong`] and
    /// [`StorageError::DamagedTable`]. The node must end then; the next start
    /// rebuilds the table.
    pub fn write(
        &mut self,
        changes: &Changes,
        applied: LogPosition,
        membership: Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let mut head = self.head.clone();
        head.applied = Some(applied);
        if let Some(membership) = membership {
            head.membership = membership;
        }
        let mut batch = Batch::default();
        self.stage(&mut batch, &mut head.hash, changes)?;
        put_value(&self.db, &mut batch, HEAD, &encode_head(&head)?)?;
        self.db.apply_batch(batch).map_err(sled_failed)?;
        self.head = head;
        Ok(())
    }

    /// Replaces the whole table, in small steps. If that is cut short, the next
    /// start finds the table damaged and rebuilds it.
    ///
    /// # Errors
    /// As [`Table::write`].
    pub fn replace(
        &mut self,
        rows: impl IntoIterator<Item = Result<Row, StorageError>>,
        applied: LogPosition,
        membership: Vec<u8>,
        progress: Progress<'_>,
    ) -> Result<(), StorageError> {
        self.clear(progress)?;
        let mut head = TableHead {
            applied: Some(applied),
            membership,
            hash: TableHash::default(),
        };
        let mut step = Changes::new();
        let mut step_bytes = 0;
        for row in rows {
            let (key, bytes) = row?;
            step_bytes += key.len() + bytes.len();
            step.insert(key, Some(bytes));
            if step.len() == TABLE_REFILL_ROWS || step_bytes >= STEP_BYTES {
                self.fill(&mut head.hash, &step)?;
                progress();
                step.clear();
                step_bytes = 0;
            }
        }
        self.fill(&mut head.hash, &step)?;
        let mut batch = Batch::default();
        put_value(&self.db, &mut batch, HEAD, &encode_head(&head)?)?;
        self.db.apply_batch(batch).map_err(sled_failed)?;
        self.head = head;
        Ok(())
    }

    fn fill(&self, hash: &mut TableHash, step: &Changes) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        self.stage(&mut batch, hash, step)?;
        self.db.apply_batch(batch).map_err(sled_failed)
    }

    /// Removes everything, the head first, so that half a table never looks whole.
    pub(crate) fn clear(&mut self, progress: Progress<'_>) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        remove_value(&self.db, &mut batch, HEAD)?;
        self.db.apply_batch(batch).map_err(sled_failed)?;
        self.head = TableHead::default();
        loop {
            let mut batch = Batch::default();
            let mut found = 0;
            for key in self.db.iter().keys().take(TABLE_REFILL_ROWS) {
                batch.remove(key.map_err(sled_failed)?);
                found += 1;
            }
            if found == 0 {
                return Ok(());
            }
            self.db.apply_batch(batch).map_err(sled_failed)?;
            progress();
        }
    }

    /// Adds changes to a batch and to the running hash.
    fn stage(
        &self,
        batch: &mut Batch,
        hash: &mut TableHash,
        changes: &Changes,
    ) -> Result<(), StorageError> {
        for (key, bytes) in changes {
            if key.len() > TABLE_KEY_BYTES_MAX || key.contains(&0) {
                return Err(StorageError::BadRowKey { bytes: key.len() });
            }
            let name = row_name(key);
            if let Some(old) = read_value(&self.db, &name)? {
                hash.remove(&row_hash(key, &old));
                remove_value(&self.db, batch, &name)?;
            }
            if let Some(bytes) = bytes {
                if bytes.len() > TABLE_ROW_BYTES_MAX {
                    return Err(StorageError::RowTooLong {
                        bytes: bytes.len(),
                        limit_bytes: TABLE_ROW_BYTES_MAX,
                    });
                }
                hash.add(&row_hash(key, bytes));
                put_value(&self.db, batch, &name, bytes)?;
            }
        }
        Ok(())
    }
}

/// Opens sled, and catches its panics over some kinds of damage. If the lock is
/// still held, it is by this process from a moment ago: the data folder's own
/// lock keeps other processes out.
fn open_sled(folder: &Path) -> Result<Db, StorageError> {
    let begun = Instant::now();
    while begun.elapsed() < TABLE_LOCK_WAIT_MAX {
        let opened = catch_unwind(|| {
            sled::Config::new()
                .path(folder)
                .cache_capacity(TABLE_CACHE_BYTES)
                // Whoever has the table flushes it, and sees when that hangs.
                .flush_every_ms(None)
                .open()
        });
        match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(error))) if is_lock(&error) => sleep(TABLE_LOCK_PAUSE),
            // A damaged file is an I/O error to sled too; a disk that refuses for
            // now is not one, and the table stays.
            Ok(Err(error)) => {
                let cause = error.to_string();
                let refused = sled_failed(error);
                return Err(if refused.may_pass() {
                    refused
                } else {
                    damaged(&cause)
                });
            }
            Err(_) => return Err(damaged("sled panicked while it was opened")),
        }
    }
    Err(StorageError::Locked {
        path: folder.to_path_buf(),
    })
}

/// sled reports a refused lock only as text.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
        || error.to_string().contains("could not acquire lock")
}

fn damaged(cause: &str) -> StorageError {
    StorageError::DamagedTable {
        cause: cause.to_string(),
    }
}

fn sled_failed(error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(error) => StorageError::io("use the table")(error),
        error => damaged(&error.to_string()),
    }
}

fn row_name(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len() + 1);
    name.push(ROW);
    name.extend_from_slice(key);
    name
}

fn part_name(name: &[u8], part: u16) -> Vec<u8> {
    let mut full = Vec::with_capacity(name.len() + 3);
    full.extend_from_slice(name);
    full.push(0);
    full.extend_from_slice(&part.to_be_bytes());
    full
}

fn put_value(db: &Db, batch: &mut Batch, name: &[u8], bytes: &[u8]) -> Result<(), StorageError> {
    remove_value(db, batch, name)?;
    let mut chunks: Vec<&[u8]> = bytes.chunks(TABLE_PART_BYTES_MAX).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let parts = chunks.len() as u16;
    for (part, chunk) in chunks.into_iter().enumerate() {
        let value = seal(&PartV1 {
            parts,
            bytes: chunk.to_vec(),
        })?;
        batch.insert(part_name(name, part as u16), value);
    }
    Ok(())
}

fn remove_value(db: &Db, batch: &mut Batch, name: &[u8]) -> Result<(), StorageError> {
    let Some(first) = db.get(part_name(name, 0)).map_err(sled_failed)? else {
        return Ok(());
    };
    for part in 0..unseal::<PartV1>(&first)?.parts {
        batch.remove(part_name(name, part));
    }
    Ok(())
}

fn read_value(db: &Db, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(first) = db.get(part_name(name, 0)).map_err(sled_failed)? else {
        return Ok(None);
    };
    let first: PartV1 = unseal(&first)?;
    let mut bytes = first.bytes;
    for part in 1..first.parts {
        let next = db
            .get(part_name(name, part))
            .map_err(sled_failed)?
            .ok_or_else(|| damaged("a part of a row is missing"))?;
        bytes.extend_from_slice(&unseal::<PartV1>(&next)?.bytes);
    }
    Ok(Some(bytes))
}

/// All rows in the order of their keys. A row's parts are adjacent, because no key
/// contains a zero byte.
fn read_rows(db: &Db) -> Result<Vec<Row>, StorageError> {
    let mut rows: Vec<Row> = Vec::new();
    let mut missing = 0;
    for item in db.scan_prefix([ROW]) {
        let (name, value) = item.map_err(sled_failed)?;
        let key_end = name.len().checked_sub(3).filter(|end| *end >= 1);
        let key_end = key_end.ok_or_else(|| damaged("a row without a key"))?;
        let part: PartV1 = unseal(&value)?;
        if name.ends_with(&[0, 0, 0]) {
            if missing != 0 {
                return Err(damaged("a part of a row is missing"));
            }
            rows.push((name[1..key_end].to_vec(), part.bytes));
            missing = part.parts.saturating_sub(1);
        } else {
            let (_, bytes) = rows.last_mut().ok_or_else(|| damaged("a stray part"))?;
            bytes.extend_from_slice(&part.bytes);
            missing = missing
                .checked_sub(1)
                .ok_or_else(|| damaged("a stray part"))?;
        }
    }
    if missing != 0 {
        return Err(damaged("a part of a row is missing"));
    }
    Ok(rows)
}

fn encode_head(head: &TableHead) -> Result<Vec<u8>, StorageError> {
    if head.membership.len() > MEMBERSHIP_BYTES_MAX {
        return Err(StorageError::RowTooLong {
            bytes: head.membership.len(),
            limit_bytes: MEMBERSHIP_BYTES_MAX,
        });
    }
    seal(&HeadV1 {
        applied: head.applied.map(|at| (at.term, at.node, at.index)),
        membership: head.membership.clone(),
        hash: head.hash.lanes(),
    })
}

fn decode_head(bytes: &[u8]) -> Result<TableHead, StorageError> {
    let head: HeadV1 = unseal(bytes)?;
    Ok(TableHead {
        applied: head
            .applied
            .map(|(term, node, index)| LogPosition { term, node, index }),
        membership: head.membership,
        hash: TableHash::from_lanes(head.hash),
    })
}

fn seal<T: Serialize>(value: &T) -> Result<Vec<u8>, StorageError> {
    let body = bincode::serialize(value).map_err(|error| damaged(&error.to_string()))?;
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    bytes.extend_from_slice(&[MAGIC, VERSION]);
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn unseal<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, StorageError> {
    let Some((envelope, body)) = bytes.split_at_checked(ENVELOPE_BYTES) else {
        return Err(damaged("a value without its envelope"));
    };
    if envelope[..2] != [MAGIC, VERSION] {
        return Err(damaged("a value of another version"));
    }
    if envelope[2..] != crc32fast::hash(body).to_le_bytes() {
        return Err(damaged("a value fails its checksum"));
    }
    bincode::deserialize(body).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
