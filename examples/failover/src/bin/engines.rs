//! Three nodes, and engines behind a router that masquerades, each in a network namespace
//! of its own. While jobs come, engines are killed and added at random, and the leader is
//! killed. Every output is the same to the byte as one that the nodes made alone (P1), no
//! job fails (P2), and no node is overloaded: leaders change when they are killed alone.
//!
//! `cargo run --release -p reelraft-failover --bin engines -- [--jobs N] [--seed N] [--short]`
//!
//! With `--idle N` it is measured instead what so many engines without work cost the nodes,
//! with `--busy N` what so many at work do (which takes python3).
//!
//! Needs root and Debian's packages iproute2 and iptables; what is missing is named.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    busy_engines::cost_of_busy,
    cli_client::CliClient,
    clock::now_us,
    events::EventKind,
    experiment::{Settings, Verdict, run_experiment},
    idle_engines::IdleEngines,
    nat_site::NatSite,
    network::Network,
    node_cost::{cpu_percent, cpu_seconds, resident_mib},
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster, end_with_this_process},
    random::Random,
};
use reelraft_harness::{binary, free_ports, make_clip};
use serde_json::Value;

const NODES: u64 = 3;
const ENGINES: (u64, u64) = (3, 8);
const JOBS: (u64, u64) = (8, 50);

/// Jobs that are unfinished at any time.
const AT_ONCE: usize = 4;

/// Between two events, and how many of them are kills of the leader, in a hundred.
const PAUSE_MS: (u64, u64) = (500, 2_500);
const LEADER_KILLS_PERCENT: u64 = 4;
const ENGINE_KILLS_PERCENT: u64 = 30;

/// How long the engines may take to come.
const ENGINES_PATIENCE: Duration = Duration::from_secs(300);

/// How long a killed node is away.
const AWAY: Duration = Duration::from_secs(3);

/// How long all may take.
const PATIENCE: Duration = Duration::from_secs(3_000);

/// Elections that a busy machine may cause by itself.
const ELECTIONS_BESIDES: u64 = 5;

/// What a node may take in cores beside its encoders.
const CORES_MAX: f64 = 0.5;

/// What a node may hold, in MiB.
const RESIDENT_MIB_MAX: u64 = 1_024;

/// How long nodes are watched, and what idle engines may cost one of them: percent of a
/// core, and MiB.
const WATCHED: Duration = Duration::from_secs(30);
const IDLE_PERCENT_MAX: f64 = 10.0;
const IDLE_MIB_MAX: u64 = 128;

const FILM_SECONDS: u32 = 16;
const SPEC: [&str; 4] = ["--preset", "medium", "--shard-seconds", "1"];

/// Where the ids of engines begin; those of nodes are below.
const ENGINE_ID_MIN: u64 = 1 << 52;

fn main() -> ExitCode {
    run_experiment("engines", &["--idle", "--busy"], |settings, folder| {
        if let Some(count) = settings.extra_number("--busy")? {
            return Ok(Verdict::Broken(cost_of_busy(folder, count)?));
        }
        if let Some(count) = settings.extra_number("--idle")? {
            return Ok(Verdict::Broken(cost_of_idle(folder, count)?));
        }
        if let Some(reason) = Network::missing_prerequisite() {
            return Ok(Verdict::Skipped(reason));
        }
        let experiment = Experiment::new(settings, folder)?;
        Ok(Verdict::Broken(experiment.run()?))
    })
}

/// What so many engines that have nothing to do cost each of three nodes.
fn cost_of_idle(folder: &Path, count: u64) -> Result<Vec<String>, String> {
    let ports = free_ports(NODES as u16);
    let addresses: Vec<String> = (0..NODES as u16)
        .map(|node| format!("127.0.0.1:{}", ports + node))
        .collect();
    let environments = addresses.iter();
    let environments = environments.map(|http| vec![("REELRAFT_HTTP".into(), http.clone())]);
    let mut cluster = ProcessCluster::with_environments(folder, environments.collect(), 1)?;
    cluster.wait_for_nodes(NODES as usize, Duration::from_secs(120))?;
    let ids = cluster.ids();
    let pids: Result<Vec<i32>, String> = ids.iter().map(|&id| cluster.pid(id)).collect();
    let pids = pids?;
    // Encoders are measured, and small jobs tried, when a cluster comes to rest.
    sleep(Duration::from_secs(60));
    let before = cpu_percent(&pids, WATCHED);
    let held: Vec<u64> = pids.iter().map(|&pid| resident_mib(pid).0).collect();
    let engines = IdleEngines::start(&addresses, count as usize)?;
    sleep(Duration::from_secs(30));
    let listed = cluster.try_json(&["cluster", "engines"])?;
    let listed = listed["engines"].as_array().cloned().unwrap_or_default();
    let connected = listed.iter().filter(|engine| engine["connected"] == true);
    println!("{} of {count} engines are connected", connected.count());
    let with = cpu_percent(&pids, WATCHED);
    drop(engines);
    let mut broken = Vec::new();
    for (at, pid) in pids.iter().enumerate() {
        let (cpu, mib) = (
            with[at] - before[at],
            resident_mib(*pid).0.saturating_sub(held[at]),
        );
        println!(
            "node {}: {:.1} % of a core without them, {:.1} % with them; {} MiB, and {mib} MiB more",
            ids[at], before[at], with[at], held[at]
        );
        if cpu > IDLE_PERCENT_MAX || mib > IDLE_MIB_MAX {
            broken.push(format!(
                "they cost node {} {cpu:.1} % and {mib} MiB",
                ids[at]
            ));
        }
    }
    Ok(broken)
}

/// An engine's place, and its process while it runs.
struct Engine {
    machine: u64,
    token: String,
    process: Option<Child>,
}

impl Engine {
    fn name(&self) -> String {
        format!("engine{}", self.machine)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

struct Experiment {
    folder: PathBuf,
    film: String,
    jobs: u64,
    // Before the network, so that all processes end before their hosts do.
    engines: Vec<Engine>,
    cluster: ProcessCluster,
    random: Random,
    site: NatSite,
    _network: Network,
    leader_kills: u64,
    engine_kills: u64,
    /// By process, what it had used when it was last looked at.
    seconds: BTreeMap<i32, f64>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let (engines, jobs) = match settings.short {
            true => (ENGINES.0, settings.rounds_or(JOBS.0, JOBS.1)),
            false => (ENGINES.1, settings.rounds_or(JOBS.0, JOBS.1)),
        };
        let network = Network::create(NODES)?;
        let site = NatSite::create(&network, engines)?;
        let node = |id: u64| NodeSpec {
            listen: Network::address(id),
            data: folder.join(format!("node-{id}")),
            command_prefix: Network::host_prefix(id),
            environment: vec![
                ("REELRAFT_HTTP".into(), Network::http(id)),
                ("REELRAFT_VERIFY_ENGINES".into(), "20".into()),
            ],
        };
        let spec = ClusterSpec {
            slots: 1,
            secret: format!("secret-of-the-cluster-{}", settings.seed),
            client_prefix: Network::clients_prefix(),
            node_args: Vec::new(),
        };
        let cluster = ProcessCluster::start(folder, (1..=NODES).map(node).collect(), spec)?;
        cluster.wait_for_nodes(NODES as usize, Duration::from_secs(120))?;
        let film = folder.join("film.mp4");
        make_clip(&film, FILM_SECONDS, "640x360");
        let mut experiment = Experiment {
            folder: folder.to_path_buf(),
            film: film.display().to_string(),
            jobs,
            engines: Vec::new(),
            cluster,
            random: Random::new(settings.seed),
            site,
            _network: network,
            leader_kills: 0,
            engine_kills: 0,
            seconds: BTreeMap::new(),
        };
        for machine in 1..=engines {
            let name = format!("engine{machine}");
            let made = &["engine", "token", "create", &name];
            let made = experiment.cluster.try_json(made)?;
            experiment.engines.push(Engine {
                machine,
                token: made["token"].as_str().unwrap_or_default().to_string(),
                process: None,
            });
        }
        Ok(experiment)
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let calm = self.cluster.submit(&self.film, &SPEC)?;
        self.cluster
            .try_run(&["job", "wait", &calm, "--timeout", "15m"])?;
        let calm = self.cluster.try_json(&["job", "show", &calm])?["output_hash"].clone();
        println!("calm run of the nodes alone: blake3 {calm}");
        for at in 0..self.engines.len() {
            self.start(at)?;
        }
        self.wait_for_engines()?;
        let (from_us, begun) = (now_us(), Instant::now());
        let before = self.cpu();
        let mut submitted = Vec::new();
        let (mut open, mut peak, mut harmed) = (Vec::new(), 0, false);
        while begun.elapsed() < PATIENCE {
            let jobs = self.cluster.jobs()?;
            open.retain(|id: &String| !has_ended(&jobs, id));
            if open.is_empty() && submitted.len() as u64 == self.jobs {
                break;
            }
            while open.len() < AT_ONCE && (submitted.len() as u64) < self.jobs {
                let id = self.cluster.submit(&self.film, &SPEC)?;
                open.push(id.clone());
                submitted.push(id);
            }
            sleep(self.random.duration(PAUSE_MS));
            // No harm is done before engines have shown what they do.
            harmed = harmed || self.by_engines(&submitted)? > 0;
            if harmed {
                self.something()?;
            }
            peak = peak.max(self.resident());
            self.cpu();
        }
        println!(
            "{} jobs in {} s, {} engines and {} leaders killed",
            submitted.len(),
            begun.elapsed().as_secs(),
            self.engine_kills,
            self.leader_kills,
        );
        let seconds = begun.elapsed().as_secs_f64();
        let used = (self.cpu() - before) / seconds / NODES as f64;
        println!("a node takes {used:.2} cores beside its encoders, and at most {peak} MiB");
        let mut broken = self.judge(&submitted, &calm)?;
        if peak > RESIDENT_MIB_MAX {
            broken.push(format!("a node held {peak} MiB"));
        }
        if used > CORES_MAX {
            broken.push(format!("a node took {used:.2} cores beside its encoders"));
        }
        broken.extend(self.judge_leaders(from_us));
        Ok(broken)
    }

    /// Kills an engine or starts one, or kills the leader and starts it again.
    fn something(&mut self) -> Result<(), String> {
        if self.random.within(0, 100) < LEADER_KILLS_PERCENT {
            let leader = self.cluster.wait_for_nodes(2, Duration::from_secs(60))?;
            self.cluster.kill(leader)?;
            self.leader_kills += 1;
            sleep(AWAY);
            self.cluster.start_node(leader)?;
            self.cluster
                .wait_for_nodes(NODES as usize, Duration::from_secs(120))?;
            return Ok(());
        }
        let (dead, living): (Vec<usize>, Vec<usize>) =
            (0..self.engines.len()).partition(|&at| self.engines[at].process.is_none());
        // One that is not there yet has nothing to lose.
        let connected = self.connected()?;
        let is_there = |at: &usize| connected.contains(&self.engines[*at].name());
        let there: Vec<usize> = living.into_iter().filter(is_there).collect();
        if !there.is_empty() && self.random.within(0, 100) < ENGINE_KILLS_PERCENT {
            let at = self.random.choose(&there);
            if let Some(mut process) = self.engines[at].process.take() {
                process.kill().map_err(|error| error.to_string())?;
                process.wait().map_err(|error| error.to_string())?;
                self.engine_kills += 1;
            }
        } else if !dead.is_empty() {
            let at = self.random.choose(&dead);
            self.start(at)?;
        }
        Ok(())
    }

    /// The names of the engines that are connected.
    fn connected(&self) -> Result<BTreeSet<String>, String> {
        let listed = self.cluster.try_json(&["cluster", "engines"])?;
        let listed = listed["engines"].as_array().into_iter().flatten();
        let connected = listed.filter(|engine| engine["connected"] == true);
        let names = connected.filter_map(|engine| engine["name"].as_str());
        Ok(names.map(str::to_string).collect())
    }

    /// Each finds out its encoder build first, which takes long on a busy machine.
    fn wait_for_engines(&self) -> Result<(), String> {
        let begun = Instant::now();
        while self.connected()?.len() < self.engines.len() {
            if begun.elapsed() > ENGINES_PATIENCE {
                return Err("not all engines came".to_string());
            }
            sleep(AWAY);
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Result<(), String> {
        let engine = &self.engines[at];
        let name = engine.name();
        let servers: Vec<String> = (1..=NODES)
            .map(|node| format!("https://{}", Network::http(node)))
            .collect();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{name}.log")))
            .map_err(|error| error.to_string())?;
        let prefix = self.site.host_prefix(engine.machine);
        let mut command = Command::new(&prefix[0]);
        command
            .args(&prefix[1..])
            .arg(binary())
            .args(["engine", "--slots", "1", "--server", &servers.join(",")])
            .arg("--ca")
            .arg(self.cluster.data(1).join("tls/ca.pem"))
            .arg("--work")
            .arg(self.folder.join(&name))
            .env("REELRAFT_ENGINE_TOKEN", &engine.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        end_with_this_process(&mut command);
        let process = command
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        self.engines[at].process = Some(process);
        Ok(())
    }

    /// Shards that are done by engines alone.
    fn by_engines(&self, jobs: &[String]) -> Result<usize, String> {
        let mut count = 0;
        for id in jobs {
            let listed = self.cluster.try_json(&["job", "tasks", id])?;
            let tasks = listed["tasks"].as_array().into_iter().flatten();
            let own = |task: &&Value| task["node"].as_u64() >= Some(ENGINE_ID_MIN);
            let done = tasks.filter(own).filter(|task| task["state"] == "done");
            count += done.count();
        }
        Ok(count)
    }

    fn pids(&mut self) -> Vec<i32> {
        let ids = self.cluster.ids();
        ids.into_iter()
            .filter_map(|id| self.cluster.pid(id).ok())
            .collect()
    }

    /// CPU seconds of all nodes, those that were killed included as far as it was looked.
    fn cpu(&mut self) -> f64 {
        for pid in self.pids() {
            self.seconds.insert(pid, cpu_seconds(pid));
        }
        self.seconds.values().sum()
    }

    fn resident(&mut self) -> u64 {
        let all = self.pids().into_iter().map(|pid| resident_mib(pid).1);
        all.max().unwrap_or(0)
    }

    fn judge(&self, submitted: &[String], calm: &Value) -> Result<Vec<String>, String> {
        let mut broken = Vec::new();
        let (mut checked, mut total) = (0, 0);
        for id in submitted {
            let job = self.cluster.try_json(&["job", "show", id])?;
            if job["output_hash"] != *calm {
                let state = &job["state"];
                broken.push(format!("job {id} is {state}, and its output is another"));
            }
            total += job["shards_total"].as_u64().unwrap_or(0);
            for share in job["engines"].as_array().into_iter().flatten() {
                checked += share["checked"].as_u64().unwrap_or(0);
            }
        }
        let by_engines = self.by_engines(submitted)?;
        println!("{by_engines} of {total} shards by engines alone, and {checked} by a node too");
        if by_engines == 0 {
            broken.push("engines made nothing".to_string());
        }
        let engines = self.cluster.try_json(&["cluster", "engines"])?;
        for engine in engines["engines"].as_array().into_iter().flatten() {
            if let Some(why) = engine["quarantine"].as_str() {
                broken.push(format!("{} is quarantined: {why}", engine["name"]));
            }
        }
        Ok(broken)
    }

    /// A node that has too much to do for its engines would lose its leadership.
    fn judge_leaders(&self, from_us: u64) -> Vec<String> {
        let mut log = self.cluster.event_log();
        log.update();
        let terms = log
            .after(from_us)
            .iter()
            .filter_map(|event| match event.kind {
                EventKind::BecameLeader { term, .. } => Some(term),
                _ => None,
            });
        let elections = terms.collect::<BTreeSet<u64>>().len() as u64;
        println!("{elections} elections");
        let most = 2 * self.leader_kills + ELECTIONS_BESIDES;
        match elections > most {
            true => vec![format!(
                "{elections} elections after {} kills",
                self.leader_kills
            )],
            false => Vec::new(),
        }
    }
}

fn has_ended(jobs: &[Value], id: &str) -> bool {
    let job = jobs.iter().find(|job| job["id"] == id);
    let state = job.and_then(|job| job["state"].as_str());
    matches!(state, Some("succeeded" | "failed" | "cancelled"))
}
