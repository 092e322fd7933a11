//! Kills nodes at random while films are made: one, two, or all at once, at
//! random moments, several times a film, whether or not the cluster has
//! recovered from the last kill. Every film must succeed all the same, with the
//! bytes and the frames of a calm run (P1, P2, P3), as one job (P5).
//!
//! `cargo run --release -p reelraft-failover --bin kill_anything -- [--jobs N] [--seed N] [--short] [--svg FILE]`
//!
//! A client that gives up, because there was no quorum for as long as it is
//! patient, is started again under the same request id, as its user would.

use std::{
    path::{Path, PathBuf},
    process::{Child, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::{CliClient, EXIT_UNREACHABLE},
    clock::{now_us, unix_us},
    event_log::EventLog,
    events::{Absence, Kill},
    experiment::{Settings, Verdict, run_experiment},
    invariants::leadership_violations,
    random::Random,
    report,
    timeline_svg::Timeline,
};
use reelraft_harness::{LocalCluster, Options, blake3_of, frames_of, make_clip};

/// How long one film may take from submit to file, including restarts of nodes
/// with their growing pauses.
const FILM_PATIENCE: Duration = Duration::from_secs(600);

/// How often a client that gave up may be started again for one film. Each
/// try is patient for many elections, so more means that nothing gets better.
const CLIENT_TRIES_MAX: u32 = 20;

/// How often the client is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a film is encoded.
const FILM_SPEC: [&str; 4] = ["--preset", "slow", "--shard-seconds", "2"];

fn main() -> ExitCode {
    run_experiment("kill_anything", &[], |settings, folder| {
        Experiment::new(settings, folder)?
            .run()
            .map(Verdict::Broken)
    })
}

struct Experiment<'a> {
    settings: &'a Settings,
    random: Random,
    cluster: LocalCluster,
    folder: PathBuf,
    clip: PathBuf,
    kills: Vec<Kill>,
    /// How long a calm film takes: the kills are spread over about that.
    calm_ms: u64,
    /// Clients that gave up and were started again.
    clients_restarted: u32,
    broken: Vec<String>,
}

/// One film as it came out.
struct Film {
    blake3: String,
    frames: u64,
    took: Duration,
    /// The kills while it was made: which nodes, and when.
    kills: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        make_clip(&clip, if settings.short { 12 } else { 40 }, "480x270");
        Ok(Experiment {
            settings,
            random: Random::new(settings.seed),
            cluster: LocalCluster::start(&folder.join("cluster"), Options::default()),
            folder: folder.to_path_buf(),
            clip,
            kills: Vec::new(),
            calm_ms: 1_000,
            clients_restarted: 0,
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let jobs = self.settings.rounds_or(1, 10);
        let calm = self.film("calm", 0)?;
        println!(
            "calm      {:>5.1} s, {} frames, blake3 {}",
            calm.took.as_secs_f64(),
            calm.frames,
            calm.blake3
        );
        if calm.frames != frames_of(&self.clip) {
            self.broken
                .push(format!("the calm run has {} frames", calm.frames));
        }
        self.calm_ms = (calm.took.as_millis() as u64).max(1_000);
        let storm_from_us = now_us();
        for number in 1..=jobs {
            self.storm(&format!("storm-{number}"), &calm);
        }
        self.check_one_job_per_request(jobs + 1)?;
        self.report(storm_from_us)?;
        Ok(self.broken)
    }

    /// Makes one film under kills and compares it with the calm one.
    fn storm(&mut self, name: &str, calm: &Film) {
        let kills = self.random.within(2, 6);
        let film = match self.film(name, kills) {
            Ok(film) => film,
            Err(error) => {
                println!("{name}: {error}");
                self.broken.push(format!("{name}: {error}"));
                return;
            }
        };
        let same = film.blake3 == calm.blake3 && film.frames == calm.frames;
        println!(
            "{name:<9} {:>5.1} s, {} frames, {}; killed: {}",
            film.took.as_secs_f64(),
            film.frames,
            if same { "same bytes" } else { "OTHER BYTES" },
            film.kills.join(", ")
        );
        if film.kills.is_empty() {
            self.broken
                .push(format!("{name} was done before anything was killed"));
        }
        if !same {
            self.broken.push(format!(
                "{name}: {} frames, blake3 {}",
                film.frames, film.blake3
            ));
        }
    }

    /// Makes one film with up to `kills` kills on the way.
    fn film(&mut self, name: &str, mut kills: u64) -> Result<Film, String> {
        let out = self.folder.join(format!("{name}.mp4"));
        let started = Instant::now();
        let mut client = self.start_client(name, &out)?;
        let mut tries = 1;
        let mut killed = Vec::new();
        let mut next = started + self.random.duration((0, self.calm_ms / 2));
        loop {
            if let Some(status) = client.try_wait().map_err(|error| error.to_string())? {
                if status.success() {
                    break;
                }
                if status.code() != Some(EXIT_UNREACHABLE) || tries == CLIENT_TRIES_MAX {
                    let error = error_of(&mut client);
                    return Err(format!("the client ended with {status}: {error}"));
                }
                tries += 1;
                self.clients_restarted += 1;
                client = self.start_client(name, &out)?;
            }
            if kills > 0 && Instant::now() >= next {
                if let Some(nodes) = self.kill_some() {
                    kills -= 1;
                    let at_s = started.elapsed().as_secs_f64();
                    killed.push(format!("{nodes} at {at_s:.1} s"));
                }
                next = Instant::now() + self.random.duration((100, self.calm_ms));
            }
            if started.elapsed() > FILM_PATIENCE {
                let _ = client.kill();
                let _ = client.wait();
                return Err(format!("not done after {} s", FILM_PATIENCE.as_secs()));
            }
            sleep(LOOK_EVERY);
        }
        Ok(Film {
            blake3: blake3_of(&out),
            frames: frames_of(&out),
            took: started.elapsed(),
            kills: killed,
        })
    }

    fn start_client(&self, name: &str, out: &Path) -> Result<Child, String> {
        let (clip, out) = (self.clip.display().to_string(), out.display().to_string());
        let request = ["transcode", &clip, &out, "--request-id", name];
        self.cluster
            .cli(&[&request[..], &FILM_SPEC].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())
    }

    /// Kills one living node, or two, or all of them. Returns which; `None` if
    /// none lives.
    fn kill_some(&mut self) -> Option<String> {
        let mut living: Vec<(u64, i32)> = self.cluster.processes().into_iter().collect();
        let count = match self.random.within(0, 10) {
            0..6 => 1,
            6..8 => 2,
            _ => living.len(),
        };
        while living.len() > count {
            let spared = self.random.within(0, living.len() as u64);
            living.remove(spared as usize);
        }
        if living.is_empty() {
            return None;
        }
        let (nodes, pids): (Vec<u64>, Vec<i32>) = living.into_iter().unzip();
        let at_us = unix_us(self.cluster.kill_at_once(&pids));
        self.kills
            .extend(nodes.iter().map(|&node| Kill { at_us, node }));
        let all = nodes.len() as u16 == self.cluster.size();
        let names: Vec<String> = nodes.iter().map(u64::to_string).collect();
        Some(if all {
            "all".to_string()
        } else {
            names.join("+")
        })
    }

    /// There must be as many jobs as requests, and each must have succeeded.
    fn check_one_job_per_request(&mut self, requests: u64) -> Result<(), String> {
        self.cluster.wait_for_leader();
        let jobs = self.cluster.jobs()?;
        if jobs.len() as u64 != requests {
            self.broken
                .push(format!("{} jobs for {requests} requests", jobs.len()));
        }
        for job in jobs.iter().filter(|job| job["state"] != "succeeded") {
            self.broken.push(format!(
                "job {} is {}: {}",
                job["request_id"], job["state"], job["problem"]
            ));
        }
        Ok(())
    }

    fn report(&mut self, storm_from_us: u64) -> Result<(), String> {
        let log = EventLog::from_dev_log(&self.cluster.log()).starting_at(storm_from_us);
        let attempts = log.attempts(&self.kills, now_us());
        let absences: Vec<Absence> = self.kills.iter().map(|&kill| kill.into()).collect();
        println!(
            "{} nodes killed, {} clients started again",
            self.kills.len(),
            self.clients_restarted
        );
        // If a majority is dead, or the homes of a film, its parts can't be
        // handed over and are made again later: printed, but not broken.
        for line in report::print_attempts(&attempts, &absences) {
            println!("  {line}");
        }
        self.broken.extend(leadership_violations(&log));
        self.broken.extend(report::missing_lines(&log));
        let title = format!("{} nodes killed at random", self.kills.len());
        let subtitle = format!(
            "three nodes on one machine, one film after the other; seed {}",
            self.settings.seed
        );
        let timeline = Timeline {
            title: &title,
            subtitle: &subtitle,
            nodes: self.cluster.size().into(),
            log: &log,
            attempts: &attempts,
            kills: &self.kills,
            takeovers: &[],
            probes: &[],
        };
        report::write_timeline(&timeline, &self.settings.svg)
    }
}

/// What a client that has ended wrote to its stderr.
fn error_of(client: &mut Child) -> String {
    let mut error = String::new();
    if let Some(mut pipe) = client.stderr.take() {
        let _ = std::io::Read::read_to_string(&mut pipe, &mut error);
    }
    error
}
