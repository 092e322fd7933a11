//! A cluster of real processes on loopback, for tests, the demo and the
//! experiments: started with `reelraft dev`, looked at and driven with the
//! CLI as a user would. It ends only processes that it started, by their id.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a cluster of a few processes may take to elect a leader, on a
/// machine whose every core is busy with other tests.
const ELECTION_PATIENCE: Duration = Duration::from_secs(60);

/// The program under test, which stands beside the running test or example.
pub fn binary() -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let path = folder.join("reelraft");
    assert!(
        path.exists(),
        "{} is missing: build it first",
        path.display()
    );
    path
}

/// A first port with `count` free ones from there on. Each call in a process
/// looks further on: a port that is free now may be one that another cluster
/// of this process is about to take.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Below those that Linux gives to outgoing connections, which may hold a
    // port again before a node listens on it.
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    // Programs that are started together have neighbouring ids: they must not
    // try the same ports, which are free until the first node listens.
    let begin = std::process::id().wrapping_mul(37) % COUNT;
    for _ in 0..1_000 {
        let offset = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let base = (FIRST + (begin + offset) % COUNT) as u16;
        if (base..base + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}

pub struct Options {
    pub nodes: u16,
    pub slots: Option<u32>,
    pub restart: bool,
    /// The program to start, if not the one built beside this.
    pub binary: Option<PathBuf>,
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
            environment: Vec::new(),
        }
    }
}

impl Options {
    fn program(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(binary)
    }
}

pub struct LocalCluster {
    dev: Child,
    pub base_port: u16,
    pub folder: PathBuf,
    pub options: Options,
}

impl LocalCluster {
    /// Starts a cluster in `folder` and waits until it has a leader.
    pub fn start(folder: &Path, options: Options) -> Self {
        let base_port = free_ports(options.nodes);
        Self::start_at(folder, options, base_port)
    }

    fn start_at(folder: &Path, options: Options, base_port: u16) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("dev.log"))
            .unwrap();
        let mut command = Command::new(options.program());
        command
            .args([
                "dev",
                "--nodes",
                &options.nodes.to_string(),
                "--base-port",
                &base_port.to_string(),
            ])
            .arg("--data")
            .arg(folder.join("nodes"))
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(slots) = options.slots {
            command.args(["--slots", &slots.to_string()]);
        }
        if !options.restart {
            command.arg("--no-restart");
        }
        let dev = command.spawn().unwrap();
        let cluster = LocalCluster {
            dev,
            base_port,
            folder: folder.to_path_buf(),
            options,
        };
        cluster.wait_for_leader();
        cluster
    }

    pub fn endpoints(&self) -> String {
        let ports = self.base_port..self.base_port + self.options.nodes;
        ports
            .map(|port| format!("127.0.0.1:{port}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    pub fn endpoint(&self, node: u64) -> String {
        format!("127.0.0.1:{}", self.base_port + node as u16 - 1)
    }

    /// The CLI, aimed at this cluster.
    pub fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.options.program());
        command
            .args(args)
            .env("REELRAFT_ENDPOINTS", self.endpoints())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.cli(args).output().unwrap()
    }

    /// Runs a command that must succeed and gives its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn status(&self) -> Option<Value> {
        let output = self.run(&["cluster", "status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until there is a leader and every node that should be is up.
    pub fn wait_for_leader(&self) -> u64 {
        self.wait_for_nodes(self.options.nodes.into())
    }

    pub fn wait_for_nodes(&self, nodes: usize) -> u64 {
        let started = Instant::now();
        while started.elapsed() < ELECTION_PATIENCE {
            if let Some(status) = self.status() {
                let leader = status["leader_id"].as_u64().unwrap_or(0);
                let up = status["nodes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|node| node["reachable"] == true)
                    .count();
                if leader != 0 && up >= nodes {
                    return leader;
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(self.folder.join("dev.log")).unwrap_or_default();
        panic!(
            "no leader and {nodes} nodes in time; the log ends with\n{}",
            tail(&log, 60)
        );
    }

    /// The leader's id.
    pub fn leader(&self) -> u64 {
        let started = Instant::now();
        while started.elapsed() < ELECTION_PATIENCE {
            match self
                .status()
                .and_then(|status| status["leader_id"].as_u64())
            {
                Some(leader) if leader != 0 => return leader,
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        panic!("no leader in time");
    }

    pub fn pid(&self, node: u64) -> i32 {
        let status = self.status().expect("a status");
        let nodes = status["nodes"].as_array().unwrap();
        let pid = nodes
            .iter()
            .find(|found| found["id"] == node)
            .and_then(|found| found["pid"].as_i64());
        i32::try_from(pid.unwrap_or(0)).unwrap()
    }

    /// Kills one of this cluster's own nodes with SIGKILL.
    pub fn kill(&self, node: u64) {
        let pid = self.pid(node);
        assert!(
            self.is_ours(pid),
            "process {pid} is not one of this cluster's"
        );
        signal(pid, "KILL");
    }

    /// Whether a process is a child of this cluster's supervisor.
    fn is_ours(&self, pid: i32) -> bool {
        parent_of(pid) == Some(self.dev.id() as i32)
    }

    /// The processes of this cluster's living nodes, by node. Read from
    /// `/proc`, so that it can be asked while there is no leader to ask.
    pub fn processes(&self) -> std::collections::BTreeMap<u64, i32> {
        all_pids()
            .into_iter()
            .filter_map(|pid| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let mut words = words.split(|byte| *byte == 0);
                words.find(|word| *word == b"--id")?;
                let node = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
                self.is_ours(pid).then_some((node, pid))
            })
            .collect()
    }

    /// Kills some of this cluster's own nodes with SIGKILL in one go, without
    /// the detour over another program, and says when it began.
    pub fn kill_at_once(&self, pids: &[i32]) -> std::time::SystemTime {
        for &pid in pids {
            assert!(self.is_ours(pid), "process {pid} is not ours");
        }
        let now = std::time::SystemTime::now();
        for &pid in pids {
            // SAFETY: kill takes plain numbers; the process was ours just now.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        now
    }

    /// What the nodes have logged so far.
    pub fn log(&self) -> PathBuf {
        self.folder.join("dev.log")
    }

    /// Kills the supervisor and every node at once.
    pub fn kill_all(&mut self) {
        let _ = self.dev.kill();
        let _ = self.dev.wait();
        self.wait_until_gone();
    }

    /// Starts the same cluster again on its folder, after [`Self::kill_all`].
    pub fn start_again(mut self) -> Self {
        let options = std::mem::take(&mut self.options);
        let (folder, base_port) = (self.folder.clone(), self.base_port);
        self.options.nodes = options.nodes;
        drop(self);
        Self::start_at(&folder, options, base_port)
    }

    fn wait_until_gone(&self) {
        let started = Instant::now();
        for port in self.base_port..self.base_port + self.options.nodes {
            while TcpListener::bind(("127.0.0.1", port)).is_err() {
                assert!(
                    started.elapsed() < Duration::from_secs(20),
                    "port {port} is still in use"
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if matches!(self.dev.try_wait(), Ok(None)) {
            signal(self.dev.id() as i32, "TERM");
            let started = Instant::now();
            while matches!(self.dev.try_wait(), Ok(None)) {
                if started.elapsed() > Duration::from_secs(15) {
                    let _ = self.dev.kill();
                    let _ = self.dev.wait();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Who started a process. Field 4 of `/proc/PID/stat`, proc(5); the name before
/// it may itself hold blanks and brackets.
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// All processes of this machine.
pub fn all_pids() -> Vec<i32> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    folders
        .filter_map(|folder| folder.file_name().to_str()?.parse().ok())
        .collect()
}

fn signal(pid: i32, name: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success(), "kill -{name} {pid}");
}

pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// BLAKE3 of a file, in hex.
pub fn blake3_of(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).unwrap(), &mut hasher).unwrap();
    hasher.finalize().to_hex().to_string()
}

/// Makes a clip with moving pictures and a tone.
pub fn make_clip(path: &Path, seconds: u32, size: &str) {
    let video = format!("testsrc2=size={size}:rate=24:duration={seconds}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &video, "-f", "lavfi", "-i",
            &audio,
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-g",
            "48",
            "-c:a",
            "aac",
            "-shortest",
        ])
        .arg(path)
        .status()
        .expect("ffmpeg runs");
    assert!(made.success(), "the clip could not be made");
}

/// What ffprobe counts in a file: decoded video frames.
pub fn frames_of(path: &Path) -> u64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .trim_end_matches(',')
        .parse()
        .unwrap_or(0)
}
