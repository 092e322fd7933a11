//! A source that is read while it is uploaded.

use reelraft_model::JobState;

use super::*;
use crate::data::{Source, limits::SOURCE_PATIENCE};

/// Sends what is asked for until `done`; gives the numbers in their order.
async fn send_until(client: &mut Client, source: &[u8], done: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let mut sent = Vec::new();
    while !done(&sent) {
        match client.next().await.unwrap() {
            UploadReply::Ask { numbers } => {
                for number in numbers {
                    client.send_chunk(number, source).await;
                    sent.push(number);
                }
            }
            UploadReply::Sealed { .. } => break,
            _ => {}
        }
    }
    sent
}

#[tokio::test]
async fn what_a_reader_waits_for_is_asked_of_the_client_next() {
    let nodes = ThreeNodes::start().await;
    let source = content(60 * CHUNK_BYTES + 5);
    let job = nodes.job(source.len() as u64, &[1, 2]);
    // Through a node that is no home, and so is the client's.
    let reader = Source::growing(nodes.data(3), &nodes.entry(&job), SOURCE_PATIENCE);
    let tail = reader.clone();
    let at = 60 * CHUNK_BYTES as u64;
    let tail = tokio::spawn(async move { tail.read(at).await });
    let awaited = async {
        while nodes.data(1).local_store().awaited(&job) != [60] {
            tokio::task::yield_now().await;
        }
    };
    let awaited = tokio::time::timeout(Duration::from_secs(20), awaited).await;
    awaited.expect("the home knows who waits");
    let mut client = Client::open(nodes.data(3), &job);
    let first = send_until(&mut client, &source, |sent| sent.contains(&60)).await;
    assert!(first.len() < 30, "it was asked for only after {first:?}");
    assert_eq!(tail.await.unwrap().unwrap(), source[60 * CHUNK_BYTES..]);
    assert_eq!(nodes.entry(&job).job.state(), JobState::Uploading);
    assert_eq!(reader.read_unsealed().unwrap().runs, [60, 1]);
    send_until(&mut client, &source, |_| false).await;
    let sealed = nodes.entry(&job);
    assert!(reader.is_confirmed_by(&sealed).await.unwrap());
    assert_eq!(reader.read(0).await.unwrap(), source[..CHUNK_BYTES]);
}

#[tokio::test]
async fn a_client_that_sends_other_bytes_after_a_loss_is_found_out() {
    let nodes = ThreeNodes::start().await;
    let source = content(3 * CHUNK_BYTES);
    let job = nodes.job(source.len() as u64, &[1]);
    let mut client = Client::open(nodes.data(1), &job);
    assert_eq!(client.plan().await.len(), 0);
    assert_eq!(client.asked().await, [0, 1, 2]);
    client.send_chunk(0, &source).await;
    let reader = Source::growing(nodes.data(2), &nodes.entry(&job), SOURCE_PATIENCE);
    assert_eq!(reader.read(0).await.unwrap(), source[..CHUNK_BYTES]);
    drop(client);
    // All that was acknowledged is gone with its only home.
    nodes.move_homes(&job, &[3], &[]);
    let mut other = source.clone();
    other[7] ^= 1;
    nodes.upload(3, &job, &other).await.unwrap();
    let sealed = nodes.entry(&job);
    assert!(!reader.is_confirmed_by(&sealed).await.unwrap());
    let fresh = nodes.data(2).source(&sealed).await.unwrap();
    assert!(fresh.read_unsealed().is_none());
    assert_eq!(fresh.read(0).await.unwrap(), other[..CHUNK_BYTES]);
}

#[tokio::test]
async fn a_reader_waits_no_longer_for_a_chunk_than_it_says() {
    let nodes = ThreeNodes::start().await;
    let job = nodes.job(3 * CHUNK_BYTES as u64, &[1]);
    let reader = Source::growing(nodes.data(2), &nodes.entry(&job), Duration::from_millis(10));
    let read = tokio::time::timeout(SOURCE_PATIENCE / 2, reader.read(0)).await;
    assert!(read.expect("it gives up").is_err());
}
