//! The blob store's promises: what is put is there after a restart, nothing
//! damaged is served, a full disk is refused, names stay in their folder.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{blocks::Blocks, limits::*, *};

pub(super) const JOB: &str = "j0123";

pub(super) fn store(folder: &tempfile::TempDir) -> BlobStore {
    BlobStore::open(&folder.path().join("blobs")).unwrap()
}

pub(super) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

pub(super) fn flip(folder: &tempfile::TempDir, hash: &str, at: usize) {
    let path = folder.path().join("blobs").join(JOB).join(hash);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn what_was_put_is_read_back_by_any_range_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for size in [
        0,
        1,
        BLOCK_BYTES - 1,
        BLOCK_BYTES,
        BLOCK_BYTES + 1,
        3 * BLOCK_BYTES,
        3 * BLOCK_BYTES + 7,
    ] {
        let bytes = content(size);
        let stored = store(&folder).put_bytes(JOB, None, &bytes).unwrap();
        assert_eq!(stored.hash, blake3::hash(&bytes).to_hex().as_str());
        let reader = store(&folder).reader(JOB, &stored.hash).unwrap();
        assert_eq!(reader.total_bytes(), size as u64);
        assert_eq!(reader.read(0, size + 10).unwrap(), bytes);
        for offset in [0, 1, size / 2, BLOCK_BYTES - 1, BLOCK_BYTES, size] {
            for length in [0, 1, 1000, BLOCK_BYTES, 2 * BLOCK_BYTES] {
                if offset <= size {
                    let expected = &bytes[offset..size.min(offset + length)];
                    assert_eq!(
                        reader.read(offset as u64, length).unwrap(),
                        expected,
                        "{size} {offset} {length}"
                    );
                }
            }
        }
        let past = reader.read(size as u64 + 1, 1).unwrap_err();
        assert_eq!(past.kind(), "past-the-end");
    }
    assert_eq!(store(&folder).list(JOB).unwrap().len(), 7);
    assert_eq!(store(&folder).jobs().unwrap(), [JOB]);
}

#[test]
fn a_flipped_byte_is_never_served_and_the_blob_can_be_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for size in [100, 2 * BLOCK_BYTES + 100] {
        let bytes = content(size);
        let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
        flip(&folder, &hash, size - 1);
        if size > BLOCK_BYTES {
            let good = store.read_range(JOB, &hash, 0, 10).unwrap();
            assert_eq!(good, bytes[..10], "other blocks are still good");
        }
        let bad = store
            .read_range(JOB, &hash, size as u64 - 2, 1)
            .unwrap_err();
        assert!(matches!(bad, BlobError::Corrupt { .. }), "{bad}");
        assert!(!store.has(JOB, &hash).unwrap(), "it was moved aside");
        assert!(
            folder
                .path()
                .join("blobs/_quarantine")
                .join(format!("{JOB}.{hash}"))
                .exists()
        );
        let missing = store.read_range(JOB, &hash, 0, 1).unwrap_err();
        assert!(matches!(missing, BlobError::Missing { .. }));
        store.put_bytes(JOB, Some(&hash), &bytes).unwrap();
        assert_eq!(store.read_range(JOB, &hash, 0, size).unwrap(), bytes);
    }
}

#[test]
fn a_put_over_a_damaged_blob_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bytes = content(500);
    let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
    flip(&folder, &hash, 3);
    store.put_bytes(JOB, Some(&hash), &bytes).unwrap();
    assert_eq!(store.verify(JOB, &hash).unwrap(), 500);
}

#[test]
fn a_damaged_or_missing_list_of_block_hashes_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bytes = content(2 * BLOCK_BYTES + 5);
    let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
    let list = folder
        .path()
        .join("blobs")
        .join(JOB)
        .join(format!("{hash}.blocks"));
    let good = fs::read(&list).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&list, bad).unwrap();
    assert_eq!(store.read_range(JOB, &hash, 0, bytes.len()).unwrap(), bytes);
    assert_eq!(fs::read(&list).unwrap(), good);
    fs::remove_file(&list).unwrap();
    assert_eq!(store.read_range(JOB, &hash, 5, 10).unwrap(), bytes[5..15]);
    assert_eq!(fs::read(&list).unwrap(), good);
    let other = blake3::hash(b"other").to_hex().to_string();
    assert!(
        Blocks::decode(&good, &other).is_none(),
        "a list belongs to its blob"
    );
}

#[test]
fn a_reader_of_a_damaged_blob_spares_the_copy_that_took_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for size in [100, 2 * BLOCK_BYTES] {
        let bytes = content(size);
        let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
        let reader = store.reader(JOB, &hash).unwrap();
        flip(&folder, &hash, 3);
        // What another reader and the filler do meanwhile.
        store.verify(JOB, &hash).unwrap_err();
        store.put_bytes(JOB, Some(&hash), &bytes).unwrap();
        let damaged = store.damaged();
        assert_eq!(reader.read(0, 9).unwrap_err().kind(), "corrupt-blob");
        assert_eq!(store.damaged(), damaged);
        assert_eq!(store.read_range(JOB, &hash, 0, size).unwrap(), bytes);
    }
}

#[test]
fn a_truncated_blob_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for size in [10, BLOCK_BYTES * 2] {
        let hash = store.put_bytes(JOB, None, &content(size)).unwrap().hash;
        let path = folder.path().join("blobs").join(JOB).join(&hash);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(size as u64 - 1)
            .unwrap();
        let bad = store.read_range(JOB, &hash, 0, 5).unwrap_err();
        assert_eq!(bad.kind(), "corrupt-blob");
    }
}

#[test]
fn bytes_that_are_not_the_announced_ones_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let other = blake3::hash(b"other").to_hex().to_string();
    let refused = store.put_bytes(JOB, Some(&other), b"bytes").unwrap_err();
    assert_eq!(refused.kind(), "hash-mismatch");
    assert!(store.list(JOB).unwrap().is_empty());
    assert_eq!(
        fs::read_dir(folder.path().join("blobs/_tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_was_being_written_is_gone_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = store(&folder).writer(JOB, 3).unwrap();
    writer.write(b"abc").unwrap();
    std::mem::forget(writer);
    let temp = folder.path().join("blobs/_tmp");
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 1);
    let _store = store(&folder);
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
}

#[test]
fn an_adopted_file_is_moved_and_reads_like_a_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bytes = content(BLOCK_BYTES + 3);
    let file = folder.path().join("encoded");
    for _ in 0..2 {
        fs::write(&file, &bytes).unwrap();
        let stored = store.adopt_file(JOB, &file).unwrap();
        assert!(!file.exists());
        assert_eq!(stored.bytes, bytes.len() as u64);
        assert_eq!(
            store.read_range(JOB, &stored.hash, 0, bytes.len()).unwrap(),
            bytes
        );
        let path = store.path_of_verified(JOB, &stored.hash).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
}

#[test]
fn a_linked_file_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let file = folder.path().join("encoded");
    let bytes = content(BLOCK_BYTES + 3);
    fs::write(&file, &bytes).unwrap();
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let stored = store.link_file(JOB, &file, &hash).unwrap();
    assert_eq!(stored.bytes, bytes.len() as u64);
    fs::remove_file(&file).unwrap();
    assert_eq!(store.verify(JOB, &hash).unwrap(), stored.bytes);
    fs::write(&file, b"other").unwrap();
    let refused = store.link_file(JOB, &file, &hash).unwrap_err();
    assert_eq!(refused.kind(), "hash-mismatch");
    assert_eq!(
        fs::read_dir(folder.path().join("blobs/_tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_put_below_the_reserve_is_refused_as_disk_full() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1_000));
    let seen = free.clone();
    let probe: SpaceProbe = Arc::new(move |_| {
        Ok(Space {
            free_bytes: seen.load(Ordering::SeqCst),
            total_bytes: 10_000,
        })
    });
    let store = BlobStore::open_with(&folder.path().join("blobs"), probe).unwrap();
    store.put_bytes(JOB, None, &content(500)).unwrap();
    let refused = store.put_bytes(JOB, None, &content(501)).unwrap_err();
    assert_eq!(refused.kind(), "disk-full");
    assert!(matches!(
        refused,
        BlobError::DiskFull {
            free_bytes: 1_000,
            wanted_bytes: 501,
            ..
        }
    ));
    free.store(499, Ordering::SeqCst);
    assert!(matches!(
        store.writer(JOB, 0),
        Err(BlobError::DiskFull { .. })
    ));
    assert_eq!(
        store.list(JOB).unwrap().len(),
        1,
        "what is there can still be read"
    );
}

#[test]
fn work_leaves_the_last_of_a_disk_free_and_counts_once_against_a_limit() {
    const GIB: u64 = 1 << 30;
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(0));
    let seen = free.clone();
    let probe: SpaceProbe = Arc::new(move |_| {
        Ok(Space {
            free_bytes: seen.load(Ordering::SeqCst),
            total_bytes: 10_000 * GIB,
        })
    });
    let store = BlobStore::open_with(&folder.path().join("blobs"), probe).unwrap();
    let fits = |work: u64, kept: u64| match store.check_work_room(work * GIB, kept * GIB) {
        Ok(()) => true,
        Err(refused) => {
            assert_eq!(refused.kind(), "disk-full");
            false
        }
    };
    // It may use up some of the 500 that puts leave free while it goes on.
    free.store(1_000 * GIB, Ordering::SeqCst);
    assert!(fits(875, 500) && !fits(876, 500));
    assert!(!fits(875, 501), "it could not be kept");
    // A limit has no word in what is not kept: 95 of 100 may be.
    store.limit_to(100 * GIB);
    let begun = std::time::Instant::now();
    while !store.is_counted() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(fits(875, 95) && !fits(0, 96));
    // A quarter of the 500, or twice what the log's reserve is given up at.
    free.store(125 * GIB, Ordering::SeqCst);
    assert!(!store.is_disk_nearly_full());
    free.store(125 * GIB - 1, Ordering::SeqCst);
    assert!(store.is_disk_nearly_full());
}

#[test]
fn encoders_end_before_the_reserve_of_the_log_is_given_up() {
    for total_bytes in [1 << 20, 600 << 20, 2 << 30, 100 << 30] {
        let space = Space {
            free_bytes: 0,
            total_bytes,
        };
        let least = 2 * crate::limits::RESERVE_LOW_BYTES;
        assert!(space.nearly_full_bytes() >= least, "{total_bytes}");
    }
}

#[test]
fn names_never_leave_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let hash = blake3::hash(b"x").to_hex().to_string();
    let long = "a".repeat(65);
    for job in ["", ".", "..", "../x", "a/b", "A", "_tmp", "a\0", &long] {
        assert_eq!(
            store.put_bytes(job, None, b"x").unwrap_err().kind(),
            "bad-name",
            "{job}"
        );
        assert_eq!(
            store.remove_job_if(job, || true).unwrap_err().kind(),
            "bad-name",
            "{job}"
        );
        assert_eq!(store.journal(job).unwrap_err().kind(), "bad-name", "{job}");
        assert_eq!(store.list(job).unwrap_err().kind(), "bad-name", "{job}");
    }
    let upper = hash.to_uppercase();
    for hash in [
        "",
        "..",
        "journal",
        &hash[1..],
        &upper,
        &format!("{hash}.blocks"),
    ] {
        assert_eq!(
            store.reader(JOB, hash).unwrap_err().kind(),
            "bad-name",
            "{hash}"
        );
        assert_eq!(
            store.stat(JOB, hash).unwrap_err().kind(),
            "bad-name",
            "{hash}"
        );
    }
}

#[test]
fn damaged_blobs_do_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let aside = folder.path().join("blobs/_quarantine");
    let large = File::create(aside.join("other.large")).unwrap();
    for (room_bytes, kept) in [(9, true), (8, false)] {
        large.set_len(QUARANTINE_BYTES_MAX - room_bytes).unwrap();
        let hash = store.put_bytes(JOB, None, &content(9)).unwrap().hash;
        flip(&folder, &hash, 0);
        store.verify(JOB, &hash).unwrap_err();
        assert!(!store.has(JOB, &hash).unwrap());
        let moved = fs::remove_file(aside.join(format!("{JOB}.{hash}")));
        assert_eq!(moved.is_ok(), kept);
    }
}

#[test]
fn many_threads_put_the_same_and_other_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..10_u8 {
                    let bytes = vec![number; 1000 + usize::from(thread % 2)];
                    let stored = store.put_bytes(JOB, None, &bytes).unwrap();
                    let journal = store.journal(JOB).unwrap();
                    let slot = u64::from(number) * 2 + u64::from(thread % 2);
                    journal
                        .append(slot, &stored.hash, bytes.len() as u32)
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(store.list(JOB).unwrap().len(), 20);
    assert_eq!(store.journal(JOB).unwrap().chunks().unwrap().len(), 20);
}

#[test]
fn a_slow_check_tells_its_bytes_and_finds_what_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bytes = content(2 * BLOCK_BYTES + 7);
    let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
    let mut told = 0;
    let checked = store.verify_slowly(JOB, &hash, |bytes| {
        told += bytes;
        true
    });
    assert_eq!(checked.unwrap(), bytes.len() as u64);
    assert_eq!(told, bytes.len());
    flip(&folder, &hash, bytes.len() - 1);
    // Ended before the end: nothing is known of the rest.
    store.verify_slowly(JOB, &hash, |_| false).unwrap();
    assert_eq!(store.damaged(), 0);
    let error = store.verify_slowly(JOB, &hash, |_| true).unwrap_err();
    assert_eq!((error.kind(), store.damaged()), ("corrupt-blob", 1));
    assert!(!store.has(JOB, &hash).unwrap());
    let error = store.verify_slowly(JOB, &hash, |_| true).unwrap_err();
    assert_eq!(error.kind(), "missing-blob");
}

#[test]
fn a_slow_check_spares_the_copy_that_took_the_damaged_ones_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let bytes = content(2 * BLOCK_BYTES);
    let hash = store.put_bytes(JOB, None, &bytes).unwrap().hash;
    flip(&folder, &hash, 3);
    let mut mended = false;
    let checked = store.verify_slowly(JOB, &hash, |_| {
        if !mended {
            // What a reader and the filler do meanwhile.
            assert!(store.verify(JOB, &hash).is_err());
            store.put_bytes(JOB, Some(&hash), &bytes).unwrap();
            mended = true;
        }
        true
    });
    checked.unwrap();
    assert_eq!(store.damaged(), 1);
    assert_eq!(store.verify(JOB, &hash).unwrap(), bytes.len() as u64);
}

#[test]
fn the_chunks_of_a_journal_are_known_whether_it_is_open_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = self::store(&folder);
    let jobs: Vec<String> = (0..=JOURNALS_OPEN_MAX).map(|n| format!("j{n}")).collect();
    let hash = blake3::hash(b"x").to_hex().to_string();
    for job in &jobs {
        store.journal(job).unwrap().append(0, &hash, 1).unwrap();
    }
    let known = |store: &BlobStore| jobs.iter().all(|job| store.chunks_known(job) == 1);
    assert!(known(&store));
    drop(store);
    let store = self::store(&folder);
    assert!(known(&store));
    store.journal("j0").unwrap().append(7, &hash, 1).unwrap();
    assert_eq!(store.chunks_known("j0"), 2);
    assert_eq!(store.chunks_known("none"), 0);
    assert_eq!(
        store.remove_job_if("j1", || true).unwrap(),
        Removal::Removed
    );
    assert_eq!(store.chunks_known("j1"), 0);
}
