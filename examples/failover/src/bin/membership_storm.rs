//! Random sequences of what happens to a cluster's members: machines join, are killed,
//! rebooted, drained, removed, wiped and let in again, and the leadership moves, while
//! films are made. At most f machines are gone at once. Nothing acknowledged may be lost:
//! every film succeeds with the bytes of a calm run (P1, P2), and the table is sound.
//!
//! `cargo run --release -p reelraft-failover --bin membership_storm -- [--sequences N] [--seed N] [--short]`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Settings, Verdict, run_experiment},
    growing_cluster::GrowingCluster,
    random::Random,
};
use reelraft_harness::{blake3_of, make_clip};

/// Tasks that each node runs at once: the nodes share one machine.
const SLOTS: u32 = 1;

/// How long the cluster may take to be well again after each event: a voter is replaced
/// and a home copied after eight seconds of silence each.
const PATIENCE: Duration = Duration::from_secs(180);

/// Machines that there are at most.
const MACHINES_MAX: usize = 5;

/// Voters, of which one may be gone.
const VOTERS: usize = 3;

/// Events in one sequence.
const EVENTS: u64 = 5;
const EVENTS_SHORT: u64 = 6;

/// How a film is encoded: one slow enough to be in the midst of it.
const FILM_SPEC: [&str; 4] = ["--preset", "fast", "--shard-seconds", "1"];
const FILM_SECONDS: u32 = 3;
const FILM_PATIENCE: &str = "10m";

fn main() -> ExitCode {
    run_experiment("membership_storm", &["--sequences"], |settings, folder| {
        let sequences = settings.extra_number("--sequences")?;
        let sequences = sequences.unwrap_or(if settings.short { 1 } else { 20 });
        let mut broken = Vec::new();
        let mut random = Random::new(settings.seed);
        for sequence in 1..=sequences {
            let folder = folder.join(format!("sequence-{sequence}"));
            let begun = Instant::now();
            let mut storm = Storm::new(settings, &folder, random.within(0, u64::MAX))?;
            let found = storm.run(settings);
            let found = found.map_err(|error| format!("sequence {sequence}: {error}"))?;
            let seconds = begun.elapsed().as_secs_f64();
            println!(
                "sequence {sequence}: {} ({seconds:.0} s)",
                storm.events.join(", ")
            );
            let found = found.into_iter();
            broken.extend(found.map(|text| format!("sequence {sequence}: {text}")));
            if !broken.is_empty() {
                break;
            }
            drop(storm);
            let _ = std::fs::remove_dir_all(folder);
        }
        Ok(Verdict::Broken(broken))
    })
}

struct Storm {
    cluster: GrowingCluster,
    random: Random,
    folder: PathBuf,
    clip: String,
    calm_hash: String,
    films: Vec<String>,
    events: Vec<String>,
}

/// What happens to the members.
#[derive(Clone, Copy)]
enum Event {
    Join,
    Kill,
    Reboot,
    Wipe,
    LoseForGood,
    Remove,
    DrainAndUndrain,
    MoveLeader,
}

impl Storm {
    fn new(settings: &Settings, folder: &Path, seed: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let clip = folder.join("film.mp4");
        make_clip(&clip, FILM_SECONDS, "320x180");
        let cluster = GrowingCluster::found(&folder.join("cluster"), SLOTS, PATIENCE)?;
        let mut storm = Storm {
            cluster,
            random: Random::new(seed),
            folder: folder.to_path_buf(),
            clip: clip.display().to_string(),
            calm_hash: String::new(),
            films: Vec::new(),
            events: Vec::new(),
        };
        for _ in 0..VOTERS {
            storm.cluster.join()?;
        }
        storm.be_well()?;
        let calm = storm.cluster.submit(&storm.clip, &FILM_SPEC)?;
        storm.calm_hash = storm.output_of(&calm)?;
        storm.films.push(calm);
        if settings.short {
            println!("calm film: blake3 {}", storm.calm_hash);
        }
        Ok(storm)
    }

    fn run(&mut self, settings: &Settings) -> Result<Vec<String>, String> {
        let events = if settings.short { EVENTS_SHORT } else { EVENTS };
        for _ in 0..events {
            let film = self.cluster.submit(&self.clip, &FILM_SPEC)?;
            self.films.push(film);
            let event = self.next_event();
            let told = self.play(event);
            let told = told.map_err(|error| format!("after {:?}: {error}", self.events))?;
            self.events.push(told);
            let well = self.be_well();
            well.map_err(|error| format!("after {:?}: {error}", self.events))?;
        }
        self.compare()
    }

    /// Three voters, all members living, and nothing under way. A machine that joined
    /// just now counts once the leader has heard of it: others are drained for it.
    fn be_well(&mut self) -> Result<(), String> {
        let machines = self.cluster.running().len();
        self.cluster.await_nodes(PATIENCE, "calm", |nodes| {
            let votes = nodes.iter().filter(|node| node["role"] != "learner");
            let calm = |node: &serde_json::Value| {
                let note = node["note"].as_str().unwrap_or_default();
                node["reachable"] == true && (note.is_empty() || note.contains("is a learner"))
            };
            let all_there = nodes.len() >= machines;
            all_there && votes.count() == VOTERS && nodes.iter().all(calm)
        })?;
        self.await_copies()
    }

    /// Waits until what is finished has its copies: one more machine may be lost then.
    fn await_copies(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let jobs = self.cluster.jobs()?;
            let members = self.cluster.nodes();
            let lives = |home: &serde_json::Value| {
                let filled = home["filled"] == true && home["retiring"] != true;
                filled && members.iter().any(|node| node["id"] == home["node"])
            };
            let whole = |job: &&serde_json::Value| {
                let homes = job["homes"].as_array().cloned().unwrap_or_default();
                homes.iter().filter(|home| lives(home)).count() > VOTERS / 2
            };
            let lacking = jobs.iter().filter(|job| !whole(job)).count();
            if lacking == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{lacking} jobs lack copies: {jobs:?}"));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn next_event(&mut self) -> Event {
        let mut events = vec![
            Event::Kill,
            Event::Reboot,
            Event::Wipe,
            Event::DrainAndUndrain,
            Event::MoveLeader,
        ];
        match self.cluster.running().len() {
            MACHINES_MAX.. => events.extend([Event::Remove, Event::LoseForGood]),
            count if count > VOTERS => {
                events.extend([Event::Remove, Event::LoseForGood, Event::Join]);
            }
            _ => events.push(Event::Join),
        }
        // With a learner to spare, all of them end with as many voters as before.
        if self.cluster.running().len() <= VOTERS {
            events = vec![Event::Join, Event::Kill, Event::Reboot, Event::MoveLeader];
        }
        self.random.choose(&events)
    }

    fn play(&mut self, event: Event) -> Result<String, String> {
        let machines = self.cluster.running();
        let machine = self.random.choose(&machines);
        let node = self.cluster.node_of(machine).ok_or("no node")?;
        let id = node.to_string();
        let pause = self.random.duration((0, 3_000));
        match event {
            Event::Join => {
                self.cluster.join()?;
                Ok("join".into())
            }
            Event::Kill => {
                self.cluster.kill(machine)?;
                std::thread::sleep(pause);
                self.cluster.start(machine)?;
                Ok(format!("kill {node}"))
            }
            Event::Reboot => {
                self.cluster.stop(machine)?;
                std::thread::sleep(pause);
                self.cluster.start(machine)?;
                Ok(format!("reboot {node}"))
            }
            Event::Wipe => {
                self.cluster.kill(machine)?;
                self.cluster.rejoin_wiped(machine)?;
                Ok(format!("wipe {node}"))
            }
            Event::LoseForGood => {
                self.cluster.kill(machine)?;
                self.cluster.forget(machine);
                self.remove_dead(&id)?;
                Ok(format!("lose {node}"))
            }
            Event::Remove => {
                self.cluster.shrink(node, PATIENCE)?;
                Ok(format!("drain and remove {node}"))
            }
            Event::DrainAndUndrain => {
                self.cluster.try_run(&["cluster", "drain", &id])?;
                std::thread::sleep(pause);
                self.cluster.try_run(&["cluster", "undrain", &id])?;
                Ok(format!("drain and undrain {node}"))
            }
            Event::MoveLeader => {
                self.cluster.try_run(&["cluster", "transfer-leader"])?;
                Ok("move the leader".into())
            }
        }
    }

    /// Removes a lost node, as soon as it is no last copy and known to be gone.
    fn remove_dead(&self, id: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match self.cluster.try_run(&["cluster", "remove", id, "--dead"]) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    fn output_of(&self, id: &str) -> Result<String, String> {
        let wait = ["job", "wait", id, "--timeout", FILM_PATIENCE];
        self.cluster.try_run(&wait)?;
        let out = self.folder.join(format!("{id}.mp4"));
        let path = out.display().to_string();
        self.cluster.try_run(&["job", "fetch", id, &path])?;
        let hash = blake3_of(&out);
        let _ = std::fs::remove_file(out);
        Ok(hash)
    }

    fn compare(&mut self) -> Result<Vec<String>, String> {
        let mut broken = Vec::new();
        for film in &self.films {
            match self.output_of(film) {
                Ok(hash) if hash == self.calm_hash => {}
                Ok(hash) => broken.push(format!("film {film} has blake3 {hash}")),
                Err(error) => broken.push(format!("film {film}: {error}")),
            }
        }
        for machine in self.cluster.running() {
            self.cluster.stop(machine)?;
            broken.extend(self.cluster.check_table(machine)?);
        }
        Ok(broken)
    }
}
