//! Requests that are wrong, half there, or meant to harm: each is told what is
//! wrong with it, and nothing that was safe is lost.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use reelraft_harness::HttpAnswer;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    http::Client,
    node::{SECRET, start},
};

/// A body that says it is so long, of which this much comes before the client
/// closes its half of the connection.
fn half_closed(client: &Client, head: &str, bytes: usize, body: &[u8]) -> HttpAnswer {
    block_in_place(|| {
        let mut socket = TcpStream::connect(&client.address).unwrap();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\n\
             Content-Length: {bytes}\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(b"\r\n").unwrap();
        socket.write_all(body).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        HttpAnswer::parse(answer).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_upload_is_told_so_and_what_was_safe_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let source = vec![7; 3 << 20];
    let job = json!({"source_bytes": source.len()});
    let made = client.create("one", &job).await;
    let path = made.header("location").unwrap().to_string();

    let half = &source[..(3 << 20) / 2];
    let head = format!("PUT {path}/source");
    let lost = half_closed(&client, &head, source.len(), half);
    assert_eq!(lost.refusal(), (408, "client-lost".into()));
    let upload = path.replace("jobs", "uploads");
    let offset = async || {
        let tus = "Tus-Resumable: 1.0.0\r\n";
        let head = client.ask("HEAD", &upload, tus, b"").await;
        head.header("upload-offset").unwrap().to_string()
    };
    assert_eq!(offset().await, (1 << 20).to_string());

    let lost = half_closed(&client, "POST /api/v1/jobs", 100, b"{\"source_bytes\": 7");
    assert_eq!(lost.refusal(), (408, "client-lost".into()));
    let place = format!("{path}/source");
    let whole = client.ask("PUT", &place, "", &source).await;
    assert_eq!(whole.status, 200);
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_again_with_another_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let source = vec![7; 1 << 20];
    let job = json!({"source_bytes": source.len(), "source_name": "a.mov"});
    assert_eq!(client.create("one", &job).await.status, 201);
    for other in [
        json!({"source_bytes": 7, "source_name": "a.mov"}),
        json!({"source_bytes": source.len(), "source_name": "b.mov"}),
        json!({"source_bytes": source.len(), "source_name": "a.mov", "spec": {"width": 2}}),
    ] {
        let refused = client.create("one", &other).await;
        assert_eq!(
            refused.refusal(),
            (409, "request-id-reused".into()),
            "{other}"
        );
    }
    let key = "Idempotency-Key: one\r\n";
    let refused = client.ask("PUT", "/api/v1/transcode", key, &source).await;
    assert_eq!(refused.refusal(), (409, "request-id-reused".into()));
    let tus = format!("{key}Tus-Resumable: 1.0.0\r\nUpload-Length: 8\r\n");
    let refused = client.ask("POST", "/api/v1/uploads", &tus, b"").await;
    assert_eq!(refused.refusal(), (409, "request-id-reused".into()));
    let jobs = client.get("/api/v1/jobs").await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_none_and_paths_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    for path in [
        "/api/v1/jobs/../../../etc/passwd",
        "/api/v1/jobs/..%2f..%2f..%2fetc%2fpasswd/output",
        "/api/v1/jobs/%2e%2e/output",
        "/api/v1/jobs/%00/output",
        "//api/v1/jobs",
        "/api/v1/jobs/",
        "/api/v1//jobs",
        "/API/v1/jobs",
        "/api/v1/jobs/a\\..\\b/proof",
    ] {
        let refused = client.get(path).await;
        assert_eq!(refused.refusal(), (404, "not-found".into()), "{path}");
    }
    for (headers, path) in [
        ("", "/api/v1/jobs?tenant=%ff"),
        ("", "/api/v1/jobs/%ff/output"),
        ("", "/api/v1/uploads/%c3%28"),
    ] {
        let method = if path.contains("uploads") {
            "HEAD"
        } else {
            "GET"
        };
        let refused = client.ask(method, path, headers, b"").await;
        assert_eq!(refused.status, 400, "{path}");
    }
    for head in [
        &b"POST /api/v1/jobs HTTP/1.1\r\nIdempotency-Key: \xff\xfe\r\n"[..],
        b"GET /api/v1/jobs/a/output HTTP/1.1\r\nRange: bytes=\xff-\r\n",
    ] {
        let mut request = head.to_vec();
        request.extend(
            format!(
                "Host: a\r\nConnection: close\r\nAuthorization: Bearer {SECRET}\r\n\
             Content-Length: 2\r\n\r\n{{}}"
            )
            .bytes(),
        );
        let refused = client.raw(&request);
        assert!([400, 404].contains(&refused.status), "{}", refused.head);
        assert!(refused.json()["hint"].is_string());
    }
    for body in [
        &b"{\"source_bytes\": 7, \"source_name\": \"\xff\"}"[..],
        b"\xff\xfe{}",
        b"{\"source_bytes\": 1e400}",
    ] {
        let refused = client.ask("POST", "/api/v1/jobs", "", body).await;
        assert_eq!(refused.refusal(), (400, "bad-request".into()));
    }
    stopper.send(true).unwrap();
}
