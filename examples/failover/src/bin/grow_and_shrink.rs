//! Grows a cluster of one to three, five and seven nodes and shrinks it to three again,
//! while films are made, and kills the leader after each step. Every film must succeed
//! as one job with the bytes of a calm run (P1, P2, P5), and the table be sound.
//!
//! `cargo run --release -p reelraft-failover --bin grow_and_shrink -- [--jobs N] [--short]`
//!
//! The short form stops at five nodes.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Settings, Verdict, run_experiment},
    growing_cluster::GrowingCluster,
};
use reelraft_harness::{blake3_of, make_clip};

/// Tasks that each node runs at once: the nodes share one machine.
const SLOTS: u32 = 1;

/// How long the nodes may take to come to what is wanted: a copy of all bytes, and a
/// few elections, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long one film may take.
const FILM_PATIENCE: &str = "15m";

/// How a film is encoded.
const FILM_SPEC: [&str; 4] = ["--preset", "fast", "--shard-seconds", "1"];

/// Seconds of a film.
const FILM_SECONDS: u32 = 10;
const FILM_SECONDS_SHORT: u32 = 3;

fn main() -> ExitCode {
    run_experiment("grow_and_shrink", &[], |settings, folder| {
        Experiment::new(settings, folder)?
            .run(settings)
            .map(Verdict::Broken)
    })
}

struct Experiment {
    cluster: GrowingCluster,
    folder: PathBuf,
    clip: String,
    calm_hash: String,
    /// Films for each step.
    films_a_step: u64,
    films: Vec<String>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        let seconds = match settings.short {
            true => FILM_SECONDS_SHORT,
            false => FILM_SECONDS,
        };
        make_clip(&clip, seconds, "320x180");
        let cluster = GrowingCluster::found(&folder.join("cluster"), SLOTS, PATIENCE)?;
        let mut experiment = Experiment {
            cluster,
            folder: folder.to_path_buf(),
            clip: clip.display().to_string(),
            calm_hash: String::new(),
            films_a_step: settings.rounds_or(1, 3),
            films: Vec::new(),
        };
        let calm = experiment.submit()?;
        experiment.calm_hash = experiment.output_of(&calm)?;
        println!("calm film: blake3 {}", experiment.calm_hash);
        Ok(experiment)
    }

    fn run(mut self, settings: &Settings) -> Result<Vec<String>, String> {
        let most = if settings.short { 5 } else { 7 };
        for count in (3..=most).step_by(2) {
            self.step(&format!("{count} nodes"), |it| it.grow_to(count))?;
        }
        for count in (3..most).step_by(2).collect::<Vec<_>>().into_iter().rev() {
            self.step(&format!("{count} nodes again"), |it| it.shrink_to(count))?;
        }
        let mut broken = self.compare()?;
        broken.extend(self.check_tables()?);
        Ok(broken)
    }

    /// One step with films in the queue; then the leader is killed and comes back.
    fn step(
        &mut self,
        what: &str,
        change: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        for _ in 0..self.films_a_step {
            let film = self.submit()?;
            self.films.push(film);
        }
        let begun = Instant::now();
        change(self)?;
        println!("{what} after {:.1} s", begun.elapsed().as_secs_f64());
        let leader = self.cluster.try_json(&["cluster", "leader"])?["leader_id"].as_u64();
        let leader = leader.and_then(|leader| self.cluster.machine_of(leader));
        let leader = leader.ok_or("no machine leads")?;
        self.cluster.kill(leader)?;
        let count = self.cluster.running().len();
        self.cluster.wait_for_nodes(count, PATIENCE)?;
        self.cluster.start(leader)?;
        self.cluster.wait_for_nodes(count + 1, PATIENCE).map(drop)
    }

    fn grow_to(&mut self, count: usize) -> Result<(), String> {
        let voters = count.to_string();
        self.cluster
            .try_run(&["cluster", "set", "voters", &voters])?;
        while self.cluster.running().len() < count {
            self.cluster.join()?;
        }
        self.cluster.await_voters(count, PATIENCE)
    }

    fn shrink_to(&mut self, count: usize) -> Result<(), String> {
        let voters = count.to_string();
        self.cluster
            .try_run(&["cluster", "set", "voters", &voters])?;
        self.cluster.await_voters(count, PATIENCE)?;
        while self.cluster.running().len() > count {
            let nodes = self.cluster.nodes();
            // Voters and learners alike, the oldest first. One that was removed is
            // listed until all have heard of it.
            let ids = nodes.iter().filter_map(|node| node["id"].as_u64());
            let here = ids.filter(|id| self.cluster.machine_of(*id).is_some());
            let next = here.min();
            self.cluster.shrink(next.ok_or("no nodes")?, PATIENCE)?;
        }
        self.cluster.await_voters(count, PATIENCE)
    }

    fn submit(&mut self) -> Result<String, String> {
        self.cluster.submit(&self.clip, &FILM_SPEC)
    }

    /// The hash of what was made and fetched.
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

    fn compare(&self) -> Result<Vec<String>, String> {
        let mut broken = Vec::new();
        for film in &self.films {
            match self.output_of(film) {
                Ok(hash) if hash == self.calm_hash => {}
                Ok(hash) => broken.push(format!("film {film} has blake3 {hash}")),
                Err(error) => broken.push(format!("film {film}: {error}")),
            }
        }
        let jobs = self.cluster.jobs()?.len();
        if jobs != self.films.len() + 1 {
            broken.push(format!("{jobs} jobs of {} films", self.films.len() + 1));
        }
        println!(
            "{} films, {} promises broken",
            self.films.len(),
            broken.len()
        );
        Ok(broken)
    }

    fn check_tables(&mut self) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for machine in self.cluster.running() {
            self.cluster.stop(machine)?;
            found.extend(self.cluster.check_table(machine)?);
        }
        Ok(found)
    }
}
