//! The story of reelraft in a minute: three nodes, one film, and the leader
//! killed half-way. Fails if anything in the story turns out to be untrue.
//!
//! Run it with `make demo`.

use std::{
    fs,
    io::IsTerminal,
    path::Path,
    process::{Child, ExitCode},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, blake3_of, frames_of, make_clip};
use serde_json::Value;

/// How long each of the two transcodes may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the transcode is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("reelraft-demo-{}", std::process::id()));
    let result = fs::create_dir_all(&folder)
        .map_err(|error| error.to_string())
        .and_then(|()| run(&folder));
    let _ = fs::remove_dir_all(&folder);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<(), String> {
    headline("Making a clip of 60 seconds, with sound");
    let clip = folder.join("clip.mp4");
    make_clip(&clip, 60, "640x360");
    let frames = frames_of(&clip);
    let kib = fs::metadata(&clip).map_or(0, |metadata| metadata.len()) >> 10;
    println!("{frames} frames, {kib} KiB");

    headline("Starting three nodes on loopback");
    let cluster = LocalCluster::start(&folder.join("cluster"), Options::default());
    print_output_of(&cluster, &["cluster", "status"])?;

    headline("An undisturbed run first");
    let calm = folder.join("calm.mp4");
    let mut client = start_transcode(&cluster, &clip, &calm)?;
    let succeeded = client.wait().is_ok_and(|status| status.success());
    check(succeeded, "the undisturbed run failed")?;

    headline("The same again, and half-way the leader is killed with SIGKILL");
    let stormy = folder.join("stormy.mp4");
    let mut client = start_transcode(&cluster, &clip, &stormy)?;
    let killed = kill_leader_half_way(&cluster, &mut client)?;

    headline("The proof");
    let jobs = cluster.json(&["job", "list"]);
    let newest = jobs["jobs"][0]["id"].as_str().unwrap_or_default();
    print_output_of(&cluster, &["job", "proof", newest])?;

    headline("The two files");
    let (calm_hash, stormy_hash) = (blake3_of(&calm), blake3_of(&stormy));
    println!("undisturbed    {calm_hash}\nleader killed  {stormy_hash}");
    check(calm_hash == stormy_hash, "the two files differ")?;
    check(
        frames_of(&stormy) == frames,
        "frames are missing or doubled",
    )?;
    headline(&format!(
        "Equal to the byte, {frames} frames, though node {killed} died on the way"
    ));
    Ok(())
}

/// Starts the client, which prints its own progress.
fn start_transcode(cluster: &LocalCluster, clip: &Path, out: &Path) -> Result<Child, String> {
    let (clip, out) = (clip.display().to_string(), out.display().to_string());
    let options = ["--width", "480", "--shard-seconds", "3"];
    cluster
        .cli(&[&["transcode", &clip, &out], &options[..]].concat())
        .spawn()
        .map_err(|error| error.to_string())
}

/// Waits for the client, and meanwhile kills the leader once. Returns who that
/// was.
fn kill_leader_half_way(cluster: &LocalCluster, client: &mut Child) -> Result<u64, String> {
    let started = Instant::now();
    let mut killed = None;
    let status = loop {
        if let Ok(Some(status)) = client.try_wait() {
            break status;
        }
        if killed.is_none() && is_half_encoded(cluster) {
            let leader = cluster.leader();
            cluster.kill(leader);
            killed = Some(leader);
            println!("\n>>> kill -9: node {leader}, the leader, is dead");
        }
        if started.elapsed() > PATIENCE {
            let _ = client.kill();
            return Err("the disturbed run took too long".into());
        }
        sleep(LOOK_EVERY);
    };
    check(status.success(), "the disturbed run failed")?;
    killed.ok_or("the run ended before the leader could be killed half-way".into())
}

/// Whether the newest job has encoded about half of its frames.
fn is_half_encoded(cluster: &LocalCluster) -> bool {
    let output = cluster.run(&["job", "list", "-o", "json"]);
    let jobs: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let newest = &jobs["jobs"][0];
    let done = newest["frames_done"].as_u64().unwrap_or(0);
    let total = newest["frames_total"].as_u64().unwrap_or(0);
    newest["state"] == "encoding" && total > 0 && done * 2 >= total
}

fn print_output_of(cluster: &LocalCluster, args: &[&str]) -> Result<(), String> {
    let output = cluster.run(args);
    print!("{}", String::from_utf8_lossy(&output.stdout));
    check(output.status.success(), &format!("{args:?} failed"))
}

fn headline(text: &str) {
    // Bold only for a terminal: a log gets the plain words.
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m» {text}\x1b[0m");
    } else {
        println!("\n» {text}");
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(otherwise.to_string())
    }
}
