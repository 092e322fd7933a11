//! The HTTP port of a node, by a client of our own that speaks it in plain text,
//! and by curl where there is one.

use std::{path::Path, process::Stdio};

use reelraft::{
    api::Access,
    grpc::router::web_services,
    http::{
        self, Port,
        limits::{CONNECTIONS_MAX, JSON_BYTES_MAX},
    },
};
use reelraft_harness::{HttpAnswer, http_ask, http_exchange};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::watch, task::block_in_place};

use crate::node::{SECRET, film, start, without_tls};

/// A port and who asks it.
pub struct Client {
    pub address: String,
    pub secret: &'static str,
}

impl Client {
    pub async fn serve(access: Access) -> (Client, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stopper, stop) = watch::channel(false);
        let port = Port::new(access);
        let router = http::router(port, web_services());
        tokio::spawn(http::server::serve(router, listener, without_tls(), stop));
        let secret = SECRET;
        (Client { address, secret }, stopper)
    }

    /// Sends a request as it is written.
    pub fn raw(&self, request: &[u8]) -> HttpAnswer {
        block_in_place(|| http_exchange(&self.address, request)).unwrap()
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpAnswer {
        let headers = format!("Authorization: Bearer {}\r\n{headers}", self.secret);
        block_in_place(|| http_ask(&self.address, method, path, &headers, body)).unwrap()
    }

    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.ask("GET", path, "", b"").await
    }

    pub async fn create(&self, key: &str, body: &Value) -> HttpAnswer {
        let headers = format!("Idempotency-Key: {key}\r\n");
        let body = body.to_string();
        self.ask("POST", "/api/v1/jobs", &headers, body.as_bytes())
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_made_by_plain_requests() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (access, stopper) = start(&folder.path().join("node")).await;
    let (client, _stop) = Client::serve(access).await;

    let job = json!({
        "source_name": "my film.mov",
        "source_bytes": source.len(),
        "spec": {"preset": "ultrafast", "shard_seconds": 1, "width": 32},
    });
    let made = client.create("one", &job).await;
    assert_eq!(made.status, 201, "{}", made.head);
    let path = made.header("location").unwrap().to_string();
    assert_eq!(made.json()["existed"], false);
    let again = client.create("one", &job).await;
    assert_eq!(
        (again.status, &again.json()["existed"]),
        (200, &json!(true))
    );
    let other = client.create("one", &json!({"source_bytes": 7})).await;
    assert_eq!(other.refusal(), (409, "request-id-reused".into()));
    let output = format!("{path}/output");
    assert_eq!(
        client.get(&output).await.refusal(),
        (409, "not-finished".into())
    );

    let short = client
        .ask("PUT", &format!("{path}/source"), "", b"short")
        .await;
    assert_eq!(short.refusal(), (400, "bad-request".into()));
    let sent = client
        .ask("PUT", &format!("{path}/source"), "", &source)
        .await;
    assert_eq!(sent.status, 200, "{:?}", sent.json());
    assert!(sent.json()["source_root"].is_string());

    let last = last_event(&client, &path).await;
    let seen = "Last-Event-ID: succeeded\r\n";
    let again = client
        .ask("GET", &format!("{path}/events"), seen, b"")
        .await;
    assert_eq!(again.status, 204, "an event source comes again by itself");
    assert_eq!(last["job"]["state"], "succeeded", "{last}");
    assert_eq!(last["job"]["spec"]["width"], 32);

    the_file_is_given(&client, &output).await;
    parts_are_given(&client, &path).await;
    tasks_are_told_of(&client, &path).await;
    let list = client.get("/api/v1/jobs?page_size=1").await.json();
    assert_eq!(list["jobs"][0]["state"], "succeeded");
    assert_eq!(client.get("/api/v1/cluster").await.json()["leader_id"], 1);
    nodes_are_given(&client).await;
    lists_are_filtered(&client).await;
    metrics_are_given(&client).await;
    let cancelled = client.ask("POST", &format!("{path}/cancel"), "", b"").await;
    assert_eq!(cancelled.status, 409);
    let deleted = client.ask("DELETE", &path, "", b"").await;
    assert_eq!(deleted.json()["state"], "deleted");
    assert_eq!(client.get(&path).await.refusal(), (404, "not-found".into()));
    stopper.send(true).unwrap();
}

async fn the_file_is_given(client: &Client, output: &str) {
    let whole = client.get(output).await;
    assert_eq!(whole.status, 200);
    let tag = whole.header("etag").unwrap().to_string();
    let hash = blake3::hash(&whole.body).to_hex().to_string();
    assert_eq!(tag, format!("\"{hash}\""));
    let disposition = whole.header("content-disposition").unwrap();
    assert!(
        disposition.ends_with("filename*=UTF-8''my%20film.mp4"),
        "{disposition}"
    );
    assert_eq!(whole.header("content-type"), Some("video/mp4"));
    ranges_are_given(client, output, &tag, &whole.body).await;
}

async fn nodes_are_given(client: &Client) {
    let nodes = client.get("/api/v1/nodes").await.json();
    let one = client.get("/api/v1/nodes/1").await.json();
    assert_eq!(
        (&nodes["nodes"][0]["id"], &one["id"]),
        (&json!(1), &json!(1))
    );
    for id in ["2", "one", "-1"] {
        let none = client.get(&format!("/api/v1/nodes/{id}")).await;
        assert_eq!(none.refusal(), (404, "not-found".into()), "{id}");
    }
}

/// Of one job that has succeeded, of the tenant and the name that it has.
async fn lists_are_filtered(client: &Client) {
    for (query, count) in [
        ("state=succeeded", 1),
        ("state=failed,succeeded", 1),
        ("state=failed", 0),
        ("name=MY%20FILM", 1),
        ("name=other", 0),
        ("tenant=default&state=succeeded&name=film", 1),
        ("tenant=another", 0),
    ] {
        let list = client.get(&format!("/api/v1/jobs?{query}")).await.json();
        assert_eq!(list["jobs"].as_array().unwrap().len(), count, "{query}");
    }
    let refused = client.get("/api/v1/jobs?state=done").await;
    assert_eq!(refused.refusal(), (400, "bad-request".into()));
}

async fn metrics_are_given(client: &Client) {
    let metrics = client.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "reelraft_leader 1",
        "reelraft_jobs{state=\"succeeded\"} 1",
        "reelraft_node_up{node=\"1\"} 1",
        "reelraft_tasks_running 0",
        "reelraft_attempts_total{kind=\"shard\",outcome=\"done\"} 3",
        "reelraft_attempt_frames_total{kind=\"shard\",outcome=\"done\"} 30",
        "reelraft_http_requests_total{route=\"/api/v1/jobs/{id}/source\",method=\"PUT\",status=\"4xx\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    what_watches_the_metrics_knows_them(&metrics);
}

/// The dashboard and the alert rules ask for metrics that there are.
fn what_watches_the_metrics_knows_them(metrics: &str) {
    let help = |line: &str| Some(line.strip_prefix("# HELP ")?.split(' ').next()?.to_string());
    let given: Vec<String> = metrics.lines().filter_map(help).collect();
    let dashboard = include_str!("../../docker/dashboard.json");
    let panels: Value = serde_json::from_str(dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() > 10);
    for (file, text) in [
        ("dashboard.json", dashboard),
        ("alerts.yaml", include_str!("../../docker/alerts.yaml")),
    ] {
        let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        let asked: Vec<&str> = words.filter(|word| word.starts_with("reelraft_")).collect();
        assert!(asked.len() > 10, "{file}");
        for name in asked {
            assert!(given.iter().any(|given| given == name), "{file}: {name}");
        }
    }
}

async fn parts_are_given(client: &Client, path: &str) {
    for (part, field) in [
        ("", "id"),
        ("/tasks", "tasks"),
        ("/proof", "shards"),
        ("/measure", "measured"),
        ("/reference", "args"),
        ("/command", "command"),
        ("/metadata", "source"),
        ("/metadata", "output"),
        ("/tasks/shard/1", "task"),
    ] {
        let answer = client.get(&format!("{path}{part}")).await;
        assert_eq!(answer.status, 200, "{part}");
        assert!(!answer.json()[field].is_null(), "{part} has no {field}");
    }
}

/// What is told of a finished job's tasks, and of the files around them.
async fn tasks_are_told_of(client: &Client, path: &str) {
    let metadata = client.get(&format!("{path}/metadata")).await.json();
    let width = |of: &str| metadata[of]["streams"][0]["width"].clone();
    assert_eq!((width("source"), width("output")), (json!(64), json!(32)));
    assert!(metadata["source"]["format"]["filename"].is_null());
    let shard = client.get(&format!("{path}/tasks/shard/1")).await.json();
    assert_eq!(shard["attempts"][0]["outcome"], "done");
    let log = client.get(&format!("{path}/tasks/shard/1/log")).await;
    assert_eq!(log.body, b"attempt 1 on node 1: done\n");
    for (task, refusal) in [
        ("shard/7", (404, "not-found")),
        ("shard/-1", (400, "bad-request")),
        ("film/1", (400, "bad-request")),
        ("assemble/1/output", (400, "bad-request")),
        ("shard/1/output", (410, "not-kept")),
    ] {
        let (status, kind) = refusal;
        let answer = client.get(&format!("{path}/tasks/{task}")).await;
        assert_eq!(answer.refusal(), (status, kind.into()), "{task}");
    }
}

/// The last event of a job, which comes when it has ended.
pub async fn last_event(client: &Client, job: &str) -> Value {
    let events = client.get(&format!("{job}/events")).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let text = String::from_utf8_lossy(&events.body).to_string();
    let last = text.lines().rfind(|line| line.contains("data: ")).unwrap();
    let (_, data) = last.split_once("data: ").unwrap();
    serde_json::from_str(data).unwrap()
}

async fn ranges_are_given(client: &Client, output: &str, tag: &str, whole: &[u8]) {
    let total = whole.len();
    let ask = async |headers: String| client.ask("GET", output, &headers, b"").await;
    let part = ask("Range: bytes=10-19\r\n".into()).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &whole[10..20]));
    let place = format!("bytes 10-19/{total}");
    assert_eq!(part.header("content-range"), Some(place.as_str()));
    let end = ask(format!("Range: bytes=-7\r\nIf-Range: {tag}\r\n")).await;
    assert_eq!(
        (end.status, end.body.as_slice()),
        (206, &whole[total - 7..])
    );
    let other = ask("Range: bytes=-7\r\nIf-Range: \"other\"\r\n".into()).await;
    assert_eq!((other.status, other.body.len()), (200, total));
    let beyond = ask(format!("Range: bytes={total}-\r\n")).await;
    assert_eq!(beyond.refusal(), (416, "past-the-end".into()));
    let known = ask(format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = client.ask("HEAD", output, "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(total.to_string().as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, stop) = Client::serve(access).await;

    for (method, path, refusal) in [
        ("GET", "/api/v1/jobs/none", (404, "not-found")),
        ("GET", "/api/v1/jobs/..%2f..%2fetc", (404, "not-found")),
        ("GET", "/api/v1/jobs/%ff", (400, "bad-request")),
        ("GET", "/api/v1/nothing", (404, "not-found")),
        ("GET", "/nothing", (404, "not-found")),
        ("PATCH", "/api/v1/jobs", (405, "method-not-allowed")),
        ("GET", "/api/v1/jobs?page=2", (400, "bad-request")),
        ("GET", "/api/v1/jobs?page_size=-1", (400, "bad-request")),
        ("GET", "/api/v1/jobs?page_token=x", (400, "bad-request")),
        ("PUT", "/api/v1/transcode?widht=10", (400, "bad-spec")),
        ("PUT", "/api/v1/transcode?codec=mpeg2", (400, "bad-spec")),
        ("PUT", "/api/v1/transcode", (400, "empty-source")),
        ("PUT", "/api/v1/jobs/none/source", (404, "not-found")),
    ] {
        let (status, kind) = refusal;
        let answer = client.ask(method, path, "", b"").await;
        assert_eq!(answer.refusal(), (status, kind.into()), "{method} {path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    for (body, kind) in [
        ("", "bad-request"),
        ("[]", "bad-request"),
        (r#"{"source_bytes": "7"}"#, "bad-request"),
        (r#"{"source_bytes": 7, "colour": 1}"#, "bad-request"),
        (r#"{"source_bytes": 7, "spec": {"colour": 1}}"#, "bad-spec"),
        (r#"{"source_bytes": 7, "spec": {"crf": 99}}"#, "bad-spec"),
        (r#"{"source_bytes": 0}"#, "empty-source"),
    ] {
        let answer = client
            .ask("POST", "/api/v1/jobs", "", body.as_bytes())
            .await;
        assert_eq!(answer.refusal(), (400, kind.into()), "{body}");
    }
    let large = vec![b' '; JSON_BYTES_MAX + 1];
    let answer = client.ask("POST", "/api/v1/jobs", "", &large).await;
    assert_eq!(answer.refusal(), (413, "too-large".into()));
    let chunked = format!(
        "PUT /api/v1/transcode HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answer = client.raw(chunked.as_bytes());
    assert_eq!(answer.refusal(), (411, "length-required".into()));

    let stranger = Client {
        address: client.address.clone(),
        secret: "sword",
    };
    for path in [
        "/metrics",
        "/api/v1/jobs",
        "/api/v1/cluster",
        "/api/v1/jobs/none/output",
    ] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.refusal(), (401, "unauthenticated".into()), "{path}");
    }
    assert_eq!(stranger.get("/healthz").await.status, 200);
    assert!([200, 503].contains(&stranger.get("/readyz").await.status));
    stop.send(true).unwrap();
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_waits_and_downloads_in_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (access, stopper) = start(&folder.path().join("node")).await;
    let (client, _stop) = Client::serve(access).await;
    let Some(first) = curl(&client, folder.path(), "a").await else {
        println!("skipped: there is no curl");
        return;
    };
    assert!(first.windows(4).any(|four| four == b"ftyp"));
    // The same request again finds its job, and the bytes are the same. Another
    // film under its key is told apart, though it is as long.
    let second = curl(&client, folder.path(), "a").await.unwrap();
    assert!(first == second);
    let jobs = client.get("/api/v1/jobs").await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(jobs["jobs"][0]["source_bytes"], source.len());

    let refused = async |key| -> Value {
        let answer = curl(&client, folder.path(), key).await.unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()["kind"].clone()
    };
    std::fs::write(folder.path().join("film.mp4"), vec![7; source.len()]).unwrap();
    assert_eq!(refused("a").await, "other-source");
    for _ in 0..2 {
        assert_eq!(refused("b").await, "unreadable-source");
    }
    stopper.send(true).unwrap();
}

/// What curl prints for a film; none where there is no curl.
async fn curl(client: &Client, folder: &Path, key: &str) -> Option<Vec<u8>> {
    let options = "preset=ultrafast&shard_seconds=1";
    let url = format!("http://{}/api/v1/transcode?{options}", client.address);
    let run = Command::new("curl")
        .args(["-sS", "-T", "film.mp4", &url])
        .args(["-H", &format!("X-API-Key: {SECRET}")])
        .args(["-H", &format!("Idempotency-Key: {key}")])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .await;
    let run = run.ok()?;
    assert!(run.status.success());
    Some(run.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_port_still_says_that_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        crowd.push(std::net::TcpStream::connect(&client.address).unwrap());
    }
    assert_eq!(client.get("/healthz").await.status, 200);
    let refused = client.get("/api/v1/jobs").await;
    assert_eq!(refused.refusal(), (503, "too-busy".into()));
    drop(crowd);
    let started = std::time::Instant::now();
    while client.get("/api/v1/jobs").await.status != 200 {
        assert!(started.elapsed().as_secs() < 60, "places are free again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stopper.send(true).unwrap();
}
