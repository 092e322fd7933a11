//! Engines that lie, each in a way of its own: a small one over plain HTTP, made here. The
//! output is right every time, and the proof says who made what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use reelraft_harness::{HttpAnswer, LocalCluster, Options, blake3_of, http_ask, make_clip};
use serde_json::{Value, json};

use crate::{newest, piped, succeed};

/// How long something may take that is about to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A small engine.
struct Engine {
    server: String,
    token: String,
    session: String,
}

/// What it makes of a task.
#[derive(Clone)]
struct Made {
    log: Vec<u8>,
    file: Vec<u8>,
}

fn post(server: &str, path: &str, token: &str, body: &Value) -> HttpAnswer {
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let path = format!("/api/v1/engines/{path}");
    http_ask(server, "POST", &path, &headers, body.to_string().as_bytes()).unwrap()
}

impl Engine {
    fn register(cluster: &LocalCluster, build: &str, name: &str, slots: u32) -> Self {
        let made = cluster.json(&["engine", "token", "create", name]);
        let mut engine = Engine {
            server: cluster.http(1),
            token: made["token"].as_str().unwrap().to_string(),
            session: String::new(),
        };
        engine.come(build, slots);
        engine
    }

    /// Registers, in the place of whoever had the token.
    fn come(&mut self, build: &str, slots: u32) {
        let hello = json!({"build": build, "slots": slots});
        let answer = post(&self.server, "register", &self.token, &hello);
        assert_eq!(answer.status, 200, "{answer:?}");
        let told = answer.json();
        assert!(told["note"].is_null(), "{told}");
        self.session = told["session"].as_str().unwrap().to_string();
    }

    fn beat(&self, running: &[&Value], draining: bool, wait_s: u32) -> Value {
        let running: Vec<&Value> = running.iter().map(|task| &task["task"]).collect();
        let said = json!({
            "session": self.session, "running": running, "draining": draining, "wait_s": wait_s,
        });
        post(&self.server, "beat", &self.token, &said).json()
    }

    /// Waits for so many tasks, and takes them and no more.
    fn take(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let told = self.beat(&[], false, 1);
            let tasks = told["begin"].as_array().cloned().unwrap_or_default();
            if tasks.len() >= count {
                self.beat(&tasks.iter().collect::<Vec<_>>(), true, 0);
                return tasks;
            }
            assert!(begun.elapsed() < PATIENCE, "no task came: {told}");
        }
    }

    /// What ffmpeg makes of a task, with other arguments than were given.
    fn encode(&self, task: &Value, twist: impl FnOnce(Vec<String>) -> Vec<String>) -> Made {
        let folder = tempfile::tempdir().unwrap();
        let input = format!("http://{}{}", self.server, task["input"].as_str().unwrap());
        let args = task["args"].as_array().unwrap().iter();
        let args = args.map(|arg| arg.as_str().unwrap().replace("{input}", &input));
        let made = Command::new("ffmpeg")
            .args(twist(args.collect()))
            .current_dir(folder.path())
            .env("AV_LOG_FORCE_NOCOLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let file = folder.path().join(task["output"].as_str().unwrap());
        Made {
            log: made.stderr,
            file: std::fs::read(file).unwrap(),
        }
    }

    fn tell(&self, task: &Value, method: &str, path: &str, body: &[u8]) -> HttpAnswer {
        let task = task["task"].as_str().unwrap();
        let path = format!("/api/v1/engines/tasks/{task}/{path}");
        http_ask(&self.server, method, &path, "", body).unwrap()
    }

    /// Hands a result in; the first answer that is a refusal, or the last one.
    fn give(&self, task: &Value, made: &Made) -> HttpAnswer {
        let mut at = 0;
        for part in made.log.chunks(128 << 10) {
            let answer = self.tell(task, "POST", &format!("log?offset={at}"), part);
            if answer.status != 200 {
                return answer;
            }
            at += part.len();
        }
        let answer = self.tell(task, "PUT", "output?offset=0", &made.file);
        if answer.status != 200 {
            return answer;
        }
        self.complete(task, made)
    }

    fn complete(&self, task: &Value, made: &Made) -> HttpAnswer {
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &made.file);
        let sha256 = sha256.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let end = json!({
            "exit": 0, "bytes": made.file.len(), "log_bytes": made.log.len(),
            "sha256": sha256.collect::<String>(),
        });
        let task = task["task"].as_str().unwrap();
        let path = format!("tasks/{task}/complete");
        post(&self.server, &path, "", &end)
    }

    /// Does something while it is heard.
    fn alive<T>(&self, tasks: &[Value], work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.beat(&tasks.iter().collect::<Vec<_>>(), true, 0);
                    std::thread::sleep(Duration::from_millis(500));
                }
            });
            // Also when it panics.
            let _ended = Ended(&over);
            work()
        })
    }
}

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn same(args: Vec<String>) -> Vec<String> {
    args
}

/// The pictures of a negative, with times and log as they should be.
fn negative(args: Vec<String>) -> Vec<String> {
    let filters = args.iter().position(|arg| arg == "-vf").unwrap() + 1;
    let mut args = args;
    args[filters] += ",negate";
    args
}

/// The right pictures in another codec.
fn other_codec(args: Vec<String>) -> Vec<String> {
    let mut own = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-c:v" => {
                args.next();
                own.extend([arg, "mpeg4".to_string()]);
            }
            "-preset" | "-crf" | "-x264-params" => drop(args.next()),
            // It takes no frame as far ahead.
            "-bsf:v" => drop(args.next()),
            _ => own.push(arg),
        }
    }
    own
}

/// One engine's doing. What it says has come to is checked where it can be told.
///
/// Whether it was taken at its word: on a busy machine the node may have been faster.
fn act(engine: &mut Engine, name: &str, build: &str) -> bool {
    let tasks = engine.take(if name == "replays" { 2 } else { 1 });
    let task = &tasks[0];
    match name {
        "honest" => {
            let given = engine.alive(&tasks, || engine.give(task, &engine.encode(task, same)));
            is_taken(&given)
        }
        "wrong-pictures" | "other-codec" => {
            let twist = if name == "other-codec" {
                other_codec
            } else {
                negative
            };
            let given = engine.alive(&tasks, || engine.give(task, &engine.encode(task, twist)));
            is_taken(&given)
        }
        "short" => {
            let mut made = engine.alive(&tasks, || engine.encode(task, same));
            // Less than the frames of the shard: it had not to stop behind them.
            made.file.truncate(made.file.len() / 5);
            is_taken(&engine.give(task, &made))
        }
        "replays" => {
            let made = engine.alive(&tasks, || engine.encode(task, same));
            let first = engine.give(task, &made);
            engine.give(&tasks[1], &made);
            is_taken(&first)
        }
        "late" => {
            let made = engine.alive(&tasks, || engine.encode(task, same));
            // Another process with its token: what the first one has is given to others.
            engine.come(build, 1);
            engine.beat(&[], true, 0);
            let refused = engine.give(task, &made).refusal();
            assert_eq!(refused, (410, "task-over".to_string()));
            false
        }
        "twice" => {
            let made = engine.alive(&tasks, || engine.encode(task, same));
            let mut other = made.clone();
            other.file[0] ^= 1;
            let taken = is_taken(&engine.give(task, &made));
            assert_eq!(engine.give(task, &other).status, 410);
            assert_eq!(engine.complete(task, &other).status, 410);
            taken
        }
        "endless" => {
            let part = vec![7; 8 << 20];
            let mut at = 0;
            let refused = engine.alive(&tasks, || {
                loop {
                    let answer = engine.tell(task, "PUT", &format!("output?offset={at}"), &part);
                    if answer.status != 200 {
                        break answer;
                    }
                    at += part.len() as u64;
                }
            });
            assert!(at <= task["output_bytes_max"].as_u64().unwrap());
            is_too_large(&refused.refusal().1)
        }
        other => panic!("nobody is called {other}"),
    }
}

/// A small disk is full before, and the node may have been faster.
fn is_too_large(kind: &str) -> bool {
    assert!(["too-large", "disk", "task-over"].contains(&kind), "{kind}");
    kind == "too-large"
}

fn is_taken(given: &HttpAnswer) -> bool {
    assert!([204, 410].contains(&given.status), "{given:?}");
    given.status == 204
}

/// Each takes one task of the first ones; the last takes two.
const NAMES: [&str; 8] = [
    "honest",
    "wrong-pictures",
    "other-codec",
    "short",
    "late",
    "twice",
    "endless",
    "replays",
];

/// What attempts on engines failed by, by the engine's number.
fn failures(tasks: &Value) -> BTreeMap<String, String> {
    let tasks = tasks["tasks"].as_array().unwrap().iter();
    let failures = tasks.flat_map(|task| task["failures"].as_array().unwrap().clone());
    let failures = failures.filter_map(|failure| {
        let (_, engine) = failure.as_str()?.split_once(" on engine ")?;
        let (number, cause) = engine.split_once(": ")?;
        Some((number.to_string(), cause.to_string()))
    });
    failures.collect()
}

fn made_by(shards: &Value, job: &Value) -> BTreeSet<String> {
    let engines = shards.as_array().unwrap().iter();
    let engines = engines.filter_map(|shard| shard.get("engine"));
    let named: Vec<&Value> = engines.collect();
    assert!(
        named.iter().all(|engine| engine["checked"] == true),
        "{named:?}"
    );
    let of = |engines: &mut dyn Iterator<Item = &Value>| -> BTreeSet<String> {
        engines
            .map(|engine| engine["name"].as_str().unwrap().to_string())
            .collect()
    };
    let named = of(&mut named.into_iter());
    assert_eq!(named, of(&mut job["engines"].as_array().unwrap().iter()));
    named
}

#[test]
#[ignore = "long: make test-all"]
fn no_lie_of_an_engine_reaches_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(
        folder.path(),
        Options {
            nodes: 1,
            slots: Some(1),
            http: true,
            environment: vec![("REELRAFT_VERIFY_ENGINES".into(), "100".into())],
            ..Default::default()
        },
    );
    let film = folder.path().join("film.mp4");
    make_clip(&film, 24, "320x180");
    let transcode = |out: &Path| {
        let args = ["transcode", film.to_str().unwrap(), out.to_str().unwrap()];
        let how = ["--preset", "medium", "--shard-seconds", "1"];
        piped(&cluster, &[&args[..], &how].concat())
    };
    let calm = folder.path().join("calm.mp4");
    succeed(&transcode(&calm).wait_with_output().unwrap());
    let status = cluster.status().unwrap();
    let build = status["nodes"][0]["build"].as_str().unwrap();

    let slots = |name: &str| if name == "replays" { 2 } else { 1 };
    let come = |name: &&'static str| (*name, Engine::register(&cluster, build, name, slots(name)));
    let engines: Vec<(&str, Engine)> = NAMES.iter().map(come).collect();
    let out = folder.path().join("out.mp4");
    let running = transcode(&out);
    let taken: BTreeSet<&str> = std::thread::scope(|scope| {
        let acts = engines.into_iter().map(|(name, mut engine)| {
            scope.spawn(move || act(&mut engine, name, build).then_some(name))
        });
        let acts: Vec<_> = acts.collect();
        let acts = acts.into_iter().filter_map(|act| act.join().unwrap());
        acts.collect()
    });
    let of = |names: &[&'static str]| -> BTreeSet<&str> {
        let names = names.iter().copied();
        names.filter(|name| taken.contains(name)).collect()
    };
    assert!(!of(&["honest", "replays", "twice"]).is_empty(), "{taken:?}");
    succeed(&running.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), blake3_of(&calm));

    judge(&cluster, of);
}

/// Whether each lie that was taken was found, and the proof names those alone who told
/// none. `taken` says which of some were.
fn judge<'a>(cluster: &LocalCluster, taken: impl Fn(&[&'static str]) -> BTreeSet<&'a str>) {
    let id = newest(cluster).unwrap()["id"].as_str().unwrap().to_string();
    let engines = cluster.json(&["cluster", "engines"]);
    let engines = engines["engines"].as_array().unwrap().iter();
    let quarantined = engines
        .clone()
        .filter(|engine| engine["quarantine"].is_string());
    let quarantined: BTreeSet<&str> = quarantined.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(quarantined, taken(&["other-codec", "wrong-pictures"]));
    let failures = failures(&cluster.json(&["job", "tasks", &id]));
    for name in taken(&["short", "endless"]) {
        let number = engines
            .clone()
            .find(|engine| engine["name"] == name)
            .unwrap()["number"]
            .to_string();
        assert!(
            failures.contains_key(&number),
            "{name} is {number}: {failures:?}"
        );
    }
    let proof = cluster.json(&["job", "proof", &id]);
    let job = cluster.json(&["job", "show", &id]);
    let makers = made_by(&proof["shards"], &job);
    let makers: BTreeSet<&str> = makers.iter().map(String::as_str).collect();
    assert_eq!(makers, taken(&["honest", "replays", "twice"]));
}
