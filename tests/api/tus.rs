//! Resumable uploads by tus.

use std::{io::Write, net::TcpStream, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use reelraft::{
    api::limits::UPLOAD_CHUNKS_MAX,
    data::upload::{Order, UploadRequest},
    http::limits::CHECKED_BYTES_MAX,
};
use reelraft_harness::HttpAnswer;
use tokio::{sync::mpsc, task::block_in_place, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::{http::Client, node::start};

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// An upload by tus: its path, and how far it is.
struct Tus<'a> {
    client: &'a Client,
    path: String,
}

impl<'a> Tus<'a> {
    async fn create(client: &'a Client, bytes: usize, metadata: &str) -> Tus<'a> {
        let headers = format!("{TUS}Upload-Length: {bytes}\r\nUpload-Metadata: {metadata}\r\n");
        let made = client
            .ask("POST", "/api/v1/uploads?width=1280", &headers, b"")
            .await;
        assert_eq!(made.status, 201, "{:?}", made.json());
        let path = made.header("location").unwrap().to_string();
        Tus { client, path }
    }

    async fn offset(&self) -> usize {
        let head = self.client.ask("HEAD", &self.path, TUS, b"").await;
        assert_eq!(head.header("cache-control"), Some("no-store"));
        head.header("upload-offset").unwrap().parse().unwrap()
    }

    async fn patch(&self, offset: usize, body: &[u8]) -> HttpAnswer {
        let headers = format!(
            "{TUS}Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
        );
        self.client.ask("PATCH", &self.path, &headers, body).await
    }

    /// Sends a part; where the next one begins.
    async fn send(&self, offset: usize, body: &[u8]) -> usize {
        let sent = self.patch(offset, body).await;
        assert_eq!(sent.status, 204, "{:?}", sent.json());
        sent.header("upload-offset").unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_by_tus_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(&folder.path().join("node")).await;
    let (client, _stop) = Client::serve(access.clone()).await;
    let (other, _stop) = Client::serve(access).await;
    let source: Vec<u8> = (0..2_500_000u32).map(|byte| (byte % 251) as u8).collect();

    // "film.mov", and --width 1280.
    let tus = Tus::create(
        &client,
        source.len(),
        "filename ZmlsbS5tb3Y=,width MTI4MA==",
    )
    .await;
    assert_eq!(tus.offset().await, 0);
    let mut at = 0;
    for _ in 0..3 {
        at = tus.send(at, &source[at..at + 400_000]).await;
        assert_eq!(tus.offset().await, at);
    }
    assert_eq!(at, 1_200_000, "less than a chunk is kept, too");
    for wrong in [0, 1 << 20, at - 1, at + 1, source.len()] {
        let refused = tus.patch(wrong, &source[wrong..]).await;
        assert_eq!(refused.refusal(), (409, "wrong-offset".into()), "{wrong}");
        assert_eq!(tus.offset().await, at);
    }
    let long = tus.patch(at, &source).await;
    assert_eq!(long.refusal(), (413, "too-large".into()));

    // Another node knows what is safe, and not what this one keeps of a chunk.
    let there = Tus {
        client: &other,
        path: tus.path.clone(),
    };
    at = there.offset().await;
    assert_eq!(at, 1 << 20);
    at = there.send(at, &source[at..]).await;
    assert_eq!(at, source.len());
    assert_eq!(tus.offset().await, at);
    let job = tus.path.replace("uploads", "jobs");
    let job = client.get(&job).await.json();
    assert_eq!(job["spec"]["width"], 1280);
    assert_eq!(job["source_name"], "film.mov");
    assert!(job["source_root"].is_string());
    let ended = client.ask("DELETE", &tus.path, TUS, b"").await;
    assert_eq!(ended.refusal(), (409, "not-uploading".into()));
    stopper.send(true).unwrap();
}

/// Begins a part that is to have all the rest of the source, and hangs up within it.
fn hang_up(tus: &Tus<'_>, offset: usize, source: &[u8], sent: usize, more: &str) {
    let Client { address, secret } = tus.client;
    let (path, bytes) = (&tus.path, source.len() - offset);
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {secret}\r\n{TUS}\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n{more}\
         Content-Length: {bytes}\r\n\r\n"
    );
    block_in_place(|| {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&source[offset..][..sent]).unwrap();
    });
}

/// On a line that breaks each time before a chunk is through, an upload moves all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_line_broke_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let source: Vec<u8> = (0..2_500_000u32).map(|byte| (byte % 251) as u8).collect();
    let tus = Tus::create(&client, source.len(), "").await;
    let reached = async |offset: usize| {
        for _ in 0..300 {
            if tus.offset().await == offset {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it stays at {}, and not {offset}", tus.offset().await);
    };
    // What was to be checked, and could not be, is no part of it.
    let sum = BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &source));
    let sum = format!("Upload-Checksum: sha256 {sum}\r\n");
    hang_up(&tus, 0, &source, 900_000, &sum);
    hang_up(&tus, 0, &source, 700_000, "");
    reached(700_000).await;
    hang_up(&tus, 700_000, &source, 200_000, "");
    reached(900_000).await;
    hang_up(&tus, 900_000, &source, 1_500_000, "");
    reached(2_400_000).await;
    let end = tus.send(2_400_000, &source[2_400_000..]).await;
    assert_eq!(end, source.len());
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tus_says_wrong_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let able = client.ask("OPTIONS", "/api/v1/uploads", "", b"").await;
    assert_eq!(
        able.header("tus-extension"),
        Some("creation,termination,checksum")
    );
    for (headers, refusal) in [
        ("Upload-Length: 7\r\n", (412, "unknown-version")),
        ("Tus-Resumable: 1.0.0\r\n", (400, "bad-request")),
        (
            "Tus-Resumable: 1.0.0\r\nUpload-Length: x\r\n",
            (400, "bad-request"),
        ),
        (
            "Tus-Resumable: 1.0.0\r\nUpload-Length: 0\r\n",
            (400, "empty-source"),
        ),
        (
            "Tus-Resumable: 1.0.0\r\nUpload-Length: 7\r\nUpload-Metadata: name %\r\n",
            (400, "bad-request"),
        ),
        (
            "Tus-Resumable: 1.0.0\r\nUpload-Length: 99999999999999999\r\n",
            (413, "too-large"),
        ),
    ] {
        let answer = client.ask("POST", "/api/v1/uploads", headers, b"").await;
        let (status, kind) = refusal;
        assert_eq!(answer.refusal(), (status, kind.into()), "{headers}");
    }
    let colour = client
        .ask("POST", "/api/v1/uploads?colour=red", TUS, b"")
        .await;
    assert_eq!(colour.refusal(), (400, "bad-spec".into()));
    assert_eq!(colour.header("tus-version"), Some("1.0.0"));
    // One that ended before it was whole is not taken for whole.
    let gone = Tus::create(&client, 7, "").await;
    let job = gone.path.replace("uploads", "jobs");
    client.ask("POST", &format!("{job}/cancel"), "", b"").await;
    assert_eq!(client.ask("HEAD", &gone.path, TUS, b"").await.status, 410);
    assert_eq!(gone.patch(7, b"").await.refusal(), (410, "not-kept".into()));
    let tus = Tus::create(&client, 8, "").await;
    let untyped = client.ask("PATCH", &tus.path, TUS, b"1234567").await;
    assert_eq!(untyped.refusal(), (415, "unsupported-type".into()));
    assert_eq!(client.ask("DELETE", &tus.path, TUS, b"").await.status, 204);
    assert_eq!(client.ask("HEAD", &tus.path, TUS, b"").await.status, 404);
    stopper.send(true).unwrap();
}

/// How far an upload is can be asked at any time: it is read, and no upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_is_told_where_uploads_find_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access.clone()).await;
    let film = vec![7; 17 << 20];
    let tus = Tus::create(&client, film.len(), "").await;
    let at = tus.send(0, &film[..1 << 20]).await;
    let job = tus.path.rsplit('/').next().unwrap().to_string();
    let mut held = Vec::new();
    loop {
        let (up, incoming) = mpsc::channel(1);
        let job = job.clone();
        up.send(Ok(UploadRequest::Open { job })).await.unwrap();
        let replies = access
            .operator()
            .upload(ReceiverStream::new(incoming), Order::Any)
            .await;
        let Ok(replies) = replies else { break };
        held.push((up, replies));
        assert!(held.len() < UPLOAD_CHUNKS_MAX);
    }
    let refused = tus.patch(at, &film[at..]).await;
    assert_eq!(refused.refusal(), (503, "too-busy".into()));
    assert_eq!(tus.offset().await, at);
    drop(held);
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_another_checksum_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let source: Vec<u8> = (0..1_500_000u32).map(|byte| (byte % 251) as u8).collect();
    let tus = Tus::create(&client, source.len() + CHECKED_BYTES_MAX, "").await;
    let sum = |algorithm, bytes: &[u8]| {
        let sum = ring::digest::digest(algorithm, bytes);
        BASE64_STANDARD.encode(sum)
    };
    let send = async |offset: usize, checksum: String, body: &[u8]| {
        let headers = format!(
            "{TUS}Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n\
             Upload-Checksum: {checksum}\r\n"
        );
        client.ask("PATCH", &tus.path, &headers, body).await
    };
    let other = sum(&ring::digest::SHA256, b"other");
    let refused = send(0, format!("sha256 {other}"), &source).await;
    assert_eq!(refused.refusal(), (460, "checksum-mismatch".into()));
    assert_eq!(tus.offset().await, 0);
    let unknown = send(0, format!("md5 {other}"), &source).await;
    assert_eq!(unknown.refusal(), (400, "bad-request".into()));
    let large = vec![7; CHECKED_BYTES_MAX + 1];
    let too_large = send(0, format!("sha256 {other}"), &large).await;
    assert_eq!(too_large.refusal(), (413, "too-large".into()));

    let (first, second) = source.split_at(700_000);
    let sha1 = sum(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, first);
    let sent = send(0, format!("sha1 {sha1}"), first).await;
    assert_eq!(sent.header("upload-offset"), Some("700000"));
    let sha256 = sum(&ring::digest::SHA256, second);
    let sent = send(700_000, format!("sha256 {sha256}"), second).await;
    assert_eq!(sent.header("upload-offset"), Some("1500000"));
    stopper.send(true).unwrap();
}
