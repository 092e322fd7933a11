//! What a home refuses, by name, and what it serves.

use reelraft_model::{CancelJob, Command};
use reelraft_storage::{blobs::BlobStore, journal::Chunk};

use super::*;
use crate::data::{DataError, Payload, PutTicket};

fn kind<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    result.unwrap_err().kind().to_string()
}

/// Puts a chunk on a node, from node 3.
async fn put(
    nodes: &ThreeNodes,
    node: u64,
    (job, epoch): (&str, u64),
    number: u64,
    bytes: &Bytes,
) -> Result<(), DataError> {
    let ticket = PutTicket {
        job: job.to_string(),
        epoch,
        log_index: epoch,
    };
    let homes = &nodes.data(3).homes;
    homes
        .put_chunk(node, &ticket, number, &hex(bytes), bytes.clone())
        .await
        .map(drop)
}

#[tokio::test]
async fn puts_are_refused_by_name() {
    let nodes = ThreeNodes::start().await;
    let source = content(CHUNK_BYTES + 10);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let old = nodes.entry(&job).job.epoch;
    nodes.set_homes(&job, &[2, 1]);
    let epoch = nodes.entry(&job).job.epoch;
    let (last, other) = (chunk(&source, 1), Bytes::from_static(b"0123456789"));
    let refusals = [
        (1, (job.as_str(), old), 1, &last, "old-epoch"),
        (3, (&job, epoch), 1, &last, "not-home"),
        (1, ("jother", epoch), 1, &last, "not-found"),
        (1, ("../x", epoch), 1, &last, "not-found"),
        (1, (&job, epoch + 99), 1, &last, "behind"),
        (1, (&job, epoch), 0, &last, "bad-chunk"),
        (1, (&job, epoch), 2, &last, "bad-chunk"),
        (1, (&job, epoch), 1, &other, "source-changed"),
    ];
    put(&nodes, 1, (&job, epoch), 1, &last).await.unwrap();
    for (node, ticket, number, bytes, expected) in refusals {
        let refused = put(&nodes, node, ticket, number, bytes).await;
        assert_eq!(kind(refused), expected, "{node} {ticket:?} {number}");
    }
    nodes.shared.apply(vec![Command::CancelJob(CancelJob {
        job: job.clone(),
        unix_ms: 0,
    })]);
    let refused = put(&nodes, 1, (&job, epoch), 1, &last).await;
    assert_eq!(kind(refused), "job-ended");
}

#[tokio::test]
async fn bytes_that_are_not_what_their_name_says_are_refused() {
    let nodes = ThreeNodes::start().await;
    let source = content(CHUNK_BYTES + 10);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let ticket = PutTicket {
        job: job.clone(),
        epoch: nodes.entry(&job).job.epoch,
        log_index: 0,
    };
    let data = nodes.data(3);
    let last = chunk(&source, 1);
    let lied = data.homes.put_chunk(1, &ticket, 1, &hex(b"x"), last).await;
    assert_eq!(kind(lied), "hash-mismatch");
    for (name, expected) in [
        (hex(b"x").as_str(), "hash-mismatch"),
        ("../../x", "bad-name"),
    ] {
        let payload = Payload::Bytes(Bytes::from_static(b"0123456789"));
        let refused = data.homes.put(1, &ticket, name, 10, payload).await;
        assert_eq!(kind(refused), expected, "{name}");
    }
}

/// A new home may have asked this one what it has before the bytes were here.
#[tokio::test]
async fn bytes_that_come_while_the_homes_move_are_refused() {
    let nodes = ThreeNodes::start().await;
    let job = nodes.job(10, &[1, 2]);
    let ticket = PutTicket {
        job: job.clone(),
        epoch: nodes.entry(&job).job.epoch,
        log_index: 0,
    };
    let local = nodes.data(1).local_store();
    let (sender, parts) = mpsc::channel(1);
    let hash = hex(b"01234");
    let (put, ()) = futures::join!(local.put_parts(&ticket, &hash, 5, parts), async {
        for part in [b"0", b"1"] {
            sender.send(Bytes::from_static(part)).await.unwrap();
        }
        // The first was taken, so that the put has been judged.
        nodes.set_homes(&job, &[2, 3]);
        sender.send(Bytes::from_static(b"234")).await.unwrap();
        drop(sender);
    });
    assert_eq!(kind(put), "old-epoch");
}

/// What was begun here and is not here yet counts as used, as far as the upload
/// has shown that it is meant.
#[tokio::test]
async fn the_rest_of_an_upload_has_its_room() {
    let nodes = ThreeNodes::start().await;
    let chunk_bytes = CHUNK_BYTES as u64;
    let job = nodes.job(30 * chunk_bytes, &[1]);
    let disk = Arc::new(move |_: &std::path::Path| {
        Ok(reelraft_storage::blobs::Space {
            free_bytes: 50 * chunk_bytes,
            total_bytes: 100 * chunk_bytes,
        })
    });
    let store = BlobStore::open_with(&nodes.folder.path().join("other"), disk).unwrap();
    let table = Arc::new(OneTable {
        node: 1,
        shared: nodes.shared.clone(),
    });
    let data = DataPlane::with_store(table, store.clone(), transport())
        .await
        .unwrap();
    assert_eq!(
        data.room_bytes(),
        (50 - 5) * chunk_bytes,
        "nothing was sent"
    );
    let chunk = Chunk {
        hash: store.put_bytes(&job, None, b"chunk").unwrap().hash,
        bytes: CHUNK_BYTES as u32,
    };
    store.record_chunk(&job, 0, &chunk).unwrap();
    assert_eq!(data.room_bytes(), (50 - 5 - 16) * chunk_bytes);
    store.record_chunk(&job, 1, &chunk).unwrap();
    assert_eq!(data.room_bytes(), (50 - 5 - 28) * chunk_bytes);
}

#[tokio::test]
async fn a_full_disk_refuses_puts_and_still_serves() {
    let mut nodes = ThreeNodes::start().await;
    let job = nodes.job(10, &[1]);
    let entry = nodes.entry(&job);
    let hash = nodes
        .data(2)
        .put_bytes(&job, b"small".to_vec())
        .await
        .unwrap();
    // Node 1 starts again, on a disk that has filled up.
    let full = Arc::new(|_: &std::path::Path| {
        Ok(reelraft_storage::blobs::Space {
            free_bytes: 4,
            total_bytes: 100,
        })
    });
    let store = BlobStore::open_with(&nodes.folder.path().join("1/blobs"), full).unwrap();
    let table = Arc::new(OneTable {
        node: 1,
        shared: nodes.shared.clone(),
    });
    let data = DataPlane::with_store(table, store, transport())
        .await
        .unwrap();
    nodes.nodes.get_mut(&1).unwrap().data = data.clone();
    let ticket = PutTicket {
        job: job.clone(),
        epoch: entry.job.epoch,
        log_index: nodes.applied(),
    };
    let put = data
        .homes
        .put_chunk(
            1,
            &ticket,
            0,
            &hex(b"0123456789"),
            Bytes::from_static(b"0123456789"),
        )
        .await;
    let refused = put.unwrap_err();
    assert_eq!(refused.kind(), "disk-full");
    assert_eq!(data.read_whole(&entry, &hash).await.unwrap(), b"small");
}

#[tokio::test]
async fn journals_and_presence_are_told_page_by_page() {
    let nodes = ThreeNodes::start().await;
    let source = content(3 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    nodes.upload(3, &job, &source).await.unwrap();
    let data = nodes.data(3);
    let journal = data.homes.journal(1, &job, nodes.applied()).await.unwrap();
    assert_eq!(journal.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let hashes: Vec<String> = journal.values().map(|chunk| chunk.hash.clone()).collect();
    assert_eq!(hashes, [0, 1, 2].map(|number| hex(&chunk(&source, number))));
    let mut asked = hashes.clone();
    asked.push(hex(b"x"));
    assert_eq!(
        data.homes.stat(2, &job, asked).await.unwrap(),
        [true, true, true, false]
    );
    let unknown = data.homes.journal(1, "jother", 0).await.unwrap_err();
    assert_eq!(unknown.kind(), "not-found");
    let missing = data
        .homes
        .read(3, &job, &hashes[0], 0, 0)
        .await
        .unwrap()
        .recv()
        .await;
    assert!(missing.unwrap().unwrap_err().is_missing());
}

/// A runtime whose threads that may block are soon all held.
fn few_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .unwrap()
}

/// Readers that take nothing must leave the threads to others that may block.
#[test]
fn readers_that_take_nothing_hold_no_threads() {
    let runtime = few_threads();
    let present = runtime.block_on(async {
        let nodes = ThreeNodes::start().await;
        let blob = content(8 * CHUNK_BYTES);
        let job = nodes.job(blob.len() as u64, &[1]);
        let local = nodes.data(1).local_store();
        local.store.put_bytes(&job, None, &blob).unwrap();
        let name = hex(&blob);
        let mut unread = Vec::new();
        for _ in 0..8 {
            let mut parts = local.read(&job, &name, 0, 0);
            assert!(parts.recv().await.unwrap().is_ok());
            unread.push(parts);
        }
        let asked = local.stat(&job, vec![name]);
        tokio::time::timeout(Duration::from_secs(5), asked).await
    });
    // A thread that is held would be waited for.
    runtime.shutdown_background();
    assert_eq!(present.expect("a thread is free").unwrap(), [true]);
}

/// A put takes as long as its sender does. The threads that may block are for
/// those whose bytes are there.
#[test]
fn senders_that_are_slow_hold_no_threads() {
    let runtime = few_threads();
    let stored = runtime.block_on(async {
        let nodes = ThreeNodes::start().await;
        let job = nodes.job(1, &[1]);
        let local = nodes.data(1).local_store();
        let ticket = PutTicket {
            epoch: nodes.entry(&job).job.epoch,
            job: job.clone(),
            log_index: 0,
        };
        let mut begun = Vec::new();
        for _ in 0..8 {
            let (sender, parts) = mpsc::channel(1);
            sender.send(Bytes::from_static(b"first")).await.unwrap();
            let (local, ticket) = (local.clone(), ticket.clone());
            let hash = hex(b"first and last");
            tokio::spawn(async move { local.put_parts(&ticket, &hash, 14, parts).await });
            // Its first part is taken, and the next does not come.
            let taken = sender.reserve();
            let _ = tokio::time::timeout(Duration::from_millis(200), taken).await;
            begun.push(sender);
        }
        let whole = Bytes::from_static(b"whole");
        let (sender, parts) = mpsc::channel(1);
        sender.send(whole.clone()).await.unwrap();
        drop(sender);
        let hash = hex(&whole);
        let put = local.put_parts(&ticket, &hash, whole.len() as u64, parts);
        tokio::time::timeout(Duration::from_secs(5), put).await
    });
    // A thread that is held would be waited for.
    runtime.shutdown_background();
    stored.expect("a thread is free").unwrap();
}
