//! `reelraft engine`: encodes for a cluster that it is no member of. It makes outgoing
//! connections alone, keeps nothing but what it works on, and may come and go: what it
//! runs goes on when its member is lost, and it names it to the next one.
//!
//! It speaks what docs/engines.md says to everybody.

mod folder;
mod link;
mod machine;
mod session;
mod source;
mod work;

use std::{path::PathBuf, sync::Arc};

use reelraft_media::Tools;
use reelraft_model::Problem;
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::link::Way;
use self::{folder::WorkFolder, link::Members, machine::Machine, session::Session, work::Works};
use crate::limits::ENGINE_RUNS_MAX;

/// Settings as flags.
#[derive(clap::Args, Clone, Debug)]
pub struct EngineArgs {
    /// The engine's token, from `reelraft engine token create`. Prefer the variable, which
    /// other users can't read
    #[arg(long, env = "REELRAFT_ENGINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Shards to encode at once [default: the number of cores]
    #[arg(long)]
    pub slots: Option<u32>,
    /// Folder in which it makes one of its own for what is worked on; nothing else in it is touched [default: that for temporary files]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// What to tell people of this machine, such as place=attic; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Start even where ffmpeg is not closed in, so that a hole in it reaches all that this user can
    #[arg(long)]
    pub unconfined: bool,
    /// Print the encoder build of this machine, and end
    #[arg(long)]
    pub show_build: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let pair = pair.map(|(name, value)| (name.to_string(), value.to_string()));
    pair.ok_or_else(|| "give it as NAME=VALUE".to_string())
}

fn failed(error: &reelraft_media::MediaError) -> Problem {
    Problem::new(error.kind(), error.to_string(), error.hint())
}

/// Runs an engine until `stop` is set.
///
/// # Errors
/// Why it can't work: no ffmpeg, no token, or one that is refused.
pub async fn run(args: EngineArgs, way: Way, stop: watch::Receiver<bool>) -> Result<(), Problem> {
    let tools = Tools::find().map_err(|error| failed(&error))?;
    let build = reelraft_media::probe_build(&tools).await;
    let build = build.map_err(|error| failed(&error))?;
    if args.show_build {
        println!("{}", build.hash);
        return Ok(());
    }
    let missing = |cause: &str, hint: &str| Problem::new("bad-config", cause, hint);
    let token = args
        .token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            missing(
                "the engine has no token",
                "set REELRAFT_ENGINE_TOKEN to what `reelraft engine token create NAME` printed",
            )
        })?;
    if way.servers.is_empty() {
        let hint = "give --server with the HTTP port of a node, such as https://node1:8401";
        return Err(missing("the engine knows no node", hint));
    }
    let members = Members::new(way, token)?;
    check_confined(&tools, args.unconfined).await?;
    let place = args.work.unwrap_or_else(std::env::temp_dir);
    let unfit = |error: std::io::Error| {
        let cause = format!("can't work in {}: {error}", place.display());
        missing(&cause, "name another folder with --work")
    };
    let whole = std::path::absolute(&place).map_err(unfit)?;
    let folder = WorkFolder::make(&whole).map_err(unfit)?;
    let root = folder.path();
    let benchmark = root.join("benchmark");
    std::fs::create_dir(&benchmark).map_err(unfit)?;
    let speeds = reelraft_media::measure_speeds(&tools, &benchmark, &build.lacks).await;
    let _ = std::fs::remove_dir_all(&benchmark);
    info!(build = build.hash, words = build.words, "ready");
    let machine = Machine {
        build: build.hash,
        build_words: build.words,
        lacks: build.lacks.into_iter().map(|lack| lack.what).collect(),
        speeds,
        slots: args
            .slots
            .unwrap_or_else(cores)
            .clamp(1, ENGINE_RUNS_MAX as u32),
        labels: args.label.into_iter().collect(),
        tools,
    };
    let works = Works::new(machine.tools.clone(), root.to_path_buf()).await?;
    let session = Session::new(members, Arc::new(works), machine);
    session.run(stop).await
}

/// Refuses a machine where ffmpeg could get out of its sandbox, unless it is wanted so:
/// it reads films of others, and its arguments come over the network.
async fn check_confined(tools: &Tools, unconfined: bool) -> Result<(), Problem> {
    let check = reelraft_media::check_sandbox(tools).await;
    match (check.ok, unconfined) {
        (true, _) => info!("encoder sandbox: {}", check.found),
        (false, true) => warn!(hint = check.hint, "encoder sandbox: {}", check.found),
        (false, false) => {
            let cause = format!("ffmpeg is not closed in here: {}", check.found);
            let hint = format!("{}; or give --unconfined", check.hint);
            return Err(Problem::new("bad-config", cause, hint));
        }
    }
    Ok(())
}

/// How many cores this machine has.
fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}
