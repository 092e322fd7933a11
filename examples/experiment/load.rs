//! The load under which things are made to fail: films at a slow preset,
//! always two of them in the queue, which keep every core busy; and jobs of
//! one-frame shards, so that there is always something to assign and soon a
//! slot that is free for it. At the end each film is compared with a calm one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Settings, client::Asked};
use reelraft_harness::{blake3_of, frames_of, make_clip};

/// Slots of each node: more than its share of two cores, so that films and
/// one-frame shards run beside each other on every node.
pub const SLOTS: u32 = 3;

/// Films that are in the queue at any time.
const FILMS: usize = 2;

/// Frames of one job of one-frame shards. A node does a few in a second, so
/// this lasts for some faults and its analysis stays short.
const PROBES: u32 = 400;

/// A new job of one-frame shards is queued when fewer are left than this:
/// enough for the time that its upload and analysis take.
const PROBES_LEFT_MIN: u64 = 150;

/// One-frame shards that must be left before harm is done: more than a
/// cluster finishes while it is harmed.
const PROBES_READY_MIN: u64 = 60;

/// Seconds of a film: a minute's work for two cores, or a few seconds' where
/// tests wait for it.
const FILM_SECONDS: (u32, u32) = (30, 8);

/// How long the last films may take on a slow machine.
const FILM_PATIENCE: &str = "15m";

/// What a film is encoded with.
const FILM: [&str; 6] = [
    "--preset",
    "slow",
    "--shard-seconds",
    "3",
    "--tenant",
    "films",
];

/// What one-frame shards are encoded with.
const PROBE: [&str; 6] = [
    "--preset",
    "ultrafast",
    "--shard-seconds",
    "1",
    "--tenant",
    "probes",
];

/// Films and one-frame shards, and what a calm film is like.
pub struct Load {
    folder: PathBuf,
    clip: String,
    probe_clip: String,
    frames: u64,
    /// Hash and proof of the film made before any harm.
    calm: (String, String),
    pub films: Vec<String>,
    pub probes: Vec<String>,
}

impl Load {
    /// Makes the clips, and the calm film: the one that all others must equal.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn new(settings: &Settings, folder: &Path, at: &impl Asked) -> Result<Self, String> {
        let (long, short) = FILM_SECONDS;
        let film_seconds = if settings.short { short } else { long };
        let (clip, probe_clip) = (folder.join("film.mp4"), folder.join("probes.mp4"));
        make_clip(&clip, film_seconds, "640x360");
        make_probe_clip(&probe_clip, PROBES)?;
        let mut load = Load {
            folder: folder.to_path_buf(),
            frames: frames_of(&clip),
            clip: clip.display().to_string(),
            probe_clip: probe_clip.display().to_string(),
            calm: Default::default(),
            films: Vec::new(),
            probes: Vec::new(),
        };
        let id = at.submit(&load.clip, &FILM)?;
        at.say(&["job", "wait", &id, "--timeout", FILM_PATIENCE])?;
        let job = at.document(&["job", "show", &id])?;
        let word = |name: &str| job[name].as_str().map(str::to_string);
        load.calm = word("output_hash")
            .zip(word("proof_hash"))
            .ok_or(format!("the calm run gave no output: {job}"))?;
        println!("calm run: {} frames, blake3 {}", load.frames, load.calm.0);
        Ok(load)
    }

    /// Keeps films and one-frame shards in the queue, and tells whether there
    /// are enough of the latter: a leader that has nothing to assign can't
    /// show how soon it would.
    ///
    /// # Errors
    /// That the cluster did not take them.
    pub fn keep_busy(&mut self, at: &impl Asked) -> Result<bool, String> {
        let jobs = at.jobs()?;
        let unfinished = |ids: &[String]| -> Vec<&Value> {
            jobs.iter()
                .filter(|job| ids.iter().any(|id| job["id"] == **id) && !ended(job))
                .collect()
        };
        let films = unfinished(&self.films).len();
        let probes = unfinished(&self.probes);
        let count = |job: &Value, what: &str| job[what].as_u64().unwrap_or(0);
        let analysed = |job: &&&Value| count(job, "shards_total") > 0;
        let probes_left: u64 = probes
            .iter()
            .filter(analysed)
            .map(|job| count(job, "shards_total") - count(job, "shards_done"))
            .sum();
        let all_analysed = probes.iter().all(|job| analysed(&job));
        for _ in films..FILMS {
            self.films.push(at.submit(&self.clip, &FILM)?);
        }
        if probes_left < PROBES_LEFT_MIN && all_analysed {
            self.probes.push(at.submit(&self.probe_clip, &PROBE)?);
        }
        Ok(probes_left >= PROBES_READY_MIN)
    }

    /// Ends the one-frame shards, waits for the films, and compares each with
    /// the calm one (P1, P3). Says which differ.
    ///
    /// # Errors
    /// That the cluster does not answer.
    pub fn films_as_calm(&self, at: &impl Asked) -> Result<Vec<String>, String> {
        for probe in &self.probes {
            // One that has ended by itself can't be cancelled any more.
            let _ = at.say(&["job", "cancel", probe]);
        }
        let (calm, proof) = &self.calm;
        let mut differ = Vec::new();
        for id in &self.films {
            if let Err(failed) = at.say(&["job", "wait", id, "--timeout", FILM_PATIENCE]) {
                differ.push(format!("film {id} did not succeed: {failed}"));
                continue;
            }
            let out = self.folder.join(format!("{id}.mp4"));
            at.say(&["job", "fetch", id, &out.display().to_string()])?;
            let job = at.document(&["job", "show", id])?;
            let (hash, frames) = (blake3_of(&out), frames_of(&out));
            if hash != *calm || frames != self.frames {
                differ.push(format!("film {id}: {frames} frames, blake3 {hash}"));
            } else if job["proof_hash"] != **proof {
                differ.push(format!("film {id} has another proof than the calm run"));
            }
            let _ = std::fs::remove_file(out);
        }
        println!(
            "{} films made meanwhile: {} differ from the calm one",
            self.films.len(),
            differ.len()
        );
        Ok(differ)
    }
}

/// Whether a job has come to its end, well or not.
pub fn ended(job: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&job["state"].as_str().unwrap_or(""))
}

/// Makes a clip of one small frame a second, each a keyframe: with shards of
/// one second every frame is a shard of its own, and a job of many such
/// shards is a queue that is never empty.
///
/// # Errors
/// That ffmpeg could not.
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
