//! Reboots one node after the other, without a pause: each is away for 9 s to
//! 30 s, longer than a home may be silent, and as soon as it is started again
//! the next one goes. Meanwhile films are uploaded and encoded, and finished
//! ones are fetched all the time. With `--lost-disks 1` one disk is lost for
//! good in the middle, and an empty node under a new id takes its place.
//!
//! No job may fail, nothing acknowledged may be missing (P2), every film must
//! equal the calm one (P1), an output can be fetched whenever a living node
//! holds it, and for each lost home a job's bytes are copied once at most.
//!
//! `cargo run --release -p reelraft-failover --bin rolling_reboot -- [--rounds N] [--nodes 3|5] [--lost-disks 0|1] [--seed N] [--short]`

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::Receiver,
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use reelraft_failover::{
    checking_client::CheckingClient,
    cli_client::CliClient,
    clock::now_us,
    experiment::{Settings, Verdict, run_experiment},
    fetch_probe::{FetchProbe, Place},
    figures::figures,
    holdings::{Away, Holdings},
    ledger::Ack,
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster},
    random::Random,
    users::{make_grainy_clip, start_user},
};
use reelraft_proto::v1::Spec;

/// Attempts that each node runs at once.
const SLOTS: u32 = 2;

/// How long a node is away. A home is replaced after 8 s.
const AWAY_MS: (u64, u64) = (9_000, 30_000);
const AWAY_SHORT_MS: (u64, u64) = (9_000, 12_000);

/// Where no majority is left while a node is away, the others get this much
/// time between two reboots.
const REST_MS: (u64, u64) = (10_000, 20_000);

/// How long a node may take to stop before its machine cuts its power.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Silence after which the output of a lost disk is copied: soon enough to be
/// seen, and above the longest reboot with the time until the node is ready,
/// which on a busy machine takes half a minute more.
const REHOME_AFTER_S: u32 = 120;

/// Length of a film, and the pauses between the chunks of a patient and of a
/// slow user.
const FILM_SECONDS: u32 = 20;
const FILM_SECONDS_SHORT: u32 = 8;
const CHUNK_PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(900)];

/// How long the nodes may take to be up, and the last films to be done.
const OPEN_PATIENCE: Duration = Duration::from_secs(90);
const WIND_DOWN_PATIENCE: Duration = Duration::from_secs(600);

/// How often disks, processes and clients are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let options = ["--nodes", "--lost-disks"];
    run_experiment("rolling_reboot", &options, |settings, folder| {
        Experiment::new(settings, folder)?
            .run()
            .map(Verdict::Broken)
    })
}

struct Experiment {
    rounds: u64,
    lose_disk: bool,
    away_ms: (u64, u64),
    random: Random,
    cluster: ProcessCluster,
    /// Voters whose disk is well.
    voters: usize,
    founders: usize,
    spare: NodeSpec,
    client: CheckingClient,
    acks: Receiver<(String, Ack)>,
    probe: FetchProbe,
    holdings: Holdings,
    disks: BTreeMap<u64, PathBuf>,
    absences: Vec<Away>,
    /// When each job was seen to succeed.
    finished_us: BTreeMap<String, u64>,
    films: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    ended_by_themselves: u64,
    broken: Vec<String>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let count = settings.extra_number("--nodes")?.unwrap_or(3) as u16;
        let lost_disks = settings.extra_number("--lost-disks")?;
        let lose_disk = lost_disks.map_or(settings.short, |count| count > 0);
        let clip = folder.join("film.mp4");
        let seconds = match settings.short {
            true => FILM_SECONDS_SHORT,
            false => FILM_SECONDS,
        };
        make_grainy_clip(&clip, seconds)?;
        let nodes = folder.join("cluster");
        let mut specs = NodeSpec::on_loopback(&nodes, count + 1);
        let spare = specs.pop().ok_or("there is no spare node")?;
        let mut endpoints: Vec<String> = specs.iter().map(|node| node.listen.clone()).collect();
        endpoints.extend(lose_disk.then(|| spare.listen.clone()));
        let voters: Vec<String> = (1..=count).map(|id| id.to_string()).collect();
        let rehome_after = REHOME_AFTER_S.to_string();
        let node_args = [
            "--voters",
            &voters.join(","),
            "--rehome-after",
            &rehome_after,
        ];
        let spec = ClusterSpec {
            slots: SLOTS,
            node_args: node_args.map(str::to_string).to_vec(),
            ..Default::default()
        };
        let cluster = ProcessCluster::start(&nodes, specs, spec)?;
        cluster.wait_for_nodes(count.into(), OPEN_PATIENCE)?;
        let spec = Spec {
            encoder_preset: "slow".into(),
            container: "mp4".into(),
            shard_ms: 2_000,
            ..Default::default()
        };
        let ledger = folder.join("ledger.txt");
        let (client, acks) = CheckingClient::new(endpoints, &ledger, clip, spec)?;
        Ok(Experiment {
            rounds: settings.rounds_or(2, 20),
            lose_disk,
            away_ms: match settings.short {
                true => AWAY_SHORT_MS,
                false => AWAY_MS,
            },
            random: Random::new(settings.seed),
            voters: count.into(),
            founders: count.into(),
            spare,
            client,
            acks,
            probe: FetchProbe::default(),
            holdings: Holdings::default(),
            disks: BTreeMap::new(),
            absences: Vec::new(),
            finished_us: BTreeMap::new(),
            films: Arc::default(),
            enough: Arc::default(),
            ended_by_themselves: 0,
            broken: Vec::new(),
            cluster,
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        for node in self.cluster.ids() {
            self.is_up(node);
        }
        if !runtime.block_on(self.client.make_film("calm")) {
            return Err(format!("no calm run: {:?}", self.client.ledger().broken));
        }
        let calm = self.client.ledger().of("calm").output;
        self.client.expected_hash = calm;
        println!(
            "{} rounds over {} nodes; calm film {}",
            self.rounds,
            self.founders,
            self.client.expected_hash.clone().unwrap_or_default()
        );
        let started = Instant::now();
        let users = self.start_users()?;
        let probe = self.probe.clone();
        let probing = start_user(async move || probe.run().await)?;
        for round in 1..=self.rounds {
            if self.lose_disk && round == self.rounds / 2 + 1 {
                self.lose_a_disk()?;
            }
            self.round(round)?;
            if self.is_broken() {
                break;
            }
        }
        self.wind_down(users)?;
        self.probe.state().stopped = true;
        probing.join().map_err(|_| "the probe panicked")?;
        runtime.block_on(self.confirm_all());
        let homes = self.founders.div_ceil(2);
        let copies = self
            .holdings
            .copies_too_many(homes, &self.absences, &self.finished_us);
        self.broken.extend(copies);
        self.judge_jobs()?;
        self.report(started.elapsed());
        self.broken.append(&mut self.client.ledger().broken);
        self.broken.append(&mut self.probe.state().broken);
        Ok(self.broken)
    }

    /// Two users who each make one film after the other.
    fn start_users(&self) -> Result<Vec<JoinHandle<()>>, String> {
        let start = |(user, pause)| {
            let mut client = self.client.clone();
            client.chunk_pause = pause;
            let (films, enough) = (self.films.clone(), self.enough.clone());
            start_user(async move || {
                for number in 1_u64.. {
                    let request = format!("film-{user}-{number}");
                    if enough.load(Ordering::Relaxed) || !client.make_film(&request).await {
                        return;
                    }
                    films.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        (1..).zip(CHUNK_PAUSES).map(start).collect()
    }

    /// Every node once, in an order of chance.
    fn round(&mut self, round: u64) -> Result<(), String> {
        let mut waiting: Vec<u64> = self.disks.keys().copied().collect();
        let mut steps = Vec::new();
        while !waiting.is_empty() {
            let at = self.random.within(0, waiting.len() as u64) as usize;
            let node = waiting.remove(at);
            let away = self.random.duration(self.away_ms);
            let gently = self.random.within(0, 2) == 0;
            steps.push(format!(
                "{node} {} {:.0} s",
                if gently { "stopped" } else { "killed" },
                away.as_secs_f64()
            ));
            self.reboot(node, away, gently)?;
            if self.voters - 1 <= self.founders / 2 {
                let rest = self.random.duration(REST_MS);
                self.watch_for(rest)?;
            }
        }
        let state = self.probe.state();
        println!(
            "round {round:>2}: {}; {} films, {} acknowledgements, {} fetches, {} of none",
            steps.join(", "),
            self.films.load(Ordering::Relaxed),
            self.client.ledger().entries(),
            state.took_ms.len(),
            state.held_by_none
        );
        Ok(())
    }

    fn reboot(&mut self, node: u64, away: Duration, gently: bool) -> Result<(), String> {
        self.is_away(node);
        let from_us = now_us();
        match gently {
            true => self.cluster.stop(node, STOP_PATIENCE)?,
            false => self.cluster.kill(node)?,
        };
        self.watch_for(away)?;
        self.cluster.start_node(node)?;
        self.is_up(node);
        self.absences.push(Away {
            node,
            from_us,
            to_us: Some(now_us()),
        });
        Ok(())
    }

    /// One founder's disk is gone, and an empty node under a new id comes.
    fn lose_a_disk(&mut self) -> Result<(), String> {
        let nodes: Vec<u64> = self.disks.keys().copied().collect();
        let node = self.random.choose(&nodes);
        self.is_away(node);
        self.absences.push(Away {
            node,
            from_us: now_us(),
            to_us: None,
        });
        self.cluster.kill(node)?;
        let data = self.disks.remove(&node).unwrap_or_default();
        std::fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        self.voters -= 1;
        let new = self.cluster.add_node(self.spare.clone())?;
        self.is_up(new);
        println!("the disk of node {node} is lost, node {new} comes with an empty one");
        Ok(())
    }

    fn is_up(&mut self, node: u64) {
        let data = self.cluster.data(node).to_path_buf();
        self.disks.insert(node, data.clone());
        let place = Place {
            endpoint: self.cluster.endpoint(node).to_string(),
            data,
            up_since_us: Some(now_us()),
        };
        self.probe.state().places.insert(node, place);
    }

    fn is_away(&self, node: u64) {
        if let Some(place) = self.probe.state().places.get_mut(&node) {
            place.up_since_us = None;
        }
    }

    /// Looks at everything for a while. A node that ended by itself is started
    /// again, as a supervisor would.
    fn watch_for(&mut self, time: Duration) -> Result<(), String> {
        let started = Instant::now();
        loop {
            self.look()?;
            let left = time.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(LOOK_EVERY));
        }
    }

    fn look(&mut self) -> Result<(), String> {
        self.holdings.look(&self.disks);
        while let Ok((request, ack)) = self.acks.try_recv() {
            if let Ack::Succeeded { hash } = ack {
                let job = self.client.ledger().of(&request).id;
                self.finished_us.entry(job.clone()).or_insert_with(now_us);
                let mut state = self.probe.state();
                let output = (job, hash);
                if !state.outputs.contains(&output) {
                    state.outputs.push(output);
                }
            }
        }
        let up: Vec<u64> = {
            let state = self.probe.state();
            let up = state
                .places
                .iter()
                .filter(|(_, place)| place.up_since_us.is_some());
            up.map(|(&node, _)| node).collect()
        };
        for node in up {
            if let Err(ended) = self.cluster.pid(node) {
                println!("{ended}");
                self.ended_by_themselves += 1;
                self.cluster.start_node(node)?;
                self.is_up(node);
            }
        }
        Ok(())
    }

    fn is_broken(&self) -> bool {
        !self.client.ledger().broken.is_empty() || !self.probe.state().broken.is_empty()
    }

    /// Lets the current films end.
    fn wind_down(&mut self, users: Vec<JoinHandle<()>>) -> Result<(), String> {
        self.enough.store(true, Ordering::Relaxed);
        let started = Instant::now();
        while users.iter().any(|user| !user.is_finished()) {
            self.watch_for(LOOK_EVERY)?;
            if started.elapsed() > WIND_DOWN_PATIENCE {
                self.broken.push("the last films did not end".into());
                self.client.set_stopped(true);
                break;
            }
        }
        for user in users {
            user.join().map_err(|_| "a user's thread panicked")?;
        }
        self.client.set_stopped(false);
        self.look()
    }

    /// Asks for all that was acknowledged, and fetches every output.
    async fn confirm_all(&self) {
        let requests: Vec<String> = {
            let ledger = self.client.ledger();
            ledger
                .requests()
                .map(|(request, _)| request.clone())
                .collect()
        };
        for request in requests {
            self.client.confirm(&request).await;
            if self.client.ledger().of(&request).output.is_some() {
                self.client.fetch_again(&request).await;
            }
        }
    }

    /// One job for each request, and each has succeeded.
    fn judge_jobs(&mut self) -> Result<(), String> {
        let jobs = self.cluster.jobs()?;
        let requests = self.client.ledger().requests().count();
        if jobs.len() != requests {
            let what = format!("{} jobs for {requests} requests", jobs.len());
            self.broken.push(what);
        }
        for job in jobs.iter().filter(|job| job["state"] != "succeeded") {
            self.broken.push(format!(
                "job {} is {}: {}",
                job["request_id"], job["state"], job["problem"]
            ));
        }
        Ok(())
    }

    fn report(&self, took: Duration) {
        let mut state = self.probe.state();
        let homes = self.founders.div_ceil(2);
        let mut beyond = (0, 0);
        let jobs: BTreeSet<&String> = self.holdings.stays.iter().map(|stay| &stay.job).collect();
        for job in &jobs {
            for stay in self.holdings.of(job).skip(homes) {
                beyond = (beyond.0 + 1, beyond.1 + stay.bytes);
            }
        }
        println!("| | |\n|---|---|");
        println!(
            "| reboots | {} in {} s |",
            self.absences.len(),
            took.as_secs()
        );
        println!(
            "| nodes that ended by themselves | {} |",
            self.ended_by_themselves
        );
        println!(
            "| films | {}, acknowledgements {} |",
            self.films.load(Ordering::Relaxed),
            self.client.ledger().entries()
        );
        println!(
            "| copies made | {} of {} jobs, {} MiB |",
            beyond.0,
            jobs.len(),
            beyond.1 >> 20
        );
        println!(
            "| fetches that a living node could serve | {} |",
            figures(&mut state.took_ms)
        );
        println!(
            "| looks at an output that no living node held | {} |",
            state.held_by_none
        );
    }
}
