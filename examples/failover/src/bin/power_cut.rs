//! Cuts the power of all nodes at one moment, again and again, while films are
//! uploaded, encoded and assembled. After each cut every node must open by
//! itself, all that was acknowledged must be there (P2), as one job per request
//! (P5), and every film must end with the calm run's bytes (P1).
//!
//! `cargo run --release -p reelraft-failover --bin power_cut -- [--cuts N] [--seed N] [--short]`
//!
//! Each node has an ext4 file system of its own. A cut stops all nodes, shuts
//! their file systems down without flushing a journal, kills the nodes, and
//! mounts what had reached the images. The moment is random: a while after the
//! nodes are back, or right after an acknowledgement of a certain kind. A disk
//! that loses what it had confirmed is not covered.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use reelraft_failover::{
    checking_client::CheckingClient,
    cli_client::CliClient,
    clock::{ms_between, now_us},
    event_log::EventLog,
    events::EventKind,
    experiment::{Settings, Verdict, run_experiment},
    figures::figures,
    ledger::{Ack, Acknowledged},
    process_cluster::ProcessCluster,
    random::Random,
    scratch_disk::{ScratchDisk, enter_mount_namespace},
    users::{make_grainy_clip, start_user},
};
use reelraft_harness::frames_of;
use reelraft_proto::v1::Spec;

/// Size of a node's file system: room for some films and their log.
const DISK_MEBIBYTES: u64 = 384;

/// Nodes of the cluster, and attempts that each runs at once.
const NODES: u16 = 3;
const SLOTS: u32 = 2;

/// Length of a film: some shards, each of which is done in a moment.
const FILM_SECONDS: u32 = 8;

/// How long the nodes may take until all are open and have a leader, on a
/// machine whose cores are busy.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longest wait for a moment to cut at. Most come within a second or two.
const MOMENT_PATIENCE: Duration = Duration::from_secs(8);

/// Longest wait for a film, and for all to end after the last cut.
const FILM_PATIENCE: Duration = Duration::from_secs(180);

/// Cuts that one film's encoding may meet: a task that was running on three
/// different nodes when they died is given up as poison, by design.
const CUTS_PER_FILM_MAX: usize = 2;

/// Finished films that are kept; older ones are deleted to save disk space.
const FILMS_KEPT: u64 = 4;

/// Pause between two jobs that are submitted only to be deleted.
const DELETE_EVERY: Duration = Duration::from_millis(100);

/// Requests of each kind, the newest, that are submitted again after each cut;
/// at the end all are.
const CONFIRMED_AFTER_CUT: usize = 10;

/// Finished outputs that are fetched again after each cut.
const FETCHED_AFTER_CUT: usize = 2;

fn main() -> ExitCode {
    run_experiment("power_cut", &[], |settings, folder| {
        if let Err(why) = can_run(folder) {
            let why = format!("no disks of our own can be had here: {why}");
            return Ok(Verdict::Skipped(why));
        }
        let experiment = Experiment::new(settings, folder)?;
        experiment.run().map(Verdict::Broken)
    })
}

/// Whether this machine lets us have disks: tried with a small one.
fn can_run(folder: &Path) -> Result<(), String> {
    enter_mount_namespace()?;
    let disk = ScratchDisk::create(&folder.join("try.img"), &folder.join("try"), 8)?;
    disk.cut_power()
}

/// The moments to cut at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// This long after the nodes are back, whatever happens then.
    After {
        ms: u64,
    },
    Job,
    Chunk {
        number: u64,
    },
    Sealed,
    Encoding,
    Assembling,
    Succeeded,
    Fetched,
    Deleted,
}

impl Moment {
    fn choose(random: &mut Random) -> Self {
        match random.within(0, 12) {
            0..3 => Moment::After {
                ms: random.within(0, 2_500),
            },
            3 => Moment::Job,
            4..6 => Moment::Chunk {
                number: random.within(0, 8),
            },
            6 => Moment::Sealed,
            7 => Moment::Encoding,
            8 => Moment::Assembling,
            9 => Moment::Succeeded,
            10 => Moment::Fetched,
            _ => Moment::Deleted,
        }
    }

    fn is(self, ack: &Ack) -> bool {
        match (self, ack) {
            (Moment::Job, Ack::Job { .. })
            | (Moment::Sealed, Ack::Sealed { .. })
            | (Moment::Encoding, Ack::Encoding { .. })
            | (Moment::Assembling, Ack::Assembling)
            | (Moment::Succeeded, Ack::Succeeded { .. })
            | (Moment::Fetched, Ack::Fetched)
            | (Moment::Deleted, Ack::Deleted) => true,
            (Moment::Chunk { number }, Ack::Chunk { number: acked }) => number == *acked,
            _ => false,
        }
    }
}

struct Experiment {
    cuts: u64,
    random: Random,
    // Before the disks, so that the nodes end before their disks go.
    cluster: ProcessCluster,
    log: EventLog,
    disks: Vec<ScratchDisk>,
    folder: PathBuf,
    client: CheckingClient,
    acks: Receiver<(String, Ack)>,
    /// Films made since the calm one.
    films: Arc<AtomicU64>,
    /// The film that was last hit by cuts while it was encoded, and how often.
    hits: (u64, usize),
    /// From the cut until all nodes had opened.
    back_ms: Vec<u64>,
    broken: Vec<String>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        make_grainy_clip(&clip, FILM_SECONDS)?;
        let nodes = folder.join("cluster");
        let disk = |node: u16| {
            let image = folder.join(format!("node-{node}.img"));
            let mount = nodes.join(format!("node-{node}"));
            ScratchDisk::create(&image, &mount, DISK_MEBIBYTES)
        };
        let disks = (1..=NODES).map(disk).collect::<Result<Vec<_>, _>>()?;
        let cluster = ProcessCluster::on_loopback(&nodes, NODES, SLOTS)?;
        cluster.wait_for_nodes(NODES.into(), OPEN_PATIENCE)?;
        let spec = Spec {
            encoder_preset: "veryfast".into(),
            container: "mp4".into(),
            shard_ms: 2_000,
            ..Default::default()
        };
        let ledger = folder.join("ledger.txt");
        let (client, acks) = CheckingClient::new(cluster.endpoints(), &ledger, clip, spec)?;
        Ok(Experiment {
            cuts: settings.rounds_or(3, 200),
            random: Random::new(settings.seed),
            log: cluster.event_log(),
            cluster,
            disks,
            folder: folder.to_path_buf(),
            client,
            acks,
            films: Arc::new(AtomicU64::new(0)),
            hits: (0, 0),
            back_ms: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let started = Instant::now();
        if !runtime.block_on(self.client.make_film("calm")) {
            return Err(format!("no calm run: {:?}", self.client.ledger().broken));
        }
        let calm = self.client.ledger().of("calm").output;
        self.client.expected_hash = calm;
        println!(
            "{} cuts; calm run in {:.1} s",
            self.cuts,
            started.elapsed().as_secs_f64()
        );
        self.check_calm_frames()?;

        let users = [self.start_film_maker()?, self.start_deleter()?];
        for number in 1..=self.cuts {
            if self.client.ledger().broken.is_empty() && self.broken.is_empty() {
                self.round(number)?;
                runtime.block_on(self.confirm(false));
            }
        }
        self.wind_down(users)?;
        runtime.block_on(self.confirm(true));
        self.report(started.elapsed());
        self.broken.append(&mut self.client.ledger().broken);
        Ok(self.broken)
    }

    /// All films are compared with the calm one, so it must be right.
    fn check_calm_frames(&mut self) -> Result<(), String> {
        let id = self.client.ledger().of("calm").id;
        let out = self.folder.join("calm.mp4");
        let file = out.display().to_string();
        self.cluster.try_run(&["job", "fetch", &id, &file])?;
        let (found, wanted) = (frames_of(&out), frames_of(&self.client.source));
        if found != wanted {
            let what = format!("the calm run has {found} frames, its source {wanted}");
            self.broken.push(what);
        }
        Ok(())
    }

    /// A user who makes film after film until stopped, and deletes old ones.
    fn start_film_maker(&self) -> Result<JoinHandle<()>, String> {
        let (client, films) = (self.client.clone(), self.films.clone());
        start_user(async move || {
            for number in 1.. {
                if !client.make_film(&format!("film-{number}")).await {
                    return;
                }
                films.store(number, Ordering::Relaxed);
                if number > FILMS_KEPT
                    && !client
                        .delete(&format!("film-{}", number - FILMS_KEPT))
                        .await
                {
                    return;
                }
            }
        })
    }

    /// A user who submits and deletes until stopped.
    fn start_deleter(&self) -> Result<JoinHandle<()>, String> {
        let client = self.client.clone();
        start_user(async move || {
            for number in 1_u64.. {
                tokio::time::sleep(DELETE_EVERY).await;
                if !client.delete(&format!("note-{number}")).await {
                    return;
                }
            }
        })
    }

    fn round(&mut self, number: u64) -> Result<(), String> {
        let film = self.films.load(Ordering::Relaxed);
        if self.hits.0 != film {
            self.hits = (film, 0);
        }
        let spared = self.hits.1 >= CUTS_PER_FILM_MAX;
        let moment = if spared {
            Moment::Fetched
        } else {
            Moment::choose(&mut self.random)
        };
        let reached = self.wait_for(moment, spared);
        sleep(Duration::from_micros(self.random.within(0, 8_000)));
        let entries = self.client.ledger().entries();
        let cut_us = now_us();
        self.cut()?;
        let back_ms = ms_between(cut_us, self.start_again()?);
        self.back_ms.push(back_ms);
        let film = self.films.load(Ordering::Relaxed);
        let current = self.client.ledger().of(&format!("film-{}", film + 1));
        if current.root.is_some() && current.output.is_none() {
            let before = if self.hits.0 == film { self.hits.1 } else { 0 };
            self.hits = (film, before + 1);
        }
        println!(
            "cut {number:>3}: {moment:?}{}, {entries} acknowledgements, all open after {back_ms} ms, {film} films",
            if reached { "" } else { " (not met)" }
        );
        Ok(())
    }

    /// Waits for the moment; whether it came in time.
    fn wait_for(&self, moment: Moment, spared: bool) -> bool {
        if let Moment::After { ms } = moment {
            sleep(Duration::from_millis(ms));
            return true;
        }
        // What was acknowledged before the wait does not count.
        while self.acks.try_recv().is_ok() {}
        let patience = if spared {
            FILM_PATIENCE
        } else {
            MOMENT_PATIENCE
        };
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.acks.recv_timeout(left) {
                Ok((_, ack)) if moment.is(&ack) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// The power cut of all nodes.
    fn cut(&mut self) -> Result<(), String> {
        // From the first stop on nothing is acknowledged that takes all homes
        // or a majority; from the last on nothing at all.
        for node in self.cluster.ids() {
            self.cluster.pause(node)?;
        }
        for disk in &self.disks {
            disk.cut_power()?;
        }
        for node in self.cluster.ids() {
            self.cluster.kill(node)?;
        }
        for disk in &mut self.disks {
            disk.unmount()?;
            disk.mount()?;
        }
        Ok(())
    }

    /// Starts the nodes on what is left; when the last was ready. A node that
    /// ends instead of opening ends the experiment.
    fn start_again(&mut self) -> Result<u64, String> {
        let from_us = now_us();
        let nodes = self.cluster.ids();
        for &node in &nodes {
            self.cluster.start_node(node)?;
        }
        let started = Instant::now();
        loop {
            self.log.update();
            let ready_us = |node: &u64| {
                let events = self.log.after(from_us).iter();
                let mut own = events.filter(|event| event.node == *node);
                own.find(|event| event.kind == EventKind::Ready)
                    .map(|event| event.at_us)
            };
            let ready: Vec<u64> = nodes.iter().filter_map(ready_us).collect();
            for &node in &nodes {
                self.cluster.pid(node)?;
            }
            if ready.len() == nodes.len() {
                self.cluster.wait_for_nodes(nodes.len(), OPEN_PATIENCE)?;
                return Ok(ready.into_iter().max().unwrap_or(from_us));
            }
            if started.elapsed() > OPEN_PATIENCE {
                return Err(format!("only {} nodes opened in time", ready.len()));
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Asks for what was acknowledged: requests of each kind, the newest or
    /// all, and the newest outputs byte for byte.
    async fn confirm(&self, all: bool) {
        let (mut films, mut notes) = (Vec::new(), Vec::new());
        for (request, known) in self.client.ledger().requests() {
            let entry = (number_of(request), request.clone(), known.clone());
            if request.starts_with("note") {
                notes.push(entry);
            } else {
                films.push(entry);
            }
        }
        let count = if all { usize::MAX } else { CONFIRMED_AFTER_CUT };
        for kind in [&mut films, &mut notes] {
            kind.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
            for (_, request, _) in kind.iter().take(count) {
                self.client.confirm(request).await;
            }
        }
        let is_finished = |known: &Acknowledged| known.output.is_some() && !known.deleting;
        let outputs = films.iter().filter(|(.., known)| is_finished(known));
        for (_, request, _) in outputs.take(FETCHED_AFTER_CUT) {
            self.client.fetch_again(request).await;
        }
    }

    /// Lets the current film end, and stops the users.
    fn wind_down(&self, users: [JoinHandle<()>; 2]) -> Result<(), String> {
        let broken = !self.client.ledger().broken.is_empty();
        let ended = broken || self.wait_for(Moment::Fetched, true);
        self.client.set_stopped(true);
        for thread in users {
            thread.join().map_err(|_| "a user's thread panicked")?;
        }
        self.client.set_stopped(false);
        if !ended {
            return Err("no film ended after the last cut".into());
        }
        Ok(())
    }

    fn report(&mut self, took: Duration) {
        let ledger = self.client.ledger();
        println!(
            "{} cuts of all nodes in {} s, {} films, {} requests, {} acknowledgements",
            self.back_ms.len(),
            took.as_secs(),
            self.films.load(Ordering::Relaxed),
            ledger.requests().count(),
            ledger.entries()
        );
        drop(ledger);
        println!("cut to all nodes open: {}", figures(&mut self.back_ms));
    }
}

fn number_of(request: &str) -> u64 {
    let number = request.rsplit_once('-').map(|(_, number)| number);
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}
