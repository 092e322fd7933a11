//! Nodes that an experiment starts by itself, each as `reelraft node`, so that
//! it may kill one for good, stop it for a while, or put it somewhere else: in
//! a network namespace, on a disk of its own, under another program. Nobody
//! starts a dead node again but the experiment. All of them end with it,
//! however it ends.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{
    client::Asked,
    now_us,
    record::{Kill, Record},
};
use reelraft_harness::{all_pids, binary, free_ports, parent_of};

/// Where and how one node runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// `host:port`, for the others too.
    pub listen: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Words before the program's own, such as `ip netns exec NAME`. The last
    /// of them must become the node by exec, not stay as its parent.
    pub wrap: Vec<String>,
    /// Added to the node's environment.
    pub environment: Vec<(String, String)>,
}

/// What all nodes of a fleet have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Attempts that each node runs at once.
    pub slots: u32,
    /// Needed where a node listens beyond loopback.
    pub secret: String,
    /// Words before a client's, such as `ip netns exec NAME`.
    pub client_wrap: Vec<String>,
}

struct Node {
    place: Place,
    child: Option<Child>,
}

/// Several nodes, each a process of this one.
pub struct Fleet {
    /// Where the logs are.
    pub folder: PathBuf,
    common: Common,
    nodes: BTreeMap<u64, Node>,
}

impl Fleet {
    /// Starts the nodes, numbered from 1 in the order of their places. Their
    /// logs go to `folder`.
    ///
    /// # Errors
    /// That a process could not be started.
    pub fn start(folder: &Path, places: Vec<Place>, common: Common) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let numbered = (1..).zip(places);
        let mut fleet = Fleet {
            folder: folder.to_path_buf(),
            common,
            nodes: numbered
                .map(|(id, place)| (id, Node { place, child: None }))
                .collect(),
        };
        for id in fleet.ids() {
            fleet.start_node(id)?;
        }
        Ok(fleet)
    }

    /// As [`Fleet::start`], `count` nodes on loopback.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn on_loopback(folder: &Path, count: u16, slots: u32) -> Result<Self, String> {
        let base = free_ports(count);
        let place = |number: u16| Place {
            listen: format!("127.0.0.1:{}", base + number - 1),
            data: folder.join(format!("node-{number}")),
            wrap: Vec::new(),
            environment: Vec::new(),
        };
        let common = Common {
            slots,
            ..Default::default()
        };
        Self::start(folder, (1..=count).map(place).collect(), common)
    }

    /// The nodes' numbers.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Where the nodes listen, for clients.
    pub fn endpoints(&self) -> Vec<String> {
        let places = self.nodes.values();
        places.map(|node| node.place.listen.clone()).collect()
    }

    /// Starts a node that does not run, on the disk that it had.
    ///
    /// # Errors
    /// That the process could not be started.
    pub fn start_node(&mut self, id: u64) -> Result<(), String> {
        let child = self
            .command(id)?
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
    /// That its log can't be written.
    pub fn command(&self, id: u64) -> Result<Command, String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_of(id))
            .map_err(|error| error.to_string())?;
        let peers: Vec<String> = self
            .nodes
            .iter()
            .map(|(id, node)| format!("{id}={}", node.place.listen))
            .collect();
        let place = &self.nodes[&id].place;
        let mut command = wrapped(&place.wrap);
        command
            .args(["node", "--id", &id.to_string(), "--listen", &place.listen])
            .args(["--peers", &peers.join(",")])
            .args(["--slots", &self.common.slots.to_string()])
            .arg("--data")
            .arg(&place.data)
            .env("REELRAFT_SECRET", &self.common.secret)
            .envs(place.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        end_with_this_process(&mut command);
        Ok(command)
    }

    /// Where a node listens.
    pub fn listen(&self, id: u64) -> &str {
        &self.nodes[&id].place.listen
    }

    /// A node's data folder.
    pub fn data(&self, id: u64) -> &Path {
        &self.nodes[&id].place.data
    }

    /// Kills a node with SIGKILL and says when; it stays dead until
    /// [`Fleet::start_node`].
    ///
    /// # Errors
    /// That it does not run.
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

    /// The process id of a node that runs.
    ///
    /// # Errors
    /// That it does not run, and how it ended if it ended by itself.
    pub fn pid(&mut self, id: u64) -> Result<i32, String> {
        let log = self.log_of(id);
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

    /// Stops a node and its encoders, as a machine that hangs would, and says
    /// when.
    ///
    /// # Errors
    /// That it does not run.
    pub fn freeze(&mut self, id: u64) -> Result<u64, String> {
        let at_us = now_us();
        let pid = self.pid(id)?;
        send(pid, libc::SIGSTOP);
        // Only now, as a node that is stopped starts no more of them.
        for child in children(pid) {
            send(child, libc::SIGSTOP);
        }
        Ok(at_us)
    }

    /// Lets a frozen node and its encoders go on, and says when.
    ///
    /// # Errors
    /// That it does not run any more.
    pub fn thaw(&mut self, id: u64) -> Result<u64, String> {
        let pid = self.pid(id)?;
        for child in children(pid) {
            send(child, libc::SIGCONT);
        }
        let at_us = now_us();
        send(pid, libc::SIGCONT);
        Ok(at_us)
    }

    /// A client that knows this node alone and runs where the node does.
    pub fn cli_at(&self, id: u64, args: &[&str]) -> Command {
        let place = &self.nodes[&id].place;
        self.client(&place.wrap, &place.listen, args)
    }

    fn client(&self, wrap: &[String], endpoints: &str, args: &[&str]) -> Command {
        let mut command = wrapped(wrap);
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", endpoints)
            .env("REELRAFT_SECRET", &self.common.secret)
            .stdin(Stdio::null());
        end_with_this_process(&mut command);
        command
    }

    /// What the nodes log, from the beginning.
    pub fn record(&self) -> Record {
        let logs = self.ids().into_iter().map(|id| (id, self.log_of(id)));
        Record::of_nodes(logs.collect())
    }

    /// Where a node's output goes, from its first start on.
    pub fn log_of(&self, id: u64) -> PathBuf {
        self.folder.join(format!("node-{id}.log"))
    }
}

impl Asked for Fleet {
    fn cli(&self, args: &[&str]) -> Command {
        let endpoints = self.endpoints().join(",");
        self.client(&self.common.client_wrap, &endpoints, args)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self
            .nodes
            .values_mut()
            .filter_map(|node| node.child.as_mut())
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program under test, behind the words that put it in its place.
fn wrapped(wrap: &[String]) -> Command {
    match wrap.split_first() {
        None => Command::new(binary()),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary());
            command
        }
    }
}

/// Has a child killed when the thread that starts it ends: an experiment that
/// is interrupted leaves nothing behind. Children must therefore be started by
/// the main thread.
fn end_with_this_process(command: &mut Command) {
    // SAFETY: runs between fork and exec, where prctl with plain numbers is a
    // bare system call: it takes no lock and no memory.
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

fn send(pid: i32, signal: libc::c_int) {
    // SAFETY: kill takes plain numbers; the process is our own child, not yet
    // waited for, or a child of that one.
    unsafe { libc::kill(pid, signal) };
}

/// The processes that a process has started and not yet waited for.
fn children(pid: i32) -> Vec<i32> {
    let mut all = all_pids();
    all.retain(|&child| parent_of(child) == Some(pid));
    all
}
