//! Kills a node at each of the first syncs, renames and table writes of a job
//! of three seconds, one by one, and at each distinct site of them, also while
//! it starts: always just before the kernel does the call. After that the node
//! must open by itself, everything that the client was told must be there, and
//! the job must go on to the calm run's bytes (P1, P2, P5).
//!
//! `cargo run --release -p reelraft-failover --bin kill_points -- [--points N] [--nodes 3] [--short]`
//!
//! One node alone is the hardest case: nobody else has the bytes. With
//! `--nodes 3` only the first is killed, and the others go on. It runs on
//! Linux, and skips if the kernel gives it no seccomp listener.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    checking_client::CheckingClient,
    clips::generate,
    experiment::{Settings, Verdict, run_experiment},
    grpc::{self, CallError},
    process_cluster::ProcessCluster,
    traced_node::{Call, KillPoint, TracedNode, can_trace},
};
use reelraft_harness::tail;
use reelraft_proto::v1::Spec;

/// Points of a full run: the first calls of a job.
const POINTS: u64 = 200;

/// Points of a short run, spread over the job's calls.
const POINTS_SHORT: u64 = 5;

/// Points between two lines of progress.
const PROGRESS_EVERY: usize = 20;

/// How long a node may take until it answers, on a machine that is busy.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a job may take to end after its node was started again.
const JOB_PATIENCE: Duration = Duration::from_secs(120);

/// Pause before the client asks again.
const ASK_EVERY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    run_experiment("kill_points", &["--nodes"], |settings, folder| {
        if let Err(reason) = can_trace() {
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
    /// All nodes; the first of them runs as a [`TracedNode`] instead.
    cluster: ProcessCluster,
    client: CheckingClient,
    requests: usize,
    /// How often a node was killed at each site.
    killed: BTreeMap<Call, usize>,
    broken: Vec<String>,
}

/// How one job came out.
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
        let nodes = settings.extra_number("--nodes")?.unwrap_or(1);
        if !matches!(nodes, 1 | 3) {
            return Err("--nodes is 1 or 3".into());
        }
        let mut cluster = ProcessCluster::on_loopback(folder, nodes as u16, 2)?;
        cluster.kill(1)?;
        let spec = Spec {
            encoder_preset: "ultrafast".into(),
            shard_ms: 500,
            ..Spec::default()
        };
        let ledger = folder.join("ledger.txt");
        let (client, _) = CheckingClient::new(cluster.endpoints(), &ledger, clip, spec)?;
        Ok(Experiment {
            settings,
            cluster,
            client,
            requests: 0,
            killed: BTreeMap::new(),
            broken: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Vec<String>, String> {
        let started = Instant::now();
        if self.cluster.ids().len() == 1 {
            let calls = self.kill_while_founding().await?;
            println!("a founding makes {calls} calls or a few more");
        }
        let mut node = self.start(None)?;
        self.wait_until_ready(&mut node).await?;
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
        self.kill_at_points(&mut node, &calm, started).await?;
        self.check_one_job_per_request().await?;
        self.report(&calm, started.elapsed());
        Ok(self.broken)
    }

    /// Makes a job for each kill point.
    async fn kill_at_points(
        &mut self,
        node: &mut TracedNode,
        calm: &Round,
        started: Instant,
    ) -> Result<(), String> {
        let points = self.points(&calm.calls);
        let count = points.len();
        for (done, point) in points.into_iter().enumerate() {
            if done > 0 && done % PROGRESS_EVERY == 0 {
                println!(
                    "{done} of {count} points in {:.0} s, {} promises broken",
                    started.elapsed().as_secs_f64(),
                    self.broken.len()
                );
            }
            let round = self.round(node, Some(point.clone())).await?;
            if round.output != calm.output {
                self.broken
                    .push(format!("P1: {point:?}: blake3 {}", round.output));
            }
            // The last call of a site may not come again: jobs differ by a few
            // group commits.
            if round.killed_at.is_none() && matches!(point, KillPoint::Nth(_)) {
                let calls = round.calls.len();
                println!("a job was over after {calls} calls, before {point:?}");
            }
        }
        Ok(())
    }

    /// The kill points of a job: the first calls one by one, and the first and
    /// the last of each site.
    fn points(&self, calls: &[Call]) -> Vec<KillPoint> {
        let points = self.settings.rounds_or(POINTS_SHORT, POINTS) as usize;
        let step = if self.settings.short {
            (calls.len() / points).max(1)
        } else {
            1
        };
        let numbers = (1..).step_by(step).take(points);
        let mut points: Vec<KillPoint> = numbers.map(KillPoint::Nth).collect();
        if !self.settings.short {
            for site in calls.iter().collect::<BTreeSet<_>>() {
                let times = calls.iter().filter(|call| *call == site).count();
                points.extend([1, times].map(|n| KillPoint::Site(site.clone(), n)));
            }
        }
        points
    }

    /// Kills the node at each call of its very first start, which the next
    /// start must complete; how many calls there were. A node with peers would
    /// need another disk each time, so only one that is alone does this.
    async fn kill_while_founding(&mut self) -> Result<usize, String> {
        let step = if self.settings.short { 13 } else { 1 };
        for at in (1..).step_by(step) {
            let mut node = self.start(Some(KillPoint::Nth(at)))?;
            let ready = self.wait_until_ready(&mut node).await;
            let Some(site) = node.killed_at() else {
                ready?;
                return Ok(at - 1);
            };
            *self.killed.entry(site).or_default() += 1;
            drop(node);
            let mut again = self.start(None)?;
            self.wait_until_ready(&mut again).await?;
            drop(again);
            std::fs::remove_dir_all(self.cluster.data(1)).map_err(|error| error.to_string())?;
        }
        Err("a founding has no end".into())
    }

    /// Kills the node at each site of a start with a table and a log.
    async fn kill_while_starting(&mut self, node: TracedNode) -> Result<TracedNode, String> {
        drop(node);
        let mut node = self.start(None)?;
        self.wait_until_ready(&mut node).await?;
        let sites: BTreeSet<Call> = node.calls().into_iter().collect();
        for site in sites {
            drop(node);
            node = self.start(Some(KillPoint::Site(site, 1)))?;
            let ready = self.wait_until_ready(&mut node).await;
            match node.killed_at() {
                Some(site) => *self.killed.entry(site).or_default() += 1,
                None => ready?,
            }
        }
        drop(node);
        let mut node = self.start(None)?;
        self.wait_until_ready(&mut node).await?;
        Ok(node)
    }

    /// Makes one job, with its node killed at a point on the way and started
    /// again at once.
    async fn round(
        &mut self,
        node: &mut TracedNode,
        point: Option<KillPoint>,
    ) -> Result<Round, String> {
        let name = point
            .as_ref()
            .map_or("calm".to_string(), |point| format!("{point:?}"));
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        node.aim(point);
        let (mut killed_at, mut calls) = (None, Vec::new());
        let started = Instant::now();
        loop {
            let made = self.client.try_make_film(&self.endpoint(), &id).await;
            // A node that is being killed may still answer the call.
            if let Some(site) = node.killed_at() {
                calls = node.calls();
                *self.killed.entry(site.clone()).or_default() += 1;
                killed_at = Some(site);
                *node = self.start(None)?;
                self.wait_until_ready(node).await?;
                continue;
            }
            match made {
                Ok(()) => break,
                Err(CallError::Broken(why)) => return Err(format!("{name}: {why}")),
                Err(CallError::Outage(why)) if started.elapsed() > JOB_PATIENCE => {
                    return Err(format!("{name}: not done in time: {why}"));
                }
                Err(CallError::Outage(_)) => {}
            }
            if let Some(status) = node.exit_status() {
                let log = self.end_of_log();
                return Err(format!("{name}: the node ended with {status}: {log}"));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        if killed_at.is_none() {
            calls = node.calls();
        }
        node.aim(None);
        Ok(Round {
            killed_at,
            output: self.client.ledger().of(&id).output.unwrap_or_default(),
            calls,
        })
    }

    async fn check_one_job_per_request(&mut self) -> Result<(), String> {
        let jobs = grpc::list(&self.endpoint()).await;
        let jobs = jobs.map_err(|error| format!("{error:?}"))?;
        if jobs.len() != self.requests {
            self.broken.push(format!(
                "P5: {} jobs for {} requests",
                jobs.len(),
                self.requests
            ));
        }
        Ok(())
    }

    fn report(&self, calm: &Round, took: Duration) {
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
            took.as_secs_f64()
        );
    }

    /// Where the client asks: a node that is not killed, if there is one.
    fn endpoint(&self) -> String {
        let last = self.cluster.ids().len() as u64;
        self.cluster.endpoint(last).to_string()
    }

    fn start(&self, point: Option<KillPoint>) -> Result<TracedNode, String> {
        let mut command = self.cluster.node_command(1)?;
        TracedNode::start(&mut command, self.cluster.data(1), point)
    }

    /// Waits until the traced node answers; an error says how it ended.
    async fn wait_until_ready(&self, node: &mut TracedNode) -> Result<(), String> {
        let is_alive = || match node.exit_status() {
            Some(status) => Err(format!("the node ended with {status}")),
            None => Ok(()),
        };
        grpc::wait_until_ready(self.cluster.endpoint(1), START_PATIENCE, is_alive)
            .await
            .map_err(|why| format!("{why}: {}", self.end_of_log()))
    }

    fn end_of_log(&self) -> String {
        tail(&self.cluster.log_text(1), 5)
    }
}

/// Three seconds of noise, so that its source has several chunks, with several
/// keyframes, so that it has several shards.
fn make_film(path: &Path) -> Result<(), String> {
    let inputs = [
        "nullsrc=size=320x180:rate=24:duration=3,geq=random(1)*255:128:128",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:duration=3",
    ];
    let picture = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "6"];
    let quality = ["-crf", "6", "-c:a", "aac", "-shortest"];
    generate(path, &[&inputs[..], &picture, &quality].concat())
}
