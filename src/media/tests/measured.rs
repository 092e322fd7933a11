//! Shards are compared with the very frames that their encoder was given: what is
//! encoded without loss equals them in every sample.

use reelraft_media::{Cancel, Context, FilmPart, Input, measure_output, shards_of_proof};

use crate::world::{self, Job, World};

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

/// What is found of an output after the fact, in two parts.
fn measured_after(job: &Job<'_>) -> serde_json::Value {
    let folder = tempfile::tempdir_in(job.output.parent().unwrap()).unwrap();
    let (input, cancel) = (Input::File(job.clip.path.clone()), Cancel::new());
    let context = Context {
        tools: &job.world.tools,
        input: &input,
        spec: &job.spec,
        work_dir: folder.path(),
        cancel: &cancel,
    };
    let proof = serde_json::to_vec(&job.proof).unwrap();
    let shards = shards_of_proof(&proof).unwrap();
    let mut found = Vec::new();
    for shards in [0..shards / 2, shards / 2..shards] {
        let part = FilmPart {
            output: job.output.clone(),
            proof: proof.clone(),
            shards,
        };
        let measured = measure_output(&context, &job.index, &part, &|_| {});
        let measured = job.world.block_on(measured).unwrap();
        let told: Vec<serde_json::Value> = serde_json::from_slice(&measured.json).unwrap();
        let frames = told.iter().map(|shard| shard["frames"].as_u64().unwrap());
        assert_eq!(measured.frames, frames.sum::<u64>());
        found.extend(told);
    }
    found.into()
}

/// Without the places in the film, which each container counts by a clock of its own.
fn found(shards: &serde_json::Value) -> Vec<(serde_json::Value, serde_json::Value)> {
    let shards = shards.as_array().unwrap().iter();
    let told = shards.map(|shard| (shard["frames"].clone(), shard["series"].clone()));
    told.collect()
}

#[test]
fn an_output_is_measured_as_its_shards_were() {
    let world = World::new();
    for (name, options) in [
        ("edit.mp4", &[("width", "90")][..]),
        ("edit.mp4", &[("codec", "hevc"), ("container", "mov")]),
        ("vfr.mkv", &[("container", "mkv"), ("deinterlace", "on")]),
        (
            "vfr.mkv",
            &[
                ("codec", "av1"),
                ("preset", "12"),
                ("fps", "10"),
                ("container", "webm"),
            ],
        ),
        // One pass over the whole film.
        ("edit.mp4", &[("shard_ms", "600000")]),
    ] {
        let common = [
            ("preset", "ultrafast"),
            ("audio", "none"),
            ("shard_ms", "1000"),
            ("measure", "yes"),
        ];
        let spec = world::spec(&[&common[..], options].concat());
        let job = world.job(&world.made(name), &spec);
        let after = measured_after(&job);
        assert_eq!(
            found(&after),
            found(&job.proof["measured"]),
            "{name} {options:?}"
        );
        let begins = |shards: &serde_json::Value| -> Vec<i64> {
            let shards = shards.as_array().unwrap().iter();
            shards
                .map(|shard| shard["from_us"].as_i64().unwrap())
                .collect()
        };
        let (after, before) = (begins(&after), begins(&job.proof["measured"]));
        let near = after
            .iter()
            .zip(&before)
            .all(|(a, b)| (a - b).abs() <= 1_000);
        assert!(
            near && after.len() == before.len(),
            "{name}: {after:?} {before:?}"
        );
    }
}
