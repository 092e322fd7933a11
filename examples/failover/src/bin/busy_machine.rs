//! Keeps the machine busy with other things while the cluster encodes, and
//! counts elections: a busy machine is no fault, so after the first minute there
//! may be one at most. Then the machine is quiet again, and a minute later the
//! leader is killed a few times: a takeover must be as quick as ever (P4).
//!
//! `cargo run --release -p reelraft-failover --bin busy_machine -- [--case spin|dd|tenth] [--as-user UID] [--minutes N] [--kills N] [--seed N] [--short]`
//!
//! `spin` runs busy loops at the usual priority, `dd` fills the nodes' own disk
//! and syncs it again and again, and `tenth` holds each node with its encoders
//! to a tenth of a core. Root may raise the nodes' priority; with `--as-user`
//! they run as somebody who may not.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    clock::{ms_between, now_us},
    events::EventKind,
    experiment::{Settings, Verdict, run_experiment},
    figures::{figures, percentile},
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster},
    takeover::Takeover,
    three_nodes::{NODES, ThreeNodes},
    workload::SLOTS,
};
use reelraft_harness::free_ports;

/// Busy loops of other programs: eight for each of two cores.
const LOOPS: usize = 16;

/// Writers that sync, and what each writes at once.
const WRITERS: usize = 3;
const WRITER_MEBIBYTES: u64 = 256;

/// A node's share of a core: so many of so many microseconds.
const QUOTA_US: u64 = 10_000;
const PERIOD_US: u64 = 100_000;

/// Where control groups limit CPU time, in the first and second version.
const CPU_GROUPS: &str = "/sys/fs/cgroup/cpu";
const UNIFIED_GROUPS: &str = "/sys/fs/cgroup";

/// How long nodes may take to find out how busy the machine is.
const LEARNING: Duration = Duration::from_secs(60);

/// Elections that are allowed afterwards.
const ELECTIONS_MAX: usize = 1;

/// How long the machine is quiet before takeovers are measured.
const QUIET: Duration = Duration::from_secs(60);

/// How long a takeover is waited for.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(30);

/// How often the queue is filled up.
const FILL_EVERY: Duration = Duration::from_secs(2);

/// What keeps the machine busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Spin,
    Dd,
    Tenth,
}

impl Case {
    const ALL: [Case; 3] = [Case::Spin, Case::Dd, Case::Tenth];

    fn name(self) -> &'static str {
        match self {
            Case::Spin => "spin",
            Case::Dd => "dd",
            Case::Tenth => "tenth",
        }
    }
}

fn main() -> ExitCode {
    let extra = ["--case", "--as-user", "--minutes"];
    run_experiment("busy_machine", &extra, |settings, folder| {
        let only = settings.extra.get("--case");
        let is_wanted = |case: &Case| match only {
            Some(name) => name == case.name(),
            // The other two would make every test beside this one slow.
            None => !settings.short || *case == Case::Spin,
        };
        let cases: Vec<Case> = Case::ALL.into_iter().filter(is_wanted).collect();
        if cases.is_empty() {
            return Err("--case is spin, dd or tenth".into());
        }
        let user = settings.extra_number("--as-user")?;
        let mut broken = Vec::new();
        for case in cases {
            let name = case.name();
            if let Some(why) = missing(case, user) {
                println!("{name} is left out: {why}");
                continue;
            }
            let folder = folder.join(name);
            fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let found = Experiment::new(settings, case, &folder, user)?.run()?;
            broken.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        Ok(Verdict::Broken(broken))
    })
}

/// What this machine or this user lacks for a case.
fn missing(case: Case, user: Option<u64>) -> Option<String> {
    // SAFETY: takes nothing and returns a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    if user.is_some() && !is_root {
        return Some("only root can start nodes as another user".into());
    }
    if case != Case::Tenth {
        return None;
    }
    CpuLimit::create("reelraft-try")
        .err()
        .map(|error| format!("no control groups of our own can be had here: {error}"))
}

struct Experiment<'a> {
    settings: &'a Settings,
    case: Case,
    folder: PathBuf,
    nodes: ThreeNodes,
}

impl<'a> Experiment<'a> {
    fn new(
        settings: &'a Settings,
        case: Case,
        folder: &Path,
        user: Option<u64>,
    ) -> Result<Self, String> {
        println!(
            "{}: nodes of {}",
            case.name(),
            user.map_or("this user".into(), |user| format!("user {user}"))
        );
        let cluster = start_cluster(&folder.join("cluster"), user)?;
        Ok(Experiment {
            settings,
            case,
            folder: folder.to_path_buf(),
            nodes: ThreeNodes::new(settings, folder, cluster)?,
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let mut broken = self.stay_busy()?;
        broken.extend(self.take_over_in_quiet()?);
        broken.extend(self.nodes.workload.compare_films(&self.nodes.cluster)?);
        Ok(broken)
    }

    /// Keeps the machine busy, and counts the elections.
    fn stay_busy(&mut self) -> Result<Vec<String>, String> {
        let minutes = self.settings.extra_number("--minutes")?;
        let busy = match minutes {
            Some(minutes) => Duration::from_secs(60 * minutes),
            None if self.settings.short => LEARNING + Duration::from_secs(15),
            None => Duration::from_secs(600),
        };
        self.nodes.workload.keep_busy(&self.nodes.cluster)?;
        let (from_us, started) = (now_us(), Instant::now());
        let load = Load::start(self.case, &self.folder, &mut self.nodes.cluster)?;
        let mut slowest_ms = 0;
        while started.elapsed() < busy {
            // A cluster with a tenth of a core answers late.
            if let Err(error) = self.nodes.workload.keep_busy(&self.nodes.cluster) {
                println!("  after {} s: {error}", started.elapsed().as_secs());
            }
            slowest_ms = slowest_ms.max(self.election_timeout_ms());
            sleep(FILL_EVERY);
        }
        let to_us = now_us();
        drop(load);
        self.nodes.log.update();
        let learnt_us = from_us + LEARNING.as_micros() as u64;
        let elections = self.elections(from_us, to_us);
        let late = elections.iter().filter(|at_us| **at_us >= learnt_us);
        let late_count = late.count();
        println!(
            "  {} elections in {} s, {late_count} of them after the first minute; election timeouts of up to {slowest_ms} ms",
            elections.len(),
            busy.as_secs(),
        );
        for at_us in &elections {
            println!("    after {} s", ms_between(from_us, *at_us) / 1_000);
        }
        let mut broken: Vec<String> = self
            .nodes
            .cluster
            .ids()
            .into_iter()
            .filter_map(|id| self.nodes.cluster.pid(id).err())
            .collect();
        if late_count > ELECTIONS_MAX {
            broken.push(format!("{late_count} elections after the first minute"));
        }
        Ok(broken)
    }

    /// The election timeout that a node names; 0 if none answers in time.
    fn election_timeout_ms(&self) -> u64 {
        let status = self.nodes.cluster.try_json(&["cluster", "status"]);
        status.map_or(0, |status| {
            status["election_timeout_ms"].as_u64().unwrap_or(0)
        })
    }

    /// When leaders were elected.
    fn elections(&self, from_us: u64, to_us: u64) -> Vec<u64> {
        let events = self.nodes.log.events.iter();
        events
            .filter(|event| matches!(event.kind, EventKind::BecameLeader { .. }))
            .map(|event| event.at_us)
            .filter(|at_us| (from_us..to_us).contains(at_us))
            .collect()
    }

    /// Kills the leader a few times, once the machine has been quiet for a while.
    fn take_over_in_quiet(&mut self) -> Result<Vec<String>, String> {
        sleep(QUIET);
        println!(
            "  {} s of quiet later: election timeout {} ms",
            QUIET.as_secs(),
            self.election_timeout_ms()
        );
        let mut times_ms = Vec::new();
        for _ in 0..self.settings.rounds_or(2, 10) {
            let nodes = &mut self.nodes;
            nodes.wait_until_all_work()?;
            let leader = nodes.leader()?;
            let kill = nodes.cluster.kill(leader)?;
            nodes.kills.push(kill);
            let takeover = nodes
                .wait_for_events(TAKEOVER_PATIENCE, |log| Takeover::find(log, kill))
                .ok_or("no new leader assigned anything")?;
            nodes.cluster.start_node(leader)?;
            times_ms.push(takeover.with_a_free_slot_ms());
        }
        println!("  SIGKILL to first assignment   {}", figures(&mut times_ms));
        let (p99_ms, max_ms) = self.settings.limits_ms(1_000, 2_000, 10_000);
        let (p99, max) = (percentile(&times_ms, 99), percentile(&times_ms, 100));
        let is_slow = p99 > p99_ms || max > max_ms;
        let slow = is_slow.then(|| format!("takeover in quiet: p99 {p99} ms, max {max} ms"));
        Ok(slow.into_iter().collect())
    }
}

/// Three nodes on loopback, of this user or of another.
fn start_cluster(folder: &Path, user: Option<u64>) -> Result<ProcessCluster, String> {
    let base = free_ports(NODES);
    let mut specs = Vec::new();
    for number in 1..=NODES {
        let data = folder.join(format!("node-{number}"));
        fs::create_dir_all(&data).map_err(|error| error.to_string())?;
        if let Some(user) = user {
            chown(&data, Some(user as u32), Some(user as u32))
                .map_err(|error| error.to_string())?;
        }
        specs.push(NodeSpec {
            listen: format!("127.0.0.1:{}", base + number - 1),
            data,
            command_prefix: user.map(as_user).unwrap_or_default(),
            environment: Vec::new(),
        });
    }
    let spec = ClusterSpec {
        slots: SLOTS,
        ..Default::default()
    };
    ProcessCluster::start(folder, specs, spec)
}

/// Gives up root, without losing the signal that ends a node with its parent.
fn as_user(user: u64) -> Vec<String> {
    let words = format!(
        "setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all --pdeathsig KILL"
    );
    words.split(' ').map(str::to_string).collect()
}

/// What keeps the machine busy, until it is dropped.
struct Load {
    programs: Vec<Child>,
    _limits: Vec<CpuLimit>,
}

impl Load {
    fn start(case: Case, folder: &Path, cluster: &mut ProcessCluster) -> Result<Self, String> {
        let mut load = Load {
            programs: Vec::new(),
            _limits: Vec::new(),
        };
        match case {
            Case::Spin => {
                for _ in 0..LOOPS {
                    load.programs.push(shell("while :; do :; done")?);
                }
            }
            Case::Dd => {
                for number in 0..WRITERS {
                    let file = folder.join(format!("filler-{number}"));
                    load.programs.push(shell(&format!(
                        "while :; do dd if=/dev/zero of={} bs=1M count={WRITER_MEBIBYTES} conv=fsync; done",
                        file.display()
                    ))?);
                }
            }
            Case::Tenth => {
                for id in cluster.ids() {
                    let limit = CpuLimit::create(&format!("reelraft-{}-{id}", std::process::id()))?;
                    limit.take_in(cluster.pid(id)?)?;
                    load._limits.push(limit);
                }
            }
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // SAFETY: kill takes plain numbers; the group is that of our own
            // child, not yet waited for.
            unsafe { libc::kill(-(program.id() as i32), libc::SIGKILL) };
            let _ = program.wait();
        }
    }
}

/// Runs a script in a process group of its own, which ends with this process.
fn shell(script: &str) -> Result<Child, String> {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    // SAFETY: runs between fork and exec, where prctl with plain numbers is a
    // bare system call.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn().map_err(|error| format!("sh: {error}"))
}

/// A control group with a tenth of a core. Who is in it when this is dropped
/// goes back to the group above.
struct CpuLimit {
    folder: PathBuf,
}

impl CpuLimit {
    fn create(name: &str) -> Result<Self, String> {
        let first_version = Path::new(CPU_GROUPS);
        let is_first = first_version.join("cgroup.procs").exists();
        let above = if is_first { CPU_GROUPS } else { UNIFIED_GROUPS };
        let limit = CpuLimit {
            folder: Path::new(above).join(name),
        };
        fs::create_dir_all(&limit.folder).map_err(|error| error.to_string())?;
        if is_first {
            limit.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            limit.write("cpu.cfs_quota_us", &QUOTA_US.to_string())?;
        } else {
            limit.write("cpu.max", &format!("{QUOTA_US} {PERIOD_US}"))?;
        }
        Ok(limit)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Limits a process, with all children that it starts from now on.
    fn take_in(&self, pid: i32) -> Result<(), String> {
        self.write("cgroup.procs", &pid.to_string())
    }
}

impl Drop for CpuLimit {
    fn drop(&mut self) {
        let above = self.folder.with_file_name("cgroup.procs");
        let inside = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            // It may have ended meanwhile.
            let _ = fs::write(&above, pid);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}
