//! What the failover experiments share: their options, a seeded random, a
//! clip of one-frame shards, a record of what the nodes logged, and a picture
//! of it. Which process dies, and when, is each experiment's own.
#![allow(dead_code, missing_docs)]

pub mod picture;
pub mod record;

use std::{
    path::{Path, PathBuf},
    process::Command,
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

/// The options that all experiments know.
pub struct Settings {
    /// A minute at most, with patient limits: what tests run.
    pub short: bool,
    pub seed: u64,
    /// `--kills` or `--jobs`.
    pub rounds: Option<u64>,
    /// Where the picture goes.
    pub svg: PathBuf,
    /// `--p99-ms` and `--max-ms`, where the experiment measures a time.
    pub p99_ms: Option<u64>,
    pub max_ms: Option<u64>,
}

impl Settings {
    /// From the command line; an unknown word is refused.
    pub fn from_args(name: &str) -> Result<Self, String> {
        let mut settings = Settings {
            short: false,
            seed: unix_us(SystemTime::now()) % 1_000_000,
            rounds: None,
            svg: std::env::temp_dir().join(format!("{name}.svg")),
            p99_ms: None,
            max_ms: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--short" => settings.short = true,
                "--seed" => settings.seed = number(&value()?)?,
                "--kills" | "--jobs" => settings.rounds = Some(number(&value()?)?),
                "--svg" => settings.svg = PathBuf::from(value()?),
                "--p99-ms" => settings.p99_ms = Some(number(&value()?)?),
                "--max-ms" => settings.max_ms = Some(number(&value()?)?),
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(settings)
    }
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

/// The value that `percent` of the sorted `values` don't pass (nearest rank).
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Makes a clip of one small frame a second, each a keyframe: with shards of
/// one second every frame is a shard of its own, and a job of many such
/// shards is a queue that is never empty.
pub fn make_probe_clip(path: &Path, frames: u32) -> Result<(), String> {
    let video = format!("testsrc2=size=64x64:rate=1:duration={frames}");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &video])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "1"])
        .arg(path)
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    if made.success() {
        Ok(())
    } else {
        Err("the clip of one-frame shards could not be made".into())
    }
}
