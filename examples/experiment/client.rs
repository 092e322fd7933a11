//! Asking a cluster as a user would: the CLI, its JSON, and waiting until a
//! leader is there. How the cluster was started does not matter here.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use reelraft_harness::LocalCluster;

/// How often an answer that may change is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long a leader is looked for before that is an error.
const LEADER_PATIENCE: Duration = Duration::from_secs(30);

/// Exit code of a client that found no leader, or no node, in time.
pub const EXIT_UNREACHABLE: i32 = 3;

/// A cluster that can be asked.
pub trait Asked {
    /// The CLI with these arguments, aimed at this cluster.
    fn cli(&self, args: &[&str]) -> Command;

    /// What a command prints. Where no leader is found it is asked again for a
    /// while: the CLI itself gives up after seconds, and an election on a busy
    /// machine is no reason to end an experiment.
    ///
    /// # Errors
    /// Its exit code and what it said, where it does not succeed.
    fn say(&self, args: &[&str]) -> Result<String, String> {
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

    /// The JSON document of a command.
    ///
    /// # Errors
    /// As [`Asked::say`], or that it printed no JSON.
    fn document(&self, args: &[&str]) -> Result<Value, String> {
        let text = self.say(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| format!("{args:?}: {error}"))
    }

    /// Submits a file, to be made in the background; the job's id.
    ///
    /// # Errors
    /// As [`Asked::document`].
    fn submit(&self, file: &str, spec: &[&str]) -> Result<String, String> {
        let submitted = self.document(&[&["job", "submit", file, "--detach"], spec].concat())?;
        submitted["job"]["id"]
            .as_str()
            .map(str::to_string)
            .ok_or(format!("no job id in {submitted}"))
    }

    /// All jobs of all tenants.
    ///
    /// # Errors
    /// As [`Asked::document`].
    fn jobs(&self) -> Result<Vec<Value>, String> {
        let list = self.document(&["job", "list", "--all"])?;
        Ok(list["jobs"].as_array().cloned().unwrap_or_default())
    }

    /// The nodes as the leader sees them; empty where nobody answers.
    fn nodes(&self) -> Vec<Value> {
        let status = self.document(&["cluster", "status"]).unwrap_or_default();
        status["nodes"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until there is a leader that hears at least `count` nodes.
    ///
    /// # Errors
    /// That there was none in time.
    fn await_nodes(&self, count: usize, patience: Duration) -> Result<u64, String> {
        let started = Instant::now();
        while started.elapsed() < patience {
            let status = self.document(&["cluster", "status"]).unwrap_or_default();
            let leader = status["leader_id"].as_u64().unwrap_or(0);
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let heard = nodes.iter().filter(|node| node["reachable"] == true);
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

impl Asked for LocalCluster {
    fn cli(&self, args: &[&str]) -> Command {
        LocalCluster::cli(self, args)
    }
}
