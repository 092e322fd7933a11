//! Events of many jobs on one connection: what comes, for whom, and from where on.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use reelraft::api::{KeyRequest, WatchEvent};
use reelraft_harness::{HttpEvent, HttpEvents, http_ask};
use reelraft_model::Scope;
use serde_json::json;
use tokio::task::block_in_place;

use crate::{
    http::Client,
    node::{SECRET, start},
};

const PATH: &str = "/api/v1/events";

impl Client {
    fn follow(&self, query: &str, seen: &str) -> std::io::Result<HttpEvents> {
        let mut headers = format!("Authorization: Bearer {SECRET}\r\n");
        if !seen.is_empty() {
            headers += &format!("Last-Event-ID: {seen}\r\n");
        }
        block_in_place(|| HttpEvents::open(&self.address, &format!("{PATH}{query}"), &headers))
    }
}

/// What came of jobs, up to one that was deleted.
fn turns(events: &mut HttpEvents, last: &str) -> Vec<HttpEvent> {
    block_in_place(|| {
        let mut turns = Vec::new();
        for event in events.filter(|event| event.name == "job") {
            let ends = event.data["job"] == last && event.data["state"] == "deleted";
            turns.push(event);
            if ends {
                break;
            }
        }
        turns
    })
}

fn word<'a>(turn: &'a HttpEvent, field: &str) -> &'a str {
    turn.data[field].as_str().unwrap_or_default()
}

fn words(turns: &[HttpEvent]) -> Vec<(&str, &str)> {
    let words = turns
        .iter()
        .map(|turn| (word(turn, "job"), word(turn, "state")));
    words.collect()
}

async fn made(client: &Client, key: &str, tenant: &str) -> String {
    let body = json!({ "source_bytes": 7, "tenant": tenant });
    let made = client.create(key, &body).await;
    made.json()["job"]["id"].as_str().unwrap().to_string()
}

async fn ended(client: &Client, job: &str) {
    for (method, path) in [("POST", "/cancel"), ("DELETE", "")] {
        let path = format!("/api/v1/jobs/{job}{path}");
        assert_eq!(client.ask(method, &path, "", b"").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_at_any_node_from_any_event() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access.clone()).await;
    // Another node has the same table, and nothing else of it.
    let (other, _stop) = Client::serve(access).await;

    let mut events = client.follow("", "").unwrap();
    let first = block_in_place(|| events.next()).unwrap();
    assert_eq!((first.name.as_str(), first.id.is_some()), ("start", true));
    let cluster = block_in_place(|| events.next()).unwrap();
    assert_eq!((cluster.name.as_str(), cluster.id), ("cluster", None));
    assert_eq!(cluster.data["nodes"][0]["id"], 1);
    let (one, two) = (made(&client, "1", "a").await, made(&client, "2", "b").await);
    ended(&client, &one).await;
    ended(&client, &two).await;

    let all = turns(&mut events, &two);
    let (one, two) = (one.as_str(), two.as_str());
    let told = [
        (one, "uploading"),
        (two, "uploading"),
        (one, "cancelled"),
        (one, "deleted"),
        (two, "cancelled"),
        (two, "deleted"),
    ];
    assert_eq!(words(&all), told);
    // From the start, and from each of them, what follows comes once.
    let mut seen = vec![first.id.unwrap()];
    seen.extend(all.iter().map(|turn| turn.id.clone().unwrap()));
    for (at, id) in seen.iter().enumerate().take(all.len()) {
        let mut rest = other.follow("", id).unwrap();
        assert_eq!(turns(&mut rest, two), all[at..], "after {id}");
    }
    // Some of it is forgotten.
    let mut again = other.follow("", "0.0").unwrap();
    let reset = block_in_place(|| again.find(|event| event.name != "cluster")).unwrap();
    assert_eq!((reset.name.as_str(), reset.id.is_some()), ("reset", true));
    assert!(other.follow("", "succeeded").is_err());
    // An id of another cluster, which was further.
    for id in ["1000000000", "1000000000.3"] {
        let mut foreign = other.follow("", id).unwrap();
        let reset = block_in_place(|| foreign.find(|event| event.name != "cluster")).unwrap();
        assert_eq!(reset.name, "reset", "after {id}");
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_chosen_jobs_and_ends_with_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, stop) = Client::serve(access).await;
    let one = made(&client, "1", "a").await;
    let two = made(&client, "2", "a").await;
    assert!(client.follow("?job=jnone", "").is_err(), "there is none");
    let foreign = client.follow(&format!("?job={one}&tenant=b"), "");
    assert!(foreign.is_err(), "nothing is told of another tenant's");

    let mut chosen = client.follow(&format!("?job={two}"), "").unwrap();
    let mut tenant = client.follow("?tenant=b", "").unwrap();
    let three = made(&client, "3", "b").await;
    for job in [&one, &two, &three] {
        ended(&client, job).await;
    }
    // Whoever loses the line before it has the job begins again.
    let begun: Vec<_> = block_in_place(|| chosen.by_ref().take(3).collect());
    let names = begun
        .iter()
        .map(|event| (event.name.as_str(), event.id.is_some()));
    let names: Vec<_> = names.collect();
    assert_eq!(names, [("start", false), ("job", false), ("ping", true)]);
    assert_eq!(words(&begun[1..2]), [(two.as_str(), "uploading")]);
    let told = turns(&mut chosen, &two);
    let two = two.as_str();
    assert_eq!(words(&told), [(two, "cancelled"), (two, "deleted")]);
    let seen = begun[2].id.clone().unwrap();
    let mut again = client.follow(&format!("?job={two}"), &seen).unwrap();
    assert_eq!(turns(&mut again, two), told);
    let told = turns(&mut tenant, &three);
    let three = three.as_str();
    let own = [
        (three, "uploading"),
        (three, "cancelled"),
        (three, "deleted"),
    ];
    assert_eq!(words(&told), own);

    stop.send(true).unwrap();
    let left = block_in_place(|| tenant.filter(|event| event.name == "job").count());
    assert_eq!(left, 0, "the stream ends, and nothing comes before that");
    stopper.send(true).unwrap();
}

/// The states of a job are the same in its own stream, in that of many jobs, and
/// to a watcher without HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn all_ways_to_follow_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access.clone()).await;
    let mut many = client.follow("", "").unwrap();
    let job = made(&client, "1", "").await;
    let headers = format!("Authorization: Bearer {SECRET}\r\n");
    let path = format!("/api/v1/jobs/{job}/events");
    let one = block_in_place(|| HttpEvents::open(&client.address, &path, &headers)).unwrap();
    let watched = access.operator().watch(&job).await.unwrap();
    let cancel = format!("/api/v1/jobs/{job}/cancel");
    assert_eq!(client.ask("POST", &cancel, "", b"").await.status, 200);

    let watched: Vec<WatchEvent> = watched.try_collect().await.unwrap();
    let watched = watched.iter().map(|event| event.job.job.state().name());
    let of_one = block_in_place(|| one.collect::<Vec<_>>());
    let of_one = of_one
        .iter()
        .filter_map(|event| event.data["job"]["state"].as_str());
    let of_many = block_in_place(|| {
        many.by_ref()
            .filter(|event| event.name == "job")
            .take(2)
            .collect::<Vec<_>>()
    });
    let of_many = of_many.iter().map(|event| word(event, "state"));
    let states = ["uploading", "cancelled"];
    assert!(of_many.eq(states));
    // Both of these tell a state again where something else has changed.
    for mut told in [watched.collect::<Vec<_>>(), of_one.collect()] {
        told.dedup();
        assert_eq!(told, states);
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_hears_of_its_own_tenant_alone_while_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, _stop) = Client::serve(access.clone()).await;
    let request = KeyRequest {
        name: "anna".into(),
        tenant: "a".into(),
        scope: Scope::Read,
        expires_in_s: 0,
        text: None,
    };
    // At first the node has not said yet what it can read of the log.
    let begun = Instant::now();
    let key = loop {
        match access.operator().create_key(request.clone()).await {
            Ok(key) => break key,
            Err(refused) => assert!(begun.elapsed().as_secs() < 60, "{refused}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let headers = format!("X-API-Key: {}\r\n", key.text.reveal());
    let follow = |query: &str| {
        let path = format!("{PATH}{query}");
        block_in_place(|| HttpEvents::open(&client.address, &path, &headers))
    };
    let mut events = follow("").unwrap();
    let cluster = block_in_place(|| events.find(|event| event.name == "cluster")).unwrap();
    assert_eq!(cluster.data["nodes"][0]["address"], "");
    let other = made(&client, "1", "b").await;
    assert!(follow(&format!("?job={other}")).is_err());
    assert!(follow("?tenant=b").is_err());
    ended(&client, &other).await;
    let own = made(&client, "2", "a").await;
    ended(&client, &own).await;
    let told = turns(&mut events, &own);
    let own = own.as_str();
    let states = [(own, "uploading"), (own, "cancelled"), (own, "deleted")];
    assert_eq!(words(&told), states);
    access.operator().revoke_key(&key.key.id).await.unwrap();
    assert_eq!(
        block_in_place(|| events.find(|event| event.name == "job")),
        None
    );
    stopper.send(true).unwrap();
}

/// The command line's watch by this port, as it sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_the_client_ends_with_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let (client, stop) = Client::serve(access).await;
    let job = made(&client, "1", "a").await;
    let message = [&[0x0a, job.len() as u8], job.as_bytes()].concat();
    let body = [&[0, 0, 0, 0, message.len() as u8], message.as_slice()].concat();
    let headers =
        format!("Authorization: Bearer {SECRET}\r\nContent-Type: application/grpc-web+proto\r\n");
    let (answered, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let path = "/reelraft.v1.Jobs/Watch";
        let watched = http_ask(&client.address, "POST", path, &headers, &body);
        // Nobody may wait for it any longer.
        let _ = answered.send(watched);
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(answer.try_recv().is_err(), "the job has not ended");
    stop.send(true).unwrap();
    let watched = block_in_place(|| answer.recv_timeout(Duration::from_secs(30)));
    let watched = watched.expect("the watch ends").unwrap();
    assert_eq!(watched.status, 200);
    assert!(!watched.body.is_empty(), "the job was told");
    stopper.send(true).unwrap();
}
