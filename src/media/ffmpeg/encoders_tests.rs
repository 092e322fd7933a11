//! Tests of the encoder build and of what a machine's ffmpeg can do.

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
    assert_eq!(first.hash.len(), 32);
    assert_eq!(first.lacks, []);
    for program in ["ffmpeg ", ", x264 ", ", x265 ", ", libvpx ", ", SVT-AV1 "] {
        let (_, version) = first.words.split_once(program).unwrap();
        let digit = version.starts_with(|letter: char| letter.is_ascii_digit());
        assert!(digit, "{}", first.words);
    }
    assert_eq!(probe_build(&tools).await.unwrap(), first);
    for check in first.encoders {
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

#[tokio::test]
async fn what_may_pass_is_tried_once_more() {
    let tool = || "ffmpeg".to_string();
    let stalled = || MediaError::Stalled {
        tool: tool(),
        seconds: 60,
    };
    let killed = || MediaError::ToolKilled {
        tool: tool(),
        signal: 9,
    };
    let missing = || MediaError::EncoderMissing { encoder: tool() };
    for (error, tries) in [
        (&stalled as &dyn Fn() -> MediaError, 2),
        (&killed, 2),
        (&missing, 1),
    ] {
        let tried = std::cell::Cell::new(0);
        let run = || {
            tried.set(tried.get() + 1);
            std::future::ready(Err::<(), _>(error()))
        };
        assert!(again(run).await.is_err());
        assert_eq!(tried.get(), tries, "{}", error());
    }
}

#[test]
fn the_versions_of_programs_are_read() {
    for (said, version) in [
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000", "5.1.9"),
        ("ffmpeg version n9.0.2-17-g2a571b6068 Copyright", "9.0.2"),
        ("ffmpeg version N-118000-gabc Copyright", "N-118000-gabc"),
    ] {
        assert_eq!(program_version(said), version);
    }
    assert_eq!(number("3.5+1-f0c1022b6"), "3.5");
    assert_eq!(number("164 r3095 baee400"), "164");
    assert!(X265_ALOUD.starts_with(crate::facts::recipe::X265.trim_end_matches("error")));
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
    let said_by = |version: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ffmpeg");
        let text = format!(
            "#!/bin/sh\n{{ {} \"$@\" 2>&1 >&3 | sed 's/encoder version 3/encoder version {version}/' >&2; }} 3>&1\n",
            tools.ffmpeg.display()
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let tools = Tools {
            ffmpeg: path,
            ..tools.clone()
        };
        (folder, tools)
    };
    // A library that gives the same for ten frames need not do so for a film.
    let (_kept, other_library) = said_by("9");
    let with_other = probe_build(&other_library).await.unwrap();
    assert!(with_other.words.contains("x265 9"), "{}", with_other.words);
    assert_ne!(with_other.hash, probe_build(&tools).await.unwrap().hash);
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
            "case \"$*\" in *frame_side_data*) exec perl -MPOSIX -e abort;; esac; echo ffprobe version 1",
            "ffmpeg-crashed",
        ),
        ("false", "exit 1", "ffmpeg-failed"),
        ("nonsense", "echo nonsense", "ffmpeg-output"),
    ] {
        let error = probe_build(&other(name, script)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
    }
}

/// ffmpeg behind a script that may answer in its place.
fn behind(folder: &Path, script: &str) -> Tools {
    use std::os::unix::fs::PermissionsExt;
    let tools = Tools::find().unwrap();
    let path = folder.join("ffmpeg");
    let text = format!(
        "#!/bin/sh\n{script}\nexec {} \"$@\"\n",
        tools.ffmpeg.display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Tools {
        ffmpeg: path,
        ..tools
    }
}

fn whats(build: &Build) -> Vec<&str> {
    build.lacks.iter().map(|lack| lack.what.as_str()).collect()
}

#[tokio::test]
async fn a_build_without_some_encoders_makes_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let script = "for last in \"$@\"; do case $last in libx265|libsvtav1) echo \"[fatal] Unknown encoder '$last'\" >&2; exit 1;; esac; done";
    let tools = behind(folder.path(), script);
    let build = probe_build(&tools).await.unwrap();
    assert_eq!(whats(&build), ["hevc", "av1"]);
    assert!(build.lacks[0].why.contains("libx265"), "{:?}", build.lacks);
    assert!(!build.words.contains("x265"), "{}", build.words);
    assert!(build.words.contains("x264"), "{}", build.words);
    let works = build.encoders.iter().filter(|check| check.ok);
    let works = works.map(|check| check.name);
    let works: Vec<&str> = works.collect();
    assert_eq!(works, ["libx264", "libvpx-vp9", "ffv1", "aac", "libopus"]);
}

#[tokio::test]
async fn what_is_no_ffmpeg_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = probe_build(&behind(folder.path(), "echo nonsense; exit")).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), "ffmpeg-output");
    assert!(error.to_string().contains("say its version"), "{error}");
    // Neither its encoders nor its jobs are waited for.
    let hangs = behind(folder.path(), "exec sleep 1000");
    assert_eq!(
        check_ffmpeg(&hangs).await.unwrap_err().kind(),
        "ffmpeg-stalled"
    );
    let directory = Tools {
        ffmpeg: folder.path().into(),
        ..Tools::find().unwrap()
    };
    assert!(probe_build(&directory).await.is_err());
}

#[tokio::test]
#[ignore = "long: make test-all"]
async fn an_encoder_that_hangs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = "case \"$*\" in *libx265*) exec sleep 1000;; esac";
    let build = probe_build(&behind(folder.path(), script)).await.unwrap();
    assert_eq!(whats(&build), ["hevc"]);
}
