//! How near jobs come to what they aim at: films at several sizes, or at several
//! qualities, in a cluster of three nodes. Prints a row for each job: what was asked,
//! what was reached and how far that is off, the rate factor that was found, and how
//! many encodes of shards it took for each shard of the film. Sizes and qualities do
//! not depend on the machine's load.
//!
//! `cargo run --release -p reelraft-quality --bin aims -- size|target [FILE…] [--codec CODEC[:PRESET]]… [--width W] [--seconds S] [--shard-seconds S] [--steps N] [--percentile P] [--two-pass]`
//! takes the files of `$REELRAFT_MEDIA/long`, else clips made here; `--seconds` takes no
//! more of each film. With `--percentile` that of the frames is to reach a target. With
//! `--two-pass` the encoder's own two passes at the bit rate that was reached stand beside
//! it, as SSIM, with how far their pictures' bytes are off that rate (h264 and hevc).
#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reelraft_harness::{LocalCluster, Options};
use reelraft_media::Tools;
use reelraft_quality::films::{ffmpeg, real_or_made};
use serde_json::Value;

/// Thousand bits a second of the pictures that sizes are made of, for 640x360; others
/// by their number of pixels.
const KBITS: [u64; 5] = [250, 450, 800, 1_400, 2_400];
/// Qualities that are asked for.
const TARGETS: [&str; 5] = [
    "ssim=0.95",
    "ssim=0.965",
    "ssim=0.975",
    "ssim=0.985",
    "psnr=40",
];
/// How far off a target may be, in hundredths of its metric's scale.
const SCALES: [(&str, f64); 4] = [
    ("ssim", 1.0),
    ("psnr", 60.0),
    ("vmaf", 100.0),
    ("xpsnr", 60.0),
];

struct Arguments {
    sized: bool,
    files: Vec<PathBuf>,
    codecs: Vec<(String, String)>,
    width: String,
    shard_seconds: Option<String>,
    steps: usize,
    percentile: Option<String>,
    two_pass: bool,
}

/// How far a job is off.
struct Off {
    /// What it aimed at, in hundredths.
    percent: f64,
    /// How much more SSIM it has than the encoder's own two passes, if those were made.
    ssim: Option<f64>,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::find().unwrap();
    let arguments = arguments(folder.path(), &tools);
    let options = Options {
        nodes: 3,
        ..Default::default()
    };
    let cluster = LocalCluster::start(&folder.path().join("cluster"), options);
    println!(
        "{:<24} {:<14} {:>14} {:>14} {:>8} {:>7} {:>7} {:>9}  two passes",
        "film", "codec", "asked", "reached", "off %", "crf", "shards", "encodes"
    );
    let mut all = Vec::new();
    for (codec, preset) in &arguments.codecs {
        let mut off = Vec::new();
        for file in &arguments.files {
            for step in 0..arguments.steps {
                let case = Case {
                    cluster: &cluster,
                    tools: &tools,
                    file,
                    codec,
                    preset,
                    folder: folder.path(),
                    arguments: &arguments,
                };
                off.extend(case.run(step));
            }
        }
        summary(codec, &off);
        all.extend(off);
    }
    summary("all", &all);
}

fn summary(what: &str, off: &[Off]) {
    let mut sorted: Vec<f64> = off.iter().map(|off| off.percent.abs()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let last = sorted.len().saturating_sub(1) as f64;
        sorted.get((last * part) as usize).copied().unwrap_or(0.0)
    };
    println!(
        "{what}: {} jobs, off by {:.2} % in the median, {:.2} % in 95 of 100, {:.2} % at most\n",
        sorted.len(),
        at(0.5),
        at(0.95),
        at(1.0)
    );
    let mut more: Vec<f64> = off.iter().filter_map(|off| off.ssim).collect();
    more.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (more.first(), more.last()) {
        let (median, jobs) = (more[more.len() / 2], more.len());
        println!(
            "{what}: {jobs} jobs beside two passes, SSIM {least:+.5} at least, {median:+.5} in the \
             median, {most:+.5} at most\n"
        );
    }
}

/// One film with one codec.
struct Case<'a> {
    cluster: &'a LocalCluster,
    tools: &'a Tools,
    file: &'a Path,
    codec: &'a str,
    preset: &'a str,
    folder: &'a Path,
    arguments: &'a Arguments,
}

impl Case<'_> {
    /// Runs a job and prints its row; how far off it is, if it has an output.
    fn run(&self, step: usize) -> Option<Off> {
        let name = self.file.file_name()?.to_string_lossy().into_owned();
        let seconds = duration(self.tools, self.file);
        let width: f64 = self.arguments.width.parse().unwrap();
        let kbits = KBITS[step] as f64 * (width / 640.0).powi(2);
        let bytes = (kbits * 125.0 * seconds) as u64 + (seconds * 16_000.0) as u64;
        let asked = match self.arguments.sized {
            true => bytes.to_string(),
            false => TARGETS[step].to_string(),
        };
        let job = self.made(&asked);
        let id = job["id"].as_str()?;
        let codec = format!("{} {}", self.codec, self.preset);
        if job["state"] != "succeeded" {
            let kind = job["problem"]["kind"].as_str().unwrap_or("-");
            println!("{name:<24.24} {codec:<14} {asked:>14} {kind:>14}");
            return None;
        }
        let (reached, off) = match self.arguments.sized {
            true => {
                let reached = job["output_bytes"].as_u64()?;
                let off = (reached as f64 - bytes as f64) * 100.0 / bytes as f64;
                (reached.to_string(), off)
            }
            false => reached_quality(&job, &asked)?,
        };
        let rate = &job["rate"];
        let shards = job["shards_total"].as_u64()?;
        let again = rate["probes"].as_u64()? + rate["shards_again"].as_u64()?;
        let encodes = (shards + again) as f64 / shards.max(1) as f64;
        let crf = rate["crf_centi"].as_u64().unwrap_or(0) as f64 / 100.0;
        let beside = match self.arguments.two_pass {
            true => self.two_passes(id, rate["reached_bitrate"].as_u64()?, seconds),
            false => (String::new(), None),
        };
        let (beside, ssim) = beside;
        println!(
            "{name:<24.24} {codec:<14} {asked:>14} {reached:>14} {off:>8.2} {crf:>7.2} {shards:>7} \
             {encodes:>9.2}  {beside}"
        );
        Some(Off { percent: off, ssim })
    }

    /// A job that has ended, with what it aimed at.
    fn made(&self, asked: &str) -> Value {
        let Arguments {
            sized,
            width,
            shard_seconds,
            percentile,
            ..
        } = self.arguments;
        let mut submit = self
            .cluster
            .cli(&["job", "submit", "--detach", "-o", "json"]);
        submit.args([if *sized { "--size" } else { "--target" }, asked]);
        submit.args(["--codec", self.codec, "--preset", self.preset]);
        submit.args(["--width", width, "--container", "mp4"]);
        if let Some(seconds) = shard_seconds {
            submit.args(["--shard-seconds", seconds]);
        }
        if let Some(percentile) = percentile {
            submit.args(["--target-percentile", percentile]);
        }
        let answer = submit.arg(self.file).output().unwrap();
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
        let id = answer["job"]["id"].as_str().expect("the job is taken");
        self.cluster.run(&["job", "wait", id]);
        self.cluster.json(&["job", "show", id])
    }

    /// SSIM of the output, and of the encoder's own two passes at its bit rate; how much
    /// more the first is.
    fn two_passes(&self, id: &str, wanted: u64, seconds: f64) -> (String, Option<f64>) {
        let encoder = match self.codec {
            "h264" => "libx264",
            "hevc" => "libx265",
            _ => return (String::new(), None),
        };
        let out = self.folder.join("out.mp4");
        let made = out.to_str().unwrap();
        self.cluster.run(&["job", "fetch", id, made, "--overwrite"]);
        let (scale, bits) = (
            format!("scale={}:-2", self.arguments.width),
            wanted.to_string(),
        );
        let own = self.folder.join("two.mp4");
        for pass in ["1", "2"] {
            let log = self.folder.join("two");
            let (log, source) = (log.to_str().unwrap(), self.file.to_str().unwrap());
            let params = format!("pass={pass}:stats={log}.log");
            let option = if encoder == "libx264" {
                "-x264-params"
            } else {
                "-x265-params"
            };
            let args = [
                "-nostdin",
                "-i",
                source,
                "-map",
                "0:v:0",
                "-vf",
                &scale,
                "-c:v",
                encoder,
                "-preset",
                self.preset,
                // Each frame once, as the job has it: they are paired by number.
                "-fps_mode:v",
                "passthrough",
                "-b:v",
                &bits,
                option,
                &params,
                "-pix_fmt",
                "yuv420p",
                own.to_str().unwrap(),
            ];
            ffmpeg(self.tools, &args);
        }
        let here = ssim(self.tools, self.file, &out, &scale);
        let there = ssim(self.tools, self.file, &own, &scale);
        let bits = std::fs::metadata(&own).unwrap().len() as f64 * 8.0 / seconds;
        let off = (bits / wanted as f64 - 1.0) * 100.0;
        let words = format!("ssim {here:.5}, {there:.5} by two passes ({off:+.1} % of bytes)");
        (words, Some(here - there))
    }
}

/// What a film has come to, and how far that is from its target.
fn reached_quality(job: &Value, asked: &str) -> Option<(String, f64)> {
    let (metric, value) = asked.split_once('=')?;
    let scale = SCALES.iter().find(|(name, _)| *name == metric)?.1;
    let reached = job["rate"]["reached_micro"].as_u64()? as f64 / 1e6;
    let off = (reached - value.parse::<f64>().ok()?) * 100.0 / scale;
    Some((format!("{reached:.5}"), off))
}

fn duration(tools: &Tools, file: &Path) -> f64 {
    let args = [
        "-v",
        "error",
        "-show_entries",
        "format=duration",
        "-of",
        "csv=p=0",
    ];
    let said = Command::new(&tools.ffprobe)
        .args(args)
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).trim().to_string();
    text.parse().expect("the source says how long it is")
}

/// The mean over all frames, which are paired by their number.
fn ssim(tools: &Tools, source: &Path, made: &Path, scale: &str) -> f64 {
    let count = "settb=1/25,setpts=N";
    let filter = format!(
        "[0:v:0]{scale},format=yuv420p,{count}[g];[1:v:0]format=yuv420p,{count}[m];[g][m]ssim"
    );
    let said = Command::new(&tools.ffmpeg)
        .args(["-nostdin", "-i"])
        .arg(source)
        .arg("-i")
        .arg(made)
        .args(["-filter_complex", &filter, "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let all = said.rsplit_once("All:").map(|(_, rest)| rest.to_string());
    let value = all.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.expect("ffmpeg says what it found")
}

fn arguments(folder: &Path, tools: &Tools) -> Arguments {
    let mut arguments = Arguments {
        sized: true,
        files: Vec::new(),
        codecs: Vec::new(),
        width: "640".into(),
        shard_seconds: None,
        steps: KBITS.len(),
        percentile: None,
        two_pass: false,
    };
    let mut seconds = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "size" => arguments.sized = true,
            "target" => arguments.sized = false,
            "--codec" => {
                let asked = args.next().unwrap();
                let (codec, preset) = asked.split_once(':').unwrap_or((&asked, ""));
                arguments.codecs.push(with_preset(codec, preset));
            }
            "--width" => arguments.width = args.next().unwrap(),
            "--seconds" => seconds = args.next(),
            "--shard-seconds" => arguments.shard_seconds = args.next(),
            "--steps" => arguments.steps = args.next().unwrap().parse().unwrap(),
            "--percentile" => arguments.percentile = args.next(),
            "--two-pass" => arguments.two_pass = true,
            _ => arguments.files.push(arg.into()),
        }
    }
    arguments.steps = arguments.steps.min(KBITS.len());
    if arguments.codecs.is_empty() {
        arguments.codecs = ["h264", "hevc", "av1"]
            .map(|codec| with_preset(codec, ""))
            .into();
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

/// A codec with a preset at which many jobs take minutes, if none is asked for.
fn with_preset(codec: &str, asked: &str) -> (String, String) {
    let usual = match codec {
        "vp9" => "6",
        "av1" => "10",
        _ => "veryfast",
    };
    let preset = if asked.is_empty() { usual } else { asked };
    (codec.to_string(), preset.to_string())
}

/// The first seconds of a film.
fn beginning(file: &Path, seconds: &str, folder: &Path, tools: &Tools) -> PathBuf {
    let path = folder.join(file.file_name().unwrap()).with_extension("mkv");
    let (source, made) = (file.to_str().unwrap(), path.to_str().unwrap());
    let args = ["-nostdin", "-i", source, "-map", "0:v:0", "-map", "0:a?"];
    ffmpeg(
        tools,
        &[&args[..], &["-t", seconds, "-c", "copy", made]].concat(),
    );
    path
}
