//! What a removal promises: all of a job goes or nothing, whoever comes
//! meanwhile.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs};

use super::{
    tests::{JOB, content, flip, store},
    *,
};

#[test]
fn a_removed_job_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let hash = store.put_bytes(JOB, None, &content(9)).unwrap().hash;
    let kept = store.put_bytes("other", None, &content(9)).unwrap().hash;
    store.journal(JOB).unwrap().append(0, &hash, 9).unwrap();
    flip(&folder, &hash, 0);
    store.verify(JOB, &hash).unwrap_err();
    assert_eq!(store.remove_job_if(JOB, || true).unwrap(), Removal::Removed);
    assert_eq!(store.remove_job_if(JOB, || true).unwrap(), Removal::Removed);
    assert_eq!(store.jobs().unwrap(), ["other"]);
    assert_eq!(
        fs::read_dir(folder.path().join("blobs/_quarantine"))
            .unwrap()
            .count(),
        0
    );
    assert!(store.journal(JOB).unwrap().chunks().unwrap().is_empty());
    store.verify("other", &kept).unwrap();
}

/// A job that comes back while a large folder of it is being removed: what is
/// acknowledged from then on stays.
#[test]
fn what_is_put_while_a_job_is_being_removed_stays() {
    const FILES: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let old = store.put_bytes(JOB, None, b"old").unwrap().hash;
    store.journal(JOB).unwrap().append(0, &old, 3).unwrap();
    let job = folder.path().join("blobs").join(JOB);
    for number in 0..FILES {
        let name = blake3::hash(&number.to_le_bytes()).to_hex();
        fs::write(job.join(name.as_str()), b"").unwrap();
    }
    let files = || fs::read_dir(&job).map_or(0, Iterator::count);
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| store.remove_job_if(JOB, || true));
        while files() >= FILES {}
        let hash = store.put_bytes(JOB, None, b"new").unwrap().hash;
        store.journal(JOB).unwrap().append(1, &hash, 3).unwrap();
        assert_eq!(removing.join().unwrap().unwrap(), Removal::Removed);
    });
    let reopened = BlobStore::open(&folder.path().join("blobs")).unwrap();
    let chunks = reopened.journal(JOB).unwrap().chunks().unwrap();
    assert_eq!(chunks.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(reopened.verify(JOB, &chunks[&1].hash).unwrap(), 3);
}

#[test]
fn a_job_that_is_used_or_wanted_again_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let hash = blake3::hash(b"old").to_hex().to_string();
    store.put_chunk(JOB, 0, &hash, b"old").unwrap();
    let removed = store.remove_job_if(JOB, || {
        // Nobody else can put meanwhile, so the answer can't be out of date.
        let putting = store.clone();
        let put = std::thread::spawn(move || putting.put_bytes(JOB, None, b"new"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!put.is_finished());
        false
    });
    assert_eq!(removed.unwrap(), Removal::Wanted);
    let used = store.inner.usage.enter(JOB);
    let removed = store.remove_job_if(JOB, || panic!("it is in use"));
    assert_eq!(removed.unwrap(), Removal::InUse);
    drop(used);
    store.verify(JOB, &hash).unwrap();
    assert_eq!(store.journal(JOB).unwrap().chunks().unwrap().len(), 1);
}

#[test]
fn a_removal_that_was_cut_off_is_ended_later_and_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let trash = folder.path().join("blobs/_trash");
    let left = store(&folder);
    left.put_bytes(JOB, None, b"old").unwrap();
    fs::create_dir(trash.join("0")).unwrap();
    fs::rename(folder.path().join("blobs").join(JOB), trash.join("0/job")).unwrap();
    let store = store(&folder);
    assert!(store.jobs().unwrap().is_empty());
    store.empty_trash().unwrap();
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
}

#[test]
fn a_chunk_without_its_bytes_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let hash = blake3::hash(b"gone").to_hex().to_string();
    let chunk = journal::Chunk { hash, bytes: 4 };
    let refused = store.record_chunk(JOB, 0, &chunk).unwrap_err();
    assert_eq!(refused.kind(), "missing-blob");
    store.put_bytes(JOB, None, b"gone").unwrap();
    store.record_chunk(JOB, 0, &chunk).unwrap();
    assert_eq!(store.journal(JOB).unwrap().chunks().unwrap()[&0], chunk);
}

#[test]
fn a_journal_that_was_held_over_a_removal_acknowledges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let hash = store.put_bytes(JOB, None, b"old").unwrap().hash;
    let held = store.journal(JOB).unwrap();
    held.append(0, &hash, 3).unwrap();
    assert_eq!(store.remove_job_if(JOB, || true).unwrap(), Removal::Removed);
    let refused = held.append(1, &hash, 3).is_err();
    assert!(refused && held.chunks().is_err());
    assert!(store.journal(JOB).unwrap().chunks().unwrap().is_empty());
}

#[test]
fn of_single_blobs_those_go_that_were_not_put_again_and_are_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let put = |bytes: &[u8]| store.put_bytes(JOB, None, bytes).unwrap().hash;
    let old: Vec<String> = (0..2 * limits::REMOVED_AT_ONCE as u8)
        .map(|number| put(&[number]))
        .collect();
    let (again, named) = (put(b"again"), put(b"named"));
    let seen = store.last_puts(JOB).unwrap();
    assert_eq!(seen.len(), old.len() + 2);
    assert_eq!(put(b"again"), again);
    let used = store.inner.usage.enter(JOB);
    let removed = store.remove_blobs_if(JOB, &seen, || panic!("it is in use"));
    assert_eq!(removed.unwrap(), Removal::InUse);
    drop(used);
    let removed = store.remove_blobs_if(JOB, &seen, || None);
    assert_eq!(removed.unwrap(), Removal::Wanted);
    assert_eq!(store.last_puts(JOB).unwrap().len(), seen.len());
    let removed = store.remove_blobs_if(JOB, &seen, || {
        assert!(store.inner.usage.try_lock(JOB).is_none(), "nobody can put");
        Some(BTreeSet::from([named.clone()]))
    });
    assert_eq!(removed.unwrap(), Removal::Removed);
    let left: BTreeSet<String> = store.last_puts(JOB).unwrap().into_keys().collect();
    assert_eq!(left, BTreeSet::from([again, named]));
}

/// A blob that takes the place of one that was seen, out of the very same file.
#[test]
fn a_file_that_is_linked_again_counts_as_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let file = folder.path().join("part");
    fs::write(&file, b"part").unwrap();
    let hash = blake3::hash(b"part").to_hex().to_string();
    store.link_file(JOB, &file, &hash).unwrap();
    let seen = store.last_puts(JOB).unwrap();
    store.remove(JOB, &hash).unwrap();
    store.link_file(JOB, &file, &hash).unwrap();
    let nothing = || Some(BTreeSet::new());
    store.remove_blobs_if(JOB, &seen, nothing).unwrap();
    store.verify(JOB, &hash).unwrap();
}
