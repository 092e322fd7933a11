//! Covers and attached files: kept where the container has a place for them,
//! named where it has none, and their names are never taken for anything else.

#![allow(clippy::unwrap_used)]

mod world;

use std::{path::Path, process::Command};

use reelraft_model::spec::Spec;
use serde_json::Value;
use world::{Clip, Job, World, spec};

/// What tells streams and attached files apart.
const STREAMS: &str = "stream=codec_type,codec_name,width,height:stream_disposition=default,attached_pic:stream_tags=filename,mimetype,language,title";

fn quick(container: &str) -> Spec {
    let preset = if container == "webm" {
        "8"
    } else {
        "ultrafast"
    };
    spec(&[
        ("preset", preset),
        ("container", container),
        ("shard_ms", "1000"),
    ])
}

fn streams(world: &World, path: &Path) -> Vec<Value> {
    let mut shown = world.shown(path, STREAMS);
    serde_json::from_value(shown["streams"].take()).unwrap()
}

/// A stream's packets as they lie in a file, joined.
fn bytes(world: &World, path: &Path, stream: &str) -> Vec<u8> {
    let out = Command::new(&world.tools.ffmpeg)
        .args(["-nostdin", "-v", "fatal", "-i"])
        .arg(format!("file:{}", path.display()))
        .args(["-map", &format!("0:{stream}"), "-c", "copy"])
        .args(["-f", "image2pipe", "-"])
        .output()
        .unwrap();
    out.stdout
}

/// A film that begins late and has two covers, an MP4 of ffmpeg's own.
fn covered(world: &World) -> (Clip, [Clip; 2]) {
    let pictures = [
        world.made_by("front.png", "-f lavfi -i testsrc2=size=64x48 -frames:v 1"),
        world.made_by("back.jpg", "-f lavfi -i color=red:size=32x40 -frames:v 1"),
    ];
    let film = world.made_by(
        "covered.mp4",
        "-itsoffset 1.5 -f lavfi -i testsrc2=size=160x90:rate=24:duration=3 -itsoffset 1.5 -f lavfi -i sine=duration=3 -i front.png -i back.jpg -map 0 -map 1 -map 2 -map 3 -c:v:0 libx264 -pix_fmt yuv420p -preset fast -g 24 -c:v:1 copy -c:v:2 copy -c:a aac -disposition:v:1 attached_pic -disposition:v:2 attached_pic",
    );
    (film, pictures)
}

#[test]
fn covers_are_kept_to_the_byte_or_named() {
    let world = World::new();
    let (film, pictures) = covered(&world);
    for container in ["mkv", "mp4", "mov", "webm"] {
        let job = world.job(&film, &quick(container));
        assert!(job.shards > 1, "{container}: {}", job.note);
        let shown = streams(&world, &job.output);
        let covers: Vec<&Value> = shown
            .iter()
            .filter(|own| own["disposition"]["attached_pic"] == 1)
            .collect();
        if matches!(container, "mov" | "webm") {
            assert_eq!((covers.len(), shown.len()), (0, 2), "{container}");
            let left_out = job.proof["left_out"].as_array().unwrap();
            assert_eq!(left_out.len(), 2, "{container}: {left_out:?}");
            assert!(job.note.contains("a cover picture (png)"), "{}", job.note);
            continue;
        }
        assert_eq!(covers.len(), 2, "{container}");
        assert!(job.proof.get("left_out").is_none(), "{container}");
        for (number, picture) in pictures.iter().enumerate() {
            let wanted = std::fs::read(&picture.path).unwrap();
            for path in [&job.output, &job.reference_file()] {
                let kept = bytes(&world, path, &format!("v:{}", number + 1));
                assert_eq!(kept, wanted, "{container} {}", picture.name);
            }
        }
        same_film(&job);
    }
}

/// Pictures, sound and their times are the reference's, whatever is attached.
fn same_film(job: &Job<'_>) {
    let world = job.world;
    for stream in ["v:0", "a:0"] {
        let ours = world.packet_times(&job.output, stream);
        let theirs = world.packet_times(&job.reference_file(), stream);
        assert_eq!(ours.0, theirs.0, "{:?} {stream}", job.spec);
        assert_eq!(ours.1.len(), theirs.1.len(), "{:?} {stream}", job.spec);
        let off = ours.1[0].abs_diff(theirs.1[0]);
        // A millisecond of Matroska's, or what its like is in finer clocks.
        assert!(off <= 1, "{:?} {stream}: {off} ticks", job.spec);
    }
    let head = |path: &Path| {
        let mut own = streams(world, path);
        own.truncate(2);
        own
    };
    assert_eq!(head(&job.output), head(&job.reference_file()));
}

#[test]
fn a_cover_in_matroska_stays_a_cover_under_its_name() {
    let world = World::new();
    let (film, pictures) = covered(&world);
    let first = world.job(&film, &quick("mkv"));
    let names = |path: &Path| -> Vec<String> {
        let own = streams(&world, path).into_iter().skip(2);
        own.map(|own| format!("{} {}", own["tags"]["filename"], own["tags"]["mimetype"]))
            .collect()
    };
    let wanted = [r#""cover.png" "image/png""#, r#""cover.jpg" "image/jpeg""#];
    assert_eq!(names(&first.output), wanted);
    let again = Clip {
        name: "again.mkv".into(),
        path: first.output.clone(),
    };
    let second = world.job(&again, &quick("mkv"));
    assert_eq!(names(&second.output), wanted);
    let back = world.job(&again, &quick("mp4"));
    let front = std::fs::read(&pictures[0].path).unwrap();
    assert_eq!(bytes(&world, &second.output, "v:1"), front);
    assert_eq!(bytes(&world, &back.output, "v:1"), front);
    let bare = spec(&[
        ("preset", "ultrafast"),
        ("container", "mkv"),
        ("strip", "yes"),
    ]);
    assert_eq!(streams(&world, &world.job(&film, &bare).output).len(), 2);
}
