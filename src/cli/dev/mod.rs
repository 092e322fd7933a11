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
    limits::DEV_NODES_MAX,
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
          value_parser = clap::value_parser!(u16).range(1..=65_535 - i64::from(DEV_NODES_MAX)))]
    pub base_port: Option<u16>,
    /// Do not restart a node that dies
    #[arg(long)]
    pub no_restart: bool,
    /// Tasks each node runs at once [default: the number of cores]
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
        data: args.data.clone(),
        slots: args.slots,
        secret: args.secret.clone(),
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
