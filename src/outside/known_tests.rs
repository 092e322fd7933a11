//! Uploads in parts that were begun before, by a server that fails now and then.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reelraft_model::BucketUpload;

use super::{
    BucketError, Outside, PartedUpload, Resumed,
    parts_tests::{End, Shared, Store, ends, name, serve},
};

/// A bucket with an upload that was begun and left, as another finds it.
async fn left(parts: &[&'static [u8]], store: Store) -> (Outside, Shared, BucketUpload) {
    let store = Arc::new(Mutex::new(store));
    let outside = serve(store.clone()).await;
    let upload = PartedUpload::begin(&outside, name("own"), true).await;
    let mut upload = upload.unwrap();
    for part in parts {
        upload.put(Bytes::from_static(part)).await.unwrap();
    }
    let known = upload.known(5);
    (outside, store, known)
}

/// The same gone on with, for a file of so many bytes.
async fn resumed(outside: &Outside, known: &BucketUpload, bytes: u64) -> Resumed {
    let resumed = PartedUpload::resume(outside, &name("own"), known, bytes).await;
    resumed.unwrap()
}

#[tokio::test]
async fn another_goes_on_behind_the_parts_that_are_there() {
    let parts = [&b"first"[..], b"secon", b"third"];
    let (outside, store, known) = left(&parts, Store::default()).await;
    let Resumed::Open(mut upload) = resumed(&outside, &known, 17).await else {
        panic!("it is there");
    };
    assert_eq!(upload.parts(), 3, "over two answers");
    upload.put(Bytes::from_static(b"xy")).await.unwrap();
    upload.complete().await.unwrap();
    let store = store.lock().unwrap();
    assert_eq!(store.parts.concat(), b"firstseconthirdxy");
    assert_eq!(store.list.matches("<Part>").count(), 4);
    assert!(store.named && !store.given_up);
}

#[tokio::test]
async fn a_part_of_another_length_is_put_again() {
    let (outside, _, known) = left(&[b"first", b"sec"], Store::default()).await;
    for (bytes, parts) in [(17, 1), (8, 2), (4, 0)] {
        let Resumed::Open(upload) = resumed(&outside, &known, bytes).await else {
            panic!("it is there");
        };
        assert_eq!(upload.parts(), parts, "{bytes}");
    }
}

#[tokio::test]
async fn whoever_may_not_look_puts_all_parts_again() {
    for listing in [403, 501] {
        let (outside, store, known) = left(&[b"first"], Store::default()).await;
        store.lock().unwrap().listing = listing;
        let Resumed::Open(upload) = resumed(&outside, &known, 5).await else {
            panic!("it goes on");
        };
        assert_eq!(upload.parts(), 0);
    }
}

#[tokio::test]
async fn a_server_that_fails_for_a_while_is_not_taken_at_its_word() {
    let (outside, store, known) = left(&[b"first"], Store::default()).await;
    let resume = || async { PartedUpload::resume(&outside, &name("own"), &known, 5).await };
    let fails = |failed: Result<Resumed, _>, status| {
        let error = failed.err().unwrap();
        assert!(matches!(error, BucketError::Refused { status: it, .. } if it == status));
    };
    // 404: the bucket is gone, by its word.
    for status in [502, 429, 404] {
        store.lock().unwrap().listing = status;
        fails(resume().await, status);
    }
    store.lock().unwrap().listing = 0;
    // It has its name, which is not told now.
    store.lock().unwrap().named = true;
    store.lock().unwrap().looking = 503;
    fails(resume().await, 503);
    let begun = PartedUpload::begin(&outside, name("own"), true).await;
    fails(begun.map(|_| Resumed::Gone), 503);
    store.lock().unwrap().looking = 0;
    assert!(matches!(resume().await, Ok(Resumed::Done)));
}

#[tokio::test]
async fn an_upload_of_which_a_server_talks_nonsense_is_begun_anew() {
    for listing in [200, 400] {
        let (outside, store, known) = left(&[b"first"], Store::default()).await;
        store.lock().unwrap().listing = listing;
        assert!(matches!(resumed(&outside, &known, 5).await, Resumed::Gone));
    }
}

#[tokio::test]
async fn an_upload_that_is_gone_has_become_its_file_or_is_begun_anew() {
    let (outside, store, known) = left(&[b"first"], Store::default()).await;
    store.lock().unwrap().named = true;
    assert!(matches!(resumed(&outside, &known, 5).await, Resumed::Done));
    // Another file has the name: of another length, or put otherwise.
    assert!(matches!(resumed(&outside, &known, 4).await, Resumed::Gone));
    for (tag, done) in [
        ("0123456789abcdef0123456789abcdef", false),
        ("0123456789abcdef0123456789abcdef-2", false),
        ("0123456789abcdef0123456789abcdef-1", true),
    ] {
        store.lock().unwrap().tag = Some(tag);
        let resumed = resumed(&outside, &known, 5).await;
        assert_eq!(matches!(resumed, Resumed::Done), done, "{tag}");
    }
    store.lock().unwrap().named = false;
    PartedUpload::abandon(&outside, &name("own"), &known).await;
    assert!(store.lock().unwrap().given_up);
    assert!(matches!(resumed(&outside, &known, 5).await, Resumed::Gone));
}

#[tokio::test]
async fn an_end_that_fails_leaves_what_can_be_gone_on_with() {
    let (outside, store, known) = left(&[b"first"], ends(&[End::Busy; 5])).await;
    for done in [false, true] {
        let Resumed::Open(upload) = resumed(&outside, &known, 5).await else {
            panic!("it is there");
        };
        assert_eq!(upload.complete().await.is_ok(), done);
    }
    let store = store.lock().unwrap();
    assert!(store.named && !store.given_up);
}
