//! Real processes: one film through clusters of several sizes, with leaders,
//! workers and all nodes killed on the way, and every time the same bytes (P1
//! to P5); and what is refused, as a user meets it (P10).
#![allow(missing_docs, clippy::unwrap_used)]

mod backup;
mod bad_tools;
mod bundle;
mod busy;
mod calm;
mod differs;
mod encrypted;
mod engines;
mod events;
mod http;
mod http_films;
mod keeping;
mod kept;
mod keys;
mod lies;
mod lost;
mod measured;
mod outside;
mod parted;
mod refusals;
mod s3;
mod same_bytes;
mod service;
mod watch_folder;
mod watched;

use std::{
    path::{Path, PathBuf},
    process::{Child, Output},
    sync::OnceLock,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, blake3_of, frames_of, make_clip, tail};

/// Length of the clip.
const SECONDS: u32 = 12;

/// A clip that all tests share, made once.
fn clip() -> &'static Path {
    static CLIP: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = CLIP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        make_clip(&path, SECONDS, "320x180");
        (folder, path)
    });
    path
}

/// Options that cut the clip into six shards.
const H264: [&str; 4] = ["--preset", "medium", "--shard-seconds", "1"];

/// The same, whose rate factor is found by probes, and which is then corrected.
const VP9: [&str; 8] = [
    "--codec",
    "vp9",
    "--preset",
    "8",
    "--shard-seconds",
    "1",
    "--size",
    "600k",
];

/// BLAKE3 of the clip after a calm run on one node, by container ending.
fn calm(ending: &str) -> String {
    static CALM: OnceLock<std::collections::BTreeMap<&'static str, String>> = OnceLock::new();
    CALM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::start(
            folder.path(),
            Options {
                nodes: 1,
                environment: vec![("REELRAFT_REUSE_OUTPUTS".into(), "true".into())],
                ..Default::default()
            },
        );
        let mut hashes = std::collections::BTreeMap::new();
        for ending in ["mp4", "mkv", "webm"] {
            let out = folder.path().join(format!("calm.{ending}"));
            succeed(&transcode(&cluster, &out).wait_with_output().unwrap());
            assert_eq!(frames_of(&out), u64::from(SECONDS) * 24, "{ending}");
            hashes.insert(ending, blake3_of(&out));
        }
        // The same once more is not made again.
        let again = folder.path().join("again.mp4");
        succeed(&transcode(&cluster, &again).wait_with_output().unwrap());
        assert_eq!(blake3_of(&again), hashes["mp4"]);
        let id = newest(&cluster).unwrap()["id"].clone();
        let id = id.as_str().unwrap();
        let tasks = cluster.json(&["job", "tasks", id]).to_string();
        assert!(
            tasks.contains("assemble") && !tasks.contains("\"shard\""),
            "{tasks}"
        );
        succeed(&cluster.run(&["job", "proof", id]));
        hashes
    })[ending]
        .clone()
}

/// Waits until something is so.
fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
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
    let codec: &[&str] = if ending == "webm" { &VP9 } else { &H264 };
    let args = [
        &["transcode", clip().to_str().unwrap(), out.to_str().unwrap()],
        codec,
    ]
    .concat();
    piped(cluster, &args)
}

/// Starts a command of the CLI whose output can be read afterwards.
fn piped(cluster: &LocalCluster, args: &[&str]) -> Child {
    let pipe = std::process::Stdio::piped;
    let mut command = cluster.cli(args);
    command.stdout(pipe()).stderr(pipe()).spawn().unwrap()
}

fn newest(cluster: &LocalCluster) -> Option<serde_json::Value> {
    let output = cluster.run(&["job", "list", "-o", "json"]);
    let jobs: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    jobs["jobs"].get(0).cloned()
}

/// Waits until the job of this number (from 1) is the newest and has at least
/// one shard done, and more to do.
fn wait_until_midway(cluster: &LocalCluster, number: usize) {
    let started = Instant::now();
    loop {
        // There may be no leader to ask just now.
        let listed = cluster.run(&["job", "list", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let jobs = listed["jobs"].as_array().cloned().unwrap_or_default();
        if jobs.len() == number && jobs[0]["shards_done"].as_u64() > Some(0) {
            let state = &jobs[0]["state"];
            assert_ne!(state, "succeeded", "it was done before it was looked at");
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "job {number} has no shard in time: {jobs:?}\n{}",
            tail(&std::fs::read_to_string(cluster.log()).unwrap(), 60)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
