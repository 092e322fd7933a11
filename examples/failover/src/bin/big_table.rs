//! Fills the table of three nodes far beyond what a day's work would, and
//! measures what that costs: memory and CPU of each node, how long a job takes
//! to be shown while the log grows and a snapshot is written, and how long all
//! three take to serve again after they were killed. And what a cluster costs
//! that has nothing to do, or thousands of finished jobs.
//!
//! `cargo run --release -p reelraft-failover --bin big_table -- [--only idle|finished|wide|deep|small] [--short]`
//!
//! How the table is filled is told in `filled_table`. Stages:
//! - `idle`: an empty cluster at rest;
//! - `finished`: 10,000 finished jobs at rest;
//! - `wide`: 10,000 jobs of 100 shards that wait for a node of their build;
//! - `deep`: 1,000 jobs of 1,000 shards, the same;
//! - `small`: 1,000 real films of a second, one after another.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    experiment::{Settings, Verdict, run_experiment},
    figures::{figures, percentile},
    filled_table::{Filling, Proposer, id_of},
    grpc,
    node_cost::{cpu_percent, resident_mib},
    process_cluster::ProcessCluster,
};
use reelraft_proto::v1::GetRequest;
use tokio::time::sleep;

/// How long a cluster may take to come up on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// From the start of all nodes until each shows a job.
const RESTART_MAX: Duration = Duration::from_secs(10);

/// The same beside other tests.
const RESTART_MAX_SHORT: Duration = Duration::from_secs(60);

/// Resident memory of a node at any time.
const RESIDENT_MIB_MAX: u64 = 1024;

/// The slowest of a hundred shown jobs, in ms; beside other tests it must only
/// come at all.
const SHOW_P99_MS: u64 = 50;
const SHOW_MS_SHORT: u64 = 10_000;

/// CPU of a node at rest, in percent of a core.
const IDLE_PERCENT_MAX: f64 = 0.5;
const IDLE_PERCENT_MAX_SHORT: f64 = 20.0;

/// Jobs shown while the log grows.
const SHOWN: u64 = 1_000;

/// Entries that make every node write a snapshot, and a few.
const SNAPSHOT_ENTRIES: u64 = 6_000;

/// Proposals under way at once while the log grows, and their pause.
const CHURN_AT_ONCE: u64 = 8;

/// What settles before a node counts as at rest: fills, flushes.
const SETTLE: Duration = Duration::from_secs(5);

/// What a node may take while it still has work of its own to do, as to fold
/// thousands of jobs that have just finished; and how long that may go on.
const BUSY_PERCENT: f64 = 0.5;
const REST_PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    run_experiment("big_table", &["--only"], |settings, folder| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let mut broken = Vec::new();
        let mut figures = Vec::new();
        for (name, stage) in stages(settings) {
            let wanted = settings.extra.get("--only");
            if wanted.is_some_and(|only| only != name) || (wanted.is_none() && name == "small") {
                continue;
            }
            println!("{name}: {stage:?}");
            let folder = folder.join(name);
            let cluster =
                ProcessCluster::with_environments(&folder, vec![stage.environment(); 3], 1)?;
            cluster.wait_for_nodes(3, START_PATIENCE)?;
            let mut run = Run {
                settings,
                name,
                cluster,
                broken: &mut broken,
                figures: &mut figures,
            };
            match stage {
                Stage::Table(filling) => runtime.block_on(run.table(filling))?,
                Stage::Films(count) => run.films(&folder, count)?,
            }
        }
        Ok(Verdict::Broken(broken))
    })
}

#[derive(Debug)]
enum Stage {
    Table(Filling),
    Films(u64),
}

impl Stage {
    /// Jobs wait for ever on nodes without ffmpeg. With one they would be planned
    /// anew under its build.
    fn environment(&self) -> Vec<(String, String)> {
        match self {
            Stage::Table(Filling {
                finished: false, ..
            }) => {
                vec![("REELRAFT_FFMPEG".into(), "/dev/null".into())]
            }
            _ => Vec::new(),
        }
    }
}

fn stages(settings: &Settings) -> [(&'static str, Stage); 5] {
    let scale: u64 = if settings.short { 20 } else { 1 };
    let table = |jobs, shards, finished| {
        Stage::Table(Filling {
            jobs: jobs / scale,
            shards,
            finished,
        })
    };
    [
        ("idle", table(0, 0, true)),
        ("finished", table(10_000, 1, true)),
        ("wide", table(10_000, 100, false)),
        ("deep", table(1_000, 1_000, false)),
        ("small", Stage::Films(settings.rounds_or(10, 1_000))),
    ]
}

/// What an idle cluster was measured to cost, which finished jobs may not
/// change by much.
struct AtRest {
    resident_mib: u64,
    cpu_percent: f64,
}

struct Run<'a> {
    settings: &'a Settings,
    name: &'static str,
    cluster: ProcessCluster,
    broken: &'a mut Vec<String>,
    figures: &'a mut Vec<(&'static str, AtRest)>,
}

impl Run<'_> {
    async fn table(&mut self, filling: Filling) -> Result<(), String> {
        let begun = Instant::now();
        let proposer = Proposer::connect(&self.cluster.endpoints()).await?;
        let data = |node| PathBuf::from(self.cluster.data(node));
        filling.fill(&proposer, data).await?;
        println!(
            "{}: filled in {:.1} s",
            self.name,
            begun.elapsed().as_secs_f64()
        );
        if filling.jobs > 0 {
            self.show_while_the_log_grows(&proposer, filling.jobs)
                .await?;
            self.write_snapshots(&proposer).await?;
            self.restart_all(filling.jobs).await?;
            let shards = self.show(1, filling.jobs - 1).await?;
            self.hold(shards == filling.shards, || {
                format!("a job has {shards} shards and not {}", filling.shards)
            });
        }
        sleep(SETTLE).await;
        if filling.finished && !self.settings.short {
            self.come_to_rest()?;
        }
        self.rest(filling)
    }

    /// Waits until no node does work of its own any longer.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let pids = self.pids()?;
        let begun = Instant::now();
        while begun.elapsed() < REST_PATIENCE {
            let percents = cpu_percent(&pids, SETTLE);
            if percents.iter().all(|percent| *percent <= BUSY_PERCENT) {
                break;
            }
        }
        println!(
            "{}: at rest after {:.0} s",
            self.name,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn pids(&mut self) -> Result<Vec<i32>, String> {
        let ids = self.cluster.ids();
        ids.into_iter().map(|id| self.cluster.pid(id)).collect()
    }

    /// Jobs shown by all nodes in turn, while entries are applied all the time.
    async fn show_while_the_log_grows(
        &mut self,
        proposer: &Proposer,
        jobs: u64,
    ) -> Result<(), String> {
        let churn = proposer.clone();
        let churn = tokio::spawn(async move {
            loop {
                churn.churn(1, 1).await?;
                sleep(Duration::from_millis(5)).await;
            }
            #[allow(unreachable_code)]
            Ok::<(), String>(())
        });
        let mut shown_ms = Vec::new();
        for turn in 0..SHOWN {
            let node = turn % 3 + 1;
            let begun = Instant::now();
            self.show(node, turn * 7919 % jobs).await?;
            shown_ms.push(begun.elapsed().as_millis() as u64);
        }
        churn.abort();
        println!(
            "{}: a job is shown in {}",
            self.name,
            figures(&mut shown_ms)
        );
        let limit_ms = self.settings.limits_ms(SHOW_P99_MS, 0, SHOW_MS_SHORT).0;
        let p99_ms = percentile(&shown_ms, 99);
        self.hold(p99_ms <= limit_ms, || {
            format!("showing a job takes {p99_ms} ms (p99), more than {limit_ms}")
        });
        Ok(())
    }

    /// Has a node show a job; how many shards that has.
    async fn show(&self, node: u64, number: u64) -> Result<u32, String> {
        let asked = async {
            let mut jobs = grpc::connect(self.cluster.endpoint(node)).await?;
            let request = GetRequest {
                job: id_of(number),
                local: false,
            };
            let answer = tokio::time::timeout(START_PATIENCE, jobs.get(request)).await;
            let silent = |_| grpc::CallError::Outage("no answer".into());
            let answer = answer.map_err(silent)??.into_inner();
            Ok::<u32, grpc::CallError>(answer.shards_total)
        };
        asked
            .await
            .map_err(|error| format!("node {node}: {error:?}"))
    }

    async fn write_snapshots(&mut self, proposer: &Proposer) -> Result<(), String> {
        let begun = Instant::now();
        proposer.churn(SNAPSHOT_ENTRIES, CHURN_AT_ONCE).await?;
        let seconds = begun.elapsed().as_secs_f64();
        sleep(SETTLE).await;
        let elections: usize = (self.cluster.ids().iter())
            .map(|&id| self.cluster.log_text(id).matches("this node leads").count())
            .sum();
        println!(
            "{}: {SNAPSHOT_ENTRIES} entries with a snapshot in {seconds:.1} s, {elections} elections so far",
            self.name
        );
        for id in self.cluster.ids() {
            let pid = self.cluster.pid(id)?;
            let (now_mib, most_mib) = resident_mib(pid);
            println!(
                "{}: node {id}: {now_mib} MiB resident, {most_mib} at most",
                self.name
            );
            self.hold(most_mib <= RESIDENT_MIB_MAX, || {
                format!("node {id} takes {most_mib} MiB")
            });
        }
        Ok(())
    }

    /// Kills all nodes and waits until each shows a job again.
    async fn restart_all(&mut self, jobs: u64) -> Result<(), String> {
        for id in self.cluster.ids() {
            self.cluster.kill(id)?;
        }
        let begun = Instant::now();
        for id in self.cluster.ids() {
            self.cluster.start_node(id)?;
        }
        for id in self.cluster.ids() {
            while let Err(error) = self.show(id, jobs - 1).await {
                self.cluster.pid(id)?;
                if begun.elapsed() > START_PATIENCE {
                    return Err(error);
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        let took = begun.elapsed();
        println!(
            "{}: all serve {:.1} s after their start",
            self.name,
            took.as_secs_f64()
        );
        let limit = match self.settings.short {
            true => RESTART_MAX_SHORT,
            false => RESTART_MAX,
        };
        self.hold(took <= limit, || {
            format!("all nodes took {:.1} s to serve again", took.as_secs_f64())
        });
        Ok(())
    }

    /// What the nodes cost while nobody asks for anything.
    fn rest(&mut self, filling: Filling) -> Result<(), String> {
        let pids = self.pids()?;
        let time = Duration::from_secs(if self.settings.short { 3 } else { 20 });
        let percents = cpu_percent(&pids, time);
        let mut most = AtRest {
            resident_mib: 0,
            cpu_percent: 0.0,
        };
        for (pid, percent) in pids.iter().zip(percents) {
            let (now_mib, most_mib) = resident_mib(*pid);
            println!(
                "{}: at rest {percent:.2} % of a core, {now_mib} MiB resident, {most_mib} at most",
                self.name
            );
            most.resident_mib = most.resident_mib.max(now_mib);
            most.cpu_percent = most.cpu_percent.max(percent);
            self.hold(most_mib <= RESIDENT_MIB_MAX, || {
                format!("a node takes {most_mib} MiB")
            });
        }
        if filling.finished {
            let limit = match self.settings.short {
                true => IDLE_PERCENT_MAX_SHORT,
                false => IDLE_PERCENT_MAX,
            };
            self.hold(most.cpu_percent <= limit, || {
                format!("a node at rest takes {:.2} % of a core", most.cpu_percent)
            });
        }
        self.figures.push((self.name, most));
        Ok(())
    }

    /// Real films one after another; memory must not grow with them.
    fn films(&mut self, folder: &Path, count: u64) -> Result<(), String> {
        let film = folder.join("film.mp4");
        let film = film
            .to_str()
            .ok_or("a folder that is not UTF-8")?
            .to_string();
        make_film(&film)?;
        let mut after_some = Vec::new();
        for number in 1..=count {
            let out = folder.join("out.mp4");
            let out = out.to_str().ok_or("a folder that is not UTF-8")?;
            let args = [
                "transcode",
                &film,
                out,
                "--overwrite",
                "--preset",
                "ultrafast",
            ];
            self.cluster.try_run(&args)?;
            if number % (count / 10).max(1) == 0 {
                let mut now = Vec::new();
                for id in self.cluster.ids() {
                    now.push(resident_mib(self.cluster.pid(id)?).0);
                }
                println!("{}: {now:?} MiB resident after {number} films", self.name);
                after_some.push(now.into_iter().max().unwrap_or(0));
            }
        }
        let (first, last) = (after_some.first(), after_some.last());
        if let (Some(first), Some(last)) = (first, last) {
            self.hold(*last <= first * 3 / 2 + 16, || {
                format!("memory grew from {first} to {last} MiB over {count} films")
            });
        }
        Ok(())
    }

    fn hold(&mut self, held: bool, what: impl FnOnce() -> String) {
        if !held {
            let what = format!("{}: {}", self.name, what());
            println!("BROKEN {what}");
            self.broken.push(what);
        }
    }
}

/// One second of moving picture and sound.
fn make_film(path: &str) -> Result<(), String> {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=128x96:rate=25:duration=1", "-c:v", "libx264"])
        .args(["-preset", "ultrafast", path])
        .status();
    match made {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("ffmpeg made no film: {other:?}")),
    }
}
