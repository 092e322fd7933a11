//! Folders that a node watches: the command `watch-folder`, by words of the node's
//! settings in place of a command line, and with the node itself to ask.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Command, FromArgMatches};
use reelraft_proto::auth::Secret;
use reelraft_trust::Connector;
use tokio::sync::watch;

use super::watch_folder::{self, WatchFolderArgs, moved_to};
use crate::{
    client::Client,
    error::CliError,
    library::moves::After,
    render::{Output, report::said_by_clap, screen::Screen},
};

/// The node whose process this is.
#[derive(Clone)]
pub struct OwnNode {
    /// Where it listens.
    pub address: String,
    /// What its clients must know.
    pub secret: Secret,
    /// What connections are made with, where it speaks by TLS.
    pub connector: Option<Connector>,
}

/// A folder to watch, and what is made of the films in it.
#[derive(Clone, Debug)]
pub struct WatchedFolder(WatchFolderArgs);

fn command() -> Command {
    let command = Command::new("watch").no_binary_name(true);
    WatchFolderArgs::augment_args(command).disable_help_flag(true)
}

/// What clap says, without the command line that nobody has typed.
fn in_a_line(error: &clap::Error) -> String {
    let said = said_by_clap(error);
    let lines = said.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("Usage: "));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

impl WatchedFolder {
    /// Reads the words that a command line would have; `off` are options of which it is
    /// only said that they are not given.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what `watch-folder` would refuse before it looks at the
    /// disk, and for what a node can't do.
    pub fn parse(words: &[String], off: &[String]) -> Result<Self, CliError> {
        let hint = "give the options of `reelraft watch-folder`, with _ for -";
        let command = command();
        let knows = |option: &str| {
            let mut all = command.get_arguments();
            all.any(|argument| argument.get_long() == option.strip_prefix("--"))
        };
        if let Some(unknown) = off.iter().find(|option| !knows(option)) {
            return Err(CliError::usage(
                format!("there is no option {unknown}"),
                hint,
            ));
        }
        let matches = command.try_get_matches_from(words);
        let args = matches.and_then(|matches| WatchFolderArgs::from_arg_matches(&matches));
        let args = args.map_err(|error| CliError::usage(in_a_line(&error), hint))?;
        if args.once {
            let hint = "leave it out; `reelraft watch-folder --once` does so once";
            return Err(CliError::usage(
                "a node watches for as long as it runs",
                hint,
            ));
        }
        args.check()?;
        Ok(WatchedFolder(args))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Where its outputs go.
    pub fn outputs(&self) -> &Path {
        &self.0.to
    }

    /// Where its sources are moved to.
    pub fn moved_to(&self) -> impl Iterator<Item = &Path> {
        let ends = [&self.0.done, &self.0.failed];
        ends.into_iter().filter_map(moved_to).map(PathBuf::as_path)
    }

    /// Whether each of its sources stays where it is.
    pub fn leaves_sources(&self) -> bool {
        self.0.done == After::Leave && self.0.failed == After::Leave
    }

    /// Watches until `stop` is set, and tells what happens.
    ///
    /// # Errors
    /// What keeps all of its films from being done.
    pub fn watch(
        &self,
        node: &OwnNode,
        tell: impl Fn(&str) + Send + Sync + 'static,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), CliError> {
        let screen = Arc::new(Screen::told(tell));
        let OwnNode {
            address,
            secret,
            connector,
        } = node.clone();
        let mut client = Client::of_node(&address, secret, connector, screen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::no_resources("can't start", &error))?;
        let ended = runtime.block_on(async {
            tokio::select! {
                ended = watch_folder::run(&mut client, self.0.clone(), Output::Table) => ended,
                _ = stop.wait_for(|stop| *stop) => Ok(()),
            }
        });
        // A disk that hangs must not hold the node's end back.
        runtime.shutdown_background();
        ended
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str], off: &[&str]) -> Result<WatchedFolder, CliError> {
        let owned = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        let (words, off): (Vec<String>, Vec<String>) = (owned(words), owned(off));
        WatchedFolder::parse(&words, &off)
    }

    #[test]
    fn words_are_those_of_the_command() {
        let words = ["--to=out", "--codec=hevc", "--done=move=done", "--", "in"];
        let watched = parse(&words, &["--once", "--strict"]).unwrap();
        assert_eq!(watched.folder(), Path::new("in"));
        assert_eq!(watched.outputs(), Path::new("out"));
        assert!(watched.moved_to().eq([Path::new("done")]) && !watched.leaves_sources());
        assert_eq!(watched.0.spec.codec.as_deref(), Some("hevc"));
    }

    #[test]
    fn what_a_node_can_not_do_is_refused_by_name() {
        for (words, off, cause) in [
            (
                &["--to=b", "--codecc=x", "--", "a"][..],
                &[][..],
                "--codecc",
            ),
            (&["--to=b", "--codec=x", "--", "a"], &[], "'x'"),
            (&["--", "a"], &[], "--to"),
            (&["--to=b", "--help", "--", "a"], &[], "--help"),
            (&["--to=b", "--endpoints=x", "--", "a"], &[], "--endpoints"),
            (&["--to=b", "--", "a"], &["--oncee"], "--oncee"),
            (&["--to=b", "--once", "--", "a"], &[], "as long as it runs"),
            (
                &["--to=b", "--failed=delete", "--", "a"],
                &[],
                "not deleted",
            ),
            (
                &["--to=b", "--request-id=x", "--", "a"],
                &[],
                "--request-id",
            ),
        ] {
            let error = parse(words, off).unwrap_err().to_string();
            assert!(error.contains(cause), "{cause}: {error}");
        }
    }
}
