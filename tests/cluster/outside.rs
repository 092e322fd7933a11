//! Sources behind URLs and webhooks through a failover.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use reelraft_harness::{LocalCluster, Options, WebAnswer, WebServer};
use serde_json::Value;

use crate::{calm, http::padded, until};

/// How long a failover and what follows may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The server breaks off every answer. The leader is killed while the source comes
/// in, and the next one while the webhook's receiver is down.
#[test]
fn a_source_and_a_webhook_survive_the_leader() {
    let calm = calm("mp4");
    let source = padded(8);
    let (gets, up) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counted, is_up) = (gets.clone(), up.clone());
    let web = WebServer::start(move |request| match request.method.as_str() {
        "GET" => {
            counted.fetch_add(1, Ordering::SeqCst);
            WebAnswer {
                breaks_after: Some(1_500_000),
                ..WebAnswer::file(request, &source, "one")
            }
        }
        _ if is_up.load(Ordering::SeqCst) => WebAnswer::status(204),
        _ => WebAnswer::status(503),
    });
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        environment: vec![("REELRAFT_ALLOW_ADDRESSES".into(), "127.0.0.0/8".into())],
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let secret = cluster.json(&["webhook", "set", &web.url("/hook")]);
    assert!(secret["secret"].as_str().unwrap().starts_with("whsec_"));
    let url = web.url("/film.mov?signature=x");
    let spec = [
        "--preset",
        "medium",
        "--shard-seconds",
        "1",
        "--container",
        "mp4",
    ];
    let submit = ["job", "submit", &url, "--detach"];
    let made = cluster.json(&[&submit[..], &spec[..]].concat());
    let id = made["job"]["id"].as_str().unwrap().to_string();

    until("the source comes", PATIENCE, || {
        gets.load(Ordering::SeqCst) > 3
    });
    cluster.kill(cluster.leader());
    let job = || cluster.json(&["job", "wait", &id]);
    let job: Value = job();
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["output_hash"], calm.as_str());

    until("it is told", PATIENCE, || !web.requests("/hook").is_empty());
    cluster.kill(cluster.leader());
    sleep(Duration::from_secs(2));
    up.store(true, Ordering::SeqCst);
    let refused = web.requests("/hook").len();
    until("it is told again", PATIENCE, || {
        web.requests("/hook").len() > refused
    });
    until("that is written down", PATIENCE, || {
        let list = cluster.json(&["job", "deliveries", &id]);
        list["deliveries"][0]["state"] == "delivered"
    });
    let all = web.requests("/hook");
    assert!(all.len() - refused <= 2, "{} of them", all.len());
    let ids = all.iter().map(|message| message.header("webhook-id"));
    assert!(ids.clone().all(|id| id == all[0].header("webhook-id")));
}
