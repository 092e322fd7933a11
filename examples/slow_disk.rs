//! Faults of one node's disk, again and again, while the whole cluster encodes:
//! the log or the table of the leader stalls, a sync of some node fails, or its
//! disk is full. The others must go on, a stalled leader must be replaced (P4),
//! the node must be back at work soon after its disk is well, and nothing that
//! was acknowledged may be lost or come out otherwise (P1, P2, P5, P6).
//!
//! `cargo run --release --example slow_disk -- [--case log|table|sync|full] [--rounds N] [--seed N] [--short]`
//!
//! Each node has three file systems of its own: for its log, for its table,
//! and for all else. A stall freezes one of them, as a disk that does not
//! answer; a failed sync is injected into the running node with `strace`; a
//! full disk is filled up by a file. Nodes that end are started again after a
//! pause, as `reelraft dev` would. What a slow but living disk costs is not
//! measured here.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use experiment::{
    Random, Settings, Verdict,
    checks::{Away, one_leader, taken_over, tried_in_vain},
    client::Asked,
    conduct,
    disk::{Disk, fail_sync, own_mounts},
    figures,
    fleet::Fleet,
    load::{Load, SLOTS},
    ms_between, now_us, percentile,
    record::{End, Kill, Record, What},
    report,
    supervisor::Supervisor,
};

/// Nodes of the cluster.
const NODES: u16 = 3;

/// Sizes of a node's file systems. The one for all else holds the films.
const LOG_MEBIBYTES: u64 = 128;
const TABLE_MEBIBYTES: u64 = 64;
const DATA_MEBIBYTES: u64 = 512;

/// How long a disk stalls: from one that may just be waited for to one that
/// must be given up.
const STALL_MS: (u64, u64) = (2_000, 6_000);

/// How long a full disk stays full.
const FULL_MS: (u64, u64) = (2_000, 8_000);
/// Which of the syncs after the attachment fails.
const FAILED_SYNC: (u64, u64) = (1, 12);

/// How long a cluster may take to come up, or to be whole again, on a machine
/// whose cores are busy.
const WHOLE_PATIENCE: Duration = Duration::from_secs(90);

/// How long the end of a node, or a takeover, is waited for.
const EVENT_PATIENCE: Duration = Duration::from_secs(30);

/// How often the logs and the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Pause before each fault, once all nodes are at work.
const SETTLE_MS: (u64, u64) = (100, 1_100);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    /// The leader's log stalls.
    Log,
    /// The leader's table stalls.
    Table,
    /// One sync of a node fails.
    Sync,
    /// A node's disk is full.
    Full,
}

impl Case {
    const ALL: [Case; 4] = [Case::Log, Case::Table, Case::Sync, Case::Full];

    fn name(self) -> &'static str {
        match self {
            Case::Log => "log",
            Case::Table => "table",
            Case::Sync => "sync",
            Case::Full => "full",
        }
    }
}

fn main() -> ExitCode {
    conduct("slow_disk", &["--case"], |settings, folder| {
        let asked = settings.own.get("--case");
        let known = |case: &Case| asked.is_none_or(|name| name == case.name());
        let cases: Vec<Case> = Case::ALL.into_iter().filter(known).collect();
        if cases.is_empty() {
            return Err("--case is log, table, sync or full".into());
        }
        if let Err(why) = can_run(folder, &cases) {
            return Ok(Verdict::Skipped(why));
        }
        let experiment = Experiment::new(settings, folder)?;
        experiment.run(&cases).map(Verdict::Broken)
    })
}

/// Whether this machine lets us have disks and, where it is needed, trace.
fn can_run(folder: &Path, cases: &[Case]) -> Result<(), String> {
    let why = |error: String| format!("no disks of our own can be had here: {error}");
    own_mounts().map_err(why)?;
    Disk::make(&folder.join("try.img"), &folder.join("try"), 8)
        .and_then(|mut disk| disk.freeze())
        .map_err(why)?;
    let strace = || {
        Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
    };
    if cases.contains(&Case::Sync) && !strace().is_ok_and(|status| status.success()) {
        return Err("strace is missing (Debian: strace)".into());
    }
    Ok(())
}

/// A node's file systems. Those in the folders of another are unmounted first.
struct Disks {
    log: Disk,
    table: Disk,
    data: Disk,
}

/// One fault, as it came out.
#[derive(Default)]
struct Outcome {
    /// From a stall of the leader's disk to the next new assignment.
    work_ms: Option<u64>,
    /// From the healing to the node's first work.
    back_ms: u64,
    /// What the node said when it ended, if it did.
    last_words: Option<String>,
}

struct Experiment<'a> {
    settings: &'a Settings,
    random: Random,
    folder: std::path::PathBuf,
    /// Ends before the disks go.
    fleet: Fleet,
    record: Record,
    load: Load,
    disks: BTreeMap<u64, Disks>,
    supervisor: Supervisor,
    away: Vec<Away>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let nodes = folder.join("cluster");
        let disks = (1..=u64::from(NODES))
            .map(|id| {
                let image = |part: &str| folder.join(format!("node-{id}-{part}.img"));
                let data = nodes.join(format!("node-{id}"));
                let disks = (
                    Disk::make(&image("data"), &data, DATA_MEBIBYTES)?,
                    Disk::make(&image("log"), &data.join("log"), LOG_MEBIBYTES)?,
                    Disk::make(&image("table"), &data.join("table"), TABLE_MEBIBYTES)?,
                );
                let (data, log, table) = disks;
                Ok((id, Disks { log, table, data }))
            })
            .collect::<Result<BTreeMap<_, _>, String>>()?;
        let fleet = Fleet::on_loopback(&nodes, NODES, SLOTS)?;
        fleet.await_nodes(NODES.into(), WHOLE_PATIENCE)?;
        Ok(Experiment {
            settings,
            random: Random::new(settings.seed),
            folder: nodes,
            record: fleet.record(),
            load: Load::new(settings, folder, &fleet)?,
            fleet,
            disks,
            supervisor: Supervisor::default(),
            away: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self, cases: &[Case]) -> Result<Vec<String>, String> {
        let from_us = now_us();
        for &case in cases {
            let mut outcomes = Vec::new();
            for number in 1..=self.settings.rounds_or(1, 20) {
                outcomes.push(self.round(case, number)?);
            }
            self.judge(case, &outcomes);
        }
        let differ = self.load.films_as_calm(&self.fleet)?;
        self.broken.extend(differ);
        self.all_jobs_are_there()?;
        self.record.update();
        let record = self.record.clone().since(from_us);
        let tries = record.tries(&self.supervisor.kills, now_us());
        let again = report::tell_work(&tries, &self.away);
        self.broken.extend(again);
        self.broken.extend(one_leader(&record));
        Ok(std::mem::take(&mut self.broken))
    }

    /// One fault, when all nodes are there and at work, until the node that
    /// met it is back at work.
    fn round(&mut self, case: Case, number: u64) -> Result<Outcome, String> {
        self.await_whole()?;
        sleep(self.drawn(SETTLE_MS));
        self.record.update();
        let victim = match case {
            Case::Log | Case::Table => self
                .record
                .leader_at(now_us())
                .ok_or("no node has said that it leads")?,
            Case::Sync | Case::Full => self.random.within(1, u64::from(NODES) + 1),
        };
        let from_us = now_us();
        let (mut outcome, healed_us) = match case {
            Case::Log | Case::Table => self.stall(case, victim)?,
            Case::Sync => self.fail_a_sync(victim)?,
            Case::Full => self.fill_up(victim)?,
        };
        let back_us = self.await_work(victim, healed_us)?;
        outcome.back_ms = ms_between(healed_us, back_us);
        outcome.last_words = self.last_words(victim, from_us);
        if case == Case::Sync && outcome.last_words.is_none() {
            let silent = format!("node {victim} ended after a failed sync without a word");
            self.broken.push(silent);
        }
        self.away.push(Away {
            node: victim,
            from_us,
            to_us: back_us,
        });
        let work = outcome
            .work_ms
            .map(|ms| format!("new work after {ms} ms, "));
        println!(
            "{} {number:>2}: node {victim}, {}back at work {} ms after it was well{}",
            case.name(),
            work.unwrap_or_default(),
            outcome.back_ms,
            outcome
                .last_words
                .as_ref()
                .map_or(String::new(), |words| format!("; it ended: {words}"))
        );
        Ok(outcome)
    }

    fn stall(&mut self, case: Case, victim: u64) -> Result<(Outcome, u64), String> {
        let stall = self.drawn(STALL_MS);
        let fault = Kill {
            at_us: now_us(),
            node: victim,
        };
        self.disk(case, victim).freeze()?;
        let frozen = Instant::now();
        let (mut work_us, mut healed_us) = (None, None);
        while frozen.elapsed() < EVENT_PATIENCE {
            if healed_us.is_none() && frozen.elapsed() >= stall {
                self.disk(case, victim).thaw()?;
                healed_us = Some(now_us());
            }
            self.tend(victim)?;
            work_us = work_us.or_else(|| self.new_work(fault, healed_us));
            if let (Some(work_us), Some(healed_us)) = (work_us, healed_us) {
                let outcome = Outcome {
                    work_ms: Some(ms_between(fault.at_us, work_us)),
                    ..Default::default()
                };
                return Ok((outcome, healed_us));
            }
            sleep(LOOK_EVERY);
        }
        Err(format!(
            "nobody took over from node {victim}, whose disk stalled"
        ))
    }

    /// When something new was given out after a stall of the leader's disk: by
    /// the next leader, but for waits until a survivor had a free slot, or by
    /// the same one where the disk was well before anyone missed it.
    fn new_work(&self, fault: Kill, healed_us: Option<u64>) -> Option<u64> {
        if let Some((elected_us, assigned_us, _)) = taken_over(&self.record, fault.at_us) {
            let finished = self.record.after(fault.at_us).iter().find(|event| {
                event.node != fault.node && matches!(event.what, What::Finished { .. })
            });
            let slot_us = finished.map_or(assigned_us, |event| event.at_us);
            return Some(assigned_us - (slot_us.clamp(elected_us, assigned_us) - elected_us));
        }
        let mut since = self.record.after(fault.at_us).iter();
        if since.any(|event| matches!(event.what, What::Leads { .. })) {
            return None;
        }
        let known = self.record.assigned_before(fault.at_us);
        let mut after = self.record.after(healed_us?).iter();
        let new = |what: &What| matches!(what, What::Assigned { key, .. } if !known.contains(key));
        after
            .find(|event| event.node == fault.node && new(&event.what))
            .map(|event| event.at_us)
    }

    fn drawn(&mut self, (low_ms, high_ms): (u64, u64)) -> Duration {
        Duration::from_millis(self.random.within(low_ms, high_ms))
    }

    fn disk(&mut self, case: Case, node: u64) -> &mut Disk {
        let disks = self.disks.get_mut(&node).expect("every node has disks");
        match case {
            Case::Log => &mut disks.log,
            Case::Table => &mut disks.table,
            Case::Sync | Case::Full => &mut disks.data,
        }
    }

    /// Has one of the next syncs of a node fail: it must end, and say why.
    fn fail_a_sync(&mut self, victim: u64) -> Result<(Outcome, u64), String> {
        let (low, high) = FAILED_SYNC;
        let which = self.random.within(low, high);
        let pid = self.fleet.pid(victim)?;
        let mut strace = fail_sync(pid, which)?;
        let started = Instant::now();
        while started.elapsed() < EVENT_PATIENCE {
            if self.fleet.pid(victim).is_err() {
                // It would follow the node's encoders until they end.
                let _ = strace.kill();
                let _ = strace.wait();
                let healed_us = now_us();
                self.tend(victim)?;
                return Ok((Outcome::default(), healed_us));
            }
            self.tend(victim)?;
            sleep(LOOK_EVERY);
        }
        let _ = strace.kill();
        let _ = strace.wait();
        Err(format!(
            "node {victim} went on after its sync number {which} had failed"
        ))
    }

    /// Fills one of a node's disks up: the one for all else, with which it may
    /// live on, or the log's or the table's, without which it can't.
    fn fill_up(&mut self, victim: u64) -> Result<(Outcome, u64), String> {
        let full = self.drawn(FULL_MS);
        let disks = [Case::Full, Case::Log, Case::Table];
        let disk = disks[self.random.within(0, 3) as usize];
        self.disk(disk, victim).fill()?;
        let begun = Instant::now();
        while begun.elapsed() < full {
            self.tend(victim)?;
            sleep(LOOK_EVERY);
        }
        self.disk(disk, victim).free()?;
        Ok((Outcome::default(), now_us()))
    }

    /// Waits until every node is there, has caught up, and encodes, and until
    /// what earlier faults hit twice is done.
    fn await_whole(&mut self) -> Result<(), String> {
        self.load.keep_busy(&self.fleet)?;
        let started = Instant::now();
        while started.elapsed() < WHOLE_PATIENCE {
            self.tend(0)?;
            let busy = |node: &&serde_json::Value| node["slots_busy"].as_u64().unwrap_or(0) > 0;
            let kills = &self.supervisor.kills;
            let tries = self.record.tries(kills, now_us());
            let whole = self.record.whole(NODES.into(), kills) && !tried_in_vain(&tries, 2);
            if whole && self.fleet.nodes().iter().filter(busy).count() == usize::from(NODES) {
                self.supervisor.all_well();
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
        let seconds = WHOLE_PATIENCE.as_secs();
        Err(format!("not all nodes were at work after {seconds} s"))
    }

    /// Waits until a node that was healed is at work, and says since when.
    fn await_work(&mut self, node: u64, healed_us: u64) -> Result<u64, String> {
        let started = Instant::now();
        while started.elapsed() < WHOLE_PATIENCE {
            self.tend(node)?;
            if let Some(since_us) = self.at_work_since(node) {
                return Ok(since_us.max(healed_us));
            }
            sleep(LOOK_EVERY);
        }
        Err(format!(
            "node {node} was not at work again after its disk was well"
        ))
    }

    /// Since when a node has both a session with the leader and something to
    /// do, if it has: what it began before its last end does not count.
    fn at_work_since(&self, node: u64) -> Option<u64> {
        let kills = &self.supervisor.kills;
        let ended_us = kills.iter().rfind(|kill| kill.node == node);
        let ended_us = ended_us.map_or(0, |kill| kill.at_us);
        let events = &self.record.events;
        let (leader, elected_us) = events.iter().rev().find_map(|event| match event.what {
            What::Leads { .. } => Some((event.node, event.at_us)),
            _ => None,
        })?;
        // A session may open in the moment before its leader says that it leads.
        let from_us = ended_us.max(elected_us.saturating_sub(1_000_000));
        let session = self.record.after(from_us).iter().rfind(|event| {
            event.node == leader && event.what == What::SessionOpened { with: node }
        })?;
        let tries = self.record.tries(kills, now_us());
        let open = tries
            .iter()
            .filter(|found| found.node == node && found.end == End::Open);
        let working_us = open.map(|found| found.from_us).min()?;
        Some(session.at_us.max(working_us))
    }

    /// Reads the logs and starts nodes again. Only the one with the fault may
    /// have ended.
    fn tend(&mut self, victim: u64) -> Result<(), String> {
        for (node, how) in self.supervisor.tend(&mut self.fleet)? {
            if node != victim {
                let what = format!("a node without a fault ended: {how}");
                self.broken.push(what);
            }
        }
        self.record.update();
        Ok(())
    }

    /// The last error that a node has said since a moment, if it ended since.
    fn last_words(&self, node: u64, from_us: u64) -> Option<String> {
        let kills = &self.supervisor.kills;
        kills
            .iter()
            .rfind(|kill| kill.node == node && kill.at_us >= from_us)?;
        let log = self.folder.join(format!("node-{node}.log"));
        let text = String::from_utf8_lossy(&std::fs::read(log).ok()?).into_owned();
        let found = text
            .lines()
            .rfind(|line| line.starts_with("error: ") || line.contains("ERROR"));
        found.map(str::to_string)
    }

    /// P2 and P5: every job that was submitted is there, once.
    fn all_jobs_are_there(&mut self) -> Result<(), String> {
        let jobs = self.fleet.jobs()?;
        for id in self.load.films.iter().chain(&self.load.probes) {
            let count = jobs.iter().filter(|job| job["id"] == **id).count();
            if count != 1 {
                self.broken.push(format!("job {id} is there {count} times"));
            }
        }
        Ok(())
    }

    fn judge(&mut self, case: Case, outcomes: &[Outcome]) {
        let name = case.name();
        let work = outcomes.iter().filter_map(|outcome| outcome.work_ms);
        let mut work: Vec<u64> = work.collect();
        if !work.is_empty() {
            println!("{name}: stall to new work: {}", figures(&mut work));
            let (p99_ms, _) = self.settings.limits_ms(3_000, 3_000, 20_000);
            let p99 = percentile(&work, 99);
            if p99 > p99_ms {
                let late = format!("{name}: new work after p99 {p99} ms of {p99_ms}");
                self.broken.push(late);
            }
        }
        let mut back: Vec<u64> = outcomes.iter().map(|outcome| outcome.back_ms).collect();
        println!("{name}: well again to back at work: {}", figures(&mut back));
        let (_, max_ms) = self.settings.limits_ms(10_000, 10_000, 60_000);
        if percentile(&back, 100) > max_ms {
            self.broken.push(format!(
                "{name}: a node was back only after {} ms",
                percentile(&back, 100)
            ));
        }
    }
}
