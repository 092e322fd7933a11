//! Driving a cluster as a user would: the CLI, its JSON, and waiting for a
//! leader. How the cluster was started does not matter here.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::LocalCluster;
use serde_json::Value;

/// How often an answer that may change is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long a missing leader is waited for before that is an error.
const LEADER_PATIENCE: Duration = Duration::from_secs(30);

/// Exit code of a client that found no leader, or no node, in time.
pub const EXIT_UNREACHABLE: i32 = 3;

/// A cluster that commands of the CLI can be run against.
pub trait CliClient {
    /// The CLI with these arguments, aimed at this cluster.
    fn cli(&self, args: &[&str]) -> Command;

    /// What a command prints. If it finds no leader it is repeated for a while:
    /// the CLI itself gives up after seconds, and an election on a busy machine
    /// is no reason to end an experiment.
    ///
    /// # Errors
    /// Its exit code and error message, if it does not succeed.
    fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let started = Instant::now();
        loop {
            let output = self.cli(args).output().map_err(|error| error.to_string())?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            let leaderless = output.status.code() == Some(EXIT_UNREACHABLE);
            if !leaderless || started.elapsed() > LEADER_PATIENCE {
                let error = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{args:?}: {} {error}", output.status));
            }
            sleep(ASK_EVERY);
        }
    }

    /// The JSON document that a command prints.
    ///
    /// # Errors
    /// As [`CliClient::try_run`], or if it prints no JSON.
    fn try_json(&self, args: &[&str]) -> Result<Value, String> {
        let text = self.try_run(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| format!("{args:?}: {error}"))
    }

    /// Submits a file and does not wait for the job; the job's id.
    ///
    /// # Errors
    /// As [`CliClient::try_json`].
    fn submit(&self, file: &str, spec: &[&str]) -> Result<String, String> {
        let submitted = self.try_json(&[&["job", "submit", file, "--detach"], spec].concat())?;
        submitted["job"]["id"]
            .as_str()
            .map(str::to_string)
            .ok_or(format!("no job id in {submitted}"))
    }

    /// All jobs of all tenants.
    ///
    /// # Errors
    /// As [`CliClient::try_json`].
    fn jobs(&self) -> Result<Vec<Value>, String> {
        let list = self.try_json(&["job", "list", "--all"])?;
        Ok(list["jobs"].as_array().cloned().unwrap_or_default())
    }

    /// The nodes that have something to do, as the leader sees them; none if
    /// nobody answers.
    fn busy_nodes(&self) -> usize {
        let status = self.try_json(&["cluster", "status"]).unwrap_or_default();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let is_busy = |node: &&Value| node["slots_busy"].as_u64().unwrap_or(0) > 0;
        nodes.iter().filter(is_busy).count()
    }

    /// Waits until there is a leader that hears at least `count` nodes; the
    /// leader's id.
    ///
    /// # Errors
    /// If there was none in time.
    fn wait_for_nodes(&self, count: usize, patience: Duration) -> Result<u64, String> {
        let started = Instant::now();
        while started.elapsed() < patience {
            let status = self.try_json(&["cluster", "status"]).unwrap_or_default();
            let leader = status["leader_id"].as_u64().unwrap_or(0);
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let starting = |node: &Value| {
                let trouble = node["trouble"].as_str().unwrap_or_default();
                trouble.contains("still being tried")
            };
            let heard = nodes.iter().filter(|node| node["reachable"] == true);
            let heard = heard.filter(|node| !starting(node));
            if leader != 0 && heard.count() >= count {
                return Ok(leader);
            }
            sleep(ASK_EVERY);
        }
        Err(format!(
            "no leader with {count} nodes after {} s",
            patience.as_secs()
        ))
    }
}

impl CliClient for LocalCluster {
    fn cli(&self, args: &[&str]) -> Command {
        LocalCluster::cli(self, args)
    }
}
