//! Real processes: one film through 1, 3 and 5 nodes, with leaders, workers
//! and all nodes killed on the way, and every time the same bytes (P1 to P5).
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Output},
    sync::OnceLock,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, blake3_of, frames_of, make_clip};

/// A clip that all tests share, made once.
fn clip() -> &'static Path {
    static CLIP: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = CLIP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        make_clip(&path, 16, "320x180");
        (folder, path)
    });
    path
}

const H264: [&str; 4] = ["--preset", "medium", "--shard-seconds", "2"];

/// BLAKE3 of the clip after a calm run on one node, by container ending.
fn calm(ending: &str) -> String {
    static CALM: OnceLock<std::collections::BTreeMap<&'static str, String>> = OnceLock::new();
    CALM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::start(
            folder.path(),
            Options {
                nodes: 1,
                ..Default::default()
            },
        );
        let mut hashes = std::collections::BTreeMap::new();
        for ending in ["mp4", "mkv", "webm"] {
            let out = folder.path().join(format!("calm.{ending}"));
            succeed(&transcode(&cluster, &out).wait_with_output().unwrap());
            assert_eq!(frames_of(&out), 16 * 24, "{ending}");
            hashes.insert(ending, blake3_of(&out));
        }
        hashes
    })[ending]
        .clone()
}

fn succeed(output: &Output) {
    assert!(
        output.status.success(),
        "{:?}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Starts `transcode` to a file; the codec follows from its ending.
fn transcode(cluster: &LocalCluster, out: &Path) -> Child {
    let ending = out.extension().unwrap().to_str().unwrap();
    let codec: &[&str] = if ending == "webm" {
        &["--codec", "vp9", "--preset", "8", "--shard-seconds", "2"]
    } else {
        &H264
    };
    let args = [
        &["transcode", clip().to_str().unwrap(), out.to_str().unwrap()],
        codec,
    ]
    .concat();
    let pipe = std::process::Stdio::piped;
    cluster
        .cli(&args)
        .stdout(pipe())
        .stderr(pipe())
        .spawn()
        .unwrap()
}

fn newest(cluster: &LocalCluster) -> Option<serde_json::Value> {
    let output = cluster.run(&["job", "list", "-o", "json"]);
    let jobs: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    jobs["jobs"].get(0).cloned()
}

/// Waits until the newest job has at least this many shards done.
fn wait_for_shards(cluster: &LocalCluster, count: u64) {
    let started = Instant::now();
    while newest(cluster)
        .and_then(|job| job["shards_done"].as_u64())
        .unwrap_or(0)
        < count
    {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no {count} shards in time: {:?}\n{}",
            newest(cluster),
            reelraft_harness::tail(&std::fs::read_to_string(cluster.log()).unwrap(), 60)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
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
        wait_for_shards(&cluster, 1);
        let leader = cluster.leader();
        // The second film loses a follower instead.
        let victim = if number == 1 { leader % 3 + 1 } else { leader };
        cluster.kill(victim);
        succeed(&child.wait_with_output().unwrap());
        assert_eq!(blake3_of(&out), calm(ending), "{ending}");
        cluster.wait_for_leader();
    }
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

    let clip = clip().to_str().unwrap();
    let args = [
        &[
            "job",
            "submit",
            clip,
            "--container",
            "mkv",
            "--detach",
            "--request-id",
            "again",
        ],
        &H264[..],
    ]
    .concat();
    succeed(&cluster.run(&args));
    wait_for_shards(&cluster, 1);
    cluster.kill_all();
    cluster.start_again();

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
    succeed(&cluster.run(&args));
    assert_eq!(newest(&cluster).unwrap()["id"].as_str().unwrap(), id);
    let other = [
        &[
            "job",
            "submit",
            clip,
            "--container",
            "mkv",
            "--request-id",
            "again",
        ],
        &["--crf", "40"][..],
    ]
    .concat();
    let refused = cluster.run(&other);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
}

#[test]
fn with_one_node_gone_for_good_everything_goes_on() {
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
    let old = newest(&cluster).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_string();

    let out = folder.path().join("out.mp4");
    let child = transcode(&cluster, &out);
    wait_for_shards(&cluster, 1);
    cluster.kill(cluster.leader());
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), calm("mp4"));

    let later = folder.path().join("later.mkv");
    succeed(&transcode(&cluster, &later).wait_with_output().unwrap());
    assert_eq!(blake3_of(&later), calm("mkv"));
    let again = folder.path().join("again.mp4");
    succeed(&cluster.run(&["job", "fetch", &old, again.to_str().unwrap()]));
    assert_eq!(blake3_of(&again), blake3_of(&before));
}

#[test]
fn two_clients_with_one_request_id_get_one_job() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), Options::default());
    let args = [
        "job",
        "submit",
        clip().to_str().unwrap(),
        "--request-id",
        "twice",
        "--detach",
        "-o",
        "json",
    ];
    let pipe = std::process::Stdio::piped;
    let clients: Vec<Child> = (0..2)
        .map(|_| {
            cluster
                .cli(&args)
                .stdout(pipe())
                .stderr(pipe())
                .spawn()
                .unwrap()
        })
        .collect();
    for client in clients {
        succeed(&client.wait_with_output().unwrap());
    }
    let jobs = cluster.json(&["job", "list"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
}

/// Decoded frames with their times, as ffmpeg's framemd5 muxer prints them.
fn frames_and_times(path: &Path) -> String {
    let output = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(path)
        .args([
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ])
        .output()
        .unwrap();
    succeed(&output);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn lossless_output_has_the_frames_and_times_of_the_printed_reference() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), Options::default());
    let out = folder.path().join("out.mkv");
    let args = [
        "transcode",
        clip().to_str().unwrap(),
        out.to_str().unwrap(),
        "--codec",
        "ffv1",
    ];
    succeed(&cluster.run(&[&args, &["--shard-seconds", "2"][..]].concat()));
    let id = newest(&cluster).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(newest(&cluster).unwrap()["shards_total"].as_u64().unwrap() > 3);

    let shown = cluster.json(&["job", "show", &id, "--reference"]);
    let mut words: Vec<String> = serde_json::from_value(shown["args"].clone()).unwrap();
    let input = words.iter().position(|word| word == "-i").unwrap() + 1;
    words[input] = clip().to_str().unwrap().to_string();
    let reference = folder.path().join("reference.mkv");
    *words.last_mut().unwrap() = reference.to_str().unwrap().to_string();
    succeed(
        &std::process::Command::new(&words[0])
            .args(&words[1..])
            .output()
            .unwrap(),
    );
    assert_eq!(frames_and_times(&out), frames_and_times(&reference));
}

/// A node's process that is started again by hand, killed with the test.
struct Revived(Child);

impl Revived {
    fn start(words: &[String]) -> Self {
        let null = std::process::Stdio::null;
        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]).stdout(null()).stderr(null());
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
fn words_of(pid: i32) -> Vec<String> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    words
        .map(|word| String::from_utf8(word.to_vec()).unwrap())
        .collect()
}

/// Without a quorum whatever needs one is refused soon and by name, finished
/// outputs can be fetched, and what follows a job waits for the nodes.
#[test]
fn a_lost_quorum_is_told_and_all_goes_on_when_it_is_back() {
    // Made before the clock of the client that waits begins to run.
    let calm = calm("mp4");
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
    let home = cluster.json(&["job", "show", id])["homes"][0]["node"].clone();

    let out = folder.path().join("out.mp4");
    let following = transcode(&cluster, &out);
    wait_for_shards(&cluster, 1);
    let mut lost = cluster.processes();
    lost.remove(&home.as_u64().unwrap());
    let lost: Vec<i32> = lost.into_values().collect();
    let commands: Vec<Vec<String>> = lost.iter().map(|pid| words_of(*pid)).collect();
    cluster.kill_at_once(&lost);

    for args in [
        &["job", "list"][..],
        &["job", "show", id],
        &["job", "cancel", id],
    ] {
        let started = Instant::now();
        let refused = cluster.run(args);
        let (took, said) = (started.elapsed(), String::from_utf8_lossy(&refused.stderr));
        println!("{args:?}: {took:?}");
        assert_eq!(refused.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("hint: a majority of the voters"), "{said}");
        assert!(took < Duration::from_secs(6), "{args:?} took {took:?}");
    }
    let known = cluster.json(&["job", "list", "--local"]);
    assert_eq!(known["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(cluster.json(&["job", "show", id, "--local"])["id"], *id);
    let again = folder.path().join("again.mp4");
    succeed(&cluster.run(&["job", "fetch", id, again.to_str().unwrap()]));
    assert_eq!(blake3_of(&again), calm);
    succeed(&cluster.run(&["job", "proof", id]));

    let _revived: Vec<Revived> = commands.iter().map(|words| Revived::start(words)).collect();
    succeed(&following.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), calm);
    assert_eq!(
        cluster.json(&["job", "list"])["jobs"][0]["state"],
        "succeeded"
    );
}

/// Rot in what nobody reads any more is found by the scrub and mended from
/// the other home. Its round is a second here, and a day by default.
#[test]
fn a_damaged_blob_that_nobody_reads_is_found_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            environment: vec![("REELRAFT_SCRUB_EVERY".into(), "1".into())],
            ..Default::default()
        },
    );
    let out = folder.path().join("out.mp4");
    succeed(&transcode(&cluster, &out).wait_with_output().unwrap());
    let id = newest(&cluster).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_string();
    let job = cluster.json(&["job", "show", &id]);
    let home = job["homes"][0]["node"].as_u64().unwrap();
    let proof = job["proof_hash"].as_str().unwrap();
    let blobs = folder.path().join(format!("nodes/n{home}/blobs"));
    let path = blobs.join(&id).join(proof);
    let whole = std::fs::read(&path).unwrap();
    let mut rotten = whole.clone();
    rotten[0] ^= 1;
    std::fs::write(&path, rotten).unwrap();

    let started = Instant::now();
    while std::fs::read(&path).ok().as_ref() != Some(&whole) {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "it was not mended"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let aside = blobs.join("_quarantine").join(format!("{id}.{proof}"));
    assert!(aside.exists(), "it was mended without being noticed");
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    assert!(log.contains("a blob is damaged") && log.contains(proof));
}
