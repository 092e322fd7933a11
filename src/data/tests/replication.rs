//! Results on the homes: where they go, where they are read, how they mend.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use futures::TryStreamExt;
use reelraft_model::{State, home_rules::keeps_bytes_of};
use reelraft_storage::blobs::Removal;

use super::*;
use crate::data::{
    Payload,
    limits::{SILENCE_MAX, SILENCE_MIN},
    output::read_output,
};

/// A job whose source is sealed on nodes 1 and 2.
async fn sealed(nodes: &ThreeNodes, source: &[u8]) -> (String, Arc<JobEntry>) {
    let job = nodes.job(source.len() as u64, &[1, 2]);
    nodes.upload(1, &job, source).await.unwrap();
    let entry = nodes.entry(&job);
    (job, entry)
}

fn damage(nodes: &ThreeNodes, node: u64, job: &str, hash: &str) {
    let path = nodes.blob_file(node, job, hash);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn a_result_goes_to_every_reachable_home() {
    let mut nodes = ThreeNodes::start().await;
    let (job, entry) = sealed(&nodes, b"source").await;
    let bytes = content(3 * CHUNK_BYTES + 9);
    let hash = nodes.data(3).put_bytes(&job, bytes.clone()).await.unwrap();
    for node in [1, 2] {
        nodes.data(node).store().verify(&job, &hash).unwrap();
    }
    assert!(!nodes.data(3).store().has(&job, &hash).unwrap());
    nodes.stop_node(2).await;
    let payload = Payload::Bytes(Bytes::from_static(b"late"));
    let outcome = nodes
        .data(1)
        .put_to_homes(&job, &hex(b"late"), 4, payload)
        .await
        .unwrap();
    assert!(outcome.stored.contains(&1));
    assert!(matches!(
        outcome.missed[&2],
        DataError::Unreachable { node: 2, .. }
    ));
    // It is read by the node that missed it, and is there from then on.
    let read = nodes
        .data(2)
        .read_whole(&entry, &hex(b"late"))
        .await
        .unwrap();
    assert_eq!(read, b"late");
    assert!(nodes.data(2).store().has(&job, &hex(b"late")).unwrap());
}

#[tokio::test]
async fn a_home_that_hangs_is_waited_for_once() {
    let nodes = ThreeNodes::start().await;
    let (job, _) = sealed(&nodes, b"source").await;
    let put = async || {
        let begun = Instant::now();
        let payload = Payload::Bytes(Bytes::from_static(b"late"));
        let data = nodes.data(1);
        let outcome = data.put_to_homes(&job, &hex(b"late"), 4, payload).await;
        (outcome.unwrap(), begun.elapsed())
    };
    // Its kernel takes connections, and nobody ever answers them.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hanging.local_addr().unwrap().to_string();
    let well = nodes.move_node(2, address);
    let (outcome, waited) = put().await;
    assert!(outcome.missed.contains_key(&2));
    assert!(waited >= SILENCE_MIN, "{waited:?}");
    // Longer than it took to find out: the question goes on behind this.
    let since = Instant::now();
    while since.elapsed() < 2 * waited {
        let (outcome, waited) = put().await;
        assert!(outcome.missed.contains_key(&2));
        assert!(waited < SILENCE_MIN, "{waited:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(hanging);
    nodes.move_node(2, well);
    let since = Instant::now();
    while !put().await.0.missed.is_empty() {
        assert!(since.elapsed() < SILENCE_MAX / 2, "it is never asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_result_follows_its_job_to_new_homes() {
    let mut nodes = ThreeNodes::start().await;
    let (job, _) = sealed(&nodes, b"source").await;
    nodes.stop_node(1).await;
    nodes.stop_node(2).await;
    let put = nodes.data(3);
    let (stored, ()) = futures::join!(put.put_bytes(&job, b"result".to_vec()), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nodes.set_homes(&job, &[1, 3]);
    });
    let hash = stored.unwrap();
    assert!(nodes.data(3).store().has(&job, &hash).unwrap());
}

#[tokio::test]
async fn a_file_goes_to_the_homes_and_stays() {
    let nodes = ThreeNodes::start().await;
    let (job, entry) = sealed(&nodes, b"source").await;
    let bytes = content(2 * CHUNK_BYTES + 9);
    let path = nodes.folder.path().join("encoded");
    std::fs::write(&path, &bytes).unwrap();
    for node in [1, 3] {
        let (hash, size) = (hex(&bytes), bytes.len() as u64);
        let file = Payload::File(path.clone());
        let data = nodes.data(node);
        data.put_to_homes(&job, &hash, size, file).await.unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    for node in [1, 2, 3] {
        let local = nodes
            .data(node)
            .local_path(&entry, &hex(&bytes))
            .await
            .unwrap();
        assert_eq!(std::fs::read(local).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_damaged_blob_is_never_served_and_is_mended() {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES);
    let (job, entry) = sealed(&nodes, &source).await;
    let large = content(2 * CHUNK_BYTES + 77);
    let hash = nodes.data(1).put_bytes(&job, large.clone()).await.unwrap();
    let part = hex(&chunk(&source, 1));
    for node in [1, 2] {
        damage(&nodes, node, &job, &hash);
        damage(&nodes, node, &job, &part);
        let data = nodes.data(node);
        let tail = data
            .read_range(&entry, &hash, large.len() as u64 - 5, 5)
            .await
            .unwrap();
        assert_eq!(tail, large[large.len() - 5..]);
        assert_eq!(
            data.read_range(&entry, &part, 0, 0).await.unwrap(),
            chunk(&source, 1)
        );
        data.store().verify(&job, &part).unwrap();
        let path = data.local_path(&entry, &hash).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), large);
    }
    for node in [1, 2] {
        std::fs::remove_file(nodes.blob_file(node, &job, &hash)).unwrap();
    }
    assert!(
        nodes
            .data(3)
            .read_range(&entry, &hash, 0, 1)
            .await
            .unwrap_err()
            .is_lost()
    );
    assert!(
        nodes
            .data(1)
            .local_path(&entry, &hash)
            .await
            .unwrap_err()
            .is_lost()
    );
}

#[tokio::test]
async fn a_new_home_is_filled_with_all_that_the_job_has() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(5 * CHUNK_BYTES + 1);
    let (job, _) = sealed(&nodes, &source).await;
    nodes.stop_node(2).await;
    nodes.set_homes(&job, &[1, 3]);
    let entry = nodes.entry(&job);
    let data = nodes.data(3);
    assert_eq!(
        data.lacking(&entry, false).await.unwrap(),
        vec![entry.job.manifest.clone()]
    );
    data.fill(&entry, false).await.unwrap();
    assert!(data.lacking(&entry, false).await.unwrap().is_empty());
    nodes.stop_node(1).await;
    let served = data.source(&entry).await.unwrap();
    let mut read = Vec::new();
    while read.len() < source.len() {
        read.extend_from_slice(&served.read(read.len() as u64).await.unwrap());
    }
    assert_eq!(read, source);
}

#[tokio::test]
async fn a_new_home_of_an_unsealed_source_gets_what_was_acknowledged() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(4 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let mut client = Client::open(nodes.data(1), &job);
    client.plan().await;
    client.asked().await;
    for number in [0, 2] {
        client.send_chunk(number, &source).await;
        client.next().await.unwrap();
    }
    drop(client);
    nodes.stop_node(2).await;
    nodes.set_homes(&job, &[1, 3]);
    nodes.data(3).fill(&nodes.entry(&job), false).await.unwrap();
    assert_eq!(nodes.chunks_on(3, &job), 2);
    nodes.stop_node(1).await;
    let refused = nodes
        .data(2)
        .fill(&nodes.entry(&job), false)
        .await
        .unwrap_err();
    assert!(refused.is_passing(), "{refused}");
}

/// Two homes are restarted one after the other: what took the place of the
/// first is filled from it, while the second is away.
#[tokio::test]
async fn a_home_that_retires_is_read_from_and_takes_nothing_new() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(3 * CHUNK_BYTES);
    let (job, _) = sealed(&nodes, &source).await;
    nodes.set_homes(&job, &[2, 3]);
    nodes.stop_node(2).await;
    let entry = nodes.entry(&job);
    let data = nodes.data(3);
    let manifest = data.read_whole(&entry, &entry.job.manifest).await;
    assert!(!manifest.unwrap().is_empty());
    data.fill(&entry, false).await.unwrap();
    assert!(data.lacking(&entry, false).await.unwrap().is_empty());
    let hash = data.put_bytes(&job, b"result".to_vec()).await.unwrap();
    assert!(!nodes.data(1).store().has(&job, &hash).unwrap());
}

/// A part that only a lost home may have is made again; what can't be made
/// again is waited for.
#[tokio::test]
async fn what_only_lost_homes_have_is_told_from_what_is_out_of_reach() {
    let mut nodes = ThreeNodes::start().await;
    let (job, _) = sealed(&nodes, b"source").await;
    nodes.stop_node(2).await;
    let asked = hex(b"on node 2 at most");
    let silent = nodes
        .data(1)
        .copy_here(&nodes.entry(&job), &asked, false)
        .await;
    assert!(!silent.unwrap_err().is_worth_remaking());
    nodes.set_homes(&job, &[1, 3]);
    let retired = nodes
        .data(1)
        .copy_here(&nodes.entry(&job), &asked, false)
        .await;
    let retired = retired.unwrap_err();
    assert!(
        retired.is_worth_remaking() && !retired.is_lost(),
        "{retired}"
    );
}

/// The homes of an upload moved twice, and the one that saw all of it is gone:
/// what was acknowledged is on the others together.
#[tokio::test]
async fn an_upload_goes_on_from_homes_that_know_a_part_each() {
    let mut nodes = ThreeNodes::start().await;
    let source = content(4 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    let send = async |nodes: &ThreeNodes, number: u64| {
        let mut client = Client::open(nodes.data(2), &job);
        let have = client.plan().await;
        client.asked().await;
        client.send_chunk(number, &source).await;
        client.next().await.unwrap();
        have.len()
    };
    send(&nodes, 0).await;
    nodes.move_homes(&job, &[2, 3], &[1]);
    assert_eq!(send(&nodes, 1).await, 1);
    nodes.move_homes(&job, &[2, 1], &[3]);
    nodes.stop_node(2).await;
    nodes.move_homes(&job, &[1, 3], &[2]);
    assert_eq!(nodes.chunks_on(1, &job), 1);
    // Not all can be asked, so none says that it is filled; all is here.
    let partly = nodes.data(1).fill(&nodes.entry(&job), false).await;
    assert!(partly.unwrap_err().is_passing());
    assert_eq!(nodes.chunks_on(1, &job), 2);
    let mut client = Client::open(nodes.data(1), &job);
    assert_eq!(client.plan().await.len(), 2);
    drop(client);
    nodes.upload(3, &job, &source).await.unwrap();
    assert_eq!(nodes.chunks_on(3, &job), 4);
}

#[tokio::test]
async fn an_output_is_fetched_from_any_offset_through_any_node() {
    let nodes = ThreeNodes::start().await;
    let (job, entry) = sealed(&nodes, b"source").await;
    let output = content(3 * CHUNK_BYTES + 5);
    let hash = nodes.data(1).put_bytes(&job, output.clone()).await.unwrap();
    let mut finished = JobEntry::clone(&entry);
    finished.job.output_hash = hash.clone();
    finished.job.output_bytes = output.len() as u64;
    let finished = Arc::new(finished);
    for node in [1, 3] {
        for offset in [0, 1, CHUNK_BYTES, output.len() - 1, output.len()] {
            let stream = read_output(nodes.data(node), finished.clone(), offset as u64);
            let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
            assert_eq!(parts.concat(), output[offset..], "{node} {offset}");
        }
    }
}

/// A source chunk that nobody reads, and so would stay damaged.
#[tokio::test]
async fn a_scrub_finds_rot_and_only_that() {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES + 5);
    let (job, entry) = sealed(&nodes, &source).await;
    let chunk = hex(&source[CHUNK_BYTES..2 * CHUNK_BYTES]);
    let round = Duration::from_secs(1);
    let (stopper, stop) = watch::channel(false);
    let calm = nodes
        .data(1)
        .scrub(round, false, stop.clone())
        .await
        .unwrap();
    // Three chunks and the manifest.
    assert_eq!((calm.blobs, calm.damaged, calm.unread), (4, 0, 0));

    damage(&nodes, 1, &job, &chunk);
    let found = nodes
        .data(1)
        .scrub(round, false, stop.clone())
        .await
        .unwrap();
    assert_eq!((found.blobs, found.damaged), (4, 1));
    let told = nodes.data(1).upkeep_now().scrub;
    assert_eq!((told.running, told.last), (false, found));
    assert!(!nodes.data(1).store().has(&job, &chunk).unwrap());
    nodes.data(1).fill(&entry, false).await.unwrap();
    nodes.data(1).store().verify(&job, &chunk).unwrap();
    assert_eq!(
        nodes
            .data(1)
            .scrub(round, false, stop.clone())
            .await
            .unwrap(),
        calm
    );

    stopper.send_replace(true);
    let stopped = nodes.data(1).scrub(round, true, stop).await.unwrap();
    assert_eq!(stopped.blobs, 0);
}

#[tokio::test]
async fn a_node_that_is_a_home_again_in_the_last_moment_keeps_its_bytes() {
    let nodes = ThreeNodes::start().await;
    let (job, entry) = sealed(&nodes, b"source").await;
    let data = nodes.data(2);
    nodes.set_homes(&job, &[1]);
    let seen = data.table.local();
    assert!(!keeps_bytes_of(&seen, &job, 2), "so the sweep begins");
    nodes.set_homes(&job, &[1, 2]);
    let id = job.clone();
    let unwanted = move |state: &State| !keeps_bytes_of(state, &id, 2);
    let removed = data.remove_job_if(&job, unwanted.clone()).await.unwrap();
    assert_eq!(removed, Removal::Wanted);
    data.store().verify(&job, &entry.job.manifest).unwrap();
    assert_eq!(nodes.chunks_on(2, &job), 1);
    nodes.set_homes(&job, &[1]);
    let removed = data.remove_job_if(&job, unwanted).await.unwrap();
    assert_eq!(removed, Removal::Removed);
    assert!(data.store().list(&job).unwrap().is_empty());
    assert_eq!(nodes.chunks_on(2, &job), 0);
}

/// A fill works from a row that may be old: the homes have removed meanwhile
/// what the job does not need any more.
#[tokio::test]
async fn what_no_home_has_is_lost_only_if_the_job_still_needs_it() {
    let nodes = ThreeNodes::start().await;
    let source = b"source";
    let (job, _) = sealed(&nodes, source).await;
    nodes.set_homes(&job, &[1, 2, 3]);
    let entry = nodes.entry(&job);
    for node in [1, 2] {
        let store = nodes.data(node).store().clone();
        store.remove(&job, &hex(source)).unwrap();
    }
    let filled = nodes.data(3).fill(&entry, false).await;
    assert_eq!(filled.unwrap_err().kind(), "lost-bytes");
    let cancel = reelraft_model::CancelJob {
        job: job.clone(),
        unix_ms: 0,
    };
    nodes.shared.apply(vec![Command::CancelJob(cancel)]);
    let filled = nodes.data(3).fill(&entry, false).await;
    assert_eq!(filled.unwrap_err().kind(), "unavailable-bytes");
}

#[tokio::test]
async fn of_a_former_plan_only_the_source_and_what_is_named_is_needed() {
    let nodes = ThreeNodes::start().await;
    let source = content(2 * CHUNK_BYTES + 9);
    let (job, entry) = sealed(&nodes, &source).await;
    let data = nodes.data(1);
    assert!(data.unneeded(&entry).await.unwrap().is_empty());
    let put = || data.put_bytes(&job, b"a part".to_vec());
    let part = put().await.unwrap();
    let seen = data.unneeded(&entry).await.unwrap();
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&part]);
    // The new plan makes the very same part.
    put().await.unwrap();
    let removed = data.remove_unneeded(&job, seen, |_| true).await;
    assert_eq!(removed.unwrap(), Removal::Removed);
    assert!(data.store().has(&job, &part).unwrap());
    let mut seen = data.unneeded(&entry).await.unwrap();
    let all = data.store().last_puts(&job).unwrap();
    seen.extend(
        all.into_iter()
            .filter(|(hash, _)| *hash == entry.job.manifest),
    );
    let removed = data.remove_unneeded(&job, seen.clone(), |_| false).await;
    assert_eq!(removed.unwrap(), Removal::Wanted);
    assert!(data.store().has(&job, &part).unwrap());
    data.remove_unneeded(&job, seen, |_| true).await.unwrap();
    assert!(!data.store().has(&job, &part).unwrap());
    // The source is whole, with its manifest.
    let lacking = data.lacking(&entry, false).await.unwrap();
    assert_eq!(lacking, Vec::<String>::new());
}

#[tokio::test]
async fn a_finished_job_is_pruned_by_the_table_of_the_moment() {
    let nodes = ThreeNodes::start().await;
    let (job, entry) = sealed(&nodes, b"source").await;
    let data = nodes.data(1);
    let before = data.store().last_puts(&job).unwrap();
    let before: BTreeSet<String> = before.into_keys().collect();
    let part = data.put_bytes(&job, b"what was found".to_vec()).await;
    let part = part.unwrap();
    // When the sweep has looked, the table names it.
    let (looks, kept, named) = (AtomicU32::new(0), before.clone(), part.clone());
    let named_since = move |_: &State| {
        let seen = looks.fetch_add(1, Ordering::Relaxed) > 0;
        let named = seen.then(|| named.clone());
        Some(kept.iter().cloned().chain(named).collect())
    };
    data.prune(&entry, named_since).await.unwrap();
    assert!(data.store().has(&job, &part).unwrap());
    // It is compared by then, so that more may come.
    assert_eq!(data.prune(&entry, |_| None).await.unwrap(), None);
    assert!(data.store().has(&job, &part).unwrap());
    let kept = before.clone();
    let pruned = data.prune(&entry, move |_| Some(kept.clone())).await;
    assert_eq!(pruned.unwrap(), Some(1));
    let left = data.store().last_puts(&job).unwrap();
    assert_eq!(left.into_keys().collect::<BTreeSet<_>>(), before);
}
