//! Small work: one clip alone from the client's start to its end, and many at
//! once, against an ffmpeg a clip.
//!
//! Options: `--seconds 5`; `--size 320x180`; `--preset P`; `--rounds 5` of one
//! clip alone; `--count 500` at once, 0 for none.

use std::path::{Path, PathBuf};

use crate::{
    cluster::Cluster,
    cost::{Cost, median},
    film::spec,
    films,
    options::Options,
    passes,
};

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    let seconds = options.number("seconds", 5)?;
    let clip = folder.join("clip.mp4");
    films::made(seconds, options.text("size").unwrap_or("320x180"), &clip)?;
    let spec = spec(options, None);
    let rounds = options.number("rounds", 5)?;
    let count = options.number("count", 500)?;
    alone(rounds, &spec, &clip, folder)?;
    match count {
        0 => Ok(()),
        _ => at_once(count, &spec, &clip, folder),
    }
}

/// What somebody would tell ffmpeg who wants the same.
fn of_ffmpeg(spec: &[String]) -> Vec<String> {
    let pairs = spec.chunks(2).flat_map(|pair| match pair[0].as_str() {
        "--preset" => vec!["-preset".to_string(), pair[1].clone()],
        "--width" => vec!["-vf".to_string(), format!("scale={}:-2", pair[1])],
        _ => Vec::new(),
    });
    let mut options: Vec<String> = pairs.collect();
    options.extend(["-movflags", "+faststart"].map(String::from));
    options
}

/// One clip alone, again and again in one cluster, each time another source.
fn alone(rounds: u32, spec: &[String], clip: &Path, folder: &Path) -> Result<(), String> {
    let cluster = Cluster::of_three(&folder.join("alone"))?;
    let out = folder.join("out.mp4");
    let (mut ours, mut theirs, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let source = folder.join(format!("alone-{round}.mp4"));
        films::tagged(clip, &format!("alone {round}"), &source)?;
        let before = cluster.children();
        ours.push(cluster.transcode(spec, &source, &out)?);
        children.push((cluster.children() - before) as f64);
        theirs.push(passes::simply(&of_ffmpeg(spec), &source, &out)?);
    }
    let of = |values: Vec<f64>| median(&values);
    let wall = |costs: &[Cost]| of(costs.iter().map(|cost| cost.wall_ms).collect());
    let cpu = |costs: &[Cost]| of(costs.iter().map(|cost| cost.cpu_ms).collect());
    let nodes: Vec<Cost> = ours.iter().map(|done| done.nodes).collect();
    println!(
        "one clip alone: {:.0} ms end to end, CPU {:.0} ms in {} processes and {:.0} ms of the client; ffmpeg: {:.0} ms, CPU {:.0} ms",
        wall(&nodes),
        cpu(&nodes),
        median(&children),
        of(ours.iter().map(|done| done.client_ms).collect()),
        wall(&theirs),
        cpu(&theirs),
    );
    Ok(())
}

/// Many clips, each another source; half of the ffmpegs before and half of them
/// after them.
fn at_once(count: u32, spec: &[String], clip: &Path, folder: &Path) -> Result<(), String> {
    let sources = folder.join("in");
    std::fs::create_dir_all(&sources).map_err(|error| error.to_string())?;
    let mut clips: Vec<PathBuf> = Vec::new();
    for number in 0..count {
        let path = sources.join(format!("{number:04}.mp4"));
        films::tagged(clip, &number.to_string(), &path)?;
        clips.push(path);
    }
    let out = folder.join("out.mp4");
    let singly = |clips: &[PathBuf]| -> Result<Cost, String> {
        let mut sum = Cost::default();
        for clip in clips {
            let cost = passes::simply(&of_ffmpeg(spec), clip, &out)?;
            sum.cpu_ms += cost.cpu_ms;
            sum.wall_ms += cost.wall_ms;
        }
        Ok(sum)
    };
    let (early, late) = clips.split_at(clips.len() / 2);
    let before = singly(early)?;
    let cluster = Cluster::of_three(&folder.join("at-once"))?;
    let at_start = cluster.children();
    let done = cluster.all_at_once(spec, &clips)?;
    let children = cluster.children() - at_start;
    let after = singly(late)?;
    let (cpu_ms, wall_ms) = (before.cpu_ms + after.cpu_ms, before.wall_ms + after.wall_ms);
    let per_clip = |ms: f64| ms / f64::from(count);
    println!(
        "{count} clips at once: CPU {:.0} ms a clip in {:.1} processes, and {:.1} ms of its client, {:.1} s in all; ffmpeg: {:.0} ms a clip, one after another {:.1} s",
        per_clip(done.nodes.cpu_ms),
        per_clip(children as f64),
        per_clip(done.client_ms),
        done.nodes.wall_ms / 1e3,
        per_clip(cpu_ms),
        wall_ms / 1e3,
    );
    println!("CPU: cluster / ffmpeg {:.3}", done.nodes.cpu_ms / cpu_ms);
    Ok(())
}
