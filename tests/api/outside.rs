//! Sources behind URLs, webhooks, and outputs that are put somewhere: by a node of
//! one, and a web server that breaks off and refuses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use reelraft::api::{Api, Consistency, SubmitRequest};
use reelraft_harness::{WebAnswer, WebRequest, WebServer};
use reelraft_model::{DeliveryKind, DeliveryState, Job, JobState};
use ring::hmac;
use serde_json::Value;
use tokio::time::sleep;

use crate::node::{film, kind, request, start, upload};

/// A film of several chunks: with a box that says nothing.
fn long_film(folder: &std::path::Path) -> Vec<u8> {
    let mut source = film(folder);
    let padding: u32 = 3 << 20;
    source.extend(padding.to_be_bytes());
    source.extend(b"free");
    source.resize(source.len() + padding as usize - 8, 0);
    source
}

/// A node that has told what it can read of the log.
async fn ready(api: Api) -> Api {
    while api.set_webhook("other", "").await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    api
}

async fn ended(api: &Api, id: &str) -> Job {
    let events = api.watch(id).await.unwrap();
    let events: Vec<_> = events.try_collect().await.unwrap();
    events.last().unwrap().job.job.clone()
}

/// Waits until nothing is to be sent for a job any more.
async fn sent(api: &Api, id: &str) -> Job {
    for _ in 0..600 {
        let job = api.job(id, Consistency::Local).await.unwrap().job;
        if job.pending_deliveries().next().is_none() {
            return job;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("still to be sent: {:?}", api.deliveries(id).await);
}

/// A message's document, once its signature was found to be by one of its secrets.
fn verified(message: &WebRequest, secret: &str) -> Value {
    let header = |name| message.header(name).unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.unwrap());
    let body = String::from_utf8(message.body.clone()).unwrap();
    let signed = format!(
        "{}.{}.{body}",
        header("webhook-id"),
        header("webhook-timestamp")
    );
    let signatures = header("webhook-signature").split(' ');
    let matching = signatures.filter(|signature| {
        let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap());
        hmac::verify(&key, signed.as_bytes(), &tag.unwrap()).is_ok()
    });
    assert_eq!(matching.count(), 1);
    serde_json::from_str(&body).unwrap()
}

fn from_url(id: &str, url: String) -> SubmitRequest {
    SubmitRequest {
        request_id: id.into(),
        source_name: String::new(),
        source_bytes: 0,
        source_fingerprint: String::new(),
        source_url: url,
        ..request(b"")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_fetched_its_output_put_and_its_end_told() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(long_film(folder.path()));
    let (access, _stop) = start(&folder.path().join("node")).await;
    let api = ready(access.operator()).await;
    let (file, tries) = (source.clone(), AtomicUsize::new(0));
    let web = WebServer::start(move |request| match request.method.as_str() {
        // Each answer breaks off within the second chunk that it has.
        "GET" => WebAnswer {
            breaks_after: Some(1_500_000),
            ..WebAnswer::file(request, &file, "one")
        },
        "POST" if tries.fetch_add(1, Ordering::SeqCst) == 0 => WebAnswer::status(503),
        _ => WebAnswer::status(204),
    });
    let secret = api.set_webhook("", "").await.unwrap().secret;
    assert_eq!(api.set_webhook("", "").await.unwrap().secret, "", "once");
    let asked = SubmitRequest {
        webhook_url: web.url("/hook?key=secret"),
        output_url: web.url("/put?signature=secret"),
        ..from_url("by-url", web.url("/films/a%20film.mov?signature=secret"))
    };
    let made = api.submit(asked.clone()).await.unwrap().job.job;
    assert_eq!(made.source_name, "a film.mov");
    assert_eq!(made.source_bytes, source.len() as u64);
    assert!(api.submit(asked).await.unwrap().existed, "asked again");

    let job = ended(&api, &made.id).await;
    assert_eq!(job.state(), JobState::Succeeded, "{:?}", job.problem);
    let outside = job.outside.clone().unwrap();
    assert_eq!(outside.source_url, web.url("/films/a%20film.mov"));
    let calm = request(&source);
    let calm = api.submit(calm).await.unwrap().job.job.id;
    upload(&api, &calm, &source).await;
    assert_eq!(ended(&api, &calm).await.output_hash, job.output_hash);

    let job = sent(&api, &made.id).await;
    for delivery in job.deliveries() {
        assert_eq!(delivery.state(), DeliveryState::Delivered, "{delivery:?}");
        let hook = delivery.kind() == DeliveryKind::JobWebhook;
        assert_eq!(delivery.attempts, 1 + u32::from(hook));
    }
    let messages = web.requests("/hook?key=secret");
    assert_eq!(messages.len(), 2);
    assert_eq!(
        messages[0].header("webhook-id"),
        messages[1].header("webhook-id")
    );
    for message in &messages {
        let message = verified(message, &secret);
        assert_eq!(message["type"], "job.succeeded");
        assert_eq!(message["data"]["output_hash"], *job.output_hash);
        assert!(!message.to_string().contains("secret"), "{message}");
    }
    let [put] = &web.requests("/put?signature=secret")[..] else {
        panic!("not put once");
    };
    assert_eq!(
        (put.method.as_str(), put.header("transfer-encoding")),
        ("PUT", None)
    );
    assert_eq!(blake3::hash(&put.body).to_hex().as_str(), job.output_hash);
    assert!(web.requests("/films").len() > 3, "it broke off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_fetched_fails_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (access, _stop) = start(&folder.path().join("node")).await;
    let api = ready(access.operator()).await;
    let looks = AtomicUsize::new(0);
    let web = WebServer::start(move |request| {
        let (zeros, look) = (vec![0; 3 << 20], looks.fetch_add(1, Ordering::SeqCst));
        match request.path.as_str() {
            "/endless" => WebAnswer {
                status: 200,
                headers: "Transfer-Encoding: chunked\r\n".into(),
                body: b"1\r\na\r\n0\r\n\r\n".to_vec(),
                breaks_after: None,
            },
            "/changes" => WebAnswer::file(request, &zeros, &format!("tag{look}")),
            "/goes" if request.header("range") == Some("bytes=0-0") => {
                WebAnswer::file(request, &zeros, "one")
            }
            "/inside" => WebAnswer {
                headers: "Location: http://10.0.0.1/film\r\n".into(),
                ..WebAnswer::status(302)
            },
            "/hook" => WebAnswer::status(410),
            _ => WebAnswer::status(404),
        }
    });
    for (url, refused) in [
        (web.url("/none"), "source-refused"),
        (web.url("/endless"), "source-length-unknown"),
        (web.url("/inside"), "refused-address"),
        ("http://[::1]/film".into(), "refused-address"),
        ("http://0x0a000001/film".into(), "refused-address"),
        ("http://name@127.0.0.1/film".into(), "bad-url"),
        ("file:///etc/passwd".into(), "bad-url"),
        ("http://127.0.0.1:1/film".into(), "source-unreachable"),
    ] {
        let asked = from_url("refused", url.clone());
        assert_eq!(kind(api.submit(asked)).await, refused, "{url}");
    }
    let unsigned = SubmitRequest {
        webhook_url: web.url("/hook"),
        ..request(b"film")
    };
    assert_eq!(kind(api.submit(unsigned)).await, "no-webhook-secret");

    assert_eq!(kind(api.set_webhook("a\0b", "")).await, "bad-request");
    let first = api.set_webhook("", &web.url("/hook")).await.unwrap();
    let second = api.rotate_webhook("").await.unwrap();
    assert_eq!((first.secrets, second.secrets), (1, 2));
    for (path, why) in [("/changes", "source-changed"), ("/goes", "source-refused")] {
        let asked = from_url(path, web.url(path));
        let made = api.submit(asked).await.unwrap().job.job;
        let job = ended(&api, &made.id).await;
        assert_eq!(job.state(), JobState::Failed);
        assert_eq!(job.problem.unwrap().kind, why);
        let job = sent(&api, &made.id).await;
        // The first of them was answered with 410: nothing more is sent there.
        let told = if why == "source-changed" { 1 } else { 0 };
        assert_eq!(job.deliveries().len(), told);
    }
    let [message] = &web.requests("/hook")[..] else {
        panic!("not told once");
    };
    for secret in [first.secret, second.secret] {
        assert_eq!(verified(message, &secret)["type"], "job.failed");
    }
    assert!(!api.webhook("").await.unwrap().off_cause.is_empty());
    api.remove_webhook("").await.unwrap();
    assert_eq!(kind(api.webhook("")).await, "not-found");
}
