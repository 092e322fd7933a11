//! The oracle: what a sharded job gives is compared with the one plain ffmpeg
//! command that its proof names (P3), over clips made here and, where they
//! are, over real files (`REELRAFT_MEDIA`, or `../shared/media` beside the
//! repository).

#![allow(clippy::unwrap_used)]

mod world;

use reelraft_model::spec::Spec;
use world::{Clip, Job, World, lossless, spec};

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
    for (name, options) in [
        ("raw.mjpeg", "-c:v mjpeg -q:v 4"),
        ("raw.h261", "-c:v h261"),
        ("film.swf", "-c:v flv -g 12"),
        ("film.bin", "-c:v mjpeg -f smjpeg"),
    ] {
        let clip = world.made_by(name, &format!("{small} {options}"));
        exact(&world, &clip, 1000, 1);
    }
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

#[test]
fn audio_keeps_the_references_times_however_it_comes() {
    let world = World::new();
    for (name, audio, container) in [
        ("open.ts", "aac", "mp4"),
        ("open.ts", "opus", "mkv"),
        ("open.ts", "copy", "mp4"),
        ("late.mp4", "aac", "mkv"),
        ("late.mp4", "copy", "mp4"),
        ("late.mp4", "copy", "mkv"),
        ("vfr.mkv", "opus", "mp4"),
        ("vp9.webm", "copy", "mp4"),
        ("vp9.webm", "copy", "mkv"),
        ("vp9.webm", "copy", "webm"),
        ("vorbis.webm", "copy", "webm"),
        ("vorbis.webm", "copy", "mkv"),
        ("vorbis.webm", "aac", "mp4"),
        ("mpeg4.avi", "copy", "mkv"),
        ("intra.mov", "copy", "mkv"),
        ("mpeg2.ts", "aac", "mp4"),
    ] {
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
            ("width", "160"),
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
    let spec = spec(&[("shard_ms", "1000"), ("preset", "fast"), ("width", "200")]);
    let (one, two) = (world.job(&clip, &spec), world.job(&clip, &spec));
    assert_eq!(
        std::fs::read(&one.output).unwrap(),
        std::fs::read(&two.output).unwrap()
    );
    assert_eq!(one.proof, two.proof);
}

/// The issue's own example: 640 wide, H.264 medium, in MP4.
#[test]
fn the_sintel_trailer_has_its_1253_frames() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let clip = Clip {
        name: "sintel".into(),
        path: real.join("long/sintel_trailer-720p.mp4"),
    };
    let spec = spec(&[("width", "640"), ("preset", "medium")]);
    let job = timed(&world, &clip, &spec, 5);
    assert_eq!(job.proof["frames"]["muxed"], 1253);
    assert_eq!(job.index.output_size(), (640, 360));
}

/// Real files of many kinds, cut as finely as their keyframes allow.
#[test]
fn real_files_come_out_exactly() {
    let Some(real) = world::real() else { return };
    let world = World::new();
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

/// CPU seconds of all children that have ended.
fn children_cpu() -> f64 {
    // SAFETY: a plain system call that fills a struct of plain numbers.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut used), 0);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

/// The Sintel trailer at its own size, x264 medium: all children together
/// cost little more than the one pass.
#[test]
#[ignore = "takes minutes; run it alone, as it counts CPU"]
fn sintel_costs_little_more_than_one_pass() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let clip = Clip {
        name: "sintel".into(),
        path: real.join("long/sintel_trailer-720p.mp4"),
    };
    let before = children_cpu();
    let job = world.job(&clip, &spec(&[]));
    let middle = children_cpu();
    job.reference_file();
    let after = children_cpu();
    let ratio = (middle - before) / (after - middle);
    println!(
        "{} shards, {:.1} s against {:.1} s: {ratio:.3}",
        job.shards,
        middle - before,
        after - middle
    );
    assert!(ratio <= 1.15, "{ratio}");
}

/// A spec of these words and those that `WORDS` asks for, which looks like
/// `container=mkv,audio=copy`.
fn wished(words: &[(&str, &str)]) -> Spec {
    let asked = std::env::var("WORDS").unwrap_or_default();
    let asked = asked.split(',').filter_map(|word| word.split_once('='));
    spec(&[words, &asked.collect::<Vec<_>>()].concat())
}

/// As the other survey, H.264 in MP4 with AAC, or what is wished for: times of
/// packets.
#[test]
#[ignore = "takes minutes; prints a table"]
fn survey_lossy() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let spec = wished(&[
        ("preset", "ultrafast"),
        ("width", "320"),
        ("shard_ms", "1000"),
    ]);
    for clip in world::all(&real) {
        let name = &clip.name;
        let job = match world.try_job(&clip, &spec) {
            Ok(job) => job,
            Err(error) => {
                println!("{name}: {} {:?}: {error}", error.kind(), error.class());
                continue;
            }
        };
        let reference = job.reference_file();
        for stream in ["v:0", "a:0"] {
            let ours = world.packet_times(&job.output, stream);
            let theirs = world.packet_times(&reference, stream);
            let differ = ours.1.iter().zip(&theirs.1).find(|(a, b)| a != b);
            println!(
                "{name} {stream}: {} {} {}/{} {differ:?} {} {}",
                if ours == theirs { "same" } else { "DIFFERENT" },
                ours.0,
                ours.1.len(),
                theirs.1.len(),
                job.shards,
                job.note
            );
        }
    }
}

/// A survey over all real files, printed; not a test of its own.
#[test]
#[ignore = "takes minutes; prints a table"]
fn survey() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let spec = wished(&[
        ("codec", "ffv1"),
        ("container", "mkv"),
        ("audio", "none"),
        ("shard_ms", "1000"),
    ]);
    for clip in world::all(&real) {
        let name = &clip.name;
        let started = std::time::Instant::now();
        match world.try_job(&clip, &spec) {
            Err(error) => println!(
                "{name}: REFUSED {} {:?}: {error}",
                error.kind(),
                error.class()
            ),
            Ok(job) => {
                let (ours, reference) = (job.frames(), job.reference_frames());
                let same = ours == reference;
                if !same {
                    println!("{} frames, reference {}", ours.len(), reference.len());
                    for (ours, reference) in
                        ours.iter().zip(&reference).filter(|(a, b)| a != b).take(3)
                    {
                        println!("   {ours} | {reference}");
                    }
                }
                println!(
                    "{name}: {} shards={} frames={} complaints={} {:.1}s {}",
                    if same { "same" } else { "DIFFERENT" },
                    job.shards,
                    job.proof["frames"],
                    job.proof["complaints_total"],
                    started.elapsed().as_secs_f32(),
                    job.note
                );
            }
        }
    }
}
