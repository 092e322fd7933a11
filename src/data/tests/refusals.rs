//! What a home refuses, by name, and what it serves.

use reelraft_model::{CancelJob, Command};
use reelraft_storage::blobs::BlobStore;

use super::*;
use crate::data::{DataError, Payload, PutTicket};

fn kind(result: Result<(), DataError>) -> String {
    result.unwrap_err().kind().to_string()
}

#[tokio::test]
async fn puts_are_refused_by_name() {
    let nodes = ThreeNodes::start().await;
    let source = content(CHUNK_BYTES + 10);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let old = nodes.entry(&job).job.epoch;
    nodes.set_homes(&job, &[2, 1]);
    let epoch = nodes.entry(&job).job.epoch;
    let data = nodes.data(3);
    let ticket = |job: &str, epoch| PutTicket {
        job: job.to_string(),
        epoch,
        log_index: epoch,
    };
    let put = |node, ticket: PutTicket, number, bytes: Bytes| {
        let data = data.clone();
        async move {
            data.homes
                .put_chunk(node, &ticket, number, &hex(&bytes), bytes)
                .await
        }
    };
    let last = chunk(&source, 1);
    put(1, ticket(&job, epoch), 1, last.clone()).await.unwrap();
    assert_eq!(
        kind(put(1, ticket(&job, old), 1, last.clone()).await),
        "old-epoch"
    );
    assert_eq!(
        kind(put(3, ticket(&job, epoch), 1, last.clone()).await),
        "not-home"
    );
    assert_eq!(
        kind(put(1, ticket("jother", epoch), 1, last.clone()).await),
        "not-found"
    );
    assert_eq!(
        kind(put(1, ticket("../x", epoch), 1, last.clone()).await),
        "not-found"
    );
    assert_eq!(
        kind(put(1, ticket(&job, epoch + 99), 1, last.clone()).await),
        "behind"
    );
    assert_eq!(
        kind(put(1, ticket(&job, epoch), 0, last.clone()).await),
        "bad-chunk"
    );
    assert_eq!(
        kind(put(1, ticket(&job, epoch), 2, last.clone()).await),
        "bad-chunk"
    );
    let other = Bytes::from_static(b"0123456789");
    assert_eq!(
        kind(put(1, ticket(&job, epoch), 1, other.clone()).await),
        "source-changed"
    );
    let lied = data
        .homes
        .put_chunk(1, &ticket(&job, epoch), 1, &hex(b"x"), last.clone())
        .await;
    assert_eq!(kind(lied), "hash-mismatch");
    let lied = data
        .homes
        .put(
            1,
            &ticket(&job, epoch),
            &hex(b"x"),
            10,
            Payload::Bytes(other.clone()),
        )
        .await;
    assert_eq!(kind(lied), "hash-mismatch");
    let named = data
        .homes
        .put(
            1,
            &ticket(&job, epoch),
            "../../x",
            10,
            Payload::Bytes(other),
        )
        .await;
    assert_eq!(kind(named), "bad-name");
    nodes.shared.apply(vec![Command::CancelJob(CancelJob {
        job: job.clone(),
        unix_ms: 0,
    })]);
    assert_eq!(
        kind(put(1, ticket(&job, epoch), 1, last).await),
        "job-ended"
    );
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
