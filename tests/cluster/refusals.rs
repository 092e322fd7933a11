//! Everything that can't be: one clear error with a hint, the right exit
//! code, and no harm done (P10). Real processes, as a user meets them.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
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

/// The checks share a node: they take turns and leave it as it was.
#[test]
fn one_node_refuses_what_cannot_be_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        nodes: 1,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    a_second_node_on_the_same_folder_is_refused(folder.path());
    bad_requests_are_refused_and_the_cluster_goes_on(&cluster, folder.path());
    a_cancel_ends_ffmpeg_at_once_and_a_killed_ffmpeg_is_tried_again(&cluster, folder.path());
}

fn a_second_node_on_the_same_folder_is_refused(folder: &Path) {
    let data = folder.join("nodes/n1");
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
}

fn bad_requests_are_refused_and_the_cluster_goes_on(cluster: &LocalCluster, folder: &Path) {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let clip = folder.join("clip.mp4");
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
    let wide = ["transcode", clip, &at("out.mp4"), "--width", "100000"];
    refused(&cluster.run(&wide), 2, &["width"]);
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

fn a_cancel_ends_ffmpeg_at_once_and_a_killed_ffmpeg_is_tried_again(
    cluster: &LocalCluster,
    folder: &Path,
) {
    let clip = folder.join("long.mp4");
    make_clip(&clip, 10, "640x360");
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

    let out = folder.join("small.mp4");
    let args = [
        "transcode",
        clip,
        out.to_str().unwrap(),
        "--preset",
        "ultrafast",
        "--width",
        "320",
    ];
    let mut child = cluster.cli(&args).stderr(Stdio::null()).spawn().unwrap();
    let encoders = wait_for_encoders(node, |found| !found.is_empty());
    let _ = Command::new("kill")
        .args(["-KILL", &encoders[0].to_string()])
        .status();
    assert!(child.wait().unwrap().success());
    assert_eq!(frames_of(&out), 240);
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

#[test]
fn a_closed_standard_output_is_not_a_panic() {
    let commands: [&[&str]; 4] = [
        &["config", "show", "--data", "x"],
        &["config", "show", "--data", "x", "--output", "json"],
        &["completions", "bash"],
        &["doctor"],
    ];
    for words in commands {
        let mut child = Command::new(binary())
            .args(words)
            .env("REELRAFT_FFMPEG", "/no/such/ffmpeg")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{words:?}: {stderr}");
        // Doctor misses ffmpeg, which is what its exit code is for.
        let wanted = i32::from(words == ["doctor"]);
        assert_eq!(output.status.code(), Some(wanted), "{words:?}: {stderr}");
    }
}
