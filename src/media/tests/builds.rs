//! Builds of ffmpeg: each tried version gives what its own reference gives, and
//! what a build lacks or does wrong is never taken for the source's fault.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    headers::HDR,
    world::{World, lossless, spec},
};
use reelraft_media::{Class, Tools};
use reelraft_model::spec::Spec;

/// This machine's own, and the versions that `tests/ffmpegs.sh` fetched.
pub fn versions() -> Vec<(String, Tools)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ffmpegs");
    let own = Tools::find().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let tool = |name: &str| Some(entry.path().join(name)).filter(|path| path.is_file());
        if let Some(ffmpeg) = tool("ffmpeg") {
            let ffprobe = tool("ffprobe").unwrap_or_else(|| own.ffprobe.clone());
            let version = entry.file_name().to_string_lossy().into_owned();
            found.push((version, Tools { ffmpeg, ffprobe }));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.insert(0, ("this machine's".into(), own));
    if found.len() == 1 {
        // Straight to stderr: what a passing test prints is swallowed.
        let said = b"skipped: no other ffmpeg; tests/ffmpegs.sh fetches some\n";
        std::io::stderr().write_all(said).unwrap();
    }
    found
}

/// Sources with a coarse and a fine time base, with a clock that jumps, and at
/// a constant rate: each in several shards, by each way of timing them.
#[test]
#[ignore = "long: make test-all"]
fn every_version_gives_what_its_reference_gives() {
    for (version, tools) in versions() {
        let world = World::with(tools);
        for (name, words) in [
            ("vfr.mkv", &[("preset", "veryfast"), ("audio", "flac")][..]),
            (
                "h264.mp4",
                &[
                    ("codec", "hevc"),
                    ("preset", "ultrafast"),
                    ("container", "mkv"),
                ],
            ),
            ("open.ts", &[("preset", "ultrafast"), ("fps", "30000/1001")]),
            ("vfr.mkv", &[("codec", "ffv1"), ("container", "mkv")]),
            (
                "mpeg2.ts",
                &[("codec", "vp9"), ("container", "webm"), ("audio", "opus")],
            ),
        ] {
            let mut spec = spec(words);
            spec.shard_ms = 1000;
            let job = match world.try_job(&world.made(name), &spec) {
                // A static build that crashes on MPEG-TS: named as that.
                Err(error) if version == "7.0" && error.kind() == "ffmpeg-crashed" => continue,
                made => made.unwrap_or_else(|error| panic!("{version} {name}: {error}")),
            };
            assert!(job.shards > 2, "{version} {name}: {}", job.note);
            let (ours, theirs) = (&job.output, &job.reference_file());
            let pictures = |path| world.packet_times(path, "v:0");
            assert!(pictures(ours) == pictures(theirs), "{version} {name}");
            let lossless = words.contains(&("codec", "ffv1"));
            let alike = !lossless || job.frames() == job.reference_frames();
            assert!(alike, "{version} {name}: other pictures");
            let sound = |path| world.samples(path, "a:0", 0.0);
            assert!(
                sound(ours) == sound(theirs),
                "{version} {name}: other sound"
            );
        }
    }
}

/// The system's own tools: what a script goes on as must be where a sandboxed
/// child may run it.
fn system() -> World {
    let tool = |name: &str| Path::new("/usr/bin").join(name);
    let (ffmpeg, ffprobe) = (tool("ffmpeg"), tool("ffprobe"));
    match ffmpeg.is_file() && ffprobe.is_file() {
        true => World::with(Tools { ffmpeg, ffprobe }),
        false => World::new(),
    }
}

/// A program that does something else first: `script` may look at its
/// arguments, `$*`, before it goes on as the real one.
fn wrapped(folder: &Path, real: &Path, script: &str) -> PathBuf {
    let path = folder.join(real.file_name().unwrap());
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[test]
fn an_encoder_that_the_build_lacks_is_named_and_no_sound_is_lost() {
    let mut world = system();
    let clip = world.made("h264.mp4");
    let folder = tempfile::tempdir().unwrap();
    let real = world.tools.ffmpeg.clone();
    let script = format!(
        "case \"$*\" in *-encoders*) {} \"$@\" | grep -v -e libopus -e libsvtav1; exit;; esac",
        real.display()
    );
    world.tools.ffmpeg = wrapped(folder.path(), &real, &script);
    for (words, encoder) in [
        (&[("audio", "opus")], "libopus"),
        (&[("codec", "av1")], "libsvtav1"),
    ] {
        let error = world.try_job(&clip, &spec(words)).err().unwrap();
        assert_eq!(
            (error.kind(), error.class()),
            ("encoder-missing", Class::NodeFault)
        );
        assert!(error.to_string().contains(encoder), "{error}");
    }
    let silent = world.made("silent.mp4");
    let without = world.try_job(
        &silent,
        &spec(&[("audio", "opus"), ("preset", "ultrafast")]),
    );
    assert_eq!(without.unwrap().index.audio_tracks(), 0);
    assert_eq!(
        world
            .job(&clip, &spec(&[("preset", "ultrafast")]))
            .index
            .audio_tracks(),
        1
    );
}

#[test]
fn an_answer_that_did_not_come_is_an_error() {
    for (clip, tool, asked) in [
        ("h264.mp4", "ffprobe", "show_chapters"),
        ("h264.mp4", "ffprobe", "packet=stream_index"),
        ("open.ts", "ffprobe", "packet=pts,dts,flags"),
        ("hdr.mp4", "ffprobe", "frame_side_data"),
        ("h264.mp4", "ffprobe", "color_range"),
        ("h264.mp4", "ffmpeg", "showinfo@decoded"),
        ("h264.mp4", "ffmpeg", "filter_units"),
        ("h264.mp4", "ffmpeg", "framecrc"),
    ] {
        let mut world = system();
        let clip = match clip {
            "hdr.mp4" => world.made_by(clip, HDR),
            made => world.made(made),
        };
        let folder = tempfile::tempdir().unwrap();
        let script = format!("case \"$*\" in *{asked}*) exec perl -MPOSIX -e abort;; esac");
        let program = match tool {
            "ffmpeg" => &mut world.tools.ffmpeg,
            _ => &mut world.tools.ffprobe,
        };
        *program = wrapped(folder.path(), program, &script);
        let spec = Spec {
            shard_ms: 1000,
            ..spec(&[
                ("codec", "hevc"),
                ("container", "mkv"),
                ("preset", "ultrafast"),
            ])
        };
        let error = world.try_job(&clip, &spec).err();
        let error = error.unwrap_or_else(|| panic!("{asked}: made without an answer"));
        // Another node's tools may do it.
        assert_eq!(
            (error.kind(), error.class()),
            ("ffmpeg-crashed", Class::Work),
            "{asked}"
        );
    }
}

#[test]
fn a_build_that_refuses_an_option_is_told_from_a_damaged_source() {
    let mut world = system();
    let clip = world.made("h264.mp4");
    let folder = tempfile::tempdir().unwrap();
    let real = world.tools.ffmpeg.clone();
    let script = "case \"$*\" in *-enc_time_base*) set -- -no_such_option 1 \"$@\";; esac";
    world.tools.ffmpeg = wrapped(folder.path(), &real, script);
    let error = world.try_job(&clip, &lossless()).err().unwrap();
    assert_eq!(error.kind(), "wrong-build", "{error}");
    assert!(!error.hint().contains("damaged"), "{}", error.hint());
}

/// An ffmpeg that lacks a format takes a film in it for damaged; another build
/// has it.
#[test]
fn a_format_that_a_build_lacks_is_named() {
    let world = World::new();
    let clip = world.made("h264.mp4");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ffprobe");
    let own = world.tools.ffprobe.display();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *-demuxers*) {own} \"$@\" | grep -v mov,;; *) echo \"[error] Invalid data found when processing input\" >&2; exit 1;; esac\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let poor = World::with(Tools {
        ffprobe: path,
        ..world.tools.clone()
    });
    let refused = poor.try_job(&clip, &lossless()).err().unwrap();
    assert_eq!(
        (refused.kind(), refused.class()),
        ("no-decoder", Class::NodeFault)
    );
    assert!(
        refused.to_string().contains("no demuxer for mov"),
        "{refused}"
    );
    // By one that has them all a file is refused for good.
    let noise = world.written("noise.mp4", b"no film at all");
    let refused = world.try_job(&noise, &lossless()).err().unwrap();
    assert_eq!(
        (refused.kind(), refused.class()),
        ("unreadable-source", Class::Final)
    );
}
