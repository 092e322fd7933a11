//! Previews: the pictures and times of the output's beginning, and the sound where it
//! is encoded, in each container.

use reelraft_media::{Cancel, Context, Input, PreviewParts, preview};

use crate::world::{World, spec};

#[test]
fn a_preview_is_the_beginning_of_the_output() {
    let world = World::new();
    for (clip, container, codec) in [
        ("late.mp4", "mp4", "h264"),
        ("open.ts", "mov", "hevc"),
        ("vfr.mkv", "mkv", "ffv1"),
        ("vfr.mkv", "webm", "vp9"),
    ] {
        let clip = world.made(clip);
        let spec = spec(&[
            ("container", container),
            ("codec", codec),
            ("shard_ms", "1000"),
        ]);
        let job = world.job(&clip, &spec);
        let of = format!("{} in {container}", clip.name);
        assert!(job.shards > 2, "{of}: {} shards", job.shards);
        let output = job.frames();
        let sound = job.parts.audio.iter().map(|(file, _)| file.clone());
        let sound: Vec<_> = sound.enumerate().collect();
        for (shards, audio) in [(1, sound.clone()), (2, Vec::new())] {
            let folder = tempfile::tempdir().unwrap();
            let context = Context {
                tools: &world.tools,
                input: &Input::File(Default::default()),
                spec: &spec,
                work_dir: folder.path(),
                cancel: &Cancel::new(),
            };
            let parts = PreviewParts {
                shards: job.parts.shards[..shards].to_vec(),
                audio,
            };
            let made = world.block_on(preview(&context, &job.index, &parts));
            let made = made.unwrap_or_else(|error| panic!("{of}: {error}"));
            let frames = world.frames(&made);
            assert!(!frames.is_empty() && frames.len() < output.len(), "{of}");
            let of_output = from_the_first(&output[..frames.len()]);
            assert_eq!(from_the_first(&frames), of_output, "{of}");
            let tracks = world.shown(&made, "stream=codec_type");
            let tracks = tracks["streams"].as_array().unwrap().len();
            assert_eq!(tracks, 1 + parts.audio.len(), "{of}");
            if !parts.audio.is_empty() {
                ends_with_its_pictures(&world, &made, &of);
            }
        }
    }
}

/// Pictures, and how long after the first they are seen: what the sound has before
/// them moves all of an output.
fn from_the_first(frames: &[String]) -> Vec<(i64, &str)> {
    let parsed = frames.iter().map(|frame| {
        let (time, picture) = frame.split_once(' ').unwrap();
        (time.parse::<i64>().unwrap(), picture)
    });
    let parsed: Vec<_> = parsed.collect();
    let first = parsed[0].0;
    let moved = parsed
        .into_iter()
        .map(|(time, picture)| (time - first, picture));
    moved.collect()
}

/// No sound goes on by itself for more than a packet or two of it.
fn ends_with_its_pictures(world: &World, made: &std::path::Path, of: &str) {
    let shown = world.shown(made, "packet=stream_index,pts_time");
    let packets = shown["packets"].as_array().unwrap();
    let last = |stream: u64| {
        let of_it = packets.iter().filter(|it| it["stream_index"] == stream);
        let times = of_it.filter_map(|it| it["pts_time"].as_str()?.parse::<f64>().ok());
        times.fold(f64::MIN, f64::max)
    };
    let (pictures, sound) = (last(0), last(1));
    assert!(
        sound > 0.0 && sound < pictures + 0.3,
        "{of}: {sound} after {pictures}"
    );
}
