//! Flips or cuts bytes on the disk of one of three nodes, again and again: in
//! its log, table, snapshot and blobs while it is stopped, and in blobs while
//! it runs. Afterwards no wrong byte may be served and nothing acknowledged be
//! gone (P1, P2); the node either logs what it found and goes on, repaired, or
//! refuses to start with a reason and a hint (P10).
//!
//! `cargo run --release -p reelraft-failover --bin rot -- [--tries N] [--seed N] [--short]`
//!
//! A refused node gets its undamaged disk back. That is right only here, as it
//! took part in nothing meanwhile: an older copy of a Raft log must never be
//! put back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use reelraft_failover::{
    checking_client::CheckingClient,
    experiment::{Settings, Verdict, run_experiment},
    grpc::{self, CallError},
    process_cluster::ProcessCluster,
    random::Random,
};
use reelraft_harness::{make_clip, tail};
use reelraft_proto::v1::{Job, JobRef, JobState, Spec};
use reelraft_storage::{SnapshotHead, Storage};

/// Tries of a full run, and of a short one.
const TRIES: u64 = 500;
const TRIES_SHORT: u64 = 12;

/// Tries between two lines of progress.
const PROGRESS_EVERY: u64 = 50;

/// How long a node may take until it answers or refuses.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long a damaged blob may take until it is copied from another home once
/// it was found: its node looks every two seconds.
const REPAIR_PATIENCE: Duration = Duration::from_secs(60);

/// Pause before something is asked again.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// What a refusal to start may say.
const REFUSALS: [&str; 3] = [
    "error: damaged-log: ",
    "error: missing-log: ",
    "error: missing-snapshot: ",
];

fn main() -> ExitCode {
    run_experiment("rot", &[], |settings, folder| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime
            .block_on(Experiment::new(settings, folder)?.run())
            .map(Verdict::Broken)
    })
}

/// What was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Log,
    Table,
    Snapshot,
    Blob,
}

struct Experiment<'a> {
    settings: &'a Settings,
    random: Random,
    cluster: ProcessCluster,
    folder: PathBuf,
    /// The finished jobs, as they were acknowledged.
    jobs: BTreeMap<String, Job>,
    /// Starts with damage so far.
    starts: usize,
    /// How often each outcome came of damage to each target.
    outcomes: BTreeMap<(Target, &'static str), u64>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        Ok(Experiment {
            settings,
            random: Random::new(settings.seed),
            cluster: ProcessCluster::on_loopback(folder, 3, 2)?,
            folder: folder.to_path_buf(),
            jobs: BTreeMap::new(),
            starts: 0,
            outcomes: BTreeMap::new(),
            broken: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Vec<String>, String> {
        let started = Instant::now();
        self.make_films().await?;
        for node in self.cluster.ids() {
            self.cluster.kill(node)?;
            write_snapshot(self.cluster.data(node), node)?;
            self.cluster.start_node(node)?;
            self.wait_until_ready(node).await?;
        }
        let tries = self.settings.rounds_or(TRIES_SHORT, TRIES);
        let mut tried = 0;
        while tried < tries {
            let node = self.random.within(1, 4);
            let before = tried;
            self.damage_stopped(node).await?;
            tried += 1;
            if self.damage_running(node).await? {
                tried += 1;
            }
            if before / PROGRESS_EVERY < tried / PROGRESS_EVERY {
                println!(
                    "{tried} tries in {:.0} s, {} promises broken",
                    started.elapsed().as_secs_f64(),
                    self.broken.len()
                );
            }
        }
        println!("{tried} tries in {:.0} s:", started.elapsed().as_secs_f64());
        for ((target, outcome), times) in &self.outcomes {
            println!("  {times:>4}  {target:?}: {outcome}");
        }
        Ok(self.broken)
    }

    /// Two finished jobs, whose outputs two of the three nodes keep.
    async fn make_films(&mut self) -> Result<(), String> {
        let clip = self.folder.join("film.mp4");
        make_clip(&clip, 3, "320x180");
        let spec = Spec {
            encoder_preset: "ultrafast".into(),
            shard_ms: 1_000,
            ..Spec::default()
        };
        let ledger = self.folder.join("ledger.txt");
        let endpoints = self.cluster.endpoints();
        let (client, _) = CheckingClient::new(endpoints, &ledger, clip, spec)?;
        self.wait_until_ready(1).await?;
        for id in ["film-1", "film-2"] {
            if !client.make_film(id).await {
                return Err(format!("{id}: {:?}", client.ledger().broken));
            }
        }
        let jobs = grpc::list(self.cluster.endpoint(1)).await;
        for job in jobs.map_err(|error| format!("{error:?}"))? {
            self.jobs.insert(job.id.clone(), job);
        }
        Ok(())
    }

    /// Stops a node, damages one of its files, starts it again, and judges what
    /// it makes of that.
    async fn damage_stopped(&mut self, node: u64) -> Result<(), String> {
        // In turn, so that a short run has each.
        let target = [Target::Log, Target::Table, Target::Snapshot][self.starts % 3];
        self.starts += 1;
        self.cluster.kill(node)?;
        let data = self.cluster.data(node).to_path_buf();
        let backup = self.folder.join("copy");
        let _ = fs::remove_dir_all(&backup);
        copy_folder(&data, &backup).map_err(|error| error.to_string())?;
        let file = self.pick_file(&data, target)?;
        let damage = self.damage(&file)?;
        let logged_before = self.cluster.log_text(node).len();
        self.cluster.start_node(node)?;
        let started = self.wait_until_ready(node).await;
        let logged = self.cluster.log_text(node)[logged_before..].to_string();
        let outcome = self.judge_start(target, &damage, &started, &logged);
        *self.outcomes.entry((target, outcome)).or_default() += 1;
        if started.is_err() {
            let _ = self.cluster.kill(node);
            fs::remove_dir_all(&data).map_err(|error| error.to_string())?;
            copy_folder(&backup, &data).map_err(|error| error.to_string())?;
            self.cluster.start_node(node)?;
            self.wait_until_ready(node).await?;
        }
        self.check_all_nodes(&damage).await;
        Ok(())
    }

    /// One of the files in use that belong to the target.
    fn pick_file(&mut self, data: &Path, target: Target) -> Result<PathBuf, String> {
        let folder = data.join(match target {
            Target::Log => "log",
            Target::Table => "table",
            Target::Snapshot => "snapshots",
            Target::Blob => "blobs",
        });
        let mut files = files_below(&folder)?;
        let only = match target {
            // The note of the log's end has only a few bytes, and as one of two
            // files it would take half of the tries.
            Target::Log if self.random.within(0, 10) > 0 => Some("wal"),
            // A half-made one may be beside it, left by the kill.
            Target::Snapshot => Some("snap"),
            _ => None,
        };
        files.retain(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            // What a node has set aside is evidence and not in use.
            ending != Some("damaged") && (only.is_none() || ending == only)
        });
        self.pick(files)
    }

    /// What came of a start with damage. Every byte of the log and of a
    /// snapshot is in use, so damage to them must be noticed.
    fn judge_start(
        &mut self,
        target: Target,
        damage: &str,
        started: &Result<(), String>,
        logged: &str,
    ) -> &'static str {
        if let Err(why) = started {
            if !REFUSALS.iter().any(|refusal| logged.contains(refusal)) {
                self.broken.push(format!("P10: {damage}: {why}"));
                return "ended without its reason";
            }
            if !logged.contains("hint: ") {
                self.broken.push(format!("P10: no hint: {damage}"));
            }
            return "refused by name";
        }
        match target {
            Target::Log if logged.contains("note of the log's end is damaged") => {
                "reported, goes on"
            }
            Target::Log => {
                self.broken.push(format!("P2: not noticed: {damage}"));
                "not noticed"
            }
            Target::Snapshot if logged.contains("a snapshot is damaged") => "reported, replaced",
            Target::Snapshot => {
                self.broken.push(format!("not noticed: {damage}"));
                "not noticed"
            }
            _ if logged.contains("the table is dropped") => "reported, rebuilt",
            _ => "nothing live was hit",
        }
    }

    /// Damages a finished job's output or proof on a running node. It must be
    /// found when it is read, and be whole again soon after. Returns whether
    /// there was anything to damage.
    async fn damage_running(&mut self, node: u64) -> Result<bool, String> {
        let mut blobs = files_below(&self.cluster.data(node).join("blobs"))?;
        // Only those that are read each time: the scrub, which finds the
        // others, takes a day for its round.
        let hashes = |job: &'_ Job| [job.output_hash.clone(), job.proof_hash.clone()];
        let read: BTreeSet<String> = self.jobs.values().flat_map(hashes).collect();
        blobs.retain(|path| {
            read.contains(&name_of(path)) && !path.iter().any(|part| part == "_quarantine")
        });
        // A node that is no home of either film has none.
        if blobs.is_empty() {
            return Ok(false);
        }
        let file = self.pick(blobs)?;
        let damage = self.damage(&file)?;
        self.check_all_nodes(&damage).await;
        let started = Instant::now();
        let is_whole = || {
            fs::read(&file)
                .is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == name_of(&file))
        };
        while !is_whole() && started.elapsed() < REPAIR_PATIENCE {
            // A node that took long to come back has lost its place as a home,
            // and keeps what it had only until its next sweeps.
            if !self.is_home(node, &file).await {
                return Ok(false);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let outcome = if is_whole() {
            "found when read, mended"
        } else {
            self.broken.push(format!("not mended: {damage}"));
            "not mended"
        };
        *self.outcomes.entry((Target::Blob, outcome)).or_default() += 1;
        Ok(true)
    }

    /// Whether a node is a home of the job that this blob belongs to, by its
    /// own word.
    async fn is_home(&self, node: u64, blob: &Path) -> bool {
        let jobs = grpc::list(self.cluster.endpoint(node))
            .await
            .unwrap_or_default();
        let owns = |job: &&Job| blob.iter().any(|part| *part == *job.id);
        let job = jobs.iter().find(owns);
        job.is_none_or(|job| job.homes.iter().any(|home| home.node == node))
    }

    /// Flips a bit of a file, or cuts it; what was done, in words.
    fn damage(&mut self, path: &Path) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = fs::File::options().read(true).write(true).open(path);
        let file = file.map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let at = self.random.within(0, bytes);
        if self.random.within(0, 3) == 0 {
            file.set_len(at).map_err(failed)?;
            return Ok(format!("{} cut at {at} of {bytes}", path.display()));
        }
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).map_err(failed)?;
        byte[0] ^= 1 << self.random.within(0, 8);
        file.write_all_at(&byte, at).map_err(failed)?;
        Ok(format!("{} flipped at {at} of {bytes}", path.display()))
    }

    /// One of some files that is not empty.
    fn pick(&mut self, mut files: Vec<PathBuf>) -> Result<PathBuf, String> {
        files.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0));
        files.sort();
        match files.len() as u64 {
            0 => Err("there is no file to damage".into()),
            count => Ok(files.swap_remove(self.random.within(0, count) as usize)),
        }
    }

    /// Asks every node for all that was acknowledged: jobs, outputs, proofs and
    /// reference commands. One that is no home reads them from those that are.
    async fn check_all_nodes(&mut self, damage: &str) {
        for node in self.cluster.ids() {
            if let Err(error) = self.check_patiently(node).await {
                self.broken
                    .push(format!("{damage}: asked node {node}: {error:?}"));
            }
        }
    }

    async fn check_patiently(&self, node: u64) -> Result<(), CallError> {
        let started = Instant::now();
        loop {
            match self.check(node).await {
                // The node may still be looking for its leader.
                Err(CallError::Outage(_)) if started.elapsed() < START_PATIENCE => {
                    tokio::time::sleep(ASK_EVERY).await;
                }
                result => return result,
            }
        }
    }

    async fn check(&self, node: u64) -> Result<(), CallError> {
        let broken = |what: String| Err(CallError::Broken(format!("P2: {what}")));
        let endpoint = self.cluster.endpoint(node);
        let found = grpc::list(endpoint).await?;
        let ids: BTreeSet<&String> = found.iter().map(|job| &job.id).collect();
        if ids != self.jobs.keys().collect() {
            return broken(format!("the jobs are {ids:?}"));
        }
        let mut jobs = grpc::connect(endpoint).await?;
        for job in &found {
            let known = &self.jobs[&job.id];
            if job.state() != JobState::Succeeded || job.output_hash != known.output_hash {
                return broken(format!("job {} is another", job.id));
            }
            let output = grpc::fetch(&mut jobs, &job.id).await?;
            if output != known.output_hash {
                return broken(format!("job {} gives {output}", job.id));
            }
            let of = JobRef {
                job: job.id.clone(),
            };
            jobs.proof(of.clone()).await?;
            jobs.reference(of).await?;
        }
        Ok(())
    }

    /// Waits until a node answers; an error says how it ended.
    async fn wait_until_ready(&mut self, node: u64) -> Result<(), String> {
        let endpoint = self.cluster.endpoint(node).to_string();
        let is_alive = || self.cluster.pid(node).map(drop);
        grpc::wait_until_ready(&endpoint, START_PATIENCE, is_alive)
            .await
            .map_err(|why| format!("{why}: {}", tail(&self.cluster.log_text(node), 5)))
    }
}

/// Gives a stopped node's disk a snapshot of its own table and purges its log
/// up to there, as the node does by itself after some thousand entries.
fn write_snapshot(data: &Path, node: u64) -> Result<(), String> {
    let failed = |error: reelraft_storage::StorageError| error.to_string();
    let storage = Storage::open(data, "", node).map_err(failed)?;
    let head = storage.table.head();
    let Some(applied) = head.applied else {
        return Err("the table is empty".into());
    };
    let head = SnapshotHead {
        last: Some(applied),
        membership: head.membership.clone(),
    };
    storage
        .snapshots
        .write(&head, storage.rows, &|| ())
        .map_err(failed)?;
    storage.log.purge(applied).map_err(failed)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// All files below a folder.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
