//! Engines as processes: they come and go, are killed, lose their members, and lie, and
//! every time the same bytes are made.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, binary, blake3_of};
use serde_json::Value;

use crate::{clip, newest, piped, succeed};

/// How long something may take that is about to happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine's process, ended with the test.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn token(cluster: &LocalCluster, name: &str) -> String {
    let made = cluster.json(&["engine", "token", "create", name]);
    made["token"].as_str().unwrap().to_string()
}

fn servers(cluster: &LocalCluster) -> String {
    let all = (1..=u64::from(cluster.size())).map(|node| format!("http://{}", cluster.http(node)));
    all.collect::<Vec<_>>().join(",")
}

/// Starts an engine of our own, which works below `folder`.
fn engine(cluster: &LocalCluster, folder: &Path, name: &str) -> Engine {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let work = folder.join(name);
    let mut command = cluster.cli(&["engine", "--slots", "1", "--label", "test=yes"]);
    command
        .args(["--server", &servers(cluster), "--work"])
        .arg(work)
        .env("REELRAFT_ENGINE_TOKEN", token(cluster, name))
        .stdout(Stdio::null())
        .stderr(log);
    Engine(command.spawn().unwrap())
}

fn engines(cluster: &LocalCluster) -> Vec<Value> {
    let output = cluster.run(&["cluster", "engines", "-o", "json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    listed["engines"].as_array().cloned().unwrap_or_default()
}

/// Waits until the engines are as is said, and gives them.
fn wait_until(cluster: &LocalCluster, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let now = engines(cluster);
        if is_so(&now) {
            return now;
        }
        let log = std::fs::read_to_string(cluster.log()).unwrap();
        assert!(
            begun.elapsed() < PATIENCE,
            "not in time: {what}: {now:?}\n{}",
            reelraft_harness::tail(&log, 40)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn connected(engines: &[Value]) -> usize {
    let ready = |it: &&Value| it["connected"] == true && it["trouble"].is_null();
    engines.iter().filter(ready).count()
}

fn busy(name: &str) -> impl Fn(&[Value]) -> bool {
    move |engines| {
        let own = engines.iter().find(|it| it["name"] == name);
        own.is_some_and(|it| it["slots_busy"].as_u64() > Some(0))
    }
}

/// Slow enough to be looked at.
const SLOW: [&str; 4] = ["--preset", "veryslow", "--shard-seconds", "1"];

fn transcode(cluster: &LocalCluster, out: &Path) -> Child {
    let args = [clip().to_str().unwrap(), out.to_str().unwrap()];
    piped(cluster, &[&["transcode"], &args[..], &SLOW].concat())
}

/// Those that made shards of the newest job, by their tasks.
fn makers(cluster: &LocalCluster) -> Vec<u64> {
    let id = newest(cluster).unwrap()["id"].as_str().unwrap().to_string();
    let tasks = cluster.json(&["job", "tasks", &id]);
    let tasks = tasks["tasks"].as_array().unwrap().iter();
    let shards = tasks.filter(|task| task["kind"] == "shard");
    shards.map(|task| task["node"].as_u64().unwrap()).collect()
}

fn is_engine(node: &u64) -> bool {
    *node >= 1 << 52
}

fn start(folder: &Path, nodes: u16, percent: &str) -> LocalCluster {
    LocalCluster::start(
        folder,
        Options {
            nodes,
            slots: Some(1),
            http: true,
            environment: vec![("REELRAFT_VERIFY_ENGINES".into(), percent.into())],
            ..Default::default()
        },
    )
}

#[test]
fn engines_encode_for_one_node_and_may_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path(), 1, "0");
    let calm = folder.path().join("calm.mp4");
    succeed(&transcode(&cluster, &calm).wait_with_output().unwrap());
    assert!(!makers(&cluster).iter().any(is_engine));

    let mut ann = engine(&cluster, folder.path(), "ann");
    let mut bob = engine(&cluster, folder.path(), "bob");
    wait_until(&cluster, "both are there", |all| connected(all) == 2);

    let out = folder.path().join("out.mp4");
    let child = transcode(&cluster, &out);
    wait_until(&cluster, "ann works", busy("ann"));
    ann.0.kill().unwrap();
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), blake3_of(&calm));
    assert!(
        makers(&cluster).iter().any(is_engine),
        "{:?}",
        makers(&cluster)
    );

    // One that is told to go gives back at once what it runs.
    let again = folder.path().join("again.mp4");
    let child = transcode(&cluster, &again);
    wait_until(&cluster, "bob works", busy("bob"));
    // SAFETY: a plain system call; the process is ours and not waited for yet.
    unsafe { libc::kill(bob.0.id() as i32, libc::SIGTERM) };
    assert!(bob.0.wait().unwrap().success());
    wait_until(&cluster, "bob is gone", |all| connected(all) == 0);
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&again), blake3_of(&calm));

    // A token that is revoked is worth nothing.
    succeed(&cluster.run(&["engine", "token", "revoke", "ann"]));
    assert_eq!(engines(&cluster).len(), 1);
}

#[test]
#[ignore = "long: make test-all"]
fn engines_go_on_when_their_member_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path(), 3, "0");
    let calm = folder.path().join("calm.mp4");
    succeed(&transcode(&cluster, &calm).wait_with_output().unwrap());
    let _engines = ["ann", "bob"].map(|name| engine(&cluster, folder.path(), name));
    wait_until(&cluster, "both are there", |all| connected(all) == 2);
    let leader = cluster.leader();
    let out = folder.path().join("out.mp4");
    let child = transcode(&cluster, &out);
    let there = wait_until(&cluster, "ann works", busy("ann"));
    // Once the leader, and then whoever has them.
    cluster.kill(leader);
    let at = there[0]["node"].as_u64().unwrap();
    cluster.wait_for_leader();
    if at != leader {
        cluster.kill(at);
    }
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), blake3_of(&calm));
    cluster.wait_for_leader();
    wait_until(&cluster, "both are there again", |all| connected(all) == 2);
}

/// An engine that is told of this server alone: how it ends, and what it says by then.
fn ended(folder: &Path, server: &str) -> (Option<i32>, String) {
    let log = folder.join("alone.log");
    let mut command = Command::new(binary());
    command
        .args(["engine", "--unconfined", "--slots", "1", "--server", server])
        .arg("--work")
        .arg(folder.join("alone"))
        .env("REELRAFT_ENGINE_TOKEN", "rre_1_hush")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap());
    let mut engine = Engine(command.spawn().unwrap());
    let begun = Instant::now();
    loop {
        let said = std::fs::read_to_string(&log).unwrap();
        if let Some(status) = engine.0.try_wait().unwrap() {
            return (status.code(), std::fs::read_to_string(&log).unwrap());
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What its operator has to mend is said, and not tried again for ever.
#[test]
fn an_engine_ends_where_its_token_would_be_heard_or_https_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = ended(folder.path(), "http://node1.invalid:8401");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("in clear") && said.contains("--ca"), "{said}");
    assert!(!said.contains("hush"), "{said}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let told = "this port speaks HTTPS: ask by https://\n";
        let bytes = told.len();
        for mut socket in listener.incoming().flatten() {
            let _ = socket.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {bytes}\r\n\r\n");
            let _ = socket.write_all((head + told).as_bytes());
        }
    });
    let (code, said) = ended(folder.path(), &server);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("speaks HTTPS"), "{said}");
    assert!(said.contains("hint: "), "{said}");
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/engine.py")
}

/// Starts the engine in Python, with an ffmpeg that a script stands for, if one is given.
fn python(cluster: &LocalCluster, folder: &Path, name: &str, ffmpeg: Option<&Path>) -> Engine {
    let status = cluster.status().unwrap();
    let build = status["nodes"][0]["build"].as_str().unwrap();
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let mut command = Command::new("python3");
    command
        .arg(example())
        .args([&format!("http://{}", cluster.http(1)), build])
        .env("REELRAFT_ENGINE_TOKEN", token(cluster, name))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(ffmpeg) = ffmpeg {
        command.env("FFMPEG", ffmpeg);
    }
    Engine(command.spawn().unwrap())
}

/// What docs/engines.md says is enough to make a shard with the same bytes.
#[test]
fn an_engine_of_others_makes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    // Each of its results is made again, and must be the same.
    let cluster = start(folder.path(), 1, "100");
    let calm = folder.path().join("calm.mp4");
    succeed(&transcode(&cluster, &calm).wait_with_output().unwrap());
    let _python = python(&cluster, folder.path(), "python", None);
    wait_until(&cluster, "it is there", |all| connected(all) == 1);
    let out = folder.path().join("out.mp4");
    let child = transcode(&cluster, &out);
    wait_until(&cluster, "it works", busy("python"));
    succeed(&child.wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), blake3_of(&calm));
    let log = std::fs::read_to_string(cluster.log()).unwrap();
    let named: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("started"))
        .collect();
    assert!(
        named.iter().any(|line| line.contains("runner=45035996273")),
        "{named:?}"
    );
    assert!(engines(&cluster)[0]["quarantine"].is_null());
}

/// An ffmpeg that gives other pictures, with the log of the right ones.
#[test]
fn an_engine_that_lies_is_found_out_and_the_output_is_right() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path(), 1, "100");
    let calm = folder.path().join("calm.mp4");
    succeed(&transcode(&cluster, &calm).wait_with_output().unwrap());
    let liar = folder.path().join("liar.sh");
    let script = "#!/bin/sh\nset --  \"$@\"\nfor arg in \"$@\"; do shift; case \"$arg\" in\n\
                  *,scale=*|*format=yuv420p*) arg=\"$arg,negate\";; esac; set -- \"$@\" \"$arg\"; done\n\
                  exec ffmpeg \"$@\"\n";
    std::fs::write(&liar, script).unwrap();
    std::fs::set_permissions(&liar, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _liar = python(&cluster, folder.path(), "liar", Some(&liar));
    wait_until(&cluster, "it is there", |all| connected(all) == 1);
    let out = folder.path().join("out.mp4");
    succeed(&transcode(&cluster, &out).wait_with_output().unwrap());
    assert_eq!(blake3_of(&out), blake3_of(&calm));
    let found = wait_until(&cluster, "it is found out", |all| {
        all[0]["quarantine"].is_string()
    });
    assert!(
        found[0]["quarantine"].as_str().unwrap().contains("gave"),
        "{found:?}"
    );
    assert!(!makers(&cluster).iter().any(is_engine));
}
