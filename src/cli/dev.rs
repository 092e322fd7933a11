//! `reelraft dev`: a cluster of local node processes for trying things out.
//!
//! Starts N children of this same program, shows their log lines by name,
//! starts a dead one again after a growing pause, and ends them all with
//! itself. What is kept on disk about the folder stands in
//! [`crate::dev_folder`]; how lines reach the terminal in [`crate::dev_log`].
//!
//! ```text
//!   ┌──── pause ◀──── dead ◀───┐
//!   ▼                          │
//! spawn ────────────────▶ running ──(Ctrl-C: SIGTERM, grace, SIGKILL)──▶ ended
//! ```
//! All children are started from the thread that called [`run`]: they are tied
//! to its life (`PR_SET_PDEATHSIG`), and it must be the main one.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::LocalSet,
};

use crate::{
    dev_folder::{BASE_PORT_DEFAULT, Folder},
    dev_log::Log,
    error::{CliError, exit},
    limits::{
        DEV_NODES_MAX, DEV_VOTERS_MAX, PORT_WAIT_MS, RESTART_MS_MAX, RESTART_MS_MIN,
        RESTART_WELL_MS, STOP_GRACE_MS,
    },
    screen::print,
    source::reason,
};

/// Arguments of `dev`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft dev                                  # three nodes, 127.0.0.1:7401 to 7403
  reelraft dev --nodes 5 --data /var/tmp/five --base-port 7501

Ctrl-C ends the nodes; started again on the same folder it goes on where it was.")]
pub struct DevArgs {
    /// How many nodes, 1 to 9 [default: the folder's, else 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEV_NODES_MAX)))]
    pub nodes: Option<u32>,
    /// Folder for the nodes' data
    #[arg(long, value_name = "DIR", default_value = "reelraft-data")]
    pub data: PathBuf,
    /// Port of the first node; the others follow [default: the folder's, else 7401]
    #[arg(long, value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(1..=65_535 - i64::from(DEV_NODES_MAX)))]
    pub base_port: Option<u16>,
    /// Leave a dead node dead
    #[arg(long)]
    pub no_restart: bool,
    /// Attempts each node runs at once [default: the number of cores]
    #[arg(long)]
    pub slots: Option<u32>,
    /// The cluster's secret, from the flag that all commands share.
    #[arg(skip)]
    pub secret: Option<String>,
}

/// Runs `dev` on this thread until it is told to stop; returns the exit code.
/// Call it from the main thread.
pub fn run(args: &DevArgs) -> u8 {
    let program = std::env::current_exe().map_err(|error| CliError::Local {
        what: "can't find this program's own file".into(),
        cause: reason(&error),
        hint: "start it by its full path".into(),
    });
    match program.and_then(|program| run_program(args, program)) {
        Ok(()) => exit::OK,
        Err(error) => crate::report(&error),
    }
}

/// As [`run`], with the program that the nodes are.
pub(crate) fn run_program(args: &DevArgs, program: PathBuf) -> Result<(), CliError> {
    let folder = Folder::open(&args.data, args.nodes, args.base_port)?;
    let plan = Plan::new(args, &folder, program);
    await_ports(&plan)?;
    folder.remember()?;
    print(&format!("endpoints: {}\n", plan.endpoints().join(",")))?;

    // One thread, this one: the nodes live as long as it does.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| local("can't start the supervisor", &error))?;
    LocalSet::new().block_on(&runtime, supervise(plan))
}

fn local(what: &str, error: &io::Error) -> CliError {
    CliError::Local {
        what: what.into(),
        cause: reason(error),
        hint: "see the limits on processes and open files (`ulimit -a`)".into(),
    }
}

/// What every node is started with.
#[derive(Clone)]
struct Plan {
    program: PathBuf,
    nodes: u32,
    base_port: u16,
    data: PathBuf,
    slots: Option<u32>,
    secret: Option<String>,
    restart: bool,
}

impl Plan {
    fn new(args: &DevArgs, folder: &Folder, program: PathBuf) -> Self {
        Plan {
            program,
            nodes: folder.nodes,
            base_port: folder.base_port,
            data: args.data.clone(),
            slots: args.slots,
            secret: args.secret.clone(),
            restart: !args.no_restart,
        }
    }

    fn port(&self, id: u32) -> u16 {
        // Both are bounded by clap and the folder: 65535 is never passed.
        self.base_port + (id - 1) as u16
    }

    fn endpoints(&self) -> Vec<String> {
        (1..=self.nodes)
            .map(|id| format!("127.0.0.1:{}", self.port(id)))
            .collect()
    }

    /// What to type next, in another terminal.
    fn welcome(&self) -> String {
        let clients = format!("REELRAFT_ENDPOINTS={} ", self.endpoints().join(","));
        format!(
            "starting {} nodes in {}; in another terminal: {}reelraft transcode IN OUT",
            self.nodes,
            self.data.display(),
            // These are what clients ask anyway.
            if self.base_port == BASE_PORT_DEFAULT {
                ""
            } else {
                &clients
            }
        )
    }

    /// The command line of node `id`, without the program.
    fn arguments(&self, id: u32) -> Vec<String> {
        let peers: Vec<String> = (1..=self.nodes)
            .zip(self.endpoints())
            .map(|(id, endpoint)| format!("{id}={endpoint}"))
            .collect();
        let voters: Vec<String> = (1..=voters(self.nodes)).map(|id| id.to_string()).collect();
        let mut words = vec![
            "node".to_string(),
            "--id".into(),
            id.to_string(),
            "--listen".into(),
            format!("127.0.0.1:{}", self.port(id)),
            "--data".into(),
            self.data
                .join(format!("n{id}"))
                .to_string_lossy()
                .into_owned(),
            "--peers".into(),
            peers.join(","),
            "--voters".into(),
            voters.join(","),
        ];
        if let Some(slots) = self.slots {
            words.extend(["--slots".to_string(), slots.to_string()]);
        }
        words
    }
}

/// The largest odd number of nodes, up to 7: an even one more survives no more.
fn voters(nodes: u32) -> u32 {
    let bounded = nodes.min(DEV_VOTERS_MAX);
    bounded - u32::from(bounded.is_multiple_of(2))
}

/// Refuses ports that others hold, after a moment for those just given up.
fn await_ports(plan: &Plan) -> Result<(), CliError> {
    let deadline = Instant::now() + Duration::from_millis(PORT_WAIT_MS);
    for id in 1..=plan.nodes {
        let address = SocketAddr::from(([127, 0, 0, 1], plan.port(id)));
        while let Err(error) = TcpListener::bind(address) {
            if Instant::now() >= deadline {
                return Err(CliError::Local {
                    what: format!("can't listen on {address}"),
                    cause: reason(&error),
                    hint: "end what uses the port, or choose others with --base-port".into(),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// How far the supervisor is with stopping; nodes follow it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Running,
    Stopping,
    Killing,
}

async fn supervise(plan: Plan) -> Result<(), CliError> {
    let signals = |kind| signal(kind).map_err(|error| local("can't listen for signals", &error));
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let mut hangup = signals(SignalKind::hangup())?;
    let log = Log::start();
    log.say("dev", &plan.welcome());
    let (stage, seen) = watch::channel(Stage::Running);

    let mut nodes = tokio::task::JoinSet::new();
    for id in 1..=plan.nodes {
        nodes.spawn_local(keep(plan.clone(), id, log.clone(), seen.clone()));
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
            () = any(&mut interrupt, &mut terminate, &mut hangup) => {
                let next = match *stage.borrow() {
                    Stage::Running => Stage::Stopping,
                    Stage::Stopping | Stage::Killing => Stage::Killing,
                };
                log.say("dev", match next {
                    Stage::Killing => "killing the nodes",
                    _ => "ending the nodes; once more kills them",
                });
                stage.send_replace(next);
            }
        }
    }
    let asked = *stage.borrow() != Stage::Running;
    log.end();
    match failure {
        Some(error) => Err(error),
        None if asked => Ok(()),
        None => Err(CliError::Local {
            what: "all nodes are dead".into(),
            cause: "and --no-restart leaves them so".into(),
            hint: "see their last lines above; start dev again to go on".into(),
        }),
    }
}

async fn any(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Keeps one node alive until the supervisor stops.
async fn keep(
    plan: Plan,
    id: u32,
    log: Log,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), CliError> {
    let name = format!("n{id}");
    let mut pause_ms = RESTART_MS_MIN;
    loop {
        let started = Instant::now();
        let mut child = spawn(&plan, id).map_err(|error| local("can't start a node", &error))?;
        let reading = [
            child.stdout.take().map(|pipe| log.follow(&name, pipe)),
            child.stderr.take().map(|pipe| log.follow(&name, pipe)),
        ];
        let status = live(&mut child, &mut stage).await;
        for reader in reading.into_iter().flatten() {
            // A grandchild that outlives the node may hold the pipe open.
            let _ = tokio::time::timeout(Duration::from_millis(RESTART_MS_MIN), reader).await;
        }
        if *stage.borrow() != Stage::Running {
            return Ok(());
        }
        let how = match &status {
            Ok(status) => end_in_words(*status),
            Err(error) => reason(error),
        };
        if !plan.restart {
            log.say("dev", &format!("node {id} is dead ({how}) and stays so"));
            return Ok(());
        }
        if started.elapsed() >= Duration::from_millis(RESTART_WELL_MS) {
            pause_ms = RESTART_MS_MIN;
        }
        log.say(
            "dev",
            &format!("node {id} is dead ({how}), starting it again in {pause_ms} ms"),
        );
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            _ = stage.wait_for(|stage| *stage != Stage::Running) => return Ok(()),
        }
        pause_ms = (pause_ms * 2).min(RESTART_MS_MAX);
    }
}

/// Waits for a node's end, and brings it about once the supervisor stops.
async fn live(child: &mut Child, stage: &mut watch::Receiver<Stage>) -> io::Result<ExitStatus> {
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
    if let Some(secret) = &plan.secret {
        // Not on the command line, which every user of the machine can read.
        command.env("REELRAFT_SECRET", secret);
    }
    command
        .args(plan.arguments(id))
        // A setting of the user's own node would be given to all of these.
        .env_remove("REELRAFT_ADVERTISE")
        .env_remove("REELRAFT_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the supervisor, which then ends them in order.
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

fn end_in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no known reason".into(),
    }
}

#[cfg(test)]
#[path = "dev_tests.rs"]
mod tests;
