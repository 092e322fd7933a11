//! What a cluster costs: CPU time of all nodes and their encoders for one
//! film, against the CPU time of the job's own reference command (one ffmpeg
//! pass). A ratio of two figures taken in one run.
//!
//! `cargo run --release --example cpu_cost [FILE] [--limit RATIO]`
#![allow(missing_docs, clippy::unwrap_used)]

use std::{path::PathBuf, process::Command, time::Instant};

use reelraft_harness::{LocalCluster, Options, make_clip};

fn main() {
    let mut file = None;
    let mut limit_milli = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--limit" => limit_milli = args.next().and_then(|text| milli(&text)),
            _ => file = Some(PathBuf::from(arg)),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = file.unwrap_or_else(|| {
        let path = folder.path().join("clip.mp4");
        make_clip(&path, 60, "1280x720");
        path
    });
    let (source, out) = (file.to_str().unwrap(), folder.path().join("out.mp4"));

    let cluster = LocalCluster::start(
        &folder.path().join("cluster"),
        Options {
            slots: Some(1),
            ..Default::default()
        },
    );
    let pids: Vec<i32> = (1..=3).map(|node| cluster.pid(node)).collect();
    let before: u64 = pids.iter().map(|&pid| cpu_ms(pid)).sum();
    let begun = Instant::now();
    let made = cluster.run(&[
        "transcode",
        source,
        out.to_str().unwrap(),
        "--preset",
        "medium",
    ]);
    let wall = begun.elapsed();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let cluster_ms = pids.iter().map(|&pid| cpu_ms(pid)).sum::<u64>() - before;

    let jobs = cluster.json(&["job", "list"]);
    let id = jobs["jobs"][0]["id"].as_str().unwrap();
    let shown = cluster.json(&["job", "show", id, "--reference"]);
    let shards = jobs["jobs"][0]["shards_total"].clone();
    let mut words: Vec<String> = serde_json::from_value(shown["args"].clone()).unwrap();
    // The command names files as the user would; here they lie elsewhere.
    let input = words.iter().position(|word| word == "-i").unwrap() + 1;
    words[input] = source.to_string();
    *words.last_mut().unwrap() = folder
        .path()
        .join("reference.mp4")
        .to_str()
        .unwrap()
        .to_string();
    drop(cluster);

    let children = || {
        // SAFETY: `usage` is a plain C struct for which zeros are a value.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
            usage
        };
        let ms = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
        ms(usage.ru_utime) + ms(usage.ru_stime)
    };
    let before = children();
    let status = Command::new(&words[0])
        .args(&words[1..])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the reference command failed: {words:?}");
    let single_ms = children() - before;

    let ratio_milli = cluster_ms * 1000 / single_ms.max(1);
    println!(
        "cluster of 3   {cluster_ms} ms CPU in {} ms, {shards} shards",
        wall.as_millis()
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

/// "1.15" as 1150.
fn milli(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1000 + part)
}

/// CPU time of a process and of its children that it has waited for.
/// Fields 14 to 17 of `/proc/PID/stat`, proc(5), in clock ticks.
fn cpu_ms(pid: i32) -> u64 {
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
