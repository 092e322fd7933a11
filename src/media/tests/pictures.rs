//! What is done to pictures, against the reference: filters with and without
//! a memory, a constant rate in many shards, depth, alpha. With FFV1 every
//! decoded picture and its time must be the reference's.

use crate::world::{Clip, World};
use reelraft_media::{Cancel, Context, Input, analyze, take_picture};
use reelraft_model::spec::{Crop, Spec, SpecRequest, resolve};

/// A lossless job in shards of a second, changed as wished.
pub fn lossless(change: impl FnOnce(&mut SpecRequest)) -> Spec {
    let mut request = SpecRequest {
        codec: "ffv1".into(),
        container: "mkv".into(),
        audio: "none".into(),
        shard_ms: Some(1000),
        ..Default::default()
    };
    change(&mut request);
    resolve(&request).unwrap()
}

/// The job's pictures and times are the reference's.
pub fn exact(world: &World, clip: &Clip, spec: &Spec, at_least: usize) {
    let job = world.job(clip, spec);
    let name = &clip.name;
    assert!(
        job.shards >= at_least,
        "{name}: {} shards, {}",
        job.shards,
        job.note
    );
    let (ours, reference) = (job.frames(), job.reference_frames());
    let differ = ours.iter().zip(&reference).position(|(a, b)| a != b);
    assert_eq!(differ, None, "{name}: {spec:?}");
    assert_eq!(ours.len(), reference.len(), "{name}: {spec:?}");
    assert!(!ours.is_empty());
}

/// The reference scales its pictures where its sound is encoded, by the same instructions.
#[test]
fn packed_pictures_with_sound_are_the_reference() {
    let world = World::new();
    let made = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=2 -f lavfi -i sine=d=2 \
                -vf format=uyvy422 -c:v rawvideo -c:a pcm_s16le";
    let clip = world.made_by("packed.mov", made);
    let spec = lossless(|request| {
        request.audio = "aac".into();
        request.pix_fmt = "yuv420p".into();
    });
    exact(&world, &clip, &spec, 1);
}

/// A film of fields, this long.
pub fn fields(world: &World, seconds: u32) -> Clip {
    let options = format!(
        "-f lavfi -i testsrc2=size=160x96:rate=50:duration={seconds} -vf tinterlace=interleave_top,setfield=tff -c:v libx264 -pix_fmt yuv420p -preset veryfast -flags +ildct+ilme -g 12 -bf 2"
    );
    world.made_by("fields.ts", &options)
}

#[test]
fn fields_are_woven_the_same_at_every_joint() {
    let world = World::new();
    let clip = fields(&world, 5);
    for which in ["auto", "on"] {
        let spec = lossless(|request| request.deinterlace = which.into());
        exact(&world, &clip, &spec, 4);
    }
    // Progressive pictures pass through untouched.
    let spec = lossless(|request| request.deinterlace = "auto".into());
    let clip = world.made("vfr.mkv");
    let job = world.job(&clip, &spec);
    let plain = world.job(&clip, &lossless(|_| {}));
    assert_eq!(job.frames(), plain.frames());
    assert!(job.shards >= 4);
}

#[test]
fn each_picture_is_cut_cleaned_coloured_and_framed() {
    let world = World::new();
    let spec = lossless(|request| {
        request.crop = Some(Crop {
            width: 100,
            height: 60,
            x: 10,
            y: 14,
        });
        request.denoise = "medium".into();
        request.width = Some(120);
        request.saturation_milli = Some(400);
        request.contrast_milli = Some(1300);
        request.brightness_milli = Some(-70);
        request.pad = Some((160, 160));
    });
    for name in ["open.ts", "vfr.mkv"] {
        let clip = world.made(name);
        exact(&world, &clip, &spec, 4);
    }
    let job = world.job(&world.made("h264.mp4"), &spec);
    assert_eq!(job.index.output_size(), (160, 160));
}

#[test]
fn a_constant_rate_is_made_in_many_shards() {
    at_constant_rates(&[
        ("vfr.mkv", (30, 1), 4),
        ("late.mp4", (30_000, 1_001), 4),
        ("open.ts", (7, 1), 4),
        ("open.ts", (1, 2), 2),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn more_constant_rates_are_made_in_many_shards() {
    at_constant_rates(&[
        ("vfr.mkv", (30_000, 1_001), 4),
        ("vfr.mkv", (7, 1), 4),
        ("vfr.mkv", (1, 2), 2),
        ("late.mp4", (30, 1), 4),
        ("late.mp4", (7, 1), 4),
        ("late.mp4", (1, 2), 2),
        ("open.ts", (30, 1), 4),
        ("open.ts", (30_000, 1_001), 4),
    ]);
}

fn at_constant_rates(cases: &[(&str, (u32, u32), usize)]) {
    let world = World::new();
    for &(name, rate, at_least) in cases {
        let spec = lossless(|request| request.fps = Some(rate));
        exact(&world, &world.made(name), &spec, at_least);
    }
}

#[test]
fn gaps_longer_than_a_shard_are_filled() {
    let world = World::new();
    let clip = world.made_by(
        "gaps.mkv",
        "-f lavfi -i testsrc2=size=160x90:rate=24:duration=8 -vf setpts=PTS+(gte(N\\,60)+gte(N\\,130))*4.7/TB -fps_mode passthrough -c:v libx264 -pix_fmt yuv420p -g 20 -bf 2",
    );
    for rate in [(25, 1), (24_000, 1_001), (1, 3)] {
        let spec = lossless(|request| request.fps = Some(rate));
        exact(&world, &clip, &spec, 3);
    }
}

#[test]
fn fields_and_rate_go_together() {
    let world = World::new();
    let clip = fields(&world, 5);
    let spec = lossless(|request| {
        request.deinterlace = "on".into();
        request.fps = Some((30, 1));
        request.denoise = "light".into();
    });
    exact(&world, &clip, &spec, 4);
}

/// What ffprobe says of the output's video.
fn pix_fmt(world: &World, path: &std::path::Path) -> String {
    world
        .show(path, "stream=pix_fmt")
        .trim()
        .trim_start_matches("pix_fmt=")
        .to_string()
}

#[test]
fn ten_bits_stay_ten_bits() {
    let world = World::new();
    let clip = world.made_by(
        "deep.mp4",
        "-f lavfi -i testsrc2=size=128x96:rate=24:duration=3 -c:v libx264 -pix_fmt yuv420p10le -g 12",
    );
    for (codec, container, preset) in [
        ("h264", "mp4", "ultrafast"),
        ("hevc", "mkv", "ultrafast"),
        ("vp9", "webm", "8"),
        ("av1", "mp4", "12"),
        ("ffv1", "mkv", ""),
    ] {
        let spec = lossless(|request| {
            request.codec = codec.into();
            request.container = container.into();
            request.preset = preset.into();
            request.brightness_milli = Some(10);
        });
        let job = world.job(&clip, &spec);
        assert!(job.shards >= 2, "{codec}");
        assert_eq!(pix_fmt(&world, &job.output), "yuv420p10le", "{codec}");
        assert_eq!(pix_fmt(&world, &job.reference_file()), "yuv420p10le");
    }
    let shallow = world.job(&world.made("one.mp4"), &lossless(|_| {}));
    assert_eq!(pix_fmt(&world, &shallow.output), "yuv420p");
}

/// White, seen through more from left to right, without a sharp edge.
const SEEN_THROUGH: &str = "-f lavfi -i color=white:size=128x64:rate=10:duration=3,format=rgba,geq=r=255:g=255:b=255:a=X*2 -c:v png";

#[test]
fn what_can_be_seen_through_is_put_on_black() {
    let world = World::new();
    let clip = world.made_by("glass.mov", SEEN_THROUGH);
    exact(&world, &clip, &lossless(|_| {}), 3);
    let kept = world.job(&clip, &lossless(|_| {}));
    assert!(pix_fmt(&world, &kept.output).contains('a'));

    let spec = lossless(|request| {
        request.codec = "h264".into();
        request.crf = Some(1);
        request.preset = "ultrafast".into();
    });
    let job = world.job(&clip, &spec);
    let row = world.first_luma(&job.output, 128);
    // Limited range: black is 16, white 235.
    for (x, luma) in row.iter().enumerate().step_by(9) {
        let wanted = 16.0 + 219.0 * (x as f64 * 2.0) / 255.0;
        assert!((f64::from(*luma) - wanted).abs() < 4.0, "{x}: {luma}");
    }
    let denoised = lossless(|request| request.denoise = "light".into());
    exact(&world, &clip, &denoised, 3);
}

#[test]
fn a_part_or_a_canvas_that_cannot_be_is_refused_by_name() {
    let world = World::new();
    let clip = world.made("one.mp4");
    let crop = Some(Crop {
        width: 64,
        height: 64,
        x: 2,
        y: 0,
    });
    let refused = world.try_job(&clip, &lossless(|request| request.crop = crop));
    assert_eq!(refused.err().unwrap().kind(), "crop-misfit");
    let refused = world.try_job(&clip, &lossless(|request| request.pad = Some((64, 32))));
    assert_eq!(refused.err().unwrap().kind(), "pad-misfit");
}

/// What people are shown of a source, at a time from its start.
#[test]
fn a_picture_is_taken_where_there_is_one() {
    let world = World::new();
    let clip = world.made("h264.mp4");
    let (input, spec) = (Input::File(clip.path.clone()), lossless(|_| ()));
    let folder = tempfile::tempdir().unwrap();
    let context = Context {
        tools: &world.tools,
        input: &input,
        spec: &spec,
        work_dir: folder.path(),
        cancel: &Cancel::new(),
    };
    let bytes = std::fs::metadata(&clip.path).unwrap().len();
    let index = world.block_on(analyze(&context, bytes)).unwrap();
    let taken = |at_ms| {
        let path = world.block_on(take_picture(&context, &index, at_ms, 64));
        path.unwrap().map(|path| {
            let picture = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            picture
        })
    };
    let (first, later) = (taken(0).unwrap(), taken(1_040).unwrap());
    assert!(first.starts_with(&[0xff, 0xd8, 0xff]) && later.starts_with(&[0xff, 0xd8, 0xff]));
    assert_ne!(first, later);
    assert_eq!(taken(3_600_000), None);
}
