//! The only file that starts processes. Each child is niced, in a group of
//! its own, without an environment, without stdin, limited in memory and file
//! size, killed with its parent, at a cancel, at a stall or when its future
//! is dropped, and always reaped. What it prints is read line by line, with
//! bounds.
//!
//! Not here: the further walls of the box (network and file access), which
//! belong to the node that runs the children.

use std::{
    ffi::OsStr,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use tokio::{process::Child, time::Instant};

use crate::{
    error::MediaError,
    ffmpeg::{cancel::Cancel, lines::Lines},
    limits::{ADDRESS_BYTES_BASE, FILE_BYTES_MAX, LINE_BYTES_MAX, NICE, OPEN_FILES_MAX, STALL_MAX},
};

/// What a line from a child means for its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEffect {
    /// The child got further: its stall clock starts afresh.
    Progress,
    /// The line says nothing about progress.
    Neutral,
    /// Enough was seen: end the child, which is no failure.
    Stop,
}

/// Listens to a child.
pub(crate) trait Listener {
    /// A line of stdout.
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError>;
    /// A line of stderr.
    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError>;
    /// Longest line of stdout it wants; the rest of a longer one is dropped.
    fn line_bytes_max(&self) -> usize {
        LINE_BYTES_MAX
    }
}

/// A child to run.
pub(crate) struct Run<'a> {
    /// Program.
    pub program: &'a Path,
    /// Arguments, without the program.
    pub args: &'a [String],
    /// Its working folder.
    pub folder: &'a Path,
    /// Address space beyond the base, in bytes.
    pub address_bytes_extra: u64,
    /// Ends it after this time even if it makes progress.
    pub time_max: Option<Duration>,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// By itself, well.
    Success,
    /// Because the listener had seen enough.
    StoppedByListener,
    /// With an exit code or a signal.
    Failure(ExitStatus),
}

/// Runs a child to its end.
pub(crate) async fn run(
    run: Run<'_>,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Exit, MediaError> {
    if cancel.is_cancelled() {
        return Err(MediaError::Stopped);
    }
    let tool = tool_name(run.program);
    let mut child = spawn(&run).await?;
    let result = attend(&mut child, &run, &tool, cancel, listener).await;
    if !matches!(result, Ok(None)) {
        kill(&child);
    }
    let status = child
        .wait()
        .await
        .map_err(MediaError::disk("waiting for a child"))?;
    match result? {
        Some(ended) => Ok(ended),
        None if status.success() => Ok(Exit::Success),
        None => match status.signal() {
            // Nothing in ffmpeg sends these to itself.
            Some(signal @ (libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => {
                Err(MediaError::ToolKilled { tool, signal })
            }
            _ => Ok(Exit::Failure(status)),
        },
    }
}

/// Reads both pipes to their ends. `None`: the child is about to end itself.
async fn attend(
    child: &mut Child,
    run: &Run<'_>,
    tool: &str,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Option<Exit>, MediaError> {
    let mut out = Lines::new(
        child.stdout.take().expect("stdout is piped"),
        listener.line_bytes_max(),
    );
    let mut err = Lines::new(
        child.stderr.take().expect("stderr is piped"),
        LINE_BYTES_MAX,
    );
    let (mut out_open, mut err_open) = (true, true);
    let started = Instant::now();
    let mut alive = started;
    while out_open || err_open {
        let stall = alive + STALL_MAX;
        let deadline = run
            .time_max
            .map_or(stall, |time_max| stall.min(started + time_max));
        let step = tokio::select! {
            // Cancelling comes first, whatever there is to read.
            biased;
            () = cancel.cancelled() => return Err(MediaError::Stopped),
            () = tokio::time::sleep_until(deadline) => {
                return Err(MediaError::Stalled { tool: tool.to_string() });
            }
            line = err.next(), if err_open => match line.map_err(MediaError::disk("reading from a child"))? {
                Some(line) => listener.stderr(&line)?,
                None => { err_open = false; LineEffect::Neutral }
            },
            line = out.next(), if out_open => match line.map_err(MediaError::disk("reading from a child"))? {
                Some(line) => listener.stdout(&line)?,
                None => { out_open = false; LineEffect::Neutral }
            },
        };
        match step {
            LineEffect::Progress => alive = Instant::now(),
            LineEffect::Neutral => {}
            LineEffect::Stop => return Ok(Some(Exit::StoppedByListener)),
        }
    }
    // Both pipes are closed: it has ended, or hangs without a voice.
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(MediaError::Stopped),
        () = tokio::time::sleep(STALL_MAX) => Err(MediaError::Stalled { tool: tool.to_string() }),
        status = child.wait() => {
            status.map_err(MediaError::disk("waiting for a child"))?;
            Ok(None)
        }
    }
}

/// Kills the child's whole group, if it still runs.
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

/// Starts the child from a thread that lives as long as this process: the
/// kernel sends the parent-death signal when the *thread* that forked ends,
/// and an async runtime's threads come and go.
async fn spawn(run: &Run<'_>) -> Result<Child, MediaError> {
    let tool = tool_name(run.program);
    let mut command = std::process::Command::new(run.program);
    command
        .args(run.args)
        .current_dir(run.folder)
        // No proxy, no preload, no locale: the same words on every machine.
        .env_clear()
        .env("AV_LOG_FORCE_NOCOLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    let address_bytes = ADDRESS_BYTES_BASE + run.address_bytes_extra;
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: between fork and exec only async-signal-safe calls are made,
    // and nothing is allocated.
    unsafe {
        command.pre_exec(move || confine(parent, address_bytes));
    }
    let runtime = tokio::runtime::Handle::current();
    let (reply, child) = tokio::sync::oneshot::channel();
    let request = Box::new(move || {
        let _inside = runtime.enter();
        let mut command = tokio::process::Command::from(command);
        // A refused send means that the caller is gone; the child goes too.
        let _ = reply.send(command.kill_on_drop(true).spawn());
    });
    let gone = || std::io::Error::other("the starting thread is gone");
    let result = match starter().send(request) {
        Ok(()) => child.await.unwrap_or_else(|_| Err(gone())),
        Err(_) => Err(gone()),
    };
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => MediaError::ToolMissing {
            tool: if tool.contains("probe") {
                "ffprobe"
            } else {
                "ffmpeg"
            },
        },
        _ => MediaError::Spawn { tool, error },
    })
}

type Request = Box<dyn FnOnce() + Send>;

fn starter() -> &'static mpsc::Sender<Request> {
    static STARTER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("media-starter".into())
            .spawn(move || requests.into_iter().for_each(|request| request()))
            .expect("a thread can be started when the process starts its first child");
        sender
    })
}

/// Runs in the child before exec.
fn confine(parent: libc::pid_t, address_bytes: u64) -> std::io::Result<()> {
    // SAFETY: plain system calls on values of our own.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the line above.
        if libc::getppid() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Collect(Vec<String>);
    impl Listener for Collect {
        fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
            self.0.push(line.to_string());
            Ok(LineEffect::Progress)
        }
        fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
            self.0.push(format!("! {line}"));
            Ok(LineEffect::Neutral)
        }
    }

    async fn shell(script: &str, cancel: &Cancel) -> (Result<Exit, MediaError>, Vec<String>) {
        let mut seen = Collect(Vec::new());
        let args = ["-c".to_string(), script.to_string()];
        let result = run(
            Run {
                program: Path::new("/bin/sh"),
                args: &args,
                folder: Path::new("/"),
                address_bytes_extra: 0,
                time_max: Some(Duration::from_secs(20)),
            },
            cancel,
            &mut seen,
        )
        .await;
        (result, seen.0)
    }

    #[tokio::test]
    async fn lines_and_ends_are_told_apart() {
        let cancel = Cancel::new();
        let (ended, seen) = shell("echo a; printf 'b\\rc'; echo d >&2", &cancel).await;
        assert!(matches!(ended.unwrap(), Exit::Success));
        let out: Vec<_> = seen.iter().filter(|line| !line.starts_with('!')).collect();
        assert_eq!(out, ["a", "b", "c"]);
        assert!(seen.contains(&"! d".to_string()));
        assert!(matches!(
            shell("exit 3", &cancel).await.0.unwrap(),
            Exit::Failure(_)
        ));
        assert!(matches!(
            shell("kill -9 $$", &cancel).await.0,
            Err(MediaError::ToolKilled { signal: 9, .. })
        ));
    }

    #[tokio::test]
    async fn a_child_is_niced_and_has_no_stdin_and_no_environment() {
        let (_, seen) = shell("nice; cat; env", &Cancel::new()).await;
        assert_eq!(seen[0], NICE.to_string());
        assert!(
            !seen.iter().any(|line| line.starts_with("HOME=")),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_cancel_ends_the_whole_group_at_once() {
        let cancel = Cancel::new();
        let canceller = cancel.clone();
        let started = Instant::now();
        let (ended, ()) = tokio::join!(shell("sleep 60 & sleep 60", &cancel), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            canceller.cancel();
        });
        assert!(matches!(ended.0, Err(MediaError::Stopped)));
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(matches!(
            shell("true", &cancel).await.0,
            Err(MediaError::Stopped)
        ));
    }

    #[tokio::test]
    async fn long_lines_are_cut() {
        let (_, seen) = shell(
            "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end",
            &Cancel::new(),
        )
        .await;
        assert_eq!(seen[0].len(), LINE_BYTES_MAX);
        assert_eq!(seen[1], "end");
    }
}
