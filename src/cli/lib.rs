//! The client side of reelraft: every command that talks to a cluster, and
//! `dev`, which starts one on this machine.
//!
//! The binary mounts [`ClientCommand`], [`GlobalArgs`] and [`DevArgs`] in its
//! own clap tree, and calls [`run`] or [`dev::run`]. One file is one concern:
//! [`client`] finds a node that answers, [`submit`], [`upload`], [`watch`] and
//! [`fetch`] are the steps of a job's life, [`render`] says how answers look,
//! [`error`] what goes wrong and with which exit code. There is no server
//! here, and nothing about video but the spec's flags.

pub mod client;
pub mod cluster;
pub mod dev;
mod dev_folder;
mod dev_log;
pub mod error;
pub mod fetch;
pub mod jobs;
pub mod limits;
mod lock;
pub mod progress;
pub mod render;
pub mod screen;
pub mod source;
pub mod spec;
pub mod submit;
pub mod transcode;
pub mod upload;
pub mod watch;
pub mod words;

use std::sync::Arc;

use clap::{Args, Subcommand};
use reelraft_proto::auth::Secret;

pub use dev::DevArgs;
pub use error::{CliError, exit};

use crate::{
    client::Client, cluster::ClusterCommand, jobs::JobCommand, render::Output, screen::Screen,
    transcode::TranscodeArgs,
};

/// Options of every client command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct GlobalArgs {
    /// Nodes to ask, with commas; any one that lives will do
    #[arg(
        long,
        global = true,
        env = "REELRAFT_ENDPOINTS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403"
    )]
    pub endpoints: Vec<String>,
    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The commands that talk to a cluster.
#[derive(Subcommand, Clone, Debug)]
pub enum ClientCommand {
    /// Transcode a video: upload it, follow the job, fetch the result
    Transcode(Box<TranscodeArgs>),
    /// Submit, follow, fetch and delete jobs
    #[command(subcommand)]
    Job(JobCommand),
    /// Look at the cluster and its nodes
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

/// Runs one client command to its end, says what went wrong on standard
/// error, and returns the exit code (see [`exit`]). `secret` is the cluster's
/// shared one; empty is none.
pub fn run(globals: &GlobalArgs, secret: &str, command: ClientCommand) -> u8 {
    let screen = Arc::new(Screen::new());
    let result = in_runtime(globals, secret, command, &screen);
    screen.clear();
    match result {
        Ok(()) => exit::OK,
        Err(error) => report(&error),
    }
}

fn in_runtime(
    globals: &GlobalArgs,
    secret: &str,
    command: ClientCommand,
    screen: &Arc<Screen>,
) -> Result<(), CliError> {
    let secret = Secret::new(secret).ok_or_else(|| {
        CliError::usage(
            "the secret has characters that can't be sent",
            "use printable ASCII letters",
        )
    })?;
    let mut client = Client::new(&globals.endpoints, secret, screen.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Local {
            what: "can't start".into(),
            cause: error.to_string(),
            hint: "see the limits on processes and open files (`ulimit -a`)".into(),
        })?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = execute(&mut client, command, globals.output) => result,
            () = told_to_end() => Err(CliError::Interrupted {
                hint: screen.interrupt_hint(),
            }),
        }
    });
    // A disk that hangs in a read must not hold the answer back.
    runtime.shutdown_background();
    result
}

/// Ctrl-C, or SIGTERM from whoever bounds the command's time: both get the
/// hint at how to come back.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupt => {}
        _ = terminate => {}
    }
}

async fn execute(
    client: &mut Client,
    command: ClientCommand,
    output: Output,
) -> Result<(), CliError> {
    match command {
        ClientCommand::Transcode(args) => transcode::run(client, *args, output).await,
        ClientCommand::Job(command) => jobs::run(client, command, output).await,
        ClientCommand::Cluster(command) => cluster::run(client, command, output).await,
    }
}

/// Prints an error as `error: kind: cause` and `hint: …` on standard error; returns
/// its exit code.
pub fn report(error: &CliError) -> u8 {
    if !matches!(error, CliError::OutputClosed) {
        screen::put(&rendered(error));
    }
    error.exit_code()
}

fn rendered(error: &CliError) -> String {
    let cause = format!("{}: {error}", error.kind());
    let mut text = format!("error: {}\n", screen::printable(&cause));
    let hint = error.hint();
    if !hint.is_empty() {
        text.push_str(&format!("hint: {}\n", screen::printable(&hint)));
    }
    text
}

/// Prints what clap answered instead of a command, in the form of all errors;
/// returns the exit code: 0 for help and version, 2 for a wrong command line.
pub fn report_parse(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            }
        }
        _ => {
            let text = error.to_string();
            // Its own first paragraph is "error: …"; the last points to --help.
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("For more information"))
                .collect();
            // clap's usage names options that came from the environment as
            // if they were missing.
            let body = kept
                .join("\n")
                .replace(" --endpoints <HOST:PORT,…>", " [OPTIONS]");
            screen::put(&format!(
                "error: usage: {}\nhint: see the options with --help\n",
                body.trim_start_matches("error: ").trim_end()
            ));
            exit::USAGE
        }
    }
}
