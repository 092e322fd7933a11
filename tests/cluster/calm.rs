//! What one calm cluster of three nodes shows.

use std::{
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options};

use crate::{clip, newest, piped, succeed};

/// The checks share a cluster: they take turns and leave it as it was.
#[test]
fn a_calm_cluster_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            // A day by default.
            environment: vec![("REELRAFT_SCRUB_EVERY".into(), "1".into())],
            ..Default::default()
        },
    );
    two_clients_with_one_request_id_get_one_job(&cluster);
    lossless_output_has_the_frames_and_times_of_the_printed_reference(&cluster, folder.path());
    a_damaged_blob_that_nobody_reads_is_found_and_mended(&cluster, folder.path());
}

fn two_clients_with_one_request_id_get_one_job(cluster: &LocalCluster) {
    let args = [
        "job",
        "submit",
        clip().to_str().unwrap(),
        "--request-id",
        "twice",
        "--detach",
        "--preset",
        "ultrafast",
        "-o",
        "json",
    ];
    let clients: Vec<Child> = (0..2).map(|_| piped(cluster, &args)).collect();
    for client in clients {
        succeed(&client.wait_with_output().unwrap());
    }
    let jobs = cluster.json(&["job", "list"]);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
}

/// Decoded frames with their times, as ffmpeg's framemd5 muxer prints them.
fn frames_and_times(path: &Path) -> String {
    let output = Command::new("ffmpeg")
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

fn lossless_output_has_the_frames_and_times_of_the_printed_reference(
    cluster: &LocalCluster,
    folder: &Path,
) {
    let out = folder.join("out.mkv");
    let args = [
        "transcode",
        clip().to_str().unwrap(),
        out.to_str().unwrap(),
        "--codec",
        "ffv1",
    ];
    succeed(&cluster.run(&[&args, &["--shard-seconds", "1"][..]].concat()));
    let id = newest(cluster).unwrap()["id"].as_str().unwrap().to_string();
    assert!(newest(cluster).unwrap()["shards_total"].as_u64().unwrap() > 3);

    let shown = cluster.json(&["job", "show", &id, "--reference"]);
    let mut words: Vec<String> = serde_json::from_value(shown["args"].clone()).unwrap();
    let input = words.iter().position(|word| word == "-i").unwrap() + 1;
    words[input] = clip().to_str().unwrap().to_string();
    let reference = folder.join("reference.mkv");
    *words.last_mut().unwrap() = reference.to_str().unwrap().to_string();
    succeed(&Command::new(&words[0]).args(&words[1..]).output().unwrap());
    assert_eq!(frames_and_times(&out), frames_and_times(&reference));
}

/// Rot in what nobody reads any more is found by the scrub and mended from
/// the other home.
fn a_damaged_blob_that_nobody_reads_is_found_and_mended(cluster: &LocalCluster, folder: &Path) {
    let id = newest(cluster).unwrap()["id"].as_str().unwrap().to_string();
    let job = cluster.json(&["job", "show", &id]);
    let home = job["homes"][0]["node"].as_u64().unwrap();
    let proof = job["proof_hash"].as_str().unwrap();
    let blobs = folder.join(format!("nodes/n{home}/blobs"));
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
