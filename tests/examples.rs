//! The example that people learn from does what it says.
#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

use reelraft_harness::{LocalCluster, Options, blake3_of, example, frames_of, make_clip};

/// Runs the client; what it prints.
fn submit_and_fetch(cluster: &LocalCluster, clip: &Path, out: &Path) -> String {
    let output = Command::new(example("submit_and_fetch"))
        .arg(cluster.endpoint(1))
        .args([clip, out])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn submit_and_fetch_makes_a_film_once_and_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, out) = (
        folder.path().join("clip.mp4"),
        folder.path().join("out.mp4"),
    );
    make_clip(&clip, 2, "320x180");
    let options = Options {
        nodes: 1,
        ..Options::default()
    };
    let cluster = LocalCluster::start(&folder.path().join("cluster"), options);

    let printed = submit_and_fetch(&cluster, &clip, &out);
    assert!(printed.contains("1 chunks are safe"), "{printed}");
    assert!(printed.contains(&blake3_of(&out)), "{printed}");
    assert_eq!(frames_of(&out), 48);

    let again = submit_and_fetch(&cluster, &clip, &out);
    assert!(!again.contains("chunks are safe"), "{again}");
    assert_eq!(again.lines().next(), printed.lines().next());
    let jobs = cluster.json(&["job", "list"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
}
