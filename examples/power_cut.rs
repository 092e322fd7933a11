//! Cuts the power of all nodes at one moment, again and again, while films are
//! uploaded, encoded and put together. After each cut every node must open by
//! itself, all that was acknowledged must be there (P2), as one job a request
//! (P5), and every film must end with the calm run's bytes (P1).
//!
//! `cargo run --release --example power_cut -- [--cuts N] [--seed N] [--short]`
//!
//! Each node has an ext4 file system of its own. A cut stops all nodes, shuts
//! their file systems down without flushing a journal, kills the nodes, and
//! mounts what had reached the images. The moment is drawn: a while after the
//! nodes are back, or right after an acknowledgement of a certain kind. What
//! is not shown: a disk that loses what it had confirmed.
#![allow(missing_docs)]

mod experiment;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use experiment::{
    Random, Settings, Verdict,
    client::Asked,
    conduct,
    customer::Customer,
    disk::{Disk, own_mounts},
    figures,
    fleet::Fleet,
    ledger::{Ack, Known},
    ms_between, now_us,
    record::{Record, What},
};
use reelraft_harness::frames_of;
use reelraft_proto::v1::Spec;

/// Size of a node's file system: room for some films, and their log.
const DISK_MEBIBYTES: u64 = 384;

/// Nodes of the cluster, and attempts that each runs at once.
const NODES: u16 = 3;
const SLOTS: u32 = 2;

/// Length of a film: some shards, each of which is done in a moment.
const FILM_SECONDS: u32 = 8;

/// How long the nodes may take until all are open and have a leader, on a
/// machine whose cores are busy.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longest wait for a moment to cut at. Most come within a second or two.
const MOMENT_PATIENCE: Duration = Duration::from_secs(8);

/// Longest wait for a film, and for all to end after the last cut.
const FILM_PATIENCE: Duration = Duration::from_secs(180);

/// Cuts that one film's encoding may meet: a task that was running on three
/// different nodes when they died is given up as poison, by design.
const CUTS_PER_FILM_MAX: usize = 2;

/// Finished films that are kept; older ones are deleted, for the disks' sake.
const FILMS_KEPT: u64 = 4;

/// Requests of each kind, the newest, that are asked for again after each cut;
/// at the end all are.
const ASKED_AGAIN: usize = 10;

/// Finished outputs that are fetched again after each cut.
const FETCHED_AGAIN: usize = 2;

fn main() -> ExitCode {
    conduct("power_cut", &[], |settings, folder| {
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
    own_mounts()?;
    let disk = Disk::make(&folder.join("try.img"), &folder.join("try"), 8)?;
    disk.cut()
}

/// The moments to cut at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// So long after the nodes are back, whatever happens then.
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
    fn draw(random: &mut Random) -> Self {
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
    /// Ends before the disks go.
    fleet: Fleet,
    record: Record,
    disks: Vec<Disk>,
    folder: PathBuf,
    customer: Customer,
    moments: Receiver<(String, Ack)>,
    /// From the cut until all nodes had opened.
    back_ms: Vec<u64>,
    broken: Vec<String>,
}

impl Experiment {
    fn new(settings: &Settings, folder: &Path) -> Result<Self, String> {
        let clip = folder.join("film.mp4");
        make_grainy_clip(&clip)?;
        let nodes = folder.join("cluster");
        let disk = |node: u16| {
            let image = folder.join(format!("node-{node}.img"));
            let mount = nodes.join(format!("node-{node}"));
            Disk::make(&image, &mount, DISK_MEBIBYTES)
        };
        let disks = (1..=NODES).map(disk).collect::<Result<Vec<_>, _>>()?;
        let fleet = Fleet::on_loopback(&nodes, NODES, SLOTS)?;
        fleet.await_nodes(NODES.into(), OPEN_PATIENCE)?;
        let spec = Spec {
            preset: "veryfast".into(),
            container: "mp4".into(),
            shard_ms: 2_000,
            ..Default::default()
        };
        let (customer, moments) = Customer::new(&fleet, &folder.join("ledger.txt"), clip, spec)?;
        Ok(Experiment {
            cuts: settings.rounds_or(3, 200),
            random: Random::new(settings.seed),
            record: fleet.record(),
            fleet,
            disks,
            folder: folder.to_path_buf(),
            customer,
            moments,
            back_ms: Vec::new(),
            broken: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let begun = Instant::now();
        if !runtime.block_on(self.customer.film("calm")) {
            return Err(format!("no calm run: {:?}", self.customer.ledger().broken));
        }
        let calm = self.customer.ledger().known("calm").output;
        self.customer.calm = calm;
        println!(
            "{} cuts; calm run in {:.1} s",
            self.cuts,
            begun.elapsed().as_secs_f64()
        );
        self.right_frames()?;

        let films = Arc::new(AtomicUsize::new(0));
        let customers = self.customers(&films)?;
        let mut hits = (0, 0);
        for number in 1..=self.cuts {
            if self.customer.ledger().broken.is_empty() && self.broken.is_empty() {
                self.round(number, &films, &mut hits)?;
                runtime.block_on(self.confirm(false));
            }
        }
        self.wind_down(customers)?;
        runtime.block_on(self.confirm(true));
        self.report(films.load(Ordering::Relaxed), begun.elapsed());
        self.broken.append(&mut self.customer.ledger().broken);
        Ok(std::mem::take(&mut self.broken))
    }

    /// The calm run is what all are compared with, so it must be right.
    fn right_frames(&mut self) -> Result<(), String> {
        let id = self.customer.ledger().known("calm").id;
        let out = self.folder.join("calm.mp4");
        let file = out.display().to_string();
        self.fleet.say(&["job", "fetch", &id, &file])?;
        let (found, wanted) = (frames_of(&out), frames_of(&self.customer.source));
        if found != wanted {
            let what = format!("the calm run has {found} frames, its source {wanted}");
            self.broken.push(what);
        }
        Ok(())
    }

    /// Two users until they are stopped: one makes film after film, one
    /// submits and deletes.
    fn customers(&self, films: &Arc<AtomicUsize>) -> Result<Vec<JoinHandle<()>>, String> {
        let mut threads = Vec::new();
        for name in ["film", "note"] {
            let (customer, films) = (self.customer.clone(), films.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            threads.push(std::thread::spawn(move || {
                for number in 1_u64.. {
                    let request = format!("{name}-{number}");
                    let done = runtime.block_on(async {
                        if name == "film" {
                            customer.film(&request).await
                        } else {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            customer.note(&request).await
                        }
                    });
                    if !done {
                        return;
                    }
                    if name == "film" {
                        films.store(number as usize, Ordering::Relaxed);
                        let old = number.saturating_sub(FILMS_KEPT);
                        let old = (old > 0).then(|| format!("{name}-{old}"));
                        if let Some(old) = old
                            && !runtime.block_on(customer.note(&old))
                        {
                            return;
                        }
                    }
                }
            }));
        }
        Ok(threads)
    }

    fn round(
        &mut self,
        number: u64,
        films: &AtomicUsize,
        hits: &mut (usize, usize),
    ) -> Result<(), String> {
        let now = films.load(Ordering::Relaxed);
        if hits.0 != now {
            *hits = (now, 0);
        }
        let spared = hits.1 >= CUTS_PER_FILM_MAX;
        let moment = if spared {
            Moment::Fetched
        } else {
            Moment::draw(&mut self.random)
        };
        let met = self.await_moment(moment, spared);
        sleep(Duration::from_micros(self.random.within(0, 8_000)));
        let entries = self.customer.ledger().entries();
        let cut_us = now_us();
        self.cut()?;
        let back_ms = ms_between(cut_us, self.start_again()?);
        self.back_ms.push(back_ms);
        let film = films.load(Ordering::Relaxed);
        let known = self.customer.ledger().known(&format!("film-{}", film + 1));
        if known.root.is_some() && known.output.is_none() {
            *hits = (film, if hits.0 == film { hits.1 + 1 } else { 1 });
        }
        println!(
            "cut {number:>3}: {moment:?}{}, {entries} acknowledgements, all open after {back_ms} ms, {film} films",
            if met { "" } else { " (not met)" }
        );
        Ok(())
    }

    /// Waits for the moment; gives whether it came in time.
    fn await_moment(&self, moment: Moment, spared: bool) -> bool {
        if let Moment::After { ms } = moment {
            sleep(Duration::from_millis(ms));
            return true;
        }
        // What was acknowledged before the wait is no moment of now.
        while self.moments.try_recv().is_ok() {}
        let patience = if spared {
            FILM_PATIENCE
        } else {
            MOMENT_PATIENCE
        };
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.moments.recv_timeout(left) {
                Ok((_, ack)) if moment.is(&ack) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// The power cut of all nodes.
    fn cut(&mut self) -> Result<(), String> {
        // From the first stop on nothing more is acknowledged that takes all
        // homes or a majority; from the last on nothing at all.
        for node in self.fleet.ids() {
            self.fleet.freeze(node)?;
        }
        for disk in &self.disks {
            disk.cut()?;
        }
        for node in self.fleet.ids() {
            self.fleet.kill(node)?;
        }
        for disk in &mut self.disks {
            disk.unmount()?;
            disk.mount()?;
        }
        Ok(())
    }

    /// Starts the nodes on what is left, and gives when the last was ready.
    /// One that ends instead of opening ends the experiment.
    fn start_again(&mut self) -> Result<u64, String> {
        let from_us = now_us();
        let nodes = self.fleet.ids();
        for &node in &nodes {
            self.fleet.start_node(node)?;
        }
        let started = Instant::now();
        loop {
            self.record.update();
            let ready = |node: &u64| {
                let events = self.record.after(from_us).iter();
                let mut own = events.filter(|event| event.node == *node);
                own.find(|event| event.what == What::Ready)
                    .map(|event| event.at_us)
            };
            let ready: Vec<u64> = nodes.iter().filter_map(ready).collect();
            for &node in &nodes {
                self.fleet.pid(node)?;
            }
            if ready.len() == nodes.len() {
                self.fleet.await_nodes(nodes.len(), OPEN_PATIENCE)?;
                return Ok(ready.into_iter().max().unwrap_or(from_us));
            }
            if started.elapsed() > OPEN_PATIENCE {
                return Err(format!("only {} nodes opened in time", ready.len()));
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Asks for what was acknowledged: requests of each kind, the newest of
    /// them or all, and the newest outputs byte for byte.
    async fn confirm(&self, all: bool) {
        let (mut films, mut notes) = (Vec::new(), Vec::new());
        for (request, known) in self.customer.ledger().all() {
            let found = (number_of(request), request.clone(), known.clone());
            if request.starts_with("note") {
                notes.push(found);
            } else {
                films.push(found);
            }
        }
        let count = if all { usize::MAX } else { ASKED_AGAIN };
        for kind in [&mut films, &mut notes] {
            kind.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
            for (_, request, _) in kind.iter().take(count) {
                self.customer.confirm(request).await;
            }
        }
        let finished = |known: &Known| known.output.is_some() && !known.deleting;
        let outputs = films.iter().filter(|(.., known)| finished(known));
        for (_, request, _) in outputs.take(FETCHED_AGAIN) {
            self.customer.fetch_again(request).await;
        }
    }

    /// Lets the film that is under way end, and stops the users.
    fn wind_down(&self, customers: Vec<JoinHandle<()>>) -> Result<(), String> {
        let broken = !self.customer.ledger().broken.is_empty();
        let ended = broken || self.await_moment(Moment::Fetched, true);
        self.customer.stop.store(true, Ordering::Relaxed);
        for thread in customers {
            thread.join().map_err(|_| "a customer panicked")?;
        }
        self.customer.stop.store(false, Ordering::Relaxed);
        if !ended {
            return Err("no film ended after the last cut".into());
        }
        Ok(())
    }

    fn report(&mut self, films: usize, took: Duration) {
        let ledger = self.customer.ledger();
        println!(
            "{} cuts of all nodes in {} s, {films} films, {} requests, {} acknowledgements",
            self.back_ms.len(),
            took.as_secs(),
            ledger.all().count(),
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

/// A film of some megabytes: noise makes many chunks of few frames.
fn make_grainy_clip(path: &Path) -> Result<(), String> {
    let video = format!("testsrc2=size=256x144:rate=24:duration={FILM_SECONDS}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={FILM_SECONDS}");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &video])
        .args(["-f", "lavfi", "-i", &audio, "-vf", "noise=alls=60:allf=t"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-qp", "4"])
        .args(["-g", "48", "-c:a", "aac", "-shortest"])
        .arg(path)
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    if made.success() {
        Ok(())
    } else {
        Err("the clip could not be made".into())
    }
}
