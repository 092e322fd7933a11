//! Kills the leader again and again while the whole cluster encodes, and
//! measures how long it takes until the next one assigns work (P4). Fails if a
//! takeover takes too long, if anything that lived was begun again, or if a
//! film differs from a calm run's by a byte (P1, P3).
//!
//! `cargo run --release -p reelraft-failover --bin kill_the_leader -- [--kills N] [--seed N] [--short] [--svg FILE]`
//!
//! With `--calm-minutes M` nothing is killed: the cluster encodes for that
//! long, and any election fails the experiment.
//!
//! The load keeps films and one-frame shards in the queue. A takeover ends with
//! the new leader's first assignment of an attempt that no leader had assigned
//! before; repeating an old one does not count. A slot is free when some
//! survivor finishes a shard after the kill. If that comes after the election,
//! the takeover waits for the encoders and not for the cluster: that part is
//! measured, printed, and not held against the takeover.
//!
//! One fault at a time: the next kill comes when every node is at work again
//! and every home has logged that it caught up.

use std::{
    collections::BTreeSet,
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    clock::{ms_between, now_us},
    event_log::EventLog,
    events::{Absence, Attempt, EventKind},
    experiment::{Settings, Verdict, run_experiment},
    figures::{figures, percentile},
    invariants::leadership_violations,
    process_cluster::ProcessCluster,
    report,
    takeover::Takeover,
    three_nodes::{NODES, ThreeNodes},
    timeline_svg::Timeline,
    workload::SLOTS,
};

/// How long a takeover may take before it counts as failed.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(30);

/// Pause before each kill, once all nodes are at work: a kill at any phase of
/// their heartbeats and plans.
const SETTLE_MS: (u64, u64) = (100, 1_100);

/// How often the queue is filled up while nothing is killed.
const FILL_EVERY: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    run_experiment(
        "kill_the_leader",
        &["--calm-minutes"],
        |settings, folder| {
            let calm_minutes = settings.extra_number("--calm-minutes")?;
            let experiment = Experiment::new(settings, folder)?;
            let broken = match calm_minutes {
                Some(minutes) => experiment.stay_calm(minutes),
                None => experiment.run(),
            };
            broken.map(Verdict::Broken)
        },
    )
}

struct Experiment<'a> {
    settings: &'a Settings,
    nodes: ThreeNodes,
    takeovers: Vec<Takeover>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let cluster = ProcessCluster::on_loopback(&folder.join("cluster"), NODES, SLOTS)?;
        Ok(Experiment {
            settings,
            nodes: ThreeNodes::new(settings, folder, cluster)?,
            takeovers: Vec::new(),
        })
    }

    /// Encodes on all cores and kills nothing.
    fn stay_calm(mut self, minutes: u64) -> Result<Vec<String>, String> {
        let nodes = &mut self.nodes;
        let (from_us, started) = (now_us(), Instant::now());
        while started.elapsed() < Duration::from_secs(minutes * 60) {
            nodes.workload.keep_busy(&nodes.cluster)?;
            sleep(FILL_EVERY);
        }
        let to_us = now_us();
        let mut broken = nodes.workload.compare_films(&nodes.cluster)?;
        nodes.log.update();
        let during = |at_us: u64| (from_us..to_us).contains(&at_us);
        let events = nodes.log.events.iter();
        let elections: Vec<(u64, u64, u64)> = events
            .filter_map(|event| match event.kind {
                EventKind::BecameLeader { term } if during(event.at_us) => {
                    Some((event.node, term, event.at_us))
                }
                _ => None,
            })
            .collect();
        println!("{} elections in {minutes} minutes", elections.len());
        broken.extend(elections.iter().map(|(node, term, at_us)| {
            let after_s = ms_between(from_us, *at_us) / 1_000;
            format!("node {node} was elected in term {term} after {after_s} s without a fault")
        }));
        let log = nodes.log.clone().starting_at(from_us);
        broken.extend(report::print_attempts(&log.attempts(&[], now_us()), &[]));
        Ok(broken)
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let kills = self.settings.rounds_or(3, 20);
        let started = Instant::now();
        for number in 1..=kills {
            self.kill(number)?;
        }
        println!("{kills} kills in {} s", started.elapsed().as_secs());
        let mut broken = self.nodes.workload.compare_films(&self.nodes.cluster)?;
        broken.extend(self.report()?);
        Ok(broken)
    }

    /// One kill, when all nodes are there and at work. The node is started
    /// again when its leadership has been taken over.
    fn kill(&mut self, number: u64) -> Result<(), String> {
        let nodes = &mut self.nodes;
        nodes.wait_until_all_work()?;
        nodes.sleep_within(SETTLE_MS);
        let leader = nodes.leader()?;
        let kill = nodes.cluster.kill(leader)?;
        nodes.kills.push(kill);
        let takeover = nodes
            .wait_for_events(TAKEOVER_PATIENCE, |log| Takeover::find(log, kill))
            .ok_or(format!(
                "no new leader assigned anything for {} s after node {leader} was killed",
                TAKEOVER_PATIENCE.as_secs(),
            ))?;
        nodes.cluster.start_node(leader)?;
        println!(
            "kill {number:>3}: node {leader} at {:>6.1} s, elected after {:>4} ms, assigned after {:>4} ms, of which {:>4} ms for a slot",
            ms_between(nodes.kills[0].at_us, kill.at_us) as f64 / 1e3,
            ms_between(kill.at_us, takeover.elected_us),
            ms_between(kill.at_us, takeover.assigned_us),
            takeover.slot_wait_us() / 1_000,
        );
        self.takeovers.push(takeover);
        Ok(())
    }

    /// Prints the figures, draws the timeline, and returns what was broken.
    fn report(&mut self) -> Result<Vec<String>, String> {
        let nodes = &mut self.nodes;
        nodes.log.update();
        let log = nodes.log.clone().starting_at(nodes.from_us);
        let attempts = log.attempts(&nodes.kills, now_us());
        let absences: Vec<Absence> = nodes.kills.iter().map(|&kill| kill.into()).collect();
        let mut broken = report::print_attempts(&attempts, &absences);
        broken.extend(leadership_violations(&log));
        let killed: BTreeSet<u64> = nodes.kills.iter().map(|kill| kill.node).collect();
        // The same question put to the table.
        broken.extend(nodes.other_failures(&killed)?);
        let (raw_figures, too_slow) = self.takeover_times();
        broken.extend(too_slow);
        self.draw(&log, &attempts, &raw_figures)?;
        Ok(broken)
    }

    /// Prints how long takeovers took. Returns the figures with all waits, and
    /// a complaint if they are over the limits.
    fn takeover_times(&self) -> (String, Option<String>) {
        let of_all = |time: fn(&Takeover) -> u64| self.takeovers.iter().map(time).collect();
        let mut elected: Vec<u64> =
            of_all(|takeover| ms_between(takeover.kill.at_us, takeover.elected_us));
        let mut raw: Vec<u64> =
            of_all(|takeover| ms_between(takeover.kill.at_us, takeover.assigned_us));
        let mut assigned: Vec<u64> = of_all(Takeover::with_a_free_slot_ms);
        let raw_figures = figures(&mut raw);
        println!("SIGKILL to election           {}", figures(&mut elected));
        println!("SIGKILL to first assignment   {raw_figures}");
        println!("  but for waits for a slot    {}", figures(&mut assigned));
        let (p99_ms, max_ms) = self.settings.limits_ms(1_000, 2_000, 10_000);
        let (p99, max) = (percentile(&assigned, 99), percentile(&assigned, 100));
        let too_slow = (p99 > p99_ms || max > max_ms)
            .then(|| format!("takeover: p99 {p99} ms of {p99_ms}, max {max} ms of {max_ms}"));
        (raw_figures, too_slow)
    }

    fn draw(&self, log: &EventLog, attempts: &[Attempt], figures: &str) -> Result<(), String> {
        let title = format!("{} leaders killed under load", self.nodes.kills.len());
        let subtitle = format!(
            "three nodes on one machine, every core encoding; seed {}; first assignment by the next leader: {figures}",
            self.settings.seed
        );
        let timeline = Timeline {
            title: &title,
            subtitle: &subtitle,
            nodes: NODES.into(),
            log,
            attempts,
            kills: &self.nodes.kills,
            takeovers: &self.takeovers,
            probes: &self.nodes.workload.probes,
        };
        report::write_timeline(&timeline, &self.settings.svg)
    }
}
