//! Appends to a node's disk for ever and says what was acknowledged, so that
//! a power cut can be aimed at it; opened again, it says what is there.
//!
//! ```text
//! acknowledge write DATA   one line for each acknowledged entry, until killed
//! acknowledge check DATA   "last N", or why the disk won't open
//! ```
//! Whatever was said to be acknowledged must be at or below the last entry
//! (P2). Where to let this run, and how to cut the power, is the caller's.

use std::{io::Write, path::Path, sync::mpsc};

use bytes::Bytes;
use reelraft_storage::{Changes, LogPosition, LogRecord, SnapshotHead, Storage, StorageError};

/// Entries appended together.
const BATCH: u64 = 3;
/// Entries after which a snapshot is written and the log purged.
const SNAPSHOT_EVERY: u64 = 60;

fn at(index: u64) -> LogPosition {
    LogPosition {
        term: 1,
        node: 1,
        index,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, data] = &arguments[..] else {
        return Err("usage: acknowledge write|check DATA".into());
    };
    let storage = Storage::open(Path::new(data), "power-cut", 1)?;
    let last = storage.log.bounds().last.map_or(0, |last| last.index);
    match mode.as_str() {
        "check" => println!("last {last}"),
        _ => write(storage, last)?,
    }
    Ok(())
}

fn write(mut storage: Storage, last: u64) -> Result<(), StorageError> {
    let mut next = last + 1;
    let mut snapshot = next;
    loop {
        let records = (next..next + BATCH).map(|index| LogRecord {
            position: at(index),
            payload: Bytes::from(vec![index as u8; 300]),
        });
        let (sender, receiver) = mpsc::channel();
        storage
            .log
            .append(records.collect::<Vec<_>>(), move |result| {
                // The receiver waits for exactly this.
                let _ = sender.send(result);
            })?;
        receiver
            .recv()
            .map_err(|_| StorageError::LogStopped)?
            .map_err(StorageError::io("sync the Raft log"))?;
        next += BATCH;
        println!("{}", next - 1);
        // A line that is lost with its buffer was not said.
        let _ = std::io::stdout().flush();

        let row = (b"k".to_vec(), Some(vec![next as u8; 100]));
        let done = at(next - 1);
        storage.table.write(&Changes::from([row]), done, None)?;
        if next - snapshot >= SNAPSHOT_EVERY {
            let head = SnapshotHead {
                last: Some(done),
                membership: Vec::new(),
            };
            storage.snapshots.write(
                &head,
                [(b"k".to_vec(), vec![1])],
                reelraft_storage::UNWATCHED,
            )?;
            storage.log.purge(at(next - 10))?;
            snapshot = next;
        }
    }
}
