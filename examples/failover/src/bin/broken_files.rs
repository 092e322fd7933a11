//! Breaks real films, by flipping and cutting their bytes, and has a cluster
//! transcode each: every job must end with a verdict of its own kind, no node
//! may die, no encoder may be left behind, and a job that succeeds has at least
//! as many frames as the printed reference command gives (P3, P9, P10).
//!
//! `cargo run --release -p reelraft-failover --bin broken_files -- [--files N] [--seed N] [--short] [--only NUMBER]`
//!
//! The films are those of the folder that `REELRAFT_MEDIA` names; without it
//! clips are made.

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

use reelraft_failover::{
    experiment::{Settings, Verdict, run_experiment},
    random::Random,
};
use reelraft_harness::{LocalCluster, Options, all_pids, frames_of, make_clip, tail};
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

/// Films between two lines of progress.
const PROGRESS_EVERY: usize = 50;

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
    run_experiment("broken-files", &["--only"], |settings, folder| {
        run(settings, folder).map(Verdict::Broken)
    })
}

/// What came of one broken film.
struct Outcome {
    /// `succeeded`, or the kind of the refusal.
    kind: String,
    /// What is not as promised, if anything.
    broken: Option<String>,
    /// The cause of a refusal of what plain ffmpeg decodes some of.
    decodable: Option<String>,
}

impl Outcome {
    fn broken(kind: &str, promise: impl Into<String>) -> Self {
        Outcome {
            kind: kind.into(),
            broken: Some(promise.into()),
            decodable: None,
        }
    }

    /// A refusal. That plain ffmpeg would have decoded something is worth a
    /// line, but breaks no promise.
    fn refused(kind: &str, cause: &str, path: &Path) -> Self {
        Outcome {
            kind: kind.into(),
            broken: None,
            decodable: ffmpeg_decodes(path).then(|| cause.to_string()),
        }
    }

    fn succeeded() -> Self {
        Outcome {
            kind: "succeeded".into(),
            broken: None,
            decodable: None,
        }
    }
}

fn run(settings: &Settings, folder: &Path) -> Result<Vec<String>, String> {
    let total = settings.rounds_or(24, 1_000);
    let films = films(folder)?;
    println!("{} films, {total} broken ones", films.len());
    let cluster = LocalCluster::start(&folder.join("cluster"), Options::default());
    let before = cluster.processes();
    // `--only` repeats one film of a run with the same seed, by its number.
    let only = settings.extra_number("--only")?;
    let numbers = only.map_or((0, total), |only| (only, only + 1));
    let mut outcomes = judge_all(settings, folder, &cluster, &films, numbers);
    outcomes.sort_by(|one, other| one.0.cmp(&other.0));

    let mut broken = Vec::new();
    let after = cluster.processes();
    if before != after {
        broken.push(format!("nodes died: {before:?} became {after:?}"));
    }
    std::thread::sleep(ENCODER_GRACE);
    for orphan in encoders_under(&folder.join("cluster")) {
        broken.push(format!("an encoder was left behind: process {orphan}"));
    }
    for (name, outcome) in &outcomes {
        if let Some(cause) = &outcome.decodable {
            println!("{name} is refused, though ffmpeg decodes some of it: {cause}");
        }
        if let Some(promise) = &outcome.broken {
            broken.push(format!("{name}: {promise}"));
        }
    }
    print_counts(&outcomes);
    Ok(broken)
}

/// Breaks films and has each transcoded, a few at a time.
fn judge_all(
    settings: &Settings,
    folder: &Path,
    cluster: &LocalCluster,
    films: &[PathBuf],
    (first, end): (u64, u64),
) -> Vec<(String, Outcome)> {
    let next = AtomicU64::new(first);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return;
            }
            // Each film has a seed of its own, whichever thread takes it.
            let mut random = Random::new(settings.seed.wrapping_add(number << 32));
            let (name, bytes) = broken_film(films, number, &mut random);
            let path = folder.join(&name);
            let outcome = match std::fs::write(&path, bytes) {
                Ok(()) => judge(cluster, &path),
                Err(error) => Outcome::broken("not-written", error.to_string()),
            };
            if outcome.broken.is_none() && outcome.decodable.is_none() {
                let _ = std::fs::remove_file(&path);
            }
            let mut outcomes = outcomes.lock().expect("no holder panics");
            outcomes.push((name, outcome));
            if outcomes.len() % PROGRESS_EVERY == 0 {
                println!("{} done", outcomes.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().expect("no holder panics")
}

/// Prints how often each kind of outcome came.
fn print_counts(outcomes: &[(String, Outcome)]) {
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (_, outcome) in outcomes {
        let counts = kinds.entry(&outcome.kind).or_default();
        counts.0 += 1;
        counts.1 += u64::from(outcome.decodable.is_some());
    }
    println!(
        "{:<24} {:>6}  of which ffmpeg decodes something",
        "verdict", "films"
    );
    for (kind, (count, decodable)) in kinds {
        println!("{kind:<24} {count:>6}  {decodable}");
    }
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
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let path = entry.path();
            if metadata.is_dir() {
                folders.push(path);
            } else if (1_000..FILM_BYTES_MAX).contains(&metadata.len())
                && path.extension().is_none_or(|ending| ending != "tsv")
            {
                films.push(path);
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

/// Has the cluster transcode a film and compares the outcome with ffmpeg's own.
fn judge(cluster: &LocalCluster, path: &Path) -> Outcome {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let submit = cluster
        .cli(&["job", "submit", "--detach", "-o", "json"])
        .args(["--request-id", &name])
        .args(SPEC)
        .arg(path)
        .output();
    let submitted = match submit {
        Ok(output) => output,
        Err(error) => return Outcome::broken("no-client", error.to_string()),
    };
    let answer: Value = serde_json::from_slice(&submitted.stdout).unwrap_or_default();
    let Some(id) = answer["job"]["id"].as_str() else {
        // An empty file is refused before it is sent.
        let error = String::from_utf8_lossy(&submitted.stderr).to_string();
        return match error.contains("error:") && error.contains("hint:") {
            true => Outcome::refused("at-submit", &error, path),
            false => Outcome::broken("no-job", tail(&error, 3)),
        };
    };
    let waited = cluster.run(&["job", "wait", id, "--timeout", JOB_PATIENCE]);
    let job = cluster.json(&["job", "show", id]);
    match (waited.status.code(), job["state"].as_str()) {
        (Some(0), Some("succeeded")) => judge_output(cluster, id, path),
        (Some(5), Some("failed")) => judge_failure(&job, path),
        (code, state) => Outcome::broken("hang", format!("exit code {code:?}, state {state:?}")),
    }
}

/// A failed job must have a problem that is the film's and not the cluster's.
fn judge_failure(job: &Value, path: &Path) -> Outcome {
    let problem = &job["problem"];
    let text = |field: &str| problem[field].as_str().unwrap_or("");
    let (kind, cause) = (text("kind"), text("cause"));
    if kind.is_empty() || cause.is_empty() || text("hint").is_empty() {
        return Outcome::broken("untyped", format!("failed without a reason: {problem}"));
    }
    if ["internal", "lost-bytes", "unproven"].contains(&kind) {
        return Outcome::broken(kind, cause);
    }
    Outcome::refused(kind, cause, path)
}

/// A finished output must have at least the frames of the reference.
fn judge_output(cluster: &LocalCluster, id: &str, path: &Path) -> Outcome {
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
        _ if !fetched => Outcome::broken("succeeded", "the output can't be fetched"),
        Err(error) => Outcome::broken("succeeded", error),
        // A broken audio track ends the reference's reading early, and not ours.
        Ok(expected) if frames < expected => Outcome::broken(
            "succeeded",
            format!("{frames} frames, the reference has {expected}"),
        ),
        Ok(_) => Outcome::succeeded(),
    }
}

/// The nodes' ffmpeg: another version decodes other frames of a damaged film.
fn ffmpeg() -> Command {
    Command::new(std::env::var_os("REELRAFT_FFMPEG").unwrap_or("ffmpeg".into()))
}

/// Whether plain ffmpeg decodes any video frame of a file.
fn ffmpeg_decodes(path: &Path) -> bool {
    let decoded = ffmpeg()
        .args(["-nostdin", "-v", "quiet", "-t", "20", "-i"])
        .arg(path)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
        .args(["-f", "framecrc", "-"])
        .stdin(Stdio::null())
        .output();
    decoded.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).to_string();
        text.lines().any(|line| !line.starts_with('#'))
    })
}

/// The number of frames that the job's printed reference command gives.
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
    ffmpeg()
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

/// A node that has nothing to do tries its encoders, in a folder of that name:
/// those are no job's.
const TRIALS: &str = "trial";

/// The ffmpeg and ffprobe processes that work for jobs below a folder.
fn encoders_under(folder: &Path) -> Vec<i32> {
    let of_a_job = |cwd: &Path| {
        let mut parts = cwd.components();
        cwd.starts_with(folder) && !parts.any(|part| part.as_os_str() == TRIALS)
    };
    let link = |pid: i32, name: &str| std::fs::read_link(format!("/proc/{pid}/{name}"));
    let mut pids = all_pids();
    pids.retain(|&pid| {
        let is_tool = link(pid, "exe").is_ok_and(|program| {
            let name = program.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("ff")
        });
        is_tool && link(pid, "cwd").is_ok_and(|cwd| of_a_job(&cwd))
    });
    pids
}
