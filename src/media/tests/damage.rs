//! Damaged sources: made as far as the reference makes them, with every
//! complaint of the decoder counted once, or refused where that is asked for.

use crate::{
    builds::versions,
    world::{self, Clip, World, server::Server},
};
use reelraft_media::Class;
use reelraft_model::spec::Spec;

/// The clip with a run of bytes overwritten at each of these places, which
/// are in hundredths of the file.
fn damaged(world: &World, clip: &Clip, places: &[usize]) -> Clip {
    damaged_of(world, clip, 100, places.iter().copied())
}

/// The same with places that are in `parts` of the file.
fn damaged_of(
    world: &World,
    clip: &Clip,
    parts: usize,
    places: impl Iterator<Item = usize>,
) -> Clip {
    let mut bytes = std::fs::read(&clip.path).unwrap();
    for place in places {
        let at = bytes.len() * place / parts;
        for (number, byte) in bytes[at..at + 40].iter_mut().enumerate() {
            *byte = (number * 89 + 7) as u8;
        }
    }
    let (stem, ending) = clip.name.split_once('.').unwrap();
    world.written(&format!("{stem}-damaged.{ending}"), &bytes)
}

/// How often one plain pass over the video complains.
fn complaints(world: &World, clip: &Clip) -> u64 {
    let out = std::process::Command::new(&world.tools.ffmpeg)
        .args([
            "-nostdin",
            "-v",
            "repeat+level+error",
            "-threads",
            "1",
            "-i",
        ])
        .arg(&clip.path)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough"])
        .args(["-c:v", "wrapped_avframe", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    said.lines()
        .filter(|line| line.contains("[error] ") || line.contains("[fatal] "))
        .count() as u64
}

#[test]
fn a_damaged_film_is_made_as_far_as_one_pass_makes_it() {
    let world = World::new();
    for (name, places) in [
        ("h264.mp4", &[45, 71][..]),
        ("open.ts", &[20, 50, 80]),
        ("mpeg2.ts", &[52]),
        ("mpeg4.avi", &[40, 41, 80]),
    ] {
        let clip = damaged(&world, &world.made(name), places);
        let spec = Spec {
            shard_ms: 1000,
            ..world::lossless()
        };
        let job = world.job(&clip, &spec);
        assert_eq!(job.frames(), job.reference_frames(), "{name}");
        let total = job.proof["complaints_total"].as_u64().unwrap();
        println!("{name}: {total} complaints in {} shards", job.shards);
        assert!(total > 0, "{name}: nothing was broken");
        assert_eq!(total, complaints(&world, &clip), "{name}");
        let first = job.proof["shards"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|shard| shard["complaints"][0].as_str())
            .unwrap();
        assert!(first.starts_with("after "), "{first}");

        let strict = Spec {
            strict: true,
            ..spec
        };
        let refused = world.try_job(&clip, &strict).err().unwrap();
        assert_eq!(
            (refused.kind(), refused.class()),
            ("damaged-source", Class::Final)
        );
        assert!(refused.to_string().contains(first), "{refused}");
    }
}

/// Since ffmpeg 7 demuxer, decoder and filters are threads: what is written
/// down of a damaged film must not depend on when each had its turn.
#[test]
#[ignore = "long: make test-all"]
fn complaints_are_the_same_however_busy_the_machine_is() {
    for (version, tools) in versions() {
        let world = World::with(tools);
        for (name, places) in [
            ("h264.mp4", &[15, 22, 45, 52, 71, 83][..]),
            ("open.ts", &[15, 20, 36, 50, 66, 80]),
        ] {
            let clip = damaged(&world, &world.made(name), places);
            let spec = Spec {
                shard_ms: 1000,
                ..world::lossless()
            };
            let made = || match world.try_job(&clip, &spec) {
                Err(error) if version == "7.0" && error.kind() == "ffmpeg-crashed" => None,
                made => made
                    .map(|job| Some((job.note.clone(), job.proof.clone())))
                    .unwrap(),
            };
            let first = made();
            let total = first.as_ref().map(|(_, proof)| &proof["complaints_total"]);
            assert!(total.is_none_or(|total| *total != 0), "{version} {name}");
            // Side by side, they are their own load.
            std::thread::scope(|scope| {
                let others: Vec<_> = (0..5).map(|_| scope.spawn(made)).collect();
                for other in others {
                    assert_eq!(other.join().unwrap(), first, "{version} {name}");
                }
            });
        }
    }
}

/// Damage inside a shard is not looked for before it: the work for a damaged
/// film grows with its length. `DAMAGED_SECONDS` tries another one.
#[test]
fn a_film_with_an_error_a_second_is_read_once() {
    let world = World::new();
    let asked = std::env::var("DAMAGED_SECONDS").ok();
    let seconds: usize = asked.map_or(40, |seconds| seconds.parse().unwrap());
    let sound = world.made_by(
        "long.ts",
        &format!(
            "-f lavfi -i testsrc2=size=160x90:rate=25:duration={seconds} -c:v mpeg2video -g 12 -bf 2 -b:v 1M"
        ),
    );
    let spec = Spec {
        shard_ms: 2000,
        ..world::lossless()
    };
    let served = |clip: &Clip| {
        let server = Server::start(&clip.path, u64::MAX);
        let job = world.try_job_from(server.input(), clip, &spec).unwrap();
        assert!(job.shards >= 12 && !job.single, "{}", job.note);
        (job, server.bytes_served())
    };
    let (_, clean) = served(&sound);
    let parts = seconds.max(100);
    let places = (0..seconds).map(|second| second * parts / seconds);
    let broken = damaged_of(&world, &sound, parts, places);
    let (job, bytes) = served(&broken);
    assert_eq!(job.frames(), job.reference_frames());
    let complaints = job.proof["complaints_total"].as_u64().unwrap();
    assert!(complaints as usize > seconds / 2);
    let shards = job.proof["shards"].as_array().unwrap();
    let tries: u64 = shards
        .iter()
        .map(|one| one["tries"].as_u64().unwrap())
        .sum();
    println!(
        "{seconds} s, {complaints} complaints: {bytes} bytes read instead of {clean}, {tries} tries of {} shards",
        shards.len()
    );
    assert!(
        tries * 10 <= shards.len() as u64 * 11,
        "{tries} tries of {} shards",
        shards.len()
    );
    assert!(bytes * 10 <= clean * 13, "{bytes} bytes instead of {clean}");
    // None was decoded from the film's beginning.
    let lead_in = |shard: &serde_json::Value| shard["lead_in"].as_u64().unwrap();
    assert!(shards.iter().all(|shard| lead_in(shard) < 50));
}

#[test]
fn a_sound_film_is_not_refused_by_strictness() {
    let world = World::new();
    for name in ["h264.mp4", "open.ts", "vfr.mkv"] {
        let spec = Spec {
            shard_ms: 1000,
            strict: true,
            ..world::lossless()
        };
        let job = world.job(&world.made(name), &spec);
        assert!(job.shards >= 4, "{name}");
        assert_eq!(job.proof["complaints_total"], 0, "{name}");
    }
}

/// A file without its end, and one whose table points beyond the file: ffmpeg
/// reads as far as it can and ends well, so that only what the file declares
/// shows that something is missing.
#[test]
fn tracks_that_end_early_are_named() {
    let world = World::new();
    let whole = world.made_by(
        "whole.mp4",
        "-f lavfi -i testsrc2=size=160x90:rate=24:duration=6 -f lavfi -i sine=duration=6 -c:v libx264 -pix_fmt yuv420p -g 24 -c:a aac -movflags +faststart",
    );
    let bytes = std::fs::read(&whole.path).unwrap();
    let cut = world.written("cut.mp4", &bytes[..bytes.len() * 55 / 100]);
    // The audio's table of chunks is the last; half of it points nowhere.
    let table = bytes.windows(4).rposition(|word| word == b"stco").unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let middle = table + 12 + number(table + 8) as usize / 2 * 4;
    let mut astray = bytes.clone();
    astray[middle] = 0x70;
    let astray = world.written("astray.mp4", &astray);
    let spec = Spec {
        shard_ms: 1000,
        ..world::spec(&[("codec", "ffv1"), ("container", "mkv"), ("audio", "flac")])
    };
    for (clip, early) in [
        (&whole, &[][..]),
        (&cut, &["the video", "audio track 1"]),
        (&astray, &["audio track 1"]),
    ] {
        let job = world.job(clip, &spec);
        let notes = job.proof["left_out"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let named: Vec<&str> = notes.iter().map(|note| note.as_str().unwrap()).collect();
        assert_eq!(named.len(), early.len(), "{}: {named:?}", clip.name);
        for (note, track) in named.iter().zip(early) {
            assert!(note.starts_with(&format!("{track} ends after ")), "{note}");
            assert!(job.note.contains(note), "{}", job.note);
        }
        // No track ends because another one does.
        let reference = job.reference_frames();
        assert_eq!(job.frames()[..reference.len()], reference, "{}", clip.name);
        assert!(early.len() == 2 || job.frames().len() == 144);
    }
    refused_where_damage_is(&world, &bytes, &[&cut, &astray], &spec);
}

/// A job that takes no damaged source takes none whose end is missing: cut off, of which a
/// table points astray, or of which zeros came in place of what was to come.
fn refused_where_damage_is(world: &World, whole: &[u8], cut: &[&Clip], spec: &Spec) {
    let zeros = |name: &str, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let third = bytes.len() / 3;
        bytes[third..].fill(0);
        world.written(name, &bytes)
    };
    let part = |name: &str, clip: &Clip, hundredths: usize| {
        let bytes = std::fs::read(&clip.path).unwrap();
        world.written(name, &bytes[..bytes.len() * hundredths / 100])
    };
    let sounding = "-f lavfi -i testsrc2=size=160x90:rate=24:duration=6 -f lavfi -i sine=duration=6 -pix_fmt yuv420p -g 24";
    let mkv = world.made_by("sounding.mkv", &format!("{sounding} -c:v libx264 -c:a aac"));
    let old = world.made_by(
        "old.mp4",
        &format!("{sounding} -c:v mpeg4 -c:a aac -movflags +faststart"),
    );
    let old = std::fs::read(old.path).unwrap();
    let mut damaged = vec![zeros("zeros.mp4", whole), zeros("zeros-old.mp4", &old)];
    for hundredths in [34, 60, 75] {
        damaged.push(part(&format!("cut-{hundredths}.mkv"), &mkv, hundredths));
    }
    let strict = Spec {
        strict: true,
        ..spec.clone()
    };
    for clip in damaged.iter().chain(cut.iter().copied()) {
        let said = match world.try_job(clip, &strict) {
            Ok(job) => panic!("{} was made of {} frames", clip.name, job.frames().len()),
            Err(error) => error,
        };
        println!("{}: {said}", clip.name);
        assert_eq!(said.kind(), "damaged-source", "{}: {said}", clip.name);
    }
    let sound = world.job(&mkv, &strict);
    assert_eq!(sound.frames().len(), 144);
}

/// Units of an H.264 stream as a raw file has them, each with its start code.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(3))
        .filter(|&at| stream[at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&from, to)| &stream[from..to])
        .collect()
}

/// A film that changes its parameters midway and says so only there: whoever
/// begins to decode behind that gives other colours, at the right times and
/// without a complaint.
#[test]
fn pictures_that_depend_on_where_decoding_begins_make_one_shard() {
    let world = World::new();
    let stream = |name: &str, offset: i32| {
        let clip = world.made_by(
            name,
            &format!(
                "-f lavfi -i testsrc2=size=160x90:rate=24:duration=4 -c:v libx264 -pix_fmt yuv420p -g 24 -bf 0 -x264-params chroma-qp-offset={offset}"
            ),
        );
        std::fs::read(clip.path).unwrap()
    };
    let (first, second) = (stream("first.h264", 0), stream("second.h264", 12));
    let mut joined = first;
    let mut told = [false; 32];
    for unit in units(&second) {
        let kind = usize::from(unit[3] & 31);
        // Sequence and picture parameters, once each.
        if !matches!(kind, 7 | 8) || !told[kind] {
            joined.extend(unit);
        }
        told[kind] = true;
    }
    world.written("joined.h264", &joined);
    let clip = world.made_from("changing.mkv", "-framerate 24 -i joined.h264 -c:v copy");
    let spec = Spec {
        shard_ms: 1000,
        ..world::lossless()
    };
    let job = world.job(&clip, &spec);
    assert_eq!(job.frames(), job.reference_frames());
    assert!(job.single, "{} shards", job.shards);
    assert!(job.note.contains("another picture"), "{}", job.note);
}

/// Real broken files: the same frames as the reference, or a refusal by name.
#[test]
#[ignore = "long: make test-all"]
fn real_broken_files_are_made_or_refused_by_name() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    for clip in world::all(&real) {
        if !["corrupt/", "derived/", "fuzzed/"]
            .iter()
            .any(|folder| clip.name.starts_with(folder))
        {
            continue;
        }
        let spec = Spec {
            shard_ms: 1000,
            ..world::lossless()
        };
        match world.try_job(&clip, &spec) {
            Ok(job) => {
                assert_eq!(job.frames(), job.reference_frames(), "{}", clip.name);
                println!(
                    "{}: {} frames, {} complaints, {} shards {}",
                    clip.name,
                    job.proof["frames"]["muxed"],
                    job.proof["complaints_total"],
                    job.shards,
                    job.note
                );
            }
            Err(error) => {
                assert_eq!(error.class(), Class::Final, "{}: {error}", clip.name);
                println!("{}: {}: {error}", clip.name, error.kind());
            }
        }
    }
}

/// Decoders look into copied sound when the output is muxed; what they say of
/// it is the source's matter.
#[test]
fn damaged_sound_is_copied_as_it_is() {
    let world = World::new();
    let clip = world.made_by(
        "noisy.mkv",
        "-f lavfi -i testsrc2=size=64x64:rate=24:duration=2 -f lavfi -i sine=duration=2 -c:v libx264 -preset ultrafast -c:a mp2 -bsf:a noise=amount=1",
    );
    let job = world.job(
        &clip,
        &world::spec(&[("audio", "copy"), ("container", "mkv")]),
    );
    let (_, ours) = world.packet_times(&job.output, "a:0");
    let (_, theirs) = world.packet_times(&job.reference_file(), "a:0");
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs);
}
