//! Random sequences of what happens to a cluster's members: machines join, are killed,
//! rebooted, drained, removed, wiped and let in again, and the leadership moves, while
//! films are made. In every second cluster all speak by TLS, and keys and authority are
//! changed as well. At most f machines are gone at once. Nothing acknowledged may be lost:
//! every film succeeds with the bytes of a calm run (P1, P2), and the table is sound.
//!
//! `cargo run --release -p reelraft-failover --bin membership_storm -- [--sequences N] [--seed N] [--short]`
//!
//! The sequences have the seeds from `--seed` on; the odd ones have TLS. So
//! `--seed N --sequences 1` plays the one of seed N again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Settings, Verdict, run_experiment},
    figures::figures,
    growing_cluster::GrowingCluster,
    random::Random,
    rotation::{Rotated, Rotation},
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

/// How long a machine is away that comes back with its disk.
const AWAY_MS: (u64, u64) = (0, 3_000);

/// Events in one sequence.
const EVENTS: u64 = 5;
const EVENTS_SHORT: u64 = 6;

/// How a film is encoded: one slow enough to be in the midst of it.
const FILM_SPEC: [&str; 4] = ["--preset", "fast", "--shard-seconds", "1"];
const FILM_SECONDS: u32 = 3;
const FILM_PATIENCE: &str = "10m";

/// So many broken sequences end the experiment: one may be a fault of the moment, and
/// the others are wanted.
const BROKEN_MAX: u64 = 3;

fn main() -> ExitCode {
    run_experiment("membership_storm", &["--sequences"], |settings, folder| {
        let sequences = settings.extra_number("--sequences")?;
        let sequences = sequences.unwrap_or(if settings.short { 1 } else { 20 });
        let mut tally = Tally::default();
        for seed in settings.seed..settings.seed.saturating_add(sequences) {
            tally.play(settings, &folder.join(format!("sequence-{seed}")), seed);
            if tally.broken_sequences >= BROKEN_MAX {
                break;
            }
        }
        tally.report();
        Ok(Verdict::Broken(tally.broken))
    })
}

/// What came of all sequences.
#[derive(Default)]
struct Tally {
    sequences: u64,
    with_tls: u64,
    films: usize,
    events: BTreeMap<&'static str, u64>,
    took_ms: Vec<u64>,
    broken_sequences: u64,
    broken: Vec<String>,
}

impl Tally {
    /// Plays one sequence, and keeps the nodes' logs where it broke a promise.
    fn play(&mut self, settings: &Settings, folder: &Path, seed: u64) {
        let begun = Instant::now();
        let played = Storm::new(settings, folder, seed).and_then(|mut storm| {
            let found = storm.run(settings)?;
            Ok((storm, found))
        });
        let took = begun.elapsed().as_secs_f64();
        let found = match played {
            Ok((storm, found)) => {
                let tls = if storm.cluster.has_tls() { ", TLS" } else { "" };
                let events = storm.events.join(", ");
                println!(
                    "sequence {}, seed {seed}{tls}: {events} ({took:.0} s)",
                    self.sequences + 1
                );
                self.with_tls += u64::from(storm.cluster.has_tls());
                self.films += storm.films.len();
                for event in storm.played {
                    *self.events.entry(event).or_default() += 1;
                }
                found
            }
            Err(error) => vec![error],
        };
        self.sequences += 1;
        self.took_ms.push(begun.elapsed().as_millis() as u64);
        match found.is_empty() {
            true => drop(std::fs::remove_dir_all(folder)),
            false => self.broken_sequences += 1,
        }
        let found = found.into_iter();
        let found = found.map(|text| format!("the sequence of seed {seed}: {text}"));
        self.broken.extend(found.inspect(|text| println!("{text}")));
    }

    fn report(&mut self) {
        println!("| | |\n|---|---|");
        println!(
            "| sequences | {}, {} of them with TLS, {} broken |",
            self.sequences, self.with_tls, self.broken_sequences
        );
        let events = self.events.iter();
        let events = events.map(|(event, count)| format!("{event} {count}"));
        println!("| events | {} |", events.collect::<Vec<_>>().join(", "));
        println!("| films | {} |", self.films);
        println!("| a sequence | {} |", figures(&mut self.took_ms));
    }
}

struct Storm {
    cluster: GrowingCluster,
    random: Random,
    folder: PathBuf,
    clip: String,
    calm_hash: String,
    films: Vec<String>,
    /// The events so far, in words and by name.
    events: Vec<String>,
    played: Vec<&'static str>,
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
    Rotate(Rotated),
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Join => "join",
            Event::Kill => "kill",
            Event::Reboot => "reboot",
            Event::Wipe => "wipe",
            Event::LoseForGood => "lose",
            Event::Remove => "remove",
            Event::DrainAndUndrain => "undrain",
            Event::MoveLeader => "move the leader",
            Event::Rotate(Rotated::Keys) => "rotate keys",
            Event::Rotate(Rotated::Authority) => "rotate the authority",
        }
    }
}

impl Storm {
    fn new(settings: &Settings, folder: &Path, seed: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let clip = folder.join("film.mp4");
        make_clip(&clip, FILM_SECONDS, "320x180");
        let (tls, place) = (!seed.is_multiple_of(2), folder.join("cluster"));
        let cluster = match tls {
            true => GrowingCluster::found_with_tls(&place, SLOTS, PATIENCE)?,
            false => GrowingCluster::found(&place, SLOTS, PATIENCE)?,
        };
        let mut storm = Storm {
            cluster,
            random: Random::new(seed),
            folder: folder.to_path_buf(),
            clip: clip.display().to_string(),
            calm_hash: String::new(),
            films: Vec::new(),
            events: Vec::new(),
            played: Vec::new(),
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
            self.played.push(event.name());
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
        if self.cluster.has_tls() {
            let rotations = [Rotated::Keys, Rotated::Authority];
            events.extend(rotations.map(Event::Rotate));
        }
        self.random.choose(&events)
    }

    fn play(&mut self, event: Event) -> Result<String, String> {
        let machines = self.cluster.running();
        let machine = self.random.choose(&machines);
        let node = self.cluster.node_of(machine).ok_or("no node")?;
        let id = node.to_string();
        let pause = self.random.duration(AWAY_MS);
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
                self.cluster.ask_until_heard(&["cluster", "drain", &id])?;
                std::thread::sleep(pause);
                self.cluster.try_run(&["cluster", "undrain", &id])?;
                Ok(format!("drain and undrain {node}"))
            }
            Event::MoveLeader => {
                self.cluster.try_run(&["cluster", "transfer-leader"])?;
                Ok("move the leader".into())
            }
            Event::Rotate(what) => self.rotate(what, machine, event.name()),
        }
    }

    /// Keys or the authority are changed; every second time a machine misses how it
    /// begins.
    fn rotate(&mut self, what: Rotated, machine: u16, name: &str) -> Result<String, String> {
        let node = self.cluster.node_of(machine).ok_or("no node")?;
        let rotation = Rotation::begin(&self.cluster, what, PATIENCE)?;
        let misses = self.random.within(0, 2) == 0;
        if misses {
            self.cluster.kill(machine)?;
            std::thread::sleep(self.random.duration(AWAY_MS));
            self.cluster.start(machine)?;
        }
        let nodes = self.cluster.running().len();
        rotation.end(&self.cluster, nodes, PATIENCE)?;
        Ok(match misses {
            true => format!("{name} while {node} is killed"),
            false => name.to_string(),
        })
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
