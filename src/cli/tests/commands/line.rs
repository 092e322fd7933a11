//! Command lines run against fake nodes: within the test, or as a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use clap::Parser;
use reelraft_cli::{CliError, ClientCommand, GlobalArgs, Screen, exit};

use crate::fake::{CHUNK, FakeCluster};

#[derive(Parser)]
pub struct Tree {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: ClientCommand,
}

fn parse(endpoints: &[String], words: &[&str]) -> Tree {
    let mut line = vec!["reelraft", "--endpoints"];
    let endpoints = endpoints.join(",");
    line.push(&endpoints);
    line.extend(words);
    Tree::try_parse_from(line).unwrap()
}

pub async fn run(endpoints: &[String], words: &[&str]) -> Result<(), CliError> {
    run_as("", endpoints, words).await
}

/// The same with a secret.
pub async fn run_as(secret: &str, endpoints: &[String], words: &[&str]) -> Result<(), CliError> {
    let Tree { global, command } = parse(endpoints, words);
    let screen = Arc::new(Screen::new());
    reelraft_cli::execute(&global, secret, command, &screen).await
}

pub async fn code(fake: &FakeCluster, words: &[&str]) -> u8 {
    match run(&fake.addresses, words).await {
        Ok(()) => exit::OK,
        Err(error) => {
            assert!(!error.hint().is_empty(), "no hint: {error}");
            error.exit_code()
        }
    }
}

/// Bytes that differ from chunk to chunk.
pub fn film(chunks: u32) -> Vec<u8> {
    (0..chunks * CHUNK - 100)
        .map(|at| (at / 97 % 251) as u8)
        .collect()
}

pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn film(&self, chunks: u32) -> PathBuf {
        let path = self.path("in.mp4");
        fs::write(&path, film(chunks)).unwrap();
        path
    }
}

pub fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the test `as_a_process` does: nothing, unless it is the child of
/// another, which left a command line in its environment.
pub fn serve_as_a_process() {
    let Ok(line) = std::env::var("CLI_TEST_LINE") else {
        return;
    };
    let tree = Tree::try_parse_from(line.split('\n')).unwrap();
    std::process::exit(reelraft_cli::run(&tree.global, "", tree.command).into());
}

pub fn process(fake: &FakeCluster, words: &[&str]) -> Command {
    let endpoints = fake.addresses.join(",");
    let mut line = vec!["reelraft", "--endpoints", &endpoints];
    line.extend(words);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "as_a_process", "--nocapture"])
        .env("CLI_TEST_LINE", line.join("\n"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
