//! Flips or cuts bytes on the disk of one of three nodes, again and again: in
//! its log, table, snapshot and blobs while it is stopped, and in blobs while
//! it runs. Afterwards no wrong byte may be served and nothing acknowledged be
//! gone (P1, P2); the node either says what it found and goes on, mended, or
//! refuses to start by name, with a hint (P10).
//!
//! `cargo run --release --example rot -- [--tries N] [--seed N] [--short]`
//!
//! A refused node gets its undamaged disk back. That is right only here, as it
//! took part in nothing meanwhile: an older copy of a Raft log must never be
//! put back.
#![allow(missing_docs)]

mod experiment;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use experiment::{
    Random, Settings, Verdict,
    calls::{self, Trouble},
    conduct,
    customer::Customer,
    fleet::Fleet,
};
use reelraft_harness::{make_clip, tail};
use reelraft_proto::v1::{Job, JobRef, JobState, Spec};
use reelraft_storage::{SnapshotHead, Storage};

/// Tries of a whole run, and of a short one.
const TRIES: u64 = 500;
const TRIES_SHORT: u64 = 12;

/// Tries between two lines that say how far it is.
const TRIES_TOLD: u64 = 50;

/// How long a node may take until it answers or refuses.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long a damaged blob may take until it is copied from another home,
/// once it was found: its node looks every two seconds.
const MEND_PATIENCE: Duration = Duration::from_secs(60);

/// What a refusal to start may say.
const REFUSALS: [&str; 3] = [
    "error: damaged-log: ",
    "error: missing-log: ",
    "error: missing-snapshot: ",
];

fn main() -> ExitCode {
    conduct("rot", &[], |settings, folder| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime
            .block_on(Experiment::new(settings, folder)?.run())
            .map(Verdict::Broken)
    })
}

/// What was damaged, and whether every byte of it is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    Log,
    Table,
    Snapshot,
    Blob,
}

struct Experiment<'a> {
    settings: &'a Settings,
    random: Random,
    fleet: Fleet,
    folder: PathBuf,
    /// The finished jobs, as they were acknowledged.
    jobs: BTreeMap<String, Job>,
    /// Starts with damage so far.
    starts: usize,
    /// How tries came out, by what was damaged.
    outcomes: BTreeMap<(Room, &'static str), u64>,
    broken: Vec<String>,
}

impl<'a> Experiment<'a> {
    fn new(settings: &'a Settings, folder: &Path) -> Result<Self, String> {
        Ok(Experiment {
            settings,
            random: Random::new(settings.seed),
            fleet: Fleet::on_loopback(folder, 3, 2)?,
            folder: folder.to_path_buf(),
            jobs: BTreeMap::new(),
            starts: 0,
            outcomes: BTreeMap::new(),
            broken: Vec::new(),
        })
    }

    async fn run(mut self) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        self.make_films().await?;
        for node in self.fleet.ids() {
            self.fleet.kill(node)?;
            give_snapshot(self.fleet.data(node), node)?;
            self.fleet.start_node(node)?;
            self.until_ready(node).await?;
        }
        let tries = self.settings.rounds_or(TRIES_SHORT, TRIES);
        let mut tried = 0;
        while tried < tries {
            let node = self.random.within(1, 4);
            let before = tried;
            tried += self.damage_stopped(node).await?;
            tried += self.damage_running(node).await?;
            if before / TRIES_TOLD < tried / TRIES_TOLD {
                println!(
                    "{tried} tries in {:.0} s, {} promises broken",
                    begun.elapsed().as_secs_f64(),
                    self.broken.len()
                );
            }
        }
        println!("{tried} tries in {:.0} s:", begun.elapsed().as_secs_f64());
        for ((room, outcome), times) in &self.outcomes {
            println!("  {times:>4}  {room:?}: {outcome}");
        }
        Ok(self.broken)
    }

    /// Two finished jobs, whose outputs two of the three nodes keep.
    async fn make_films(&mut self) -> Result<(), String> {
        let clip = self.folder.join("film.mp4");
        make_clip(&clip, 3, "320x180");
        let spec = Spec {
            preset: "ultrafast".into(),
            shard_ms: 1_000,
            ..Spec::default()
        };
        let ledger = self.folder.join("ledger.txt");
        let (customer, _) = Customer::new(&self.fleet, &ledger, clip, spec)?;
        self.until_ready(1).await?;
        for id in ["film-1", "film-2"] {
            if !customer.film(id).await {
                return Err(format!("{id}: {:?}", customer.ledger().broken));
            }
        }
        let jobs = calls::list(self.fleet.listen(1)).await;
        for job in jobs.map_err(|trouble| format!("{trouble:?}"))? {
            self.jobs.insert(job.id.clone(), job);
        }
        Ok(())
    }

    /// Stops a node, damages one of its files and starts it again; gives how
    /// many tries that were.
    async fn damage_stopped(&mut self, node: u64) -> Result<u64, String> {
        // In turn, so that a short run meets each.
        let room = [Room::Log, Room::Table, Room::Snapshot][self.starts % 3];
        self.starts += 1;
        self.fleet.kill(node)?;
        let (data, copy) = (
            self.fleet.data(node).to_path_buf(),
            self.folder.join("copy"),
        );
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&data, &copy).map_err(|error| error.to_string())?;
        let folder = data.join(match room {
            Room::Log => "log",
            Room::Table => "table",
            _ => "snapshots",
        });
        let mut live = files_below(&folder)?;
        let only = match room {
            // The note of the log's end has a few bytes, and as one of two files
            // it would take half of the tries.
            Room::Log if self.random.within(0, 10) > 0 => Some("wal"),
            // Beside it may lie one that the kill left half-made.
            Room::Snapshot => Some("snap"),
            _ => None,
        };
        live.retain(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            // What a node has set aside is evidence and not in use.
            ending != Some("damaged") && (only.is_none() || ending == only)
        });
        let file = self.pick(live)?;
        let what = self.damage(&file)?;
        let said_before = self.log(node).len();
        self.fleet.start_node(node)?;
        let started = self.until_ready(node).await;
        let said = self.log(node)[said_before..].to_string();
        let found = match (&started, room) {
            (Err(_), _) if REFUSALS.iter().any(|words| said.contains(words)) => {
                if !said.contains("hint: ") {
                    self.broken.push(format!("P10: no hint: {what}"));
                }
                "refused by name"
            }
            (Err(why), _) => {
                self.broken.push(format!("P10: {what}: {why}"));
                "ended without its reason"
            }
            (Ok(()), Room::Log) if said.contains("note of the log's end is damaged") => {
                "reported, goes on"
            }
            // Every byte of the log and of a snapshot is live.
            (Ok(()), Room::Log) => {
                self.broken.push(format!("P2: not noticed: {what}"));
                "not noticed"
            }
            (Ok(()), Room::Snapshot) if said.contains("a snapshot is damaged") => {
                "reported, replaced"
            }
            (Ok(()), Room::Snapshot) => {
                self.broken.push(format!("not noticed: {what}"));
                "not noticed"
            }
            (Ok(()), _) if said.contains("the table is dropped") => "reported, rebuilt",
            (Ok(()), _) => "nothing live was hit",
        };
        *self.outcomes.entry((room, found)).or_default() += 1;
        if started.is_err() {
            let _ = self.fleet.kill(node);
            fs::remove_dir_all(&data).map_err(|error| error.to_string())?;
            copy_folder(&copy, &data).map_err(|error| error.to_string())?;
            self.fleet.start_node(node)?;
            self.until_ready(node).await?;
        }
        self.all_is_there(&what).await;
        Ok(1)
    }

    /// Damages a finished job's output or proof on a node that runs. It must be found when
    /// it is read, and be whole again soon after.
    async fn damage_running(&mut self, node: u64) -> Result<u64, String> {
        let mut blobs = files_below(&self.fleet.data(node).join("blobs"))?;
        // Those that are read each time: the scrub, which finds the others, takes
        // a day for its round.
        let hashes = |job: &'_ Job| [job.output_hash.clone(), job.proof_hash.clone()];
        let outputs: BTreeSet<String> = self.jobs.values().flat_map(hashes).collect();
        let read = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            outputs.contains(name.to_string_lossy().as_ref())
                && !path.iter().any(|part| part == "_quarantine")
        };
        blobs.retain(read);
        // A node that is no home of either film has none.
        if blobs.is_empty() {
            return Ok(0);
        }
        let file = self.pick(blobs)?;
        let what = self.damage(&file)?;
        self.all_is_there(&what).await;
        let begun = Instant::now();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_string();
        let whole = || fs::read(&file).is_ok_and(|b| blake3::hash(&b).to_hex().as_str() == name);
        while !whole() && begun.elapsed() < MEND_PATIENCE {
            // A node that took long to come back has lost its place, and keeps
            // what it had only until its next sweeps.
            if !self.is_home(node, &file).await {
                return Ok(0);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let found = if whole() {
            "found when read, mended"
        } else {
            self.broken.push(format!("not mended: {what}"));
            "not mended"
        };
        *self.outcomes.entry((Room::Blob, found)).or_default() += 1;
        Ok(1)
    }

    /// Whether a node is a home of the job whose blob this is, as far as it
    /// says itself.
    async fn is_home(&self, node: u64, blob: &Path) -> bool {
        let jobs = calls::list(self.fleet.listen(node))
            .await
            .unwrap_or_default();
        let of = |job: &&Job| blob.iter().any(|part| *part == *job.id);
        let job = jobs.iter().find(of);
        job.is_none_or(|job| job.homes.iter().any(|home| home.node == node))
    }

    /// Flips a bit of a file, or cuts it; says what was done.
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

    /// One of some files, none of them empty.
    fn pick(&mut self, mut files: Vec<PathBuf>) -> Result<PathBuf, String> {
        files.retain(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0));
        files.sort();
        match files.len() as u64 {
            0 => Err("there is no file to damage".into()),
            count => Ok(files.swap_remove(self.random.within(0, count) as usize)),
        }
    }

    /// Asks every node for all that was acknowledged: jobs, outputs, proofs and
    /// analyses. One that is no home reads them from those that are.
    async fn all_is_there(&mut self, what: &str) {
        for node in self.fleet.ids() {
            if let Err(trouble) = self.ask_patiently(node).await {
                self.broken
                    .push(format!("{what}: asked node {node}: {trouble:?}"));
            }
        }
    }

    async fn ask_patiently(&self, node: u64) -> Result<(), Trouble> {
        let begun = Instant::now();
        loop {
            match self.ask_all(node).await {
                // The node may still look for its leader.
                Err(Trouble::Outage(_)) if begun.elapsed() < START_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                asked => return asked,
            }
        }
    }

    async fn ask_all(&self, node: u64) -> Result<(), Trouble> {
        let endpoint = self.fleet.listen(node);
        let found = calls::list(endpoint).await?;
        let ids: BTreeSet<&String> = found.iter().map(|job| &job.id).collect();
        if ids != self.jobs.keys().collect() {
            return Err(Trouble::Broken(format!("P2: the jobs are {ids:?}")));
        }
        let mut jobs = calls::connect(endpoint).await?;
        for job in &found {
            let known = &self.jobs[&job.id];
            if job.state() != JobState::Succeeded || job.output_hash != known.output_hash {
                return Err(Trouble::Broken(format!("P2: job {} is another", job.id)));
            }
            let found = calls::fetch(&mut jobs, &job.id).await?;
            if found != known.output_hash {
                return Err(Trouble::Broken(format!("P2: job {} gives {found}", job.id)));
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
    async fn until_ready(&mut self, node: u64) -> Result<(), String> {
        let endpoint = self.fleet.listen(node).to_string();
        let lives = || self.fleet.pid(node).map(drop);
        calls::until_ready(&endpoint, START_PATIENCE, lives)
            .await
            .map_err(|why| format!("{why}: {}", tail(&self.log(node), 5)))
    }

    fn log(&self, node: u64) -> String {
        let bytes = fs::read(self.fleet.log_of(node)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Gives a stopped node's disk a snapshot of its own table and purges its log
/// up to there, as the node does by itself after some thousand entries.
fn give_snapshot(data: &Path, node: u64) -> Result<(), String> {
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
        .write(&head, storage.rows)
        .map_err(failed)?;
    storage.log.purge(applied).map_err(failed)
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
