//! The page: open to anybody, strict in what it may load, and cheap to ask for
//! again.

use reelraft_harness::{HttpAnswer, http_ask};
use tokio::task::block_in_place;

use crate::{http::Client, node::start};

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
