//! A disk is lost for good, and an empty machine comes: how long it takes until all
//! bytes of the lost disk have as many copies again, beside `cp` and a sync of as many
//! bytes, and how much longer others' jobs take meanwhile.
//!
//! Options: `--gib 4`, so much lies on the lost disk; `--seconds N` (20) of the film of
//! the others, or `--film FILE`; `--codec C`, `--preset P`, `--width W` of theirs.
//!
//! All machines share this one's processors and disk. Three would each have their own.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reelraft_failover::{
    cli_client::CliClient, growing_cluster::GrowingCluster, holdings::bytes_of_jobs,
};

use crate::{
    cost::{median, timed},
    film::spec,
    films,
    options::Options,
};

/// How long a cluster may take to come up, and a source to be encoded.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the copies may take.
const REFILL_PATIENCE: Duration = Duration::from_secs(1_800);

/// Machines at the beginning, of which two hold each job's bytes.
const MACHINES: u16 = 3;

/// How often the disks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A source without compression: its bytes are many, and it is soon encoded.
const SOURCE_SIZE: &str = "1280x720";
/// Bytes of a frame of it with 4:2:0 colours.
const SOURCE_FRAME_BYTES: u64 = 1280 * 720 * 3 / 2;
const SOURCE_BYTES: u64 = 512 << 20;
const SOURCE_SPEC: [&str; 5] = [
    "--hold-source",
    "--width",
    "160",
    "--encoder-preset",
    "ultrafast",
];

/// Jobs of others before the loss.
const CALM_JOBS: usize = 3;

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let gib: u64 = options.number("gib", 4)?;
    let film = films::film(options, 20, folder)?;
    let spec = spec(options, None);
    let mut cluster = GrowingCluster::found(&folder.join("cluster"), 1, PATIENCE)?;
    for _ in 1..MACHINES {
        cluster.join()?;
    }
    cluster.await_voters(MACHINES.into(), PATIENCE)?;
    let source = source(&folder.join("source.avi"))?;
    let mut lost = BTreeMap::new();
    while lost.values().sum::<u64>() < gib << 30 {
        let mut client = cluster.cli(&["transcode", "--overwrite"]);
        client.args(SOURCE_SPEC).arg(&source);
        quietly(client.arg(folder.join("small.mp4")))?;
        lost = bytes_of_jobs(&cluster.data(MACHINES)?)
            .into_iter()
            .collect();
    }
    let other = |cluster: &GrowingCluster| {
        let mut client = cluster.cli(&["transcode", "--overwrite"]);
        client.args(&spec).arg(&film);
        quietly(client.arg(folder.join("other.mp4")))
    };
    let calm: Result<Vec<f64>, _> = (0..CALM_JOBS).map(|_| other(&cluster)).collect();
    let calm_ms = median(&calm?);

    let bytes = lost.values().sum::<u64>();
    cluster.kill(MACHINES)?;
    std::fs::remove_dir_all(cluster.data(MACHINES)?).map_err(|error| error.to_string())?;
    cluster.forget(MACHINES);
    let killed = Instant::now();
    cluster.join()?;
    let (refilled, mut beside_ms) = std::thread::scope(|scope| {
        let refilled = scope.spawn(|| await_copies(&cluster, &lost, killed));
        let mut beside_ms = Vec::new();
        while !refilled.is_finished() {
            beside_ms.push(other(&cluster)?);
        }
        let refilled = refilled.join().map_err(|_| "a thread panicked")??;
        Ok::<_, String>((refilled, beside_ms))
    })?;
    // The last one outlived the copies.
    if beside_ms.len() > 1 {
        beside_ms.pop();
    }
    drop(cluster);

    let mib = bytes as f64 / f64::from(1 << 20);
    let copied_s = (refilled.ended - refilled.begun).as_secs_f64();
    println!(
        "{mib:.0} MiB had all their copies again {:.1} s after the disk was lost; the first was begun after {:.1} s, so {:.0} MiB/s",
        refilled.ended.as_secs_f64(),
        refilled.begun.as_secs_f64(),
        mib / copied_s,
    );
    let plain_s = plain_copy(&source, bytes, folder)?;
    println!("cp and sync of as much: {:.0} MiB/s", mib / plain_s);
    println!(
        "others' jobs: {calm_ms:.0} ms before, {:.0} ms meanwhile ({} of them): {:.2}",
        median(&beside_ms),
        beside_ms.len(),
        median(&beside_ms) / calm_ms,
    );
    Ok(())
}

/// Times since the loss.
struct Refilled {
    begun: Duration,
    ended: Duration,
}

/// Waits until two living disks hold what the lost one held of each job.
fn await_copies(
    cluster: &GrowingCluster,
    lost: &BTreeMap<String, u64>,
    killed: Instant,
) -> Result<Refilled, String> {
    let copies = || -> Result<(u64, bool), String> {
        let mut held = BTreeMap::<String, Vec<u64>>::new();
        for number in cluster.numbers() {
            for (job, bytes) in bytes_of_jobs(&cluster.data(number)?) {
                held.entry(job).or_default().push(bytes);
            }
        }
        let of = |job: &String| held.get(job).cloned().unwrap_or_default();
        let all = lost.keys().map(|job| of(job).iter().sum::<u64>()).sum();
        let whole =
            |(job, bytes): (&String, &u64)| of(job).iter().filter(|it| *it >= bytes).count() > 1;
        Ok((all, lost.iter().all(whole)))
    };
    let (before, _) = copies()?;
    let mut begun = None;
    loop {
        let (now, whole) = copies()?;
        if now > before && begun.is_none() {
            begun = Some(killed.elapsed());
        }
        if whole {
            let ended = killed.elapsed();
            return Ok(Refilled {
                begun: begun.unwrap_or(ended),
                ended,
            });
        }
        if killed.elapsed() > REFILL_PATIENCE {
            return Err(format!(
                "{now} bytes of {} jobs are held, and no more",
                lost.len()
            ));
        }
        sleep(LOOK_EVERY);
    }
}

/// A film whose bytes are many.
fn source(path: &Path) -> Result<PathBuf, String> {
    let frames = (SOURCE_BYTES / SOURCE_FRAME_BYTES).to_string();
    let input = format!("testsrc2=size={SOURCE_SIZE}:rate=24");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", &input]);
    command.args([
        "-frames:v",
        &frames,
        "-c:v",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
    ]);
    quietly(command.arg(path))?;
    Ok(path.to_path_buf())
}

/// Runs a command without its words; the wall time in ms.
fn quietly(command: &mut Command) -> Result<f64, String> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(timed(command)?.wall_ms)
}

/// How long it takes to copy a file as often as it makes so many bytes, each copy synced.
fn plain_copy(source: &Path, bytes: u64, folder: &Path) -> Result<f64, String> {
    let begun = Instant::now();
    let mut copied = 0;
    while copied < bytes {
        let copy = folder.join("copy.avi");
        let synced = || {
            let bytes = std::fs::copy(source, &copy)?;
            File::open(&copy)?.sync_all()?;
            Ok::<_, std::io::Error>(bytes)
        };
        copied += synced().map_err(|error| error.to_string())?;
    }
    Ok(begun.elapsed().as_secs_f64() * bytes as f64 / copied as f64)
}
