//! Nodes that are gone for good, then the quorum, and its return.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, blake3_of};

use crate::{calm, clip, newest, succeed, transcode, until, wait_until_midway};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node's process that is started again by hand, killed with the test.
struct Revived(Child);

impl Revived {
    /// In the folder of before, which its data folder may be relative to.
    fn start(words: &[String], folder: &Path) -> Self {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Revived(command.spawn().unwrap())
    }
}

impl Drop for Revived {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process's command line.
pub fn words_of(pid: i32) -> Vec<String> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8(word.to_vec()).unwrap())
        .collect()
}

/// With one node gone for good everything goes on. Without a quorum whatever
/// needs one is refused soon and by name, finished outputs can be fetched, and
/// what follows a job waits for the nodes.
#[test]
fn all_goes_on_without_one_node_and_after_a_lost_quorum() {
    // Made before the clock of the client that waits begins to run.
    let (mp4, mkv) = (calm("mp4"), calm("mkv"));
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            slots: Some(1),
            restart: false,
            ..Default::default()
        },
    );
    let before = folder.path().join("before.mp4");
    succeed(&transcode(&cluster, &before).wait_with_output().unwrap());
    let shown = newest(&cluster).unwrap();
    let id = shown["id"].as_str().unwrap();
    let again = folder.path().join("again.mp4");
    let fetch = ["job", "fetch", id, again.to_str().unwrap()];

    let out = folder.path().join("out.mp4");
    let child = transcode(&cluster, &out);
    wait_until_midway(&cluster, 2);
    cluster.kill(cluster.leader());
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), mp4);
    succeed(&cluster.run(&fetch));
    assert_eq!(blake3_of(&again), mp4);
    std::fs::remove_file(&again).unwrap();

    let out = folder.path().join("out.mkv");
    let following = transcode(&cluster, &out);
    wait_until_midway(&cluster, 3);
    let mut living = cluster.processes();
    assert_eq!(living.len(), 2, "the killed leader stays away");
    let homes = cluster.json(&["job", "show", id])["homes"].clone();
    let homes = homes.as_array().unwrap().iter();
    let mut homes = homes.filter_map(|home| home["node"].as_u64());
    let home = homes.find(|node| living.contains_key(node)).unwrap();
    living.remove(&home);
    let (_, pid) = living.pop_first().unwrap();
    let words = words_of(pid);
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    cluster.kill_at_once(&[pid]);

    refused_without_a_quorum(&cluster, id);
    let known = cluster.json(&["job", "list", "--local"]);
    assert_eq!(known["jobs"].as_array().unwrap().len(), 3);
    assert_eq!(cluster.json(&["job", "show", id, "--local"])["id"], *id);
    succeed(&cluster.run(&fetch));
    assert_eq!(blake3_of(&again), mp4);
    succeed(&cluster.run(&["job", "proof", id]));

    let revived = Revived::start(&words, &cwd);
    succeed(&following.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), mkv);
    assert_eq!(newest(&cluster).unwrap()["state"], "succeeded");

    let pid = cluster.processes()[&home];
    let _nodes = goes_on_with_one_node(&cluster, pid, &cwd, revived, &words);
    std::fs::remove_file(&again).unwrap();
    succeed(&cluster.run(&fetch));
    assert_eq!(blake3_of(&again), mp4);
}

/// Most voters are given up; what one node has is kept, and it works alone. One of
/// the others comes back in spite of it, and follows.
fn goes_on_with_one_node(
    cluster: &LocalCluster,
    pid: i32,
    cwd: &Path,
    other: Revived,
    others_words: &[String],
) -> [Revived; 2] {
    let words = words_of(pid);
    let data = words.iter().position(|word| word == "--data").unwrap() + 1;
    let recover = |more: &[&str]| {
        let mut command = cluster.cli(&["recover", "--data", &words[data]]);
        command.args(more).current_dir(cwd).output().unwrap()
    };
    let refused = recover(&["--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("error: data-in-use"), "it runs: {said}");
    drop(other);
    cluster.kill_at_once(&[pid]);

    // It is killed, and may not have ended yet.
    until("its folder is free", PATIENCE, || {
        recover(&[]).status.success()
    });
    let shown = recover(&[]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("--yes"));
    succeed(&recover(&["--yes"]));
    let alone = Revived::start(&words, cwd);
    until("it leads", PATIENCE, || {
        cluster.run(&["job", "list"]).status.success()
    });
    assert_eq!(newest(cluster).unwrap()["state"], "succeeded");
    succeed(&cluster.run(&["cluster", "set", "voters", "1"]));
    let out = cwd.join("alone.mp4");
    succeed(&transcode(cluster, &out).wait_with_output().unwrap());

    let late = Revived::start(others_words, cwd);
    until("the other follows", PATIENCE, || {
        let status = cluster.status();
        let nodes = status.and_then(|status| status["nodes"].as_array().cloned());
        let nodes = nodes.unwrap_or_default();
        nodes
            .iter()
            .filter(|node| node["reachable"] == true)
            .count()
            == 2
    });
    assert_eq!(newest(cluster).unwrap()["state"], "succeeded");
    [alone, late]
}

fn refused_without_a_quorum(cluster: &LocalCluster, id: &str) {
    let submit = ["job", "submit", clip().to_str().unwrap(), "--detach"];
    for (args, at_most) in [
        (&["job", "list"][..], Duration::from_secs(6)),
        (&["job", "show", id], Duration::from_secs(6)),
        (&["job", "cancel", id], Duration::from_secs(6)),
        (&submit, Duration::from_secs(60)),
    ] {
        let started = Instant::now();
        let refused = cluster.run(args);
        let (took, said) = (started.elapsed(), String::from_utf8_lossy(&refused.stderr));
        println!("{args:?}: {took:?}");
        assert_eq!(refused.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("hint: "), "{args:?}: {said}");
        assert!(took < at_most, "{args:?} took {took:?}");
        if args != submit {
            assert!(said.contains("hint: a majority of the voters"), "{said}");
        }
    }
}
