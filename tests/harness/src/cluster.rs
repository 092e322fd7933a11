//! A cluster of real processes on loopback, started with `reelraft dev` and
//! driven with the CLI. It ends only processes that it started, by their id.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use crate::{
    ports::{free_ports, is_free},
    processes::{all_pids, binary, command_line, parent_of, signal, tail},
};

/// How long a cluster of a few processes may take to elect a leader, on a
/// machine whose every core is busy with other tests.
const ELECTION_PATIENCE: Duration = Duration::from_secs(60);

/// How long the supervisor may take to end its nodes before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// How long the ports of killed nodes may stay taken.
const PORTS_PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks at something that is about to change.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a cluster is made of.
pub struct Options {
    /// How many nodes.
    pub nodes: u16,
    /// Encoders per node, if not the default.
    pub slots: Option<u32>,
    /// Whether a node that has died is started again.
    pub restart: bool,
    /// The program, if not the one built beside the running one.
    pub binary: Option<PathBuf>,
    /// Whether the nodes serve HTTP.
    pub http: bool,
    /// Extra environment of the nodes.
    pub environment: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 3,
            slots: None,
            restart: true,
            binary: None,
            http: false,
            environment: Vec::new(),
        }
    }
}

impl Options {
    fn program(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(binary)
    }
}

/// A running cluster. Dropped, it is shut down.
pub struct LocalCluster {
    supervisor: Child,
    base_port: u16,
    folder: PathBuf,
    options: Options,
}

impl LocalCluster {
    /// Starts a cluster in `folder` and waits until it has a leader and every
    /// node is up.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn start(folder: &Path, options: Options) -> Self {
        let base_port = free_ports(options.nodes);
        std::fs::create_dir_all(folder).expect("a folder for the cluster");
        let cluster = LocalCluster {
            supervisor: start_supervisor(folder, &options, base_port),
            base_port,
            folder: folder.to_path_buf(),
            options,
        };
        cluster.wait_for_leader();
        cluster
    }

    /// How many nodes were started.
    pub fn size(&self) -> u16 {
        self.options.nodes
    }

    /// The addresses of all nodes, separated by commas.
    pub fn endpoints(&self) -> String {
        let all = (1..=self.options.nodes).map(|node| self.endpoint(node.into()));
        all.collect::<Vec<_>>().join(",")
    }

    /// The address of one node; their ids start at 1.
    pub fn endpoint(&self, node: u64) -> String {
        format!("127.0.0.1:{}", self.base_port + node as u16 - 1)
    }

    /// The address of one node's HTTP port, if the nodes serve HTTP.
    pub fn http(&self, node: u64) -> String {
        format!("127.0.0.1:{}", self.base_port + node as u16 + 999)
    }

    /// The log of the supervisor and of all nodes.
    pub fn log(&self) -> PathBuf {
        log_in(&self.folder)
    }

    /// A command of the CLI, aimed at this cluster.
    pub fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.options.program());
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", self.endpoints())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the CLI to its end.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run(&self, args: &[&str]) -> Output {
        self.cli(args).output().expect("the CLI starts")
    }

    /// Runs a command that must succeed; what it prints as JSON.
    ///
    /// # Panics
    /// If it fails.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("-o json prints JSON")
    }

    /// The cluster's status, if there is a leader to give it.
    pub fn status(&self) -> Option<Value> {
        let output = self.run(&["cluster", "status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until there is a leader and all nodes are up; the leader's id.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_for_leader(&self) -> u64 {
        self.wait_for_nodes(self.options.nodes.into())
    }

    /// The leader's id, as soon as there is one.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn leader(&self) -> u64 {
        self.wait_for_nodes(0)
    }

    fn wait_for_nodes(&self, count: usize) -> u64 {
        let started = Instant::now();
        while started.elapsed() < ELECTION_PATIENCE {
            let status = self.status().unwrap_or_default();
            let leader = status["leader_id"].as_u64().unwrap_or(0);
            let nodes = status["nodes"].as_array();
            let is_up = |node: &&Value| node["reachable"] == true && !is_starting(node);
            let up = nodes.map_or(0, |nodes| nodes.iter().filter(is_up).count());
            if leader != 0 && up >= count {
                return leader;
            }
            sleep(LOOK_EVERY);
        }
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        panic!(
            "no leader and {count} nodes in time; the log ends with\n{}",
            tail(&log, 60)
        );
    }

    /// The process id of a node, as the cluster's status gives it.
    ///
    /// # Panics
    /// If there is no status, or it has no such node.
    pub fn pid(&self, node: u64) -> i32 {
        let status = self.status().expect("the cluster has a leader");
        let nodes = status["nodes"].as_array().expect("a status lists nodes");
        let pid = nodes
            .iter()
            .find(|found| found["id"] == node)
            .and_then(|found| found["pid"].as_i64())
            .and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("node {node} has no process in {status}"))
    }

    /// The processes of this cluster's living nodes, by node. Read from
    /// `/proc`, so that it works without a leader.
    pub fn processes(&self) -> BTreeMap<u64, i32> {
        let pids = all_pids().into_iter().filter(|&pid| self.is_ours(pid));
        pids.filter_map(|pid| {
            let words = command_line(pid);
            let at = words.iter().position(|word| word == "--id")?;
            Some((words.get(at + 1)?.parse().ok()?, pid))
        })
        .collect()
    }

    /// Whether a process is a child of this cluster's supervisor.
    fn is_ours(&self, pid: i32) -> bool {
        parent_of(pid) == Some(self.supervisor.id() as i32)
    }

    /// Kills one of this cluster's nodes with SIGKILL.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&self, node: u64) {
        self.kill_at_once(&[self.pid(node)]);
    }

    /// Kills some of this cluster's nodes with SIGKILL, all at the same moment;
    /// the moment.
    ///
    /// # Panics
    /// If one of the processes is not a node of this cluster.
    pub fn kill_at_once(&self, pids: &[i32]) -> SystemTime {
        for &pid in pids {
            assert!(self.is_ours(pid), "process {pid} is not one of our nodes");
        }
        let now = SystemTime::now();
        for &pid in pids {
            signal(pid, libc::SIGKILL);
        }
        now
    }

    /// Kills the supervisor, and with it every node.
    ///
    /// # Panics
    /// If their ports stay taken.
    pub fn kill_all(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        let started = Instant::now();
        for port in self.base_port..self.base_port + self.options.nodes {
            while !is_free(port) {
                assert!(started.elapsed() < PORTS_PATIENCE, "port {port} is taken");
                sleep(LOOK_EVERY);
            }
        }
    }

    /// Starts the cluster again on the same data, after [`Self::kill_all`], and
    /// waits for nothing.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self) {
        self.supervisor = start_supervisor(&self.folder, &self.options, self.base_port);
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if !matches!(self.supervisor.try_wait(), Ok(None)) {
            return;
        }
        signal(self.supervisor.id() as i32, libc::SIGTERM);
        let started = Instant::now();
        while matches!(self.supervisor.try_wait(), Ok(None)) {
            if started.elapsed() > STOP_PATIENCE {
                let _ = self.supervisor.kill();
                let _ = self.supervisor.wait();
            }
            sleep(LOOK_EVERY);
        }
    }
}

/// Starts `reelraft dev`, which starts the nodes.
fn start_supervisor(folder: &Path, options: &Options, base_port: u16) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true).open(log_in(folder));
    let log = log.expect("the log can be opened");
    let mut command = Command::new(options.program());
    command
        .args(["dev", "--nodes", &options.nodes.to_string()])
        .args(["--base-port", &base_port.to_string()])
        // A relative folder, as in the README: nodes must not depend on that.
        .args(["--data", "nodes"])
        .current_dir(folder)
        // The same film again is work again, unless a test says otherwise.
        .env("REELRAFT_REUSE_OUTPUTS", "false")
        .envs(options.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be cloned"))
        .stderr(log);
    if let Some(slots) = options.slots {
        command.args(["--slots", &slots.to_string()]);
    }
    // Its ports may be those of another cluster.
    if !options.http {
        command.arg("--no-http");
    }
    if !options.restart {
        command.arg("--no-restart");
    }
    command.spawn().expect("reelraft starts")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("dev.log")
}

/// Whether a node lives and still tries its encoders.
fn is_starting(node: &Value) -> bool {
    let trouble = node["trouble"].as_str().unwrap_or_default();
    trouble.contains("still being tried")
}
