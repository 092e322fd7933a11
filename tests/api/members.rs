//! Machines that show a token, and nodes that go.

use std::{
    io::ErrorKind,
    net::TcpListener,
    time::{Duration, Instant},
};

use reelraft::node::{
    joining::{Joining, Newcomer},
    messages::{LeaderReport, NodeStatus},
};
use reelraft_harness::HttpAnswer;
use reelraft_model::{Scope, limits::FEATURE_LEVEL};
use serde_json::json;

use crate::{
    http::Client,
    keys::node,
    node::{access, kind, made_key, start},
};

/// How long a node may take until it has heard of itself as its own leader.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Asks until the node has heard enough of itself to judge.
async fn judged(client: &Client, method: &str, path: &str) -> HttpAnswer {
    let begun = Instant::now();
    loop {
        let answer = client.ask(method, path, "", b"").await;
        if answer.status != 503 || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What `reelraft cluster` does is done over HTTP as well, with the same answers and
/// refusals, and by nobody who has a key alone.
#[tokio::test(flavor = "multi_thread")]
async fn members_are_changed_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let key = made_key(&access, "admin", "anna", Scope::Admin).await;
    let key = key.text.reveal();
    let (client, _stop) = Client::serve(access).await;
    let alone = judged(&client, "POST", "/api/v1/nodes/1/drain").await;
    assert_eq!(alone.refusal(), (409, "too-few-nodes".into()));
    assert!(alone.json()["hint"].is_string());
    for (method, path, refusal) in [
        ("POST", "/api/v1/nodes/9/drain", (404, "not-found")),
        ("POST", "/api/v1/nodes/one/undrain", (404, "not-found")),
        ("DELETE", "/api/v1/nodes/1", (409, "not-drained")),
        ("DELETE", "/api/v1/nodes/1?dead=true", (409, "node-alive")),
        ("DELETE", "/api/v1/nodes/1?dead=yes", (400, "bad-request")),
        (
            "POST",
            "/api/v1/cluster/transfer-leader?node=9",
            (409, "members-unchanged"),
        ),
        ("POST", "/api/v1/cluster/scrub?node=9", (404, "not-found")),
        (
            "POST",
            "/api/v1/cluster/scrub?node=all",
            (400, "bad-request"),
        ),
        (
            "POST",
            "/api/v1/cluster/backup?media=some",
            (400, "bad-request"),
        ),
    ] {
        let refused = client.ask(method, path, "", b"").await.refusal();
        assert_eq!(refused, (refusal.0, refusal.1.into()), "{method} {path}");
    }
    voters_are_set(&client).await;
    let back = client.ask("POST", "/api/v1/nodes/1/undrain", "", b"").await;
    assert_eq!(back.json(), json!({"existed": true}), "it does not drain");
    let begun = client.ask("POST", "/api/v1/cluster/scrub", "", b"").await;
    assert_eq!(begun.json(), json!({"nodes": [1], "silent": []}));
    let upgrade = client.get("/api/v1/cluster/upgrade").await.json();
    assert_eq!(upgrade["newest"], FEATURE_LEVEL);
    assert_eq!(
        (&upgrade["held_by"], &upgrade["nodes"][0]["id"]),
        (&json!([]), &json!(1))
    );
    let backup = client.ask("POST", "/api/v1/cluster/backup", "", b"").await;
    assert_eq!(backup.status, 200, "{}", backup.head);
    assert_eq!(
        backup.header("content-type"),
        Some("application/octet-stream")
    );
    let whole = backup.body.ends_with(b"\r\n0\r\n\r\n");
    assert!(whole && backup.body.windows(8).any(|bytes| bytes == b"RRBACK01"));
    no_key_does(&client, &key).await;
    stopper.send(true).unwrap();
}

async fn voters_are_set(client: &Client) {
    for existed in [false, true] {
        let body = json!({"voters": 5}).to_string();
        let set = client
            .ask("PUT", "/api/v1/cluster/voters", "", body.as_bytes())
            .await;
        assert_eq!((set.status, set.json()), (200, json!({"existed": existed})));
    }
    let even = client
        .ask("PUT", "/api/v1/cluster/voters", "", b"{\"voters\": 4}")
        .await;
    assert_eq!(even.refusal(), (400, "bad-request".into()));
    assert_eq!(
        client.get("/api/v1/cluster").await.json()["voters_wanted"],
        5
    );
}

/// A key's holder does none of it, whatever it permits.
async fn no_key_does(client: &Client, key: &str) {
    let by_key = Client {
        address: client.address.clone(),
        secret: key.to_string().leak(),
    };
    for (method, path) in [
        ("POST", "/api/v1/nodes/1/drain"),
        ("POST", "/api/v1/nodes/1/undrain"),
        ("DELETE", "/api/v1/nodes/1"),
        ("POST", "/api/v1/cluster/transfer-leader"),
        ("POST", "/api/v1/cluster/scrub"),
        ("PUT", "/api/v1/cluster/voters"),
        ("POST", "/api/v1/cluster/backup"),
        ("GET", "/api/v1/cluster/upgrade"),
    ] {
        let body = match method {
            "PUT" => &b"{\"voters\": 3}"[..],
            _ => b"",
        };
        let refused = by_key.ask(method, path, "", body).await.refusal();
        assert_eq!(refused, (403, "forbidden".into()), "{method} {path}");
    }
}
