//! Machines that show a token, and nodes that go.

use std::{io::ErrorKind, net::TcpListener};

use reelraft::node::{
    joining::{Joining, Newcomer},
    messages::{LeaderReport, NodeStatus},
};
use reelraft_model::limits::FEATURE_LEVEL;

use crate::{
    keys::node,
    node::{access, kind},
};

/// Whoever is asked names the nodes' secret at the newcomer's address: a token that is
/// of no use any more must not have it sent anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_for_a_token_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let made = access(&context).operator().create_token(0).await.unwrap();
    let newcomer = |incarnation: &str, address: String| Newcomer {
        secret: made.text.secret().to_vec(),
        address,
        feature_level: FEATURE_LEVEL,
        incarnation: incarnation.into(),
        ..Default::default()
    };
    let joining = Joining::new(context.clone());
    let first = newcomer("first", "127.0.0.1:2".into());
    let admitted = joining.admit(first.clone()).await.map(|told| told.node);
    assert_eq!(admitted.unwrap(), 2);
    let again = joining.admit(first).await.map(|told| told.node);
    assert_eq!(again.unwrap(), 2);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let second = joining.admit(newcomer("second", address)).await;
    assert_eq!(second.err().unwrap().kind, "token-used");
    let called = listener.accept().err().map(|error| error.kind());
    assert_eq!(called, Some(ErrorKind::WouldBlock));
    stopper.send(true).unwrap();
}

/// A node that has heard nothing of the leader does not know who lives.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_for_lost_unheard() {
    let folder = tempfile::tempdir().unwrap();
    let (context, stopper) = node(folder.path()).await;
    let api = access(&context).operator();
    assert_eq!(kind(api.remove_node(1, true)).await, "no-leader");
    context.report.set(LeaderReport {
        nodes: vec![NodeStatus {
            id: 1,
            reachable: true,
            ..Default::default()
        }],
        ..Default::default()
    });
    assert_eq!(kind(api.remove_node(1, true)).await, "node-alive");
    stopper.send(true).unwrap();
}
