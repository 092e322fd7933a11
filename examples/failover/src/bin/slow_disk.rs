//! Faults of one node's disk, again and again, while the whole cluster encodes:
//! the log or the table of the leader stalls, a sync of some node fails, or its
//! disk is full. The others must go on, a stalled leader must be replaced (P4),
//! the node must be back at work soon after its disk is well, and nothing that
//! was acknowledged may be lost or come out differently (P1, P2, P5, P6).
//!
//! `cargo run --release -p reelraft-failover --bin slow_disk -- [--case log|table|sync|full] [--rounds N] [--seed N] [--short]`
//!
//! Each node has three file systems of its own: for its log, for its table, and
//! for all else. A stall freezes one of them, like a disk that does not answer;
//! a failing sync is injected into the running node with `strace`; a full disk
//! is filled up by a file. Nodes that end are started again after a pause, as
//! `reelraft dev` would. What a slow but working disk costs is not measured
//! here.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    clock::{ms_between, now_us},
    event_log::EventLog,
    events::{Absence, AttemptEnd, EventKind, Kill},
    experiment::{Settings, Verdict, run_experiment},
    figures::{figures, percentile},
    invariants::{has_lost_attempts_in_a_row, leadership_violations},
    process_cluster::ProcessCluster,
    random::Random,
    report,
    scratch_disk::{ScratchDisk, enter_mount_namespace, fail_nth_sync},
    supervisor::Supervisor,
    takeover::Takeover,
    three_nodes::NODES,
    workload::{SLOTS, Workload},
};

/// Sizes of a node's file systems. The one for all else holds the films.
const LOG_MEBIBYTES: u64 = 128;
const TABLE_MEBIBYTES: u64 = 64;
const DATA_MEBIBYTES: u64 = 512;

/// How long a disk stalls: from a stall that can be waited out to one that
/// must be given up.
const STALL_MS: (u64, u64) = (2_000, 6_000);

/// How long a full disk stays full.
const FULL_MS: (u64, u64) = (2_000, 8_000);

/// Which of the syncs after the attachment fails.
const FAILED_SYNC: (u64, u64) = (1, 12);

/// How long a cluster may take to come up, or to be complete again, on a
/// machine whose cores are busy.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(90);

/// How long the end of a node, or a takeover, is waited for.
const EVENT_PATIENCE: Duration = Duration::from_secs(30);

/// How often the logs and the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Pause before each fault, once all nodes are at work.
const SETTLE_MS: (u64, u64) = (100, 1_100);

/// Times in a row that a task may be hit before the next fault spares it.
const LOST_IN_A_ROW_MAX: usize = 2;

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
    run_experiment("slow_disk", &["--case"], |settings, folder| {
        let only = settings.extra.get("--case");
        let is_wanted = |case: &Case| only.is_none_or(|name| name == case.name());
        let cases: Vec<Case> = Case::ALL.into_iter().filter(is_wanted).collect();
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

/// Whether this machine lets us have disks and, if needed, trace.
fn can_run(folder: &Path, cases: &[Case]) -> Result<(), String> {
    let why = |error: String| format!("no disks of our own can be had here: {error}");
    enter_mount_namespace().map_err(why)?;
    ScratchDisk::create(&folder.join("try.img"), &folder.join("try"), 8)
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

/// A node's file systems. Those mounted inside another are unmounted first.
struct Disks {
    log: ScratchDisk,
    table: ScratchDisk,
    data: ScratchDisk,
}

impl Disks {
    fn create(folder: &Path, data: &Path, id: u64) -> Result<Self, String> {
        let image = |part: &str| folder.join(format!("node-{id}-{part}.img"));
        // The order matters: the first contains the folders of the others.
        let disks = (
            ScratchDisk::create(&image("data"), data, DATA_MEBIBYTES)?,
            ScratchDisk::create(&image("log"), &data.join("log"), LOG_MEBIBYTES)?,
            ScratchDisk::create(&image("table"), &data.join("table"), TABLE_MEBIBYTES)?,
        );
        let (data, log, table) = disks;
        Ok(Disks { log, table, data })
    }
}

/// One fault, as it came out.
#[derive(Default)]
struct Outcome {
    /// From a stall of the leader's disk to the next new assignment.
    work_ms: Option<u64>,
    /// From the end of the fault to the node's first work.
    back_ms: u64,
    /// The error that the node ended with, if it did.
    last_words: Option<String>,
}

struct Experiment<'a> {
    settings: &'a Settings,
    random: Random,
    // Before the disks, so that the nodes end before their disks go.
    cluster: ProcessCluster,
    log: EventLog,
    workload: Workload,
    disks: BTreeMap<u64, Disks>,
    supervisor: Supervisor,
    absences: Vec<Absence>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        let nodes = folder.join("cluster");
        let mut disks = BTreeMap::new();
        for id in 1..=u64::from(NODES) {
            let data = nodes.join(format!("node-{id}"));
            disks.insert(id, Disks::create(folder, &data, id)?);
        }
        let cluster = ProcessCluster::on_loopback(&nodes, NODES, SLOTS)?;
        cluster.wait_for_nodes(NODES.into(), RECOVERY_PATIENCE)?;
        Ok(Experiment {
            settings,
            random: Random::new(settings.seed),
            log: cluster.event_log(),
            workload: Workload::new(settings, folder, &cluster)?,
            cluster,
            disks,
            supervisor: Supervisor::default(),
            absences: Vec::new(),
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
        let different = self.workload.compare_films(&self.cluster)?;
        self.broken.extend(different);
        self.check_all_jobs()?;
        self.log.update();
        let log = self.log.clone().starting_at(from_us);
        let attempts = log.attempts(&self.supervisor.kills, now_us());
        let restarted = report::print_attempts(&attempts, &self.absences);
        self.broken.extend(restarted);
        self.broken.extend(leadership_violations(&log));
        Ok(self.broken)
    }

    /// One fault, when all nodes are there and at work, until the node that
    /// had it is back at work.
    fn round(&mut self, case: Case, number: u64) -> Result<Outcome, String> {
        self.wait_until_all_work()?;
        sleep(self.random.duration(SETTLE_MS));
        self.log.update();
        let victim = match case {
            Case::Log | Case::Table => self
                .log
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
        let back_us = self.wait_until_at_work(victim, healed_us)?;
        outcome.back_ms = ms_between(healed_us, back_us);
        outcome.last_words = self.last_words(victim, from_us);
        if case == Case::Sync && outcome.last_words.is_none() {
            let silent = format!("node {victim} ended after a failed sync without a word");
            self.broken.push(silent);
        }
        self.absences.push(Absence {
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

    /// Freezes a disk of the leader, until new work is assigned.
    fn stall(&mut self, case: Case, victim: u64) -> Result<(Outcome, u64), String> {
        let stall = self.random.duration(STALL_MS);
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
            self.poll(Some(victim))?;
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

    /// When something new was assigned after a stall of the leader's disk: by
    /// the next leader, without waits for a survivor's free slot, or by the
    /// same one if the disk was well before anyone missed it.
    fn new_work(&self, fault: Kill, healed_us: Option<u64>) -> Option<u64> {
        if let Some(takeover) = Takeover::find(&self.log, fault) {
            return Some(takeover.assigned_us - takeover.slot_wait_us());
        }
        let mut since = self.log.after(fault.at_us).iter();
        if since.any(|event| matches!(event.kind, EventKind::BecameLeader { .. })) {
            return None;
        }
        let known = self.log.assigned_before(fault.at_us);
        let is_new = |kind: &EventKind| matches!(kind, EventKind::Assigned { key, .. } if !known.contains(key));
        let mut after = self.log.after(healed_us?).iter();
        after
            .find(|event| event.node == fault.node && is_new(&event.kind))
            .map(|event| event.at_us)
    }

    fn disk(&mut self, case: Case, node: u64) -> &mut ScratchDisk {
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
        let pid = self.cluster.pid(victim)?;
        let mut strace = fail_nth_sync(pid, which)?;
        let started = Instant::now();
        let mut ended = false;
        while !ended && started.elapsed() < EVENT_PATIENCE {
            ended = self.cluster.pid(victim).is_err();
            if !ended {
                self.poll(Some(victim))?;
                sleep(LOOK_EVERY);
            }
        }
        // It would follow the node's encoders until they end.
        let _ = strace.kill();
        let _ = strace.wait();
        if !ended {
            return Err(format!(
                "node {victim} went on after its sync number {which} had failed"
            ));
        }
        let healed_us = now_us();
        self.poll(Some(victim))?;
        Ok((Outcome::default(), healed_us))
    }

    /// Fills one of a node's disks up: the one for all else, with which it may
    /// live on, or the log's or the table's, without which it can't.
    fn fill_up(&mut self, victim: u64) -> Result<(Outcome, u64), String> {
        let full = self.random.duration(FULL_MS);
        let disk = self.random.choose(&[Case::Full, Case::Log, Case::Table]);
        self.disk(disk, victim).fill()?;
        let started = Instant::now();
        while started.elapsed() < full {
            self.poll(Some(victim))?;
            sleep(LOOK_EVERY);
        }
        self.disk(disk, victim).free_space()?;
        Ok((Outcome::default(), now_us()))
    }

    /// Waits until every node is there, has caught up, and encodes, and until
    /// what earlier faults hit twice is done.
    fn wait_until_all_work(&mut self) -> Result<(), String> {
        self.workload.keep_busy(&self.cluster)?;
        let started = Instant::now();
        while started.elapsed() < RECOVERY_PATIENCE {
            self.poll(None)?;
            let kills = &self.supervisor.kills;
            let attempts = self.log.attempts(kills, now_us());
            let ready = self.log.all_nodes_ready(NODES.into(), kills)
                && !has_lost_attempts_in_a_row(&attempts, LOST_IN_A_ROW_MAX);
            if ready && self.cluster.busy_nodes() == usize::from(NODES) {
                self.supervisor.all_well();
                return Ok(());
            }
            sleep(LOOK_EVERY);
        }
        let seconds = RECOVERY_PATIENCE.as_secs();
        Err(format!("not all nodes were at work after {seconds} s"))
    }

    /// Waits until a node whose disk is well again is at work; since when.
    fn wait_until_at_work(&mut self, node: u64, healed_us: u64) -> Result<u64, String> {
        let started = Instant::now();
        while started.elapsed() < RECOVERY_PATIENCE {
            self.poll(Some(node))?;
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
    /// do, if it has. What it began before its last end does not count.
    fn at_work_since(&self, node: u64) -> Option<u64> {
        let kills = &self.supervisor.kills;
        let session_us = self.log.session_with(node, kills)?;
        let attempts = self.log.attempts(kills, now_us());
        let open = attempts
            .iter()
            .filter(|attempt| attempt.node == node && attempt.end == AttemptEnd::Open);
        let working_us = open.map(|attempt| attempt.from_us).min()?;
        Some(session_us.max(working_us))
    }

    /// Reads the logs and starts nodes again. Only the one with the fault, if
    /// there is one, may have ended.
    fn poll(&mut self, victim: Option<u64>) -> Result<(), String> {
        for (node, how) in self.supervisor.poll(&mut self.cluster)? {
            if Some(node) != victim {
                let what = format!("a node without a fault ended: {how}");
                self.broken.push(what);
            }
        }
        self.log.update();
        Ok(())
    }

    /// The last error that a node has logged, if it ended since a moment.
    fn last_words(&self, node: u64, from_us: u64) -> Option<String> {
        let mut kills = self.supervisor.kills.iter();
        kills.rfind(|kill| kill.node == node && kill.at_us >= from_us)?;
        let text = self.cluster.log_text(node);
        let error = text
            .lines()
            .rfind(|line| line.starts_with("error: ") || line.contains("ERROR"));
        error.map(str::to_string)
    }

    /// P2 and P5: every job that was submitted is there, once.
    fn check_all_jobs(&mut self) -> Result<(), String> {
        let jobs = self.cluster.jobs()?;
        for id in self.workload.films.iter().chain(&self.workload.probes) {
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
