//! What many engines that work cost the nodes. Each is a process that speaks the protocol
//! of engines, and gives again what ffmpeg made once, in the time that a real one would
//! take: so many real ones would not fit on one machine.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_harness::{binary, free_ports, make_clip};

use crate::{
    cli_client::CliClient,
    node_cost::{cpu_seconds, resident_mib},
    process_cluster::{ProcessCluster, end_with_this_process},
};

const NODES: usize = 3;

/// The film: so many shards of a second.
const FILM_SECONDS: u32 = 60;
const SPEC: [&str; 4] = ["--preset", "ultrafast", "--shard-seconds", "1"];

/// Jobs that are under way at any time: more shards than there are engines.
const AT_ONCE: usize = 4;

/// How long a shard takes an engine.
const SHARD_TIME: Duration = Duration::from_secs(4);

/// How long nodes are watched, and how long all may take to come.
const WATCHED: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(600);

/// What they may cost a node: percent of a core, and MiB.
const PERCENT_MAX: f64 = 10.0;
const MIB_MAX: u64 = 128;

/// What the disk is measured with.
const DISK_BYTES: usize = 256 << 20;

const ENGINE: &str = include_str!("../../engine.py");
const FFMPEG: &str = include_str!("replayed_ffmpeg.py");

/// An engine's process, ended with this.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Busy {
    folder: PathBuf,
    cache: PathBuf,
    film: PathBuf,
    addresses: Vec<String>,
    // Before the nodes that they ask.
    engines: Vec<Engine>,
    cluster: ProcessCluster,
    submitted: Vec<String>,
}

/// What so many engines at work cost each of three nodes; what is more than it may be.
///
/// # Errors
/// Where it could not be measured.
pub fn cost_of_busy(folder: &Path, count: u64) -> Result<Vec<String>, String> {
    let mut busy = Busy::new(folder)?;
    let ids = busy.cluster.ids();
    let pids: Result<Vec<i32>, String> = ids.iter().map(|&id| busy.cluster.pid(id)).collect();
    let pids = pids?;
    // Small jobs are tried when a cluster comes to rest.
    sleep(Duration::from_secs(30));
    let held: Vec<u64> = pids.iter().map(|&pid| resident_mib(pid).0).collect();
    busy.start(count)?;
    busy.warm_up()?;
    let _ = fs::remove_file(busy.cache.join("reads"));
    let used = |pids: &[i32]| pids.iter().map(|&pid| cpu_seconds(pid)).collect::<Vec<_>>();
    let (before, done) = (used(&pids), busy.shards()?);
    let (begun, mut working) = (Instant::now(), Vec::new());
    while begun.elapsed() < WATCHED {
        busy.keep_open()?;
        working.push(busy.working()?);
        sleep(Duration::from_secs(2));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (after, shards) = (used(&pids), busy.shards()?.saturating_sub(done));
    let mean = working.iter().sum::<u64>() as f64 / working.len().max(1) as f64;
    println!("{mean:.0} of {count} engines work at any time; {shards} shards in {seconds:.0} s");
    busy.say_speeds()?;
    let mut broken = Vec::new();
    for (at, pid) in pids.iter().enumerate() {
        let percent = (after[at] - before[at]) / seconds * 100.0;
        let (mib, peak) = resident_mib(*pid);
        let more = mib.saturating_sub(held[at]);
        println!(
            "node {}: {percent:.1} % of a core beside its encoders; {} MiB before, {more} MiB more, \
             {peak} MiB at most",
            ids[at], held[at]
        );
        if percent > PERCENT_MAX || more > MIB_MAX {
            broken.push(format!(
                "they cost node {} {percent:.1} % and {more} MiB",
                ids[at]
            ));
        }
    }
    Ok(broken)
}

impl Busy {
    fn new(folder: &Path) -> Result<Self, String> {
        let ports = free_ports(NODES as u16);
        let addresses: Vec<String> = (0..NODES as u16)
            .map(|node| format!("127.0.0.1:{}", ports + node))
            .collect();
        let environments = addresses.iter().map(|http| {
            vec![
                ("REELRAFT_HTTP".into(), http.clone()),
                ("REELRAFT_VERIFY_ENGINES".into(), "0".into()),
                ("REELRAFT_REUSE_OUTPUTS".into(), "false".into()),
            ]
        });
        let cluster = ProcessCluster::with_environments(folder, environments.collect(), 1)?;
        cluster.wait_for_nodes(NODES, Duration::from_secs(120))?;
        let (cache, film) = (folder.join("cache"), folder.join("film.mp4"));
        let failed = |error: std::io::Error| error.to_string();
        fs::create_dir_all(&cache).map_err(failed)?;
        make_clip(&film, FILM_SECONDS, "640x360");
        for (name, text) in [("engine.py", ENGINE), ("ffmpeg.py", FFMPEG)] {
            fs::write(folder.join(name), text).map_err(failed)?;
        }
        let script = folder.join("ffmpeg");
        let text = format!(
            "#!/bin/sh\nexec python3 '{}/ffmpeg.py' \"$@\"\n",
            folder.display()
        );
        fs::write(&script, text).map_err(failed)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&script, mode).map_err(failed)?;
        Ok(Busy {
            folder: folder.to_path_buf(),
            cache,
            film,
            addresses,
            engines: Vec::new(),
            cluster,
            submitted: Vec::new(),
        })
    }

    fn start(&mut self, count: u64) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let build = Command::new(binary())
            .args(["engine", "--show-build"])
            .output();
        let build = String::from_utf8_lossy(&build.map_err(failed)?.stdout).into_owned();
        let build = build
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_string();
        let share = fs::metadata(&self.film).map_err(failed)?.len() / u64::from(FILM_SECONDS);
        for number in 0..count {
            let name = format!("busy{number}");
            let made = self
                .cluster
                .try_json(&["engine", "token", "create", &name])?;
            let address = &self.addresses[number as usize % NODES];
            let log = File::create(self.folder.join(format!("{name}.log"))).map_err(failed)?;
            let mut command = Command::new("python3");
            command
                .arg(self.folder.join("engine.py"))
                .args([&format!("http://{address}"), &build])
                .env(
                    "REELRAFT_ENGINE_TOKEN",
                    made["token"].as_str().unwrap_or_default(),
                )
                .env("FFMPEG", self.folder.join("ffmpeg"))
                .env("REPLAY_CACHE", &self.cache)
                .env("REPLAY_FILM", &self.film)
                .env("REPLAY_SECONDS", SHARD_TIME.as_secs_f64().to_string())
                .env("REPLAY_SHARE", share.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
            end_with_this_process(&mut command);
            self.engines.push(Engine(command.spawn().map_err(failed)?));
        }
        Ok(())
    }

    /// Until all shards were made once, and engines give them again.
    fn warm_up(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while self.known() < FILM_SECONDS as usize {
            if begun.elapsed() > PATIENCE {
                return Err(format!("only {} shards came to be known", self.known()));
            }
            self.keep_open()?;
            sleep(Duration::from_secs(2));
        }
        Ok(())
    }

    fn known(&self) -> usize {
        let kept = fs::read_dir(&self.cache).into_iter().flatten().flatten();
        let whole = |name: &str| !name.contains('.') && name != "reads";
        kept.filter(|entry| entry.file_name().to_str().is_some_and(whole))
            .count()
    }

    fn keep_open(&mut self) -> Result<(), String> {
        let jobs = self.cluster.jobs()?;
        let ended = |id: &&String| {
            let job = jobs.iter().find(|job| job["id"] == **id);
            let state = job.and_then(|job| job["state"].as_str());
            matches!(state, Some("succeeded" | "failed" | "cancelled"))
        };
        let open = self.submitted.iter().filter(|id| !ended(id)).count();
        let film = self.film.display().to_string();
        for _ in open..AT_ONCE {
            self.submitted.push(self.cluster.submit(&film, &SPEC)?);
        }
        Ok(())
    }

    /// Engines that have something to do.
    fn working(&self) -> Result<u64, String> {
        let listed = self.cluster.try_json(&["cluster", "engines"])?;
        let listed = listed["engines"].as_array().into_iter().flatten();
        Ok(listed
            .map(|it| it["slots_busy"].as_u64().unwrap_or(0))
            .sum())
    }

    /// Shards that engines have made.
    fn shards(&self) -> Result<u64, String> {
        let mut count = 0;
        for id in &self.submitted {
            let job = self.cluster.try_json(&["job", "show", id])?;
            let shares = job["engines"].as_array().into_iter().flatten();
            count += shares
                .map(|it| it["shards"].as_u64().unwrap_or(0))
                .sum::<u64>();
        }
        Ok(count)
    }

    /// How fast sources are read of nodes, beside the disk.
    fn say_speeds(&self) -> Result<(), String> {
        let text = fs::read_to_string(self.cache.join("reads")).unwrap_or_default();
        let (mut bytes, mut seconds) = (0.0, 0.0);
        for line in text.lines() {
            let mut words = line
                .split_whitespace()
                .filter_map(|word| word.parse::<f64>().ok());
            bytes += words.next().unwrap_or(0.0);
            seconds += words.next().unwrap_or(0.0);
        }
        let mb = |bytes: f64, seconds: f64| bytes / seconds.max(1e-9) / 1e6;
        let (write, read) = disk_seconds(&self.folder.join("disk")).map_err(|it| it.to_string())?;
        let disk = DISK_BYTES as f64;
        println!(
            "a source comes with {:.0} MB/s; the disk writes {:.0} MB/s and reads {:.0} MB/s",
            mb(bytes, seconds),
            mb(disk, write),
            mb(disk, read)
        );
        Ok(())
    }
}

/// How long it takes to write a file and to read it again.
fn disk_seconds(path: &Path) -> std::io::Result<(f64, f64)> {
    let piece = vec![7; 1 << 20];
    let begun = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..DISK_BYTES >> 20 {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    let write = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut piece = piece;
    while file.read(&mut piece)? > 0 {}
    let read = begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok((write, read))
}
