//! The table on a real folder: reopening, damage, long rows, the hash.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::MetadataExt};

use super::*;
use crate::progress::UNWATCHED;

fn at(index: u64) -> LogPosition {
    LogPosition {
        term: 1,
        node: 1,
        index,
    }
}

fn changes(rows: &[(&str, Option<Vec<u8>>)]) -> Changes {
    rows.iter()
        .map(|(key, bytes)| (key.as_bytes().to_vec(), bytes.clone()))
        .collect()
}

fn filled(folder: &Path) -> TableHead {
    let mut table = Table::open(folder).unwrap().table;
    let first = changes(&[("a", Some(vec![1; 10])), ("b", Some(vec![2; 9_000]))]);
    table
        .write(&first, at(1), Some(b"members".to_vec()))
        .unwrap();
    let second = changes(&[
        ("a", None),
        ("b", Some(vec![3; 5_000])),
        ("c", Some(vec![])),
    ]);
    table.write(&second, at(2), None).unwrap();
    table.head().clone()
}

fn some_file(folder: &Path) -> std::path::PathBuf {
    folder.join("db")
}

#[test]
fn rows_head_and_hash_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let head = filled(dir.path());
    assert_eq!(head.membership, b"members");
    let opened = Table::open(dir.path()).unwrap();
    assert_eq!(opened.dropped, None);
    assert_eq!(opened.table.head(), &head);
    let want = vec![(b"b".to_vec(), vec![3; 5_000]), (b"c".to_vec(), vec![])];
    assert_eq!(opened.rows, want);
}

/// sled releases its lock when its own threads are done.
#[test]
fn a_lock_that_is_released_late_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let head = filled(dir.path());
    let held = open_sled(dir.path()).unwrap();
    let opened = std::thread::scope(|scope| {
        scope.spawn(move || {
            sleep(std::time::Duration::from_secs(3));
            drop(held);
        });
        Table::open(dir.path()).unwrap()
    });
    assert_eq!(opened.table.head(), &head);
}

#[test]
fn the_hash_does_not_depend_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let head = filled(&dir.path().join("one"));
    let mut other = Table::open(&dir.path().join("two")).unwrap().table;
    let rows = [(b"c".to_vec(), vec![]), (b"b".to_vec(), vec![3; 5_000])];
    other
        .replace(rows.into_iter().map(Ok), at(2), vec![], UNWATCHED)
        .unwrap();
    assert_eq!(other.head().hash, head.hash);
}

#[test]
fn replacing_leaves_nothing_of_the_old() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let mut table = Table::open(dir.path()).unwrap().table;
    let rows: Vec<Row> = (0..1_200)
        .map(|n| (format!("k{n:05}").into_bytes(), vec![7; 20]))
        .collect();
    table
        .replace(
            rows.iter().cloned().map(Ok),
            at(9),
            b"m".to_vec(),
            UNWATCHED,
        )
        .unwrap();
    drop(table);
    let opened = Table::open(dir.path()).unwrap();
    assert_eq!(opened.dropped, None);
    assert_eq!(opened.rows, rows);
    assert_eq!(opened.table.head().applied, Some(at(9)));
}

/// sled itself can't open a folder with a half-made snapshot of its own.
#[test]
fn a_table_that_sled_cannot_open_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::write(dir.path().join("snap.00.generating"), b"").unwrap();
    fs::remove_file(some_file(dir.path())).unwrap();
    fs::create_dir(some_file(dir.path())).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let folder = || fs::metadata(dir.path()).unwrap().ino();
    let before = folder();
    let opened = Table::open(dir.path()).unwrap();
    assert!(opened.dropped.is_some());
    assert_eq!(folder(), before, "it may be where a disk is mounted");
    assert!(dir.path().join("lost+found").exists(), "it is not ours");
    assert_eq!(opened.table.head(), &TableHead::default());
    assert!(opened.rows.is_empty());
}

/// Whatever sled makes of the damage, an error, a panic or old rows, the
/// table that comes out is whole or empty.
#[test]
fn a_damaged_table_is_whole_or_dropped() {
    for step in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let head = filled(dir.path());
        let file = some_file(dir.path());
        let mut bytes = fs::read(&file).unwrap();
        let length = bytes.len();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(length);
        bytes[used * step / 20] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let opened = Table::open(dir.path()).unwrap();
        if opened.dropped.is_none() && opened.table.head() != &head {
            let mut hash = TableHash::default();
            for (key, bytes) in &opened.rows {
                hash.add(&row_hash(key, bytes));
            }
            assert_eq!(hash, opened.table.head().hash);
        }
    }
}

#[test]
fn keys_and_rows_beyond_the_limits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = Table::open(dir.path()).unwrap().table;
    let error = table
        .write(&changes(&[("a\0b", Some(vec![]))]), at(1), None)
        .unwrap_err();
    assert!(matches!(error, StorageError::BadRowKey { .. }), "{error}");
    let long = vec![0; TABLE_ROW_BYTES_MAX + 1];
    let error = table
        .write(&changes(&[("a", Some(long))]), at(1), None)
        .unwrap_err();
    assert!(matches!(error, StorageError::RowTooLong { .. }), "{error}");
    assert_eq!(table.head().applied, None);
}

/// Frozen: data written by this version must be read by all later ones.
#[test]
fn the_envelope_is_frozen() {
    let part = seal(&PartV1 {
        parts: 1,
        bytes: b"row".to_vec(),
    })
    .unwrap();
    let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "5201cfd6713001000300000000000000726f77");
    let head = encode_head(&TableHead {
        applied: Some(LogPosition {
            term: 1,
            node: 2,
            index: 3,
        }),
        membership: b"m".to_vec(),
        hash: TableHash::from_lanes([4, 5, 6, 7]),
    })
    .unwrap();
    let hex: String = head[ENVELOPE_BYTES..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "01010000000000000002000000000000000300000000000000\
         01000000000000006d\
         0400000000000000050000000000000006000000000000000700000000000000"
    );
}
