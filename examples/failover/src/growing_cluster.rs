//! A cluster that is founded by one node and grows by tokens, as a user's does. Each
//! machine is a process of its own with a data folder that can be lost; which node it
//! is, the cluster says. Where its founder was told to speak by TLS, the newcomers'
//! tokens say so to them. All of them end with the experiment, however it ends.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{binary, free_ports};
use reelraft_model::{State, check::check};
use reelraft_storage::{Storage, known_identity};
use serde_json::Value;

use crate::{
    cli_client::CliClient,
    process_cluster::{end_with_this_process, signal},
};

/// Machines that there may be at once: each has a port of its own.
const MACHINES_MAX: u16 = 16;

/// How often something that is about to change is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a machine that was told to stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How long a node may take until it has heard of all others, on a busy machine.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

/// Seconds after which a silent voter is replaced, and the copies of a silent home: the
/// shortest that a node takes.
const SHORT_PATIENCE_S: &str = "8";

/// What the founder logs when its cluster has an authority of its own alone.
const FOUNDED: &str = "all nodes have certificates of the cluster's own authority";

struct Machine {
    listen: String,
    data: PathBuf,
    /// How it is started where its disk is empty.
    joins: Option<(String, String)>,
    child: Option<Child>,
}

/// The machines, by numbers that are never given again.
pub struct GrowingCluster {
    folder: PathBuf,
    slots: u32,
    base_port: u16,
    tls: bool,
    machines: BTreeMap<u16, Machine>,
}

impl GrowingCluster {
    /// Founds a cluster of one, without TLS.
    ///
    /// # Errors
    /// If the process can't be started, or does not serve in time.
    pub fn found(folder: &Path, slots: u32, patience: Duration) -> Result<Self, String> {
        Self::found_with(folder, slots, false, patience)
    }

    /// Founds a cluster of one that makes its own certificates.
    ///
    /// # Errors
    /// As [`GrowingCluster::found`], or if it has no authority of its own in time.
    pub fn found_with_tls(folder: &Path, slots: u32, patience: Duration) -> Result<Self, String> {
        let cluster = Self::found_with(folder, slots, true, patience)?;
        let begun = Instant::now();
        loop {
            // Before there are two the only one is that of the founding, which goes again.
            let founded = cluster.log_text(1).contains(FOUNDED);
            let known = cluster
                .try_json(&["cluster", "cert", "show"])
                .unwrap_or_default();
            let two = known["former_authority_sha256"].is_string();
            if two || (founded && known["authority_sha256"].is_string()) {
                cluster.keep_authority()?;
                return Ok(cluster);
            }
            if begun.elapsed() > patience {
                return Err(format!("the cluster has no authority of its own: {known}"));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn found_with(
        folder: &Path,
        slots: u32,
        tls: bool,
        patience: Duration,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mut cluster = GrowingCluster {
            folder: folder.to_path_buf(),
            slots,
            base_port: free_ports(MACHINES_MAX),
            tls,
            machines: BTreeMap::new(),
        };
        cluster.add_machine(None)?;
        cluster.wait_for_nodes(1, patience)?;
        Ok(cluster)
    }

    /// Whether its nodes and clients speak by TLS.
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// What the clients know the nodes by, as they were given it last.
    fn authority_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Gives the clients the authorities that are trusted now, as an operator does.
    ///
    /// # Errors
    /// As [`CliClient::try_run`], or if the file can't be written.
    pub fn keep_authority(&self) -> Result<(), String> {
        let authorities = self.try_run(&["cluster", "cert", "ca"])?;
        let file = self.authority_file();
        std::fs::write(file, authorities).map_err(|error| error.to_string())
    }

    /// What a client knows the nodes by: before it was given anything, the founder's
    /// own file.
    fn known_by(&self) -> PathBuf {
        let given = self.authority_file();
        match (given.exists(), self.machines.values().next()) {
            (false, Some(founder)) => founder.data.join("tls/ca.pem"),
            _ => given,
        }
    }

    fn add_machine(&mut self, joins: Option<(String, String)>) -> Result<u16, String> {
        // Its place may be that of one that is gone.
        let number = (1..).find(|number| !self.machines.contains_key(number));
        let number = number.filter(|number| *number <= MACHINES_MAX);
        let number = number.ok_or("there are no more ports")?;
        let machine = Machine {
            listen: format!("127.0.0.1:{}", self.base_port + number - 1),
            data: self.folder.join(format!("machine-{number}")),
            joins,
            child: None,
        };
        // A data folder that was left by another one is none of its own.
        let _ = std::fs::remove_dir_all(&machine.data);
        self.machines.insert(number, machine);
        self.start(number)?;
        Ok(number)
    }

    /// Lets another machine in; its number.
    ///
    /// # Errors
    /// If there is no token, or the process can't be started.
    pub fn join(&mut self) -> Result<u16, String> {
        let joins = self.invitation()?;
        self.add_machine(Some(joins))
    }

    /// Where to ask, and the token to show.
    fn invitation(&self) -> Result<(String, String), String> {
        let made = self.try_json(&["cluster", "token", "create"])?;
        let text = |field: &str| made[field].as_str().map(str::to_string);
        text("address")
            .zip(text("token"))
            .ok_or(format!("no token in {made}"))
    }

    /// Empties the disk of a machine that is down, and lets it in again as a newcomer.
    ///
    /// # Errors
    /// As [`GrowingCluster::join`].
    pub fn rejoin_wiped(&mut self, number: u16) -> Result<(), String> {
        let joins = self.invitation()?;
        let machine = self.machine(number)?;
        std::fs::remove_dir_all(&machine.data).map_err(|error| error.to_string())?;
        machine.joins = Some(joins);
        self.start(number)
    }

    fn machine(&mut self, number: u16) -> Result<&mut Machine, String> {
        let machine = self.machines.get_mut(&number);
        machine.ok_or(format!("there is no machine {number}"))
    }

    /// Starts a machine that is down.
    ///
    /// # Errors
    /// If the process can't be started.
    pub fn start(&mut self, number: u16) -> Result<(), String> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file(number))
            .map_err(|error| error.to_string())?;
        let (slots, tls) = (self.slots.to_string(), self.tls);
        let machine = self.machine(number)?;
        let mut command = Command::new(binary());
        command
            .args(["node", "--listen", &machine.listen, "--slots", &slots])
            .args(["--replace-voter-after", SHORT_PATIENCE_S])
            .args(["--rehome-after", SHORT_PATIENCE_S])
            .arg("--data")
            .arg(&machine.data)
            .env("REELRAFT_REUSE_OUTPUTS", "false")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        match &machine.joins {
            Some((address, token)) => command.args(["--join", address, "--token", token]),
            None => command.args(["--tls", if tls { "true" } else { "false" }]),
        };
        end_with_this_process(&mut command);
        machine.child = Some(command.spawn().map_err(|error| error.to_string())?);
        Ok(())
    }

    fn log_file(&self, number: u16) -> PathBuf {
        self.folder.join(format!("machine-{number}.log"))
    }

    /// All that a machine has printed.
    pub fn log_text(&self, number: u16) -> String {
        let bytes = std::fs::read(self.log_file(number)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Machines whose process runs.
    pub fn running(&mut self) -> Vec<u16> {
        let machines = self.machines.iter_mut();
        let runs = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        let running = machines.filter_map(|(number, machine)| {
            let running = machine.child.as_mut().is_some_and(runs);
            running.then_some(*number)
        });
        running.collect()
    }

    /// The node that a machine is, once it is one.
    pub fn node_of(&self, number: u16) -> Option<u64> {
        let machine = self.machines.get(&number)?;
        let identity = known_identity(&machine.data).ok()?;
        identity.map(|identity| identity.node)
    }

    /// The machine that a node is.
    pub fn machine_of(&self, node: u64) -> Option<u16> {
        let mut numbers = self.machines.keys();
        numbers
            .find(|number| self.node_of(**number) == Some(node))
            .copied()
    }

    /// Kills a machine's process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, number: u16) -> Result<(), String> {
        let child = self.machine(number)?.child.take();
        let mut child = child.ok_or(format!("machine {number} does not run"))?;
        child.kill().map_err(|error| error.to_string())?;
        child.wait().map(drop).map_err(|error| error.to_string())
    }

    /// Has a machine's process stop (SIGTERM).
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub fn stop(&mut self, number: u16) -> Result<(), String> {
        let child = self.machine(number)?.child.as_ref();
        let pid = child.ok_or(format!("machine {number} does not run"))?.id();
        signal(pid as i32, libc::SIGTERM);
        self.await_end(number)
    }

    /// Waits until a machine's process has ended.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn await_end(&mut self, number: u16) -> Result<(), String> {
        let started = Instant::now();
        while self.running().contains(&number) {
            if started.elapsed() > STOP_PATIENCE {
                return Err(format!("machine {number} does not end"));
            }
            sleep(LOOK_EVERY);
        }
        self.machine(number)?.child = None;
        Ok(())
    }

    /// Forgets a machine whose process has ended.
    pub fn forget(&mut self, number: u16) {
        self.machines.remove(&number);
    }

    /// The nodes as the leader sees them; none where nobody answers.
    pub fn nodes(&self) -> Vec<Value> {
        let nodes = self.try_json(&["cluster", "nodes"]).unwrap_or_default();
        nodes["nodes"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until so many nodes vote, and all members live.
    ///
    /// # Errors
    /// What there is instead, if it takes too long.
    pub fn await_voters(&self, count: usize, patience: Duration) -> Result<(), String> {
        self.await_nodes(patience, &format!("{count} voters"), |nodes| {
            let votes = |node: &&Value| node["role"] != "learner";
            nodes.iter().filter(votes).count() == count
        })
    }

    /// Waits until the nodes are as they should be.
    ///
    /// # Errors
    /// What there is instead, if it takes too long.
    pub fn await_nodes(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let nodes = self.nodes();
            if !nodes.is_empty() && wanted(&nodes) {
                return Ok(());
            }
            if started.elapsed() > patience {
                let shown = self.try_run(&["cluster", "nodes"]).unwrap_or_default();
                return Err(format!(
                    "no {what} after {} s:\n{shown}",
                    patience.as_secs()
                ));
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Runs a command that the node which is asked refuses as long as it has not heard of
    /// all others: each hears of them from the leader, one a little later than another.
    ///
    /// # Errors
    /// Its refusal, if that stays.
    pub fn ask_until_heard(&self, args: &[&str]) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match self.try_run(args) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > HEARD_WITHIN => return Err(error),
                Err(_) => sleep(LOOK_EVERY),
            }
        }
    }

    /// Drains a node, removes it, and waits until its process has ended by itself.
    ///
    /// # Errors
    /// If one of that does not happen in time.
    pub fn shrink(&mut self, node: u64, patience: Duration) -> Result<(), String> {
        let id = node.to_string();
        self.ask_until_heard(&["cluster", "drain", &id])?;
        self.await_nodes(patience, &format!("drained node {node}"), |nodes| {
            let drained = |it: &Value| {
                let note = it["note"].as_str().unwrap_or_default();
                it["id"] == node && note.contains("is drained")
            };
            nodes.iter().any(drained)
        })?;
        self.ask_until_heard(&["cluster", "remove", &id])?;
        let number = self.machine_of(node).ok_or("no machine is this node")?;
        self.await_end(number)?;
        let log = self.log_text(number);
        if !log.contains("was removed from the cluster") {
            return Err(format!(
                "node {node} ended without saying that it was removed"
            ));
        }
        self.forget(number);
        Ok(())
    }

    /// What is wrong with the table of a machine that is down.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn check_table(&self, number: u16) -> Result<Vec<String>, String> {
        let machine = &self.machines[&number];
        let node = self.node_of(number).ok_or("it is no node")?;
        let storage = Storage::open(&machine.data, "", node).map_err(|error| error.to_string())?;
        let state = State::from_rows(storage.rows).map_err(|error| error.to_string())?;
        let found = check(&state).into_iter();
        Ok(found.map(|violation| violation.0).collect())
    }
}

impl CliClient for GrowingCluster {
    fn cli(&self, args: &[&str]) -> Command {
        let up = self.machines.values();
        let up = up.filter(|machine| machine.child.is_some());
        let endpoints: Vec<&str> = up.map(|machine| machine.listen.as_str()).collect();
        let mut command = Command::new(binary());
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", endpoints.join(","))
            .stdin(Stdio::null());
        if self.tls {
            command.env("REELRAFT_CA", self.known_by());
        }
        end_with_this_process(&mut command);
        command
    }
}

impl Drop for GrowingCluster {
    fn drop(&mut self) {
        let machines = self.machines.values_mut();
        for child in machines.filter_map(|machine| machine.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
