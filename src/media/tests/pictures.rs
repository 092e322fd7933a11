//! What is done to pictures, against the reference: filters with and without
//! a memory, a constant rate in many shards, depth, alpha. With FFV1 every
//! decoded picture and its time must be the reference's.

#![allow(clippy::unwrap_used)]

mod world;

use reelraft_model::spec::{Crop, Spec, SpecRequest, resolve};
use world::{Clip, World};

/// A lossless job in shards of a second, changed as wished.
fn lossless(change: impl FnOnce(&mut SpecRequest)) -> Spec {
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
fn exact(world: &World, clip: &Clip, spec: &Spec, at_least: usize) {
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

const INTERLACED: &str = "-f lavfi -i testsrc2=size=320x180:rate=50:duration=6 -vf tinterlace=interleave_top,setfield=tff -c:v libx264 -pix_fmt yuv420p -preset veryfast -flags +ildct+ilme -g 12 -bf 2";

#[test]
fn fields_are_woven_the_same_at_every_joint() {
    let world = World::new();
    let clip = world.made_by("fields.ts", INTERLACED);
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
            width: 200,
            height: 120,
            x: 20,
            y: 30,
        });
        request.denoise = "medium".into();
        request.width = Some(240);
        request.saturation_milli = Some(400);
        request.contrast_milli = Some(1300);
        request.brightness_milli = Some(-70);
        request.pad = Some((320, 320));
    });
    for name in ["open.ts", "vfr.mkv"] {
        let clip = world.made(name);
        exact(&world, &clip, &spec, 4);
    }
    let job = world.job(&world.made("h264.mp4"), &spec);
    assert_eq!(job.index.output_size(), (320, 320));
}

#[test]
fn a_constant_rate_is_made_in_many_shards() {
    let world = World::new();
    for name in ["vfr.mkv", "late.mp4", "open.ts"] {
        let clip = world.made(name);
        for (rate, at_least) in [((30, 1), 4), ((30_000, 1_001), 4), ((7, 1), 4), ((1, 2), 2)] {
            let spec = lossless(|request| request.fps = Some(rate));
            exact(&world, &clip, &spec, at_least);
        }
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
    let clip = world.made_by("fields.ts", INTERLACED);
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

/// What headers say of colour, shape and fields, and of the first picture.
const SAID: &str = "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location,field_order,sample_aspect_ratio,width,height:stream_side_data:frame=pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location,interlaced_frame,top_field_first:frame_side_data";

const HDR: &str = "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -vf setsar=4/3 -c:v libx265 -pix_fmt yuv420p10le -preset ultrafast -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv -x265-params log-level=error:keyint=12:hdr10=1:repeat-headers=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400:chromaloc=2";

#[test]
fn colour_and_shape_are_told_as_the_reference_tells_them() {
    let world = World::new();
    let hdr = world.made_by("hdr.mp4", HDR);
    let fields = world.made_by("fields.ts", INTERLACED);
    let hlg = world.made_by(
        "hlg.mkv",
        "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -c:v libx265 -pix_fmt yuv420p10le -preset ultrafast -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -x265-params log-level=error:keyint=12",
    );
    let full = world.made_by(
        "full.mp4",
        "-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -vf scale=out_range=full,format=yuv420p -color_range pc -colorspace bt709 -c:v libx264 -g 12",
    );
    for (codec, container, preset) in [
        ("h264", "mkv", "ultrafast"),
        ("h264", "mov", "ultrafast"),
        ("hevc", "mp4", "ultrafast"),
        ("vp9", "webm", "8"),
        ("av1", "mp4", "12"),
        ("av1", "webm", "12"),
        ("ffv1", "mkv", ""),
    ] {
        for clip in [&hdr, &hlg, &fields, &full] {
            let spec = lossless(|request| {
                request.codec = codec.into();
                request.container = container.into();
                request.preset = preset.into();
            });
            let job = world.job(clip, &spec);
            assert!(job.shards > 1, "{}: {}", clip.name, job.note);
            let ours = world.show(&job.output, SAID);
            let reference = world.show(&job.reference_file(), SAID);
            if clip.name == "hdr.mp4" && matches!(codec, "hevc" | "av1") {
                for told in ["Mastering display", "Content light", "max_content=1000"] {
                    assert!(ours.contains(told), "{codec} {container}: {ours}");
                }
            }
            assert_eq!(ours, reference, "{} {codec} {container}", clip.name);
        }
    }
}

/// A lossy job's headers and first picture are told as the reference's, and
/// its frames come at the same times.
fn told_alike(world: &World, clip: &Clip, spec: &Spec) -> String {
    let job = world.job(clip, spec);
    let words = format!("{} {spec:?}", clip.name);
    assert!(job.shards > 1, "{words}: {}", job.note);
    let ours = world.show(&job.output, SAID);
    assert_eq!(ours, world.show(&job.reference_file(), SAID), "{words}");
    let times = |path| world.packet_times(path, "v:0").1;
    assert_eq!(
        times(&job.output).len(),
        times(&job.reference_file()).len(),
        "{words}"
    );
    ours
}

/// x264 in a container, in shards of a second.
fn lossy(container: &str, change: impl FnOnce(&mut SpecRequest)) -> Spec {
    lossless(|request| {
        request.codec = "h264".into();
        request.container = container.into();
        request.preset = "ultrafast".into();
        change(request);
    })
}

#[test]
fn turned_pictures_stand_upright_in_every_shard() {
    let world = World::new();
    world.made_by(
        "level.mp4",
        "-f lavfi -i testsrc2=size=160x90:rate=24:duration=3 -vf setsar=4/3 -c:v libx264 -pix_fmt yuv420p -preset ultrafast -g 24",
    );
    for (degrees, extension, upright) in [
        (90, "mp4", (90, 160)),
        (180, "mov", (160, 90)),
        (270, "mov", (90, 160)),
    ] {
        let name = format!("turned{degrees}.{extension}");
        let clip = world.made_by(
            &name,
            &format!("-i level.mp4 -c copy -metadata:s:v:0 rotate={degrees}"),
        );
        let source = world.show(&clip.path, "stream_side_data=rotation");
        assert!(source.contains("rotation="), "{name}: {source}");
        exact(&world, &clip, &lossless(|_| {}), 2);
        exact(
            &world,
            &clip,
            &lossless(|request| request.width = Some(64)),
            2,
        );
        for container in ["mkv", "mp4", "mov"] {
            let said = told_alike(&world, &clip, &lossy(container, |_| {}));
            let size = format!("width={}\nheight={}\n", upright.0, upright.1);
            assert!(said.contains(&size), "{name} {container}: {said}");
            assert!(!said.contains("rotation="), "{name} {container}: {said}");
        }
    }
}

#[test]
fn pixels_that_are_not_square_keep_the_shape_of_the_film() {
    let world = World::new();
    let clip = world.made_by(
        "wide.mkv",
        "-f lavfi -i testsrc2=size=180x144:rate=24:duration=3 -vf setsar=64/45 -c:v mpeg2video -g 12 -q:v 3",
    );
    for (width, crop) in [(None, false), (Some(96), false), (Some(100), true)] {
        let change = |request: &mut SpecRequest| {
            request.width = width;
            request.crop = crop.then_some(Crop {
                width: 120,
                height: 100,
                x: 10,
                y: 20,
            });
        };
        exact(&world, &clip, &lossless(change), 2);
        for container in ["mkv", "mp4", "mov"] {
            let said = told_alike(&world, &clip, &lossy(container, change));
            let square = said.contains("sample_aspect_ratio=1:1");
            assert!(said.contains("sample_aspect_ratio=") && !square, "{said}");
        }
    }
}

#[test]
fn films_of_red_green_and_blue_tell_their_colour_as_the_reference() {
    let world = World::new();
    let picture = "-f lavfi -i testsrc2=size=96x64:rate=10:duration=3";
    for (name, encoder) in [
        ("gbrp.mkv", "-pix_fmt gbrp -c:v ffv1 -g 1"),
        ("bgr0.mkv", "-pix_fmt bgr0 -c:v ffv1 -g 1"),
        ("rgb24.mov", "-pix_fmt rgb24 -c:v png"),
        ("pal8.mov", "-vf format=pal8 -c:v qtrle"),
        ("x264rgb.mp4", "-c:v libx264rgb -pix_fmt bgr24 -crf 1 -g 10"),
    ] {
        let clip = world.made_by(name, &format!("{picture} {encoder}"));
        for container in ["mkv", "mp4"] {
            let spec = lossy(container, |_| {});
            let job = world.job(&clip, &spec);
            let ours = world.show(&job.output, SAID);
            assert!(ours.contains("pix_fmt=yuv420p"), "{name}: {ours}");
            let reference = world.show(&job.reference_file(), SAID);
            assert_eq!(ours, reference, "{name} {container} {}", job.note);
        }
        exact(&world, &clip, &lossless(|_| {}), 1);
    }
}

/// Real files through the filters that reach beyond a picture, cut finely.
#[test]
#[ignore = "takes minutes; every real file"]
fn real_files_are_filtered_as_the_reference_filters_them() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let mut differing = Vec::new();
    for clip in world::all(&real) {
        let spec = lossless(|request| {
            request.width = Some(160);
            request.deinterlace = "on".into();
            request.fps = Some((24_000, 1_001));
        });
        match world.try_job(&clip, &spec) {
            Err(error) => println!("{}: {}: {error}", clip.name, error.kind()),
            Ok(job) => {
                let (ours, reference) = (job.frames(), job.reference_frames());
                println!(
                    "{}: {} frames, {} shards {}",
                    clip.name,
                    ours.len(),
                    job.shards,
                    job.note
                );
                if ours != reference {
                    let at = ours.iter().zip(&reference).position(|(a, b)| a != b);
                    let (ours, theirs) = (ours.len(), reference.len());
                    differing.push(format!("{}: {ours} and {theirs}, first {at:?}", clip.name));
                }
            }
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}
