//! `reelraft node` as a process: its log, its priority, and the signals that
//! end it. How a node is put together is in the library.

use std::io::IsTerminal;

use reelraft::{
    config::{LogFormat, NodeArgs, NodeConfig},
    engine::{self, EngineArgs},
    json_log::JsonLines,
    limits::{
        MALLOC_ARENAS, MALLOC_KEPT_BYTES, MALLOC_LARGE_BYTES, MALLOC_TRIM_EVERY, NODE_NICE,
        OPEN_FILES_WANTED,
    },
    recent_log::KeepingStderr,
    server::{self, privacy::close_to_others},
};
use reelraft_model::Problem;
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::{service, watches};

/// Runs a node until a signal ends it.
///
/// # Errors
/// Why it can't start, or why it had to stop.
pub fn run(args: NodeArgs) -> Result<(), Problem> {
    keep_memory_together();
    // Before the secrets are read from where they are.
    let closed = close_to_others();
    let config = NodeConfig::resolve(args)?;
    let watched = watches::read(&config.watch)?;
    log_to_stderr(config.log_format);
    if let Err(error) = closed {
        warn!(%error, "other processes of this user can read this node's secrets");
    }
    prefer_this_process();
    open_many_files();
    let runtime = runtime();
    let result = runtime.block_on(async {
        tokio::spawn(give_memory_back());
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(async move {
            stop_signal().await;
            service::stopping();
            let _ = stopper.send(true);
        });
        let (ready, is_ready) = oneshot::channel();
        let watch_stops = stop.clone();
        tokio::spawn(async move {
            // A node that never serves has said why.
            if let Ok(door) = is_ready.await {
                watches::begin(watched, door, &watch_stops);
                service::serves().await;
            }
        });
        server::run(config, stop, ready).await
    });
    // Tasks still running are ended by their own guards; nothing else may keep
    // the process alive.
    runtime.shutdown_background();
    result
}

/// Runs an engine until a signal ends it.
///
/// # Errors
/// Why it can't work, or was refused.
pub fn run_engine(args: EngineArgs, way: engine::Way) -> Result<(), Problem> {
    keep_memory_together();
    log_to_stderr(LogFormat::Text);
    let runtime = runtime();
    let result = runtime.block_on(async {
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(async move {
            stop_signal().await;
            let _ = stopper.send(true);
        });
        engine::run(args, way, stop).await
    });
    runtime.shutdown_background();
    result
}

/// A runtime with a thread for each core.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a machine that can't start threads can't run a node")
}

fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // openraft and h2 warn of every late heartbeat, and openraft::raft logs
        // each request to a node that starts or stops as an error. What matters
        // to people (a new leader, a lost node) this program logs itself.
        .unwrap_or_else(|_| {
            tracing_subscriber::EnvFilter::new(
                "info,openraft=error,openraft::raft=off,h2=error,sled=warn",
            )
        });
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(KeepingStderr);
    match format {
        LogFormat::Text => log.with_target(false).with_ansi(colour).init(),
        LogFormat::Json => log.with_ansi(false).event_format(JsonLines).init(),
    }
}

/// Takes what a shell leaves to its programs to take: its own limit of 1024 open
/// files is for programs that can't bear more.
fn open_many_files() {
    // SAFETY: both calls read or write one rlimit, which `limit` is, and an
    // all-zero one is a valid value.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            let wanted = limit.rlim_max.min(OPEN_FILES_WANTED);
            limit.rlim_cur = limit.rlim_cur.max(wanted);
            // Refused, it goes on with what it has; `doctor` names that.
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Has glibc give memory back. It makes up to eight arenas for each core, as
/// threads need them, and each keeps the most that its threads ever held at
/// once: the chunks of every upload, several times over. A few arenas are
/// enough, since what is large comes from the kernel and goes back there.
/// Called before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_memory_together() {
    let settings = [
        (libc::M_ARENA_MAX, MALLOC_ARENAS),
        (libc::M_MMAP_THRESHOLD, MALLOC_LARGE_BYTES),
        (libc::M_TRIM_THRESHOLD, MALLOC_KEPT_BYTES),
    ];
    for (name, value) in settings {
        // SAFETY: takes two integers, and no other thread allocates yet.
        unsafe { libc::mallopt(name, value) };
    }
}

/// Gives free memory back now and then that lies between what is used: a start
/// reads the whole table, and a snapshot may be large.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
async fn give_memory_back() {
    loop {
        tokio::time::sleep(MALLOC_TRIM_EVERY).await;
        // SAFETY: takes an integer; the allocator has locks of its own.
        let trim = || unsafe { libc::malloc_trim(0) };
        // It looks through all that is free, which may take a moment.
        let _ = tokio::task::spawn_blocking(trim).await;
    }
}

/// Other allocators have their own ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
async fn give_memory_back() {}

/// Other allocators have their own ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_memory_together() {}

/// Lets Raft run before whatever else keeps this machine busy, where the user
/// is allowed to (root, or CAP_SYS_NICE). Elsewhere a node only relies on its
/// encoders being niced. Called before any thread is started, since threads
/// inherit it.
fn prefer_this_process() {
    // SAFETY: takes three integers and touches no memory of ours.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NODE_NICE) };
}

/// SIGINT or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime handles signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
