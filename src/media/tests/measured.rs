//! Shards are compared with the very frames that their encoder was given: what is
//! encoded without loss equals them in every sample.

use crate::world::{self, World};

/// What the proof of a job says of its shards by a metric, in millionths: the worst
/// frame of each.
fn worst(proof: &serde_json::Value, metric: &str) -> Vec<u64> {
    let shards = proof["measured"].as_array().unwrap();
    let of = |shard: &serde_json::Value| {
        let series = shard["series"].as_array().unwrap().clone();
        let mut series = series.into_iter();
        let series = series.find(|series| series["metric"] == metric).unwrap();
        series["least_micro"].as_u64().unwrap()
    };
    shards.iter().map(of).collect()
}

#[test]
fn what_is_lossless_equals_what_its_encoder_was_given() {
    let world = World::new();
    for (name, options) in [
        ("edit.mp4", &[("width", "90")][..]),
        ("vfr.mkv", &[("deinterlace", "on"), ("denoise", "light")]),
        ("vfr.mkv", &[("fps", "10"), ("brightness", "50")]),
    ] {
        let common = [
            ("codec", "ffv1"),
            ("container", "mkv"),
            ("audio", "none"),
            ("shard_ms", "1000"),
            ("measure", "yes"),
        ];
        let spec = world::spec(&[&common[..], options].concat());
        let job = world.job(&world.made(name), &spec);
        let ssim = worst(&job.proof, "ssim");
        assert_eq!(ssim.len(), job.shards, "{name}");
        assert!(
            ssim.iter().all(|micro| *micro == 1_000_000),
            "{name}: {ssim:?}"
        );
        let psnr = worst(&job.proof, "psnr");
        assert!(psnr.iter().all(|micro| *micro == 100_000_000), "{name}");
        let frames = job.proof["measured"].as_array().unwrap().iter();
        let frames: u64 = frames.map(|shard| shard["frames"].as_u64().unwrap()).sum();
        assert_eq!(
            Some(frames),
            job.proof["frames"]["muxed"].as_u64(),
            "{name}"
        );
    }
}

#[test]
fn what_loses_something_is_a_little_less() {
    let world = World::new();
    let spec = world::spec(&[
        ("shard_ms", "1000"),
        ("preset", "ultrafast"),
        ("measure", "yes"),
    ]);
    let job = world.job(&world.made("edit.mp4"), &spec);
    let ssim = worst(&job.proof, "ssim");
    let usual = |micro: &u64| (800_000..1_000_000).contains(micro);
    assert!(ssim.iter().all(usual), "{ssim:?}");
}
