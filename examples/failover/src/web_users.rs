//! Users of the nodes' HTTP ports, each a thread: one that shows a job, one that makes
//! and deletes jobs, one that uploads by tus, and one that follows the events. Whatever a
//! node does not answer they ask of the next, as a page or a library does, and they note
//! how long it took until somebody answered. A refusal is a broken promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use reelraft_harness::{HttpAnswer, HttpEvents, http_ask};

/// Pause before the next node is asked, and between two calls that went well.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(100);

/// A call that nobody answers for so long has failed.
const CALL_MAX: Duration = Duration::from_secs(60);

/// Statuses of a node that can't answer just now.
const PASSING: [u16; 2] = [503, 504];

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

/// What is sent by tus at once.
const PIECE_BYTES: usize = 256 << 10;

/// What the users saw, by the kind of their calls.
#[derive(Default)]
pub struct Seen {
    /// How long each call took until it was answered.
    pub took_ms: BTreeMap<&'static str, Vec<u64>>,
    pub broken: Vec<String>,
    /// Jobs that the events named as succeeded.
    pub succeeded: BTreeSet<String>,
    /// How often the events said that some were missed.
    pub resets: u64,
    /// Jobs whose sources came by tus.
    pub uploaded: Vec<String>,
}

/// All users.
#[derive(Clone)]
pub struct WebUsers {
    nodes: Vec<String>,
    seen: Arc<Mutex<Seen>>,
    enough: Arc<AtomicBool>,
    all_ended: Arc<AtomicBool>,
}

impl WebUsers {
    /// Users of nodes whose HTTP ports are these.
    pub fn new(nodes: Vec<String>) -> Self {
        WebUsers {
            nodes,
            seen: Arc::default(),
            enough: Arc::default(),
            all_ended: Arc::default(),
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder of this lock panics")
    }

    /// Has all but the one that follows end after what they are doing.
    pub fn stop(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Has the one that follows end with the next event, as all jobs have ended.
    pub fn stop_following(&self) {
        self.all_ended.store(true, Ordering::Relaxed);
    }

    fn follows(&self) -> bool {
        !self.all_ended.load(Ordering::Relaxed)
    }

    pub fn stopped(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// Starts the one that follows the events.
    pub fn start_following(&self) -> JoinHandle<()> {
        let follows = self.clone();
        spawn(move || follows.follow())
    }

    /// Starts the others: `job` is shown, `film` is uploaded.
    pub fn start(&self, job: &str, film: &[u8]) -> Vec<JoinHandle<()>> {
        let path = format!("/api/v1/jobs/{job}");
        let (shows, makes, uploads) = (self.clone(), self.clone(), self.clone());
        let film = film.to_vec();
        vec![
            spawn(move || shows.repeat(|_| shows.call("GET", "show", &path, "", b"").map(drop))),
            spawn(move || makes.repeat(|number| makes.make_and_delete(number))),
            spawn(move || uploads.repeat(|number| uploads.upload(number, &film))),
        ]
    }

    fn repeat(&self, work: impl Fn(u64) -> Result<(), String>) {
        for number in 1.. {
            if self.stopped() {
                return;
            }
            if let Err(broken) = work(number) {
                self.seen().broken.push(broken);
                return;
            }
            sleep(PAUSE);
        }
    }

    /// Notes how long a call took.
    pub fn note(&self, what: &'static str, begun: Instant) {
        let took_ms = begun.elapsed().as_millis() as u64;
        self.seen().took_ms.entry(what).or_default().push(took_ms);
    }

    /// Asks one node after the other until one answers.
    fn call(
        &self,
        method: &str,
        what: &'static str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<HttpAnswer, String> {
        let begun = Instant::now();
        let mut last = String::new();
        for node in self.nodes.iter().cycle() {
            match http_ask(node, method, path, headers, body) {
                Ok(answer) if answer.status < 400 => {
                    self.note(what, begun);
                    return Ok(answer);
                }
                Ok(answer) if PASSING.contains(&answer.status) => {
                    last = format!("{:?}", answer.refusal());
                }
                Ok(answer) => {
                    let refusal = answer.refusal();
                    return Err(format!("{method} {path} was refused: {refusal:?}"));
                }
                Err(error) => last = error.to_string(),
            }
            if begun.elapsed() > CALL_MAX {
                break;
            }
            sleep(RETRY_PAUSE);
        }
        Err(format!("nobody answers {method} {path}: {last}"))
    }

    /// A job that gets no source, and goes again.
    fn make_and_delete(&self, number: u64) -> Result<(), String> {
        let key = format!("Idempotency-Key: written-{number}\r\n");
        let body = b"{\"source_bytes\": 1000}";
        let made = self.call("POST", "make", "/api/v1/jobs", &key, body)?;
        let id = made.json()["job"]["id"].as_str().map(str::to_string);
        let id = id.ok_or("a job was made and has no id")?;
        let path = format!("/api/v1/jobs/{id}");
        self.call("DELETE", "delete", &path, "", b"").map(drop)
    }

    /// A film by tus, piece by piece.
    fn upload(&self, number: u64, film: &[u8]) -> Result<(), String> {
        let headers = format!(
            "{TUS}Idempotency-Key: tus-{number}\r\nUpload-Length: {}\r\n",
            film.len()
        );
        let path = "/api/v1/uploads?preset=veryfast";
        let made = self.call("POST", "make", path, &headers, b"")?;
        let place = made.header("location").ok_or("no place to upload to")?;
        let mut offset = self.offset(place)?;
        while offset < film.len() {
            let begun = Instant::now();
            offset = self.send(place, offset, film)?;
            self.note("tus piece", begun);
        }
        let id = place.rsplit('/').next().unwrap_or_default();
        self.seen().uploaded.push(id.to_string());
        Ok(())
    }

    fn offset(&self, place: &str) -> Result<usize, String> {
        let answer = self.call("HEAD", "tus offset", place, TUS, b"")?;
        let offset = answer.header("upload-offset");
        let offset = offset.and_then(|text| text.parse().ok());
        offset.ok_or_else(|| format!("no offset of {place}"))
    }

    /// Sends a piece until one node has taken it; what is there then.
    fn send(&self, place: &str, from: usize, film: &[u8]) -> Result<usize, String> {
        let mut offset = from;
        let begun = Instant::now();
        for node in self.nodes.iter().cycle() {
            let piece = &film[offset..film.len().min(offset + PIECE_BYTES)];
            let headers = format!(
                "{TUS}Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
            );
            match http_ask(node, "PATCH", place, &headers, piece) {
                Ok(answer) if answer.status < 300 => {
                    let there = answer.header("upload-offset");
                    let there = there.and_then(|text| text.parse().ok());
                    return there.ok_or_else(|| format!("no offset of {place}"));
                }
                Ok(answer) if answer.status != 409 && !PASSING.contains(&answer.status) => {
                    let refusal = answer.refusal();
                    return Err(format!("a piece of {place} was refused: {refusal:?}"));
                }
                _ if begun.elapsed() > CALL_MAX => break,
                // Another node knows what is safe on all homes, and no more.
                _ => offset = self.offset(place)?,
            }
            if offset > from {
                return Ok(offset);
            }
            sleep(RETRY_PAUSE);
        }
        Err(format!("nobody takes the piece of {place} at {from}"))
    }

    /// Follows the events of all jobs from node to node.
    fn follow(&self) {
        let mut last = None;
        let mut broken_at = None;
        for node in self.nodes.iter().cycle() {
            if !self.follows() {
                return;
            }
            if let Ok(events) = self.events(node, last.as_deref()) {
                self.note("events", broken_at.take().unwrap_or_else(Instant::now));
                last = self.take(events).or(last);
                broken_at = Some(Instant::now());
            }
            broken_at.get_or_insert_with(Instant::now);
            sleep(RETRY_PAUSE);
        }
    }

    fn events(&self, node: &str, last: Option<&str>) -> io::Result<HttpEvents> {
        let after = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
        HttpEvents::open(node, "/api/v1/events", &after.unwrap_or_default())
    }

    /// Takes events until they end; the last id.
    fn take(&self, events: HttpEvents) -> Option<String> {
        let mut last = None;
        for event in events {
            let mut seen = self.seen();
            match event.name.as_str() {
                "reset" => seen.resets += 1,
                "job" if event.data["state"] == "succeeded" => {
                    let job = event.data["job"].as_str().unwrap_or_default();
                    seen.succeeded.insert(job.to_string());
                }
                _ => {}
            }
            drop(seen);
            last = event.id.or(last);
            if !self.follows() {
                break;
            }
        }
        last
    }
}
