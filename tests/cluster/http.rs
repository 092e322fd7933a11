//! The HTTP port through a failover: what was safe stays safe, on any node.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reelraft_harness::{HttpAnswer, LocalCluster, Options, http_ask};

use crate::{calm, clip, wait_until_midway};

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// How long the survivors may take to answer again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a node until it answers without a fault of its own, as upload
/// libraries do.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpAnswer {
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

/// The leader takes the first half of an upload and is killed. The second half
/// goes to another node, and a third one gives the film, the same as always.
#[test]
fn an_upload_survives_the_node_that_took_its_last_chunk() {
    let calm = calm("mp4");
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        restart: false,
        http: true,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let mut source = std::fs::read(clip()).unwrap();
    // A box that says nothing, so that the upload has several chunks.
    let padding: u32 = 3 << 20;
    source.extend(padding.to_be_bytes());
    source.extend(b"free");
    source.resize(source.len() + padding as usize - 8, 0);
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
