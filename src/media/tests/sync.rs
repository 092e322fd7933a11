//! Pictures against sound, and both against the reference, where a source's clock
//! leaps, restarts, or where a stream begins late. The films made here flash at
//! every whole second, and a beep sounds with it, so that an output is measured
//! by what is seen and heard.

use std::{path::Path, process::Command};

use crate::{
    tracks::same_sound,
    world::{self, Clip, Job, World, spec},
};
use reelraft_media::Class;
use reelraft_model::spec::Spec;

/// A film of some seconds: the left half is white for 80 ms from each second on.
fn picture(seconds: u32) -> String {
    format!(
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration={seconds},drawbox=x=0:y=0:w=80:h=90:color=white:t=fill:enable=lt(mod(t\\,1)\\,0.08)"
    )
}

/// Its beeps.
fn beeps(seconds: u32) -> String {
    format!(
        "-f lavfi -i aevalsrc=if(lt(mod(t\\,1)\\,0.08)\\,0.7*sin(2*PI*1000*t)):s=48000:d={seconds}"
    )
}

const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 25";

/// Where an output flashes and beeps, in its seconds.
fn flashes_and_beeps(world: &World, path: &Path) -> (Vec<f64>, Vec<f64>) {
    let out = Command::new(&world.tools.ffmpeg)
        .args(["-nostdin", "-hide_banner", "-v", "info", "-i"])
        .arg(format!("file:{}", path.display()))
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf"])
        .arg("crop=iw/4:ih:0:0,scale=1:1:flags=area,format=gray,showinfo")
        .args(["-f", "null", "-", "-map", "0:a:0", "-af"])
        .arg("aresample=16000:async=1:first_pts=0,aformat=channel_layouts=mono:sample_fmts=s16")
        .args(["-f", "s16le", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let field = |line: &str, name: &str| -> Option<f64> {
        let rest = line.split_once(name)?.1.trim_start();
        rest.split([' ', ']']).next()?.parse().ok()
    };
    let frames = said.lines().filter_map(|line| {
        let white = field(line, "mean:[").or(field(line, "mean: ["))?;
        Some((field(line, "pts_time:")?, white > 200.0))
    });
    let mut flashes = Vec::new();
    let mut before = false;
    for (time, white) in frames {
        if white && !before {
            flashes.push(time);
        }
        before = white;
    }
    let mut beeps = Vec::new();
    let mut quiet = 4_800;
    for (at, pair) in out.stdout.chunks_exact(2).enumerate() {
        let loud = i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 4_000;
        if loud && quiet >= 4_800 {
            beeps.push(at as f64 / 16_000.0);
        }
        quiet = if loud { 0 } else { quiet + 1 };
    }
    (flashes, beeps)
}

/// Each flash of the output comes within 40 ms of its beep, and as long after the
/// first as the reference's do.
fn in_sync(job: &Job<'_>, flashes: usize) {
    let words = format!("{} {:?}", job.clip.name, job.spec);
    let (seen, heard) = flashes_and_beeps(job.world, &job.output);
    assert_eq!(seen.len(), flashes, "{words}: {seen:?}");
    assert_eq!(heard.len(), flashes, "{words}: {heard:?}");
    for (flash, beep) in seen.iter().zip(&heard) {
        assert!((flash - beep).abs() <= 0.04, "{words}: {seen:?} {heard:?}");
    }
    let (right, _) = flashes_and_beeps(job.world, &job.reference_file());
    assert_eq!(right.len(), flashes, "{words}: {right:?}");
    for (flash, right_flash) in seen.iter().zip(&right) {
        let off = (flash - seen[0]) - (right_flash - right[0]);
        assert!(off.abs() <= 0.002, "{words}: {seen:?} {right:?}");
    }
}

fn holds(job: &Job<'_>, check: &str) -> bool {
    let checks = job.proof["checks"].as_array().unwrap();
    checks.iter().any(|own| own["name"] == check)
}

/// Parts of a film, one after the other in one file.
fn joined(world: &World, name: &str, parts: &[Clip]) -> Clip {
    let parts = parts.iter().map(|part| std::fs::read(&part.path).unwrap());
    world.written(name, parts.collect::<Vec<_>>().concat())
}

/// The outputs that each film is made into.
fn outputs() -> [Spec; 3] {
    [
        spec(&[("preset", "ultrafast"), ("shard_ms", "1000")]),
        spec(&[
            ("preset", "ultrafast"),
            ("container", "mkv"),
            ("audio", "opus"),
            ("shard_ms", "1000"),
        ]),
        spec(&[
            ("codec", "vp9"),
            ("preset", "8"),
            ("container", "webm"),
            ("audio", "opus"),
            ("shard_ms", "1000"),
        ]),
    ]
}

/// A transport stream whose clock goes on 40 s later.
fn leaping(world: &World) -> Clip {
    let part = |name: &str, from: u32| {
        let (picture, beeps) = (picture(3), beeps(3));
        let options = format!("{picture} {beeps} {H264} -c:a aac -output_ts_offset {from}");
        world.made_by(name, &options)
    };
    joined(world, "leap.ts", &[part("one.ts", 0), part("two.ts", 43)])
}

#[test]
fn a_clock_that_leaps_is_evened_out_for_sound_and_pictures_alike() {
    let world = World::new();
    let clip = leaping(&world);
    for spec in outputs() {
        let job = world.job(&clip, &spec);
        assert!(job.note.contains("clock leaps"), "{}", job.note);
        assert!(holds(&job, "sound-and-pictures-by-one-clock"));
        assert!(holds(&job, "audio-beside-pictures"));
        in_sync(&job, 6);
    }
}

#[test]
fn a_clock_that_restarts_again_and_again_keeps_the_sound_in_place() {
    let world = World::new();
    let (picture, beeps) = (picture(1), beeps(1));
    let part = world.made_by(
        "part.vob",
        &format!("{picture} {beeps} -c:v mpeg2video -g 12 -bf 2 -q:v 4 -c:a ac3 -f vob"),
    );
    let clip = joined(&world, "restarts.vob", &vec![part; 6]);
    for spec in outputs() {
        let job = world.job(&clip, &spec);
        assert!(job.note.contains("clock leaps"), "{}", job.note);
        in_sync(&job, 6);
        let ours = world.shown(&job.output, "format=duration");
        let theirs = world.shown(&job.reference_file(), "format=duration");
        let seconds = |shown: &serde_json::Value| -> f64 {
            shown["format"]["duration"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        let (ours, theirs) = (seconds(&ours), seconds(&theirs));
        assert!((ours - theirs).abs() < 0.03, "{ours} {theirs}");
    }
}

#[test]
fn a_stream_that_begins_late_is_found_and_kept() {
    let world = World::new();
    for (name, inputs) in [
        (
            "latesound.ts",
            format!("{} -itsoffset 10 {}", picture(12), beeps(2)),
        ),
        (
            "latepicture.ts",
            format!("-itsoffset 10 {} {}", picture(2), beeps(12)),
        ),
    ] {
        let clip = world.made_by(name, &format!("{inputs} {H264} -c:a aac -b:a 32k"));
        let job = world.job(&clip, &spec(&[("preset", "ultrafast"), ("width", "80")]));
        assert_eq!(job.index.audio_tracks(), 1, "{}", job.note);
        same_sound(&job, "a:0");
        assert_eq!(
            world.packet_times(&job.output, "v:0"),
            world.packet_times(&job.reference_file(), "v:0"),
            "{name}"
        );
        // Both tell the same seconds, so where both are there they agree.
        let (seen, heard) = flashes_and_beeps(&world, &job.output);
        for flash in &seen[seen.len() - 1..] {
            assert!(
                heard.iter().any(|beep| (flash - beep).abs() <= 0.04),
                "{name}: {seen:?} {heard:?}"
            );
        }
    }
}

#[test]
fn a_film_whose_clock_begins_anew_is_refused_before_anything_is_encoded() {
    let world = World::new();
    let (picture, beeps) = (picture(4), beeps(4));
    let part = world.made_by("part.flv", &format!("{picture} {beeps} {H264} -c:a aac"));
    // Without the second part's header.
    let mut bytes = std::fs::read(&part.path).unwrap();
    bytes.extend_from_within(13..);
    let clip = world.written("anew.flv", bytes);
    let Err(error) = world.try_job(&clip, &spec(&[("preset", "ultrafast")])) else {
        panic!("taken")
    };
    assert_eq!(
        (error.kind(), error.class()),
        ("clock-restarts", Class::Final)
    );
}

/// Files that others have met.
#[test]
fn reported_films_come_out_in_sync() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    for (name, words) in [
        ("min_tsjump.ts", &[][..]),
        ("min_tsjump.ts", &[("audio", "copy"), ("container", "mkv")]),
        ("min_psreset.vob", &[]),
        (
            "min_psreset.vob",
            &[("audio", "opus"), ("container", "mkv")],
        ),
        ("min_latevideo.ts", &[]),
        ("min_lateaudio.ts", &[]),
        ("achange_rate.ts", &[]),
        ("achange_rate.ts", &[("audio", "copy")]),
        (
            "achange_rate.ts",
            &[("audio", "copy"), ("container", "mkv")],
        ),
        ("flvcat.flv", &[]),
        ("flvcat.flv", &[("audio", "copy"), ("container", "mkv")]),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join("cases").join(name),
        };
        let mut all = vec![("preset", "ultrafast")];
        all.extend(words);
        let job = match world.try_job(&clip, &spec(&all)) {
            Ok(job) => job,
            Err(error) => {
                eprintln!("XX {name} {words:?} {}: {error}", error.kind());
                continue;
            }
        };
        let r = job.reference_file();
        for stream in ["v:0", "a:0"] {
            let (b, o) = world.packet_times(&job.output, stream);
            let (b2, t) = world.packet_times(&r, stream);
            eprintln!(
                "XX {name} {words:?} {stream} {b} {} {:?}..{:?} ref {b2} {} {:?}..{:?} note {}",
                o.len(),
                o.first(),
                o.last(),
                t.len(),
                t.first(),
                t.last(),
                job.note
            );
        }
    }
}
