//! What a cluster promises through kills, moves, lost disks and lost quorums.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{Command, Entry, RegisterNode};
use reelraft_proto::{
    problem,
    v1::{ProposeRequest, Sender, peer_client::PeerClient},
};

use crate::nodes::{Nodes, tick};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_founds_itself_and_comes_back() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let committed = nodes.get(1).propose(vec![tick(7)]).await.unwrap();
    assert_eq!(committed.replies.len(), 1);
    assert_eq!(nodes.get(1).read().await.unwrap().cluster_ms(), 7);
    nodes.kill(1);
    nodes.start(1).await.unwrap();
    assert_eq!(nodes.get(1).read().await.unwrap().cluster_ms(), 7);
    let own = nodes.get(1).identity().incarnation.clone();
    nodes
        .until(SOON, "the disk is registered", || {
            nodes.get(1).local().incarnation_of(1).as_ref() == Some(&own)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_writes_and_reads_them_at_once() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    for round in 1..=30 {
        let writer = nodes.get(1 + round % 3);
        let reader = nodes.get(1 + (round + 1) % 3);
        let committed = writer.propose(vec![tick(round)]).await.unwrap();
        let own = writer.state_at(committed.index).await.unwrap();
        assert_eq!(own.cluster_ms(), round);
        assert_eq!(reader.read().await.unwrap().cluster_ms(), round);
    }
    let leader = nodes.leader().await;
    let follower = nodes.get(1 + leader % 3);
    let error = follower.propose_local(vec![tick(99)]).await.unwrap_err();
    assert!(
        matches!(error, ConsensusError::NotLeader { leader: Some(id) } if id == leader),
        "{error}"
    );
    let replies = nodes.get(leader).propose_local(vec![tick(100)]).await;
    assert_eq!(replies.unwrap().replies.len(), 1);
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_share_rounds() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes.get(1).propose(vec![tick(5)]).await.unwrap();
    let reads = (0..2_000).map(|_| {
        let cluster = nodes.get(2).clone();
        tokio::spawn(async move { cluster.read().await.unwrap().cluster_ms() })
    });
    let reads: Vec<_> = reads.collect();
    for read in reads {
        assert_eq!(read.await.unwrap(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_nothing_is_lost() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    for round in 1..=4 {
        let leader = nodes.leader().await;
        let other = 1 + leader % 3;
        nodes
            .get(other)
            .propose(vec![tick(round * 10)])
            .await
            .unwrap();
        nodes.kill(leader);
        let started = Instant::now();
        // Asked of a node that still believes in the dead leader.
        nodes
            .get(other)
            .propose(vec![tick(round * 10 + 1)])
            .await
            .unwrap();
        println!("taken over after {:?}", started.elapsed());
        let state = nodes.get(other).read().await.unwrap();
        assert_eq!(state.cluster_ms(), round * 10 + 1);
        nodes.start(leader).await.unwrap();
        let back = nodes.get(leader).read().await.unwrap();
        assert_eq!(back.cluster_ms(), round * 10 + 1);
    }
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_killed_and_come_back() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes.get(3).propose(vec![tick(42)]).await.unwrap();
    for id in 1..=3 {
        nodes.kill(id);
    }
    // No founder is needed any more, and no fixed order.
    nodes.start(3).await.unwrap();
    nodes.start(2).await.unwrap();
    assert_eq!(nodes.get(2).read().await.unwrap().cluster_ms(), 42);
    nodes.start(1).await.unwrap();
    assert_eq!(nodes.get(1).read().await.unwrap().cluster_ms(), 42);
    nodes.agree().await;
}

/// A leader that lost the end of its log with its power must not write other
/// entries under the same term and index (P2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_back_is_elected_anew() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let term = |nodes: &Nodes| nodes.get(1).leadership().borrow().term;
    let before = term(&nodes);
    nodes.kill(1);
    nodes.start(1).await.unwrap();
    nodes.leader().await;
    assert!(term(&nodes) > before, "it went on in term {before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_move_to_other_addresses() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes.get(1).propose(vec![tick(3)]).await.unwrap();
    let cluster_id = nodes.get(1).identity().cluster_id.clone();
    for id in 1..=3 {
        nodes.kill(id);
    }
    nodes.move_all();
    for id in 1..=3 {
        nodes.start(id).await.unwrap();
    }
    assert_eq!(nodes.get(2).read().await.unwrap().cluster_ms(), 3);
    assert_eq!(nodes.get(2).identity().cluster_id, cluster_id);
    let now = nodes.config(3).peers[&3].clone();
    assert!(nodes.get(1).members().iter().any(|it| it.address == now));
    nodes
        .until(SOON, "the table names the new address", || {
            let state = nodes.get(1).local();
            state.nodes().any(|it| it.id == 3 && it.address == now)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_there_is_a_typed_refusal() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let leader = nodes.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        nodes.kill(id);
    }
    let left = nodes.get(leader);
    let (written, read) = tokio::join!(left.propose(vec![tick(1)]), left.read());
    let written = written.unwrap_err();
    assert!(
        matches!(
            written,
            ConsensusError::NoLeader { .. } | ConsensusError::Unconfirmed { .. }
        ),
        "{written}"
    );
    let read = read.unwrap_err();
    assert!(matches!(read, ConsensusError::NoLeader { .. }), "{read}");
    // It no longer calls itself the leader.
    assert!(!left.leadership().borrow().leading);
    let error = left.propose_local(vec![tick(2)]).await.unwrap_err();
    assert!(matches!(error, ConsensusError::NotLeader { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_by_a_snapshot() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.snapshot_every(50, 10);
    nodes.start_all().await;
    let leader = nodes.leader().await;
    let away = 1 + leader % 3;
    nodes.kill(away);
    // Several rows so long that the snapshot travels in many pieces.
    for node in 100..112 {
        let long = Command::RegisterNode(RegisterNode {
            feature_level: 0,
            left_behind: false,
            node,
            incarnation: node.to_string().repeat(300_000),
            address: String::new(),
        });
        nodes.get(leader).propose(vec![long]).await.unwrap();
    }
    for n in 1..=300 {
        nodes.get(leader).propose(vec![tick(n)]).await.unwrap();
    }
    nodes
        .until(SOON, "the log is purged", || {
            nodes.get(leader).progress().purged_index > 100
        })
        .await;
    nodes.start(away).await.unwrap();
    let state = nodes.get(away).read().await.unwrap();
    assert_eq!(state.cluster_ms(), 300);
    assert_eq!(state.incarnation_of(107), Some("107".repeat(300_000)));
    // What it says of itself comes a moment later than what it applied.
    nodes
        .until(SOON, "it came by a snapshot", || {
            nodes.get(away).progress().snapshot_index > 100
        })
        .await;
    nodes.agree().await;
    // And starts from it again.
    nodes.kill(away);
    nodes.start(away).await.unwrap();
    assert_eq!(nodes.get(away).read().await.unwrap().cluster_ms(), 300);
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_table_is_rebuilt() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.snapshot_every(40, 10);
    nodes.start_all().await;
    for n in 1..=100 {
        nodes.get(1).propose(vec![tick(n)]).await.unwrap();
    }
    nodes
        .until(SOON, "there is a snapshot", || {
            nodes.get(2).progress().purged_index > 0
        })
        .await;
    nodes.kill(2);
    std::fs::remove_dir_all(nodes.data(2).join("table")).unwrap();
    nodes.start(2).await.unwrap();
    assert_eq!(nodes.get(2).read().await.unwrap().cluster_ms(), 100);
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_disk_under_a_known_id_is_refused_by_name() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let known = nodes.get(3).identity().incarnation.clone();
    nodes
        .until(SOON, "node 3 is registered", || {
            nodes.get(1).local().incarnation_of(3).is_some()
        })
        .await;
    nodes.kill(3);
    std::fs::remove_dir_all(nodes.data(3)).unwrap();
    let error = nodes.start(3).await.unwrap_err();
    assert!(
        matches!(&error, ConsensusError::OtherIncarnation { node: 3, known: it, .. } if *it == known),
        "{error}"
    );
    nodes.get(1).propose(vec![tick(1)]).await.unwrap();
}

/// The disk that founded the cluster, too: it must not found another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_lost_its_disk_founds_nothing() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes
        .until(SOON, "node 1 is registered", || {
            nodes.get(2).local().incarnation_of(1).is_some()
        })
        .await;
    for id in 1..=3 {
        nodes.kill(id);
    }
    std::fs::remove_dir_all(nodes.data(1)).unwrap();
    nodes.start_without_bootstrap(1).await.unwrap();
    let cluster = nodes.get(1).clone();
    let waiting = tokio::spawn(async move { cluster.bootstrap().await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiting.is_finished());
    nodes.start(2).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(error, ConsensusError::OtherIncarnation { node: 1, .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_joins_and_follows() {
    let mut nodes = Nodes::new(&[1, 2, 3, 4], &[1, 2, 3]).await;
    for id in 1..=3 {
        nodes.start_in_background(id).await;
    }
    nodes.leader().await;
    nodes.get(1).propose(vec![tick(5)]).await.unwrap();
    nodes.start(4).await.unwrap();
    assert_eq!(nodes.get(4).read().await.unwrap().cluster_ms(), 5);
    nodes
        .until(SOON, "the learner is a member", || {
            let members = nodes.get(1).members();
            members.iter().any(|member| member.id == 4 && !member.voter)
        })
        .await;
    nodes.get(4).propose(vec![tick(6)]).await.unwrap();
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_stop_hands_the_leadership_over() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    nodes.get(1).propose(vec![tick(1)]).await.unwrap();
    let leader = nodes.leader().await;
    let other = 1 + leader % 3;
    let stopping = nodes.get(leader).clone();
    stopping.shutdown().await;
    let started = Instant::now();
    nodes.kill(leader);
    nodes.get(other).propose(vec![tick(2)]).await.unwrap();
    println!("first write after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let cluster: &Cluster = nodes.get(1);
    let error = cluster
        .propose((0..65).map(tick).collect())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConsensusError::TooManyCommands { found: 65, .. }),
        "{error}"
    );
    let long = Command::RegisterNode(RegisterNode {
        feature_level: 0,
        left_behind: false,
        node: 1,
        incarnation: "x".repeat(2 << 20),
        address: String::new(),
    });
    let error = cluster.propose(vec![long]).await.unwrap_err();
    assert!(
        matches!(error, ConsensusError::EntryTooLong { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_the_same_folder_is_refused() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let error = Cluster::open(nodes.config(1)).await.unwrap_err();
    assert_eq!(error.kind(), "data-in-use");
}

/// P2: what the disk does not take is not acknowledged, and the node ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_node() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let cluster = nodes.get(1).clone();
    // The next chunk of the log can't be made any more.
    std::fs::remove_dir_all(nodes.data(1).join("log")).unwrap();
    let mut refused = None;
    for node in 100..140 {
        let long = Command::RegisterNode(RegisterNode {
            feature_level: 0,
            left_behind: false,
            node,
            incarnation: "x".repeat(1_000_000),
            address: String::new(),
        });
        if let Err(error) = cluster.propose(vec![long]).await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.unwrap();
    assert!(matches!(error, ConsensusError::Stopped { .. }), "{error}");
    let mut fatal = cluster.fatal();
    fatal.wait_for(Option::is_some).await.unwrap();
    assert!(!cluster.leadership().borrow().leading);
    assert!(cluster.read().await.is_err());
}

/// No read, on whichever node, is older than what was acknowledged before it
/// began, also while leaders are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_while_leaders_die() {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1, 2, 3]).await;
    nodes.start_all().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    for round in 0..3 {
        let leader = nodes.leader().await;
        let others = (1..=3).filter(|id| *id != leader);
        let others: Vec<Cluster> = others.map(|id| nodes.get(id).clone()).collect();
        let mut tasks = Vec::new();
        for (turn, cluster) in others.iter().cloned().enumerate() {
            let (acknowledged, over) = (acknowledged.clone(), over.clone());
            tasks.push(tokio::spawn(async move {
                while turn == 0 && !over.load(Ordering::SeqCst) {
                    let next = acknowledged.load(Ordering::SeqCst) + 1;
                    if cluster.propose(vec![tick(next)]).await.is_ok() {
                        acknowledged.store(next, Ordering::SeqCst);
                    }
                }
                while turn == 1 && !over.load(Ordering::SeqCst) {
                    let before = acknowledged.load(Ordering::SeqCst);
                    if let Ok(state) = cluster.read().await {
                        assert!(state.cluster_ms() >= before, "a stale read");
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = acknowledged.load(Ordering::SeqCst);
        nodes.kill(leader);
        nodes
            .until(SOON, "writes go on", || {
                acknowledged.load(Ordering::SeqCst) > before + 5
            })
            .await;
        over.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        over.store(false, Ordering::SeqCst);
        nodes.start(leader).await.unwrap();
        let state = nodes.get(leader).read().await.unwrap();
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert!(state.cluster_ms() >= acknowledged, "round {round}");
    }
    nodes.agree().await;
}

/// What a peer asks to have proposed is held to the limits of what a node
/// proposes itself: a log that refuses an entry stops its node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_entry_over_the_limits_is_refused_and_stops_nobody() {
    let mut nodes = Nodes::new(&[1], &[1]).await;
    nodes.start_all().await;
    let identity = nodes.get(1).identity().clone();
    let propose = async |commands: Vec<Command>| {
        let mut client = PeerClient::connect(nodes.url(1)).await.unwrap();
        let request = ProposeRequest {
            sender: Some(Sender {
                cluster_id: identity.cluster_id.clone(),
                node: 1,
                incarnation: identity.incarnation.clone(),
            }),
            command: Entry::new(commands).encode().into(),
        };
        let answer = client.propose(request).await;
        answer.map_err(|status| problem::of_status(&status).map(|problem| problem.kind))
    };
    let long = RegisterNode {
        feature_level: 0,
        left_behind: false,
        node: 1,
        incarnation: identity.incarnation.clone(),
        address: "a".repeat(3 << 20),
    };
    let refused = |kind: &str| Some(Some(kind.to_string()));
    let answer = propose(vec![Command::RegisterNode(long)]).await;
    assert_eq!(answer.err(), refused("entry-too-long"));
    let answer = propose((1..=65).map(tick).collect()).await;
    assert_eq!(answer.err(), refused("too-many-commands"));
    assert!(propose(vec![tick(5)]).await.is_ok());
    assert!(nodes.get(1).propose(vec![tick(6)]).await.is_ok());
}
