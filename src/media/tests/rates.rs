//! What the pictures may take, and where their keyframes lie, over whole films.

use std::path::Path;

use reelraft_model::spec::{EncoderChoice, Spec};

use crate::world::{World, spec};

/// Noise, of which no encoder can make little.
const HARD: &str = "-f lavfi -i testsrc2=size=192x108:rate=24:duration=6 -vf noise=alls=60:allf=t \
                    -c:v libx264 -preset ultrafast -crf 12 -g 24 -pix_fmt yuv420p";

const BITS_A_SECOND: f64 = 200_000.0;

/// When each packet of the pictures is decoded, in seconds, and its bits.
fn packets(world: &World, path: &Path) -> Vec<(f64, f64)> {
    let shown = world.shown(path, "packet=codec_type,dts_time,size");
    let packets = shown["packets"].as_array().unwrap().iter();
    let videos = packets.filter(|packet| packet["codec_type"] == "video");
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
    videos
        .map(|packet| (number(&packet["dts_time"]), 8.0 * number(&packet["size"])))
        .collect()
}

/// By how many bits the worst of all windows exceeds what fills up at a rate and was
/// full before.
fn excess(packets: &[(f64, f64)], bufsize: f64) -> f64 {
    let mut worst = f64::MIN;
    for (first, (begins, _)) in packets.iter().enumerate() {
        let mut taken = 0.0;
        for (time, bits) in &packets[first..] {
            taken += bits;
            worst = worst.max(taken - bufsize - BITS_A_SECOND * (time - begins));
        }
    }
    worst
}

#[test]
fn a_cap_holds_over_joints() {
    let world = World::new();
    let clip = world.made_by("hard.mp4", HARD);
    for (codec, preset, container) in [
        ("h264", "veryfast", "mp4"),
        ("hevc", "ultrafast", "mp4"),
        ("vp9", "8", "webm"),
        ("av1", "12", "mp4"),
    ] {
        let words = [
            ("codec", codec),
            ("preset", preset),
            ("container", container),
        ];
        let spec = Spec {
            crf: 20,
            encoder_choice: Some(EncoderChoice {
                maxrate: BITS_A_SECOND as u32,
                bufsize: BITS_A_SECOND as u32,
                ..Default::default()
            }),
            shard_ms: 2_000,
            ..spec(&words)
        };
        let job = world.job(&clip, &spec);
        assert!(job.shards > 2 && !job.single, "{}", job.note);
        let packets = packets(&world, &job.output);
        assert_eq!(packets.len(), 144, "{codec}");
        let excess = excess(&packets, BITS_A_SECOND);
        assert!(excess <= 0.0, "{codec} {preset}: {excess} bits too many");
        let taken: f64 = packets.iter().map(|(_, bits)| bits).sum();
        let seconds = packets.len() as f64 / 24.0;
        let used = taken / seconds / BITS_A_SECOND;
        println!("{codec} {preset}: {used:.2} of the rate, {excess:.0} bits from its limit");
        assert!(used > 0.4, "{codec} {preset} takes {used} of its rate");
    }
}

/// Keyframes lie where shards begin and at even times, and nowhere else where the
/// encoder wants none.
#[test]
fn keyframes_come_at_even_times() {
    let world = World::new();
    let still =
        "-f lavfi -i color=size=128x96:rate=24:duration=6 -c:v libx264 -g 40 -sc_threshold 0";
    let clip = world.made_by("still.mp4", still);
    for (codec, container) in [("h264", "mp4"), ("hevc", "mp4"), ("vp9", "webm")] {
        let words = [("codec", codec), ("container", container)];
        let preset = if codec == "vp9" { "8" } else { "veryfast" };
        let spec = Spec {
            encoder_choice: Some(EncoderChoice {
                keyint_milli: 1_000,
                ..Default::default()
            }),
            shard_ms: 3_000,
            preset: preset.into(),
            ..spec(&words)
        };
        let job = world.job(&clip, &spec);
        assert!(job.shards == 2 && !job.single, "{}", job.note);
        let keys = |path: &Path| -> Vec<i64> {
            let shown = world.shown(path, "packet=pts_time,flags");
            let packets = shown["packets"].as_array().unwrap().iter();
            let keys = packets.filter(|packet| packet["flags"].as_str().unwrap().contains('K'));
            let seconds = keys.map(|packet| packet["pts_time"].as_str().unwrap());
            let frames = seconds.map(|time| (time.parse::<f64>().unwrap() * 24.0).round() as i64);
            frames.collect()
        };
        // The second shard begins with the source's keyframe at 80.
        let wanted = [0, 24, 48, 72, 80, 96, 120];
        assert_eq!(keys(&job.output), wanted, "{codec}");
        assert_eq!(keys(&job.reference_file()), wanted, "{codec}");
    }
}
