//! Clients with a valid key that want to take a cluster down: 1,000 uploads
//! and 1,000 downloads that read nothing, 1,000 watches, 1,000 requests that
//! never end, 1,000 connections to one node, and 100,000 submits; and one without
//! a key, with 1,000 such requests. Meanwhile somebody else has films made.
//!
//! No node may take more than 512 MiB, nobody may be elected, each refusal
//! says why (P10), and the other client's films take at most 1.2 times as long
//! as in the same run without the attack.
//!
//! `cargo run --release -p reelraft-failover --bin hostile_clients -- [--slower-percent N] [--rounds N] [--submits N] [--seed N] [--short]`

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    checking_client::CheckingClient,
    cli_client::CliClient,
    clock::now_us,
    events::EventKind,
    experiment::{Settings, Verdict, run_experiment},
    hostile::{self, Attack},
    process_cluster::ProcessCluster,
    users::make_grainy_clip,
};
use reelraft_proto::v1::Spec;
use tokio::runtime::Runtime;

const NODES: u16 = 3;
const SLOTS: u32 = 2;

/// Streams of each kind, connections, and submits.
const STREAMS: usize = 1_000;
const SUBMITS: u64 = 100_000;
const SUBMITS_SHORT: u64 = 2_000;

/// Calls that take a request which never ends: one that needs no secret where a
/// cluster has one, and one that does; and its size, the largest that is common
/// and that is taken elsewhere in the same service.
const UNFINISHED: [(&str, &str, usize); 2] = [
    (
        "1,000 checks without end",
        "/grpc.health.v1.Health/Check",
        4 << 20,
    ),
    ("1,000 gets without end", "/reelraft.v1.Jobs/Get", 1 << 20),
];

/// The most memory that a node may have taken.
const RESIDENT_MIB_MAX: u64 = 512;

/// How much longer a film may take under attack, in percent of a calm one's
/// time. The short form runs beside other tests.
const SLOWER_PERCENT: u64 = 120;
const SLOWER_PERCENT_SHORT: u64 = 1_000;

/// A film of one shard, so that much of its time is calls.
const FILM_SECONDS: u32 = 2;

/// How long the nodes may take to be up, and one to be back.
const OPEN_PATIENCE: Duration = Duration::from_secs(90);
const STOP_PATIENCE: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    let options = ["--slower-percent", "--submits"];
    run_experiment("hostile_clients", &options, |settings, folder| {
        raise_open_files()?;
        Experiment::new(settings, folder)?
            .run()
            .map(Verdict::Broken)
    })
}

/// Lets this process hold all its connections.
fn raise_open_files() -> Result<(), String> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls read or write the one struct, which lives meanwhile.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    match raised {
        true => Ok(()),
        false => Err(std::io::Error::last_os_error().to_string()),
    }
}

/// What one kind of attack led to.
struct Row {
    name: &'static str,
    told: String,
    film_ms: u64,
    resident_mib: Vec<u64>,
}

struct Experiment {
    short: bool,
    films_each: u64,
    submits: u64,
    slower_percent: u64,
    runtime: Runtime,
    cluster: ProcessCluster,
    client: CheckingClient,
    films: u64,
    calm_ms: Vec<u64>,
    rows: Vec<Row>,
    broken: Vec<String>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        make_grainy_clip(&clip, FILM_SECONDS)?;
        let cluster = ProcessCluster::on_loopback(&folder.join("cluster"), NODES, SLOTS)?;
        cluster.wait_for_nodes(NODES.into(), OPEN_PATIENCE)?;
        let spec = Spec {
            encoder_preset: "veryfast".into(),
            container: "mp4".into(),
            shard_ms: 2_000,
            ..Default::default()
        };
        let ledger = folder.join("ledger.txt");
        let (client, _) = CheckingClient::new(cluster.endpoints(), &ledger, clip, spec)?;
        let (submits, slower) = match settings.short {
            true => (SUBMITS_SHORT, SLOWER_PERCENT_SHORT),
            false => (SUBMITS, SLOWER_PERCENT),
        };
        Ok(Experiment {
            short: settings.short,
            films_each: settings.rounds_or(1, 5),
            submits: settings.extra_number("--submits")?.unwrap_or(submits),
            slower_percent: settings.extra_number("--slower-percent")?.unwrap_or(slower),
            runtime: Runtime::new().map_err(|error| error.to_string())?,
            cluster,
            client,
            films: 0,
            calm_ms: Vec::new(),
            rows: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        // The first also shows what all others must be.
        self.film()?;
        let calm = self.client.ledger().of("film-1");
        self.client.expected_hash = calm.output;
        let from_us = now_us();
        let all = self.cluster.endpoints();
        let (nodes, job) = (all.clone(), calm.id);
        self.attack("1,000 uploads", async move || {
            hostile::uploads(&nodes, STREAMS).await
        })?;
        let nodes = all.clone();
        self.attack("1,000 downloads", async move || {
            hostile::readers(&nodes, STREAMS, &job).await
        })?;
        let nodes = all.clone();
        self.attack("1,000 watches", async move || {
            hostile::watches(&nodes, STREAMS).await
        })?;
        for (name, call, bytes) in UNFINISHED {
            let nodes = all.clone();
            self.attack(name, async move || {
                hostile::unfinished(&nodes, STREAMS, call, bytes).await
            })?;
        }
        self.crowd()?;
        self.flood(all)?;
        let log = self.cluster.event_log();
        let elections = log
            .after(from_us)
            .iter()
            .filter(|event| matches!(event.kind, EventKind::BecameLeader { .. }))
            .count();
        // The short form runs beside what keeps all cores busy.
        if elections > 0 && !self.short {
            self.broken.push(format!("{elections} elections"));
        }
        self.report(elections);
        self.broken.append(&mut self.client.ledger().broken);
        Ok(self.broken)
    }

    /// Another client's film, from submit to file; milliseconds.
    fn film(&mut self) -> Result<u64, String> {
        self.films += 1;
        let started = Instant::now();
        let request = format!("film-{}", self.films);
        match self.runtime.block_on(self.client.make_film(&request)) {
            true => Ok(started.elapsed().as_millis() as u64),
            false => Err(format!("no film: {:?}", self.client.ledger().broken)),
        }
    }

    /// Films in calm, and as many while what `begin` opens is held open.
    fn attack<F>(&mut self, name: &'static str, begin: F) -> Result<(), String>
    where
        F: AsyncFnOnce() -> Result<Attack, String>,
    {
        self.calm_films()?;
        let attack = self.runtime.block_on(begin())?;
        let mut film_ms = Vec::new();
        for _ in 0..self.films_each {
            film_ms.push(self.film()?);
        }
        self.end_of(name, &attack, median(&mut film_ms));
        Ok(())
    }

    /// Films in calm: before each attack, as the machine may not stay the same.
    fn calm_films(&mut self) -> Result<(), String> {
        if self.short && !self.calm_ms.is_empty() {
            return Ok(());
        }
        for _ in 0..self.films_each {
            let took_ms = self.film()?;
            self.calm_ms.push(took_ms);
        }
        Ok(())
    }

    /// All connections of the leader are taken, and a node comes back all the
    /// same.
    fn crowd(&mut self) -> Result<(), String> {
        let leader = self.cluster.wait_for_nodes(NODES.into(), OPEN_PATIENCE)?;
        let follower = self.cluster.ids().into_iter().find(|node| *node != leader);
        let follower = follower.ok_or("there is only one node")?;
        self.calm_films()?;
        let endpoint = self.cluster.endpoint(leader).to_string();
        let mut attack = self
            .runtime
            .block_on(hostile::connections(&endpoint, STREAMS))?;
        // Who gives way to others can't be told why.
        attack.tally.untyped.remove("closed");
        let film_ms = self.film()?;
        self.cluster.stop(follower, STOP_PATIENCE)?;
        let stopped_us = now_us();
        self.cluster.start_node(follower)?;
        let started = Instant::now();
        let is_back = |cluster: &ProcessCluster| {
            let log = cluster.event_log();
            log.after(stopped_us).iter().any(|event| {
                event.node == leader && event.kind == EventKind::SessionOpened { with: follower }
            })
        };
        while !is_back(&self.cluster) {
            std::thread::sleep(Duration::from_millis(200));
            if started.elapsed() > OPEN_PATIENCE {
                let what = "a node was kept out by a client's connections";
                self.broken.push(what.to_string());
                break;
            }
        }
        println!(
            "a node came back {:.1} s after its start",
            started.elapsed().as_secs_f64()
        );
        self.end_of("1,000 connections", &attack, film_ms);
        Ok(())
    }

    /// Films while jobs are submitted without end.
    fn flood(&mut self, nodes: Vec<String>) -> Result<(), String> {
        self.calm_films()?;
        let count = self.submits;
        let started = Instant::now();
        let flood = self
            .runtime
            .spawn(async move { hostile::submits(&nodes, count).await });
        let mut film_ms = Vec::new();
        while film_ms.is_empty() || !flood.is_finished() {
            film_ms.push(self.film()?);
        }
        let flood = self.runtime.block_on(flood);
        let attack = flood.map_err(|error| error.to_string())??;
        println!("{count} submits in {} s", started.elapsed().as_secs());
        self.end_of("submits", &attack, median(&mut film_ms));
        Ok(())
    }

    fn end_of(&mut self, name: &'static str, attack: &Attack, film_ms: u64) {
        let tally = &attack.tally;
        println!(
            "{name}: {} held open, a film in {film_ms} ms",
            attack.open()
        );
        for (what, count) in &tally.untyped {
            let what = format!("{name}: {count} refused without a reason: {what}");
            self.broken.push(what);
        }
        let refused: Vec<String> = tally
            .refused
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let resident_mib: Vec<u64> = self
            .cluster
            .ids()
            .into_iter()
            .map(|node| self.cluster.pid(node).map_or(0, peak_mib))
            .collect();
        if resident_mib.iter().any(|mib| *mib > RESIDENT_MIB_MAX) {
            self.broken
                .push(format!("{name}: the nodes took {resident_mib:?} MiB"));
        }
        self.rows.push(Row {
            name,
            told: format!(
                "{} accepted; refused: {}",
                tally.accepted,
                refused.join(", ")
            ),
            film_ms,
            resident_mib,
        });
    }

    fn report(&mut self, elections: usize) {
        let calm_ms = median(&mut self.calm_ms).max(1);
        println!("| attack | answers | film, {calm_ms} ms in calm | peak MiB of each node |");
        println!("|---|---|---|---|");
        for row in &self.rows {
            let percent = row.film_ms * 100 / calm_ms;
            println!(
                "| {} | {} | {} ms, {percent} % | {:?} |",
                row.name, row.told, row.film_ms, row.resident_mib
            );
            if percent > self.slower_percent {
                let what = format!("{}: a film took {percent} % of its time", row.name);
                self.broken.push(what);
            }
        }
        println!("{} films, {elections} elections", self.films);
    }
}

/// The most memory that a process has had resident.
fn peak_mib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1_024
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
