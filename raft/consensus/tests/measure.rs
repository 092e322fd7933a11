//! How fast three nodes on one machine are. Not run by default: the numbers
//! are for people.
#![allow(clippy::unwrap_used)]

mod nodes;

use std::time::{Duration, Instant};

use nodes::{Nodes, tick};

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn writes_and_reads() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let leader = nodes.get(nodes.leader().await).clone();
    let started = Instant::now();
    for n in 1..=1_000 {
        leader.propose(vec![tick(n)]).await.unwrap();
    }
    println!("1,000 writes one by one: {:?}", started.elapsed());
    let started = Instant::now();
    let writers = (0..64).map(|_| {
        let leader = leader.clone();
        tokio::spawn(async move {
            for n in 1..=100 {
                leader.propose(vec![tick(n)]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    println!("6,400 writes, 64 at once: {:?}", started.elapsed());
    let started = Instant::now();
    for _ in 0..1_000 {
        leader.read().await.unwrap();
    }
    println!("1,000 reads one by one: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn take_overs() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let mut times = Vec::new();
    for round in 1..=40 {
        let leader = nodes.leader().await;
        let other = 1 + leader % 3;
        nodes.get(other).propose(vec![tick(round)]).await.unwrap();
        nodes.kill(leader);
        let started = Instant::now();
        nodes.get(other).propose(vec![tick(round)]).await.unwrap();
        times.push(started.elapsed());
        nodes.start(leader).await.unwrap();
        nodes.get(leader).read().await.unwrap();
    }
    let (median, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    println!("first write after a leader's death: p50 {median:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn steadiness() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let mut leadership = nodes.get(1).leadership();
    let started = Instant::now();
    let mut changes = 0;
    let mut last = leadership.borrow_and_update().clone();
    while started.elapsed() < Duration::from_secs(20) {
        if tokio::time::timeout(Duration::from_secs(1), leadership.changed())
            .await
            .is_ok()
        {
            let now = leadership.borrow_and_update().clone();
            changes += u32::from(now.term != last.term);
            last = now;
        }
    }
    println!("terms begun in 20 s, whatever else the machine does: {changes}");
}
