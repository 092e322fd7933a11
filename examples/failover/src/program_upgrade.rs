//! Gives the nodes of a cluster another reelraft, one that can read a higher feature
//! level, one node after the other: under jobs, uploads of three kinds, commands and
//! followed events. No call of any client fails, and none waits for long. The level rises
//! when the last node can read it and not before; then the former program is refused.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use reelraft_harness::{binary, free_ports};
use reelraft_proto::v1::Spec;
use serde_json::Value;

use crate::{
    checking_client::CheckingClient,
    cli_client::CliClient,
    experiment::{Settings, Verdict},
    figures::{figures, percentile},
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster, end_with_this_process},
    random::Random,
    users::{make_grainy_clip, start_user},
    web_users::{Seen, WebUsers},
};

const NODES: u16 = 3;
const SLOTS: u32 = 1;

/// How long nodes may take to come up on a busy machine, and levels to rise.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a node may take to hand over what it has before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long the last jobs may take.
const DONE_PATIENCE: Duration = Duration::from_secs(600);

/// Pause before and between the nodes' restarts: jobs get on meanwhile.
const BETWEEN_MS: (u64, u64) = (4_000, 9_000);
const BETWEEN_SHORT_MS: (u64, u64) = (1_000, 3_000);

/// What no call may take longer than, in milliseconds. The short form runs beside other
/// tests.
const PAUSE_MS_MAX: u64 = 1_000;
const PAUSE_SHORT_MS_MAX: u64 = 30_000;

/// Calls whose pauses are judged. A piece of an upload is acknowledged by all homes of
/// its job, so that it waits while one of them starts; that is told and not judged.
const JUDGED: [&str; 5] = ["show", "make", "delete", "tus offset", "events"];

/// From this feature level on a program looks at its table, when it starts, whether the
/// cluster has gone on without it. One before ends at the first entry that it can't read.
const LOOKS_FROM_LEVEL: u64 = 8;

const FILM_SECONDS: u32 = 12;
const FILM_SECONDS_SHORT: u32 = 4;

/// How long the events may take to tell of a job that has ended.
const TOLD_PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two commands.
const COMMAND_PAUSE: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(200);

struct Experiment<'a> {
    settings: &'a Settings,
    former: &'a Path,
    new: PathBuf,
    cluster: ProcessCluster,
    client: CheckingClient,
    web: WebUsers,
    film: Vec<u8>,
    random: Random,
    broken: Vec<String>,
}

/// Runs it. `former` is the program that all nodes start with.
///
/// # Errors
/// What keeps it from being run.
pub fn run(settings: &Settings, folder: &Path, former: &Path) -> Result<Verdict, String> {
    Experiment::new(settings, folder, former)?.run()
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path, former: &'a Path) -> Result<Self, String> {
        if !former.exists() {
            return Err(format!("there is no {}", former.display()));
        }
        let clip = folder.join("film.mp4");
        let seconds = match settings.short {
            true => FILM_SECONDS_SHORT,
            false => FILM_SECONDS,
        };
        make_grainy_clip(&clip, seconds)?;
        let film = std::fs::read(&clip).map_err(|error| error.to_string())?;
        let ports = free_ports(NODES);
        let pages: Vec<String> = (ports..ports + NODES)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let place = folder.join("cluster");
        let mut nodes = NodeSpec::on_loopback(&place, NODES);
        for (node, page) in nodes.iter_mut().zip(&pages) {
            node.environment = vec![("REELRAFT_HTTP".into(), page.clone())];
        }
        let spec = ClusterSpec {
            slots: SLOTS,
            ..Default::default()
        };
        let mut cluster = ProcessCluster::prepare(&place, nodes, spec)?;
        for id in cluster.ids() {
            cluster.set_program(id, former);
            cluster.start_node(id)?;
        }
        cluster.wait_for_nodes(NODES.into(), PATIENCE)?;
        let spec = Spec {
            encoder_preset: "medium".into(),
            container: "mp4".into(),
            shard_ms: 2_000,
            ..Default::default()
        };
        let ledger = folder.join("ledger.txt");
        let (client, _) = CheckingClient::new(cluster.endpoints(), &ledger, clip, spec)?;
        Ok(Experiment {
            settings,
            former,
            new: binary(),
            cluster,
            client,
            web: WebUsers::new(pages),
            film,
            random: Random::new(settings.seed),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Verdict, String> {
        let before = self.upgrade()?;
        let level = before["feature_level"].clone();
        println!("all nodes read level {level}");
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        if !runtime.block_on(self.client.make_film("first")) {
            return Err(format!("no film: {:?}", self.client.ledger().broken));
        }
        let shown = self.client.ledger().of("first").id;
        let following = self.web.start_following();
        let mut users = self.web.start(&shown, &self.film);
        users.extend(self.film_users()?);
        users.push(self.commands());
        self.pause();
        self.change_nodes(&level)?;
        self.pause();
        self.wind_down(users)?;
        self.await_told()?;
        self.web.stop_following();
        following.join().map_err(|_| "the follower panicked")?;
        self.former_comes_back(&level)?;
        self.judge_jobs()?;
        self.report();
        self.broken.append(&mut self.client.ledger().broken);
        Ok(Verdict::Broken(self.broken))
    }

    fn pause(&mut self) {
        let between = match self.settings.short {
            true => BETWEEN_SHORT_MS,
            false => BETWEEN_MS,
        };
        sleep(self.random.duration(between));
    }

    fn upgrade(&self) -> Result<Value, String> {
        self.cluster.try_json(&["cluster", "upgrade", "status"])
    }

    /// Waits until it is told how far the upgrade is as it should be.
    fn await_upgrade(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, String> {
        let begun = Instant::now();
        loop {
            let now = self.upgrade()?;
            if wanted(&now) {
                return Ok(now);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{what}: {now}"));
            }
            sleep(LOOK_EVERY);
        }
    }

    /// One node after the other, in an order of chance.
    fn change_nodes(&mut self, level: &Value) -> Result<(), String> {
        let mut former: Vec<u64> = self.cluster.ids();
        while !former.is_empty() {
            let at = self.random.within(0, former.len() as u64) as usize;
            let node = former.remove(at);
            let begun = Instant::now();
            self.cluster.stop(node, STOP_PATIENCE)?;
            let stopped = begun.elapsed();
            self.cluster.set_program(node, &self.new);
            self.cluster.start_node(node)?;
            self.cluster.wait_for_nodes(NODES.into(), PATIENCE)?;
            println!(
                "node {node} has the new program: it stopped within {} ms, and was back after {} ms",
                stopped.as_millis(),
                begun.elapsed().as_millis()
            );
            if former.is_empty() {
                break;
            }
            let held_by = serde_json::json!(former);
            let what = "nobody holds the level: do both programs read the same?";
            let told = self.await_upgrade(what, |now| now["held_by"] == held_by)?;
            if told["feature_level"] != *level {
                self.broken.push(format!("the level rose early: {told}"));
            }
            self.pause();
        }
        let told = self.await_upgrade("the level does not rise", |now| {
            now["feature_level"] == now["newest"] && now["held_by"] == serde_json::json!([])
        })?;
        println!(
            "all nodes are new, and the level is {}",
            told["feature_level"]
        );
        Ok(())
    }

    /// Two users who make one film after the other over gRPC.
    fn film_users(&self) -> Result<Vec<JoinHandle<()>>, String> {
        let start = |user| {
            let (client, web) = (self.client.clone(), self.web.clone());
            start_user(async move || {
                for number in 1_u64.. {
                    let request = format!("film-{user}-{number}");
                    if web.stopped() || !client.make_film(&request).await {
                        return;
                    }
                }
            })
        };
        (1..=2).map(start).collect()
    }

    /// Runs a command again and again: each must succeed at once, whoever is away.
    fn commands(&self) -> JoinHandle<()> {
        let (web, endpoints) = (self.web.clone(), self.cluster.endpoints().join(","));
        std::thread::spawn(move || {
            while !web.stopped() {
                let mut command = Command::new(binary());
                command.args(["job", "list", "--limit", "1"]);
                command.env("REELRAFT_ENDPOINTS", &endpoints);
                end_with_this_process(&mut command);
                let begun = Instant::now();
                match command.output() {
                    Ok(output) if output.status.success() => web.note("command", begun),
                    Ok(output) => {
                        let text = String::from_utf8_lossy(&output.stderr).into_owned();
                        web.seen().broken.push(format!("a command failed: {text}"));
                    }
                    Err(error) => web.seen().broken.push(error.to_string()),
                }
                sleep(COMMAND_PAUSE);
            }
        })
    }

    fn wind_down(&mut self, users: Vec<JoinHandle<()>>) -> Result<(), String> {
        self.web.stop();
        let begun = Instant::now();
        while users.iter().any(|user| !user.is_finished()) {
            if begun.elapsed() > DONE_PATIENCE {
                return Err("the users do not end".into());
            }
            sleep(LOOK_EVERY);
        }
        for user in users {
            user.join().map_err(|_| "a user's thread panicked")?;
        }
        Ok(())
    }

    /// Waits until all films that came by tus are made, and the events have told of all.
    fn await_told(&self) -> Result<(), String> {
        let uploaded = self.web.seen().uploaded.clone();
        for id in &uploaded {
            let wait = ["job", "wait", id, "--timeout", "10m"];
            self.cluster.try_run(&wait)?;
        }
        let jobs = self.cluster.jobs()?;
        let begun = Instant::now();
        while begun.elapsed() < TOLD_PATIENCE && !untold(&jobs, &self.web.seen()).is_empty() {
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// A node that comes back with the former program ends by itself, by name, and is
    /// welcome again with the new one.
    fn former_comes_back(&mut self, level: &Value) -> Result<(), String> {
        if level.as_u64().is_some_and(|level| level < LOOKS_FROM_LEVEL) {
            println!("the former program does not look whether it is too old, and was not tried");
            return Ok(());
        }
        let ids = self.cluster.ids();
        let node = self.random.choose(&ids);
        self.cluster.stop(node, STOP_PATIENCE)?;
        self.cluster.set_program(node, self.former);
        let logged = self.cluster.log_text(node).len();
        self.cluster.start_node(node)?;
        let begun = Instant::now();
        while self.cluster.pid(node).is_ok() {
            if begun.elapsed() > PATIENCE {
                let what = format!("node {node} runs with the former program");
                self.broken.push(what);
                self.cluster.kill(node)?;
                break;
            }
            sleep(LOOK_EVERY);
        }
        let log = self.cluster.log_text(node);
        let said = log.get(logged..).unwrap_or_default();
        match said.lines().find(|line| line.contains("older-program")) {
            Some(line) => println!("the former program is refused: {}", line.trim()),
            None => self
                .broken
                .push(format!("node {node} was not refused by name: {said}")),
        }
        self.cluster.set_program(node, &self.new);
        self.cluster.start_node(node)?;
        self.cluster
            .wait_for_nodes(NODES.into(), PATIENCE)
            .map(drop)
    }

    /// Each job that was not deleted has succeeded, with one output a build and spec,
    /// and the events have named it.
    fn judge_jobs(&mut self) -> Result<(), String> {
        let mut outputs: BTreeMap<(String, String), String> = BTreeMap::new();
        let jobs = self.cluster.jobs()?;
        let seen = self.web.seen();
        for job in jobs.iter().filter(|job| job["state"] != "deleted") {
            let text = |field: &str| job[field].as_str().unwrap_or_default().to_string();
            if text("state") != "succeeded" {
                let what = format!(
                    "job {} is {}: {}",
                    text("id"),
                    text("state"),
                    job["problem"]
                );
                self.broken.push(what);
                continue;
            }
            let hash = text("output_hash");
            let of = (text("build"), job["spec"].to_string());
            let first = outputs.entry(of).or_insert_with(|| hash.clone());
            if *first != hash {
                self.broken
                    .push(format!("job {} has other bytes", text("id")));
            }
        }
        let untold = untold(&jobs, &seen).into_iter();
        let untold = untold.map(|id| format!("no event told that job {id} succeeded"));
        self.broken.extend(untold);
        println!(
            "{} jobs, {} outputs by build and spec",
            jobs.len(),
            outputs.len()
        );
        Ok(())
    }

    fn report(&mut self) {
        let (_, limit_ms) = self
            .settings
            .limits_ms(PAUSE_MS_MAX, PAUSE_MS_MAX, PAUSE_SHORT_MS_MAX);
        let mut seen = self.web.seen();
        println!("| call | until it was answered |\n|---|---|");
        for (what, took_ms) in &mut seen.took_ms {
            println!("| {what} | {} |", figures(took_ms));
            let most_ms = percentile(took_ms, 100);
            if JUDGED.contains(what) && most_ms > limit_ms {
                self.broken.push(format!("{what} took {most_ms} ms"));
            }
        }
        println!("{} films by tus", seen.uploaded.len());
        self.broken.append(&mut seen.broken);
    }
}

/// Jobs that have succeeded and of which no event told, if the events went on without a
/// gap; the first ended before they were followed.
fn untold(jobs: &[Value], seen: &Seen) -> Vec<String> {
    let succeeded = jobs.iter().filter(|job| job["state"] == "succeeded");
    let followed = succeeded.filter(|job| job["request_id"] != "first");
    let ids = followed.filter_map(|job| job["id"].as_str());
    let untold = ids.filter(|id| seen.resets == 0 && !seen.succeeded.contains(*id));
    untold.map(str::to_string).collect()
}
