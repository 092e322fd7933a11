//! What a cluster costs: CPU time of all nodes and their encoders for one
//! film, against the CPU time of the job's own reference command (one ffmpeg
//! pass). The result is the ratio of two figures from one run.
//!
//! `cargo run --release -p reelraft-quality --bin cpu_cost -- [FILE] [--limit RATIO]`
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use reelraft_harness::{LocalCluster, Options, make_clip};

/// What one film took in the cluster.
struct Measured {
    cpu_ms: u64,
    wall: Duration,
    shards: u64,
    /// The reference command, with this machine's paths.
    reference: Vec<String>,
}

fn main() {
    let (file, limit_milli) = arguments();
    let folder = tempfile::tempdir().unwrap();
    let file = file.unwrap_or_else(|| {
        let path = folder.path().join("clip.mp4");
        make_clip(&path, 60, "1280x720");
        path
    });
    let measured = in_cluster(&file, folder.path());
    let single_ms = in_one_pass(&measured.reference);
    let ratio_milli = measured.cpu_ms * 1000 / single_ms.max(1);
    println!(
        "cluster of 3   {} ms CPU in {} ms, {} shards",
        measured.cpu_ms,
        measured.wall.as_millis(),
        measured.shards
    );
    println!("one pass       {single_ms} ms CPU");
    println!(
        "ratio          {}.{:03}",
        ratio_milli / 1000,
        ratio_milli % 1000
    );
    if limit_milli.is_some_and(|limit| ratio_milli > limit) {
        eprintln!("above the limit");
        std::process::exit(1);
    }
}

fn arguments() -> (Option<PathBuf>, Option<u64>) {
    let (mut file, mut limit_milli) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--limit" => limit_milli = args.next().and_then(|text| milli(&text)),
            _ => file = Some(PathBuf::from(arg)),
        }
    }
    (file, limit_milli)
}

/// Transcodes a film in a cluster of three nodes with one slot each.
fn in_cluster(file: &Path, folder: &Path) -> Measured {
    let options = Options {
        slots: Some(1),
        ..Default::default()
    };
    let cluster = LocalCluster::start(&folder.join("cluster"), options);
    let pids: Vec<i32> = (1..=3).map(|node| cluster.pid(node)).collect();
    let cpu_ms = || pids.iter().map(|&pid| cpu_ms_of(pid)).sum::<u64>();
    let before_ms = cpu_ms();
    let started = Instant::now();
    let output = cluster
        .cli(&["transcode", "--preset", "medium"])
        .args([file, &folder.join("out.mp4")])
        .output()
        .unwrap();
    let wall = started.elapsed();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problems}");
    let cpu_ms = cpu_ms() - before_ms;

    let jobs = cluster.json(&["job", "list"]);
    let job = &jobs["jobs"][0];
    let shown = cluster.json(&["job", "show", job["id"].as_str().unwrap(), "--reference"]);
    let mut reference: Vec<String> = serde_json::from_value(shown["args"].clone()).unwrap();
    // The command names its files as the user would, who stands beside them.
    let input = reference.iter().position(|arg| arg == "-i").unwrap() + 1;
    reference[input] = file.display().to_string();
    *reference.last_mut().unwrap() = folder.join("reference.mp4").display().to_string();
    Measured {
        cpu_ms,
        wall,
        shards: job["shards_total"].as_u64().unwrap(),
        reference,
    }
}

/// CPU time of the reference command.
fn in_one_pass(reference: &[String]) -> u64 {
    let before_ms = cpu_ms_of_children();
    let status = Command::new(&reference[0])
        .args(&reference[1..])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the reference command failed: {reference:?}"
    );
    cpu_ms_of_children() - before_ms
}

/// CPU time of all children that have ended.
fn cpu_ms_of_children() -> u64 {
    // SAFETY: `usage` is a plain C struct for which zeros are a value.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let ms = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// "1.15" as 1150.
fn milli(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1000 + part)
}

/// CPU time of a process and of its children that it has waited for: fields 14
/// to 17 of `/proc/PID/stat`, proc(5), in clock ticks.
fn cpu_ms_of(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest)
        .unwrap_or_default();
    let ticks: u64 = rest
        .split(' ')
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    // SAFETY: sysconf takes a constant and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    ticks * 1000 / per_second.max(1)
}
