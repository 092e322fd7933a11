//! Subtitles in MP4, which shows one cue of a track at a time: none is lost and
//! none is misplaced.

use std::{path::Path, process::Command};

use crate::world::{self, Clip, World, spec};

/// How long each line is shown, in milliseconds, and when first.
fn shown(world: &World, path: &Path, track: usize) -> Vec<(String, u64, u64)> {
    let out = Command::new(&world.tools.ffmpeg)
        .args(["-nostdin", "-v", "error", "-copyts", "-i"])
        .arg(path)
        .args(["-map", &format!("0:s:{track}"), "-f", "srt", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let ms = |clock: &str| {
        let digits: Vec<u64> = clock
            .split([':', ','])
            .map(|part| part.trim().parse().unwrap())
            .collect();
        ((digits[0] * 60 + digits[1]) * 60 + digits[2]) * 1_000 + digits[3]
    };
    let mut lines: Vec<(String, u64, u64)> = Vec::new();
    for cue in text.split("\n\n") {
        let mut own = cue.trim().lines().skip(1);
        let Some(times) = own.next() else { continue };
        let (from, to) = times.split_once(" --> ").unwrap();
        let (from, to) = (ms(from), ms(to));
        for line in own {
            let bare = line.split('>').map(|part| part.split('<').next().unwrap());
            let bare = bare.collect::<String>();
            match lines.iter_mut().find(|known| known.0 == bare) {
                Some(known) => known.2 += to - from,
                None => lines.push((bare, from, to - from)),
            }
        }
    }
    lines.retain(|line| !line.0.trim().is_empty() && line.0 != "\\h");
    lines
}

fn line(text: &str, from: u64, for_ms: u64) -> (String, u64, u64) {
    (text.to_string(), from, for_ms)
}

fn quick(container: &str) -> reelraft_model::spec::Spec {
    spec(&[("preset", "ultrafast"), ("container", container)])
}

const AT_ONCE: &str = "1\n00:00:01,000 --> 00:00:03,000\none\n\n2\n00:00:01,000 --> 00:00:03,000\n<i>two</i>\n\n3\n00:00:02,000 --> 00:00:04,000\nthree\n\n";
const LONG: &str = "1\n00:00:01,000 --> 01:00:01,000\nsign\n\n2\n01:00:02,000 --> 01:00:03,000\nafter\n\n3\n03:00:00,000 --> 03:00:01,000\nlate\n\n";
const PLAIN: &str = "1\n00:00:01,000 --> 00:00:02,000\nplain\n\n";

#[test]
fn cues_shown_together_are_all_shown() {
    let world = World::new();
    world.written("once.srt", AT_ONCE);
    world.written("plain.srt", PLAIN);
    let clip = world.made_from(
        "once.mkv",
        "-f lavfi -i testsrc2=size=64x64:rate=10:duration=5 -i once.srt -i plain.srt -map 0 -map 1 -map 2 -c:v mpeg4 -c:s srt",
    );
    for container in ["mp4", "mov"] {
        let job = world.job(&clip, &quick(container));
        let wanted = [
            line("one", 1_000, 2_000),
            line("two", 1_000, 2_000),
            line("three", 2_000, 2_000),
        ];
        assert_eq!(shown(&world, &job.output, 0), wanted, "{container}");
        let plain = [line("plain", 1_000, 1_000)];
        assert_eq!(shown(&world, &job.output, 1), plain, "{container}");
    }
}

#[test]
fn long_cues_and_late_ones_stay_where_they_are() {
    let world = World::new();
    world.written("long.srt", LONG);
    world.written("plain.srt", PLAIN);
    let clip = world.made_from(
        "long.mkv",
        "-f lavfi -i testsrc2=size=64x64:rate=10:duration=5 -i long.srt -i plain.srt -map 0 -map 1 -map 2 -c:v mpeg4 -c:s srt",
    );
    let job = world.job(&clip, &quick("mp4"));
    let wanted = [
        line("sign", 1_000, 3_600_000),
        line("after", 3_602_000, 1_000),
        line("late", 10_800_000, 1_000),
    ];
    assert_eq!(shown(&world, &job.output, 0), wanted);
    let plain = [line("plain", 1_000, 1_000)];
    assert_eq!(shown(&world, &job.output, 1), plain);
    // Matroska keeps them as they are.
    let job = world.job(&clip, &quick("mkv"));
    assert_eq!(shown(&world, &job.output, 0), wanted);
}

#[test]
fn a_real_film_with_cues_at_one_time_shows_them() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let clip = Clip {
        name: "subs.mkv".into(),
        path: real.join("cases/subs.mkv"),
    };
    let job = world.job(&clip, &quick("mp4"));
    let lines = shown(&world, &job.output, 0);
    for (text, for_ms) in [
        ("one a", 2_000),
        ("one b", 2_000),
        ("sign over both", 4_000),
        ("overlaps", 2_000),
        ("no length", 1_500),
        ("last", 500),
    ] {
        let own = lines.iter().find(|line| line.0 == text);
        let own = own.unwrap_or_else(|| panic!("{text}: {lines:?}"));
        assert!(own.2.abs_diff(for_ms) <= 2, "{own:?}");
    }
}
