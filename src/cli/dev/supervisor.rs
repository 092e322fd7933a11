//! Keeps the nodes of a local cluster alive: starts them as children of this
//! same program, restarts a dead one after a growing pause, and ends them all
//! with itself.
//!
//! ```text
//!   ┌──── pause ◀──── dead ◀───┐
//!   ▼                          │
//! spawn ────────────────▶ running ──(Ctrl-C: SIGTERM, grace, SIGKILL)──▶ ended
//! ```
//! All children are started from the thread that called [`supervise`]: they
//! are tied to its life (`PR_SET_PDEATHSIG`), and it must be the main one.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    process::{Child, Command},
    sync::watch,
};

use super::{log::Log, plan::Plan};
use crate::{
    error::{CliError, os_reason},
    exit,
    limits::{RESTART_MS_MAX, RESTART_MS_MIN, RESTART_WELL_MS, STOP_GRACE_MS},
    signals::Stop,
};

/// How far the supervisor is with stopping; all nodes follow it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Running,
    Stopping,
    Killing,
}

pub async fn supervise(plan: Plan) -> Result<(), CliError> {
    let mut stop = Stop::listen()?;
    let log = Log::start();
    log.write("dev", &plan.welcome());
    let (stage, seen) = watch::channel(Stage::Running);

    let mut nodes = tokio::task::JoinSet::new();
    for id in 1..=plan.nodes {
        nodes.spawn_local(keep_alive(plan.clone(), id, log.clone(), seen.clone()));
    }
    drop(seen);
    let mut failure = None;
    loop {
        tokio::select! {
            ended = nodes.join_next() => match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    failure.get_or_insert(error);
                    stage.send_replace(Stage::Stopping);
                }
                Some(Err(_)) | None => break,
            },
            () = stop.next() => {
                let next = match *stage.borrow() {
                    Stage::Running => Stage::Stopping,
                    Stage::Stopping | Stage::Killing => Stage::Killing,
                };
                log.write("dev", match next {
                    Stage::Killing => "killing the nodes",
                    _ => "stopping the nodes; press Ctrl-C again to kill them",
                });
                stage.send_replace(next);
            }
        }
    }
    let asked = *stage.borrow() != Stage::Running;
    log.flush();
    match failure {
        Some(error) => Err(error),
        None if asked => Ok(()),
        None => Err(CliError::Local {
            what: "all nodes are dead".into(),
            cause: "--no-restart keeps them so".into(),
            hint: "see their last lines above; start dev again to continue".into(),
        }),
    }
}

/// Keeps one node alive until the supervisor stops.
async fn keep_alive(
    plan: Plan,
    id: u32,
    log: Log,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), CliError> {
    let name = format!("n{id}");
    let mut pause_ms = RESTART_MS_MIN;
    loop {
        let started = Instant::now();
        let mut child = spawn(&plan, id)
            .map_err(|error| CliError::no_resources("can't start a node", &error))?;
        let reading = [
            child.stdout.take().map(|pipe| log.follow(&name, pipe)),
            child.stderr.take().map(|pipe| log.follow(&name, pipe)),
        ];
        let status = wait_or_stop(&mut child, &mut stage).await;
        for reader in reading.into_iter().flatten() {
            // A grandchild that outlives the node may hold the pipe open.
            let _ = tokio::time::timeout(Duration::from_millis(RESTART_MS_MIN), reader).await;
        }
        if *stage.borrow() != Stage::Running {
            return Ok(());
        }
        let how = match &status {
            Ok(status) => exit_reason(*status),
            Err(error) => os_reason(error),
        };
        let ended_with = |code: u8| {
            let status = status.as_ref();
            status.is_ok_and(|status| status.code() == Some(code.into()))
        };
        if ended_with(exit::USAGE) {
            // It would say the same for ever.
            return Err(CliError::node(
                "bad-config",
                format!("node {id} can't run with its settings"),
                "see its last lines above, and correct the options or the environment",
            ));
        }
        if ended_with(exit::NO_MEMBER) {
            log.write(
                "dev",
                &format!("node {id} has ended, as the cluster takes it no more"),
            );
            return Ok(());
        }
        if !plan.restart {
            log.write(
                "dev",
                &format!("node {id} is dead ({how}) and is not restarted"),
            );
            return Ok(());
        }
        if started.elapsed() >= Duration::from_millis(RESTART_WELL_MS) {
            pause_ms = RESTART_MS_MIN;
        }
        log.write(
            "dev",
            &format!("node {id} is dead ({how}), restarting it in {pause_ms} ms"),
        );
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            _ = stage.wait_for(|stage| *stage != Stage::Running) => return Ok(()),
        }
        pause_ms = (pause_ms * 2).min(RESTART_MS_MAX);
    }
}

/// Waits for a node to exit, and makes it exit once the supervisor stops.
async fn wait_or_stop(
    child: &mut Child,
    stage: &mut watch::Receiver<Stage>,
) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        _ = stage.wait_for(|stage| *stage != Stage::Running) => {}
    }
    if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
        // SAFETY: kill takes plain numbers; the child is not yet waited for,
        // so the number is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    tokio::select! {
        status = child.wait() => return status,
        () = tokio::time::sleep(Duration::from_millis(STOP_GRACE_MS)) => {}
        _ = stage.wait_for(|stage| *stage == Stage::Killing) => {}
    }
    child.kill().await?;
    child.wait().await
}

fn spawn(plan: &Plan, id: u32) -> io::Result<Child> {
    let supervisor = std::process::id();
    let mut command = Command::new(&plan.program);
    let secrets = [
        ("REELRAFT_SECRET", &plan.secret),
        ("REELRAFT_PEER_SECRET", &plan.peer_secret),
    ];
    for (name, secret) in secrets {
        if let Some(secret) = secret {
            // Not on the command line, which every user of the machine can read.
            command.env(name, secret);
        }
    }
    command
        .args(plan.arguments(id))
        // Settings of the user's own node would reach all of these.
        .env_remove("REELRAFT_ADVERTISE")
        .env_remove("REELRAFT_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the supervisor, which then stops them in order.
        .process_group(0)
        .kill_on_drop(true);
    // SAFETY: between fork and exec only system calls are made, which is all
    // that is allowed there.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The supervisor may have died before the line above.
            if u32::try_from(libc::getppid()) != Ok(supervisor) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    command.spawn()
}

fn exit_reason(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown reason".into(),
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
