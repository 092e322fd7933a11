//! Keys on real nodes: all know them, through a takeover too, until they are
//! revoked.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options};

/// How long a node may take to hear of a key, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks one node with a key.
fn ask(cluster: &LocalCluster, node: u64, key: &str, args: &[&str]) -> Output {
    let mut command = cluster.cli(args);
    command.env("REELRAFT_KEY", key);
    command.env("REELRAFT_ENDPOINTS", cluster.endpoint(node));
    command.output().unwrap()
}

/// Asks each of these nodes until it lists jobs, or refuses to.
fn agree(cluster: &LocalCluster, nodes: &[u64], key: &str, lets_in: bool) {
    for &node in nodes {
        let started = Instant::now();
        loop {
            let output = ask(cluster, node, key, &["job", "list", "--local"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match lets_in {
                true if output.status.success() => break,
                false if said.contains("error: unauthenticated: ") => break,
                _ => assert!(started.elapsed() < PATIENCE, "node {node}: {said}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_key_holds_on_every_node_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        restart: false,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let create = ["key", "create", "ci", "--tenant", "studio"];
    let made = cluster.json(&[&create[..], &["--scope", "admin"]].concat());
    let text = made["text"].as_str().unwrap();
    let id = made["key"]["id"].as_str().unwrap();
    agree(&cluster, &[1, 2, 3], text, true);

    let shown = cluster.json(&["key", "list"]);
    assert_eq!(shown["keys"][0]["name"], "ci");
    assert!(!shown.to_string().contains(&text[text.len() - 16..]));
    let set = ["tenant", "set", "studio", "--jobs", "5"];
    assert_eq!(cluster.json(&set)["jobs_max"], 5);

    let leader = cluster.leader();
    cluster.kill(leader);
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    agree(&cluster, &others, text, true);
    let shown = ask(&cluster, others[0], text, &["tenant", "show", "studio"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("0 of 5"), "{shown}");
    let refused = ask(&cluster, others[0], text, &set);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("error: forbidden: "), "{refused}");
    cluster.json(&["key", "revoke", id]);
    agree(&cluster, &others, text, false);
}
