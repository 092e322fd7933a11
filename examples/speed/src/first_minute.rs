//! When the beginning of a film can be looked at that is still encoded: from the
//! client's start until a preview has it, beside the time in which one ffmpeg encodes
//! as much, with its own threads on the same machine.
//!
//! Options: `--minute 60`, in seconds; the film and its options as for `film`.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    film::spec,
    films::{self, ffmpeg, length_of},
    options::Options,
    passes,
};

/// How often a preview is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let minute: u32 = options.number("minute", 60)?;
    let film = films::film(options, 3 * minute, folder)?;
    let spec = spec(options, None);
    let cluster = Cluster::of_three(&folder.join("cluster"))?;
    let (out, preview) = (folder.join("out.mp4"), folder.join("preview.mp4"));
    let started = Instant::now();
    let (seen, looks, whole) = thread::scope(|scope| {
        let job = scope.spawn(|| cluster.transcode(&spec, &film, &out));
        let mut looks = 0;
        let seen = loop {
            if job.is_finished() {
                break None;
            }
            if cluster.preview(minute, &preview) {
                looks += 1;
                if length_of(&preview)? >= f64::from(minute) {
                    break Some(started.elapsed());
                }
            }
            thread::sleep(LOOK_EVERY);
        };
        let done = job.join().map_err(|_| "the client panicked")??;
        Ok::<_, String>((seen, looks, done.nodes.wall_ms / 1e3))
    })?;
    let seen = seen.ok_or("the film was done before its beginning was seen: take a longer one")?;
    let reference = cluster.reference()?;
    drop(cluster);
    let beginning = folder.join("beginning.mp4");
    let mut cut = ffmpeg();
    cut.arg("-i").arg(&film).args(["-c", "copy", "-t"]);
    cut.arg(minute.to_string()).arg(&beginning);
    if !cut.status().is_ok_and(|status| status.success()) {
        return Err("the film's beginning can't be cut off".into());
    }
    let alone = passes::with_own_threads(&reference, &beginning, &out)?.wall_ms / 1e3;
    println!(
        "{minute} s of the film: seen after {:.1} s ({looks} previews); one ffmpeg encodes them \
         in {alone:.1} s; the whole film took {whole:.1} s",
        seen.as_secs_f64(),
    );
    Ok(())
}
