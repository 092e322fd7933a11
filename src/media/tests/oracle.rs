//! The oracle: what a sharded job gives is compared with the one plain ffmpeg
//! command that its proof names (P3), over clips made here and, where they
//! are, over real files (`REELRAFT_MEDIA`, or `../shared/media` beside the
//! repository).

use crate::world::{self, Clip, Job, World, lossless, spec};
use reelraft_model::spec::Spec;

/// FFV1 in Matroska: every frame equal to the reference's, with its time.
fn exact(world: &World, clip: &Clip, shard_ms: u32, at_least: usize) {
    let spec = Spec {
        shard_ms,
        ..lossless()
    };
    let job = world.job(clip, &spec);
    assert!(
        job.shards >= at_least,
        "{}: {} shards, {}",
        clip.name,
        job.shards,
        job.note
    );
    let (ours, reference) = (job.frames(), job.reference_frames());
    assert_eq!(ours, reference, "{}", clip.name);
    assert!(!ours.is_empty());
}

#[test]
fn made_clips_come_out_exactly() {
    let world = World::new();
    for (name, at_least) in [
        ("h264.mp4", 4),
        ("open.ts", 4),
        ("vfr.mkv", 4),
        ("vp9.webm", 4),
        ("mpeg4.avi", 4),
        ("mpeg2.ts", 4),
        ("late.mp4", 4),
        ("intra.mov", 6),
        ("one.mp4", 1),
    ] {
        exact(&world, &world.made(name), 1000, at_least);
    }
}

#[test]
fn older_formats_come_out_exactly() {
    let world = World::new();
    let small = "-f lavfi -i testsrc2=size=176x144:rate=25:duration=4";
    for (name, at_least, options) in [
        ("raw.mjpeg", 1, "-c:v mjpeg -q:v 4"),
        ("raw.h261", 1, "-c:v h261"),
        ("film.swf", 1, "-c:v flv -g 12"),
        ("film.bin", 1, "-c:v mjpeg -f smjpeg"),
        ("film.flv", 3, "-c:v flv -g 12"),
        ("divx3.avi", 3, "-c:v msmpeg4 -g 12"),
        ("film.wmv", 3, "-c:v wmv2 -g 12"),
        ("theora.mkv", 3, "-c:v libtheora -g 12"),
    ] {
        let clip = world.made_by(name, &format!("{small} {options}"));
        exact(&world, &clip, 1000, at_least);
    }
}

/// One pass over pictures and sound keeps to few of the processor's
/// instructions, for the sound's sake; the pictures must not depend on them.
#[test]
fn pictures_are_the_same_with_the_instructions_that_sound_keeps_to() {
    let world = World::new();
    let options = "-f lavfi -i testsrc2=size=176x144:rate=25:duration=1,noise=alls=8:allf=t -f lavfi -i sine=duration=1 -c:v wmv2 -c:a wmav2";
    let clip = world.made_by("sound.wmv", options);
    let job = world.job(
        &clip,
        &spec(&[("codec", "ffv1"), ("container", "mkv"), ("audio", "flac")]),
    );
    assert_eq!(job.frames(), world.frames(&job.reference_file()));
}

/// The grid's step is the source's own tick, and a frame is missing.
#[test]
fn a_constant_rate_fills_gaps_of_a_film_in_one_shard() {
    let world = World::new();
    let clip = world.made_by(
        "gap.avi",
        "-f lavfi -i testsrc2=size=64x64:rate=25:duration=1 -vf select=not(eq(n\\,7)) -fps_mode passthrough -c:v ffv1 -g 1 -strict -2",
    );
    let words = [
        ("codec", "ffv1"),
        ("container", "mkv"),
        ("audio", "none"),
        ("fps", "25"),
    ];
    let job = world.job(&clip, &spec(&words));
    assert_eq!(job.frames(), job.reference_frames());
    assert_eq!(job.proof["frames"]["muxed"], 25, "{}", job.note);
}

/// A lossy job: the packets' times equal the reference's, video and audio.
fn timed<'w>(world: &'w World, clip: &Clip, spec: &Spec, at_least: usize) -> Job<'w> {
    let job = world.job(clip, spec);
    assert!(job.shards >= at_least, "{}: {}", clip.name, job.note);
    let reference = job.reference_file();
    for stream in ["v:0", "a:0"] {
        let (base, ours) = world.packet_times(&job.output, stream);
        let (their_base, theirs) = world.packet_times(&reference, stream);
        assert_eq!(base, their_base);
        // Pictures keep their times exactly; sound may be rounded otherwise
        // by a copy that passes through another clock: a millisecond at most.
        let (num, den) = base.split_once('/').unwrap();
        let (num, den): (u64, u64) = (num.parse().unwrap(), den.parse().unwrap());
        let slack = if stream == "a:0" { den / num / 1000 } else { 0 };
        let differ = ours
            .iter()
            .zip(&theirs)
            .find(|(a, b)| a.abs_diff(**b) > slack);
        assert_eq!(differ, None, "{} {stream} {spec:?}", clip.name);
        assert_eq!(ours.len(), theirs.len(), "{} {stream}", clip.name);
    }
    let said = world.complaints(&job.output);
    assert!(
        said.is_empty() || said.starts_with("Guessed Channel Layout"),
        "{} {spec:?}: {said}",
        clip.name
    );
    job
}

#[test]
fn lossy_jobs_keep_the_references_times() {
    let world = World::new();
    let clip = world.made("h264.mp4");
    for words in [
        &[("preset", "fast")][..],
        &[("preset", "ultrafast"), ("container", "mkv")],
        &[("codec", "hevc"), ("preset", "superfast")],
        &[("codec", "vp9"), ("container", "webm"), ("preset", "8")],
        &[("codec", "av1"), ("preset", "12")],
    ] {
        let spec = Spec {
            shard_ms: 1000,
            ..spec(words)
        };
        timed(&world, &clip, &spec, 4);
    }
}

/// What decides over a frame lies in its shard and beside it: each picture is that
/// of one pass with the same keyframes.
#[test]
fn pictures_of_a_lossy_job_equal_the_references() {
    let world = World::new();
    for (name, words) in [
        ("h264.mp4", &[("preset", "veryfast")][..]),
        ("open.ts", &[("preset", "medium")]),
        // A clock of milliseconds, which is coarser than the rate.
        ("vp9.webm", &[("preset", "veryfast"), ("container", "mkv")]),
        ("vfr.mkv", &[("preset", "faster"), ("fps", "12")]),
        ("h264.mp4", &[("preset", "veryfast"), ("deinterlace", "on")]),
        ("h264.mp4", &[("preset", "veryfast"), ("tune", "grain")]),
        (
            "mpeg2.ts",
            &[("preset", "veryfast"), ("pix_fmt", "yuv420p10le")],
        ),
    ] {
        let spec = Spec {
            shard_ms: 1000,
            ..spec(words)
        };
        let job = timed(&world, &world.made(name), &spec, 3);
        let (ours, reference) = (job.frames(), job.reference_frames());
        let same = ours.iter().filter(|frame| reference.contains(frame));
        assert_eq!(same.count(), reference.len(), "{name} {words:?}");
    }
}

/// Less than an encoder looks ahead at, at even and at uneven times.
#[test]
fn shards_of_single_frames_come_out_as_one_pass() {
    let world = World::new();
    let slow = "-f lavfi -i testsrc2=size=128x96:rate=1:duration=7";
    let uneven = "-vf setpts=PTS+mod(N\\,3)*0.4/TB -fps_mode passthrough -enc_time_base 1:1000";
    for (name, options) in [("slow.mkv", "-an"), ("uneven.mkv", uneven)] {
        let clip = world.made_by(name, &format!("{slow} {options} -c:v ffv1 -g 1"));
        for (codec, preset) in [("h264", "veryfast"), ("hevc", "medium")] {
            let spec = Spec {
                shard_ms: 500,
                ..spec(&[("codec", codec), ("preset", preset), ("audio", "none")])
            };
            let job = world.job(&clip, &spec);
            assert!(job.shards > 4, "{name} {codec}: {}", job.note);
            let times = |path| world.packet_times(path, "v:0");
            let ours = times(&job.output);
            assert_eq!(ours, times(&job.reference_file()), "{name} {codec}");
            assert_eq!(job.frames().len(), ours.1.len(), "{name} {codec}");
        }
    }
}

#[test]
fn audio_keeps_the_references_times_however_it_comes() {
    audio_keeps_its_times(&[
        ("open.ts", "aac", "mp4"),
        ("late.mp4", "copy", "mkv"),
        ("vfr.mkv", "opus", "mp4"),
        ("vp9.webm", "copy", "webm"),
        ("vorbis.webm", "copy", "mkv"),
        ("mpeg4.avi", "copy", "mkv"),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn audio_keeps_the_references_times_in_more_containers() {
    audio_keeps_its_times(&[
        ("open.ts", "opus", "mkv"),
        ("open.ts", "copy", "mp4"),
        ("late.mp4", "aac", "mkv"),
        ("late.mp4", "copy", "mp4"),
        ("vp9.webm", "copy", "mp4"),
        ("vp9.webm", "copy", "mkv"),
        ("vorbis.webm", "copy", "webm"),
        ("vorbis.webm", "aac", "mp4"),
        ("intra.mov", "copy", "mkv"),
        ("mpeg2.ts", "aac", "mp4"),
    ]);
}

fn audio_keeps_its_times(cases: &[(&str, &str, &str)]) {
    let world = World::new();
    for &(name, audio, container) in cases {
        let words = [
            ("audio", audio),
            ("container", container),
            (
                "preset",
                if container == "webm" {
                    "8"
                } else {
                    "ultrafast"
                },
            ),
        ];
        timed(&world, &world.made(name), &spec(&words), 1);
    }
}

#[test]
fn a_constant_rate_lands_on_the_references_grid() {
    let world = World::new();
    for (name, rate) in [
        ("vfr.mkv", "30"),
        ("h264.mp4", "30000/1001"),
        ("late.mp4", "10"),
    ] {
        let words = [
            ("codec", "ffv1"),
            ("container", "mkv"),
            ("width", "80"),
            ("brightness", "-100"),
            ("fps", rate),
        ];
        let job = timed(&world, &world.made(name), &spec(&words), 1);
        assert_eq!(job.frames(), job.reference_frames(), "{name}");
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    let world = World::new();
    let clip = world.made("open.ts");
    let spec = spec(&[("shard_ms", "1000"), ("preset", "fast"), ("width", "100")]);
    let (one, two) = (world.job(&clip, &spec), world.job(&clip, &spec));
    assert_eq!(
        std::fs::read(&one.output).unwrap(),
        std::fs::read(&two.output).unwrap()
    );
    assert_eq!(one.proof, two.proof);
}

/// 640 wide, H.264 medium, in MP4: the first job that anybody tries.
#[test]
#[ignore = "long: make test-all"]
fn the_sintel_trailer_has_its_1253_frames() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let clip = Clip {
        name: "sintel".into(),
        path: real.join("long/sintel_trailer-720p.mp4"),
    };
    let spec = spec(&[("width", "640"), ("preset", "medium")]);
    let job = timed(&world, &clip, &spec, 4);
    assert_eq!(job.proof["frames"]["muxed"], 1253);
    assert_eq!(job.index.output_size(), (640, 360));
}

/// Real files of many kinds, cut as finely as their keyframes allow.
#[test]
#[ignore = "long: make test-all"]
fn real_files_come_out_exactly() {
    let world = World::new();
    // So that it compares something where there are no real files.
    exact(&world, &world.made("vfr.mkv"), 1000, 4);
    let Some(real) = world::real() else { return };
    for (name, at_least) in [
        ("timestamps/bear-640x360_ptswraparound.ts", 3),
        ("h264/interlaced_crop.mp4", 3),
        ("h264/CAPAMA3_Sand_F.264", 1),
        ("mp4_features/nasa_13013.mp4", 2),
        ("matroska/sample_with_ass_subtitles.mkv", 1),
        ("mpeg2/dvb_576i_mpeg2_mp2.ts", 1),
        ("mpeg4_avi/packed_bframes.avi", 1),
        ("mpeg4_avi/sample.avi", 3),
        ("mpeg4_avi/sample.3gp", 2),
        ("misc/bear.ogv", 1),
        ("gif_apng/newtonscradle.gif", 1),
        ("hevc/h265_10bits.mp4", 1),
        ("hdr/hdr10tags-both.mkv", 1),
        ("vp8_vp9/bear-vp9-odd-dimensions.webm", 1),
        ("tiny/-video-with-dash-.mp4", 1),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join(name),
        };
        exact(&world, &clip, 1000, at_least);
    }
}
