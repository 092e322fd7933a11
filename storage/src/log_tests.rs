//! The Raft log on a real folder: reopening, torn tails, damage.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, sync::mpsc};

use super::*;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition {
        term,
        node: 1,
        index,
    }
}

fn record(term: u64, index: u64) -> LogRecord {
    LogRecord {
        position: at(term, index),
        payload: Bytes::from(format!("entry {index} of term {term}")),
    }
}

fn append(log: &Log, records: Vec<LogRecord>) {
    let (sender, receiver) = mpsc::channel();
    log.append(records, move |result| sender.send(result).unwrap())
        .unwrap();
    receiver.recv().unwrap().unwrap();
}

fn vote(log: &Log, vote: Vote) {
    let (sender, receiver) = mpsc::channel();
    log.save_vote(vote, move |result| sender.send(result).unwrap())
        .unwrap();
    receiver.recv().unwrap().unwrap();
}

fn filled(folder: &Path) -> Log {
    let log = Log::open(folder, true).unwrap();
    append(&log, (0..10).map(|index| record(1, index)).collect());
    log
}

fn last_chunk(folder: &Path) -> PathBuf {
    let mut chunks: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wal"))
        .collect();
    chunks.sort();
    chunks.pop().unwrap()
}

#[test]
fn it_reopens_with_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let mine = Vote {
        term: 3,
        node: 2,
        committed: true,
    };
    vote(&log, mine);
    log.save_committed(at(1, 4)).unwrap();
    drop(log);

    let log = Log::open(dir.path(), false).unwrap();
    assert_eq!(log.vote(), Some(mine));
    assert_eq!(log.committed(), Some(at(1, 4)));
    assert_eq!(log.bounds().last, Some(at(1, 9)));
    let read = log.read(3, 6, u64::MAX).unwrap();
    assert_eq!(read, [record(1, 3), record(1, 4), record(1, 5)]);
}

#[test]
fn truncating_and_purging_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    log.truncate_after(Some(at(1, 6))).unwrap();
    append(&log, vec![record(2, 7)]);
    log.purge(at(1, 2)).unwrap();
    append(&log, vec![record(2, 8)]);
    drop(log);

    let log = Log::open(dir.path(), false).unwrap();
    let bounds = log.bounds();
    assert_eq!(
        (bounds.purged, bounds.last),
        (Some(at(1, 2)), Some(at(2, 8)))
    );
    let read = log.read(0, 100, u64::MAX).unwrap();
    let indexes: Vec<_> = read.iter().map(|r| r.position.index).collect();
    assert_eq!(indexes, [3, 4, 5, 6, 7, 8]);
    assert_eq!(read[4], record(2, 7));
}

#[test]
fn reading_is_bounded_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    assert_eq!(log.read(0, 10, 1).unwrap().len(), 1);
    assert_eq!(log.read(0, 10, 40).unwrap().len(), 2);
    assert_eq!(log.read(5, 5, 40).unwrap().len(), 0);
}

#[test]
fn a_torn_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let chunk = last_chunk(dir.path());
    // The start of a record that no sync has reached.
    let mut bytes = fs::read(&chunk).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0]);
    fs::write(&chunk, &bytes).unwrap();

    let log = Log::open(dir.path(), false).unwrap();
    assert_eq!(log.bounds().last, Some(at(1, 9)));
    append(&log, vec![record(1, 10)]);
}

/// P2: a log that lost the end of what was synced never opens with less.
#[test]
fn a_cut_in_what_was_synced_is_refused_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let chunk = last_chunk(dir.path());
    let good = fs::read(&chunk).unwrap();
    for kept in 0..good.len() {
        for zeros in [0, good.len() - kept] {
            // A record may end with zeros of its own: then nothing was cut.
            if zeros > 0 && good[kept..].iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut bad = good[..kept].to_vec();
            bad.resize(kept + zeros, 0);
            fs::write(&chunk, &bad).unwrap();
            for start in ["the first", "the next"] {
                match Log::open(dir.path(), false) {
                    Err(StorageError::DamagedLog { .. } | StorageError::MissingLog { .. }) => {}
                    Err(other) => panic!("{start} start, {kept} bytes kept: {other}"),
                    Ok(log) => panic!("{start} start, {kept} bytes kept: {:?}", log.bounds()),
                }
            }
            fs::write(&chunk, &good).unwrap();
        }
    }
    assert_eq!(
        Log::open(dir.path(), false).unwrap().bounds().last,
        Some(at(1, 9))
    );
}

#[test]
fn a_log_of_an_earlier_version_or_with_a_damaged_note_opens() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let note = dir.path().join("synced");
    fs::remove_file(&note).unwrap();
    drop(Log::open(dir.path(), false).unwrap());
    let mut bytes = fs::read(&note).unwrap();
    bytes[7] ^= 1;
    fs::write(&note, bytes).unwrap();
    drop(Log::open(dir.path(), false).unwrap());

    let chunk = last_chunk(dir.path());
    let bytes = fs::read(&chunk).unwrap();
    fs::write(&chunk, &bytes[..bytes.len() - 5]).unwrap();
    let error = Log::open(dir.path(), false).unwrap_err();
    assert!(matches!(error, StorageError::DamagedLog { .. }), "{error}");
}

#[test]
fn a_zeroed_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let chunk = last_chunk(dir.path());
    let mut bytes = fs::read(&chunk).unwrap();
    bytes.resize(bytes.len() + 300, 0);
    fs::write(&chunk, &bytes).unwrap();

    let log = Log::open(dir.path(), false).unwrap();
    assert_eq!(log.bounds().last, Some(at(1, 9)));
}

/// P2: whatever byte of a whole record is flipped, the log is refused; it
/// never opens with fewer entries than it acknowledged.
#[test]
fn a_flipped_byte_is_refused_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let chunk = last_chunk(dir.path());
    let good = fs::read(&chunk).unwrap();
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 0x40;
        fs::write(&chunk, &bad).unwrap();
        match Log::open(dir.path(), false) {
            Err(StorageError::DamagedLog { .. }) => {}
            Err(other) => panic!("byte {offset}: {other}"),
            Ok(log) => panic!("byte {offset}: opened with {:?}", log.bounds()),
        }
        // The library may have cut the file before it gave up.
        fs::write(&chunk, &good).unwrap();
    }
}

#[test]
fn a_lost_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    fs::remove_file(last_chunk(dir.path())).unwrap();
    let error = Log::open(dir.path(), false).unwrap_err();
    assert!(matches!(error, StorageError::MissingLog { .. }), "{error}");
}

#[test]
fn a_gap_and_a_vote_that_goes_back_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path());
    let error = log.append(vec![record(1, 12)], |_| {}).unwrap_err();
    assert!(
        matches!(error, StorageError::RefusedByLog { .. }),
        "{error}"
    );
    vote(
        &log,
        Vote {
            term: 3,
            node: 2,
            committed: false,
        },
    );
    let older = Vote {
        term: 2,
        node: 3,
        committed: false,
    };
    let error = log.save_vote(older, |_| {}).unwrap_err();
    assert!(
        matches!(error, StorageError::RefusedByLog { .. }),
        "{error}"
    );
}
