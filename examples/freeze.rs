//! Stops nodes for a while (SIGSTOP, with their encoders, as a machine that
//! hangs), or kills them for good, while the whole cluster encodes; measures
//! how long it takes until each shard that they had is given to another node;
//! and lets the stopped ones go on, to see that they are not taken for broken,
//! that what they bring late is refused, and that films come out the same to
//! the byte (P1, P3, P4).
//!
//! `cargo run --release --example freeze -- [--rounds N] [--seed N] [--short]`
//!
//! A round does it three times: a worker that does not lead is stopped, the
//! leader is stopped, a worker is killed and stays dead until its shards are
//! given away.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    thread::sleep,
    time::Duration,
};

use experiment::{
    Settings, Verdict,
    checks::{Away, began_after, one_leader, running_at},
    client::Asked,
    conduct, figures,
    fleet::Fleet,
    load::SLOTS,
    ms_between, now_us, percentile,
    record::{Key, Record, What},
    report,
    scene::{NODES, Scene},
};

/// How long shards may take to be given away before it counts as never.
const ASSIGN_PATIENCE: Duration = Duration::from_secs(30);

/// How long a thawed or restarted node may take until it works again.
const BACK_PATIENCE: Duration = Duration::from_secs(60);

/// How long a node is stopped: two leases and more, so that all it had has
/// been given away, and less than a home is waited for, or longer.
const FROZEN_MS: (u64, u64) = (6_000, 10_000);

/// Pause before each fault, once all nodes are at work. A home that was away
/// looks every two seconds for what was finished in its absence, and a node
/// that was merely stopped does not say when it has caught up. To take the
/// other home away before that would be a second fault.
const SETTLE_MS: (u64, u64) = (2_500, 4_500);

fn main() -> ExitCode {
    conduct("freeze", &[], |settings, folder| {
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
    scene: Scene,
    /// For each kind of fault, each shard's time until it was given away.
    moved_ms: BTreeMap<Fault, Vec<u64>>,
    /// From the thaw or restart until the node began something new.
    back_ms: Vec<u64>,
    /// Attempts that were taken from a node while it was away.
    taken: Vec<Key>,
    away: Vec<Away>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let fleet = Fleet::on_loopback(&folder.join("cluster"), NODES, SLOTS)?;
        Ok(Experiment {
            settings,
            scene: Scene::open(settings, folder, fleet)?,
            moved_ms: BTreeMap::new(),
            back_ms: Vec::new(),
            taken: Vec::new(),
            away: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        for number in 1..=self.settings.rounds_or(1, 20) {
            for fault in Fault::ALL {
                // What was broken before says more than where it then ended.
                if let Err(error) = self.round(number, fault) {
                    self.broken.push(error);
                    return Ok(self.broken);
                }
            }
        }
        let differ = self.scene.load.films_as_calm(&self.scene.fleet)?;
        self.broken.extend(differ);
        self.report()?;
        Ok(self.broken)
    }

    fn round(&mut self, number: u64, fault: Fault) -> Result<(), String> {
        let scene = &mut self.scene;
        scene.await_whole()?;
        scene.settle(SETTLE_MS);
        let leader = scene.leader()?;
        let victim = match fault {
            Fault::LeaderStopped => leader,
            Fault::WorkerStopped | Fault::WorkerKilled => scene.any_node(Some(leader)),
        };
        let pid = scene.fleet.pid(victim)?;
        let from_us = match fault {
            Fault::WorkerKilled => {
                let kill = scene.fleet.kill(victim)?;
                scene.kills.push(kill);
                kill.at_us
            }
            _ => scene.fleet.freeze(victim)?,
        };
        let thaw_us = from_us + 1_000 * scene.random.within(FROZEN_MS.0, FROZEN_MS.1);
        let (had, moved) = self.await_moved(victim, from_us);

        let scene = &mut self.scene;
        let back_from_us = match fault {
            Fault::WorkerKilled => {
                scene.fleet.start_node(victim)?;
                now_us()
            }
            _ => {
                sleep(Duration::from_micros(thaw_us.saturating_sub(now_us())));
                scene.fleet.thaw(victim)?
            }
        };
        self.away.push(Away {
            node: victim,
            from_us,
            to_us: back_from_us,
        });
        let back_us = scene.await_record(BACK_PATIENCE, |record| {
            began_after(record, victim, back_from_us)
        });
        let back_us = back_us.ok_or(format!("node {victim} began nothing after it came back"))?;
        self.back_ms.push(ms_between(back_from_us, back_us));
        // A node that was merely stopped is not to be taken for one that hangs.
        if fault != Fault::WorkerKilled && scene.fleet.pid(victim)? != pid {
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
        scene.await_done(&had);
        Ok(())
    }

    /// Waits until everything that a node was at is given to others, and says
    /// how long each took.
    fn await_moved(&mut self, victim: u64, from_us: u64) -> (Vec<Key>, Vec<u64>) {
        let scene = &mut self.scene;
        scene.record.update();
        // What a node was at when it died is what it has no end for.
        let had = running_at(&scene.record, &scene.kills, victim, from_us);
        let moved = scene.await_record(ASSIGN_PATIENCE, |record| {
            let moved = had
                .iter()
                .filter_map(|key| moved_us(record, key, victim, from_us));
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
        let scene = &mut self.scene;
        scene.record.update();
        let record = scene.record.clone().since(scene.from_us);
        let tries = record.tries(&scene.kills, now_us());
        self.broken.extend(report::tell_work(&tries, &self.away));
        self.broken.extend(one_leader(&record));
        let victims: BTreeSet<u64> = self.away.iter().map(|away| away.node).collect();
        self.broken.extend(scene.failures_but_on(&victims)?);
        self.late_results(&record)?;

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
    fn late_results(&mut self, record: &Record) -> Result<(), String> {
        let mut late = 0;
        for job in self
            .taken
            .iter()
            .map(|key| &key.job)
            .collect::<BTreeSet<_>>()
        {
            let list = self.scene.fleet.document(&["job", "tasks", job])?;
            let rows = list["tasks"].as_array().cloned().unwrap_or_default();
            for key in self.taken.iter().filter(|key| key.job == *job) {
                let row = rows.iter().find(|row| {
                    row["kind"] == *key.kind
                        && row["number"] == key.number
                        && row["state"] == "done"
                });
                if row.is_some_and(|row| row["attempt"].as_u64() <= Some(key.attempt.into())) {
                    self.broken
                        .push(format!("a late result was taken: {key:?}"));
                }
            }
        }
        for key in &self.taken {
            let finished = |what: &What| *what == What::Finished { key: key.clone() };
            late += record
                .events
                .iter()
                .filter(|event| finished(&event.what))
                .count();
        }
        println!(
            "{} attempts taken away, {late} of them finished all the same and refused",
            self.taken.len()
        );
        Ok(())
    }
}

/// When a later attempt at the same task was given to another node.
fn moved_us(record: &Record, key: &Key, victim: u64, from_us: u64) -> Option<u64> {
    let found = record.after(from_us).iter().find(|event| {
        matches!(&event.what, What::Assigned { key: next, to }
            if next.task() == key.task() && next.attempt > key.attempt && *to != victim)
    });
    found.map(|event| event.at_us)
}
