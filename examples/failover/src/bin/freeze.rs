//! Stops nodes for a while (SIGSTOP, with their encoders, like a machine that
//! hangs), or kills them, while the whole cluster encodes; measures how long it
//! takes until each shard that they had is assigned to another node; and lets
//! the stopped ones go on. They must not be taken for broken, what they bring
//! late must be refused, and films must come out the same to the byte (P1, P3,
//! P4).
//!
//! `cargo run --release -p reelraft-failover --bin freeze -- [--rounds N] [--seed N] [--short]`
//!
//! A round does it three times: a worker that does not lead is stopped, the
//! leader is stopped, a worker is killed and stays dead until its shards are
//! assigned to others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::Duration,
};

use reelraft_failover::{
    cli_client::CliClient,
    clock::{ms_between, now_us},
    event_log::EventLog,
    events::{Absence, AttemptKey, EventKind},
    experiment::{Settings, Verdict, run_experiment},
    figures::{figures, percentile},
    invariants::{attempts_running_at, first_start_after, leadership_violations},
    process_cluster::ProcessCluster,
    report,
    three_nodes::{NODES, ThreeNodes},
    workload::SLOTS,
};

/// How long shards may take to be assigned elsewhere before that counts as
/// never.
const ASSIGN_PATIENCE: Duration = Duration::from_secs(30);

/// How long a resumed or restarted node may take until it works again.
const BACK_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node is stopped: two leases and more, so that all it had has been
/// assigned elsewhere; sometimes less than a home is waited for, sometimes more.
const STOPPED_MS: (u64, u64) = (6_000, 10_000);

/// Pause before each fault, once all nodes are at work. A home that was away
/// looks every two seconds for what was finished in its absence, and a node
/// that was merely stopped does not log when it has caught up. Taking the
/// other home away before that would be a second fault.
const SETTLE_MS: (u64, u64) = (2_500, 4_500);

fn main() -> ExitCode {
    run_experiment("freeze", &[], |settings, folder| {
        Experiment::new(settings, folder)?
            .run()
            .map(Verdict::Broken)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    WorkerStopped,
    LeaderStopped,
    WorkerKilled,
}

impl Fault {
    const ALL: [Fault; 3] = [
        Fault::WorkerStopped,
        Fault::LeaderStopped,
        Fault::WorkerKilled,
    ];

    fn name(self) -> &'static str {
        match self {
            Fault::WorkerStopped => "worker stopped",
            Fault::LeaderStopped => "leader stopped",
            Fault::WorkerKilled => "worker killed",
        }
    }
}

struct Experiment<'a> {
    settings: &'a Settings,
    nodes: ThreeNodes,
    /// For each kind of fault, each shard's time until it was assigned
    /// elsewhere.
    moved_ms: BTreeMap<Fault, Vec<u64>>,
    /// From the end of a fault until the node began something new.
    back_ms: Vec<u64>,
    /// Attempts that were taken from a node while it was away.
    taken: Vec<AttemptKey>,
    absences: Vec<Absence>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let cluster = ProcessCluster::on_loopback(&folder.join("cluster"), NODES, SLOTS)?;
        Ok(Experiment {
            settings,
            nodes: ThreeNodes::new(settings, folder, cluster)?,
            moved_ms: BTreeMap::new(),
            back_ms: Vec::new(),
            taken: Vec::new(),
            absences: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        for number in 1..=self.settings.rounds_or(1, 20) {
            for fault in Fault::ALL {
                // What was broken before matters more than how it then ended.
                if let Err(error) = self.round(number, fault) {
                    self.broken.push(error);
                    return Ok(self.broken);
                }
            }
        }
        let different = self.nodes.workload.compare_films(&self.nodes.cluster)?;
        self.broken.extend(different);
        self.report()?;
        Ok(self.broken)
    }

    fn round(&mut self, number: u64, fault: Fault) -> Result<(), String> {
        let nodes = &mut self.nodes;
        nodes.wait_until_all_work()?;
        nodes.sleep_within(SETTLE_MS);
        let leader = nodes.leader()?;
        let victim = match fault {
            Fault::LeaderStopped => leader,
            Fault::WorkerStopped | Fault::WorkerKilled => nodes.any_node(Some(leader)),
        };
        let pid = nodes.cluster.pid(victim)?;
        let from_us = match fault {
            Fault::WorkerKilled => {
                let kill = nodes.cluster.kill(victim)?;
                nodes.kills.push(kill);
                kill.at_us
            }
            _ => nodes.cluster.pause(victim)?,
        };
        let resume_us = from_us + 1_000 * nodes.random.within(STOPPED_MS.0, STOPPED_MS.1);
        let (had, moved) = self.wait_until_moved(victim, from_us);
        let back_from_us = self.end_fault(fault, victim, resume_us)?;
        self.absences.push(Absence {
            node: victim,
            from_us,
            to_us: back_from_us,
        });
        let nodes = &mut self.nodes;
        let back_us = nodes.wait_for_events(BACK_PATIENCE, |log| {
            first_start_after(log, victim, back_from_us)
        });
        let back_us = back_us.ok_or(format!("node {victim} began nothing after it came back"))?;
        self.back_ms.push(ms_between(back_from_us, back_us));
        // A node that was merely stopped must not be taken for one that hangs.
        if fault != Fault::WorkerKilled && nodes.cluster.pid(victim)? != pid {
            self.broken
                .push(format!("node {victim} is another process after its thaw"));
        }
        println!(
            "round {number:>3}: {:<14} node {victim}: {} attempts given away after {moved:?} ms, back at work after {} ms",
            fault.name(),
            moved.len(),
            ms_between(back_from_us, back_us),
        );
        self.moved_ms.entry(fault).or_default().extend(moved);
        nodes.wait_until_done(&had);
        Ok(())
    }

    /// Resumes a stopped node at its time, or starts a killed one; the moment.
    fn end_fault(&mut self, fault: Fault, victim: u64, resume_us: u64) -> Result<u64, String> {
        let cluster = &mut self.nodes.cluster;
        if fault == Fault::WorkerKilled {
            cluster.start_node(victim)?;
            return Ok(now_us());
        }
        sleep(Duration::from_micros(resume_us.saturating_sub(now_us())));
        cluster.resume(victim)
    }

    /// Waits until everything that a node was working on is assigned to others.
    /// Returns what that was, and how long each took.
    fn wait_until_moved(&mut self, victim: u64, from_us: u64) -> (Vec<AttemptKey>, Vec<u64>) {
        let nodes = &mut self.nodes;
        nodes.log.update();
        // What a node was working on when it died has no end in its log.
        let had = attempts_running_at(&nodes.log, &nodes.kills, victim, from_us);
        let moved = nodes.wait_for_events(ASSIGN_PATIENCE, |log| {
            let moved = had
                .iter()
                .filter_map(|key| moved_us(log, key, victim, from_us));
            let moved: Vec<u64> = moved.collect();
            (moved.len() == had.len()).then_some(moved)
        });
        let Some(moved) = moved else {
            self.broken.push(format!(
                "not all that node {victim} was at was given away in {} s: {had:?}",
                ASSIGN_PATIENCE.as_secs()
            ));
            return (had, Vec::new());
        };
        self.taken.extend(had.iter().cloned());
        let took = moved.into_iter().map(|at_us| ms_between(from_us, at_us));
        (had, took.collect())
    }

    fn report(&mut self) -> Result<(), String> {
        let nodes = &mut self.nodes;
        nodes.log.update();
        let log = nodes.log.clone().starting_at(nodes.from_us);
        let attempts = log.attempts(&nodes.kills, now_us());
        let restarted = report::print_attempts(&attempts, &self.absences);
        self.broken.extend(restarted);
        self.broken.extend(leadership_violations(&log));
        let victims: BTreeSet<u64> = self.absences.iter().map(|absence| absence.node).collect();
        self.broken.extend(nodes.other_failures(&victims)?);
        self.check_late_results(&log)?;

        let (p99_ms, max_ms) = self.settings.limits_ms(5_000, u64::MAX, 15_000);
        let mut all = Vec::new();
        for (fault, moved) in &mut self.moved_ms {
            println!(
                "{:<14} to assigned elsewhere  {}",
                fault.name(),
                figures(moved)
            );
            all.extend(moved.iter().copied());
        }
        println!(
            "all            to assigned elsewhere  {}",
            figures(&mut all)
        );
        println!(
            "thaw or restart to new work           {}",
            figures(&mut self.back_ms)
        );
        let (p99, max) = (percentile(&all, 99), percentile(&all, 100));
        if all.is_empty() {
            self.broken
                .push("no node was at anything when it was stopped".into());
        }
        if p99 > p99_ms || max > max_ms {
            self.broken.push(format!(
                "assigned elsewhere: p99 {p99} ms of {p99_ms}, max {max} ms"
            ));
        }
        Ok(())
    }

    /// What was taken from a node must have been done by a later attempt: the
    /// table refuses the earlier one's result, however late it comes.
    fn check_late_results(&mut self, log: &EventLog) -> Result<(), String> {
        let jobs: BTreeSet<&String> = self.taken.iter().map(|key| &key.job).collect();
        for job in jobs {
            let list = self.nodes.cluster.try_json(&["job", "tasks", job])?;
            let tasks = list["tasks"].as_array().cloned().unwrap_or_default();
            for key in self.taken.iter().filter(|key| key.job == *job) {
                let done = tasks.iter().find(|task| {
                    task["kind"] == *key.kind
                        && task["number"] == key.number
                        && task["state"] == "done"
                });
                if done.is_some_and(|task| task["attempt"].as_u64() <= Some(key.attempt.into())) {
                    self.broken
                        .push(format!("a late result was taken: {key:?}"));
                }
            }
        }
        let mut late = 0;
        for key in &self.taken {
            let finished = EventKind::Finished { key: key.clone() };
            let events = log.events.iter();
            late += events.filter(|event| event.kind == finished).count();
        }
        println!(
            "{} attempts taken away, {late} of them finished all the same and refused",
            self.taken.len()
        );
        Ok(())
    }
}

/// When a later attempt at the same task was assigned to another node.
fn moved_us(log: &EventLog, key: &AttemptKey, victim: u64, from_us: u64) -> Option<u64> {
    let moved = log.after(from_us).iter().find(|event| {
        matches!(&event.kind, EventKind::Assigned { key: next, to }
            if next.task() == key.task() && next.attempt > key.attempt && *to != victim)
    });
    moved.map(|event| event.at_us)
}
