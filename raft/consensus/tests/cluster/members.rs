//! Members that come and go: votes that move, the leadership with them, and a node that
//! was removed.

use std::{collections::BTreeSet, time::Duration};

use reelraft_consensus::{ConsensusError, MemberChange};
use reelraft_model::{Command, RegisterNode, RemoveNode, limits::FEATURE_LEVEL};
use reelraft_proto::{
    problem,
    v1::{RaftRequest, Sender, VoteBody, peer_client::PeerClient, raft_request::Body},
};

use crate::nodes::{Nodes, tick};

const SOON: Duration = Duration::from_secs(20);

/// One voter and two learners, all of them members.
async fn one_voter() -> Nodes {
    let mut nodes = Nodes::new(&[1, 2, 3], &[1]).await;
    nodes.start_all().await;
    nodes
        .until(SOON, "learners", || {
            nodes.get(1).membership().all.len() == 3
        })
        .await;
    nodes
}

async fn vote(nodes: &Nodes, leader: u64, voters: &[u64]) -> Result<(), ConsensusError> {
    let voters: BTreeSet<u64> = voters.iter().copied().collect();
    let change = MemberChange::Voters(voters);
    nodes.get(leader).change_members(&change).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_and_leadership_move_and_nothing_is_lost() {
    let mut nodes = one_voter().await;
    vote(&nodes, 1, &[1, 2, 3]).await.unwrap();
    let members = nodes.get(1).membership();
    assert!(members.voters == BTreeSet::from([1, 2, 3]) && !members.joint);
    nodes.get(1).propose(vec![tick(5)]).await.unwrap();
    // From a node that does not lead.
    assert_eq!(nodes.get(3).transfer_leader(Some(2)).await.unwrap(), 2);
    nodes
        .until(SOON, "the second leads", || {
            nodes.get(2).leadership().borrow().leading
        })
        .await;
    let refused = vote(&nodes, 1, &[1]).await.unwrap_err();
    assert_eq!(refused.kind(), "members-unchanged");
    vote(&nodes, 2, &[2, 3, 1]).await.unwrap();
    vote(&nodes, 2, &[2]).await.unwrap();
    nodes.kill(1);
    nodes.kill(3);
    let state = nodes.get(2).read().await.unwrap();
    assert_eq!(state.cluster_ms(), 5, "one voter is a quorum again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_refused_and_learns_of_it() {
    let mut nodes = one_voter().await;
    nodes.kill(3);
    let remove = Command::RemoveNode(RemoveNode {
        node: 3,
        dead: true,
    });
    let removed = nodes.get(1).propose(vec![remove]).await.unwrap();
    assert_eq!(removed.replies[0].refused, None);
    let gone = MemberChange::Drop(3);
    nodes.get(1).change_members(&gone).await.unwrap();
    assert_eq!(nodes.get(1).membership().all.len(), 2);
    // It was down meanwhile, has no vote, and nobody speaks to it.
    nodes.start(3).await.unwrap();
    nodes
        .until(SOON, "it learns of it", || *nodes.get(3).removed().borrow())
        .await;
    nodes.get(2).propose(vec![tick(1)]).await.unwrap();
    assert!(!*nodes.get(2).removed().borrow());
}

/// Where another disk listens at the address of a lost one, it must not answer for it: a
/// quorum would be counted that is none (P2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_for_another_node() {
    let nodes = one_voter().await;
    let own = nodes.get(1).identity().clone();
    let mut peer = PeerClient::connect(nodes.url(2)).await.unwrap();
    let asked = peer
        .vote(RaftRequest {
            sender: Some(Sender {
                cluster_id: own.cluster_id,
                node: own.node,
                incarnation: own.incarnation,
            }),
            to: 3,
            body: Some(Body::Vote(VoteBody::default())),
        })
        .await;
    let refused = problem::of_status(&asked.unwrap_err()).unwrap();
    assert_eq!(refused.kind, "other-node");
}

/// Nobody finds a node at another address that no setting names, and it hears of no
/// leader that it could tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_listens_elsewhere_says_so() {
    let mut nodes = Nodes::new(&[1, 2], &[1]).await;
    nodes.be_let_in();
    nodes.start_all().await;
    nodes
        .until(SOON, "a learner", || {
            nodes.get(1).membership().all.len() == 2
        })
        .await;
    nodes.kill(2);
    nodes.move_one(2);
    nodes.start(2).await.unwrap();
    nodes.get(1).propose(vec![tick(7)]).await.unwrap();
    nodes
        .until(SOON, "it is found again", || {
            nodes.get(2).local().cluster_ms() == 7
        })
        .await;
}

/// From the moment on that all nodes can read more, a node with an older program is
/// refused by name: by its own table when it starts, and by the others' where its own
/// is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_program_is_refused_by_name() {
    let mut nodes = one_voter().await;
    nodes.kill(3);
    let incarnation = |nodes: &Nodes, node: u64| nodes.get(1).local().incarnation_of(node);
    let newer = [1, 2, 3].map(|node| {
        Command::RegisterNode(RegisterNode {
            node,
            incarnation: incarnation(&nodes, node).unwrap(),
            address: nodes.url(node).replace("http://", ""),
            feature_level: FEATURE_LEVEL + 1,
            left_behind: false,
        })
    });
    nodes.get(1).propose(newer.to_vec()).await.unwrap();
    let known = nodes.get(1).local().feature_level();
    assert_eq!(known, FEATURE_LEVEL + 1);
    // This one was down meanwhile, and its table knows nothing of it.
    nodes.start(3).await.unwrap();
    for node in [1, 2, 3] {
        nodes
            .until(SOON, "it is refused", || {
                nodes.get(node).outdated().borrow().is_some()
            })
            .await;
    }
    nodes.kill(2);
    let refused = nodes.start(2).await.unwrap_err();
    assert_eq!(refused.kind(), "older-program");
    assert!(refused.to_string().contains("node 2"), "{refused}");
}
