//! The source of a cancelled job, kept for `job retry`, and a machine that goes.

use std::time::Duration;

use reelraft_harness::{LocalCluster, Options};
use serde_json::Value;

use crate::{clip, succeed, until};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn homes(cluster: &LocalCluster, id: &str) -> Vec<u64> {
    let job = cluster.json(&["job", "show", id]);
    let homes = job["homes"].as_array().unwrap().iter();
    homes.filter_map(|home| home["node"].as_u64()).collect()
}

#[test]
fn a_kept_source_is_handed_over_by_a_node_that_drains() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        nodes: 4,
        slots: Some(1),
        restart: false,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let clip = clip().to_str().unwrap();
    succeed(&cluster.run(&["job", "submit", clip, "--preset", "veryslow", "--detach"]));
    let jobs = cluster.json(&["job", "list"]);
    let id = jobs["jobs"][0]["id"].as_str().unwrap().to_string();
    succeed(&cluster.run(&["job", "cancel", &id]));

    // Each of its homes goes; the second when the first has handed over.
    for home in homes(&cluster, &id) {
        let node = home.to_string();
        succeed(&cluster.run(&["cluster", "drain", &node]));
        until("it is handed over", PATIENCE, || {
            let now = homes(&cluster, &id);
            now.len() == 2 && !now.contains(&home)
        });
        succeed(&cluster.run(&["cluster", "undrain", &node]));
    }
    succeed(&cluster.run(&["job", "retry", &id]));
    let mut job = Value::Null;
    until("it is made after all", PATIENCE, || {
        job = cluster.json(&["job", "show", &id]);
        job["state"] == "succeeded"
    });
    assert_eq!(job["problem"], Value::Null);
}
