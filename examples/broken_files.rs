//! Breaks real films, by flipping and cutting their bytes, and has a cluster
//! transcode each: every job must end with a verdict of its own kind, no node
//! may die, no encoder may be left behind, and a job that succeeds has as many
//! frames at least as the printed reference command gives (P3, P9, P10).
//!
//! `cargo run --release --example broken_files -- [--files N] [--seed N] [--short] [--only NUMBER]`
//!
//! The films are those of the folder that `REELRAFT_MEDIA` names; without it
//! clips are made.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use experiment::{Random, Settings, Verdict as Experiment, conduct};
use reelraft_harness::{LocalCluster, Options, frames_of, make_clip};
use serde_json::Value;

/// Larger films are left alone: a thousand jobs must end in half an hour.
const FILM_BYTES_MAX: u64 = 1 << 20;

/// How long one job may take. Most take a second; beyond this it hangs.
const JOB_PATIENCE: &str = "180s";

/// Jobs at a time: enough that neither cores nor the queue run dry.
const CLIENTS: usize = 4;

/// How long an encoder may live after its job has ended.
const ENCODER_GRACE: Duration = Duration::from_secs(5);

/// Bits that one film loses at most.
const FLIPS_MAX: u64 = 64;

/// The smallest encoding: what matters here is what is decoded.
const SPEC: [&str; 8] = [
    "--container",
    "mkv",
    "--width",
    "96",
    "--preset",
    "ultrafast",
    "--shard-seconds",
    "1",
];

fn main() -> ExitCode {
    conduct("broken-files", &["--only"], |settings, folder| {
        run(settings, folder).map(Experiment::Broken)
    })
}

/// What came of one broken film.
struct Verdict {
    /// `succeeded`, or the kind of the refusal.
    kind: String,
    /// What is not as promised, if anything.
    broken: Option<String>,
    /// Why, where plain ffmpeg decodes something of what was refused.
    decodable: Option<String>,
}

fn run(settings: &Settings, folder: &Path) -> Result<Vec<String>, String> {
    let total = settings.rounds_or(24, 1_000);
    let films = films(folder)?;
    println!("{} films, {total} broken ones", films.len());
    let cluster = LocalCluster::start(&folder.join("cluster"), Options::default());
    let pids = |cluster: &LocalCluster| -> Vec<u64> {
        let nodes = cluster.json(&["cluster", "nodes"]);
        let nodes = nodes["nodes"].as_array().cloned().unwrap_or_default();
        nodes
            .iter()
            .filter_map(|node| node["pid"].as_u64())
            .collect()
    };
    let before = pids(&cluster);

    // One film again, by its number, where a run with the same seed named it.
    let only = settings.own_number("--only")?;
    let (first, total) = only.map_or((0, total), |only| (only, only + 1));
    let next = AtomicU64::new(first);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    // Each film has a seed of its own, whoever takes it first.
                    let mut random = Random::new(settings.seed.wrapping_add(number << 32));
                    let (name, bytes) = broken_film(&films, number, &mut random);
                    let path = folder.join(&name);
                    let verdict = match std::fs::write(&path, bytes) {
                        Ok(()) => judge(&cluster, &path),
                        Err(error) => Verdict {
                            kind: "not-written".into(),
                            broken: Some(error.to_string()),
                            decodable: None,
                        },
                    };
                    if verdict.broken.is_none() && verdict.decodable.is_none() {
                        let _ = std::fs::remove_file(&path);
                    }
                    let mut verdicts = verdicts.lock().expect("no holder panics");
                    verdicts.push((name, verdict));
                    if verdicts.len() % 50 == 0 {
                        println!("{} done", verdicts.len());
                    }
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().expect("no holder panics");
    verdicts.sort_by(|one, other| one.0.cmp(&other.0));

    let mut broken = Vec::new();
    let after = pids(&cluster);
    if before != after {
        broken.push(format!("nodes died: {before:?} became {after:?}"));
    }
    std::thread::sleep(ENCODER_GRACE);
    for orphan in encoders_under(&folder.join("cluster")) {
        broken.push(format!("an encoder was left behind: process {orphan}"));
    }
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, verdict) in &verdicts {
        let counts = kinds.entry(&verdict.kind).or_default();
        counts.0 += 1;
        if let Some(cause) = &verdict.decodable {
            counts.1 += 1;
            println!("{name} is refused, though ffmpeg decodes some of it: {cause}");
        }
        if let Some(promise) = &verdict.broken {
            broken.push(format!("{name}: {promise}"));
        }
    }
    println!(
        "{:<24} {:>6}  of which ffmpeg decodes something",
        "verdict", "films"
    );
    for (kind, (count, decodable)) in kinds {
        println!("{kind:<24} {count:>6}  {decodable}");
    }
    Ok(broken)
}

/// The films to break.
fn films(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let Some(media) = std::env::var_os("REELRAFT_MEDIA") else {
        println!("REELRAFT_MEDIA names no folder: clips are made");
        let made: Vec<PathBuf> = ["mp4", "mkv", "ts", "avi"]
            .iter()
            .map(|ending| folder.join(format!("clip.{ending}")))
            .collect();
        made.iter().for_each(|clip| make_clip(clip, 3, "192x108"));
        return Ok(made);
    };
    let mut films = Vec::new();
    let mut folders = vec![PathBuf::from(media)];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            if facts.is_dir() {
                folders.push(entry.path());
            } else if (1_000..FILM_BYTES_MAX).contains(&facts.len())
                && entry
                    .path()
                    .extension()
                    .is_none_or(|ending| ending != "tsv")
            {
                films.push(entry.path());
            }
        }
    }
    films.sort();
    if films.is_empty() {
        return Err("the folder of REELRAFT_MEDIA has no film of at most 1 MiB".into());
    }
    Ok(films)
}

/// A film's name and bytes, broken in one of four ways.
fn broken_film(films: &[PathBuf], number: u64, random: &mut Random) -> (String, Vec<u8>) {
    let film = &films[random.within(0, films.len() as u64) as usize];
    let mut bytes = std::fs::read(film).unwrap_or_default();
    let length = (bytes.len() as u64).max(1);
    let ending = film.extension().unwrap_or_default().to_string_lossy();
    let how = match random.within(0, 4) {
        0 => {
            bytes.truncate(random.within(1, length) as usize);
            "cut"
        }
        1 => {
            let from = random.within(0, length) as usize;
            let to = (from + random.within(1, 4_096) as usize).min(bytes.len());
            bytes.drain(from..to);
            "hole"
        }
        2 => {
            let from = random.within(0, length) as usize;
            let to = (from + random.within(1, 4_096) as usize).min(bytes.len());
            bytes[from..to].fill(0);
            "zeroed"
        }
        _ => {
            for _ in 0..random.within(1, FLIPS_MAX) {
                let at = random.within(0, length) as usize;
                bytes[at] ^= 1 << random.within(0, 8);
            }
            "flipped"
        }
    };
    (format!("{number:04}-{how}.{ending}"), bytes)
}

/// Has the cluster transcode a film and holds the answer against ffmpeg's own.
fn judge(cluster: &LocalCluster, path: &Path) -> Verdict {
    let broken = |kind: &str, promise: String| Verdict {
        kind: kind.into(),
        broken: Some(promise),
        decodable: None,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let submit = cluster
        .cli(&[
            "job",
            "submit",
            "--detach",
            "-o",
            "json",
            "--request-id",
            &name,
        ])
        .args(SPEC)
        .arg(path)
        .output();
    let submitted = match submit {
        Ok(output) => output,
        Err(error) => return broken("no-client", error.to_string()),
    };
    let answer: Value = serde_json::from_slice(&submitted.stdout).unwrap_or_default();
    let Some(id) = answer["job"]["id"].as_str() else {
        // An empty file is refused before it is sent.
        let said = String::from_utf8_lossy(&submitted.stderr).to_string();
        return match said.contains("error:") && said.contains("hint:") {
            true => refused("at-submit", &said, path),
            false => broken("no-job", reelraft_harness::tail(&said, 3)),
        };
    };
    let waited = cluster.run(&["job", "wait", id, "--timeout", JOB_PATIENCE]);
    let job = cluster.json(&["job", "show", id]);
    match (waited.status.code(), job["state"].as_str()) {
        (Some(0), Some("succeeded")) => {}
        (Some(5), Some("failed")) => {
            let told = |field: &str| job["problem"][field].as_str().unwrap_or("");
            let kind = told("kind").to_string();
            if kind.is_empty() || told("cause").is_empty() || told("hint").is_empty() {
                return broken(
                    "untyped",
                    format!("failed without a reason: {}", job["problem"]),
                );
            }
            if ["internal", "lost-bytes", "unproven"].contains(&kind.as_str()) {
                return broken(&kind, told("cause").to_string());
            }
            return refused(&kind, told("cause"), path);
        }
        (code, state) => {
            return broken("hang", format!("exit code {code:?}, state {state:?}"));
        }
    }
    let out = path.with_extension("out.mkv");
    let fetched = cluster
        .cli(&["job", "fetch", id])
        .arg(&out)
        .output()
        .is_ok_and(|output| output.status.success());
    let frames = frames_of(&out);
    let _ = std::fs::remove_file(&out);
    let expected = reference_frames(cluster, id, path);
    let _ = cluster.run(&["job", "delete", id]);
    match expected {
        _ if !fetched => broken("succeeded", "the output can't be fetched".into()),
        Err(error) => broken("succeeded", error),
        // A broken audio track ends the reference's reading early, and not ours.
        Ok(expected) if frames < expected => broken(
            "succeeded",
            format!("{frames} frames, the reference has {expected}"),
        ),
        Ok(_) => Verdict {
            kind: "succeeded".into(),
            broken: None,
            decodable: None,
        },
    }
}

/// A refusal; whether plain ffmpeg would have given a picture is told beside.
fn refused(kind: &str, cause: &str, path: &Path) -> Verdict {
    let decoded = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "quiet", "-t", "20", "-i"])
        .arg(path)
        .args([
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-f",
            "framecrc",
            "-",
        ])
        .stdin(Stdio::null())
        .output();
    let decodable = decoded.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).to_string();
        text.lines().any(|line| !line.starts_with('#'))
    });
    Verdict {
        kind: kind.into(),
        broken: None,
        decodable: decodable.then(|| cause.to_string()),
    }
}

/// Frames that the job's printed reference command gives.
fn reference_frames(cluster: &LocalCluster, id: &str, path: &Path) -> Result<u64, String> {
    let shown = cluster.json(&["job", "show", id, "--reference"]);
    let words = shown["args"].as_array().cloned().unwrap_or_default();
    let mut words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    let out = path.with_extension("ref.mkv");
    let name = out.to_string_lossy().to_string();
    match words.last_mut() {
        Some(last) => *last = &name,
        None => return Err("no reference is printed".into()),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    // A damaged film may end ffmpeg with an error; what it wrote counts.
    Command::new(words[0])
        .args(&words[1..])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| error.to_string())?;
    let frames = frames_of(&out);
    let _ = std::fs::remove_file(&out);
    Ok(frames)
}

/// ffmpeg and ffprobe processes that work below a folder.
fn encoders_under(folder: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|process| {
            let link = |name: &str| std::fs::read_link(process.path().join(name));
            let tool = link("exe").is_ok_and(|exe| {
                exe.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("ff"))
            });
            tool && link("cwd").is_ok_and(|cwd| cwd.starts_with(folder))
        })
        .map(|process| process.file_name().to_string_lossy().to_string())
        .collect()
}
