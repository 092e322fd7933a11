//! A film made for one request, and its download, through the loss of leaders.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, frames_of};

use crate::{calm, clip, http::ask, wait_until_midway};

/// How long the first shard may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first bytes of a download that its node does not live to finish, and the
/// file's tag.
fn first_bytes(address: &str, path: &str, bytes: usize) -> (Vec<u8>, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut found = Vec::new();
    let mut reader = BufReader::new(socket);
    let mut tag = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("etag: ") {
            tag = value.trim().to_string();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.take(bytes as u64).read_to_end(&mut found).unwrap();
    assert_eq!(found.len(), bytes);
    (found, tag)
}

/// What is encoded by now can be looked at, whichever node is asked.
fn look_at_its_beginning(cluster: &LocalCluster, node: u64) {
    let address = cluster.http(node);
    let listed = ask(&address, "GET", "/api/v1/jobs", "", b"");
    let listed: serde_json::Value = serde_json::from_slice(&listed.body).unwrap();
    let job = listed["jobs"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/jobs/{job}/preview");
    let started = Instant::now();
    let preview = loop {
        let preview = ask(&address, "GET", &path, "", b"");
        let too_early = preview.status == 409 && started.elapsed() < PATIENCE;
        if !too_early {
            break preview;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(preview.status, 200, "{preview:?}");
    assert_eq!(preview.header("content-type"), Some("video/mp4"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("preview.mp4");
    std::fs::write(&file, &preview.body).unwrap();
    // Shards are a second long.
    let frames = frames_of(&file);
    assert!(frames >= 24, "{frames} frames");
}

/// The leader is killed while a film is made for a `curl -T` to another node, and
/// the next one while it gives a download: the film is the same as always, and the
/// download goes on at another node.
#[test]
fn a_film_in_one_request_and_its_download_survive_the_leader() {
    let calm = calm("mp4");
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        http: true,
        slots: Some(1),
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let leader = cluster.leader();
    let asked = cluster.http(leader % 3 + 1);
    let source = std::fs::read(clip()).unwrap();
    let running = std::thread::spawn(move || {
        let path = "/api/v1/transcode?preset=medium&shard_seconds=1";
        ask(&asked, "PUT", path, "Idempotency-Key: one\r\n", &source)
    });
    wait_until_midway(&cluster, 1);
    look_at_its_beginning(&cluster, leader % 3 + 1);
    cluster.kill(leader);
    let film = running.join().unwrap();
    assert_eq!(film.status, 200, "{film:?}");
    assert_eq!(blake3::hash(&film.body).to_hex().as_str(), calm);

    let leader = cluster.wait_for_leader();
    let job = film.header("reelraft-job").unwrap();
    let path = format!("/api/v1/jobs/{job}/output");
    let half = film.body.len() / 2;
    let (mut whole, tag) = first_bytes(&cluster.http(leader), &path, half);
    cluster.kill(leader);
    let other = cluster.http(leader % 3 + 1);
    let rest = format!("Range: bytes={half}-\r\nIf-Range: {tag}\r\n");
    let rest = ask(&other, "GET", &path, &rest, b"");
    assert_eq!(rest.status, 206, "{}", rest.head);
    whole.extend(&rest.body);
    assert_eq!(blake3::hash(&whole).to_hex().as_str(), calm);
}
