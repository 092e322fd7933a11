//! Snapshots on a real folder: whole, sent in pieces, damaged.
#![allow(clippy::unwrap_used)]

use super::*;

fn head(index: u64) -> SnapshotHead {
    SnapshotHead {
        last: Some(LogPosition {
            term: 2,
            node: 1,
            index,
        }),
        membership: b"members".to_vec(),
    }
}

fn rows() -> Vec<Row> {
    (0..300)
        .map(|n| (format!("k{n:04}").into_bytes(), vec![n as u8; n]))
        .collect()
}

fn read(snapshot: &SnapshotFile) -> Vec<Row> {
    snapshot.rows().unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_was_written_is_read_and_only_the_newest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    assert!(snapshots.newest().unwrap().is_none());
    let old = snapshots.write(&head(5), rows(), UNWATCHED).unwrap();
    snapshots
        .write(&head(70), rows().into_iter().take(3), UNWATCHED)
        .unwrap();
    let newest = snapshots.newest().unwrap().unwrap();
    assert_eq!(newest.head(), &head(70));
    assert_eq!(read(&newest).len(), 3);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // The older one is still readable by who holds it.
    assert_eq!(read(&old), rows());
}

#[test]
fn it_travels_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let there = Snapshots::open(&dir.path().join("there")).unwrap();
    let here = Snapshots::open(&dir.path().join("here")).unwrap();
    let sent = there.write(&head(9), rows(), UNWATCHED).unwrap();
    let mut incoming = here.receive().unwrap();
    let mut offset = 0;
    loop {
        let piece = sent.piece(offset, 1_000).unwrap();
        if piece.is_empty() {
            break;
        }
        offset += piece.len() as u64;
        incoming.write(&piece).unwrap();
    }
    assert!(here.newest().unwrap().is_none());
    here.adopt(&incoming.finish(UNWATCHED).unwrap(), UNWATCHED)
        .unwrap();
    assert_eq!(read(&here.newest().unwrap().unwrap()), rows());
}

#[test]
fn a_part_of_one_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let sent = snapshots.write(&head(9), rows(), UNWATCHED).unwrap();
    let mut incoming = snapshots.receive().unwrap();
    incoming.write(&sent.piece(0, 2_000).unwrap()).unwrap();
    let error = incoming.finish(UNWATCHED).unwrap_err();
    assert!(
        matches!(error, StorageError::DamagedSnapshot { .. }),
        "{error}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Raft ignores a snapshot that is older than what it has.
#[test]
fn a_whole_one_that_nobody_adopts_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let there = Snapshots::open(&dir.path().join("there")).unwrap();
    let here = Snapshots::open(&dir.path().join("here")).unwrap();
    let sent = there.write(&head(9), rows(), UNWATCHED).unwrap();
    let mut incoming = here.receive().unwrap();
    incoming.write(&sent.piece(0, 1 << 20).unwrap()).unwrap();
    drop(incoming.finish(UNWATCHED).unwrap());
    assert_eq!(fs::read_dir(dir.path().join("here")).unwrap().count(), 0);
}

#[test]
fn a_damaged_one_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let whole = snapshots.write(&head(9), rows(), UNWATCHED).unwrap();
    let good = fs::read(&whole.path).unwrap();
    for offset in [0, 9, 40, 100, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        fs::write(&whole.path, &bad).unwrap();
        assert!(snapshots.newest().unwrap().is_none(), "byte {offset}");
        fs::write(&whole.path, &good).unwrap();
    }
    assert!(snapshots.newest().unwrap().is_some());
}

#[test]
fn leftovers_are_cleared_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("0123.part"), b"half").unwrap();
    Snapshots::open(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_newest_damaged_one_outlives_the_starts() {
    let dir = tempfile::tempdir().unwrap();
    for index in [5, 70, 9] {
        let snapshots = Snapshots::open(dir.path()).unwrap();
        let whole = snapshots.write(&head(index), rows(), UNWATCHED).unwrap();
        fs::write(&whole.path, format!("rotten {index}")).unwrap();
        assert!(snapshots.newest().unwrap().is_none());
    }
    for _ in 0..2 {
        let snapshots = Snapshots::open(dir.path()).unwrap();
        assert!(snapshots.newest().unwrap().is_none());
    }
    let kept: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read(kept[0].path()).unwrap(), b"rotten 70");
}
