//! Small sources: few processes look at them, and see the same as of large ones.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::world::{self, Clip, World};
use reelraft_media::{Cancel, Context, Index, Input, Tools, analyze, reference};
use reelraft_model::spec::Spec;

/// Analyzes a clip as if it had so many bytes.
fn analyzed(
    world: &World,
    tools: &Tools,
    clip: &Clip,
    spec: &Spec,
    bytes: u64,
) -> (Index, PathBuf) {
    let folder = tempfile::tempdir().unwrap().keep();
    let context = Context {
        tools,
        input: &Input::File(clip.path.clone()),
        spec,
        work_dir: &folder,
        cancel: &Cancel::new(),
    };
    let index = world.block_on(analyze(&context, bytes)).unwrap();
    (index, folder)
}

fn bytes(clip: &Clip) -> u64 {
    std::fs::metadata(&clip.path).unwrap().len()
}

/// Its packets are read when it is opened, those of a large one by themselves.
#[test]
fn a_small_source_is_planned_as_a_large_one() {
    const LARGE: u64 = 1 << 40;
    let world = World::new();
    for name in ["h264.mp4", "edit.mp4", "late.mp4", "vfr.mkv", "vp9.webm"] {
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
