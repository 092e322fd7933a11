//! Small sources: few processes look at them, and see the same as of large ones.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::world::{self, Clip, World};
use reelraft_media::{Cancel, Context, Index, Input, MediaError, Tools, analyze, reference};
use reelraft_model::spec::Spec;

/// Analyzes a clip as if it had so many bytes; its index and its work folder.
fn try_analyze(
    world: &World,
    tools: &Tools,
    clip: &Clip,
    spec: &Spec,
    bytes: u64,
) -> Result<(Index, PathBuf), MediaError> {
    let folder = tempfile::tempdir().unwrap().keep();
    let context = Context {
        tools,
        input: &Input::File(clip.path.clone()),
        spec,
        work_dir: &folder,
        cancel: &Cancel::new(),
    };
    let index = world.block_on(analyze(&context, bytes))?;
    Ok((index, folder))
}

fn analyzed(
    world: &World,
    tools: &Tools,
    clip: &Clip,
    spec: &Spec,
    bytes: u64,
) -> (Index, PathBuf) {
    try_analyze(world, tools, clip, spec, bytes).unwrap()
}

fn bytes(clip: &Clip) -> u64 {
    std::fs::metadata(&clip.path).unwrap().len()
}

/// Its packets are read when it is opened, those of a large one by themselves.
#[test]
fn a_small_source_is_planned_as_a_large_one() {
    const LARGE: u64 = 1 << 40;
    let world = World::new();
    for name in ["edit.mp4", "vfr.mkv"] {
        for shard_ms in ["1000", "60000"] {
            let spec = world::spec(&[("shard_ms", shard_ms), ("preset", "ultrafast")]);
            let clip = world.made(name);
            let analyzed = |bytes| {
                let (index, folder) = analyzed(&world, &world.tools, &clip, &spec, bytes);
                std::fs::remove_dir_all(folder).unwrap();
                index
            };
            let (small, large) = (analyzed(bytes(&clip)), analyzed(LARGE));
            assert_eq!(small.shards(), large.shards(), "{name}");
            assert_eq!(small.note(), large.note(), "{name}");
            let command = |index| reference(index, &spec, false, "in", "out");
            assert_eq!(command(&small), command(&large), "{name}");
        }
    }
}

/// What a pipe or a live server has written is read from its beginning for each shard.
#[test]
fn a_film_without_an_index_has_fewer_shards() {
    let world = World::new();
    let picture = "-f lavfi -i color=c=black:size=640x360:rate=24:duration=400 -g 12";
    let spec = world::spec(&[("preset", "ultrafast")]);
    let shards = |name: &str, options: &str| {
        let clip = world.made_by(name, &format!("{picture} {options}"));
        let (index, folder) = analyzed(&world, &world.tools, &clip, &spec, bytes(&clip));
        std::fs::remove_dir_all(folder).unwrap();
        index.shards().len()
    };
    for (whole, streamed) in [
        (
            ("whole.mkv", "-c:v mpeg4"),
            ("live.mkv", "-c:v mpeg4 -live 1"),
        ),
        (
            ("keys.flv", "-c:v flv -flvflags add_keyframe_index"),
            ("plain.flv", "-c:v flv"),
        ),
    ] {
        let (whole, streamed) = (shards(whole.0, whole.1), shards(streamed.0, streamed.1));
        assert!(streamed * 3 < whole * 2, "{whole}, {streamed}");
    }
}

/// Into how many shards each file is cut, finely, or why it is not.
#[test]
#[ignore = "many minutes: make oracle"]
fn every_file_is_cut_or_says_why() {
    let world = World::new();
    let spec = world::spec(&[("shard_ms", "500"), ("audio", "none")]);
    let real = world::real();
    for clip in real.iter().flat_map(|real| world::all(real)) {
        let said = match try_analyze(&world, &world.tools, &clip, &spec, bytes(&clip)) {
            Ok((index, folder)) => {
                std::fs::remove_dir_all(folder).unwrap();
                let (shards, frames) = (index.shards().len(), index.frames_total());
                format!("{shards} shards of {frames} frames: {}", index.note())
            }
            Err(error) => error.kind().into(),
        };
        println!("{}\t{said}", clip.name);
    }
}

/// Codecs of whole pictures in the containers that have them.
#[test]
fn films_of_whole_pictures_are_cut() {
    let world = World::new();
    let spec = world::spec(&[("shard_ms", "500"), ("audio", "none")]);
    let pal = "-s 720x576 -r 25 -pix_fmt yuv420p";
    for (name, options) in [
        ("film.y4m", "-pix_fmt yuv420p".to_string()),
        ("raw.avi", "-c:v rawvideo -pix_fmt yuv420p".into()),
        ("raw.mov", "-c:v rawvideo -pix_fmt uyvy422".into()),
        ("mjpeg.avi", "-c:v mjpeg".into()),
        ("mjpeg.mkv", "-c:v mjpeg".into()),
        ("prores.mov", "-c:v prores".into()),
        ("huffyuv.avi", "-c:v huffyuv".into()),
        ("ffv1.avi", "-c:v ffv1 -g 1".into()),
        (
            "dnxhd.mxf",
            "-c:v dnxhd -profile:v dnxhr_sq -s 256x144 -pix_fmt yuv422p".into(),
        ),
        ("tape.dv", pal.into()),
        ("tape.avi", format!("{pal} -c:v dvvideo")),
    ] {
        let picture = "-f lavfi -i testsrc2=size=64x64:rate=25:duration=2";
        let clip = world.made_by(name, &format!("{picture} {options}"));
        let (index, folder) = analyzed(&world, &world.tools, &clip, &spec, bytes(&clip));
        std::fs::remove_dir_all(folder).unwrap();
        assert!(index.shards().len() > 1, "{name}: {}", index.note());
    }
}

/// A program that writes down each call before it becomes another.
fn counted(program: &Path, folder: &Path) -> PathBuf {
    let path = folder.join(program.file_name().unwrap());
    let program = program.display();
    let text = format!("#!/bin/sh\necho \"$*\" >>calls\nexec {program} \"$@\"\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Each process costs as much as a clip of some seconds does.
#[test]
fn few_processes_look_at_a_small_source() {
    let world = World::new();
    let programs = tempfile::tempdir().unwrap();
    let tools = Tools {
        ffmpeg: counted(&world.tools.ffmpeg, programs.path()),
        ffprobe: counted(&world.tools.ffprobe, programs.path()),
    };
    let (clip, spec) = (world.made("h264.mp4"), world::spec(&[]));
    // What the programs can do is asked for once.
    for most in [5, 3] {
        let (_, folder) = analyzed(&world, &tools, &clip, &spec, bytes(&clip));
        let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
        assert!(calls.lines().count() <= most, "{calls}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
