//! Gives the nodes of a cluster another ffmpeg, one after the other, under jobs in
//! every state, and lets one node stay behind for good. No job may wait for ever
//! for a build that is gone, each output must be of one build, and have the bytes
//! that a cluster of that build alone gives (P1).
//!
//! `cargo run --release -p reelraft-failover --bin rolling_upgrade -- [--former BINARY] [--rounds N] [--seed N] [--short]`
//!
//! A round upgrades all three nodes or takes them back. The second ffmpeg is
//! installed with pip where it is not there yet.
//!
//! With `--former BINARY` it is reelraft itself that is changed: all nodes start with
//! that program, which reads a lower feature level.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Settings, Verdict, run_experiment},
    other_ffmpeg::other_ffmpeg,
    process_cluster::ProcessCluster,
    program_upgrade,
    random::Random,
};
use reelraft_harness::make_clip;
use serde_json::Value;

const NODES: u16 = 3;
const SLOTS: u32 = 2;

/// How long nodes may take to come up on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How long all jobs may take in the end. None may wait for ever.
const DONE_PATIENCE: Duration = Duration::from_secs(900);

/// How often the jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Pause between two nodes' restarts: jobs get on meanwhile.
const BETWEEN_MS: (u64, u64) = (1_000, 6_000);

/// Jobs of the case in which one node has another ffmpeg.
const LONE_JOBS: usize = 9;

/// The ways in which the film is made; by each the hash of its output differs.
const SPECS: [&[&str]; 3] = [
    &["--preset", "medium", "--shard-seconds", "2"],
    &["--preset", "veryfast", "--width", "160"],
    &["--preset", "fast", "--container", "mkv", "--audio", "opus"],
];

fn main() -> ExitCode {
    run_experiment("rolling_upgrade", &["--former"], |settings, folder| {
        if let Some(former) = settings.extra.get("--former") {
            return program_upgrade::run(settings, folder, Path::new(former));
        }
        match other_ffmpeg() {
            Ok(other) => Experiment::new(settings, folder, other)?.run(),
            Err(lacks) => Ok(Verdict::Skipped(lacks)),
        }
    })
}

/// Which ffmpeg a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ffmpeg {
    /// The machine's own.
    Own,
    Other,
}

/// What a cluster of one ffmpeg alone makes: its build, and the hash of each
/// spec's output.
struct Reference {
    build: String,
    hashes: Vec<String>,
}

struct Experiment<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    other: PathBuf,
    film: String,
    random: Random,
    references: BTreeMap<Ffmpeg, Reference>,
    broken: Vec<String>,
}

/// A submitted job, with the number of its spec.
struct Submitted {
    id: String,
    spec: usize,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &'a Path, other: PathBuf) -> Result<Self, String> {
        let film = folder.join("film.mp4");
        make_clip(&film, if settings.short { 12 } else { 30 }, "320x180");
        Ok(Experiment {
            settings,
            folder,
            other,
            film: film.display().to_string(),
            random: Random::new(settings.seed),
            references: BTreeMap::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Verdict, String> {
        for ffmpeg in [Ffmpeg::Own, Ffmpeg::Other] {
            let reference = self.reference(ffmpeg)?;
            println!("{ffmpeg:?}: encoder build {}", reference.build);
            self.references.insert(ffmpeg, reference);
        }
        if self.references[&Ffmpeg::Own].build == self.references[&Ffmpeg::Other].build {
            return Ok(Verdict::Skipped("both ffmpegs are the same".into()));
        }
        self.lone_node()?;
        self.upgrades()?;
        Ok(Verdict::Broken(self.broken))
    }

    /// The environment of a node.
    fn environment(&self, ffmpeg: Ffmpeg) -> Vec<(String, String)> {
        match ffmpeg {
            Ffmpeg::Own => Vec::new(),
            Ffmpeg::Other => vec![("REELRAFT_FFMPEG".into(), self.other.display().to_string())],
        }
    }

    fn start(&self, name: &str, nodes: &[Ffmpeg]) -> Result<ProcessCluster, String> {
        let environments = nodes.iter().map(|&ffmpeg| self.environment(ffmpeg));
        let folder = self.folder.join(name);
        let cluster = ProcessCluster::with_environments(&folder, environments.collect(), SLOTS)?;
        cluster.wait_for_nodes(nodes.len(), START_PATIENCE)?;
        Ok(cluster)
    }

    fn reference(&mut self, ffmpeg: Ffmpeg) -> Result<Reference, String> {
        let cluster = self.start(&format!("{ffmpeg:?}"), &[ffmpeg])?;
        let mut reference = Reference {
            build: String::new(),
            hashes: Vec::new(),
        };
        let mut jobs = Vec::new();
        for spec in 0..SPECS.len() {
            jobs.push(self.submit(&cluster, spec)?);
        }
        for (job, _) in self.wait_for(&cluster, &jobs)? {
            reference.build = text(&job, "build");
            reference.hashes.push(text(&job, "output_hash"));
        }
        Ok(reference)
    }

    fn submit(&self, cluster: &ProcessCluster, spec: usize) -> Result<Submitted, String> {
        let id = cluster.submit(&self.film, SPECS[spec])?;
        Ok(Submitted { id, spec })
    }

    /// Waits until all jobs have ended; gives them with their specs. One that
    /// does not end, or fails, is a broken promise of its own.
    fn wait_for(
        &mut self,
        cluster: &ProcessCluster,
        jobs: &[Submitted],
    ) -> Result<Vec<(Value, usize)>, String> {
        let started = Instant::now();
        loop {
            let mut ended = Vec::new();
            let mut open = Vec::new();
            for job in jobs {
                let shown = cluster.try_json(&["job", "show", &job.id])?;
                let shown = shown.get("job").cloned().unwrap_or(shown);
                match text(&shown, "state").as_str() {
                    "succeeded" | "failed" | "cancelled" => ended.push((shown, job.spec)),
                    _ => open.push(shown),
                }
            }
            if open.is_empty() {
                return Ok(ended);
            }
            if started.elapsed() > DONE_PATIENCE {
                for job in open {
                    self.broken.push(format!(
                        "{} is {} and waits {}",
                        text(&job, "id"),
                        text(&job, "state"),
                        text(&job, "waiting")
                    ));
                }
                return Ok(ended);
            }
            sleep(LOOK_EVERY);
        }
    }

    /// All must have succeeded, each with the bytes of its build alone.
    fn judge(&mut self, what: &str, ended: &[(Value, usize)]) {
        let mut of = BTreeMap::new();
        for (job, spec) in ended {
            let (id, build) = (text(job, "id"), text(job, "build"));
            let reference = self.references.iter().find(|(_, it)| it.build == build);
            let Some((ffmpeg, reference)) = reference else {
                self.broken
                    .push(format!("{id} {} under build {build}", text(job, "state")));
                continue;
            };
            *of.entry(format!("{ffmpeg:?}")).or_insert(0) += 1;
            if text(job, "output_hash") != reference.hashes[*spec] {
                self.broken.push(format!(
                    "{id} {} with other bytes than build {build} gives alone (P1): {}",
                    text(job, "state"),
                    job["problem"]
                ));
            }
        }
        let replanned = ended.iter().filter(|(job, _)| {
            text(job, "plan_note").contains("planned anew") || text(job, "note").contains("anew")
        });
        println!(
            "{what}: {} jobs ended, by ffmpeg {of:?}, {} of them planned anew",
            ended.len(),
            replanned.count()
        );
    }

    /// Two nodes with one ffmpeg and one with another.
    fn lone_node(&mut self) -> Result<(), String> {
        let cluster = self.start("lone", &[Ffmpeg::Own, Ffmpeg::Own, Ffmpeg::Other])?;
        let mut jobs = Vec::new();
        for number in 0..LONE_JOBS {
            jobs.push(self.submit(&cluster, number % SPECS.len())?);
        }
        let ended = self.wait_for(&cluster, &jobs)?;
        self.judge("one node with another ffmpeg", &ended);
        Ok(())
    }

    fn upgrades(&mut self) -> Result<(), String> {
        let mut cluster = self.start("rolling", &[Ffmpeg::Own; NODES as usize])?;
        let mut jobs = vec![self.submit(&cluster, 1)?];
        self.wait_for(&cluster, &jobs)?;
        for round in 0..self.settings.rounds_or(1, 10) {
            let to = [Ffmpeg::Other, Ffmpeg::Own][round as usize % 2];
            for id in cluster.ids() {
                // Some encode, some wait, some have just come.
                for spec in 0..SPECS.len() {
                    jobs.push(self.submit(&cluster, spec)?);
                }
                sleep(self.random.duration(BETWEEN_MS));
                cluster.kill(id)?;
                cluster.set_environment(id, self.environment(to));
                cluster.start_node(id)?;
                cluster.wait_for_nodes(NODES.into(), START_PATIENCE)?;
            }
        }
        let ended = self.wait_for(&cluster, &jobs)?;
        self.judge("a rolling upgrade", &ended);
        Ok(())
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_string()
}
