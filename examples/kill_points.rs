//! Kills a node at each of the first syncs, renames and table writes of a job
//! of three seconds, one by one, and at each distinct place of them, also
//! while it starts: always just before the kernel does the call. After that
//! the node must open by itself, everything that the client was told must be
//! there, and the job must go on to the calm run's bytes (P1, P2, P5).
//!
//! `cargo run --release --example kill_points -- [--points N] [--nodes 3] [--short]`
//!
//! One node alone is the sharpest: nobody else has the bytes. With `--nodes 3`
//! only the first is killed, and the others go on. It runs on Linux, and skips
//! where the kernel gives it no seccomp listener.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use experiment::{
    Settings, Verdict,
    calls::{self, Trouble},
    conduct,
    customer::Customer,
    fleet::Fleet,
    watched::{Call, Point, Watched, can_watch},
};
use reelraft_harness::tail;
use reelraft_proto::v1::Spec;

/// Points of a whole run: the first calls of a job.
const POINTS: u64 = 200;

/// Points between two lines that say how far it is.
const POINTS_TOLD: usize = 20;

/// Points of a short run, spread over the job's calls.
const POINTS_SHORT: u64 = 5;

/// How long a node may take until it answers, on a machine that is busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a job may take to end after its node was started again.
const JOB_PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    conduct("kill_points", &["--nodes"], |settings, folder| {
        if let Err(reason) = can_watch() {
            return Ok(Verdict::Skipped(reason));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let experiment = Experiment::new(settings, folder)?;
        runtime.block_on(experiment.run()).map(Verdict::Broken)
    })
}

struct Experiment<'a> {
    settings: &'a Settings,
    /// All nodes; the first of them runs under watch instead.
    fleet: Fleet,
    customer: Customer,
    requests: usize,
    /// How often a node was killed at each site.
    killed: BTreeMap<Call, usize>,
    broken: Vec<String>,
}

/// How one job with a point aimed at came out.
struct Round {
    /// Where its node was killed; `None` if the job ended before that.
    killed_at: Option<Call>,
    output: String,
    /// The calls of the job up to there.
    calls: Vec<Call>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        make_film(&clip)?;
        let nodes = settings.own_number("--nodes")?.unwrap_or(1);
        if !matches!(nodes, 1 | 3) {
            return Err("--nodes is 1 or 3".into());
        }
        let mut fleet = Fleet::on_loopback(folder, nodes as u16, 2)?;
        fleet.kill(1)?;
        let spec = Spec {
            preset: "ultrafast".into(),
            shard_ms: 500,
            ..Spec::default()
        };
        let (customer, _) = Customer::new(&fleet, &folder.join("ledger.txt"), clip, spec)?;
        Ok(Experiment {
            settings,
            fleet,
            customer,
            requests: 0,
            killed: BTreeMap::new(),
            broken: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        if self.fleet.ids().len() == 1 {
            let calls = self.kill_while_founding().await?;
            println!("a founding makes {calls} calls or a few more");
        }
        let mut node = self.start(None)?;
        self.until_ready(&mut node).await?;
        let calm = self.round(&mut node, None).await?;
        println!(
            "a calm job makes {} calls at {} sites, blake3 {}",
            calm.calls.len(),
            calm.calls.iter().collect::<BTreeSet<_>>().len(),
            calm.output
        );
        if !self.settings.short {
            node = self.kill_while_starting(node).await?;
        }
        let points = self.points(&calm.calls);
        let count = points.len();
        for (done, point) in points.into_iter().enumerate() {
            if done > 0 && done % POINTS_TOLD == 0 {
                println!(
                    "{done} of {count} points in {:.0} s, {} promises broken",
                    begun.elapsed().as_secs_f64(),
                    self.broken.len()
                );
            }
            let round = self.round(&mut node, Some(point.clone())).await?;
            if round.output != calm.output {
                self.broken
                    .push(format!("P1: {point:?}: blake3 {}", round.output));
            }
            // The last of a site need not come again: jobs differ by a few
            // group commits.
            if round.killed_at.is_none() && matches!(point, Point::Nth(_)) {
                let calls = round.calls.len();
                println!("a job was over after {calls} calls, before {point:?}");
            }
        }
        self.one_request_one_job().await?;
        println!("killed at, and how often:");
        for (site, times) in &self.killed {
            println!("  {times:>4}  {site}");
        }
        let missed = calm
            .calls
            .iter()
            .filter(|call| !self.killed.contains_key(call));
        for site in missed.collect::<BTreeSet<_>>() {
            println!("  none  {site}");
        }
        println!(
            "{} kills in {:.0} s",
            self.killed.values().sum::<usize>(),
            begun.elapsed().as_secs_f64()
        );
        Ok(self.broken)
    }

    /// The points of the job: the first calls one by one, and each site's
    /// first and last.
    fn points(&self, calls: &[Call]) -> Vec<Point> {
        let points = self.settings.rounds_or(POINTS_SHORT, POINTS) as usize;
        let step = if self.settings.short {
            (calls.len() / points).max(1)
        } else {
            1
        };
        let numbers = (1..).step_by(step).take(points);
        let mut points: Vec<Point> = numbers.map(Point::Nth).collect();
        if !self.settings.short {
            for site in calls.iter().collect::<BTreeSet<_>>() {
                let times = calls.iter().filter(|call| *call == site).count();
                points.extend([1, times].map(|n| Point::Site(site.clone(), n)));
            }
        }
        points
    }

    /// Kills the node at each call of its very first start, which the next
    /// start must carry on with; a node with peers would be another disk each
    /// time, so only one that is alone does this. Gives how many calls it had.
    async fn kill_while_founding(&mut self) -> Result<usize, String> {
        let step = if self.settings.short { 13 } else { 1 };
        for at in (1..).step_by(step) {
            let mut node = self.start(Some(Point::Nth(at)))?;
            let ready = self.until_ready(&mut node).await;
            let Some(site) = node.killed_at() else {
                ready?;
                return Ok(at - 1);
            };
            *self.killed.entry(site).or_default() += 1;
            drop(node);
            let mut again = self.start(None)?;
            self.until_ready(&mut again).await?;
            drop(again);
            std::fs::remove_dir_all(self.fleet.data(1)).map_err(|error| error.to_string())?;
        }
        Err("a founding has no end".into())
    }

    /// Kills the node at each site of a start with a table and a log.
    async fn kill_while_starting(&mut self, node: Watched) -> Result<Watched, String> {
        drop(node);
        let mut node = self.start(None)?;
        self.until_ready(&mut node).await?;
        let sites: BTreeSet<Call> = node.calls().into_iter().collect();
        for site in sites {
            drop(node);
            node = self.start(Some(Point::Site(site, 1)))?;
            let ready = self.until_ready(&mut node).await;
            match node.killed_at() {
                Some(site) => *self.killed.entry(site).or_default() += 1,
                None => ready?,
            }
        }
        drop(node);
        let mut node = self.start(None)?;
        self.until_ready(&mut node).await?;
        Ok(node)
    }

    /// Makes one job, with its node killed at a point on the way and started
    /// again at once.
    async fn round(&mut self, node: &mut Watched, point: Option<Point>) -> Result<Round, String> {
        let name = point
            .as_ref()
            .map_or("calm".to_string(), |p| format!("{p:?}"));
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        node.aim(point);
        let (mut killed_at, mut calls) = (None, Vec::new());
        let begun = Instant::now();
        loop {
            let made = self.customer.try_film(&self.endpoint(), &id).await;
            // A node that is being killed may still end the call by itself.
            if let Some(site) = node.killed_at() {
                calls = node.calls();
                *self.killed.entry(site.clone()).or_default() += 1;
                killed_at = Some(site);
                *node = self.start(None)?;
                self.until_ready(node).await?;
                continue;
            }
            match made {
                Ok(()) => break,
                Err(Trouble::Broken(why)) => return Err(format!("{name}: {why}")),
                Err(Trouble::Outage(why)) if begun.elapsed() > JOB_PATIENCE => {
                    return Err(format!("{name}: not done in time: {why}"));
                }
                Err(Trouble::Outage(_)) => {}
            }
            if let Some(status) = node.ended() {
                return Err(format!(
                    "{name}: the node ended with {status}: {}",
                    self.log()
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if killed_at.is_none() {
            calls = node.calls();
        }
        node.aim(None);
        Ok(Round {
            killed_at,
            output: self.customer.ledger().known(&id).output.unwrap_or_default(),
            calls,
        })
    }

    async fn one_request_one_job(&mut self) -> Result<(), String> {
        let jobs = calls::list(&self.endpoint()).await;
        let jobs = jobs.map_err(|trouble| format!("{trouble:?}"))?;
        if jobs.len() != self.requests {
            self.broken.push(format!(
                "P5: {} jobs for {} requests",
                jobs.len(),
                self.requests
            ));
        }
        Ok(())
    }

    /// Where the client asks: a node that is not killed, if there is one.
    fn endpoint(&self) -> String {
        let last = self.fleet.ids().len() as u64;
        self.fleet.listen(last).to_string()
    }

    fn start(&self, point: Option<Point>) -> Result<Watched, String> {
        Watched::start(&mut self.fleet.command(1)?, self.fleet.data(1), point)
    }

    /// Waits until the watched node answers; an error says how it ended.
    async fn until_ready(&self, node: &mut Watched) -> Result<(), String> {
        let lives = || match node.ended() {
            Some(status) => Err(format!("the node ended with {status}")),
            None => Ok(()),
        };
        calls::until_ready(self.fleet.listen(1), START_PATIENCE, lives)
            .await
            .map_err(|why| format!("{why}: {}", self.log()))
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.fleet.log_of(1)).unwrap_or_default();
        tail(&log, 5)
    }
}

/// Three seconds of noise, so that its source has several chunks, with six
/// keyframes, so that it has several shards.
fn make_film(path: &Path) -> Result<(), String> {
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"])
        .arg("nullsrc=size=320x180:rate=24:duration=3,geq=random(1)*255:128:128")
        .args(["-f", "lavfi", "-i", "sine=frequency=440:duration=3"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "6",
            "-crf",
            "6",
        ])
        .args(["-c:a", "aac", "-shortest"])
        .arg(path)
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    made.success()
        .then_some(())
        .ok_or_else(|| "the film could not be made".into())
}
