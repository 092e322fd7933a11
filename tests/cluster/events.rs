//! Events through a failover, and of many clients.

use std::time::{Duration, Instant};

use reelraft_harness::{HttpEvent, HttpEvents, LocalCluster, Options, http_ask};

use crate::http::{ask, with_http};

/// How long a thousand may take to hear, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Jobs that came into a state, up to one that was cancelled, each with its id.
fn turns(events: &mut HttpEvents, last: &str) -> Vec<(String, String, String)> {
    let mut turns = Vec::new();
    for event in events.filter(|event| event.name == "job") {
        let turn = turn_of(&event);
        let ends = turn.1 == last && turn.2 == "cancelled";
        turns.push(turn);
        if ends {
            break;
        }
    }
    turns
}

fn turn_of(event: &HttpEvent) -> (String, String, String) {
    let word = |field: &str| event.data[field].as_str().unwrap_or_default().to_string();
    let id = event.id.clone().unwrap_or_default();
    (id, word("job"), word("state"))
}

/// A job that is made and cancelled.
fn short_job(address: &str, key: &str) -> String {
    let headers = format!("Idempotency-Key: {key}\r\n");
    let made = ask(
        address,
        "POST",
        "/api/v1/jobs",
        &headers,
        br#"{"source_bytes":7}"#,
    );
    let id = made.json()["job"]["id"].as_str().unwrap().to_string();
    // Refused where the first answer was lost.
    ask(
        address,
        "POST",
        &format!("/api/v1/jobs/{id}/cancel"),
        "",
        b"",
    );
    id
}

/// The leader is killed while it streams events. What follows the last of them
/// comes from another node, once and in the same order as a third one has it.
#[test]
fn events_go_on_at_another_node_without_gap_or_double() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = with_http(folder.path());
    let leader = cluster.leader();
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let [first, second, third] = [leader, others[0], others[1]].map(|node| cluster.http(node));
    let follow = |address: &str, id: &str| {
        let headers = format!("Last-Event-ID: {id}\r\n");
        HttpEvents::open(address, "/api/v1/events", &headers).unwrap()
    };

    let mut events = HttpEvents::open(&first, "/api/v1/events", "").unwrap();
    let start = events.find(|event| event.name == "start").unwrap();
    let start = start.id.unwrap();
    let maker = {
        let second = second.clone();
        std::thread::spawn(move || {
            let jobs = (0..20).map(|number| short_job(&second, &number.to_string()));
            jobs.collect::<Vec<String>>()
        })
    };
    // Some come of the leader, and whatever else it has sent when it dies.
    let jobs = events.by_ref().filter(|event| event.name == "job");
    let mut told: Vec<_> = jobs.take(5).map(|event| turn_of(&event)).collect();
    cluster.kill(leader);
    let rest = events.filter(|event| event.name == "job");
    told.extend(rest.map(|event| turn_of(&event)));
    let seen = told.last().unwrap().0.clone();

    let last = maker.join().unwrap().pop().unwrap();
    told.extend(turns(&mut follow(&second, &seen), &last));
    let all = turns(&mut follow(&third, &start), &last);
    assert_eq!(all.len(), 40, "two of each job");
    assert_eq!(told, all);
    let mut cluster_now = follow(&second, &seen);
    let news = cluster_now.find(|event| event.name == "cluster").unwrap();
    let leads = news.data["leader_id"].as_u64().unwrap();
    assert!(leads != leader && others.contains(&leads), "{news:?}");
}

/// Both others of a node are killed: what it would tell is no longer true, and
/// whoever follows it is to look elsewhere.
#[test]
fn a_node_that_is_cut_off_ends_its_streams_and_begins_none() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = with_http(folder.path());
    let leader = cluster.leader();
    let rest = [1, 2, 3].into_iter().filter(|node| *node != leader);
    let address = cluster.http(leader);
    let events = HttpEvents::open(&address, "/api/v1/events", "").unwrap();
    rest.for_each(|node| cluster.kill(node));
    let killed = Instant::now();
    // Its pings would go on for ever.
    let pings = events.filter(|event| event.name == "ping");
    assert!(pings.take(4).count() < 4, "the stream goes on");
    assert!(killed.elapsed() < PATIENCE);
    let refused = http_ask(&address, "GET", "/api/v1/events", "", b"").unwrap();
    assert_eq!(refused.refusal(), (503, "no-leader".into()));
}

const FOLLOWERS: usize = 1_000;

fn resident_kib(pid: i32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().trim().parse().unwrap()
}

/// A thousand that follow take little memory, and all hear of a job.
#[test]
#[ignore = "long: make test-all"]
fn a_thousand_follow_at_little_cost() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        http: true,
        ..Default::default()
    };
    let cluster = LocalCluster::start(folder.path(), options);
    let node = (1..=3).find(|node| *node != cluster.leader()).unwrap();
    let (address, pid) = (cluster.http(node), cluster.pid(node));
    short_job(&address, "first");
    let before = resident_kib(pid);
    let mut followers: Vec<HttpEvents> = (0..FOLLOWERS)
        .map(|_| HttpEvents::open(&address, "/api/v1/events", "").unwrap())
        .collect();
    for events in &mut followers {
        assert!(events.any(|event| event.name == "start"));
    }
    let headers = "Idempotency-Key: second\r\n";
    let asked = Instant::now();
    ask(
        &address,
        "POST",
        "/api/v1/jobs",
        headers,
        br#"{"source_bytes":7}"#,
    );
    let made = asked.elapsed();
    for events in &mut followers {
        assert!(events.any(|event| event.name == "job"));
    }
    let heard = asked.elapsed();
    let more = resident_kib(pid) - before;
    println!("made in {made:?}, heard by {FOLLOWERS} in {heard:?}, {more} KiB more");
    assert!(more <= 64 << 10, "{more} KiB more");
    assert!(heard < PATIENCE, "{heard:?}");
}
