//! The page, and what the port does for it alone: it is open to anybody, strict
//! in what it may load, let in by fellow nodes, and given links to outputs.

use std::time::Duration;

use reelraft::api::{Access, Api, Consistency, SubmitRequest};
use reelraft_harness::{HttpAnswer, http_ask};
use reelraft_model::{JobState, Scope};
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    http::Client,
    node::{ORIGIN, film, made_key, request, start, upload},
};

fn ask(client: &Client, method: &str, path: &str, headers: &str) -> HttpAnswer {
    block_in_place(|| http_ask(&client.address, method, path, headers, b"")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_have_the_page_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let page = ask(&client, "GET", "/", "");
    assert_eq!(page.status, 200, "{}", page.head);
    assert!(page.body.starts_with(b"<!doctype html>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }

    let tag = page.header("etag").unwrap();
    let again = ask(&client, "GET", "/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert!(again.header("content-security-policy").is_some());
    let packed = ask(
        &client,
        "GET",
        "/index.html",
        "Accept-Encoding: gzip, br\r\n",
    );
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("etag"), Some(tag));
    assert!(packed.body.starts_with(&[0x1f, 0x8b]));
    let head = ask(&client, "HEAD", "/", "");
    assert_eq!((head.status, head.body.len()), (200, 0));

    for (method, path, status) in [
        ("POST", "/", 405),
        ("GET", "/no-such-file.js", 404),
        ("GET", "/../page.rs", 404),
        ("GET", "/%2e%2e/page.rs", 404),
        ("GET", "/lib", 404),
        ("GET", "/api/v1/jobs", 401),
        ("GET", "/api/v1/index.html", 401),
        ("GET", "/metrics", 401),
    ] {
        let refused = ask(&client, method, path, "");
        assert_eq!(refused.status, status, "{method} {path}: {}", refused.head);
        assert_eq!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_nodes_are_let_in_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let asks = "Access-Control-Request-Method: PATCH\r\n";
    let allowed = |answer: &HttpAnswer| {
        let origin = answer.header("access-control-allow-origin");
        origin.map(str::to_string)
    };
    for fellow in [ORIGIN, "http://localhost:8401"] {
        let origin = format!("Origin: {fellow}\r\n{asks}");
        let first = ask(&client, "OPTIONS", "/api/v1/uploads/j1", &origin);
        assert_eq!((first.status, first.body.len()), (204, 0), "{}", first.head);
        assert_eq!(allowed(&first).as_deref(), Some(fellow));
        let headers = first.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("Authorization") && headers.contains("Upload-Offset"));
        let figures = ask(&client, "OPTIONS", "/metrics", &origin);
        assert_eq!(
            (figures.status, allowed(&figures).as_deref()),
            (204, Some(fellow))
        );
        let then = client
            .ask("GET", "/api/v1/jobs", &format!("Origin: {fellow}\r\n"), b"")
            .await;
        assert_eq!(
            (then.status, allowed(&then).as_deref()),
            (200, Some(fellow))
        );
        let refused = ask(
            &client,
            "GET",
            "/api/v1/jobs",
            &format!("Origin: {fellow}\r\n"),
        );
        assert_eq!(
            (refused.status, allowed(&refused).as_deref()),
            (401, Some(fellow))
        );
    }
    for other in ["null", "http://evil.example", "http://localhost:3000"] {
        let origin = format!("Origin: {other}\r\n{asks}");
        let first = ask(&client, "OPTIONS", "/api/v1/uploads/j1", &origin);
        assert_eq!((first.status, allowed(&first)), (401, None), "{other}");
        let then = client
            .ask("GET", "/api/v1/jobs", &format!("Origin: {other}\r\n"), b"")
            .await;
        assert_eq!((then.status, allowed(&then)), (200, None), "{other}");
    }
    let page = ask(&client, "GET", "/", "");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains(&format!("connect-src 'self' {ORIGIN};")),
        "{policy}"
    );
    let cluster = client.get("/api/v1/cluster").await.json();
    assert_eq!(cluster["nodes"][0]["http"], ORIGIN);
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_is_checked_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access).await;
    let check = async |spec: serde_json::Value| {
        let body = json!({ "spec": spec }).to_string();
        client
            .ask("POST", "/api/v1/spec", "", body.as_bytes())
            .await
    };
    let good = check(json!({"width": 1280, "codec": "x265", "brightness": -0.5})).await;
    assert_eq!(good.status, 200, "{}", good.head);
    let good = good.json();
    assert_eq!(
        (&good["spec"]["codec"], &good["spec"]["crf"]),
        (&json!("hevc"), &json!(28))
    );
    assert_eq!(good["nodes"], 1);
    let command = "reelraft transcode FILE OUT.mp4 --brightness=-0.5 --codec x265 --width 1280";
    assert_eq!(good["command"], command);
    for bad in [
        json!({"width": 1281}),
        json!({"widht": 2}),
        json!({"crf": 99}),
    ] {
        let refused = check(bad.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["kind"]),
            (400, &json!("bad-spec")),
            "{bad}"
        );
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_of_jobs_that_run() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (access, stopper) = start(&folder.path().join("node")).await;
    let operator = access.operator();
    let (client, _stop) = Client::serve(access).await;
    let id = operator.submit(request(&source)).await.unwrap().job.job.id;
    let picture = async |job: &str, query: &str| {
        let path = format!("/api/v1/jobs/{job}/picture{query}");
        let answer = client.get(&path).await;
        (
            answer.status,
            answer.json()["kind"]
                .as_str()
                .unwrap_or_default()
                .to_string(),
        )
    };
    assert_eq!(picture(&id, "").await, (409, "not-analysed".into()));
    assert_eq!(picture("jnone", "").await, (404, "not-found".into()));
    for bad in [
        "?width=15",
        "?width=1281",
        "?at_ms=-1",
        "?at_ms=soon",
        "?height=2",
    ] {
        assert_eq!(
            picture(&id, bad).await,
            (400, "bad-request".into()),
            "{bad}"
        );
    }
    let made = made(&operator, &source, "whole").await;
    assert_eq!(picture(&made, "").await, (410, "not-kept".into()));
    stopper.send(true).unwrap();
}

async fn key(access: &Access, tenant: &str, scope: Scope) -> (String, Api) {
    let made = made_key(access, tenant, tenant, scope).await;
    let api = access.admit(made.text.reveal().as_bytes()).unwrap();
    (made.key.id.clone(), api)
}

async fn made(api: &Api, source: &[u8], request_id: &str) -> String {
    let request = SubmitRequest {
        request_id: request_id.into(),
        ..request(source)
    };
    let id = api.submit(request).await.unwrap().job.job.id;
    upload(api, &id, source).await;
    loop {
        let job = api.job(&id, Consistency::Linearizable).await.unwrap().job;
        match job.state() {
            JobState::Succeeded => return id,
            state => assert!(!state.ended(), "{:?}", job.problem),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_one_output_until_its_key_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (access, stopper) = start(&folder.path().join("node")).await;
    let (_, anna) = key(&access, "anna", Scope::Submit).await;
    let (reader, reading) = key(&access, "anna", Scope::Read).await;
    let (job, other) = (
        made(&anna, &source, "one").await,
        made(&anna, &source, "two").await,
    );
    let (_, bert) = key(&access, "bert", Scope::Admin).await;
    let operator = access.operator();
    let (client, _stop) = Client::serve(access).await;

    assert_eq!(bert.output_link(&job).await.unwrap_err().kind, "not-found");
    let path = |job: &str, link: &str| format!("/api/v1/jobs/{job}/output?link={link}");
    for api in [&reading, &operator] {
        let link = api.output_link(&job).await.unwrap().unwrap().text;
        let output = ask(&client, "GET", &path(&job, &link), "Range: bytes=0-99\r\n");
        assert_eq!(
            (output.status, output.body.len()),
            (206, 100),
            "{}",
            output.head
        );
        assert_eq!(ask(&client, "HEAD", &path(&job, &link), "").status, 200);
        let (signer, rest) = link.split_once('.').unwrap();
        let (until, mac) = rest.split_once('.').unwrap();
        let later = until.parse::<u64>().unwrap() + 1;
        for wrong in [
            path(&other, &link),
            path(&job, &format!("{signer}.{later}.{mac}")),
            path(&job, &format!("{signer}.1.{mac}")),
            path(&job, &format!("operator.{until}.{}", "0".repeat(64))),
            path(&job, ""),
            format!("/api/v1/jobs/{job}?link={link}"),
            format!("/api/v1/jobs/{job}/output-link?link={link}"),
            format!("/api/v1/jobs?link={link}"),
        ] {
            assert_eq!(ask(&client, "GET", &wrong, "").status, 401, "{wrong}");
        }
        assert_eq!(ask(&client, "DELETE", &path(&job, &link), "").status, 401);
    }
    let link = reading.output_link(&job).await.unwrap().unwrap().text;
    operator.revoke_key(&reader).await.unwrap();
    assert_eq!(ask(&client, "GET", &path(&job, &link), "").status, 401);
    let link = anna.output_link(&job).await.unwrap().unwrap().text;
    anna.delete(&job).await.unwrap();
    assert_eq!(ask(&client, "GET", &path(&job, &link), "").status, 404);
    stopper.send(true).unwrap();
}
