//! Everything that can't be: one clear error with a hint, the right exit
//! code, and no harm done (P10). Real processes, as a user meets them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, binary, frames_of, make_clip};

/// Checks the exit code, that there is an error with its kind, a hint, and no
/// panic.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let error = stderr.split_once("error: ").map(|(_, error)| error);
    let kind = error.and_then(|error| error.split_once(": ")).unwrap().0;
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    assert!(kind.bytes().all(word), "no kind: {stderr}");
    assert!(code == 2 || stderr.contains("hint: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "'{word}' is not in: {stderr}");
    }
}

#[test]
fn bad_requests_are_refused_and_the_cluster_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let cluster = LocalCluster::start(&folder.path().join("cluster"), Options::default());
    let clip = folder.path().join("clip.mp4");
    make_clip(&clip, 3, "160x90");
    let clip = clip.to_str().unwrap();

    std::fs::write(at("text.mp4"), "this is no film\n".repeat(100)).unwrap();
    refused(
        &cluster.run(&["transcode", &at("text.mp4"), &at("out.mp4")]),
        5,
        &["video"],
    );
    assert!(!Path::new(&at("out.mp4")).exists());
    std::fs::write(at("empty.mp4"), "").unwrap();
    refused(
        &cluster.run(&["transcode", &at("empty.mp4"), &at("out.mp4")]),
        1,
        &["empty"],
    );
    refused(
        &cluster.run(&["transcode", &at("nowhere.mp4"), &at("out.mp4")]),
        1,
        &["nowhere.mp4"],
    );
    refused(
        &cluster.run(&["transcode", clip, &at("out.mp4"), "--codec", "h265"]),
        2,
        &["h265"],
    );
    for width in ["0", "100000"] {
        refused(
            &cluster.run(&["transcode", clip, &at("out.mp4"), "--width", width]),
            2,
            &["width"],
        );
    }
    refused(
        &cluster.run(&["transcode", clip, &at("out.webm"), "--codec", "h264"]),
        2,
        &["h264", "webm"],
    );
    refused(
        &cluster.run(&["transcode", clip, &at("out.mp4"), "--codec", "ffv1"]),
        2,
        &["ffv1", "mp4"],
    );
    refused(
        &cluster.run(&["transcode", clip, "/proc/out.mp4"]),
        1,
        &["/proc/out.mp4"],
    );
    for verb in ["show", "delete"] {
        refused(
            &cluster.run(&["job", verb, "j00000000000000000000"]),
            4,
            &["j00000000000000000000"],
        );
    }
    assert_eq!(cluster.run(&["job", "frobnicate"]).status.code(), Some(2));

    let out = at("out.mp4");
    let fine = cluster.run(&["transcode", clip, &out]);
    assert!(
        fine.status.success(),
        "{}",
        String::from_utf8_lossy(&fine.stderr)
    );
    assert_eq!(frames_of(Path::new(&out)), 72);

    // The answer to a first request may have been lost: asked again, it is
    // done; and what is gone can't be seen any more.
    let id = cluster.json(&["job", "list"])["jobs"][0]["id"]
        .as_str()
        .unwrap()
        .to_string();
    for _ in 0..2 {
        assert!(cluster.run(&["job", "delete", &id]).status.success());
    }
    refused(&cluster.run(&["job", "show", &id]), 4, &[&id]);
}

#[test]
fn no_node_reachable_is_exit_code_3() {
    let output = Command::new(binary())
        .args([
            "cluster",
            "status",
            "--endpoints",
            "127.0.0.1:9,127.0.0.1:10",
        ])
        .output()
        .unwrap();
    refused(&output, 3, &["error: unreachable: ", "127.0.0.1:9"]);
}

#[test]
fn without_a_quorum_writes_fail_clearly_and_finished_files_can_be_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            restart: false,
            ..Default::default()
        },
    );
    let clip = folder.path().join("clip.mp4");
    make_clip(&clip, 3, "160x90");
    let (clip, out) = (clip.to_str().unwrap(), folder.path().join("out.mp4"));
    let made = cluster.run(&["transcode", clip, out.to_str().unwrap()]);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let id = cluster.json(&["job", "list"])["jobs"][0]["id"]
        .as_str()
        .unwrap()
        .to_string();
    let homes = cluster.json(&["job", "show", &id])["homes"].clone();
    let home = homes[0]["node"].as_u64().unwrap();
    for node in 1..=3 {
        if node != home {
            cluster.kill(node);
        }
    }
    let started = Instant::now();
    refused(&cluster.run(&["job", "submit", clip, "--detach"]), 3, &[]);
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "a submit without a quorum hung"
    );
    let again = folder.path().join("again.mp4");
    let fetched = cluster.run(&["job", "fetch", &id, again.to_str().unwrap()]);
    assert!(
        fetched.status.success(),
        "{}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    assert_eq!(
        reelraft_harness::blake3_of(&again),
        reelraft_harness::blake3_of(&out)
    );
}

#[test]
fn a_second_node_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            nodes: 1,
            ..Default::default()
        },
    );
    let data = folder.path().join("nodes/n1");
    let output = Command::new(binary())
        .args([
            "node",
            "--id",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    refused(
        &output,
        1,
        &["error: data-in-use: ", data.to_str().unwrap()],
    );
    assert!(cluster.status().is_some());
}

#[test]
fn without_ffmpeg_a_node_says_so_and_the_job_waits_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder
        .path()
        .join("no-such-ffmpeg")
        .to_str()
        .unwrap()
        .to_string();
    let environment = vec![("REELRAFT_FFMPEG".to_string(), missing.clone())];
    let doctor = Command::new(binary())
        .arg("doctor")
        .env("REELRAFT_FFMPEG", &missing)
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("ffmpeg"));

    let cluster = LocalCluster::start(
        &folder.path().join("cluster"),
        Options {
            nodes: 1,
            environment,
            ..Default::default()
        },
    );
    let clip = folder.path().join("clip.mp4");
    make_clip(&clip, 3, "160x90");
    let submitted = cluster.run(&["job", "submit", clip.to_str().unwrap(), "--detach"]);
    assert!(
        submitted.status.success(),
        "{}",
        String::from_utf8_lossy(&submitted.stderr)
    );
    let started = Instant::now();
    loop {
        let job = cluster.json(&["job", "list"])["jobs"][0].clone();
        if job["waiting"]
            .as_str()
            .is_some_and(|waiting| waiting.contains("encoder build"))
        {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{job}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_cancel_ends_ffmpeg_at_once_and_a_killed_ffmpeg_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            nodes: 1,
            ..Default::default()
        },
    );
    let clip = folder.path().join("clip.mp4");
    make_clip(&clip, 20, "1280x720");
    let clip = clip.to_str().unwrap();
    let node = cluster.pid(1);

    let submitted = cluster.run(&["job", "submit", clip, "--preset", "veryslow", "--detach"]);
    assert!(
        submitted.status.success(),
        "{}",
        String::from_utf8_lossy(&submitted.stderr)
    );
    let encoders = wait_for_encoders(node, |found| !found.is_empty());
    let id = cluster.json(&["job", "list"])["jobs"][0]["id"]
        .as_str()
        .unwrap()
        .to_string();
    assert!(cluster.run(&["job", "cancel", &id]).status.success());
    wait_for_encoders(node, |found| {
        found.iter().all(|pid| !encoders.contains(pid))
    });

    let out = folder.path().join("out.mp4");
    let args = [
        "transcode",
        clip,
        out.to_str().unwrap(),
        "--preset",
        "ultrafast",
        "--width",
        "320",
    ];
    let mut child = cluster.cli(&args).spawn().unwrap();
    let encoders = wait_for_encoders(node, |found| !found.is_empty());
    let _ = Command::new("kill")
        .args(["-KILL", &encoders[0].to_string()])
        .status();
    assert!(child.wait().unwrap().success());
    assert_eq!(frames_of(&out), 480);
}

/// The ffmpeg processes that are children of a node of ours.
fn encoders_of(node: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let mut fields = rest.split(' ');
        let running = fields.next() != Some("Z");
        if name.contains("(ffmpeg") && running && fields.next() == Some(&node.to_string()) {
            found.push(pid);
        }
    }
    found
}

fn wait_for_encoders(node: i32, wanted: impl Fn(&[i32]) -> bool) -> Vec<i32> {
    let started = Instant::now();
    loop {
        let found = encoders_of(node);
        if wanted(&found) {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "ffmpeg processes: {found:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
