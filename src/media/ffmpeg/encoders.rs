//! What this machine's ffmpeg can do, found out by trying it: an encoder check
//! for `reelraft doctor`, and the encoder build, a hash that is equal on two
//! nodes only if both give the same bytes.

use std::{path::Path, time::Duration};

use reelraft_model::{plan::files_of, spec::Container};
use serde::{Deserialize, Serialize};

use crate::{
    error::MediaError,
    facts::{
        containers::muxer_of,
        recipe::{RECIPE, SCALER, X264},
        text::{clip, strings},
    },
    ffmpeg::{
        abilities,
        cancel::Cancel,
        listeners::TextListener,
        log::{LOG, LOG_ERRORS},
        process::{self, Invocation, LineEffect, Listener},
        tools::Tools,
    },
    limits::{COMPLAINT_BYTES_MAX, NICE_AWAITED, PROBE_TIME_MAX, VERSION_TIME_MAX},
};

/// Result of testing one encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderCheck {
    /// ffmpeg's name of the encoder.
    pub name: &'static str,
    /// Whether it encoded ten frames.
    pub ok: bool,
    /// Why not; empty if it did.
    pub detail: String,
}

impl EncoderCheck {
    fn of(encoder: &Encoder, error: Option<&MediaError>) -> Self {
        EncoderCheck {
            name: encoder.name,
            ok: error.is_none(),
            detail: error.map_or_else(String::new, MediaError::to_string),
        }
    }
}

/// An encoder, with options that make its bytes depend on most of its code at
/// little cost.
struct Encoder {
    name: &'static str,
    used_for: &'static str,
    options: &'static [&'static str],
    audio: bool,
    /// What stands before the version of its library in the log, and the
    /// library's name; `None` if it is ffmpeg's own, or does not say.
    says: Option<(&'static str, &'static str)>,
}

impl Encoder {
    /// What it makes, as a spec names it.
    fn makes(&self) -> &'static str {
        self.used_for.rsplit(' ').next().unwrap_or(self.used_for)
    }
}

/// As jobs have it, but it says its version.
const X265_ALOUD: &str = "pools=none:frame-threads=1:info=0:log-level=info";

const ENCODERS: [Encoder; 7] = [
    Encoder {
        name: "libx264",
        used_for: "--codec h264",
        // With a global header it says its version.
        options: &[
            "-preset",
            "medium",
            "-crf",
            "23",
            "-x264-params",
            X264,
            "-flags",
            "+global_header",
        ],
        audio: false,
        says: Some(("264 - core ", "x264")),
    },
    Encoder {
        name: "libx265",
        used_for: "--codec hevc",
        options: &[
            "-preset",
            "medium",
            "-crf",
            "28",
            "-x265-params",
            X265_ALOUD,
        ],
        audio: false,
        says: Some(("HEVC encoder version ", "x265")),
    },
    Encoder {
        name: "libvpx-vp9",
        used_for: "--codec vp9",
        options: &["-b:v", "0", "-crf", "31", "-cpu-used", "4", "-row-mt", "0"],
        audio: false,
        says: Some(("[info] v", "libvpx")),
    },
    Encoder {
        name: "libsvtav1",
        used_for: "--codec av1",
        options: &["-preset", "8", "-crf", "35", "-svtav1-params", "lp=1"],
        audio: false,
        says: Some(("SVT-AV1 Encoder Lib v", "SVT-AV1")),
    },
    Encoder {
        name: "ffv1",
        used_for: "--codec ffv1",
        options: &["-level", "3", "-slices", "4", "-g", "1"],
        audio: false,
        says: None,
    },
    Encoder {
        name: "aac",
        used_for: "--audio aac",
        options: &["-b:a", "128000"],
        audio: true,
        says: None,
    },
    Encoder {
        name: "libopus",
        used_for: "--audio opus",
        options: &["-b:a", "128000"],
        audio: true,
        says: None,
    },
];

/// What a node can't make, for a reason that did not pass when it was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// A codec, a sound format or files, as [`reelraft_model::plan::needs`] names
    /// them.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Lack {
    /// Files that can't be written.
    fn of_files(container: Container) -> Self {
        Lack {
            what: files_of(container).into(),
            why: format!("this ffmpeg has no muxer {}", muxer_of(container)),
        }
    }

    /// Something that can't be made, and the error that showed it.
    pub fn new(what: &str, error: &MediaError) -> Self {
        Lack {
            what: what.into(),
            why: clip(&error.to_string(), COMPLAINT_BYTES_MAX),
        }
    }
}

/// ffmpeg as this machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Equal on two nodes only if both give the same bytes.
    pub hash: String,
    /// The same for people, as far as the programs say it: `ffmpeg 7.1.1, x264
    /// 164, x265 3.6, libvpx 1.15.0, SVT-AV1 2.3.0`.
    pub words: String,
    /// Each encoder that a spec can ask for.
    pub encoders: Vec<EncoderCheck>,
    /// What it can't make, as its encoders or muxers are not there, or don't work.
    pub lacks: Vec<Lack>,
}

/// See [`crate::probe_build`].
pub(crate) async fn probe_build(tools: &Tools) -> Result<Build, MediaError> {
    let (mut words, mut encoders, mut lacks) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_error = None;
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(&format!("recipe {RECIPE}"));
    add(std::env::consts::ARCH);
    for tool in [&tools.ffmpeg, &tools.ffprobe] {
        let versions = versions_of(tool).await?;
        // Paths and flags of the build matter only as far as the probe shows it.
        for (number, line) in versions.lines().enumerate() {
            if number == 0 || line.starts_with("lib") {
                add(line);
            }
        }
        if words.is_empty() {
            words.push(format!("ffmpeg {}", program_version(&versions)));
        }
    }
    add(&read_clip(tools).await?);
    for encoder in &ENCODERS {
        add(encoder.name);
        let made = again(|| digest_of(tools, encoder)).await;
        encoders.push(EncoderCheck::of(encoder, made.as_ref().err()));
        match made {
            Ok((digest, version)) => {
                add(&digest);
                if let (Some(version), Some((_, library))) = (version, encoder.says) {
                    add(&version);
                    words.push(format!("{library} {}", number(&version)));
                }
            }
            // It is not there, or does not work: a job that asks for it goes
            // elsewhere, and the others go on.
            Err(
                error @ (MediaError::EncoderMissing { .. }
                | MediaError::ToolFailed { .. }
                | MediaError::ToolCrashed { .. }
                | MediaError::WrongBuild { .. }
                | MediaError::BadOutput { .. }
                | MediaError::Stalled { .. }),
            ) => {
                add("missing");
                lacks.push(Lack::new(encoder.makes(), &error));
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    let muxers = list(tools, "-muxers").await?;
    ask_ahead(tools).await;
    for lack in abilities::missing_muxers(&muxers).map(Lack::of_files) {
        add(&lack.what);
        lacks.push(lack);
    }
    // None that works is no ffmpeg.
    if let Some(error) = first_error.filter(|_| encoders.iter().all(|encoder| !encoder.ok)) {
        return Err(error);
    }
    Ok(Build {
        hash: hasher.finalize().to_hex()[..32].to_string(),
        words: words.join(", "),
        encoders,
        lacks,
    })
}

/// Keeps what every analysis asks for. What can't be had is asked for again there.
async fn ask_ahead(tools: &Tools) {
    if let (Ok(names), Ok(codecs)) = (list(tools, "-encoders").await, list(tools, "-codecs").await)
    {
        abilities::keep(&tools.ffmpeg, &names, codecs);
    }
}

/// One of the lists that ffmpeg gives of what it has.
async fn list(tools: &Tools, which: &str) -> Result<String, MediaError> {
    output_of(&tools.ffmpeg, &strings(&["-hide_banner", which])).await
}

/// See [`crate::check_ffmpeg`].
pub(crate) async fn check_ffmpeg(tools: &Tools) -> Result<(), MediaError> {
    versions_of(&tools.ffmpeg).await.map(|_| ())
}

/// The versions of a program and its libraries, as it prints them.
///
/// # Errors
/// As [`check_ffmpeg`]; [`MediaError::SandboxMisfit`] if it works only outside
/// the sandbox.
async fn versions_of(program: &Path) -> Result<String, MediaError> {
    let args = strings(&["-hide_banner", "-version"]);
    match again(|| answer_of(program, &args, VERSION_TIME_MAX)).await {
        Ok(said) if said.contains(" version ") => Ok(said),
        Ok(_) => Err(MediaError::BadOutput {
            tool: program.display().to_string(),
            detail: "it does not say its version".into(),
        }),
        Err(error @ MediaError::Stalled { .. }) => Err(error),
        Err(_) if process::runs_unconfined(program).await => {
            let tool = program.display().to_string();
            Err(MediaError::SandboxMisfit { tool })
        }
        Err(error) => Err(error),
    }
}

/// The version in `ffmpeg version n7.1.1-6 Copyright …`.
fn program_version(said: &str) -> &str {
    let version = said.split_whitespace().nth(2).unwrap_or("of no version");
    match number(version.trim_start_matches('n')) {
        // A build of no release has a name alone.
        "" => version,
        number => number,
    }
}

/// The number at the beginning of a version.
fn number(version: &str) -> &str {
    let digits = |letter: char| letter.is_ascii_digit() || letter == '.';
    let end = version.find(|letter| !digits(letter));
    &version[..end.unwrap_or(version.len())]
}

/// Prints a digest of what an encoder makes of the clip: ten frames of a test
/// picture through the filters that jobs use, or a quarter second of audio.
fn probe_args(encoder: &Encoder) -> Vec<String> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-nostats", "-v", LOG]);
    if encoder.audio {
        // Generated with integers only, so it is the same on every processor.
        args.extend(strings(&[
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:beep_factor=4:sample_rate=48000:duration=0.25",
            "-c:a",
            encoder.name,
        ]));
    } else {
        args.extend(strings(&[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25:duration=0.4",
            "-filter_threads",
            "1",
            "-vf",
            &format!(
                "scale=w=178:h=100:flags={SCALER},eq=brightness=0.050:contrast=1.100,format=yuv420p"
            ),
            "-c:v",
            encoder.name,
            "-threads",
            "1",
        ]));
    }
    args.extend(strings(encoder.options));
    args.extend(strings(&["-flags", "+bitexact", "-fflags", "+bitexact"]));
    args.extend(strings(&["-f", "streamhash", "-hash", "sha256", "-"]));
    args
}

/// Runs once more what failed in a way that passes.
async fn again<T, F: Future<Output = Result<T, MediaError>>>(
    run: impl Fn() -> F,
) -> Result<T, MediaError> {
    match run().await {
        Err(error) if error.may_pass() => run().await,
        result => result,
    }
}

/// A digest of what an encoder makes, and the version that its library says.
async fn digest_of(
    tools: &Tools,
    encoder: &Encoder,
) -> Result<(String, Option<String>), MediaError> {
    let mut listener = ProbeListener {
        marker: encoder.says.map(|(marker, _)| marker),
        ..Default::default()
    };
    let args = probe_args(encoder);
    run(&tools.ffmpeg, &args, PROBE_TIME_MAX, &mut listener).await?;
    if !listener.text.out.contains("SHA256=") {
        return Err(MediaError::BadOutput {
            tool: "ffmpeg".into(),
            detail: format!("no digest of what {} made", encoder.name),
        });
    }
    Ok((listener.text.out, listener.version))
}

/// Keeps what is printed, and the version that follows a marker in the log.
#[derive(Default)]
struct ProbeListener {
    text: TextListener,
    marker: Option<&'static str>,
    version: Option<String>,
}

impl Listener for ProbeListener {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.text.stdout(line)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        let said = self.marker.and_then(|marker| line.split_once(marker));
        if let (None, Some((_, version))) = (&self.version, said) {
            // x264 goes on with its options.
            let version = version.split(" - ").next().unwrap_or(version);
            self.version = Some(version.trim().to_string());
        }
        self.text.stderr(line)
    }
}

/// One HEVC picture with HDR metadata, as MP4 in base64.
const CLIP: &str = include_str!("probe_clip.txt");

/// What ffprobe is asked of the clip.
fn clip_args() -> Vec<String> {
    let clip: String = CLIP.lines().collect();
    strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-threads",
        "1",
        "-protocol_whitelist",
        "data",
        "-show_entries",
        "stream=codec_name,width,height,time_base,color_transfer:packet=pts,dts,flags:frame_side_data",
        "-of",
        "json=compact=1",
        "-i",
        &format!("data:video/mp4;base64,{clip}"),
    ])
}

/// See [`crate::check_ffprobe`].
pub(crate) async fn check_ffprobe(tools: &Tools) -> Result<(), MediaError> {
    versions_of(&tools.ffprobe).await?;
    read_clip(tools).await.map(drop)
}

/// What an analysis asks of ffprobe, asked of the clip: streams, packets and the
/// side data of frames. Returns its answer.
async fn read_clip(tools: &Tools) -> Result<String, MediaError> {
    let answer = output_of(&tools.ffprobe, &clip_args()).await?;
    let needed = [
        "hevc",
        "\"K",
        "Mastering display metadata",
        "\"max_content\": 1000",
    ];
    match needed.iter().find(|words| !answer.contains(**words)) {
        None => Ok(answer),
        Some(words) => Err(MediaError::BadOutput {
            tool: "ffprobe".into(),
            detail: format!("{words} is missing from what it says of a clip"),
        }),
    }
}

/// Runs a tool on no input of a job's, and gives what it prints.
pub(crate) async fn output_of(program: &Path, args: &[String]) -> Result<String, MediaError> {
    answer_of(program, args, PROBE_TIME_MAX).await
}

/// The same within `time_max`.
async fn answer_of(
    program: &Path,
    args: &[String],
    time_max: Duration,
) -> Result<String, MediaError> {
    let mut listener = ProbeListener::default();
    run(program, args, time_max, &mut listener).await?;
    Ok(listener.text.out)
}

async fn run(
    program: &Path,
    args: &[String],
    time_max: Duration,
    listener: &mut ProbeListener,
) -> Result<(), MediaError> {
    let exit = process::run(
        Invocation {
            program,
            args,
            work_dir: None,
            address_bytes_extra: 0,
            nice: NICE_AWAITED,
            time_max: Some(time_max),
            stall_max: time_max,
            served: None,
        },
        &Cancel::new(),
        listener,
    )
    .await?;
    let name = match program.file_name() {
        Some(name) => name.to_string_lossy(),
        None => "ffmpeg".into(),
    };
    listener.text.diagnostics.check_exit(&name, exit)
}

#[cfg(test)]
#[path = "encoders_tests.rs"]
mod tests;
