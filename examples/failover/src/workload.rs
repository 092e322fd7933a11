//! The load under which things are made to fail: films at a slow preset,
//! always two of them in the queue, which keep every core busy; and "probes",
//! jobs of one-frame shards, so that there is always something to assign and
//! soon a slot that is free for it. At the end each film is compared with one
//! that was made before any harm.

use std::path::{Path, PathBuf};

use reelraft_harness::{blake3_of, frames_of, make_clip};
use serde_json::Value;

use crate::{cli_client::CliClient, clips::generate, experiment::Settings};

/// Slots of each node: more than its share of two cores, so that films and
/// one-frame shards run beside each other on every node.
pub const SLOTS: u32 = 3;

/// Films that are in the queue at any time.
const FILMS: usize = 2;

/// Frames of one probe. A node does a few in a second, so this lasts for some
/// faults, and its analysis stays short.
const PROBE_FRAMES: u32 = 400;

/// A new probe is queued when fewer one-frame shards are left than this:
/// enough for the time that its upload and analysis take.
const SHARDS_LEFT_MIN: u64 = 150;

/// One-frame shards that must be left before harm is done: more than a
/// cluster finishes while it is harmed.
const SHARDS_READY_MIN: u64 = 60;

/// Seconds of a film: a minute's work for two cores, or a few seconds' in the
/// short form.
const FILM_SECONDS: u32 = 30;
const FILM_SECONDS_SHORT: u32 = 8;

/// How long the last films may take on a slow machine.
const FILM_PATIENCE: &str = "15m";

/// How a film is encoded.
const FILM_SPEC: [&str; 6] = [
    "--preset",
    "slow",
    "--shard-seconds",
    "3",
    "--tenant",
    "films",
];

/// How a probe is encoded.
const PROBE_SPEC: [&str; 6] = [
    "--preset",
    "ultrafast",
    "--shard-seconds",
    "1",
    "--tenant",
    "probes",
];

pub struct Workload {
    folder: PathBuf,
    clip: String,
    probe_clip: String,
    frames: u64,
    calm: CalmFilm,
    /// The jobs that were submitted so far.
    pub films: Vec<String>,
    pub probes: Vec<String>,
}

/// The film that was made before any harm: what all others must equal.
struct CalmFilm {
    hash: String,
    proof: String,
}

impl Workload {
    /// Makes the clips and the calm film.
    ///
    /// # Errors
    /// If the cluster does not make it.
    pub fn new(settings: &Settings, folder: &Path, at: &impl CliClient) -> Result<Self, String> {
        let film_seconds = if settings.short {
            FILM_SECONDS_SHORT
        } else {
            FILM_SECONDS
        };
        let (clip, probe_clip) = (folder.join("film.mp4"), folder.join("probes.mp4"));
        make_clip(&clip, film_seconds, "640x360");
        make_probe_clip(&probe_clip, PROBE_FRAMES)?;
        let (frames, clip) = (frames_of(&clip), clip.display().to_string());
        let calm = make_calm_film(at, &clip)?;
        println!("calm run: {frames} frames, blake3 {}", calm.hash);
        Ok(Workload {
            folder: folder.to_path_buf(),
            frames,
            clip,
            probe_clip: probe_clip.display().to_string(),
            calm,
            films: Vec::new(),
            probes: Vec::new(),
        })
    }

    /// Keeps films and probes in the queue. Returns whether enough one-frame
    /// shards are left: a leader that has nothing to assign can't show how soon
    /// it would.
    ///
    /// # Errors
    /// If the cluster does not accept them.
    pub fn keep_busy(&mut self, at: &impl CliClient) -> Result<bool, String> {
        let jobs = at.jobs()?;
        let unfinished = |ids: &[String]| -> Vec<&Value> {
            jobs.iter()
                .filter(|job| ids.iter().any(|id| job["id"] == **id) && !has_ended(job))
                .collect()
        };
        let films = unfinished(&self.films).len();
        let probes = unfinished(&self.probes);
        let count = |job: &Value, field: &str| job[field].as_u64().unwrap_or(0);
        let is_analysed = |job: &&&Value| count(job, "shards_total") > 0;
        let shards_left: u64 = probes
            .iter()
            .filter(is_analysed)
            .map(|job| count(job, "shards_total") - count(job, "shards_done"))
            .sum();
        let all_analysed = probes.iter().all(|job| is_analysed(&job));
        for _ in films..FILMS {
            self.films.push(at.submit(&self.clip, &FILM_SPEC)?);
        }
        if shards_left < SHARDS_LEFT_MIN && all_analysed {
            self.probes.push(at.submit(&self.probe_clip, &PROBE_SPEC)?);
        }
        Ok(shards_left >= SHARDS_READY_MIN)
    }

    /// Cancels the probes, waits for the films, and compares each with the
    /// calm one (P1, P3). Returns how they differ.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn compare_films(&self, at: &impl CliClient) -> Result<Vec<String>, String> {
        for probe in &self.probes {
            // One that has ended by itself can't be cancelled any more.
            let _ = at.try_run(&["job", "cancel", probe]);
        }
        let mut different = Vec::new();
        for id in &self.films {
            if let Err(error) = at.try_run(&["job", "wait", id, "--timeout", FILM_PATIENCE]) {
                different.push(format!("film {id} did not succeed: {error}"));
                continue;
            }
            let out = self.folder.join(format!("{id}.mp4"));
            at.try_run(&["job", "fetch", id, &out.display().to_string()])?;
            let job = at.try_json(&["job", "show", id])?;
            let (hash, frames) = (blake3_of(&out), frames_of(&out));
            if hash != self.calm.hash || frames != self.frames {
                different.push(format!("film {id}: {frames} frames, blake3 {hash}"));
            } else if job["proof_hash"] != *self.calm.proof {
                different.push(format!("film {id} has another proof than the calm run"));
            }
            let _ = std::fs::remove_file(out);
        }
        println!(
            "{} films made meanwhile: {} differ from the calm one",
            self.films.len(),
            different.len()
        );
        Ok(different)
    }
}

fn make_calm_film(at: &impl CliClient, clip: &str) -> Result<CalmFilm, String> {
    let id = at.submit(clip, &FILM_SPEC)?;
    at.try_run(&["job", "wait", &id, "--timeout", FILM_PATIENCE])?;
    let job = at.try_json(&["job", "show", &id])?;
    let text = |field: &str| job[field].as_str().map(str::to_string);
    let (hash, proof) = text("output_hash")
        .zip(text("proof_hash"))
        .ok_or(format!("the calm run gave no output: {job}"))?;
    Ok(CalmFilm { hash, proof })
}

fn has_ended(job: &Value) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&job["state"].as_str().unwrap_or(""))
}

/// Makes a clip with one small frame a second, each a keyframe. With shards of
/// one second every frame is a shard of its own, and a job of many such shards
/// is a queue that does not run dry.
///
/// # Errors
/// If ffmpeg fails.
pub(crate) fn make_probe_clip(path: &Path, frames: u32) -> Result<(), String> {
    let video = format!("testsrc2=size=64x64:rate=1:duration={frames}");
    let picture = [&video, "-c:v", "libx264", "-preset", "ultrafast", "-g", "1"];
    generate(path, &picture)
}
