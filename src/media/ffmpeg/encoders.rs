//! What this machine's ffmpeg can do, found out by trying it: an encoder check
//! for `reelraft doctor`, and the encoder build, a hash that is equal on two
//! nodes only if both give the same bytes.

use std::path::Path;

use crate::{
    error::MediaError,
    facts::{
        recipe::{RECIPE, SCALER, X264, X265},
        text::strings,
    },
    ffmpeg::{
        cancel::Cancel,
        listeners::TextListener,
        log::LOG_ERRORS,
        process::{self, Invocation},
        tools::Tools,
    },
    limits::PROBE_TIME_MAX,
};

/// Result of testing one encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderCheck {
    /// ffmpeg's name of the encoder.
    pub name: &'static str,
    /// The option that selects it.
    pub used_for: &'static str,
    /// Whether it encoded ten frames.
    pub ok: bool,
    /// Why not; empty if it did.
    pub detail: String,
}

/// An encoder, with options that make its bytes depend on most of its code at
/// little cost.
struct Encoder {
    name: &'static str,
    used_for: &'static str,
    options: &'static [&'static str],
    audio: bool,
}

const ENCODERS: [Encoder; 7] = [
    Encoder {
        name: "libx264",
        used_for: "--codec h264",
        options: &["-preset", "medium", "-crf", "23", "-x264-params", X264],
        audio: false,
    },
    Encoder {
        name: "libx265",
        used_for: "--codec hevc",
        options: &["-preset", "medium", "-crf", "28", "-x265-params", X265],
        audio: false,
    },
    Encoder {
        name: "libvpx-vp9",
        used_for: "--codec vp9",
        options: &["-b:v", "0", "-crf", "31", "-cpu-used", "4", "-row-mt", "0"],
        audio: false,
    },
    Encoder {
        name: "libsvtav1",
        used_for: "--codec av1",
        options: &["-preset", "8", "-crf", "35", "-svtav1-params", "lp=1"],
        audio: false,
    },
    Encoder {
        name: "ffv1",
        used_for: "--codec ffv1",
        options: &["-level", "3", "-slices", "4", "-g", "1"],
        audio: false,
    },
    Encoder {
        name: "aac",
        used_for: "--audio aac",
        options: &["-b:a", "128000"],
        audio: true,
    },
    Encoder {
        name: "libopus",
        used_for: "--audio opus",
        options: &["-b:a", "128000"],
        audio: true,
    },
];

/// Encodes ten frames with each encoder that a spec can ask for.
pub async fn check_encoders(tools: &Tools) -> Vec<EncoderCheck> {
    let mut checks = Vec::new();
    for encoder in &ENCODERS {
        let detail = match digest_of(tools, encoder).await {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        checks.push(EncoderCheck {
            name: encoder.name,
            used_for: encoder.used_for,
            ok: detail.is_empty(),
            detail,
        });
    }
    checks
}

/// The encoder build: a hash over the versions of ffmpeg, ffprobe and their
/// libraries, the architecture, our recipe, what ffprobe says of a small clip,
/// and the bytes that the scaler and each encoder give for another on this
/// processor. Takes about a second; a missing encoder is hashed as missing.
///
/// # Errors
/// When ffmpeg or ffprobe can't be run, or ffprobe can't read the clip: every
/// analysis rests on what it says.
pub async fn probe_build(tools: &Tools) -> Result<String, MediaError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(&format!("recipe {RECIPE}"));
    add(std::env::consts::ARCH);
    for tool in [&tools.ffmpeg, &tools.ffprobe] {
        let versions = output_of(tool, &strings(&["-hide_banner", "-version"])).await;
        let versions = match versions {
            Err(_) if process::runs_unconfined(tool).await => {
                let tool = tool.display().to_string();
                return Err(MediaError::SandboxMisfit { tool });
            }
            versions => versions?,
        };
        // Paths and flags of the build matter only as far as the probe shows it.
        for (number, line) in versions.lines().enumerate() {
            if number == 0 || line.starts_with("lib") {
                add(line);
            }
        }
    }
    add(&check_ffprobe(tools).await?);
    for encoder in &ENCODERS {
        add(encoder.name);
        match digest_of(tools, encoder).await {
            Ok(digest) => add(&digest),
            // It is not there, or does not work: a job that asks for it goes
            // elsewhere, and the others go on.
            Err(
                MediaError::EncoderMissing { .. }
                | MediaError::ToolFailed { .. }
                | MediaError::ToolCrashed { .. }
                | MediaError::WrongBuild { .. },
            ) => add("missing"),
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}

/// Prints a digest of what an encoder makes of the clip: ten frames of a test
/// picture through the filters that jobs use, or a quarter second of audio.
fn probe_args(encoder: &Encoder) -> Vec<String> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-v", LOG_ERRORS]);
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

async fn digest_of(tools: &Tools, encoder: &Encoder) -> Result<String, MediaError> {
    output_of(&tools.ffmpeg, &probe_args(encoder)).await
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

/// What an analysis asks of ffprobe, asked of a clip that is built in: streams,
/// packets and the side data of frames. Returns its answer.
///
/// # Errors
/// [`MediaError::BadOutput`] if the answer lacks what is in the clip.
pub async fn check_ffprobe(tools: &Tools) -> Result<String, MediaError> {
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
    let mut text = TextListener::default();
    let exit = process::run(
        Invocation {
            program,
            args,
            work_dir: None,
            address_bytes_extra: 0,
            time_max: Some(PROBE_TIME_MAX),
            stall_max: PROBE_TIME_MAX,
            served: None,
        },
        &Cancel::new(),
        &mut text,
    )
    .await?;
    let name = match program.file_name() {
        Some(name) => name.to_string_lossy(),
        None => "ffmpeg".into(),
    };
    text.diagnostics.check_exit(&name, exit)?;
    Ok(text.out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ffmpeg::input::{BytesServed, Input, open_input};

    /// The image builds its ffmpeg with those protocols alone that it is told.
    #[test]
    fn the_image_has_each_protocol_that_a_child_is_given() {
        let film = Input::Http {
            url: "http://127.0.0.1:9/t".into(),
            served: BytesServed::new(|| 0),
        };
        let file = Input::File("/s".into());
        let args = [
            clip_args(),
            open_input(&film, None),
            open_input(&file, None),
        ]
        .concat();
        let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/Dockerfile");
        let image = std::fs::read_to_string(image).unwrap();
        let enabled = image.split("--enable-protocol=").nth(1).unwrap();
        let enabled = enabled.split_whitespace().next().unwrap();
        let enabled: Vec<&str> = enabled.split(',').collect();
        let given = args
            .windows(2)
            .filter(|pair| pair[0] == "-protocol_whitelist");
        let given: Vec<&str> = given.flat_map(|pair| pair[1].split(',')).collect();
        assert_eq!(given, ["data", "http", "tcp", "file"]);
        // Progress and what is only hashed go to a pipe.
        for protocol in given.into_iter().chain(["pipe"]) {
            assert!(enabled.contains(&protocol), "{protocol}: {enabled:?}");
        }
    }

    #[tokio::test]
    async fn the_build_is_the_same_each_time_and_every_encoder_works() {
        let tools = Tools::find().unwrap();
        assert!(check_ffprobe(&tools).await.is_ok());
        let first = probe_build(&tools).await.unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(probe_build(&tools).await.unwrap(), first);
        for check in check_encoders(&tools).await {
            assert!(check.ok, "{}: {}", check.name, check.detail);
        }
    }

    #[tokio::test]
    async fn a_program_that_needs_more_than_its_sandbox_is_told_apart() {
        use std::os::unix::fs::PermissionsExt;
        if crate::ffmpeg::sandbox::landlock_version().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [ffmpeg, library] = ["ffmpeg", "library"].map(|name| folder.path().join(name));
        let script = |library: &Path| format!("#!/bin/sh\nexec cat {}\n", library.display());
        std::fs::write(&library, "library").unwrap();
        std::fs::write(&ffmpeg, script(&library)).unwrap();
        std::fs::set_permissions(&ffmpeg, PermissionsExt::from_mode(0o755)).unwrap();
        let tools = Tools {
            ffmpeg: ffmpeg.clone(),
            ..Tools::find().unwrap()
        };
        let error = probe_build(&tools).await.unwrap_err();
        assert_eq!(error.kind(), "sandbox-misfit", "{error}");
        std::fs::remove_file(&library).unwrap();
        let error = probe_build(&tools).await.unwrap_err();
        assert_eq!(error.kind(), "ffmpeg-failed", "{error}");
    }

    /// A helper that fails on some question gives other plans and headers, so
    /// it is another build or none.
    #[tokio::test]
    async fn another_ffprobe_is_another_build() {
        use std::os::unix::fs::PermissionsExt;
        let tools = Tools::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let other = |name: &str, script: &str| {
            let path = folder.path().join(name);
            let text = format!("#!/bin/sh\n{script}\n");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            Tools {
                ffprobe: path,
                ..tools.clone()
            }
        };
        let real = tools.ffprobe.display();
        let newer = other(
            "newer",
            &format!("{real} \"$@\" | sed 's/^ffprobe version /&n/'"),
        );
        assert_ne!(
            probe_build(&newer).await.unwrap(),
            probe_build(&tools).await.unwrap()
        );
        for (name, script, kind) in [
            (
                "dying",
                "case \"$*\" in *frame_side_data*) exec perl -MPOSIX -e abort;; esac; echo 1",
                "ffmpeg-crashed",
            ),
            ("false", "exit 1", "ffmpeg-failed"),
            ("nonsense", "echo nonsense", "ffmpeg-output"),
        ] {
            let error = probe_build(&other(name, script)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
        }
    }
}
