//! Which streams of a source are taken, and what is said of the rest.

use std::path::Path;

use crate::world::{self, Clip, Job, World, spec};
use reelraft_media::{Class, MediaError};
use reelraft_model::spec::Spec;
use serde_json::Value;

const X264: &str = "-c:v libx264 -pix_fmt yuv420p -preset ultrafast";

fn quick(words: &[(&str, &str)]) -> Spec {
    spec(&[&[("preset", "ultrafast"), ("audio", "none")], words].concat())
}

/// A file of the collection of cases, if it is there.
fn case(name: &str) -> Option<Clip> {
    let name = format!("cases/{name}");
    let path = world::real()?.join(&name);
    if path.exists() {
        return Some(Clip { name, path });
    }
    eprintln!("skipped: {name} is not there");
    None
}

fn left_out(job: &Job<'_>) -> Vec<String> {
    let list = job.proof["left_out"].as_array();
    let notes: Vec<String> = list
        .into_iter()
        .flatten()
        .map(|note| note.as_str().unwrap().to_string())
        .collect();
    // What the proof says, `job show` says.
    assert!(job.single || notes.iter().all(|note| job.note.contains(note)));
    notes
}

fn has(notes: &[String], start: &str) -> bool {
    notes.iter().any(|note| note.starts_with(start))
}

fn refused(world: &World, clip: &Clip, spec: &Spec) -> MediaError {
    let Err(error) = world.try_job(clip, spec) else {
        panic!("{} was taken", clip.name)
    };
    // Another build may have a decoder.
    let class = match error.kind() {
        "no-decoder" => Class::NodeFault,
        _ => Class::Final,
    };
    assert_eq!(error.class(), class, "{error}");
    error
}

fn size(job: &Job<'_>) -> (i64, i64) {
    let shown = job.world.shown(&job.output, "stream=width,height");
    let side = |key: &str| shown["streams"][0][key].as_i64().unwrap();
    (side("width"), side("height"))
}

/// The timecode of a file's track, or of its tags.
fn timecode(world: &World, path: &Path) -> Option<String> {
    let shown = world.shown(path, "format_tags=timecode:stream_tags=timecode");
    let streams = shown["streams"].as_array().unwrap().iter();
    let tags = streams.chain([&shown["format"]]).filter_map(|own| {
        let tags = own["tags"].as_object()?;
        tags.values().next().and_then(Value::as_str)
    });
    tags.map(str::to_string).next()
}

#[test]
fn a_still_does_not_beat_the_film_and_a_track_can_be_asked_for() {
    let world = World::new();
    for name in ["motion.mp4", "motion.mkv"] {
        let clip = world.made_by(
            name,
            &format!("-f lavfi -i testsrc2=size=128x96:rate=24:duration=2 -f lavfi -i color=red:size=640x480:rate=24:duration=0.04 -map 0 -map 1 {X264} -c:v:1 mjpeg -pix_fmt:v:1 yuvj420p"),
        );
        let job = world.job(&clip, &quick(&[]));
        assert_eq!((size(&job), job.index.frames_total()), ((128, 96), 48));
        let still = "video track 2 (mjpeg, 640x480) is left out";
        assert!(has(&left_out(&job), still), "{}", job.note);
        let job = world.job(&clip, &quick(&[("video_track", "2")]));
        assert_eq!((size(&job), job.index.frames_total()), ((640, 480), 1));
        assert!(has(&left_out(&job), "video track 1 (h264, 128x96)"));
        let error = refused(&world, &clip, &quick(&[("video_track", "3")]));
        assert_eq!(error.kind(), "no-video-track");
    }
}

#[test]
fn a_film_of_slides_is_no_still() {
    let world = World::new();
    let clip = world.made_by(
        "slides.mkv",
        "-f lavfi -i testsrc2=size=128x96:rate=30:duration=4 -f lavfi -i testsrc2=size=320x180:rate=1/3:duration=9 -map 0 -map 1 -c:v mpeg4 -disposition:v:0 0 -disposition:v:1 default",
    );
    let job = world.job(&clip, &quick(&[]));
    assert_eq!((size(&job), job.index.frames_total()), ((320, 180), 3));
}

#[test]
fn sound_comes_from_the_program_of_the_picture() {
    let world = World::new();
    let clip = world.made_by(
        "programs.ts",
        &format!("-f lavfi -i testsrc2=size=64x64:rate=25:duration=2 -f lavfi -i testsrc2=size=128x64:rate=25:duration=2 -f lavfi -i sine=frequency=300:duration=2 -f lavfi -i sine=frequency=900:duration=2 -map 0 -map 2 -map 1 -map 3 {X264} -c:a aac -metadata:s:a:0 language=fra -metadata:s:a:1 language=eng -program program_num=3:st=0:st=1 -program program_num=9:st=2:st=3"),
    );
    let language = |job: &Job<'_>| {
        let shown = world.shown(&job.output, "stream=codec_type:stream_tags=language");
        let streams = shown["streams"].as_array().unwrap().clone();
        let sounds = streams.iter().filter(|own| own["codec_type"] == "audio");
        let words = sounds.map(|own| own["tags"]["language"].as_str().unwrap().to_string());
        words.collect::<Vec<_>>()
    };
    let sound = |words: &[(&str, &str)]| quick(&[&[("audio", "aac")], words].concat());
    let job = world.job(&clip, &sound(&[]));
    assert_eq!(
        (size(&job), language(&job)),
        ((128, 64), vec!["eng".into()])
    );
    let other = "program 3 (video, audio) is left out; --program 3 takes it";
    assert_eq!(left_out(&job), [other]);
    let job = world.job(&clip, &sound(&[("program", "3")]));
    assert_eq!((size(&job), language(&job)), ((64, 64), vec!["fra".into()]));
    assert!(job.proof["reference"].to_string().contains("\"0:0\""));
    // A track is asked for by its number in the file.
    let job = world.job(&clip, &sound(&[("audio_tracks", "1")]));
    assert_eq!(
        (size(&job), language(&job)),
        ((128, 64), vec!["fra".into()])
    );
    let song = world.job(&clip, &spec(&[("container", "m4a"), ("program", "9")]));
    assert_eq!(language(&song), ["eng"]);
    let error = refused(&world, &clip, &sound(&[("program", "4")]));
    assert_eq!(error.kind(), "no-program");
    assert!(error.to_string().contains("3, 9"), "{error}");
}

#[test]
#[ignore = "long: make test-all"]
fn a_timecode_is_kept_as_the_reference_keeps_it_or_it_is_said() {
    let world = World::new();
    let made = |name: &str, text: &str, rate: &str| {
        let options = format!(
            "-f lavfi -i testsrc2=size=64x64:rate={rate}:duration=1 {X264} -metadata timecode={text}"
        );
        world.made_by(name, &options)
    };
    let track = made("track.mov", "10:20:30:05", "25");
    let drops = made("drops.mkv", "01:00:00;02", "25");
    let ntsc = made("ntsc.mkv", "01:00:00;02", "30000/1001");
    let none = made("none.mkv", "unknown", "25");
    for (clip, container, kept, note) in [
        (&track, "mp4", Some("10:20:30:05"), None),
        (&track, "mov", Some("10:20:30:05"), None),
        (&track, "mkv", Some("10:20:30:05"), None),
        (&ntsc, "mp4", Some("01:00:00;02"), None),
        (
            &drops,
            "mp4",
            Some("01:00:00:02"),
            Some("the timecode 01:00:00;02 drops"),
        ),
        (&drops, "mkv", Some("01:00:00;02"), None),
        (&none, "mp4", None, Some("the timecode \"unknown\" is none")),
        (&none, "mkv", Some("unknown"), None),
    ] {
        let job = world.job(clip, &quick(&[("container", container)]));
        let words = format!("{} to {container}", clip.name);
        let ours = timecode(&world, &job.output);
        assert_eq!(ours.as_deref(), kept, "{words}");
        assert_eq!(timecode(&world, &job.reference_file()), ours, "{words}");
        let notes = left_out(&job);
        assert_eq!(
            notes.len(),
            usize::from(note.is_some()),
            "{words}: {notes:?}"
        );
        assert!(note.is_none_or(|note| has(&notes, note)), "{notes:?}");
    }
    let bare = world.job(&track, &quick(&[("strip", "yes")]));
    assert_eq!(timecode(&world, &bare.output), None);
}

#[test]
fn captions_are_kept_by_the_encoder_or_named() {
    let world = World::new();
    let Some(clip) = case("am_fragmented_captions.mp4") else {
        return;
    };
    let captions = "caption data (CEA-608/708) can't be kept in";
    for (codec, container, preset, kept) in [
        ("h264", "mp4", "ultrafast", true),
        ("ffv1", "mkv", "", false),
        ("av1", "mp4", "12", false),
    ] {
        let words = [
            ("codec", codec),
            ("container", container),
            ("preset", preset),
        ];
        let job = world.job(&clip, &spec(&[&words[..], &[("audio", "none")]].concat()));
        let shown = world.shown(&job.output, "frame_side_data");
        let there = shown.to_string().contains("ATSC A53");
        // A later encoder may keep more; what it loses is named.
        assert!(there || !kept, "{codec}");
        assert_eq!(
            has(&left_out(&job), captions),
            !there,
            "{codec}: {}",
            job.note
        );
    }
}

#[test]
fn views_stay_arranged_as_the_reference_has_them() {
    let world = World::new();
    let Some(clip) = case("stereo3d.mkv") else {
        return;
    };
    const TOLD: &str = "stream=sample_aspect_ratio:stream_side_data=side_data_type,type,inverted:stream_tags=stereo_mode";
    let job = world.job(&clip, &quick(&[("container", "mkv")]));
    let ours = world.show(&job.output, TOLD);
    assert!(ours.contains("side by side"), "{ours}");
    assert_eq!(ours, world.show(&job.reference_file(), TOLD));
    assert!(left_out(&job).is_empty(), "{}", job.note);
    let job = world.job(&clip, &quick(&[("codec", "hevc"), ("container", "mp4")]));
    let there = world.show(&job.output, TOLD).contains("Stereo 3D");
    assert_eq!(has(&left_out(&job), "stereo 3D metadata"), !there);
}

#[test]
fn dolby_vision_without_colors_of_its_own_is_refused_unless_asked_for() {
    let world = World::new();
    let Some(clip) = case("hevc_dovi-p5.mp4") else {
        return;
    };
    let small = [("width", "160"), ("container", "mkv")];
    let error = refused(&world, &clip, &quick(&small));
    assert_eq!(error.kind(), "dolby-vision");
    assert!(error.hint().contains("--ignore-dolby-vision"));
    let asked = [&small[..], &[("ignore_dolby_vision", "yes")]].concat();
    let job = world.job(&clip, &quick(&asked));
    assert!(
        has(&left_out(&job), "Dolby Vision metadata"),
        "{}",
        job.note
    );
}

#[test]
fn what_else_the_cases_hold_is_named() {
    let world = World::new();
    let Some(clip) = case("pidchange.ts") else {
        return;
    };
    let job = world.job(&clip, &quick(&[]));
    let second = "video track 2 (h264, 160x120) is left out; --video-track 2 takes it";
    assert_eq!(left_out(&job), [second]);
    let other = world.job(&clip, &quick(&[("video_track", "2")]));
    assert_eq!(other.index.frames_total(), job.index.frames_total());
    let Some(clip) = case("min_mpts.ts") else {
        return;
    };
    let job = world.job(&clip, &quick(&[("audio", "aac")]));
    assert_eq!((size(&job), job.index.audio_tracks()), ((128, 64), 1));
    assert!(has(&left_out(&job), "program 1 (video, audio)"));
    for name in ["tctag.mkv", "tcodd.mkv"] {
        let Some(clip) = case(name) else { return };
        let job = world.job(&clip, &quick(&[]));
        assert!(has(&left_out(&job), "the timecode"), "{name}: {}", job.note);
    }
}

#[test]
fn a_codec_that_can_not_be_decoded_is_named() {
    let world = World::new();
    let film = world.made("h264.mp4");
    let renamed = |name: &str, boxes: &[(&[u8; 4], &[u8; 4])]| {
        let mut bytes = std::fs::read(&film.path).unwrap();
        for (from, to) in boxes {
            // In the header, which is what is read last.
            let at = bytes.windows(4).rposition(|four| four == *from).unwrap();
            bytes[at..at + 4].copy_from_slice(*to);
        }
        world.written(name, bytes)
    };
    let clip = renamed("video.mp4", &[(b"avc1", b"zzz1"), (b"avcC", b"zzzC")]);
    let error = refused(&world, &clip, &quick(&[]));
    assert_eq!(error.kind(), "no-decoder");
    assert!(error.to_string().contains("video is zzz1"), "{error}");
    let clip = renamed("sound.mp4", &[(b"mp4a", b"ac-4"), (b"esds", b"zzzC")]);
    let job = world.job(&clip, &quick(&[("audio", "aac")]));
    let note = "audio track 1 is AC-4, which this ffmpeg can't decode, and is left out";
    assert_eq!(left_out(&job), [note]);
    let error = refused(&world, &clip, &spec(&[("container", "m4a")]));
    assert_eq!(error.kind(), "no-decoder");
}

#[test]
fn packets_that_give_no_picture_are_counted() {
    let world = World::new();
    let film = world.made_by(
        "pictures.mov",
        "-f lavfi -i testsrc2=size=64x64:rate=24:duration=2 -c:v png -threads 1",
    );
    let mut bytes = std::fs::read(&film.path).unwrap();
    let places = bytes.windows(4).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, four)| four == b"\x89PNG")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 48);
    for at in &places[1..] {
        bytes[*at] = b'X';
    }
    let job = world.job(&world.written("one.mov", bytes), &quick(&[]));
    assert_eq!(job.proof["frames"]["decoded"], 1);
    let lost = "47 of 48 packets of the video gave no picture of their own";
    assert!(
        has(&left_out(&job), lost) && job.note.contains(lost),
        "{}",
        job.note
    );
}

#[test]
fn a_shape_of_pixels_that_changes_is_noted() {
    let world = World::new();
    let part = |shape: &str| {
        let options =
            format!("-f lavfi -i testsrc2=size=96x64:rate=25:duration=1 -vf setsar={shape} {X264}");
        let name = format!("{}.h264", shape.replace('/', "-"));
        std::fs::read(world.made_by(&name, &options).path).unwrap()
    };
    let film = world.written("shapes.h264", [part("4/3"), part("1/1")].concat());
    let job = world.job(&film, &quick(&[("container", "mkv")]));
    let note = "the shape of the pixels changes within the film (4/3, 1/1)";
    assert!(
        has(&left_out(&job), note) && job.note.contains(note),
        "{}",
        job.note
    );
    let alike = world.written("alike.h264", [part("4/3"), part("4/3")].concat());
    assert!(left_out(&world.job(&alike, &quick(&[]))).is_empty());
}

#[test]
fn a_long_film_that_is_not_cut_says_why() {
    let world = World::new();
    let Some(clip) = case("cra1sync.mp4") else {
        return;
    };
    let job = world.job(&clip, &quick(&[("shard_ms", "2000")]));
    let why = "its first keyframe is the only one";
    assert_eq!((job.shards, job.note.as_str()), (1, why));
    assert_eq!(job.proof["plan_note"], why);
}
