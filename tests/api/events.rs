//! Events of many jobs on one connection: what comes, for whom, and from where on.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use reelraft::api::{KeyRequest, WatchEvent};
use reelraft_harness::{HttpEvent, HttpEvents};
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
    let told = turns(&mut chosen, &two);
    let two = two.as_str();
    let present = [(two, "uploading"), (two, "cancelled"), (two, "deleted")];
    assert_eq!(words(&told), present);
    assert_eq!(told[0].id, None, "it was so before");
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
