//! What a joint between shards costs in quality. Each film is encoded in shards
//! and by its reference (one ffmpeg pass), and both are compared with the
//! source, frame by frame, as PSNR and SSIM.
//!
//! The frames at a joint may be hard or easy ones. So the loss is how much the
//! sharded film falls behind the single pass there, less how much it does in
//! the film as a whole. Quality does not depend on the machine's load.
//!
//! `cargo run --release -p reelraft-quality --bin joints -- [FILE…] [--codec CODEC]… [--width W] [--shard-seconds S]`
//! takes the files of `$REELRAFT_MEDIA/long`, else clips made here, and all
//! four lossy codecs. It fails beyond 0.3 dB or 0.003.
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reelraft_media::{
    Cancel, Context, Index, Input, Parts, Tools, analyze, assemble, encode_shard, reference,
};
use reelraft_model::spec::{Spec, SpecRequest, resolve};

/// Frames on each side of a joint that are looked at.
const FRAMES_A_SIDE: usize = 6;
/// A frame equal to its source has no finite PSNR; nobody sees a difference
/// from here on.
const PSNR_MAX_DB: f64 = 60.0;
const PSNR_LOSS_MAX_DB: f64 = 0.3;
const SSIM_LOSS_MAX: f64 = 0.003;

struct Arguments {
    files: Vec<PathBuf>,
    codecs: Vec<String>,
    width: u32,
    shard_ms: u32,
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
        "{:<28} {:<5} {:>6} {:>6}  {:>16}  {:>16}  {:>15}",
        "film", "codec", "shards", "frames", "PSNR film joints", "one pass", "loss dB / SSIM"
    );
    let mut missed = false;
    for file in &arguments.files {
        for codec in &arguments.codecs {
            let place = folder.path().join("job");
            std::fs::create_dir_all(&place).unwrap();
            missed |= !measure(&tools, file, codec, &arguments, &place);
            std::fs::remove_dir_all(&place).unwrap();
        }
    }
    if missed {
        eprintln!("a joint costs more than {PSNR_LOSS_MAX_DB} dB or {SSIM_LOSS_MAX}");
        std::process::exit(1);
    }
}

/// Encodes a film both ways and prints a line; whether its joints are good.
fn measure(tools: &Tools, file: &Path, codec: &str, arguments: &Arguments, place: &Path) -> bool {
    let spec = spec(codec, arguments);
    let (index, sharded) = in_shards(tools, file, &spec, place);
    let single = in_one_pass(tools, file, &spec, &index, place);
    let ours = quality(tools, file, &sharded, &index, place);
    let theirs = quality(tools, file, &single, &index, place);
    assert_eq!(ours.psnr.len(), theirs.psnr.len(), "frames of both ways");
    let near = near_joints(&index);
    let joints = |values: &[f64]| mean(near.iter().map(|&frame| values[frame]));
    let film = |values: &[f64]| mean(values.iter().copied());
    let loss = |ours: &[f64], theirs: &[f64]| {
        (joints(theirs) - joints(ours)) - (film(theirs) - film(ours))
    };
    let psnr = loss(&ours.psnr, &theirs.psnr);
    let ssim = loss(&ours.ssim, &theirs.ssim);
    let name = file.file_name().unwrap().to_string_lossy();
    println!(
        "{:<28} {codec:<5} {:>6} {:>6}  {:>7.2} {:>8.2}  {:>7.2} {:>8.2}  {psnr:>7.3} {ssim:>7.4}",
        name.chars().take(28).collect::<String>(),
        index.shards().len(),
        ours.psnr.len(),
        film(&ours.psnr),
        joints(&ours.psnr),
        film(&theirs.psnr),
        joints(&theirs.psnr),
    );
    assert!(!near.is_empty(), "{name} is one shard and has no joint");
    psnr <= PSNR_LOSS_MAX_DB && ssim <= SSIM_LOSS_MAX
}

/// Pictures alone, at a speed at which the encoder still cares for quality.
fn spec(codec: &str, arguments: &Arguments) -> Spec {
    let preset = match codec {
        "vp9" => "4",
        "av1" => "8",
        _ => "medium",
    };
    let request = SpecRequest {
        codec: codec.into(),
        preset: preset.into(),
        container: "mp4".into(),
        audio: "none".into(),
        pix_fmt: "yuv420p".into(),
        width: Some(arguments.width),
        shard_ms: Some(arguments.shard_ms),
        ..Default::default()
    };
    resolve(&request).unwrap()
}

/// The film as its reference command makes it.
fn in_one_pass(tools: &Tools, file: &Path, spec: &Spec, index: &Index, place: &Path) -> PathBuf {
    let single = place.join("reference.mp4");
    let (source, output) = (file.to_str().unwrap(), single.to_str().unwrap());
    let command = reference(index, spec, false, source, output);
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

/// The film as the cluster would make it, one shard after the other.
fn in_shards(tools: &Tools, file: &Path, spec: &Spec, place: &Path) -> (Index, PathBuf) {
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
        for (number, range) in index.shards().iter().enumerate() {
            let folder = step(&format!("shard-{number}"));
            let done = encode_shard(&work.at(&folder), &index, *range, false, &|_| {})
                .await
                .unwrap();
            parts.shards.push((done.path, done.report));
        }
        let done = assemble(&work.at(&step("whole")), &index, false, &parts)
            .await
            .unwrap();
        (index, done.path)
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

fn ffmpeg(tools: &Tools, args: &[&str]) {
    let out = Command::new(&tools.ffmpeg)
        .args(["-v", "error", "-y"])
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(out.status.success(), "{last}");
}

fn arguments(folder: &Path, tools: &Tools) -> Arguments {
    let mut arguments = Arguments {
        files: Vec::new(),
        codecs: Vec::new(),
        width: 640,
        shard_ms: 4000,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--codec" => arguments.codecs.extend(args.next()),
            "--width" => arguments.width = args.next().unwrap().parse().unwrap(),
            "--shard-seconds" => {
                arguments.shard_ms = 1000 * args.next().unwrap().parse::<u32>().unwrap();
            }
            _ => arguments.files.push(arg.into()),
        }
    }
    if arguments.codecs.is_empty() {
        arguments.codecs = ["h264", "hevc", "vp9", "av1"].map(String::from).into();
    }
    if arguments.files.is_empty() {
        arguments.files = real_or_made(folder, tools);
    }
    arguments
}

fn real_or_made(folder: &Path, tools: &Tools) -> Vec<PathBuf> {
    let real = std::env::var_os("REELRAFT_MEDIA").map(|media| PathBuf::from(media).join("long"));
    if let Some(entries) = real.and_then(|long| std::fs::read_dir(long).ok()) {
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        return files;
    }
    [
        "testsrc2=size=640x360:rate=24",
        "mandelbrot=size=640x360:rate=24",
    ]
    .iter()
    .enumerate()
    .map(|(number, picture)| {
        let path = folder.join(format!("made-{number}.mp4"));
        let made = path.to_str().unwrap();
        let args = [
            "-nostdin", "-f", "lavfi", "-i", picture, "-t", "16", "-c:v", "libx264", "-crf", "12",
            "-pix_fmt", "yuv420p", "-g", "48", made,
        ];
        ffmpeg(tools, &args);
        path
    })
    .collect()
}
