//! What a joint between shards costs in quality. Each film is encoded in shards
//! and by its reference (one ffmpeg pass, with keyframes where shards begin), and
//! both are compared with the source, frame by frame, as PSNR and SSIM: the twelve
//! frames around each joint. Quality does not depend on the machine's load.
//!
//! Beside it stand the pictures that equal those of the reference to the bit, and
//! size and CPU time of the shards against its; with `--own-keyframes` also the
//! size against one pass that sets its keyframes itself, at equal SSIM.
//!
//! `cargo run --release -p reelraft-quality --bin joints -- [FILE…] [--codec CODEC[:PRESET[:TUNE]]]… [--width W] [--pix-fmt F] [--shard-seconds S] [--seconds S] [--own-keyframes]`
//! takes the files of `$REELRAFT_MEDIA/long`, else clips made here, and all
//! four lossy codecs; `--seconds` takes no more of each film. It fails where a
//! codec loses more than 0.05 dB or 0.0005 on average, or a film more than 0.15 dB.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reelraft_media::{
    Cancel, Context, Index, Input, Parts, Tools, analyze, assemble, encode_shard, reference,
};
use reelraft_model::spec::{EncoderChoice, Spec, SpecRequest, resolve};
use reelraft_quality::films::{ffmpeg, real_or_made};

/// Frames on each side of a joint that are looked at.
const FRAMES_A_SIDE: usize = 6;
/// A frame equal to its source has no finite PSNR; nobody sees a difference
/// from here on.
const PSNR_MAX_DB: f64 = 60.0;
const PSNR_LOSS_MAX_DB: f64 = 0.05;
const SSIM_LOSS_MAX: f64 = 0.0005;
const PSNR_LOSS_OF_A_FILM_MAX_DB: f64 = 0.15;

struct Arguments {
    files: Vec<PathBuf>,
    encoders: Vec<Encoder>,
    width: u32,
    pix_fmt: String,
    /// Whether it is also compared with a pass that sets its keyframes itself.
    own_keyframes: bool,
    /// As the source has it where it is not asked for.
    shard_ms: Option<u32>,
}

struct Encoder {
    codec: String,
    preset: String,
    /// Empty for none.
    tune: String,
}

impl Encoder {
    /// As it is asked for, with a preset at which it still cares for quality.
    fn parse(asked: &str) -> Encoder {
        let mut words = asked.split(':').map(str::to_string);
        let codec = words.next().unwrap_or_default();
        let usual = match codec.as_str() {
            "vp9" => "4",
            "av1" => "8",
            _ => "medium",
        };
        let preset = words.next().filter(|preset| !preset.is_empty());
        Encoder {
            codec,
            preset: preset.unwrap_or_else(|| usual.to_string()),
            tune: words.next().unwrap_or_default(),
        }
    }

    fn name(&self) -> String {
        let words = [&self.codec, &self.preset, &self.tune].map(String::as_str);
        words.join(" ").trim_end().to_string()
    }
}

/// What a film loses at its joints.
struct Loss {
    psnr: f64,
    ssim: f64,
}

/// Quality of every frame against the source.
struct Quality {
    psnr: Vec<f64>,
    ssim: Vec<f64>,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::find().unwrap();
    let arguments = arguments(folder.path(), &tools);
    println!(
        "{:<24} {:<14} {:>6} {:>12} {:>6} {:>5}  {:>15}  {:>15}  {:>15}",
        "film",
        "codec",
        "shards",
        "equal frames",
        "size",
        "CPU",
        "PSNR: joints",
        "one pass",
        "loss dB / SSIM"
    );
    let mut missed = false;
    for encoder in &arguments.encoders {
        let losses: Vec<Loss> = arguments
            .files
            .iter()
            .filter_map(|file| {
                let place = folder.path().join("job");
                std::fs::create_dir_all(&place).unwrap();
                let loss = measure(&tools, file, encoder, &arguments, &place);
                std::fs::remove_dir_all(&place).unwrap();
                loss
            })
            .collect();
        let psnr = mean(losses.iter().map(|loss| loss.psnr));
        let ssim = mean(losses.iter().map(|loss| loss.ssim));
        let worst = losses.iter().map(|loss| loss.psnr).fold(0.0, f64::max);
        println!(
            "{:<24} {:<14} on average {psnr:.3} dB and {ssim:.5}, at worst {worst:.3} dB\n",
            "",
            encoder.name(),
        );
        missed |= psnr > PSNR_LOSS_MAX_DB || ssim > SSIM_LOSS_MAX;
        missed |= worst > PSNR_LOSS_OF_A_FILM_MAX_DB;
    }
    if missed {
        eprintln!("a joint costs more than {PSNR_LOSS_MAX_DB} dB or {SSIM_LOSS_MAX}");
        std::process::exit(1);
    }
}

/// Encodes a film both ways and prints a line; what it loses at its joints, if it
/// has any.
fn measure(
    tools: &Tools,
    file: &Path,
    encoder: &Encoder,
    arguments: &Arguments,
    place: &Path,
) -> Option<Loss> {
    let spec = spec(encoder, arguments);
    let (index, sharded, cost) = in_shards(tools, file, &spec, place);
    let before = cpu_seconds();
    let single = in_one_pass(tools, file, &spec, &index, false, place);
    let single_cost = cpu_seconds() - before;
    let name = file.file_name().unwrap().to_string_lossy();
    let near = near_joints(&index);
    if near.is_empty() {
        println!("{name} is one shard and has no joint");
        return None;
    }
    let ours = quality(tools, file, &sharded, &index, place);
    let theirs = quality(tools, file, &single, &index, place);
    assert_eq!(ours.psnr.len(), theirs.psnr.len(), "frames of both ways");
    let equal = equal_frames(tools, &sharded, &single);
    let joints = |values: &[f64]| mean(near.iter().map(|&frame| values[frame]));
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
    let loss = Loss {
        psnr: joints(&theirs.psnr) - joints(&ours.psnr),
        ssim: joints(&theirs.ssim) - joints(&ours.ssim),
    };
    println!(
        "{:<24} {:<14} {:>6} {equal:>5} of {:<4} {:>6.3} {:>5.2}  {:>7.2} {:>7.4}  {:>7.2} {:>7.4}  {:>7.3} {:>7.5}",
        name.chars().take(24).collect::<String>(),
        encoder.name(),
        index.shards().len(),
        ours.psnr.len(),
        size(&sharded) / size(&single),
        cost / single_cost,
        joints(&ours.psnr),
        joints(&ours.ssim),
        joints(&theirs.psnr),
        joints(&theirs.ssim),
        loss.psnr,
        loss.ssim,
    );
    if arguments.own_keyframes {
        let ssim = mean(ours.ssim.iter().copied());
        let ratio = size(&sharded) / size_at(tools, file, &spec, &index, place, ssim);
        println!(
            "{:<24} {ratio:.4} times the size of a pass with its own keyframes",
            ""
        );
    }
    Some(loss)
}

/// The size at which one pass that sets its keyframes itself has this SSIM, in bytes.
fn size_at(tools: &Tools, file: &Path, spec: &Spec, index: &Index, place: &Path, ssim: f64) -> f64 {
    let at = |crf: u32| {
        let spec = Spec {
            crf,
            ..spec.clone()
        };
        let path = in_one_pass(tools, file, &spec, index, true, place);
        let quality = quality(tools, file, &path, index, place);
        let bytes = std::fs::metadata(&path).unwrap().len() as f64;
        (mean(quality.ssim.into_iter()), bytes.ln())
    };
    let (same, worse) = (at(spec.crf), at(spec.crf + 2));
    let slope = (same.1 - worse.1) / (same.0 - worse.0);
    (same.1 + slope * (ssim - same.0)).exp()
}

/// Frames of two outputs with the same pictures.
fn equal_frames(tools: &Tools, one: &Path, other: &Path) -> usize {
    let hashes = |path: &Path| -> Vec<String> {
        let out = Command::new(&tools.ffmpeg)
            .args(["-nostdin", "-v", "error", "-i", path.to_str().unwrap()])
            .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
            .args(["-enc_time_base:v", "1:1000000", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit(',').next().unwrap().to_string())
            .collect()
    };
    let (one, other) = (hashes(one), hashes(other));
    let pairs = one.iter().zip(&other);
    pairs.filter(|(one, other)| one == other).count()
}

/// Processor time of all children so far, in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in brackets may hold anything; its end is the last one.
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / TICKS_A_SECOND
}

/// Of the kernel's times; the same on all machines that Linux runs on here.
const TICKS_A_SECOND: f64 = 100.0;

/// Pictures alone, at a speed at which the encoder still cares for quality.
fn spec(encoder: &Encoder, arguments: &Arguments) -> Spec {
    let request = SpecRequest {
        codec: encoder.codec.clone(),
        preset: encoder.preset.clone(),
        encoder_choice: EncoderChoice {
            tune: encoder.tune.clone(),
            ..Default::default()
        },
        container: "mp4".into(),
        audio: "none".into(),
        pix_fmt: arguments.pix_fmt.clone(),
        width: Some(arguments.width),
        shard_ms: arguments.shard_ms,
        ..Default::default()
    };
    resolve(&request).unwrap()
}

/// The film as its reference command makes it, or that of a film in one piece.
fn in_one_pass(
    tools: &Tools,
    file: &Path,
    spec: &Spec,
    index: &Index,
    whole: bool,
    place: &Path,
) -> PathBuf {
    let name = if whole { "whole.mp4" } else { "reference.mp4" };
    let single = place.join(name);
    let (source, output) = (file.to_str().unwrap(), single.to_str().unwrap());
    let command = reference(index, spec, whole, source, output);
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    ffmpeg(tools, &args);
    single
}

/// What all steps of a job share.
struct Work<'a> {
    tools: &'a Tools,
    input: &'a Input,
    spec: &'a Spec,
    cancel: &'a Cancel,
}

impl Work<'_> {
    fn at<'b>(&'b self, work_dir: &'b Path) -> Context<'b> {
        Context {
            tools: self.tools,
            input: self.input,
            spec: self.spec,
            work_dir,
            cancel: self.cancel,
        }
    }
}

/// The film as the cluster would make it, one shard after the other, and what its
/// encoders cost.
fn in_shards(tools: &Tools, file: &Path, spec: &Spec, place: &Path) -> (Index, PathBuf, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (input, cancel) = (Input::File(file.into()), Cancel::new());
    let work = Work {
        tools,
        input: &input,
        spec,
        cancel: &cancel,
    };
    let step = |name: &str| {
        let path = place.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    runtime.block_on(async {
        let bytes = std::fs::metadata(file).unwrap().len();
        let index = analyze(&work.at(&step("analysis")), bytes).await.unwrap();
        let mut parts = Parts::default();
        let before = cpu_seconds();
        for (number, range) in index.shards().iter().enumerate() {
            let folder = step(&format!("shard-{number}"));
            let done = encode_shard(&work.at(&folder), &index, *range, false, &|_| {})
                .await
                .unwrap();
            parts.shards.push((done.path, done.report));
        }
        let cost = cpu_seconds() - before;
        let done = assemble(&work.at(&step("whole")), &index, false, &parts)
            .await
            .unwrap();
        (index, done.path, cost)
    })
}

/// Frames near a joint, by their number in the film.
fn near_joints(index: &Index) -> Vec<usize> {
    let total = index.frames_total() as usize;
    let mut joint = 0usize;
    let mut near = Vec::new();
    for shard in index.shards() {
        if joint > 0 {
            near.extend(joint.saturating_sub(FRAMES_A_SIDE)..(joint + FRAMES_A_SIDE).min(total));
        }
        joint += shard.frames as usize;
    }
    near.dedup();
    near
}

/// Compares an output with the source. Frames are paired by their number.
fn quality(tools: &Tools, source: &Path, output: &Path, index: &Index, place: &Path) -> Quality {
    let (width, height) = index.output_size();
    let (psnr, ssim) = (place.join("psnr.txt"), place.join("ssim.txt"));
    let counted = "settb=1/1000,setpts=N*40";
    let graph = format!(
        "[0:v:0]scale={width}:{height}:flags=bicubic+accurate_rnd+bitexact,format=yuv420p,{counted},split[s1][s2];\
         [1:v:0]format=yuv420p,{counted},split[o1][o2];\
         [o1][s1]psnr=stats_file={}[p];[o2][s2]ssim=stats_file={}[q]",
        psnr.display(),
        ssim.display()
    );
    let (source, output) = (source.to_str().unwrap(), output.to_str().unwrap());
    let mut args = vec!["-nostdin", "-i", source, "-i", output, "-lavfi", &graph];
    for pad in ["[p]", "[q]"] {
        args.extend(["-map", pad, "-fps_mode", "passthrough", "-f", "null", "-"]);
    }
    ffmpeg(tools, &args);
    let read = |path: &Path, key: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(path).unwrap();
        let value = |line: &str| {
            let word = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key));
            word.unwrap().parse::<f64>().unwrap()
        };
        text.lines().map(value).collect()
    };
    Quality {
        psnr: read(&psnr, "psnr_avg:")
            .into_iter()
            .map(|db| db.min(PSNR_MAX_DB))
            .collect(),
        ssim: read(&ssim, "All:"),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

fn arguments(folder: &Path, tools: &Tools) -> Arguments {
    let mut arguments = Arguments {
        files: Vec::new(),
        encoders: Vec::new(),
        width: 640,
        pix_fmt: "yuv420p".into(),
        own_keyframes: false,
        shard_ms: None,
    };
    let mut seconds = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--codec" => {
                let asked = args.next().unwrap();
                arguments.encoders.push(Encoder::parse(&asked));
            }
            "--seconds" => seconds = args.next(),
            "--pix-fmt" => arguments.pix_fmt = args.next().unwrap(),
            "--own-keyframes" => arguments.own_keyframes = true,
            "--width" => arguments.width = args.next().unwrap().parse().unwrap(),
            "--shard-seconds" => {
                arguments.shard_ms = args.next().map(|text| 1000 * text.parse::<u32>().unwrap());
            }
            _ => arguments.files.push(arg.into()),
        }
    }
    if arguments.encoders.is_empty() {
        arguments.encoders = ["h264", "hevc", "vp9", "av1"].map(Encoder::parse).into();
    }
    if arguments.files.is_empty() {
        arguments.files = real_or_made(folder, tools);
    }
    if let Some(seconds) = seconds {
        let shorten = |file: &PathBuf| beginning(file, &seconds, folder, tools);
        arguments.files = arguments.files.iter().map(shorten).collect();
    }
    arguments
}

/// The first seconds of a film.
fn beginning(file: &Path, seconds: &str, folder: &Path, tools: &Tools) -> PathBuf {
    let path = folder.join(file.file_name().unwrap());
    let (source, made) = (file.to_str().unwrap(), path.to_str().unwrap());
    let args = ["-nostdin", "-i", source, "-map", "0:v:0"];
    ffmpeg(
        tools,
        &[&args[..], &["-t", seconds, "-c", "copy", made]].concat(),
    );
    path
}
