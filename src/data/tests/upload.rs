//! Uploads: what is acknowledged is on all homes, whatever fails meanwhile.

use reelraft_model::{
    JobState, RegisterNode, Tick,
    limits::{FEATURE_LEVEL, UPLOAD_TOUCH_MS},
};

use super::*;
use crate::data::manifest::Manifest;

#[tokio::test]
async fn a_source_is_sealed_when_all_homes_have_all_of_it() {
    for size in [1, CHUNK_BYTES, 40 * CHUNK_BYTES / 2 + 123] {
        let nodes = ThreeNodes::start().await;
        let source = content(size);
        let job = nodes.job(size as u64, &[1, 2]);
        // Through a node that is no home.
        let root = nodes.upload(3, &job, &source).await.unwrap();
        let entry = nodes.entry(&job);
        assert_eq!(entry.job.state(), JobState::Analyzing);
        assert_eq!(entry.job.source_root, root);
        for node in [1, 2] {
            let store = nodes.data(node).store().clone();
            let bytes = store
                .read_range(&job, &entry.job.manifest, 0, CHUNK_BYTES)
                .unwrap();
            let manifest = Manifest::decode("x", &bytes).unwrap();
            assert_eq!(manifest.root(), root);
            assert_eq!(manifest.source_bytes(), size as u64);
            for hash in manifest.chunks() {
                store.verify(&job, &hash).unwrap();
            }
        }
        assert!(nodes.data(3).jobs_held().await.unwrap().is_empty());
        // Again: sealed already, with the same root, and nothing is asked for.
        assert_eq!(nodes.upload(1, &job, &[]).await.unwrap(), root);
    }
}

#[tokio::test]
async fn a_chunk_is_acknowledged_only_when_all_homes_have_it() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(4 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let mut client = Client::open(nodes.data(1), &job);
    assert!(client.plan().await.is_empty());
    assert_eq!(client.asked().await, [0, 1, 2, 3]);
    client.send_chunk(0, &source).await;
    assert!(matches!(
        client.next().await.unwrap(),
        UploadReply::Acked { number: 0, .. }
    ));
    let turn = async {
        while client.turn.since().is_none() {
            tokio::task::yield_now().await
        }
    };
    let turn = tokio::time::timeout(Duration::from_secs(20), turn).await;
    turn.expect("it is the client's turn");
    nodes.stop_node(2).await;
    client.send_chunk(1, &source).await;
    let silence = tokio::time::timeout(Duration::from_millis(600), client.down.next()).await;
    assert!(
        silence.is_err(),
        "one home alone is no reason to acknowledge: {silence:?}"
    );
    let since = client.turn.since();
    assert!(since.is_none(), "the client is waited for, not the home");
    assert_eq!(nodes.chunks_on(1, &job), 2, "though that one has it");

    // The leader replaces the lost home: what was acknowledged is brought
    // there before anything new is.
    nodes.set_homes(&job, &[1, 3]);
    let acked = client.next().await.unwrap();
    assert!(matches!(acked, UploadReply::Acked { number: 1, .. }));
    assert_eq!(nodes.chunks_on(3, &job), 2);
    for number in [2, 3] {
        client.send_chunk(number, &source).await;
    }
    let root = loop {
        if let UploadReply::Sealed { root } = client.next().await.unwrap() {
            break root;
        }
    };
    assert_eq!(nodes.entry(&job).job.source_root, root);
    assert_eq!(nodes.chunks_on(3, &job), 4);
}

#[tokio::test]
async fn an_upload_is_resumed_through_another_node() {
    let nodes = ThreeNodes::start().await;
    let source = content(6 * CHUNK_BYTES + 7);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let mut client = Client::open(nodes.data(1), &job);
    client.plan().await;
    client.asked().await;
    for number in [0, 3] {
        client.send_chunk(number, &source).await;
        let acked = loop {
            match client.next().await.unwrap() {
                UploadReply::Acked { number, .. } => break number,
                UploadReply::Ask { .. } => {}
                other => panic!("it should acknowledge, not {other:?}"),
            }
        };
        assert_eq!(acked, number);
    }
    drop(client);
    let mut client = Client::open(nodes.data(3), &job);
    let have = client.plan().await;
    let have: Vec<(u64, String)> = have
        .into_iter()
        .map(|chunk| (chunk.number, chunk.hash))
        .collect();
    assert_eq!(
        have,
        [0, 3].map(|number| (number, hex(&chunk(&source, number))))
    );
    assert_eq!(client.asked().await, [1, 2, 4, 5]);
    drop(client);
    nodes.upload(2, &job, &source).await.unwrap();
}

#[tokio::test]
async fn a_restarted_home_still_has_what_was_acknowledged() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(3 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let mut client = Client::open(nodes.data(1), &job);
    client.plan().await;
    client.asked().await;
    client.send_chunk(1, &source).await;
    client.next().await.unwrap();
    drop(client);
    nodes.stop_node(2).await;
    nodes.start_node(2).await;
    let mut client = Client::open(nodes.data(2), &job);
    assert_eq!(client.plan().await.len(), 1);
    assert_eq!(client.asked().await, [0, 2]);
}

#[tokio::test]
async fn a_job_without_homes_is_waited_for() {
    let nodes = ThreeNodes::start().await;
    let source = content(10);
    let job = nodes.job(10, &[]);
    let mut client = Client::open(nodes.data(1), &job);
    let silence = tokio::time::timeout(Duration::from_millis(600), client.down.next()).await;
    assert!(
        silence.is_err(),
        "nothing can be asked for yet: {silence:?}"
    );
    nodes.set_homes(&job, &[2, 3]);
    client.plan().await;
    assert_eq!(client.asked().await, [0]);
    client.send_chunk(0, &source).await;
    while !matches!(client.next().await.unwrap(), UploadReply::Sealed { .. }) {}
    for node in [2, 3] {
        assert_eq!(nodes.chunks_on(node, &job), 1);
    }
}

#[tokio::test]
async fn two_clients_may_send_the_same_source_at_once() {
    let nodes = ThreeNodes::start().await;
    let source = content(20 * CHUNK_BYTES + 1);
    let job = nodes.job(source.len() as u64, &[1, 2, 3]);
    let (one, other) = futures::join!(
        nodes.upload(1, &job, &source),
        nodes.upload(2, &job, &source)
    );
    assert_eq!(one.unwrap(), other.unwrap());
}

#[tokio::test]
async fn what_a_client_must_not_do_is_refused_by_name() {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    for (number, data, expected) in [
        (0, Bytes::from_static(b"short"), "bad-chunk"),
        (2, Bytes::from_static(b""), "bad-chunk"),
        (u64::MAX, chunk(&source, 0), "bad-chunk"),
    ] {
        let mut client = Client::open(nodes.data(1), &job);
        client.plan().await;
        client.asked().await;
        client.send(number, data).await;
        assert_eq!(client.next().await.unwrap_err().kind(), expected);
    }
    let mut client = Client::open(nodes.data(1), &job);
    client.plan().await;
    client.asked().await;
    let gone = reelraft_model::Problem {
        kind: "source-shrunk".into(),
        cause: "it shrank".into(),
        hint: "wait".into(),
    };
    client.up.send(Ok(UploadRequest::Gone(gone))).await.unwrap();
    assert_eq!(client.next().await.unwrap_err().kind(), "source-shrunk");
    for (job, expected) in [("jnone", "not-found"), ("../x", "bad-name")] {
        let refused = nodes.upload(1, job, &source).await.unwrap_err();
        assert_eq!(refused.kind(), expected);
    }
}

#[tokio::test]
async fn a_source_that_changed_is_refused() {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    // Another client's chunk reached one home, and was never acknowledged.
    let ticket = crate::data::PutTicket {
        job: job.clone(),
        epoch: nodes.entry(&job).job.epoch,
        log_index: 0,
    };
    let other = Bytes::from(vec![9; CHUNK_BYTES]);
    let mut client = Client::open(nodes.data(1), &job);
    client.plan().await;
    client.asked().await;
    nodes
        .data(1)
        .homes
        .put_chunk(2, &ticket, 0, &hex(&other), other)
        .await
        .unwrap();
    client.send_chunk(0, &source).await;
    assert_eq!(client.next().await.unwrap_err().kind(), "source-changed");
}

/// The stamp by which an abandoned upload is told from one that goes on.
#[tokio::test]
async fn an_upload_that_goes_on_says_so_now_and_then() {
    let nodes = ThreeNodes::start().await;
    nodes.shared.apply(vec![Command::RegisterNode(RegisterNode {
        node: 1,
        feature_level: FEATURE_LEVEL,
        ..Default::default()
    })]);
    let source = content(3 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let mut client = Client::open(nodes.data(1), &job);
    assert!(client.plan().await.is_empty());
    client.asked().await;
    let before = nodes.applied();
    client.send_chunk(0, &source).await;
    client.next().await.unwrap();
    assert_eq!(nodes.applied(), before, "nothing is written for each chunk");
    let cluster_ms = UPLOAD_TOUCH_MS + 7;
    let tick = Command::Tick(Tick { cluster_ms });
    nodes.shared.apply(vec![tick]);
    client.send_chunk(1, &source).await;
    client.next().await.unwrap();
    let touched = || nodes.entry(&job).job.touched_cluster_ms;
    for _ in 0..200 {
        if touched() == cluster_ms {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it was touched at {}", touched());
}
