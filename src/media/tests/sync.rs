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
pub(crate) fn picture(seconds: u32) -> String {
    format!(
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration={seconds},drawbox=x=0:y=0:w=80:h=90:color=white:t=fill:enable=lt(mod(t\\,1)\\,0.08)"
    )
}

/// Its beeps.
pub(crate) fn beeps(seconds: u32) -> String {
    format!(
        "-f lavfi -i aevalsrc=if(lt(mod(t\\,1)\\,0.08)\\,0.7*sin(2*PI*1000*t)):s=48000:d={seconds}"
    )
}

pub(crate) const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 25";

/// Where an output flashes and beeps, in its seconds.
pub(crate) fn flashes_and_beeps(world: &World, path: &Path) -> (Vec<f64>, Vec<f64>) {
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
pub(crate) fn joined(world: &World, name: &str, parts: &[Clip]) -> Clip {
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

#[test]
fn sound_is_copied_out_of_transport_streams() {
    let world = World::new();
    let (picture, beeps) = (picture(3), beeps(3));
    let clip = world.made_by("adts.ts", &format!("{picture} {beeps} {H264} -c:a aac"));
    for container in ["mp4", "mov", "mkv"] {
        let words = [
            ("preset", "ultrafast"),
            ("audio", "copy"),
            ("container", container),
        ];
        let job = world.job(&clip, &spec(&words));
        same_sound(&job, "a:0");
        in_sync(&job, 3);
    }
}

#[test]
fn a_copy_whose_sample_rate_changes_is_refused_before_anything_is_encoded() {
    let world = World::new();
    let part = |name: &str, from: u32, rate: u32| {
        let (picture, beeps) = (picture(6), beeps(6));
        world.made_by(
            name,
            &format!("{picture} {beeps} {H264} -c:a aac -ar {rate} -output_ts_offset {from}"),
        )
    };
    let parts = [part("one.ts", 0, 44_100), part("two.ts", 6, 48_000)];
    let clip = joined(&world, "rates.ts", &parts);
    let Err(error) = world.try_job(&clip, &spec(&[("audio", "copy")])) else {
        panic!("copied")
    };
    assert_eq!(
        (error.kind(), error.class()),
        ("audio-misfit", Class::Final)
    );
    assert!(error.to_string().contains("sample rate changes"), "{error}");
    let job = world.job(&clip, &spec(&[("preset", "ultrafast")]));
    assert!(holds(&job, "sound-and-pictures-by-one-clock"));
    assert_eq!(
        world.packet_times(&job.output, "v:0"),
        world.packet_times(&job.reference_file(), "v:0")
    );
}

/// Duration of the first audio track in its own ticks.
fn audio_ticks(world: &World, path: &Path) -> i64 {
    let shown = world.shown(path, "stream=codec_type,duration_ts");
    let mut streams = shown["streams"].as_array().unwrap().iter();
    let own = streams.find(|own| own["codec_type"] == "audio").unwrap();
    own["duration_ts"].as_i64().unwrap()
}

#[test]
fn sound_in_mp4_ends_where_the_references_does() {
    let world = World::new();
    let (picture, x264) = (picture(2), H264);
    for (name, sound, words) in [
        ("48k.mkv", "sine=duration=2.345:sample_rate=48000", &[][..]),
        ("8k.mkv", "sine=duration=2.5:sample_rate=8000", &[]),
        (
            "8k.mkv",
            "sine=duration=2.5:sample_rate=8000",
            &[("container", "mov")],
        ),
        (
            "8k.mkv",
            "sine=duration=2.5:sample_rate=8000",
            &[("container", "m4a")],
        ),
        (
            "8k.mp4",
            "sine=duration=2.5:sample_rate=8000",
            &[("audio", "copy")],
        ),
    ] {
        let audio = if name.ends_with("mp4") {
            "aac"
        } else {
            "pcm_s16le"
        };
        let options = format!("{picture} -f lavfi -i {sound} {x264} -c:a {audio}");
        let clip = world.made_by(name, &options);
        let mut all = words.to_vec();
        if !words.contains(&("container", "m4a")) {
            all.push(("preset", "ultrafast"));
        }
        let job = world.job(&clip, &spec(&all));
        let (ours, theirs) = (
            audio_ticks(&world, &job.output),
            audio_ticks(&world, &job.reference_file()),
        );
        assert_eq!(ours, theirs, "{name} {words:?}");
    }
}

#[test]
fn a_clock_too_fine_is_refused_and_one_of_nanoseconds_is_not() {
    let world = World::new();
    let clip = |ticks: u32| {
        world.made_by(
            "fine.mp4",
            &format!("{} {H264} -video_track_timescale {ticks}", picture(3)),
        )
    };
    let spec = spec(&[("preset", "fast"), ("shard_ms", "1000")]);
    let Err(error) = world.try_job(&clip(2_147_483_647), &spec) else {
        panic!("taken")
    };
    assert_eq!((error.kind(), error.class()), ("over-limit", Class::Final));
    let job = world.job(&clip(1_000_000_000), &spec);
    assert_eq!(
        world.packet_times(&job.output, "v:0"),
        world.packet_times(&job.reference_file(), "v:0")
    );
}

/// An Ogg page with one packet, or none.
fn ogg_page(serial: u32, number: u32, flags: u8, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(0u64.to_le_bytes());
    page.extend([serial, number, 0].map(u32::to_le_bytes).concat());
    page.push(u8::from(!packet.is_empty()));
    page.extend((!packet.is_empty()).then_some(packet.len() as u8));
    page.extend(packet);
    let sum = page.iter().fold(0u32, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            (sum << 1) ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

/// Gives an Ogg file a skeleton that says from which frame on its pictures go. Its
/// demuxer then gives the first picture that time, and no decode time.
fn with_skeleton(film: &[u8], from_frame: u64) -> Vec<u8> {
    let mut pages = Vec::new();
    let mut rest = film;
    while !rest.is_empty() {
        let segments = &rest[27..27 + usize::from(rest[26])];
        let body: usize = segments.iter().map(|bytes| usize::from(*bytes)).sum();
        let (page, after) = rest.split_at(27 + segments.len() + body);
        pages.push(page);
        rest = after;
    }
    let (first, others): (Vec<&[u8]>, Vec<&[u8]>) = pages.iter().partition(|page| page[5] & 2 != 0);
    let (heads, data): (Vec<&[u8]>, Vec<&[u8]>) =
        others.iter().partition(|page| page[6..14] == [0; 8]);
    let pictures = first
        .iter()
        .find(|page| page[29..35] == *b"theora")
        .unwrap();
    let mut head = b"fishead\0\x03\0\0\0".to_vec();
    head.extend([0u64, 1, 0, 1].map(u64::to_le_bytes).concat());
    head.resize(64, 0);
    let mut bone = b"fisbone\0\x2c\0\0\0".to_vec();
    bone.extend(&pictures[14..18]);
    bone.extend(3u32.to_le_bytes());
    bone.extend([15, 1, from_frame << 6].map(u64::to_le_bytes).concat());
    bone.extend([0, 0, 0, 0, 6, 0, 0, 0]);
    [
        ogg_page(77, 0, 2, &head),
        first.concat(),
        ogg_page(77, 1, 0, &bone),
        heads.concat(),
        ogg_page(77, 2, 4, b""),
        data.concat(),
    ]
    .concat()
}

#[test]
fn an_ogg_film_that_begins_late_has_its_pictures_beside_the_sound() {
    let world = World::new();
    let picture = picture(3).replace("rate=25", "rate=15");
    let whole = world.made_by(
        "late.ogv",
        &format!(
            "{picture} {} -c:v libtheora -g 15 -c:a libvorbis -output_ts_offset 604",
            beeps(3)
        ),
    );
    let bytes = with_skeleton(&std::fs::read(&whole.path).unwrap(), 604 * 15);
    let clip = world.written("skeleton.ogv", bytes);
    for spec in &outputs()[..2] {
        let job = world.job(&clip, spec);
        in_sync(&job, 3);
        let (base, times) = world.packet_times(&job.output, "v:0");
        let ticks: i64 = base.split_once('/').unwrap().1.parse().unwrap();
        assert!(times[0] < ticks / 50 && times[44] < 3 * ticks, "{times:?}");
    }
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
        ("flvcat.flv", &[]),
        ("flvcat.flv", &[("audio", "copy"), ("container", "mkv")]),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join("cases").join(name),
        };
        let mut all = vec![("preset", "ultrafast")];
        all.extend(words);
        let job = world.job(&clip, &spec(&all));
        match name {
            // Its packets come unevenly, and the last one keeps its padding.
            "achange_rate.ts" => {
                let (_, ours) = world.packet_times(&job.output, "a:0");
                let (_, theirs) = world.packet_times(&job.reference_file(), "a:0");
                assert_eq!(ours[..theirs.len()], theirs[..], "{name}");
                assert!(ours.len() - theirs.len() <= 1, "{name}");
            }
            _ => same_sound(&job, "a:0"),
        }
        assert_eq!(
            world.packet_times(&job.output, "v:0"),
            world.packet_times(&job.reference_file(), "v:0"),
            "{name} {words:?}"
        );
    }
    for (name, kind) in [
        ("flvreset.flv", "clock-restarts"),
        ("achange_rate.ts", "audio-misfit"),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join("cases").join(name),
        };
        let Err(error) = world.try_job(&clip, &spec(&[("audio", "copy")])) else {
            panic!("{name} was taken")
        };
        assert_eq!(error.kind(), kind, "{name}");
    }
}
