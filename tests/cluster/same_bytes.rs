//! The same film on clusters of several sizes, with nodes killed on the way:
//! the same bytes as a calm run on one node gives.

use std::process::Output;

use reelraft_harness::{LocalCluster, Options, blake3_of};

use crate::{H264, calm, clip, newest, succeed, transcode, wait_until_midway};

#[test]
#[ignore = "long: make test-all"]
fn the_same_bytes_from_three_and_five_nodes_and_other_slots() {
    for (nodes, slots) in [(3, 1), (5, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::start(
            folder.path(),
            Options {
                nodes,
                slots: Some(slots),
                ..Default::default()
            },
        );
        for ending in ["mp4", "mkv", "webm"] {
            let out = folder.path().join(format!("out.{ending}"));
            succeed(&transcode(&cluster, &out).wait_with_output().unwrap());
            assert_eq!(
                blake3_of(&out),
                calm(ending),
                "{nodes} nodes, {slots} slots, {ending}"
            );
        }
    }
}

#[test]
fn the_same_bytes_with_the_leader_or_another_node_killed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            slots: Some(1),
            ..Default::default()
        },
    );
    for (number, ending) in ["mp4", "mkv", "webm"].into_iter().enumerate() {
        let out = folder.path().join(format!("out.{ending}"));
        let child = transcode(&cluster, &out);
        wait_until_midway(&cluster, number + 1);
        let leader = cluster.leader();
        // The second film loses a follower instead.
        let victim = if number == 1 { leader % 3 + 1 } else { leader };
        cluster.kill(victim);
        succeed(&child.wait_with_output().unwrap());
        assert_eq!(blake3_of(&out), calm(ending), "{ending}");
        cluster.wait_for_leader();
    }
    // Some home had begun before the last shard came.
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    assert!(log.contains("joins the rest"), "nothing was joined ahead");
}

fn submit_again(cluster: &LocalCluster, options: &[&str]) -> Output {
    let mut args = vec!["job", "submit", clip().to_str().unwrap(), "--detach"];
    args.extend(["--container", "mkv", "--request-id", "again"]);
    args.extend(options);
    cluster.run(&args)
}

#[test]
fn the_same_bytes_after_all_nodes_were_killed_and_old_jobs_are_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = LocalCluster::start(
        folder.path(),
        Options {
            slots: Some(1),
            ..Default::default()
        },
    );
    let before = folder.path().join("before.mp4");
    succeed(&transcode(&cluster, &before).wait_with_output().unwrap());
    let old = newest(&cluster).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_string();

    succeed(&submit_again(&cluster, &H264));
    wait_until_midway(&cluster, 2);
    cluster.kill_all();
    cluster.start_again();
    cluster.wait_for_leader();

    let id = newest(&cluster).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_string();
    succeed(&cluster.run(&["job", "wait", &id, "--timeout", "180s"]));
    let out = folder.path().join("out.mkv");
    succeed(&cluster.run(&["job", "fetch", &id, out.to_str().unwrap()]));
    assert_eq!(blake3_of(&out), calm("mkv"));

    let again = folder.path().join("again.mp4");
    succeed(&cluster.run(&["job", "fetch", &old, again.to_str().unwrap()]));
    assert_eq!(blake3_of(&again), blake3_of(&before));
    succeed(&cluster.run(&["job", "proof", &old]));

    // P5: the same request finds the same job, after all that.
    succeed(&submit_again(&cluster, &H264));
    assert_eq!(newest(&cluster).unwrap()["id"].as_str().unwrap(), id);
    let refused = submit_again(&cluster, &["--crf", "40"]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
}
