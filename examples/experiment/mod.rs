//! What the failover experiments share: their frame (options, seed, verdict),
//! a load of films and one-frame shards, nodes that the experiment starts
//! itself, a record of what the nodes logged, checks of it, and a picture.
//! Which process or link fails, and when, is each experiment's own.
#![allow(dead_code, missing_docs)]

pub mod calls;
pub mod checks;
pub mod client;
pub mod customer;
pub mod disk;
pub mod fleet;
pub mod ledger;
pub mod load;
pub mod network;
pub mod picture;
pub mod record;
pub mod report;
pub mod requests;
pub mod scene;
pub mod supervisor;
pub mod watched;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

/// Random numbers from a seed that an experiment prints, so that its schedule
/// can be run again. SplitMix64: small, and good enough to choose a victim.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `low..high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }
}

/// The options that all experiments know, and those that one of them adds.
pub struct Settings {
    /// A minute at most, with patient limits: what tests run.
    pub short: bool,
    pub seed: u64,
    /// `--rounds`, also called `--kills`, `--jobs`, `--cuts`, `--points` or
    /// `--tries`.
    pub rounds: Option<u64>,
    /// Where the picture goes.
    pub svg: PathBuf,
    /// `--p99-ms` and `--max-ms`, where the experiment measures a time.
    pub p99_ms: Option<u64>,
    pub max_ms: Option<u64>,
    /// The experiment's own options, each with its value.
    pub own: BTreeMap<String, String>,
}

impl Settings {
    /// From the command line; a word that is neither known to all nor one of
    /// `own` is refused.
    fn from_args(name: &str, own: &[&str]) -> Result<Self, String> {
        let mut settings = Settings {
            short: false,
            seed: now_us() % 1_000_000,
            rounds: None,
            svg: std::env::temp_dir().join(format!("{name}.svg")),
            p99_ms: None,
            max_ms: None,
            own: BTreeMap::new(),
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
                other if own.contains(&other) => {
                    let value = value()?;
                    settings.own.insert(arg, value);
                }
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(settings)
    }

    /// How many rounds: as asked for, else by the form.
    pub fn rounds_or(&self, short: u64, long: u64) -> u64 {
        self.rounds.unwrap_or(if self.short { short } else { long })
    }

    /// One of the experiment's own options, as a whole number.
    ///
    /// # Errors
    /// That the value is none.
    pub fn own_number(&self, name: &str) -> Result<Option<u64>, String> {
        self.own.get(name).map(|text| number(text)).transpose()
    }

    /// What a measured time may be: (p99, max) in milliseconds. The short form
    /// runs beside other tests and only asks that the thing happens at all.
    pub fn limits_ms(&self, p99_ms: u64, max_ms: u64, short_ms: u64) -> (u64, u64) {
        let (p99_ms, max_ms) = if self.short {
            (short_ms, short_ms)
        } else {
            (p99_ms, max_ms)
        };
        (self.p99_ms.unwrap_or(p99_ms), self.max_ms.unwrap_or(max_ms))
    }
}

/// How an experiment ended, if it could be made at all.
pub enum Verdict {
    /// The promises that were broken, in words: none, one hopes.
    Broken(Vec<String>),
    /// What this machine lacks for it.
    Skipped(String),
}

/// The frame of every experiment's `main`: reads its options, prints the seed,
/// gives it a folder, and turns what it found into words and an exit code: 0
/// where every promise held (or with the word "skipped" and the reason), 1
/// where one was broken, 2 for options that can't be. The folder is kept with
/// the nodes' logs unless all went well.
pub fn conduct(
    name: &str,
    own: &[&str],
    experiment: impl FnOnce(&Settings, &Path) -> Result<Verdict, String>,
) -> ExitCode {
    let settings = match Settings::from_args(name, own) {
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

/// Microseconds since 1970, the unit of the nodes' own log lines.
pub fn unix_us(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// [`unix_us`] of now.
pub fn now_us() -> u64 {
    unix_us(SystemTime::now())
}

/// Milliseconds from one moment to a later one, both in microseconds.
pub fn ms_between(from_us: u64, to_us: u64) -> u64 {
    to_us.saturating_sub(from_us) / 1_000
}

/// The value that `percent` of the sorted `values` don't pass (nearest rank).
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Measured times in one line, sorted by this.
pub fn figures(values_ms: &mut [u64]) -> String {
    if values_ms.is_empty() {
        return "not measured".into();
    }
    values_ms.sort_unstable();
    format!(
        "p50 {} ms, p99 {} ms, max {} ms ({} values)",
        percentile(values_ms, 50),
        percentile(values_ms, 99),
        percentile(values_ms, 100),
        values_ms.len()
    )
}
