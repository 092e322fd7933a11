//! A disk that hangs under a node of a cluster in one process.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use reelraft_consensus::{Cluster, ConsensusError, Operation};

use crate::nodes::{Nodes, tick};

const SOON: Duration = Duration::from_secs(30);

/// Hangs a node's table until the answer is dropped.
fn hang(cluster: &Cluster) -> Sender<()> {
    let (thaw, frozen) = channel::<()>();
    let (begun, hangs) = channel();
    let cluster = cluster.clone();
    std::thread::spawn(move || {
        cluster.hold_table(|| {
            begun.send(()).unwrap();
            let _ = frozen.recv();
        });
    });
    hangs.recv().unwrap();
    thaw
}

/// P4: openraft alone would leave a leader in place whose table hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_table_hangs_is_fenced_and_replaced() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    let found = Arc::new(Mutex::new(Vec::new()));
    nodes.on_hang(|node| {
        let found = found.clone();
        Box::new(move |hang| found.lock().unwrap().push((node, hang.clone())))
    });
    nodes.start_all().await;
    let hung = nodes.leader().await;
    let other = nodes.get(1 + hung % 3).clone();
    other.propose(vec![tick(1)]).await.unwrap();

    let _thaw = hang(nodes.get(hung));
    // The first is applied in memory and answered, the next ones wait for it.
    let mut now = 2;
    nodes
        .until_async(SOON, "another node leads", async || {
            now += 1;
            let _ = other.propose(vec![tick(now)]).await;
            other
                .leadership()
                .borrow()
                .leader
                .is_some_and(|id| id != hung)
        })
        .await;
    other.propose(vec![tick(1_000)]).await.unwrap();
    assert_eq!(other.read().await.unwrap().cluster_ms(), 1_000);

    let hung = nodes.get(hung);
    let error = hung.propose_local(vec![tick(2_000)]).await.unwrap_err();
    assert!(matches!(error, ConsensusError::NotLeader { .. }), "{error}");
    let error = hung.read().await.unwrap_err();
    assert!(matches!(error, ConsensusError::Stopped { .. }), "{error}");
    let cause = hung.fatal().borrow().clone().unwrap();
    assert!(cause.starts_with("the disk hangs: "), "{cause}");
    let found = found.lock().unwrap();
    let [(node, hang)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*node, hung.identity().node);
    assert_eq!(hang.operation, Operation::TableWrite);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_stall_ends_nobody() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let leader = nodes.leader().await;
    for round in 1..=3 {
        let thaw = hang(nodes.get(leader));
        let cluster = nodes.get(leader).clone();
        let writing = tokio::spawn(async move { cluster.propose(vec![tick(2 * round)]).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(thaw);
        writing.await.unwrap().unwrap();
        let after = nodes.get(leader).propose(vec![tick(2 * round + 1)]);
        after.await.unwrap();
    }
    assert_eq!(nodes.get(leader).fatal().borrow().clone(), None);
    nodes.agree().await;
}
