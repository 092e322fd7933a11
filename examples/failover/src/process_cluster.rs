//! A cluster whose nodes the experiment starts itself, each as `reelraft
//! node`. So it can kill one for good, pause it for a while, or put it
//! somewhere else: into a network namespace, on a disk of its own, under
//! another program. Nobody but the experiment restarts a dead node. All nodes
//! end with the experiment, however it ends.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{all_pids, binary, free_ports, parent_of};

use crate::{cli_client::CliClient, clock::now_us, event_log::EventLog, events::Kill};

/// How often a node that is to stop is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a new node may take until it has the authority that clients know it by.
const AUTHORITY_PATIENCE: Duration = Duration::from_secs(30);

/// Where and how one node runs.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// `host:port`, for the other nodes too.
    pub listen: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Words before the program's own, such as `ip netns exec NAME`. The last
    /// program of them must become the node by exec, not stay as its parent.
    pub command_prefix: Vec<String>,
    /// Added to the node's environment.
    pub environment: Vec<(String, String)>,
}

/// What all nodes of a cluster have in common.
#[derive(Clone, Debug, Default)]
pub struct ClusterSpec {
    /// Attempts that each node runs at once.
    pub slots: u32,
    /// Needed if a node listens beyond loopback.
    pub secret: String,
    /// Words before a client's own, such as `ip netns exec NAME`.
    pub client_prefix: Vec<String>,
    /// More options of every node.
    pub node_args: Vec<String>,
}

impl NodeSpec {
    /// Nodes on loopback, numbered from 1, with their data in `folder`.
    pub fn on_loopback(folder: &Path, count: u16) -> Vec<Self> {
        let base = free_ports(count);
        let node = |number: u16| NodeSpec {
            listen: format!("127.0.0.1:{}", base + number - 1),
            data: folder.join(format!("node-{number}")),
            command_prefix: Vec::new(),
            environment: Vec::new(),
        };
        (1..=count).map(node).collect()
    }
}

struct Node {
    spec: NodeSpec,
    /// What it runs: the program under test, unless an experiment says otherwise.
    program: PathBuf,
    child: Option<Child>,
}

impl Node {
    fn new(spec: NodeSpec) -> Self {
        Node {
            spec,
            program: binary(),
            child: None,
        }
    }
}

/// Several nodes, each a child of this process.
pub struct ProcessCluster {
    /// Where the logs are.
    folder: PathBuf,
    spec: ClusterSpec,
    nodes: BTreeMap<u64, Node>,
}

impl ProcessCluster {
    /// Starts nodes, numbered from 1, with their logs in `folder`.
    ///
    /// # Errors
    /// If a process can't be started.
    pub fn start(folder: &Path, nodes: Vec<NodeSpec>, spec: ClusterSpec) -> Result<Self, String> {
        let mut cluster = Self::prepare(folder, nodes, spec)?;
        for id in cluster.ids() {
            cluster.start_node(id)?;
        }
        Ok(cluster)
    }

    /// A cluster of which no node runs yet.
    ///
    /// # Errors
    /// If there is no folder for the logs.
    pub fn prepare(folder: &Path, nodes: Vec<NodeSpec>, spec: ClusterSpec) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let numbered = (1..).zip(nodes);
        Ok(ProcessCluster {
            folder: folder.to_path_buf(),
            spec,
            nodes: numbered.map(|(id, spec)| (id, Node::new(spec))).collect(),
        })
    }

    /// Starts `count` nodes on loopback.
    ///
    /// # Errors
    /// As [`ProcessCluster::start`].
    pub fn on_loopback(folder: &Path, count: u16, slots: u32) -> Result<Self, String> {
        Self::with_environments(folder, vec![Vec::new(); count.into()], slots)
    }

    /// Starts a node on loopback for each environment.
    ///
    /// # Errors
    /// As [`ProcessCluster::start`].
    pub fn with_environments(
        folder: &Path,
        environments: Vec<Vec<(String, String)>>,
        slots: u32,
    ) -> Result<Self, String> {
        let spec = ClusterSpec {
            slots,
            ..Default::default()
        };
        let mut nodes = NodeSpec::on_loopback(folder, environments.len() as u16);
        for (node, environment) in nodes.iter_mut().zip(environments) {
            node.environment = environment;
        }
        Self::start(folder, nodes, spec)
    }

    /// Gives a node another environment, from its next start on.
    pub fn set_environment(&mut self, id: u64, environment: Vec<(String, String)>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.spec.environment = environment;
        }
    }

    /// Has a node run another program, from its next start on.
    pub fn set_program(&mut self, id: u64, program: &Path) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.program = program.to_path_buf();
        }
    }

    /// Adds a node and starts it. The others know it from their next start on.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn add_node(&mut self, spec: NodeSpec) -> Result<u64, String> {
        let id = self.nodes.keys().max().map_or(1, |last| last + 1);
        self.nodes.insert(id, Node::new(spec));
        self.start_node(id).map(|()| id)
    }

    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Where the nodes listen.
    pub fn endpoints(&self) -> Vec<String> {
        let nodes = self.nodes.values();
        nodes.map(|node| node.spec.listen.clone()).collect()
    }

    /// Where a node listens.
    pub fn endpoint(&self, id: u64) -> &str {
        &self.nodes[&id].spec.listen
    }

    /// A node's data folder.
    pub fn data(&self, id: u64) -> &Path {
        &self.nodes[&id].spec.data
    }

    /// Starts a node that is not running, on the disk that it had.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start_node(&mut self, id: u64) -> Result<(), String> {
        let child = self
            .node_command(id)?
            .spawn()
            .map_err(|error| format!("node {id}: {error}"))?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.child = Some(child);
        }
        Ok(())
    }

    /// The command that runs a node, for who starts it in another way.
    ///
    /// # Errors
    /// If its log can't be written.
    pub fn node_command(&self, id: u64) -> Result<Command, String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(id))
            .map_err(|error| error.to_string())?;
        let peers: Vec<String> = self
            .nodes
            .iter()
            .map(|(id, node)| format!("{id}={}", node.spec.listen))
            .collect();
        let Node { spec, program, .. } = &self.nodes[&id];
        let mut command = prefixed(&spec.command_prefix, program);
        command
            .args(["node", "--id", &id.to_string(), "--listen", &spec.listen])
            .args(["--peers", &peers.join(",")])
            .args(["--slots", &self.spec.slots.to_string()])
            .args(&self.spec.node_args)
            .arg("--data")
            .arg(&spec.data)
            .env("REELRAFT_SECRET", &self.spec.secret)
            // The same film again is work again, unless an experiment says otherwise.
            .env("REELRAFT_REUSE_OUTPUTS", "false")
            .envs(spec.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        end_with_this_process(&mut command);
        Ok(command)
    }

    /// Kills a node with SIGKILL. It stays dead until
    /// [`ProcessCluster::start_node`].
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill(&mut self, id: u64) -> Result<Kill, String> {
        self.pid(id)?;
        let node = self.nodes.get_mut(&id);
        let mut child = node
            .and_then(|node| node.child.take())
            .ok_or(format!("node {id} does not run"))?;
        let at_us = now_us();
        child.kill().map_err(|error| error.to_string())?;
        child.wait().map_err(|error| error.to_string())?;
        Ok(Kill { at_us, node: id })
    }

    /// Asks a node to stop (SIGTERM), as the shutdown of its machine does, and
    /// kills it if it has not ended within `patience`.
    ///
    /// # Errors
    /// If it is not running.
    pub fn stop(&mut self, id: u64, patience: Duration) -> Result<Kill, String> {
        let pid = self.pid(id)?;
        let at_us = now_us();
        signal(pid, libc::SIGTERM);
        let started = Instant::now();
        while self.pid(id).is_ok() {
            if started.elapsed() > patience {
                return self.kill(id);
            }
            sleep(LOOK_EVERY);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.child = None;
        }
        Ok(Kill { at_us, node: id })
    }

    /// The process id of a running node.
    ///
    /// # Errors
    /// If it is not running, and how it ended if it ended by itself.
    pub fn pid(&mut self, id: u64) -> Result<i32, String> {
        let log = self.log_file(id);
        let child = self
            .nodes
            .get_mut(&id)
            .and_then(|node| node.child.as_mut())
            .ok_or(format!("node {id} does not run"))?;
        match child.try_wait() {
            Ok(None) => Ok(child.id() as i32),
            Ok(Some(status)) => Err(format!(
                "node {id} ended by itself with {status}; see {}",
                log.display()
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stops a node and its encoders with SIGSTOP, as if its machine hung; the
    /// moment.
    ///
    /// # Errors
    /// If it is not running.
    pub fn pause(&mut self, id: u64) -> Result<u64, String> {
        let at_us = now_us();
        let pid = self.pid(id)?;
        signal(pid, libc::SIGSTOP);
        // Only now, as a stopped node starts no more of them.
        for child in children_of(pid) {
            signal(child, libc::SIGSTOP);
        }
        Ok(at_us)
    }

    /// Lets a paused node and its encoders go on; the moment.
    ///
    /// # Errors
    /// If it is not running any more.
    pub fn resume(&mut self, id: u64) -> Result<u64, String> {
        let pid = self.pid(id)?;
        for child in children_of(pid) {
            signal(child, libc::SIGCONT);
        }
        let at_us = now_us();
        signal(pid, libc::SIGCONT);
        Ok(at_us)
    }

    /// A client that knows this node alone and runs where the node does.
    pub fn cli_at(&self, id: u64, args: &[&str]) -> Command {
        let spec = &self.nodes[&id].spec;
        self.client(&spec.command_prefix, &spec.listen, args)
    }

    fn client(&self, prefix: &[String], endpoints: &str, args: &[&str]) -> Command {
        let mut command = prefixed(prefix, &binary());
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", endpoints)
            .env("REELRAFT_SECRET", &self.spec.secret)
            .stdin(Stdio::null());
        // Beyond loopback nodes speak by TLS, and a client says no secret without.
        if let Some(node) = self.nodes.values().next() {
            let authority = node.spec.data.join("tls/ca.pem");
            let started = Instant::now();
            while !node.spec.listen.starts_with("127.")
                && !authority.exists()
                && started.elapsed() < AUTHORITY_PATIENCE
            {
                sleep(LOOK_EVERY);
            }
            if authority.exists() {
                command.env("REELRAFT_CA", authority);
            }
        }
        end_with_this_process(&mut command);
        command
    }

    /// What the nodes have logged, from the beginning.
    pub fn event_log(&self) -> EventLog {
        let logs = self.ids().into_iter().map(|id| (id, self.log_file(id)));
        EventLog::from_node_logs(logs.collect())
    }

    fn log_file(&self, id: u64) -> PathBuf {
        self.folder.join(format!("node-{id}.log"))
    }

    /// All that a node has printed since its first start.
    pub fn log_text(&self, id: u64) -> String {
        let bytes = std::fs::read(self.log_file(id)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl CliClient for ProcessCluster {
    fn cli(&self, args: &[&str]) -> Command {
        let endpoints = self.endpoints().join(",");
        self.client(&self.spec.client_prefix, &endpoints, args)
    }
}

impl Drop for ProcessCluster {
    fn drop(&mut self) {
        let nodes = self.nodes.values_mut();
        for child in nodes.filter_map(|node| node.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program behind the words that put it in its place.
fn prefixed(prefix: &[String], program: &Path) -> Command {
    match prefix.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Has a child killed when the thread that started it ends, so that an
/// interrupted experiment leaves nothing behind. Children must therefore be
/// started by the main thread.
pub fn end_with_this_process(command: &mut Command) {
    // SAFETY: runs between fork and exec, where prctl with plain numbers is a
    // bare system call: it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

pub(crate) fn signal(pid: i32, number: libc::c_int) {
    // SAFETY: kill takes plain numbers; the process is our own child, not yet
    // waited for, or a child of that one.
    unsafe { libc::kill(pid, number) };
}

/// The processes that a process has started and not yet waited for.
fn children_of(pid: i32) -> Vec<i32> {
    let mut all = all_pids();
    all.retain(|&child| parent_of(child) == Some(pid));
    all
}
