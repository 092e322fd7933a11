//! What a node keeps: no more than it is told, and whole, as a check that is asked for
//! finds out.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{backup::Alone, clip, succeed};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The only node, as soon as what it says is such.
fn node_that(alone: &Alone, such: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = alone.json(&["cluster", "status"]).unwrap_or_default();
        let node = status["nodes"][0].clone();
        if such(&node) {
            return node;
        }
        assert!(begun.elapsed() < PATIENCE, "not yet: {node}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Flips a bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_node_keeps_what_it_is_told_and_finds_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("node");
    let settings = [
        "--disk-limit",
        "1G",
        "--copy-rate",
        "50M",
        "--zone",
        "rack-7",
    ];
    let alone = Alone::start(&data, &settings);
    let node = node_that(&alone, |node| {
        node["reachable"] == true && node["zone"] == "rack-7"
    });
    assert_eq!(node["disk_total_bytes"], 1 << 30);
    assert_eq!(node["copies"]["bytes_per_second_max"], 50 << 20);
    assert_eq!(node["scrub"]["damaged"], 0);

    let large = dir.path().join("large.mp4");
    let sparse = File::create(&large).unwrap();
    sparse.set_len(2 << 30).unwrap();
    let refused = alone.ask("", &["job", "submit", large.to_str().unwrap(), "--detach"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("error: disk-full: "), "{said}");

    let out = dir.path().join("out.mp4");
    let (clip, to) = (clip().to_str().unwrap(), out.to_str().unwrap());
    succeed(&alone.ask("", &["transcode", clip, to, "--preset", "veryfast"]));
    let listed = alone.json(&["job", "list"]).unwrap();
    let job = &listed["jobs"][0];
    let (id, hash) = (
        job["id"].as_str().unwrap(),
        job["output_hash"].as_str().unwrap(),
    );
    damage(&data.join("blobs").join(id).join(hash));
    let asked = alone.json(&["cluster", "scrub"]).unwrap();
    assert_eq!(asked["nodes"], serde_json::json!([1]));
    let node = node_that(&alone, |node| node["scrub"]["damaged"] == 1);
    assert_eq!(node["scrub"]["running"], false);
    let shown = alone.ask("", &["cluster", "nodes"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("node 1 found 1 damaged"), "{shown}");
    let nobody = alone.ask("", &["cluster", "scrub", "9"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("error: not-found: "), "{said}");
}
