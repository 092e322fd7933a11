//! A node whose every sync, rename and table write is counted, and which is
//! killed at a chosen one, just before the kernel does it.
//!
//! The calls are counted over all threads in the order in which they come, and
//! nothing else is slowed down.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

use crate::seccomp::spawn_watched;

/// The calls that are watched. Of `pwrite64` only those to the table count:
/// they are its commits.
const WATCHED: [(libc::c_long, &str); 9] = [
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_msync, "msync"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_pwrite64, "pwrite64"),
];

/// One call as it was about to be done. Two calls that are equal come from the
/// same site of the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The system call's name.
    name: &'static str,
    /// The path that it was done to, below the data folder, with jobs, hashes
    /// and numbers replaced by `JOB`, `HASH` and `N`.
    path: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.path)
    }
}

/// Where to kill.
#[derive(Clone, Debug)]
pub enum KillPoint {
    /// At the n-th call, counted from 1.
    Nth(usize),
    /// At the n-th call of one site.
    Site(Call, usize),
}

#[derive(Default)]
struct Trace {
    calls: Vec<Call>,
    point: Option<KillPoint>,
    killed_at: Option<Call>,
}

/// A running node. Dropped, it is killed.
pub struct TracedNode {
    child: Child,
    trace: Arc<Mutex<Trace>>,
    tracer: Option<JoinHandle<()>>,
}

impl TracedNode {
    /// Starts `command`, a node with the folder `data`, and counts from its
    /// first call on.
    ///
    /// # Errors
    /// If it can't be started or traced.
    pub fn start(
        command: &mut Command,
        data: &Path,
        point: Option<KillPoint>,
    ) -> Result<Self, String> {
        let numbers = WATCHED.iter().map(|(number, _)| *number).collect();
        let (child, listener) = spawn_watched(command, numbers)?;
        let trace = Arc::new(Mutex::new(Trace {
            point,
            ..Trace::default()
        }));
        let mut tracer = Tracer {
            node: child.id() as i32,
            data: data.to_path_buf(),
            trace: trace.clone(),
            is_node: HashMap::new(),
        };
        Ok(TracedNode {
            child,
            trace,
            tracer: Some(std::thread::spawn(move || {
                listener.run(|call| tracer.before(call));
            })),
        })
    }

    /// Counts from now on, and kills at `point`.
    pub fn aim(&self, point: Option<KillPoint>) {
        *lock(&self.trace) = Trace {
            point,
            ..Trace::default()
        };
    }

    /// The calls since the start or the last [`TracedNode::aim`].
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.trace).calls.clone()
    }

    /// The call at which it was killed, if it was.
    pub fn killed_at(&self) -> Option<Call> {
        lock(&self.trace).killed_at.clone()
    }

    /// How the process ended, if it has.
    pub fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for TracedNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

/// Whether this machine lets a node be traced: a node closes its memory to all
/// but root, the kernel may be too old, or a container's own filter may be in
/// the way.
///
/// # Errors
/// The reason why not.
pub fn can_trace() -> Result<(), String> {
    // SAFETY: takes nothing and gives a number.
    if unsafe { libc::geteuid() } != 0 {
        return Err("only root may look into a node".to_string());
    }
    let nowhere = Path::new("/");
    TracedNode::start(&mut Command::new("true"), nowhere, None)
        .map(drop)
        .map_err(|error| format!("no process can be watched by seccomp here: {error}"))
}

fn lock(trace: &Mutex<Trace>) -> MutexGuard<'_, Trace> {
    trace.lock().expect("no holder of this lock panics")
}

/// Answers the kernel's questions about one node.
struct Tracer {
    node: i32,
    data: PathBuf,
    trace: Arc<Mutex<Trace>>,
    /// Whether a thread is the node's own, and not an encoder's.
    is_node: HashMap<u32, bool>,
}

impl Tracer {
    /// Counts one call, and kills the node if it is the chosen one.
    fn before(&mut self, notification: &libc::seccomp_notif) {
        let node = self.node;
        let is_node = *self
            .is_node
            .entry(notification.pid)
            .or_insert_with(|| process_of(notification.pid) == Some(node));
        let Some(call) = self.call(notification).filter(|_| is_node) else {
            return;
        };
        let mut trace = lock(&self.trace);
        trace.calls.push(call.clone());
        let reached = match &trace.point {
            Some(KillPoint::Nth(n)) => trace.calls.len() == *n,
            Some(KillPoint::Site(site, n)) => {
                call == *site && trace.calls.iter().filter(|seen| *seen == site).count() == *n
            }
            None => false,
        };
        if reached && trace.killed_at.is_none() {
            trace.killed_at = Some(call);
            // SAFETY: takes plain numbers; the process is our own child, and
            // one of its threads waits for our answer, so it is still there.
            unsafe { libc::kill(node, libc::SIGKILL) };
        }
    }

    fn call(&self, notification: &libc::seccomp_notif) -> Option<Call> {
        let number = libc::c_long::from(notification.data.nr);
        let (thread, args) = (notification.pid, &notification.data.args);
        let (_, name) = WATCHED.iter().find(|(watched, _)| *watched == number)?;
        let path = match *name {
            "rename" => path_at(thread, args[1])?,
            "renameat" | "renameat2" | "linkat" => path_at(thread, args[3])?,
            "msync" => self.data.clone(),
            _ => std::fs::read_link(format!("/proc/{thread}/fd/{}", args[0])).ok()?,
        };
        let path = generalized(path.strip_prefix(&self.data).ok()?);
        if *name == "pwrite64" && !path.starts_with("table/") {
            return None;
        }
        Some(Call { name, path })
    }
}

/// The process that a thread belongs to.
fn process_of(thread: u32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// The path that is stored at an address of another process.
fn path_at(thread: u32, address: u64) -> Option<PathBuf> {
    use std::os::unix::{ffi::OsStringExt, fs::FileExt};
    let memory = std::fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    // The string may end just before memory that is not mapped.
    let read = memory.read_at(&mut bytes, address).ok()?;
    bytes.truncate(bytes[..read].iter().position(|byte| *byte == 0)?);
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// A path with everything replaced that differs from run to run, including the
/// folder of a numbered attempt.
fn generalized(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.iter().map(|part| part.to_string_lossy()) {
        let below_blobs = parts == ["blobs"];
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts == ["work"] {
            parts.push("ATTEMPT".to_string());
            continue;
        }
        parts.push(match part.split_once('.') {
            None if below_blobs && !part.starts_with('_') => "JOB".to_string(),
            None if part.len() == 64 && is_hex(&part) => "HASH".to_string(),
            Some((hash, ending)) if hash.len() == 64 && is_hex(hash) => format!("HASH.{ending}"),
            _ => without_numbers(&part),
        });
    }
    parts.join("/")
}

fn without_numbers(part: &str) -> String {
    let mut text = String::new();
    for letter in part.chars() {
        if !letter.is_ascii_digit() {
            text.push(letter);
        } else if !text.ends_with('N') {
            text.push('N');
        }
    }
    text
}
