//! `reelraft dev`: a cluster of local node processes for trying things out.
//!
//! [`plan`] has the nodes and their command lines, [`supervisor`] keeps them
//! alive, [`folder`] remembers on disk what the next start needs, [`log`] brings
//! their lines to the terminal.

mod folder;
mod log;
mod plan;
mod supervisor;

use std::path::PathBuf;

use clap::Args;
use tokio::task::LocalSet;

use self::{folder::Folder, plan::Plan};
use crate::{
    error::{CliError, os_reason},
    exit,
    limits::{DEV_BASE_PORT_MAX, DEV_NODES_MAX},
    render::{report::report, screen::print},
};

/// Arguments of `dev`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft dev                                  # three nodes, 127.0.0.1:7401 to 7403
  reelraft dev --nodes 5 --data /var/tmp/five --base-port 7501

Ctrl-C stops the nodes; started again on the same folder, the cluster resumes
where it was.")]
pub struct DevArgs {
    /// How many nodes, 1 to 9 [default: the folder's, else 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEV_NODES_MAX)))]
    pub nodes: Option<u32>,
    /// Folder for the nodes' data
    #[arg(long, value_name = "DIR", default_value = "reelraft-data")]
    pub data: PathBuf,
    /// Port of the first node; the others follow [default: the folder's, else 7401]
    #[arg(long, value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(DEV_BASE_PORT_MAX)))]
    pub base_port: Option<u16>,
    /// Serve no HTTP; otherwise it has the ports 1000 above
    #[arg(long)]
    pub no_http: bool,
    /// Speak by TLS, with certificates that the cluster makes itself
    #[arg(long)]
    pub tls: bool,
    /// Do not restart a node that dies
    #[arg(long)]
    pub no_restart: bool,
    /// Tasks each node runs at once [default: its share of the cores]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,
    /// The cluster's secret, from the flag that all commands share.
    #[arg(skip)]
    pub secret: Option<String>,
}

/// Runs `dev` on this thread until it is told to stop; returns the exit code.
/// Must be called from the main thread: the nodes live as long as it does.
pub fn run(args: &DevArgs) -> u8 {
    match start(args) {
        Ok(()) => exit::OK,
        Err(error) => report(&error),
    }
}

/// The nodes share this machine's cores, unless the environment says how many
/// each gets.
fn own_share(nodes: u32) -> Option<u32> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    (!is_set("REELRAFT_SLOTS")).then(|| cores.div_ceil(nodes))
}

/// A secret of the nodes' own, where clients have one, or certificates are to be
/// made, and the environment names none. All nodes start with `dev`, so each start may have another.
fn peer_secret(secret_given: bool, tls: bool) -> Option<String> {
    let any = |names: [&str; 2]| names.into_iter().any(is_set);
    let open = !secret_given && !any(["REELRAFT_SECRET", "REELRAFT_SECRET_FILE"]);
    if open && !tls || any(["REELRAFT_PEER_SECRET", "REELRAFT_PEER_SECRET_FILE"]) {
        return None;
    }
    let random: [u8; 24] = rand::random();
    Some(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn start(args: &DevArgs) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::Local {
        what: "can't find this program's own file".into(),
        cause: os_reason(&error),
        hint: "start it by its full path".into(),
    })?;
    let folder = Folder::open(&args.data, args.nodes, args.base_port)?;
    let plan = Plan {
        program,
        nodes: folder.nodes,
        base_port: folder.base_port,
        http: !args.no_http,
        data: args.data.clone(),
        slots: args.slots.or_else(|| own_share(folder.nodes)),
        secret: args.secret.clone(),
        peer_secret: peer_secret(args.secret.is_some(), args.tls),
        tls: args.tls,
        restart: !args.no_restart,
    };
    plan.await_ports()?;
    folder.remember()?;
    print(&format!("endpoints: {}\n", plan.endpoints().join(",")))?;

    // A single thread, this one: the nodes live as long as it does.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::no_resources("can't start the supervisor", &error))?;
    LocalSet::new().block_on(&runtime, supervisor::supervise(plan))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cores_and_secrets_are_shared_among_the_nodes_of_a_machine() {
        // No test of this crate sets these variables.
        let cores = std::thread::available_parallelism().unwrap().get() as u32;
        assert_eq!(own_share(1), Some(cores));
        assert_eq!(own_share(DEV_NODES_MAX * cores), Some(1));
        assert_eq!(peer_secret(false, false), None);
        assert!(peer_secret(false, true).is_some());
        let [one, other] = [(); 2].map(|()| peer_secret(true, false).unwrap());
        assert!(one.len() == 48 && one != other);
    }
}
