//! The `reelraft` program: one binary for nodes, clients and the supervisor
//! of a local cluster. This file is the clap tree and nothing else of weight.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use reelraft::{
    config::{NodeArgs, NodeConfig, Shown},
    doctor,
    limits::NODE_NICE,
    server,
};
use reelraft_cli::{ClientCommand, DevArgs, GlobalArgs, exit, render::Output};
use reelraft_model::Problem;
use tokio::sync::watch;

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
    /// Better given as REELRAFT_SECRET, which other users can't read
    #[arg(long, global = true, help_heading = "Cluster")]
    secret: Option<String>,
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
    /// Look at a node's settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Check this machine, and say what to do
    Doctor {
        /// Folder whose disk to check; it need not be there yet
        #[arg(long, value_name = "DIR", default_value = "reelraft-data")]
        data: PathBuf,
        /// Ports that should be free
        #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_values_t = [7401, 7402, 7403])]
        ports: Vec<u16>,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the effective settings and where each came from
    Show(NodeArgs),
}

/// The clap tree. Options that all commands share are hidden where they mean
/// nothing: a node asks no endpoints.
fn command() -> clap::Command {
    let whole = Program::command();
    let unused = [
        ("dev", &["endpoints", "output"][..]),
        ("node", &["endpoints", "output"]),
        ("config", &["endpoints"]),
        ("doctor", &["endpoints", "secret"]),
        ("completions", &["endpoints", "output", "secret"]),
    ];
    let mut shown = whole.clone();
    for (name, options) in unused {
        for option in whole.get_arguments() {
            if options.contains(&option.get_id().as_str()) {
                // clap gives a subcommand no shared option that it has by itself.
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
    let program = match parsed {
        Ok(program) => program,
        Err(error) => return ExitCode::from(reelraft_cli::report_parse(&error)),
    };
    let (secret, output) = (program.secret, program.globals.output);
    let with_secret = |args: NodeArgs| NodeArgs {
        secret: secret.clone(),
        ..args
    };
    match program.command {
        Top::Client(command) => {
            let secret = secret
                .or_else(|| std::env::var("REELRAFT_SECRET").ok())
                .unwrap_or_default();
            ExitCode::from(reelraft_cli::run(&program.globals, &secret, command))
        }
        Top::Dev(args) => ExitCode::from(reelraft_cli::dev::run(&DevArgs { secret, ..args })),
        Top::Node(args) => finish(run_node(with_secret(args))),
        Top::Config {
            command: ConfigCommand::Show(args),
        } => finish(show_config(with_secret(args), output)),
        Top::Doctor { data, ports } => examine(&data, &ports, output),
        Top::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "reelraft", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn finish(result: Result<(), Problem>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!(
                "error: {}: {}\nhint: {}",
                problem.kind,
                problem.cause.trim_end(),
                problem.hint
            );
            // Settings that can't be are wrong usage, whatever they came from.
            ExitCode::from(match problem.kind.as_str() {
                "bad-config" => exit::USAGE,
                _ => exit::FAILED,
            })
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a machine that can't start threads can't run a node")
}

fn run_node(args: NodeArgs) -> Result<(), Problem> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // openraft and h2 warn of every beat that is late, and openraft::raft calls
        // each request to a node that starts or stops an error. What of it matters
        // to people (a new leader, a node that is gone) this program says itself.
        .unwrap_or_else(|_| {
            tracing_subscriber::EnvFilter::new(
                "info,openraft=error,openraft::raft=off,h2=error,sled=warn",
            )
        });
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .init();
    let config = NodeConfig::resolve(args)?;
    prefer_this_process();
    let runtime = runtime();
    let result = runtime.block_on(async {
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(async move {
            wait_for_signal().await;
            let _ = stopper.send(true);
        });
        server::run(config, stop).await
    });
    // Attempts still running are ended by their own guards; nothing else may
    // hold the process up.
    runtime.shutdown_background();
    result
}

/// Lets Raft run before whatever else keeps this machine busy, where the user
/// may (root, or CAP_SYS_NICE). Without it a node only relies on its encoders
/// being niced. Called before any thread is there, as threads inherit it.
fn prefer_this_process() {
    // SAFETY: takes three integers and touches no memory of ours.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NODE_NICE) };
}

/// SIGINT or SIGTERM.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime handles signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn show_config(args: NodeArgs, output: Output) -> Result<(), Problem> {
    let config = NodeConfig::resolve(args)?;
    match output {
        Output::Json => {
            let rows: serde_json::Map<String, serde_json::Value> = config
                .shown
                .iter()
                .map(|shown| {
                    (
                        shown.key.to_string(),
                        serde_json::json!({"value": shown.value, "origin": shown.origin}),
                    )
                })
                .collect();
            println!("{}", serde_json::Value::Object(rows));
        }
        Output::Table => {
            let widths = |text: fn(&Shown) -> usize| config.shown.iter().map(text).max();
            let keys = widths(|shown| shown.key.chars().count()).unwrap_or(0);
            let values = widths(|shown| shown.value.chars().count()).unwrap_or(0);
            for Shown { key, value, origin } in &config.shown {
                println!("{key:keys$}  {value:values$}  {origin}");
            }
        }
    }
    Ok(())
}

fn examine(data: &std::path::Path, ports: &[u16], output: Output) -> ExitCode {
    let checks = runtime().block_on(doctor::examine(data, ports));
    match output {
        Output::Json => println!("{}", doctor::json(&checks)),
        Output::Table => print!("{}", doctor::table(&checks)),
    }
    if checks.iter().all(|check| check.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
