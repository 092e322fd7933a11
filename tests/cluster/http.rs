//! The HTTP port through a failover: what was safe stays safe, on any node.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reelraft_harness::{HttpAnswer, LocalCluster, Options, http_ask};

use crate::{calm, clip};

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// How long the survivors may take to answer again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a node until it answers without a fault of its own, as upload
/// libraries do.
pub fn ask(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpAnswer {
    let started = Instant::now();
    loop {
        let answer = http_ask(address, method, path, headers, body);
        match answer {
            Ok(answer) if answer.status < 500 => return answer,
            answer => assert!(started.elapsed() < PATIENCE, "{answer:?}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn offset(answer: &HttpAnswer) -> usize {
    let offset = answer.header("upload-offset");
    offset.and_then(|offset| offset.parse().ok()).unwrap()
}

/// A cluster that serves HTTP, whose dead nodes stay dead.
pub fn with_http(folder: &Path) -> LocalCluster {
    let options = Options {
        restart: false,
        http: true,
        ..Default::default()
    };
    LocalCluster::start(folder, options)
}

/// The clip with a box of so many MiB that says nothing, so that its upload has
/// several chunks.
pub fn padded(mebibytes: u32) -> Vec<u8> {
    let mut source = std::fs::read(clip()).unwrap();
    let padding = mebibytes << 20;
    source.extend(padding.to_be_bytes());
    source.extend(b"free");
    source.resize(source.len() + padding as usize - 8, 0);
    source
}

/// The leader takes the first half of an upload and is killed. The second half
/// goes to another node, and a third one gives the film, the same as always.
#[test]
fn an_upload_survives_the_node_that_took_its_last_chunk() {
    let calm = calm("mp4");
    let folder = tempfile::tempdir().unwrap();
    let cluster = with_http(folder.path());
    let source = padded(3);
    let leader = cluster.leader();
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let [first, second, third] = [leader, others[0], others[1]].map(|node| cluster.http(node));

    let options = "preset=medium&shard_seconds=1";
    let length = source.len();
    let headers = format!("{TUS}Upload-Length: {length}\r\n");
    let uploads = format!("/api/v1/uploads?{options}");
    let made = ask(&first, "POST", &uploads, &headers, b"");
    let path = made.header("location").unwrap().to_string();
    let part = |from: usize| {
        format!("{TUS}Content-Type: application/offset+octet-stream\r\nUpload-Offset: {from}\r\n")
    };
    let half = length / 2;
    let sent = ask(&first, "PATCH", &path, &part(0), &source[..half]);
    assert_eq!(offset(&sent), half);
    cluster.kill(leader);

    let there = offset(&ask(&second, "HEAD", &path, TUS, b""));
    assert!(there >= half - half % (1 << 20), "{there} of {half}");
    let sent = ask(&second, "PATCH", &path, &part(there), &source[there..]);
    assert_eq!(offset(&sent), length, "{sent:?}");

    let job = path.replace("uploads", "jobs");
    let events = ask(&second, "GET", &format!("{job}/events"), "", b"");
    assert!(String::from_utf8_lossy(&events.body).contains("\"state\":\"succeeded\""));
    let output = ask(&third, "GET", &format!("{job}/output"), "", b"");
    assert_eq!(output.header("etag"), Some(format!("\"{calm}\"").as_str()));
    assert_eq!(blake3::hash(&output.body).to_hex().as_str(), calm);
}

/// The CLI through the HTTP ports alone: the node that takes the upload is
/// killed in the middle of it, and the film is that of the calm run.
#[test]
#[ignore = "long: make test-all"]
fn the_cli_asks_over_http_through_a_failover() {
    let calm = calm("mp4");
    let folder = tempfile::tempdir().unwrap();
    let cluster = with_http(folder.path());
    let leader = cluster.leader();
    let others = (1..=3).filter(|node| *node != leader);
    let order: Vec<u64> = [leader].into_iter().chain(others).collect();
    let urls: Vec<String> = order
        .iter()
        .map(|node| format!("http://{}", cluster.http(*node)))
        .collect();
    let servers = urls.join(",");
    let source = folder.path().join("film.mp4");
    std::fs::write(&source, padded(16)).unwrap();
    let output = folder.path().join("out.mp4");
    let mut transcoding = cluster
        .cli(&["transcode", "--server", &servers])
        .args([&source, &output])
        .args(["--preset", "medium", "--shard-seconds", "1"])
        // Nobody must get through by another way.
        .env("REELRAFT_ENDPOINTS", "127.0.0.1:1")
        .spawn()
        .unwrap();
    // It has begun when the first node knows a job.
    let started = Instant::now();
    while ask(&urls[0][7..], "GET", "/api/v1/jobs", "", b"")
        .body
        .len()
        < 40
    {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.kill(leader);
    assert!(transcoding.wait().unwrap().success());
    let made = std::fs::read(&output).unwrap();
    assert_eq!(blake3::hash(&made).to_hex().as_str(), calm);
    let listed = cluster
        .cli(&["job", "list", "-o", "json", "--server", &urls[1]])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("succeeded"));
}
