//! The frame of every experiment's `main`: its options, a printed seed, a
//! folder for its files, and the exit code.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::clock::now_us;

/// The options that all experiments have, and those that one of them adds.
pub struct Settings {
    /// A minute at most, with patient limits: the form that tests run.
    pub short: bool,
    pub seed: u64,
    /// `--rounds`, also called `--kills`, `--jobs`, `--cuts`, `--points`,
    /// `--tries` or `--files`.
    rounds: Option<u64>,
    /// Where the picture goes.
    pub svg: PathBuf,
    /// `--p99-ms` and `--max-ms`, for experiments that measure a time.
    p99_ms: Option<u64>,
    max_ms: Option<u64>,
    /// The experiment's own options, each with its value.
    pub extra: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the command line. `extra` names the experiment's own options.
    fn from_args(name: &str, extra: &[&str]) -> Result<Self, String> {
        let mut settings = Settings {
            short: false,
            seed: now_us() % 1_000_000,
            rounds: None,
            svg: std::env::temp_dir().join(format!("{name}.svg")),
            p99_ms: None,
            max_ms: None,
            extra: BTreeMap::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--short" => settings.short = true,
                "--seed" => settings.seed = number(&value()?)?,
                "--rounds" | "--kills" | "--jobs" | "--cuts" | "--points" | "--tries"
                | "--files" => {
                    settings.rounds = Some(number(&value()?)?);
                }
                "--svg" => settings.svg = PathBuf::from(value()?),
                "--p99-ms" => settings.p99_ms = Some(number(&value()?)?),
                "--max-ms" => settings.max_ms = Some(number(&value()?)?),
                other if extra.contains(&other) => {
                    let value = value()?;
                    settings.extra.insert(arg, value);
                }
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(settings)
    }

    /// The number of rounds asked for, or the default of the form.
    pub fn rounds_or(&self, short: u64, long: u64) -> u64 {
        self.rounds.unwrap_or(if self.short { short } else { long })
    }

    /// One of the experiment's own options, as a whole number.
    ///
    /// # Errors
    /// If its value is not one.
    pub fn extra_number(&self, name: &str) -> Result<Option<u64>, String> {
        self.extra.get(name).map(|text| number(text)).transpose()
    }

    /// The limits of a measured time, as (p99, max) in milliseconds. The short
    /// form runs beside other tests and only asks that the thing happens.
    pub fn limits_ms(&self, p99_ms: u64, max_ms: u64, short_ms: u64) -> (u64, u64) {
        let (p99_ms, max_ms) = if self.short {
            (short_ms, short_ms)
        } else {
            (p99_ms, max_ms)
        };
        (self.p99_ms.unwrap_or(p99_ms), self.max_ms.unwrap_or(max_ms))
    }
}

/// How an experiment ended, if it could run at all.
pub enum Verdict {
    /// The broken promises, in words. None, one hopes.
    Broken(Vec<String>),
    /// What this machine lacks for it.
    Skipped(String),
}

/// Runs an experiment. The exit code is 0 if every promise held or the
/// experiment was skipped, 1 if a promise was broken, 2 for bad options. The
/// folder with the nodes' logs is kept unless all went well.
pub fn run_experiment(
    name: &str,
    extra: &[&str],
    experiment: impl FnOnce(&Settings, &Path) -> Result<Verdict, String>,
) -> ExitCode {
    let settings = match Settings::from_args(name, extra) {
        Ok(settings) => settings,
        Err(refusal) => {
            eprintln!("{refusal}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", settings.seed);
    let folder = std::env::temp_dir().join(format!("reelraft-{name}-{}", std::process::id()));
    let ended = std::fs::create_dir_all(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))
        .and_then(|()| experiment(&settings, &folder));
    match ended {
        Ok(Verdict::Skipped(reason)) => {
            let _ = std::fs::remove_dir_all(&folder);
            println!("skipped: {reason}");
            return ExitCode::SUCCESS;
        }
        Ok(Verdict::Broken(broken)) if broken.is_empty() => {
            let _ = std::fs::remove_dir_all(&folder);
            println!("every promise held");
            return ExitCode::SUCCESS;
        }
        Ok(Verdict::Broken(broken)) => broken
            .iter()
            .for_each(|promise| eprintln!("BROKEN: {promise}")),
        Err(error) => eprintln!("the experiment failed: {error}"),
    }
    eprintln!("the nodes' logs are kept: {}", folder.display());
    ExitCode::FAILURE
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text} is not a whole number"))
}
