//! Rotations of a growing cluster's keys, and of the authority that signs them, done as
//! docs/certificates.md has an operator do it. A rotation has ended when it has reached
//! every node, and nobody is known by what was put out of use.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{cli_client::CliClient, growing_cluster::GrowingCluster};

/// How often the certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The command that shows them.
const SHOW: [&str; 3] = ["cluster", "cert", "show"];

/// What is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The keys and certificates of all nodes.
    Keys,
    /// The authority that signs them.
    Authority,
}

/// A rotation that has begun.
pub struct Rotation {
    what: Rotated,
    /// The certificates as they were.
    before: Value,
}

impl Rotation {
    /// Begins one, once there is one authority alone.
    ///
    /// # Errors
    /// As [`CliClient::try_run`], or if there are two for long.
    pub fn begin(
        cluster: &GrowingCluster,
        what: Rotated,
        patience: Duration,
    ) -> Result<Self, String> {
        // That of the founding goes by itself.
        until(cluster, patience, "single authority", |now| {
            now["former_authority_sha256"].is_null()
        })?;
        let before = cluster.try_json(&SHOW)?;
        let command = match what {
            Rotated::Keys => "rotate",
            Rotated::Authority => "rotate-ca",
        };
        cluster.try_run(&["cluster", "cert", command])?;
        Ok(Rotation { what, before })
    }

    /// Waits until it has reached all nodes; puts the former authority out of use where
    /// there is another.
    ///
    /// # Errors
    /// What did not come to be in time.
    pub fn end(
        self,
        cluster: &GrowingCluster,
        nodes: usize,
        patience: Duration,
    ) -> Result<(), String> {
        let good = |now: &Value| self.has_reached(now, nodes);
        until(cluster, patience, "certificates of all nodes", good)?;
        if self.what == Rotated::Keys {
            return Ok(());
        }
        cluster.keep_authority()?;
        until(cluster, patience, "end of the former authority", |now| {
            let finish = ["cluster", "cert", "rotate-ca", "--finish"];
            // Refused while the node that is asked has not heard of all certificates.
            now["former_authority_sha256"].is_null() || {
                let _ = cluster.try_run(&finish);
                false
            }
        })?;
        cluster.keep_authority()?;
        let former = &self.before["authority_sha256"];
        let former = former.as_str().ok_or("there was no authority")?;
        until_refused(cluster, former, patience)
    }

    /// Whether every node has a certificate that it did not have before, of the
    /// authority that signs now.
    fn has_reached(&self, now: &Value, nodes: usize) -> bool {
        let authority = &now["authority_sha256"];
        if self.what == Rotated::Authority && *authority == self.before["authority_sha256"] {
            return false;
        }
        let before = certificates(&self.before);
        let is_new = |it: &Value| before.iter().all(|old| old["sha256"] != it["sha256"]);
        let certificates = certificates(now);
        let good = |it: &Value| {
            it["renewed"] == true && it["authority_sha256"] == *authority && is_new(it)
        };
        certificates.len() >= nodes && certificates.iter().all(good)
    }
}

fn certificates(shown: &Value) -> Vec<Value> {
    shown["certificates"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn until(
    cluster: &GrowingCluster,
    patience: Duration,
    what: &str,
    mut good: impl FnMut(&Value) -> bool,
) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let now = cluster.try_json(&SHOW).unwrap_or_default();
        if now["authority_sha256"].is_string() && good(&now) {
            return Ok(());
        }
        if begun.elapsed() > patience {
            return Err(format!("no {what} after {} s: {now}", patience.as_secs()));
        }
        sleep(LOOK_EVERY);
    }
}

/// Waits until no node is known by an authority any more.
fn until_refused(
    cluster: &GrowingCluster,
    authority_sha256: &str,
    patience: Duration,
) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut client = cluster.cli(&["cluster", "status"]);
        client.env("REELRAFT_CA", format!("sha256:{authority_sha256}"));
        let answer = client.output().map_err(|error| error.to_string())?;
        if String::from_utf8_lossy(&answer.stderr).contains("wrong-certificate") {
            return Ok(());
        }
        if begun.elapsed() > patience {
            return Err("nodes are known by an authority that was put out of use".into());
        }
        sleep(LOOK_EVERY);
    }
}
