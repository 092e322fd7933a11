//! A finished job's output is compared with its source after the fact, by its homes, one
//! of which is killed meanwhile; and comes out as it does while it is encoded.

use reelraft_harness::{LocalCluster, Options, http_ask};
use serde_json::Value;

use crate::{clip, newest, piped, succeed};

/// Options that cut the clip into six shards.
const CUT: [&str; 4] = ["--preset", "ultrafast", "--shard-seconds", "1"];

/// What was found of each shard.
fn series(film: &Value) -> Vec<Value> {
    let shards = film["measured"].as_array().unwrap().iter();
    shards.map(|shard| shard["series"].clone()).collect()
}

/// The newest job's id, once the file was made with these options.
fn made(cluster: &LocalCluster, out: &std::path::Path, more: &[&str]) -> String {
    let files = ["transcode", clip().to_str().unwrap(), out.to_str().unwrap()];
    let args = [&files, &CUT[..], more].concat();
    succeed(&piped(cluster, &args).wait_with_output().unwrap());
    let job = newest(cluster).unwrap();
    job["id"].as_str().unwrap().to_string()
}

#[test]
fn an_output_is_measured_after_the_fact() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        http: true,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let out = folder.path().join("film.mp4");
    let along = made(&cluster, &out, &["--measure"]);
    let along = series(&cluster.json(&["job", "measure", &along]));
    assert!(along.len() > 3, "{along:?}");

    let plain = made(
        &cluster,
        &folder.path().join("plain.mp4"),
        &["--hold-source"],
    );
    let port = cluster.http(1);
    let path = format!("/api/v1/jobs/{plain}/measure");
    let before = http_ask(&port, "GET", &path, "", b"").unwrap();
    assert_eq!(before.json()["state"], "not-measured");
    let shown = cluster.json(&["job", "show", &plain]);
    let home = shown["homes"][0]["node"].as_u64().unwrap();
    let drawing = folder.path().join("film.svg");
    let args = ["job", "measure", &plain, "--svg", drawing.to_str().unwrap()];
    let measuring = piped(&cluster, &[&args[..], &["-o", "json"]].concat());
    cluster.kill(home);
    let measured = measuring.wait_with_output().unwrap();
    succeed(&measured);
    let measured: Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!(series(&measured), along);
    let drawing = std::fs::read_to_string(drawing).unwrap();
    assert_eq!(drawing.matches("class=\"joint\"").count(), 2 * along.len());

    // It stays with the job, and any node tells it.
    for node in 1..=3 {
        let asked = || http_ask(&cluster.http(node), "GET", &path, "", b"");
        let started = std::time::Instant::now();
        let told = loop {
            match asked() {
                // One that was killed may not know of it yet.
                Ok(told) if told.status == 200 && told.json()["state"] == "measured" => {
                    break told.json();
                }
                told if started.elapsed().as_secs() > 60 => panic!("{told:?}"),
                _ => std::thread::sleep(std::time::Duration::from_millis(200)),
            }
        };
        assert_eq!(
            (&told["state"], series(&told)),
            (&"measured".into(), along.clone())
        );
    }
    let tasks = cluster.json(&["job", "tasks", &plain]).to_string();
    assert!(
        tasks.contains("assemble") && !tasks.contains("\"measure\""),
        "{tasks}"
    );
    let state = &cluster.json(&["job", "show", &plain])["state"];
    assert_eq!(state, "succeeded");
}
