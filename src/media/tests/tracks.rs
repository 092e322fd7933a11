//! Audio tracks, against the reference: all of them or those asked for, in
//! every codec and container, and files of sound alone.

use crate::world::{self, Clip, Job, World, spec};
use reelraft_media::Class;
use serde_json::Value;

/// What tells streams apart, but for their clocks.
const STREAMS: &str = "stream=codec_type,codec_name,sample_rate,channels,channel_layout:stream_disposition:stream_tags=language,title";

/// Packets of an audio stream begin and end where the reference's do, within
/// 5 ms, and there are as many of them.
pub(crate) fn same_sound(job: &Job<'_>, stream: &str) {
    let world = job.world;
    let words = format!("{} {stream} {:?}", job.clip.name, job.spec);
    let (base, ours) = world.packet_times(&job.output, stream);
    let (their_base, theirs) = world.packet_times(&job.reference_file(), stream);
    assert_eq!(base, their_base, "{words}");
    assert_eq!(ours.len(), theirs.len(), "{words}");
    assert!(!ours.is_empty(), "{words}");
    let (num, den) = base.split_once('/').unwrap();
    let (num, den): (u64, u64) = (num.parse().unwrap(), den.parse().unwrap());
    for end in [0, ours.len() - 1] {
        let off_us = ours[end].abs_diff(theirs[end]) * num * 1_000_000 / den;
        assert!(off_us <= 5_000, "{words}: {off_us} µs at packet {end}");
    }
}

/// What tells a file's streams apart.
fn streams(world: &World, path: &std::path::Path) -> Value {
    let mut shown = world.shown(path, STREAMS)["streams"].take();
    for stream in shown.as_array_mut().unwrap() {
        let stream = stream.as_object_mut().unwrap();
        // Where an encoder put its name, an empty list of tags is shown.
        if stream
            .get("tags")
            .is_some_and(|tags| tags.as_object().unwrap().is_empty())
        {
            stream.remove("tags");
        }
    }
    shown
}

fn same_streams(job: &Job<'_>) {
    let ours = streams(job.world, &job.output);
    let reference = streams(job.world, &job.reference_file());
    assert_eq!(ours, reference, "{} {:?}", job.clip.name, job.spec);
}

fn quick(words: &[(&str, &str)]) -> reelraft_model::spec::Spec {
    let webm = words.contains(&("container", "webm"));
    let mut all = vec![("preset", if webm { "8" } else { "ultrafast" })];
    all.extend(words);
    spec(&all)
}

#[test]
fn every_track_is_kept_with_what_tells_it_apart() {
    every_track_is_kept(&[
        ("aac", "mp4"),
        ("opus", "webm"),
        ("flac", "mkv"),
        ("copy", "mov"),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn every_track_is_kept_in_more_containers() {
    every_track_is_kept(&[
        ("aac", "mov"),
        ("opus", "mp4"),
        ("opus", "mkv"),
        ("flac", "mp4"),
        ("copy", "mkv"),
    ]);
}

fn every_track_is_kept(cases: &[(&str, &str)]) {
    let world = World::new();
    let clip = world.made("many.mkv");
    for &(audio, container) in cases {
        let job = world.job(&clip, &quick(&[("audio", audio), ("container", container)]));
        assert_eq!(job.proof["audio"].as_array().unwrap().len(), 3);
        same_streams(&job);
        for stream in ["a:0", "a:1", "a:2"] {
            same_sound(&job, stream);
        }
        let second = &streams(&world, &job.output)[2];
        assert_eq!(second["channels"], 6);
        // QuickTime has a list of languages of its own.
        if container != "mov" {
            assert_eq!(second["tags"]["language"], "deu", "{container}");
        }
    }
}

#[test]
fn tracks_come_as_they_are_asked_for() {
    let world = World::new();
    let clip = world.made("many.mkv");
    let job = world.job(&clip, &quick(&[("audio_tracks", "3,1")]));
    same_streams(&job);
    let shown = streams(&world, &job.output);
    let languages: Vec<&Value> = (1..3).map(|at| &shown[at]["tags"]["language"]).collect();
    assert_eq!(languages, ["fra", "eng"]);
    let Err(error) = world.try_job(&clip, &quick(&[("audio_tracks", "4")])) else {
        panic!("a track that is not there was taken")
    };
    assert_eq!(
        (error.kind(), error.class()),
        ("no-audio-track", Class::Final)
    );
    assert!(error.to_string().contains("track 4"), "{error}");
}

#[test]
fn a_hollow_track_is_left_out_and_named() {
    let world = World::new();
    for words in [&[][..], &[("audio", "flac"), ("container", "mkv")]] {
        let job = world.job(&world.made("hollow.mkv"), &quick(words));
        let note = &job.note;
        assert!(note.contains("audio track 2 has no sound"), "{note}");
        let left_out = job.proof["left_out"][0].as_str().unwrap();
        assert!(left_out.contains("track 2"), "{left_out}");
        same_streams(&job);
        same_sound(&job, "a:0");
    }
}

#[test]
fn copies_that_no_container_takes_are_refused_by_track() {
    let world = World::new();
    for (name, container) in [
        ("pcm.mov", "mp4"),
        ("mpeg4.avi", "webm"),
        ("many.mkv", "opus"),
    ] {
        let words = [("audio", "copy"), ("container", container)];
        let Err(error) = world.try_job(&world.made(name), &spec(&words)) else {
            panic!("{name} was copied into {container}")
        };
        assert_eq!(
            (error.kind(), error.class()),
            ("audio-misfit", Class::Final)
        );
        assert!(error.to_string().contains("track 1"), "{error}");
    }
}

#[test]
fn sound_alone_comes_of_films_and_of_sound() {
    let world = World::new();
    for (name, words) in [
        ("h264.mp4", &[("container", "m4a")][..]),
        ("h264.mp4", &[("container", "flac")]),
        ("many.mkv", &[("container", "opus"), ("audio_tracks", "2")]),
        ("open.ts", &[("container", "m4a")]),
        ("sound.ts", &[("container", "opus")]),
        ("late.mp4", &[("container", "m4a"), ("audio", "copy")]),
        ("sound.flac", &[("container", "flac"), ("audio", "copy")]),
        ("sound.flac", &[("container", "opus")]),
        ("vorbis.webm", &[("container", "m4a")]),
        ("cover.mp3", &[("container", "m4a")]),
    ] {
        let job = world.job(&world.made(name), &spec(words));
        assert_eq!((job.shards, job.index.frames_total()), (0, 0), "{name}");
        assert!(job.proof.get("frames").is_none());
        assert!(job.proof["checks"][0]["holds"].as_bool().unwrap());
        same_streams(&job);
        same_sound(&job, "a:0");
    }
    let Err(error) = world.try_job(&world.made("silent.mp4"), &spec(&[("container", "m4a")]))
    else {
        panic!("a silent film became sound")
    };
    assert_eq!((error.kind(), error.class()), ("no-sound", Class::Final));
    let two = [("container", "m4a"), ("audio_tracks", "1,2")];
    let Err(error) = world.try_job(&world.made("many.mkv"), &spec(&two)) else {
        panic!("two tracks became one")
    };
    assert_eq!((error.kind(), error.class()), ("over-limit", Class::Final));
}

/// Where sound begins and ends, in output seconds, by its own samples: the
/// clips' tone begins with the track.
fn tone(world: &World, path: &std::path::Path, stream: &str, at: f64) -> (usize, usize) {
    let samples = world.samples(path, stream, at);
    let loud = |sample: &i16| sample.unsigned_abs() > 500;
    let first = samples.iter().position(loud).unwrap();
    let last = samples.iter().rposition(loud).unwrap();
    (first, last)
}

#[test]
fn sound_stays_with_the_pictures_also_after_a_seek() {
    sound_stays_with_the_pictures(&[
        ("late.mp4", "copy", "mov"),
        ("vorbis.webm", "opus", "webm"),
        ("vorbis.webm", "flac", "mkv"),
        ("open.ts", "aac", "mp4"),
        ("edit.mp4", "aac", "mp4"),
        ("edit.mp4", "opus", "mp4"),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn sound_stays_with_the_pictures_in_more_containers() {
    sound_stays_with_the_pictures(&[
        ("late.mp4", "aac", "mp4"),
        ("late.mp4", "opus", "mkv"),
        ("vorbis.webm", "opus", "mp4"),
        ("vorbis.webm", "aac", "mov"),
        ("open.ts", "flac", "mp4"),
        ("open.ts", "opus", "webm"),
        ("edit.mp4", "copy", "mkv"),
    ]);
}

fn sound_stays_with_the_pictures(cases: &[(&str, &str, &str)]) {
    let world = World::new();
    for &(name, audio, container) in cases {
        let job = world.job(
            &world.made(name),
            &quick(&[("audio", audio), ("container", container)]),
        );
        same_sound(&job, "a:0");
        for at in [0.0, 3.0] {
            let ours = tone(&world, &job.output, "a:0", at);
            let theirs = tone(&world, &job.reference_file(), "a:0", at);
            // A frame of the film is 1/24 s: 2000 samples.
            let off = ours.0.abs_diff(theirs.0).max(ours.1.abs_diff(theirs.1));
            assert!(
                off <= 2000,
                "{name} {audio} {container} at {at}: {ours:?} {theirs:?}"
            );
        }
    }
}

/// Sound with a pause of 1.2 s from the second second on, in a film of six.
fn pausing(world: &World, codec: &str) -> Clip {
    world.made_by(
        &format!("{codec}.mkv"),
        &format!("-f lavfi -i testsrc2=size=160x90:rate=24:duration=6 -f lavfi -i sine=frequency=440:duration=6:sample_rate=48000 -map 0 -map 1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 24 -af aselect='lt(t\\,2)+gt(t\\,3.2)' -strict experimental -c:a {codec}"),
    )
}

#[test]
fn a_pause_in_the_sound_stays_where_it_is() {
    pauses_stay(&[
        (
            "libopus",
            &[
                ("aac", "mp4"),
                ("opus", "mp4"),
                ("opus", "opus"),
                ("copy", "mkv"),
            ],
        ),
        ("libvorbis", &[("copy", "mp4")]),
        ("ac3", &[("copy", "mp4")]),
        ("dca", &[("copy", "mp4")]),
    ]);
}

#[test]
#[ignore = "long: make test-all"]
fn a_pause_in_the_sound_stays_in_more_containers() {
    pauses_stay(&[
        (
            "libopus",
            &[
                ("opus", "mkv"),
                ("opus", "webm"),
                ("flac", "mp4"),
                ("flac", "mkv"),
                ("copy", "mp4"),
                ("copy", "webm"),
            ],
        ),
        (
            "libvorbis",
            &[("aac", "mov"), ("opus", "mp4"), ("copy", "mov")],
        ),
        ("ac3", &[("copy", "mkv")]),
        ("dca", &[("copy", "mov")]),
    ]);
}

/// Codecs of the source, each with sounds and containers of the output.
fn pauses_stay(cases: &[(&str, &[(&str, &str)])]) {
    let world = World::new();
    for &(codec, pairs) in cases {
        let clip = pausing(&world, codec);
        for (audio, container) in pairs {
            let words = [("audio", *audio), ("container", *container)];
            let spec = match *container {
                "opus" => spec(&words),
                _ => quick(&words),
            };
            let job = world.job(&clip, &spec);
            same_sound(&job, "a:0");
            let words = format!("{codec} {audio} {container}");
            let (base, ours) = world.packet_times(&job.output, "a:0");
            let (_, theirs) = world.packet_times(&job.reference_file(), "a:0");
            let (num, den) = base.split_once('/').unwrap();
            let (num, den): (u64, u64) = (num.parse().unwrap(), den.parse().unwrap());
            let pause = |times: &[i64]| {
                let steps = times.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
                steps.max().unwrap() * num * 1000 / den
            };
            assert!(pause(&theirs) > 1000, "{words}: {}", pause(&theirs));
            for (at, (own, their)) in ours.iter().zip(&theirs).enumerate() {
                let off_us = own.abs_diff(*their) * num * 1_000_000 / den;
                assert!(off_us <= 5_000, "{words}: {off_us} µs at packet {at}");
            }
            // A seek into the pause, and the tone's return.
            if *container != "opus" {
                let ours = tone(&world, &job.output, "a:0", 2.5);
                let theirs = tone(&world, &job.reference_file(), "a:0", 2.5);
                let off = ours.0.abs_diff(theirs.0).max(ours.1.abs_diff(theirs.1));
                assert!(off <= 2000, "{words}: {ours:?} {theirs:?}");
            }
        }
    }
}

#[test]
#[ignore = "long: make test-all"]
fn real_sound_keeps_its_times() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    for (name, words) in [
        (
            "timestamps/nonzero-start-time.webm",
            &[("audio", "opus"), ("container", "mkv")][..],
        ),
        (
            "timestamps/bear-640x360_ptswraparound.ts",
            &[("audio", "opus"), ("container", "mp4")],
        ),
        (
            "mp4_features/edit_list_positive_shift.mp4",
            &[("audio", "copy"), ("width", "320")],
        ),
        (
            "mp4_features/nasa_13013.mp4",
            &[("audio", "aac"), ("container", "mov")],
        ),
        ("audio_only/sample_audio_only.mp4", &[("container", "m4a")]),
        ("audio_only/bear.flac", &[("container", "opus")]),
        ("corrupt/two_first_slice.mp4", &[("width", "320")]),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join(name),
        };
        let job = world.job(
            &clip,
            &if words.contains(&("container", "m4a")) || words.contains(&("container", "opus")) {
                spec(words)
            } else {
                quick(words)
            },
        );
        same_streams(&job);
        for track in 0..job.index.audio_tracks() {
            same_sound(&job, &format!("a:{track}"));
        }
        if name.starts_with("corrupt") {
            assert!(job.note.contains("audio track 1"), "{}", job.note);
        }
    }
}
