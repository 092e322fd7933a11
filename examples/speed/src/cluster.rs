//! A fresh cluster and what a job takes in it. Each measurement has one of its
//! own: what a cluster remembers of former jobs would count for later ones.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient,
    clock::now_us,
    events::{Attempt, AttemptEnd},
    network::Network,
    process_cluster::{ClusterSpec, NodeSpec, ProcessCluster},
    report::write_timeline,
    timeline_svg::Timeline,
};
use serde_json::Value;

use crate::cost::{Cost, cpu_ms_of, timed};

/// How long a cluster may take to come up on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// How often it is asked whether all jobs are done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The states of jobs that have not ended.
const OPEN: &str = "uploading,analyzing,encoding,assembling";

/// A node logs the start of each child at this level.
const LOG: &str = "info,reelraft_media::process=debug";

/// What a node logs of each child that it starts.
const CHILD: &str = "a child starts";

/// What a job took.
pub struct Done {
    /// Of the nodes and all that they have started; the wall time is the
    /// client's, from its start to its end.
    pub nodes: Cost,
    /// CPU time of the client.
    pub client_ms: f64,
}

/// A cluster with nothing behind it.
pub struct Cluster {
    nodes: ProcessCluster,
    pids: Vec<i32>,
    begun_us: u64,
}

impl Cluster {
    /// Starts nodes, each behind its own words, and waits until they take work.
    ///
    /// # Errors
    /// If they don't come up.
    pub fn start(folder: &Path, slots: u32, prefixes: &[Vec<String>]) -> Result<Self, String> {
        Self::start_with(
            folder,
            slots,
            prefixes,
            &[("REELRAFT_REUSE_OUTPUTS", "false")],
        )
    }

    /// The same, with these settings.
    fn start_with(
        folder: &Path,
        slots: u32,
        prefixes: &[Vec<String>],
        settings: &[(&str, &str)],
    ) -> Result<Self, String> {
        let count = prefixes.len() as u16;
        let mut specs = NodeSpec::on_loopback(folder, count);
        for (spec, prefix) in specs.iter_mut().zip(prefixes) {
            spec.command_prefix = prefix.clone();
            spec.environment.push(("RUST_LOG".into(), LOG.into()));
            let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
            spec.environment.extend(settings.iter().map(owned));
        }
        let shared = ClusterSpec {
            slots,
            ..Default::default()
        };
        let mut nodes = ProcessCluster::start(folder, specs, shared)?;
        nodes.wait_for_nodes(count.into(), START_PATIENCE)?;
        let pids = nodes.ids().into_iter().map(|id| nodes.pid(id));
        Ok(Cluster {
            pids: pids.collect::<Result<_, _>>()?,
            nodes,
            begun_us: now_us(),
        })
    }

    /// Three nodes with a slot each.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn of_three(folder: &Path) -> Result<Self, String> {
        Self::start(folder, 1, &vec![Vec::new(); 3])
    }

    /// The same, in which equal jobs share their output.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn that_remembers(folder: &Path) -> Result<Self, String> {
        let reuses = [("REELRAFT_REUSE_OUTPUTS", "true")];
        Self::start_with(folder, 1, &vec![Vec::new(); 3], &reuses)
    }

    /// Three nodes with a slot each, that speak by TLS or without.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn with_tls(folder: &Path, tls: bool) -> Result<Self, String> {
        let settings = [
            ("REELRAFT_REUSE_OUTPUTS", "false"),
            ("REELRAFT_PEER_SECRET", "of-nodes-that-are-measured"),
            ("REELRAFT_TLS", if tls { "true" } else { "false" }),
        ];
        Self::start_with(folder, 1, &vec![Vec::new(); 3], &settings)
    }

    /// Nodes with a slot each, each on a machine of its own in a network of namespaces
    /// that exists.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn in_network(folder: &Path, nodes: u16) -> Result<Self, String> {
        let node = |id: u64| NodeSpec {
            listen: Network::address(id),
            data: folder.join(format!("node-{id}")),
            command_prefix: Network::host_prefix(id),
            environment: vec![("REELRAFT_REUSE_OUTPUTS".into(), "false".into())],
        };
        let shared = ClusterSpec {
            slots: 1,
            // Beyond loopback nodes need one.
            secret: "of-nodes-that-are-measured".into(),
            client_prefix: Network::clients_prefix(),
            node_args: Vec::new(),
        };
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let cluster =
            ProcessCluster::start(folder, (1..=nodes.into()).map(node).collect(), shared)?;
        cluster.wait_for_nodes(nodes.into(), START_PATIENCE)?;
        Ok(Cluster {
            nodes: cluster,
            pids: Vec::new(),
            begun_us: now_us(),
        })
    }

    /// Runs `reelraft transcode`; what it took.
    ///
    /// # Errors
    /// If it fails.
    pub fn transcode(&self, spec: &[String], source: &Path, out: &Path) -> Result<Done, String> {
        self.transcode_by(&self.nodes.endpoints().join(","), spec, source, out)
    }

    /// Where the first node listens.
    pub fn endpoint(&self) -> &str {
        self.nodes.endpoint(1)
    }

    /// The same by way of these endpoints.
    ///
    /// # Errors
    /// If it fails.
    pub fn transcode_by(
        &self,
        endpoints: &str,
        spec: &[String],
        source: &Path,
        out: &Path,
    ) -> Result<Done, String> {
        let cpu_ms = || self.pids.iter().map(|&pid| cpu_ms_of(pid)).sum::<f64>();
        let before_ms = cpu_ms();
        let mut client = self.nodes.cli(&["transcode", "--overwrite"]);
        client.env("REELRAFT_ENDPOINTS", endpoints);
        client.args(spec).args([source, out]);
        client.stdout(Stdio::null()).stderr(Stdio::null());
        let client = timed(&mut client)?;
        Ok(Done {
            nodes: Cost {
                cpu_ms: cpu_ms() - before_ms,
                wall_ms: client.wall_ms,
            },
            client_ms: client.cpu_ms,
        })
    }

    /// Uploads a source; what that took, the client included.
    ///
    /// # Errors
    /// If it fails.
    pub fn upload(&self, source: &Path) -> Result<Cost, String> {
        let cpu_ms = || self.pids.iter().map(|&pid| cpu_ms_of(pid)).sum::<f64>();
        let before_ms = cpu_ms();
        let mut client = self.nodes.cli(&["job", "submit", "--detach"]);
        client.arg(source);
        client.stdout(Stdio::null()).stderr(Stdio::null());
        let client = timed(&mut client)?;
        Ok(Cost {
            cpu_ms: client.cpu_ms + cpu_ms() - before_ms,
            ..client
        })
    }

    /// Has the cluster do one job for each source, all at once; what that took.
    ///
    /// # Errors
    /// If one can't be submitted, or fails.
    pub fn all_at_once(&self, spec: &[String], sources: &[PathBuf]) -> Result<Done, String> {
        let cpu_ms = || self.pids.iter().map(|&pid| cpu_ms_of(pid)).sum::<f64>();
        let (before_ms, started) = (cpu_ms(), Instant::now());
        let mut client_ms = 0.0;
        for source in sources {
            let mut client = self.nodes.cli(&["job", "submit", "--detach"]);
            client.args(spec).arg(source);
            client.stdout(Stdio::null()).stderr(Stdio::null());
            client_ms += timed(&mut client)?.cpu_ms;
        }
        while self.are_any(OPEN)? {
            sleep(LOOK_EVERY);
        }
        if self.are_any("failed")? {
            return Err("a job failed".into());
        }
        Ok(Done {
            nodes: Cost {
                cpu_ms: cpu_ms() - before_ms,
                wall_ms: started.elapsed().as_secs_f64() * 1e3,
            },
            client_ms,
        })
    }

    /// Whether there are jobs in these states.
    fn are_any(&self, states: &str) -> Result<bool, String> {
        let list = ["job", "list", "--limit", "1", "--state", states];
        let shown = self.nodes.try_json(&list)?;
        Ok(shown["jobs"]
            .as_array()
            .is_some_and(|jobs| !jobs.is_empty()))
    }

    /// The latest job, as `job show` has it.
    ///
    /// # Errors
    /// If there is none.
    pub fn job(&self) -> Result<Value, String> {
        let jobs = self.nodes.jobs()?;
        let latest = |job: &&Value| job["created_unix_ms"].as_u64();
        let job = jobs.iter().max_by_key(latest).ok_or("there is no job")?;
        Ok(job.clone())
    }

    /// Tasks of a job.
    ///
    /// # Errors
    /// If they can't be had.
    pub fn tasks(&self, job: &Value) -> Result<Vec<Value>, String> {
        let id = job["id"].as_str().unwrap_or_default();
        let shown = self.nodes.try_json(&["job", "tasks", id])?;
        Ok(shown["tasks"].as_array().cloned().unwrap_or_default())
    }

    /// Writes what is encoded of the latest job's beginning to a file; whether there
    /// was anything.
    pub fn preview(&self, seconds: u32, out: &Path) -> bool {
        let job = self.job().unwrap_or_default();
        let Some(id) = job["id"].as_str() else {
            return false;
        };
        let mut client = self.nodes.cli(&["job", "preview", id, "--overwrite"]);
        client.arg(out).args(["--seconds", &seconds.to_string()]);
        client.stdout(Stdio::null()).stderr(Stdio::null());
        client.status().is_ok_and(|status| status.success())
    }

    /// The reference command of the latest job.
    ///
    /// # Errors
    /// If there is none.
    pub fn reference(&self) -> Result<Vec<String>, String> {
        let job = self.job()?;
        let id = job["id"].as_str().unwrap_or_default();
        let shown = self.nodes.try_json(&["job", "show", id, "--reference"])?;
        let args = shown["args"].as_array().cloned().unwrap_or_default();
        let words = args.iter().filter_map(|arg| arg.as_str().map(String::from));
        Ok(words.collect())
    }

    /// Children that the nodes have started since they were up.
    pub fn children(&self) -> usize {
        let texts = self
            .nodes
            .ids()
            .into_iter()
            .map(|id| self.nodes.log_text(id));
        texts.map(|text| text.matches(CHILD).count()).sum()
    }

    /// All attempts so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        let log = self.nodes.event_log().starting_at(self.begun_us);
        let mut attempts = log.attempts(&[], now_us());
        attempts.retain(|attempt| attempt.end != AttemptEnd::Open);
        attempts
    }

    /// Draws what the nodes did, and when.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn draw(&self, title: &str, subtitle: &str, file: &Path) -> Result<(), String> {
        let log = self.nodes.event_log().starting_at(self.begun_us);
        let timeline = Timeline {
            title,
            subtitle,
            nodes: self.pids.len() as u64,
            log: &log,
            attempts: &self.attempts(),
            kills: &[],
            takeovers: &[],
            probes: &[],
        };
        write_timeline(&timeline, file)
    }
}
