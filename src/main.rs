//! The `reelraft` program: one binary for nodes, clients and the supervisor
//! of a local cluster. This file is the clap tree and nothing of weight.

mod daemon;
mod service;
mod watches;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use reelraft::{
    config::{self, NodeArgs, NodeConfig},
    doctor,
    engine::{self, EngineArgs},
    server::{recovery, restore},
};
use reelraft_cli::{
    BundleArgs, CliError, ClientCommand, DebugCommand, DevArgs, EngineTokenCommand, GlobalArgs,
    Output, Screen, exit, print, report, report_parse,
};
use reelraft_model::Problem;

/// A transcoding cluster in one binary.
///
/// Start a cluster on this machine with `reelraft dev`, then transcode with
/// `reelraft transcode IN OUT`.
#[derive(Parser)]
#[command(name = "reelraft", version, arg_required_else_help = true)]
struct Program {
    #[command(flatten)]
    globals: GlobalArgs,
    /// Secret shared by all nodes and clients; needed to listen beyond loopback.
    /// Prefer REELRAFT_SECRET or REELRAFT_SECRET_FILE, which other users can't read
    #[arg(long, global = true, help_heading = "Cluster")]
    secret: Option<String>,
    /// API key to ask with, in place of the secret. Prefer REELRAFT_KEY or
    /// REELRAFT_KEY_FILE, which other users can't read
    #[arg(long, global = true, help_heading = "Cluster")]
    key: Option<String>,
    #[command(subcommand)]
    command: Top,
}

#[derive(Subcommand)]
enum Top {
    #[command(flatten)]
    Client(ClientCommand),
    /// Run a cluster of node processes on this machine
    Dev(DevArgs),
    /// Run one node
    Node(NodeArgs),
    /// Encode for a cluster without being one of its nodes
    Engine {
        #[command(flatten)]
        args: EngineArgs,
        #[command(subcommand)]
        command: Option<EngineCommand>,
    },
    /// Show a node's settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Check this machine, and say what to fix
    Doctor {
        /// Folder whose disk to check; it need not exist yet [default: REELRAFT_DATA, else reelraft-data]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Ports that should be free [default: that of REELRAFT_LISTEN, else 7401,7402,7403]
        #[arg(long, value_name = "PORT,…", value_delimiter = ',')]
        ports: Vec<u16>,
    },
    /// Gather what helps whoever is asked for help
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Go on with one node where most voters are lost for good
    ///
    /// Without --yes it only says what this node's disk has, so that you can choose.
    Recover {
        /// The node's data folder; no node may run on it
        #[arg(long, value_name = "DIR", env = "REELRAFT_DATA")]
        data: PathBuf,
        /// Do it: give up what the lost nodes alone had
        #[arg(long)]
        yes: bool,
    },
    /// Make a cluster anew from a backup
    ///
    /// Without --data it only checks the file, and says what would come back.
    Restore {
        /// The file of `reelraft cluster backup`, or s3://NAME/KEY
        #[arg(value_name = "FILE|s3://NAME/KEY")]
        file: PathBuf,
        /// TOML file with the bucket that s3://NAME/KEY names, as the nodes have it
        #[arg(long, value_name = "FILE", env = "REELRAFT_S3_BUCKETS")]
        s3_buckets: Option<PathBuf>,
        /// An empty folder: it becomes that of the only node of a new cluster, which others can join
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// That node's id
        #[arg(long, value_name = "NODE", default_value_t = 1, requires = "data",
              value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
    },
    /// The same as `--version`
    #[command(hide = true)]
    Version,
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Man {
        /// Folder to write them to; it has to exist
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum EngineCommand {
    /// Make and revoke the tokens of engines
    #[command(subcommand)]
    Token(EngineTokenCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the effective settings and where each came from
    Show(NodeArgs),
}

/// The clap tree. Options that all commands share are hidden where they have
/// no meaning: a node asks no endpoints.
fn command() -> clap::Command {
    let whole = Program::command();
    let unused = [
        ("dev", &["endpoints", "server", "output", "key", "ca"][..]),
        ("node", &["endpoints", "server", "output", "key", "ca"]),
        ("config", &["endpoints", "server", "key", "ca"]),
        ("doctor", &["endpoints", "server", "secret", "key", "ca"]),
        (
            "recover",
            &["endpoints", "server", "output", "secret", "key"],
        ),
        (
            "restore",
            &["endpoints", "server", "output", "secret", "key", "ca"],
        ),
        (
            "completions",
            &["endpoints", "server", "output", "secret", "key", "ca"],
        ),
        ("man", &["endpoints", "server", "output", "secret", "key"]),
    ];
    let mut shown = whole.clone();
    for (name, options) in unused {
        for option in whole.get_arguments() {
            let id = option.get_id().as_str();
            if options.contains(&id) || id == "plaintext" {
                // clap does not override a subcommand's own option with a shared one.
                let hidden = option.clone().hide(true);
                shown = shown.mut_subcommand(name, |command| command.arg(hidden));
            }
        }
    }
    shown
}

fn main() -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Program::from_arg_matches(&matches));
    ExitCode::from(match parsed {
        Ok(program) => run(program),
        Err(error) => report_parse(&error),
    })
}

fn run(program: Program) -> u8 {
    let (secret, output) = (program.secret, program.globals.output);
    let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for warning in config::misspelt(variables) {
        Screen::new().notice(&warning);
    }
    let with_secret = |args: NodeArgs| NodeArgs {
        secret: secret.clone(),
        ..args
    };
    match program.command {
        Top::Client(command) => match config::client_credential(program.key, secret) {
            Ok(credential) => reelraft_cli::run(&program.globals, &credential, command),
            Err(problem) => report(&node_error(problem)),
        },
        Top::Dev(args) => reelraft_cli::run_dev(&DevArgs { secret, ..args }),
        Top::Node(args) => finish(daemon::run(with_secret(args)).map_err(node_error)),
        Top::Engine { args, command } => {
            let credential = || config::client_credential(program.key, secret);
            run_engine(program.globals, args, command, credential)
        }
        Top::Config {
            command: ConfigCommand::Show(args),
        } => finish(show_config(with_secret(args), output)),
        Top::Doctor { data, ports } => {
            let place = match doctor::Place::of(data, ports) {
                Ok(place) => place,
                Err(problem) => return report(&node_error(problem)),
            };
            let checks = daemon::runtime().block_on(doctor::examine(&place));
            let printed = print(&match output {
                Output::Json => doctor::json(&checks),
                Output::Table => doctor::table(&checks),
            });
            match finish(printed) {
                exit::OK if checks.iter().any(|check| !check.ok) => exit::FAILED,
                code => code,
            }
        }
        Top::Debug(DebugCommand::Bundle(args)) => {
            bundle(&program.globals, program.key, secret, &args)
        }
        Top::Recover { data, yes } => {
            let said = recovery::recover(&data, yes).map_err(node_error);
            finish(said.and_then(|said| print(&said)))
        }
        Top::Restore {
            file,
            s3_buckets,
            data,
            id,
        } => {
            let found = restore::find(&file, s3_buckets.as_deref());
            let said = found.and_then(|file| match data {
                Some(data) => restore::restore(file, &data, id),
                None => restore::look(file),
            });
            finish(said.map_err(node_error).and_then(|said| print(&said)))
        }
        Top::Version => finish(print(&command().render_version())),
        Top::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "reelraft", &mut script);
            finish(print(&String::from_utf8_lossy(&script)))
        }
        Top::Man { folder } => finish(write_manual(&folder)),
    }
}

/// A bundle, with what this machine knows without a node.
fn bundle(
    globals: &GlobalArgs,
    key: Option<String>,
    secret: Option<String>,
    args: &BundleArgs,
) -> u8 {
    let credential = match config::client_credential(key, secret) {
        Ok(credential) => credential,
        Err(problem) => return report(&node_error(problem)),
    };
    let checks = doctor::Place::of(None, Vec::new()).map(|place| {
        let checks = daemon::runtime().block_on(doctor::examine(&place));
        doctor::table(&checks)
    });
    let settings = NodeConfig::show(NodeArgs::default());
    // What follows the first line of a cause may quote a file.
    let first = |problem: &Problem| problem.to_string().lines().next().map(str::to_string);
    let said = |text: Result<String, Problem>| {
        text.unwrap_or_else(|problem| first(&problem).unwrap_or_default() + "\n")
    };
    let own = [
        ("client/version.txt", command().render_version()),
        ("client/doctor.txt", said(checks)),
        (
            "client/config.txt",
            said(settings.map(|(it, _)| config::table(&it))),
        ),
    ];
    let peers = std::env::var("REELRAFT_PEER_SECRET").ok();
    let secrets = [Some(credential.clone()), peers].into_iter().flatten();
    let secrets: Vec<String> = secrets.filter(|secret| !secret.is_empty()).collect();
    let redacted = |text: String| {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "(secret)");
        secrets.iter().fold(text, hide)
    };
    let own = own.map(|(name, text)| (name.to_string(), redacted(text)));
    let own = own.into();
    reelraft_cli::run_bundle(
        globals,
        &credential,
        args,
        (own, reelraft::clock::unix_ms()),
    )
}

/// Runs an engine, or makes tokens for one.
fn run_engine(
    globals: GlobalArgs,
    args: EngineArgs,
    command: Option<EngineCommand>,
    credential: impl FnOnce() -> Result<String, Problem>,
) -> u8 {
    let Some(EngineCommand::Token(command)) = command else {
        let named = globals.server.into_iter();
        let way = engine::Way {
            servers: named.filter(|url| !url.is_empty()).collect(),
            anchor: globals.ca,
            plaintext: globals.plaintext,
        };
        return finish(daemon::run_engine(args, way).map_err(node_error));
    };
    match credential() {
        Ok(credential) => {
            let command = ClientCommand::EngineToken(command);
            reelraft_cli::run(&globals, &credential, command)
        }
        Err(problem) => report(&node_error(problem)),
    }
}

fn write_manual(folder: &Path) -> Result<(), CliError> {
    clap_mangen::generate_to(command(), folder).map_err(|error| {
        let cause = format!("can't write to {}: {error}", folder.display());
        CliError::node(
            "io",
            cause,
            "name a folder that exists and may be written to",
        )
    })
}

fn finish(result: Result<(), CliError>) -> u8 {
    match result {
        Ok(()) => exit::OK,
        Err(error) => report(&error),
    }
}

fn node_error(Problem { kind, cause, hint }: Problem) -> CliError {
    CliError::node(kind, cause, hint)
}

fn show_config(args: NodeArgs, output: Output) -> Result<(), CliError> {
    let (settings, watched) = NodeConfig::show(args).map_err(node_error)?;
    watches::read(&watched).map_err(node_error)?;
    print(&match output {
        Output::Json => config::json(&settings),
        Output::Table => config::table(&settings),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Command;

    use super::*;

    /// clap takes two arguments of one name for one: what is given to the one
    /// would be read as the other.
    #[test]
    fn no_argument_has_the_name_of_a_global_one() {
        fn look(command: &Command, globals: &[&str]) {
            for sub in command.get_subcommands() {
                for argument in sub.get_arguments() {
                    let name = argument.get_id().as_str();
                    assert!(!globals.contains(&name), "{}: {name}", sub.get_name());
                }
                look(sub, globals);
            }
        }
        let program = Program::command();
        let globals = program.get_arguments().filter(|it| it.is_global_set());
        let globals: Vec<_> = globals.map(|it| it.get_id().as_str()).collect();
        assert!(globals.contains(&"key"));
        look(&program, &globals);
    }
}
