//! Small jobs under request ids, submitted before, during and after a fault.
//! What was acknowledged must be there at the end, once, and done (P2, P5);
//! and what must be refused is refused in time and with a reason (P10).

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cli_client::{CliClient, EXIT_UNREACHABLE},
    process_cluster::ProcessCluster,
    workload::make_probe_clip,
};

/// How the small jobs are encoded.
const SPEC: [&str; 4] = ["--preset", "ultrafast", "--tenant", "requests"];

/// How long a client may look for a node that accepts its request before it is
/// ended: as long as the fault, and some elections.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(30);

/// How long a refusal may take before the client is ended and counts as
/// hanging. What it should take is the experiment's to say.
const HANG: Duration = Duration::from_secs(5);

/// How long the small jobs may take to be done in the end.
const DONE_PATIENCE: &str = "10m";

/// How often a client is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// All requests so far.
pub struct Requests {
    clip: String,
    acknowledged: BTreeSet<String>,
}

/// A client at work, and its request id.
pub struct PendingRequest {
    id: String,
    client: Child,
}

impl Requests {
    /// Makes the clip of the small jobs.
    ///
    /// # Errors
    /// If ffmpeg fails.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let clip = folder.join("request.mp4");
        make_probe_clip(&clip, 2)?;
        Ok(Requests {
            clip: clip.display().to_string(),
            acknowledged: BTreeSet::new(),
        })
    }

    fn args<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let args = ["job", "submit", &self.clip, "--detach", "--request-id", id];
        [&args[..], &SPEC].concat()
    }

    /// Submits a job, which the cluster must accept.
    ///
    /// # Errors
    /// If it does not.
    pub fn submit(&mut self, cluster: &ProcessCluster, id: &str) -> Result<(), String> {
        cluster.try_run(&self.args(id))?;
        self.acknowledged.insert(id.to_string());
        Ok(())
    }

    /// Submits a job and does not wait for the answer.
    ///
    /// # Errors
    /// If the client can't be started.
    pub fn start(&self, cluster: &ProcessCluster, id: &str) -> Result<PendingRequest, String> {
        let mut client = cluster.cli(&self.args(id));
        let client = client.stdout(Stdio::null()).stderr(Stdio::null());
        let client = client.spawn().map_err(|error| error.to_string())?;
        let id = id.to_string();
        Ok(PendingRequest { id, client })
    }

    /// Waits for the answer, and submits again under the same id if there was
    /// none. Returns whether the first try was accepted.
    ///
    /// # Errors
    /// If the second was not.
    pub fn finish(
        &mut self,
        cluster: &ProcessCluster,
        mut pending: PendingRequest,
    ) -> Result<bool, String> {
        let accepted = wait(&mut pending.client, ACCEPT_PATIENCE)? == Some(0);
        if !accepted {
            self.submit(cluster, &pending.id)?;
        }
        self.acknowledged.insert(pending.id);
        Ok(accepted)
    }

    /// Submits a job to one node, which must refuse it.
    ///
    /// # Errors
    /// If the client can't be started.
    pub fn submit_in_vain(
        &self,
        cluster: &ProcessCluster,
        node: u64,
        id: &str,
    ) -> Result<Refusal, String> {
        Refusal::of(cluster.cli_at(node, &self.args(id)))
    }

    /// Everything that was acknowledged must be there, as one job each, be
    /// done, and have the same output. Returns what is not so.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn check_all(&self, cluster: &ProcessCluster) -> Result<Vec<String>, String> {
        let mut broken = self.wait_for_all(cluster)?;
        let jobs = cluster.jobs()?;
        let mut outputs = BTreeSet::new();
        for request in &self.acknowledged {
            let mine: Vec<_> = jobs
                .iter()
                .filter(|job| job["request_id"] == **request)
                .collect();
            if mine.len() != 1 {
                broken.push(format!("{} jobs for request {request}", mine.len()));
            }
            outputs.extend(mine.iter().map(|job| job["output_hash"].to_string()));
        }
        if outputs.len() > 1 {
            broken.push(format!("one request made different files: {outputs:?}"));
        }
        println!(
            "{} requests acknowledged, {} broken, {} distinct outputs",
            self.acknowledged.len(),
            broken.len(),
            outputs.len()
        );
        Ok(broken)
    }

    /// Waits for the acknowledged jobs; how they failed.
    fn wait_for_all(&self, cluster: &ProcessCluster) -> Result<Vec<String>, String> {
        let mut failed = Vec::new();
        let jobs = cluster.jobs()?;
        for job in jobs.iter().filter(|job| job["tenant"] == "requests") {
            let id = job["id"].as_str().unwrap_or_default();
            let request = job["request_id"].as_str().unwrap_or_default();
            // A refused one may be there too, without its source.
            if self.acknowledged.contains(request)
                && let Err(error) =
                    cluster.try_run(&["job", "wait", id, "--timeout", DONE_PATIENCE])
            {
                failed.push(format!("request {request}: {error}"));
            }
        }
        Ok(failed)
    }
}

/// How a node answered what it must refuse.
pub struct Refusal {
    pub took_ms: u64,
    /// `None` if it hung.
    code: Option<i32>,
    message: String,
}

impl Refusal {
    /// Runs a client and measures its answer.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn of(mut client: Command) -> Result<Self, String> {
        let started = Instant::now();
        let client = client.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = client.spawn().map_err(|error| error.to_string())?;
        let code = wait(&mut client, HANG)?;
        let took_ms = started.elapsed().as_millis() as u64;
        let mut message = String::new();
        if let Some(mut pipe) = client.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut pipe, &mut message);
        }
        Ok(Refusal {
            took_ms,
            code,
            message,
        })
    }

    /// What is wrong with it, if anything: it must come in time, with the exit
    /// code for it, and with a cause and a hint.
    pub fn problem(&self, ms_max: u64) -> Option<String> {
        let message = self.message.trim();
        if self.code.is_none() {
            Some(format!("hung for {} ms", self.took_ms))
        } else if self.code == Some(0) {
            Some("was answered though it was cut off".to_string())
        } else if self.code != Some(EXIT_UNREACHABLE) {
            Some(format!("ended with code {:?}: {message}", self.code))
        } else if !message.contains("error: ") || !message.contains("hint: ") {
            Some(format!("was refused without a reason: {message}"))
        } else if self.took_ms > ms_max {
            Some(format!("was refused after {} ms of {ms_max}", self.took_ms))
        } else {
            None
        }
    }
}

/// A client's exit code; `None` if it had to be ended.
fn wait(client: &mut Child, patience: Duration) -> Result<Option<i32>, String> {
    let started = Instant::now();
    loop {
        if let Some(status) = client.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.code());
        }
        if started.elapsed() > patience {
            let _ = client.kill();
            let _ = client.wait();
            return Ok(None);
        }
        sleep(LOOK_EVERY);
    }
}
