//! A cluster that goes on with one node after most were lost, and a lost one that comes
//! back all the same.

use std::time::Duration;

use reelraft_consensus::recover;

use crate::nodes::{Nodes, tick};

/// A busy machine's leader makes a member of it in some seconds.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_knew_more_than_the_recovered_one_says_so() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes
        .until(SOON, "all disks are registered", || {
            nodes.get(1).local().nodes().count() == 3
        })
        .await;
    nodes.get(1).propose(vec![tick(1)]).await.unwrap();
    nodes.agree().await;
    let leader = nodes.leader().await;
    let (lost, left) = (1 + leader % 3, 1 + (leader + 1) % 3);
    nodes.kill(left);
    for cluster_ms in 2..20 {
        let written = nodes.get(leader).propose(vec![tick(cluster_ms)]).await;
        written.unwrap();
    }
    nodes
        .until(SOON, "the lost one has it", || {
            nodes.get(lost).local().cluster_ms() == 19
        })
        .await;
    nodes.kill(leader);
    nodes.kill(lost);
    nodes
        .until(SOON, "its disk is free", || {
            recover(&nodes.data(left)).is_ok()
        })
        .await;
    nodes.start_without_bootstrap(left).await.unwrap();
    assert_eq!(nodes.leader().await, left);
    let known = nodes.get(left).read().await.unwrap().cluster_ms();
    assert!(known < 19, "{known}");
    nodes.get(left).propose(vec![tick(100)]).await.unwrap();

    for _ in 0..2 {
        nodes.start_without_bootstrap(lost).await.unwrap();
        let mut fatal = nodes.get(lost).fatal();
        let ended = tokio::time::timeout(SOON, fatal.wait_for(Option::is_some)).await;
        assert!(ended.expect("it ends in time").is_ok());
        let said = nodes.get(lost).left_out().expect("it says why");
        assert_eq!(said.kind(), "recovered-without");
        assert_eq!(
            nodes.get(lost).local().cluster_ms(),
            19,
            "nothing is dropped"
        );
        nodes.kill(lost);
    }
}
