//! A source that comes as fast as it is encoded. First a job whose source is there
//! at once, which says how fast that is; then one whose client sends no faster. What
//! is left after the last byte stands beside the longest shard, and both outputs
//! must be the same bytes.
//!
//! Options: `--pace 1` is that speed, 0.5 half of it; the film and its options as
//! for `film`. Its index lies at its end, or in front with `--head yes`.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reelraft_failover::clock::now_us;

use crate::{cluster::Cluster, film::spec, films, options::Options};

/// Bytes that are passed on at once: a small part of a chunk.
const PIECE_BYTES: usize = 16 << 10;

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let pace: f64 = options.number("pace", 1.0)?;
    let film = films::film(options, 60, folder)?;
    let film = match options.text("head") {
        Some("yes") => films::with_its_index_first(&film, &folder.join("head.mp4"))?,
        _ => film,
    };
    let bytes = std::fs::metadata(&film).map_err(|error| error.to_string())?;
    let bytes = bytes.len() as f64;
    let spec = spec(options, None);
    println!("{} {}", film.display(), spec.join(" "));
    let outs = ["at-once.mp4", "paced.mp4"].map(|name| folder.join(name));
    let place = folder.join("cluster");
    let cluster = Cluster::of_three(&place)?;
    let at_once = cluster.transcode(&spec, &film, &outs[0])?;
    drop(cluster);
    std::fs::remove_dir_all(&place).map_err(|error| error.to_string())?;
    let rate = bytes / (at_once.nodes.wall_ms / 1e3) * pace;
    println!(
        "at once: {:.1} s, so {:.0} kB a second",
        at_once.nodes.wall_ms / 1e3,
        rate / 1e3
    );
    let cluster = Cluster::of_three(&place)?;
    let door = Door::before(cluster.endpoint(), rate)?;
    cluster.transcode_by(&door.address, &spec, &film, &outs[1])?;
    let end_us = now_us();
    say(&cluster, &door, end_us);
    same(&outs)
}

/// Says what was left after the last byte.
fn say(cluster: &Cluster, door: &Door, end_us: u64) {
    let (first_us, last_us) = door.moments();
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let attempts = cluster.attempts();
    let shards = attempts
        .iter()
        .filter(|attempt| attempt.key.kind == "shard");
    let before = shards.clone().filter(|attempt| attempt.to_us <= last_us);
    let longest = shards
        .clone()
        .map(|attempt| attempt.to_us - attempt.from_us);
    let first = shards.clone().map(|attempt| attempt.to_us).min();
    println!(
        "paced: sent in {:.1} s; {} of {} shards were done by the last byte, the first {:.1} s \
         after the first byte",
        seconds(first_us, last_us),
        before.count(),
        shards.clone().count(),
        seconds(first_us, first.unwrap_or(end_us)),
    );
    println!(
        "done {:.1} s after the last byte; the longest shard took {:.1} s",
        seconds(last_us, end_us),
        longest.max().unwrap_or(0) as f64 / 1e6,
    );
}

fn same(outs: &[PathBuf; 2]) -> Result<(), String> {
    let [at_once, paced] = outs.each_ref().map(std::fs::read);
    match at_once.map_err(|error| error.to_string())? == paced.map_err(|error| error.to_string())? {
        true => Ok(()),
        false => Err("the outputs differ".to_string()),
    }
}

/// A door before a node, through which a client's bytes come at a rate.
struct Door {
    address: String,
    first_us: Arc<AtomicU64>,
    last_us: Arc<AtomicU64>,
}

impl Door {
    fn before(node: &str, bytes_a_second: f64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let door = Door {
            address: listener.local_addr().map_err(failed)?.to_string(),
            first_us: Arc::default(),
            last_us: Arc::default(),
        };
        let (node, first, last) = (
            node.to_string(),
            door.first_us.clone(),
            door.last_us.clone(),
        );
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&node) else {
                    return;
                };
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else {
                    return;
                };
                let (first, last) = (first.clone(), last.clone());
                std::thread::spawn(move || {
                    pass(from, to, Some(bytes_a_second), |bytes| {
                        // Requests alone are small.
                        if bytes >= PIECE_BYTES / 2 {
                            let now_us = now_us();
                            let _ = first.compare_exchange(
                                0,
                                now_us,
                                Ordering::Relaxed,
                                Ordering::Relaxed,
                            );
                            last.store(now_us, Ordering::Relaxed);
                        }
                    });
                });
                std::thread::spawn(move || pass(server, client, None, |_| {}));
            }
        });
        Ok(door)
    }

    /// When the first and the last piece of the source came through.
    fn moments(&self) -> (u64, u64) {
        let at = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (at(&self.first_us), at(&self.last_us))
    }
}

/// Passes bytes on until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, rate: Option<f64>, notice: impl Fn(usize)) {
    let begun = Instant::now();
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = 0.0;
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
        notice(bytes);
        passed += bytes as f64;
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(passed / rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
