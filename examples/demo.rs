//! The story of reelraft in a minute: three nodes, one film, and the leader
//! killed half-way. Ends with an error if anything in the story is untrue.
//!
//! Run it with `make demo`.
#![allow(missing_docs)]

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, blake3_of, frames_of, make_clip};

/// How long each of the two transcodes may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(untrue) => {
            eprintln!("\nThe demo failed: {untrue}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // Bold is for eyes only: a log gets the plain words.
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m» {text}\x1b[0m");
    } else {
        println!("\n» {text}");
    }
}

fn must(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn tell() -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("reelraft-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let told = story(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    told
}

fn story(folder: &std::path::Path) -> Result<(), String> {
    say("Making a clip of 60 seconds, with sound");
    let clip = folder.join("clip.mp4");
    make_clip(&clip, 60, "640x360");
    let frames = frames_of(&clip);
    let kib = std::fs::metadata(&clip).map_or(0, |meta| meta.len()) >> 10;
    println!("{frames} frames, {kib} KiB");

    say("Starting three nodes on loopback");
    let cluster = LocalCluster::start(&folder.join("cluster"), Options::default());
    let leader = cluster.leader();
    print!(
        "{}",
        String::from_utf8_lossy(&cluster.run(&["cluster", "status"]).stdout)
    );

    say("An undisturbed run first");
    let (clip, calm, stormy) = (
        clip.display().to_string(),
        folder.join("calm.mp4"),
        folder.join("stormy.mp4"),
    );
    let transcode = |out: &std::path::Path| {
        let out = out.display().to_string();
        cluster
            .cli(&[
                "transcode",
                &clip,
                &out,
                "--width",
                "480",
                "--shard-seconds",
                "3",
            ])
            .spawn()
    };
    let mut child = transcode(&calm).map_err(|error| error.to_string())?;
    must(
        "the undisturbed run failed",
        child.wait().is_ok_and(|status| status.success()),
    )?;

    say(&format!(
        "The same again, and half-way the leader (node {leader}) is killed with SIGKILL"
    ));
    let mut child = transcode(&stormy).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut killed = None;
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break status;
        }
        if killed.is_none() && half_way(&cluster) {
            let leader = cluster.leader();
            cluster.kill(leader);
            killed = Some(leader);
            println!("\n>>> kill -9: node {leader}, the leader, is dead");
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            return Err("the disturbed run took too long".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    must("the disturbed run failed", status.success())?;
    must(
        "the run ended before the leader could be killed half-way",
        killed.is_some(),
    )?;

    say("The proof");
    let jobs = cluster.json(&["job", "list"]);
    let id = jobs["jobs"][0]["id"]
        .as_str()
        .ok_or("no job in the list")?
        .to_string();
    let proof = cluster.run(&["job", "proof", &id]);
    must("there is no proof", proof.status.success())?;
    print!("{}", String::from_utf8_lossy(&proof.stdout));

    say("The two files");
    let (calm_hash, stormy_hash) = (blake3_of(&calm), blake3_of(&stormy));
    println!("undisturbed    {calm_hash}\nleader killed  {stormy_hash}");
    must("the two files differ", calm_hash == stormy_hash)?;
    must("frames are missing or double", frames_of(&stormy) == frames)?;
    say(&format!(
        "Equal to the byte, {frames} frames, though node {} died on the way",
        killed.unwrap_or(0)
    ));
    drop(cluster);
    Ok(())
}

/// Whether the newest job has encoded about half of its frames.
fn half_way(cluster: &LocalCluster) -> bool {
    let output = cluster.run(&["job", "list", "-o", "json"]);
    let Ok(jobs) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
        return false;
    };
    let job = &jobs["jobs"][0];
    let (done, total) = (
        job["frames_done"].as_u64().unwrap_or(0),
        job["frames_total"].as_u64().unwrap_or(0),
    );
    job["state"] == "encoding" && total > 0 && done * 2 >= total
}
