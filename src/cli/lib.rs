//! The client side of reelraft: every command that talks to a cluster, and
//! `dev`, which starts one on this machine.
//!
//! The binary mounts [`ClientCommand`], [`GlobalArgs`] and [`DevArgs`] in its
//! own clap tree, and calls [`run`] or [`run_dev`]. A module imports only from
//! the rows below its own, or from its neighbours in the same folder:
//!
//! ```text
//! lib
//! commands        dev            one file for each command; a local cluster
//! library                        many files: found, judged, done once each
//! transfer        spec_options   upload, follow, fetch; options ──▶ v1::Spec
//! client                         several endpoints, one in use, with retries
//! door                           the ways to a node: its gRPC or its HTTP port
//! render                         json, table, progress, the two output streams
//! job_end                        what the state of a job means for a command
//! error                          what can go wrong
//! signals    file_lock           what ends a command; locks on files
//! exit    limits                 exit code and hint of each kind of problem
//! ```
//! There is no server here, and nothing about video but the spec's options.
#![allow(missing_docs)] // A name that says it all needs no doc line.

mod client;
mod commands;
mod dev;
mod door;
mod error;
pub mod exit;
mod file_lock;
mod job_end;
mod library;
pub mod limits;
mod render;
mod signals;
pub mod spec_options;
mod transfer;

use std::sync::Arc;

use clap::{Args, builder::FalseyValueParser};
use reelraft_proto::auth::Secret;
use reelraft_trust::Anchor;

use crate::{client::Client, door::Showing};
pub use crate::{
    commands::{
        ClientCommand, EngineTokenCommand,
        bundle::{BundleArgs, DebugCommand},
        watched::{OwnNode, WatchedFolder},
    },
    dev::{DevArgs, run as run_dev},
    error::CliError,
    render::{
        Output,
        report::{report, report_in, report_parse},
        screen::{Screen, print},
    },
    transfer::source,
};

/// Where the endpoints stand in the environment; empty is as good as unset.
const ENDPOINTS_VARIABLE: &str = "REELRAFT_ENDPOINTS";

/// Where the URLs of HTTP ports stand there.
const SERVER_VARIABLE: &str = "REELRAFT_SERVER";

/// The nodes of `dev`.
const ENDPOINTS_DEFAULT: &str = "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403";

/// Options of every client command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct GlobalArgs {
    /// Nodes to ask, separated by commas; any one that is alive will do
    #[arg(
        long,
        global = true,
        env = ENDPOINTS_VARIABLE,
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = ENDPOINTS_DEFAULT
    )]
    pub endpoints: Vec<String>,
    /// HTTP ports to ask instead, where a proxy passes no gRPC; several with commas
    #[arg(
        long,
        global = true,
        env = SERVER_VARIABLE,
        value_name = "URL,…",
        value_delimiter = ','
    )]
    pub server: Vec<String>,
    /// What to know the nodes by, where they speak by TLS: a file with the cluster's
    /// authority, sha256: with its hash, or system
    #[arg(
        long,
        global = true,
        env = "REELRAFT_CA",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub ca: Option<String>,
    /// Send the secret, the key or an engine's token in clear, where there is no TLS
    /// beyond this machine: only in a network that nobody else can listen in on
    #[arg(
        long,
        global = true,
        env = "REELRAFT_PLAINTEXT",
        value_parser = FalseyValueParser::new()
    )]
    pub plaintext: bool,
    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Runs one client command to its end, prints what went wrong on standard
/// error, and returns the exit code (see [`exit`]). `secret` is the one the
/// cluster shares; empty means none.
pub fn run(globals: &GlobalArgs, secret: &str, command: ClientCommand) -> u8 {
    let screen = Arc::new(Screen::new());
    let result = in_runtime(globals, secret, command, &screen);
    screen.clear();
    match result {
        Ok(()) => exit::OK,
        Err(error) => report_in(&error, &screen.way_back(), globals.output),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::no_resources("can't start", &error))
}

fn in_runtime(
    globals: &GlobalArgs,
    secret: &str,
    command: ClientCommand,
    screen: &Arc<Screen>,
) -> Result<(), CliError> {
    let runtime = runtime()?;
    let interrupted = |screen: &Screen| CliError::Interrupted {
        hint: screen.interrupt_hint(),
    };
    let (shown, output) = (screen.clone(), globals.output);
    let stopped = signals::on_thread(move || report_in(&interrupted(&shown), "", output))?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = execute(globals, secret, command, screen) => result,
            Ok(()) = stopped => Err(interrupted(screen)),
        }
    });
    // A disk that hangs in a read must not hold the answer back.
    runtime.shutdown_background();
    result
}

/// Gathers a bundle for help beside what this machine knows itself, prints what went
/// wrong, and returns the exit code.
pub fn run_bundle(
    globals: &GlobalArgs,
    secret: &str,
    args: &BundleArgs,
    own: (Vec<(String, String)>, u64),
) -> u8 {
    let screen = Arc::new(Screen::new());
    let gathered = async |globals: &GlobalArgs| {
        let one_each = each_node(globals, secret, &screen)?;
        commands::bundle::run(one_each, args, own, globals.output).await
    };
    let result = runtime().and_then(|runtime| runtime.block_on(gathered(globals)));
    screen.clear();
    match result {
        Ok(()) => exit::OK,
        Err(error) => report_in(&error, "", globals.output),
    }
}

/// A client for each node alone.
fn each_node(
    globals: &GlobalArgs,
    secret: &str,
    screen: &Arc<Screen>,
) -> Result<Vec<(String, Client)>, CliError> {
    let (urls, named) = (&globals.server, &globals.endpoints);
    let over_http = urls.iter().any(|url| !url.is_empty());
    let names = if over_http { urls } else { named };
    let names = names.iter().filter(|name| !name.is_empty());
    let one = |name: &String| {
        let (server, endpoints) = match over_http {
            true => (vec![name.clone()], Vec::new()),
            false => (Vec::new(), vec![name.clone()]),
        };
        let alone = GlobalArgs {
            server,
            endpoints,
            ..globals.clone()
        };
        Ok((name.clone(), client_of(&alone, secret, screen)?))
    };
    names.map(one).collect()
}

/// As [`run`], in the caller's runtime, with the error for the caller.
///
/// # Errors
/// The node's refusal, the job's own failure, or a local one.
pub async fn execute(
    globals: &GlobalArgs,
    secret: &str,
    command: ClientCommand,
    screen: &Arc<Screen>,
) -> Result<(), CliError> {
    let mut client = client_of(globals, secret, screen)?;
    commands::run(&mut client, command, globals.output).await
}

fn client_of(globals: &GlobalArgs, secret: &str, screen: &Arc<Screen>) -> Result<Client, CliError> {
    let secret = Secret::new(secret).ok_or_else(|| {
        CliError::usage(
            "the secret has characters that can't be sent",
            "use printable ASCII letters",
        )
    })?;
    let named = globals.ca.as_deref().filter(|named| !named.is_empty());
    let anchor = named.map(Anchor::parse).transpose().map_err(|error| {
        let hint = "give --ca the file that `reelraft cluster cert ca` writes, or sha256:HASH";
        CliError::usage(format!("--ca: {error}"), hint)
    })?;
    let showing = Showing {
        secret,
        anchor,
        plaintext: globals.plaintext,
    };
    let urls: Vec<&String> = globals
        .server
        .iter()
        .filter(|url| !url.is_empty())
        .collect();
    let unset = std::env::var_os(ENDPOINTS_VARIABLE).is_some_and(|names| names.is_empty());
    let given = globals.endpoints.iter().any(|name| !name.is_empty());
    if !urls.is_empty() {
        Client::over_http(&urls, &showing, screen.clone())
    } else if unset && !given {
        let names = ENDPOINTS_DEFAULT.split(',').map(String::from);
        Client::new(&names.collect::<Vec<_>>(), &showing, screen.clone())
    } else {
        Client::new(&globals.endpoints, &showing, screen.clone())
    }
}
