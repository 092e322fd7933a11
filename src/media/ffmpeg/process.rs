//! The only file that starts processes. Each child that gets an input is niced, runs in its own
//! process group without environment and stdin, is limited in memory and file
//! size, and is killed when its parent dies, when it is cancelled, when it
//! stalls, or when its future is dropped. It is always reaped. Its output is
//! read line by line, within limits.
//!
//! Not here: what files, processes and ports it can reach; see `sandbox.rs`.

use std::{
    ffi::OsStr,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use tokio::{
    process::Child,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        cpu_wait::Moment,
        input::BytesServed,
        lines::Lines,
        paced_pipe::PacedPipe,
        sandbox::{Need, Sandbox},
        tools::is_static,
    },
    limits::{
        ADDRESS_BYTES_BASE, FILE_BYTES_MAX, IO_PRIORITY, IO_PRIORITY_OF_PROCESS, LINE_BYTES_MAX,
        OPEN_FILES_MAX, READING_MAX, STALL_TICK, VERSION_TIME_MAX,
    },
};

/// What a line of output means for the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEffect {
    /// The child made progress: its stall clock restarts.
    Progress,
    /// The line says nothing about progress.
    Neutral,
    /// The listener knows enough: stop the child, which is no failure.
    Stop,
}

/// Receives the output of a child.
pub(crate) trait Listener {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError>;
    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError>;
    /// Longest line of stdout to receive; the rest of a longer one is dropped.
    fn line_bytes_max(&self) -> usize {
        LINE_BYTES_MAX
    }
}

/// A child to run: program, arguments and limits.
pub(crate) struct Invocation<'a> {
    pub program: &'a Path,
    pub args: &'a [String],
    /// The only folder that it may write to, and where it starts. Without one it
    /// writes nothing.
    pub work_dir: Option<&'a Path>,
    /// Address space in addition to the base, in bytes.
    pub address_bytes_extra: u64,
    /// Its niceness, from 0 for as urgent as the node itself to 19.
    pub nice: i32,
    /// Kills it after this time, even if it makes progress.
    pub time_max: Option<Duration>,
    /// Kills it after this time without progress or a byte of the source.
    pub stall_max: Duration,
    /// Counts the source's bytes as the child reads them.
    pub served: Option<&'a BytesServed>,
}

#[derive(Debug)]
pub(crate) enum Exit {
    Success,
    /// The listener asked for it.
    StoppedByListener,
    /// An exit code other than zero.
    Failure(ExitStatus),
}

/// Runs a child until it exits.
pub(crate) async fn run(
    invocation: Invocation<'_>,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Exit, MediaError> {
    if cancel.is_cancelled() {
        return Err(MediaError::Stopped);
    }
    let tool = tool_name(invocation.program);
    tracing::debug!(target: "reelraft_media::process", tool, "a child starts");
    let (mut child, log) = spawn(&invocation).await?;
    let result = read_pipes((&mut child, log), &invocation, &tool, cancel, listener).await;
    if !matches!(result, Ok(None)) {
        kill(&child);
    }
    let status = child
        .wait()
        .await
        .map_err(MediaError::disk("waiting for a child"))?;
    match result? {
        Some(exit) => Ok(exit),
        None if status.success() => Ok(Exit::Success),
        None => match status.signal() {
            // ffmpeg never sends these to itself.
            Some(signal @ (libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => {
                Err(MediaError::ToolKilled { tool, signal })
            }
            Some(signal) => Err(MediaError::ToolCrashed { tool, signal }),
            None => Ok(Exit::Failure(status)),
        },
    }
}

/// Whether a program can say its version with all that this user may do. It is
/// given no input.
pub(crate) async fn runs_unconfined(program: &Path) -> bool {
    let status = tokio::process::Command::new(program)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(VERSION_TIME_MAX, status).await;
    matches!(status, Ok(Ok(status)) if status.success())
}

/// Reads both pipes until they are closed and the child has exited. `None`: it
/// ended by itself.
async fn read_pipes(
    (child, log): (&mut Child, PacedPipe),
    invocation: &Invocation<'_>,
    tool: &str,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Option<Exit>, MediaError> {
    let mut out = Lines::new(
        child.stdout.take().expect("stdout is piped"),
        listener.line_bytes_max(),
    );
    let mut err = Lines::new(log, LINE_BYTES_MAX);
    let (mut out_open, mut err_open) = (true, true);
    let mut clock = StallClock::new(invocation);
    let mut tick = tokio::time::interval_at(Instant::now() + STALL_TICK, STALL_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let step = tokio::select! {
            // Cancelling takes precedence over any output.
            biased;
            () = cancel.cancelled() => return Err(MediaError::Stopped),
            _ = tick.tick() => {
                if let Some(time) = clock.tick(child.id().map(Moment::of_process).unwrap_or_default()) {
                    return Err(MediaError::Stalled { tool: tool.to_string(), seconds: time.as_secs() });
                }
                LineEffect::Neutral
            }
            line = err.next(), if err_open => match line.map_err(MediaError::disk("reading from a child"))? {
                Some(line) => listener.stderr(&line)?,
                None => { err_open = false; LineEffect::Neutral }
            },
            line = out.next(), if out_open => match line.map_err(MediaError::disk("reading from a child"))? {
                Some(line) => listener.stdout(&line)?,
                None => { out_open = false; LineEffect::Neutral }
            },
            // With both pipes closed, the child has exited or hangs silently.
            status = child.wait(), if !out_open && !err_open => {
                status.map_err(MediaError::disk("waiting for a child"))?;
                return Ok(None);
            }
        };
        match step {
            LineEffect::Progress => clock.progress(),
            LineEffect::Neutral => {}
            LineEffect::Stop => return Ok(Some(Exit::StoppedByListener)),
        }
    }
}

/// Tells a child that hangs from one that works. It counts its own ticks and
/// not the time: a node that was stopped for minutes (SIGSTOP, a paused machine)
/// saw none, and its children have lines waiting. Nor does the time count that
/// a child waits for a processor: on a starved machine it may get none for
/// minutes. One that runs without end does not wait.
struct StallClock<'a> {
    stall_max: Duration,
    time_max: Option<Duration>,
    served: Option<&'a BytesServed>,
    served_bytes: u64,
    /// The child at the last tick.
    seen: Moment,
    ran: Duration,
    /// Without progress.
    mute: Duration,
    /// Without progress or a byte read.
    idle: Duration,
}

impl<'a> StallClock<'a> {
    fn new(invocation: &Invocation<'a>) -> Self {
        StallClock {
            stall_max: invocation.stall_max,
            time_max: invocation.time_max,
            served: invocation.served,
            served_bytes: invocation.served.map_or(0, BytesServed::get),
            seen: Moment::default(),
            ran: Duration::ZERO,
            mute: Duration::ZERO,
            idle: Duration::ZERO,
        }
    }

    fn progress(&mut self) {
        self.mute = Duration::ZERO;
        self.idle = Duration::ZERO;
    }

    /// Counts a tick, and tells whether the child must end, as it is seen `now`:
    /// after which time. Reading counts as life: what is looked for may lie far
    /// apart in the film.
    fn tick(&mut self, now: Moment) -> Option<Duration> {
        let own = STALL_TICK - now.waited_since(self.seen, STALL_TICK);
        self.seen = now;
        self.ran += own;
        self.idle += own;
        self.mute += STALL_TICK;
        let served_bytes = self.served.map_or(0, BytesServed::get);
        if served_bytes > self.served_bytes {
            self.served_bytes = served_bytes;
            self.idle = Duration::ZERO;
        }
        let time_max = self.time_max.unwrap_or(Duration::MAX);
        let spent = [
            (self.idle, self.stall_max),
            (self.mute, self.stall_max.max(READING_MAX)),
            (self.ran, time_max),
        ];
        let over = spent.into_iter().find(|(time, max)| time >= max);
        over.map(|(_, max)| max)
    }
}

/// Kills the child's process group, if it still runs.
fn kill(child: &Child) {
    if let Some(pid) = child.id() {
        // SAFETY: a plain system call. The child is not reaped yet (it has an
        // id), so its group can't be another's.
        unsafe { libc::kill(-(pid as libc::pid_t), libc::SIGKILL) };
    }
}

fn tool_name(program: &Path) -> String {
    program
        .file_name()
        .unwrap_or(OsStr::new("ffmpeg"))
        .to_string_lossy()
        .into_owned()
}

/// Spawns the child from a thread that lives as long as this process: the
/// kernel sends the parent-death signal when the *thread* that forked ends, and
/// threads of an async runtime come and go.
async fn spawn(invocation: &Invocation<'_>) -> Result<(Child, PacedPipe), MediaError> {
    let tool = tool_name(invocation.program);
    let not_started = |error| MediaError::Spawn {
        tool: tool_name(invocation.program),
        error,
    };
    let sandbox = Sandbox::new(&Need {
        program: invocation.program,
        args: invocation.args,
        work_dir: invocation.work_dir,
    })
    .map_err(not_started)?;
    let (log, written) = PacedPipe::open().map_err(not_started)?;
    let mut command = std::process::Command::new(invocation.program);
    command
        .args(invocation.args)
        .current_dir(invocation.work_dir.unwrap_or(Path::new("/")))
        // No proxy, no preload, no locale: the same messages on every machine.
        .env_clear()
        .env("AV_LOG_FORCE_NOCOLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(written)
        .process_group(0);
    if is_static(invocation.program) {
        // To read the names of a broadcast's services it would load conversions
        // of text that belong to the machine's own libc, and crash in them.
        command.env("GCONV_PATH", "/nonexistent");
    }
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    let address_bytes = ADDRESS_BYTES_BASE + invocation.address_bytes_extra;
    let (parent, nice) = (std::process::id() as libc::pid_t, invocation.nice);
    // SAFETY: between fork and exec only async-signal-safe calls are made, and
    // nothing is allocated.
    unsafe {
        command
            .pre_exec(move || confine(parent, nice, address_bytes).and_then(|()| sandbox.enter()));
    }
    let runtime = tokio::runtime::Handle::current();
    let (reply, child) = tokio::sync::oneshot::channel();
    let request = Box::new(move || {
        let _inside = runtime.enter();
        let mut command = tokio::process::Command::from(command);
        // If the send fails, the caller is gone, and the child is dropped and
        // killed.
        let _ = reply.send(command.kill_on_drop(true).spawn());
    });
    let gone = || std::io::Error::other("the starting thread is gone");
    let result = match spawner().send(request) {
        Ok(()) => child.await.unwrap_or_else(|_| Err(gone())),
        Err(_) => Err(gone()),
    };
    let child = result.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => MediaError::ToolMissing {
            tool: if tool.contains("probe") {
                "ffprobe"
            } else {
                "ffmpeg"
            },
        },
        _ => not_started(error),
    })?;
    Ok((child, log))
}

type Request = Box<dyn FnOnce() + Send>;

fn spawner() -> &'static mpsc::Sender<Request> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("media-starter".into())
            .spawn(move || requests.into_iter().for_each(|request| request()))
            .expect("a thread can be started when the process starts its first child");
        sender
    })
}

/// Has the child give way to threads that wake up, and to other writers of the
/// disk, where the system knows of either. Each is a wish that may be refused.
///
/// # Safety
/// Plain system calls on values of their own, which may run between fork and
/// exec.
unsafe fn yield_to_raft() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the caller's promise.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters);
        libc::syscall(libc::SYS_ioprio_set, IO_PRIORITY_OF_PROCESS, 0, IO_PRIORITY);
    }
}

/// Runs in the child between fork and exec.
fn confine(parent: libc::pid_t, nice: i32, address_bytes: u64) -> std::io::Result<()> {
    // SAFETY: plain system calls on values of our own.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the call above.
        if libc::getppid() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
        yield_to_raft();
        for (what, limit) in [
            (libc::RLIMIT_AS, address_bytes),
            (libc::RLIMIT_FSIZE, FILE_BYTES_MAX),
            (libc::RLIMIT_NOFILE, OPEN_FILES_MAX),
            (libc::RLIMIT_CORE, 0),
        ] {
            let limit = libc::rlimit {
                rlim_cur: limit,
                rlim_max: limit,
            };
            if libc::setrlimit(what, &limit) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
