//! Covers and attached files: kept where the container has a place for them,
//! named where it has none, and their names are never taken for anything else.

use std::{path::Path, process::Command};

use crate::world::{Clip, Job, World, spec};
use reelraft_model::spec::Spec;
use serde_json::Value;

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
        world.made_from("front.png", "-f lavfi -i testsrc2=size=64x48 -frames:v 1"),
        world.made_from("back.jpg", "-f lavfi -i color=red:size=32x40 -frames:v 1"),
    ];
    let film = world.made_from(
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

/// Names that would be paths, patterns or options anywhere else.
const NAMES: [&str; 10] = [
    "../../x",
    "/abs/olute.ttf",
    "a%03d",
    "-y",
    "two words.ttf",
    "Schöne Schrift – 字体.otf",
    "a\\b:c.ttf",
    "x=y;z|{'\"}$(id)`id`.ttf",
    "file:out.mkv",
    "cover-0",
];

/// Whatever stands below a folder.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

/// The film with a file under each of the names, and a picture.
fn oddly_attached(world: &World, film: &Clip, picture: &Clip) -> Clip {
    world.written("font.ttf", "no real font");
    let mut words = "-nostdin -v error -y -i covered.mp4 -map 0:v:0 -map 0:a -c copy"
        .split(' ')
        .map(String::from)
        .collect::<Vec<_>>();
    let mut files = vec!["font.ttf"; NAMES.len()];
    files.push(&picture.name);
    for (number, file) in files.iter().enumerate() {
        let name = NAMES.get(number).unwrap_or(&"../cover%d.png");
        let kind = if *file == "font.ttf" {
            "font/ttf"
        } else {
            "image/png"
        };
        words.extend(["-attach".into(), file.to_string()]);
        words.push(format!("-metadata:s:t:{number}"));
        words.push(format!("filename={name}"));
        words.push(format!("-metadata:s:t:{number}"));
        words.push(format!("mimetype={kind}"));
    }
    let folder = film.path.parent().unwrap();
    let made = Command::new(&world.tools.ffmpeg)
        .current_dir(folder)
        .args(&words)
        .arg("odd.mkv")
        .status()
        .unwrap();
    assert!(made.success());
    Clip {
        name: "odd.mkv".into(),
        path: folder.join("odd.mkv"),
    }
}

#[test]
fn names_of_attached_files_are_never_more_than_names() {
    let world = World::new();
    let (film, pictures) = covered(&world);
    let odd = oddly_attached(&world, &film, &pictures[0]);
    let folder = odd.path.parent().unwrap();
    let before = below(folder);
    let job = world.job(&odd, &quick("mkv"));
    let named = |path: &Path| -> Vec<String> {
        let shown = streams(&world, path).into_iter();
        shown
            .filter_map(|own| Some(own["tags"]["filename"].as_str()?.to_string()))
            .collect()
    };
    let mut wanted: Vec<&str> = NAMES.to_vec();
    wanted.push("../cover%d.png");
    assert_eq!(named(&odd.path), wanted);
    assert_eq!(named(&job.output), wanted);
    assert_eq!(
        bytes(&world, &job.output, "v:1"),
        std::fs::read(&pictures[0].path).unwrap()
    );
    // The work folders hold what we name ourselves, and nothing is beside them.
    let inside = job.output.parent().unwrap().parent().unwrap();
    let known = [
        "about.txt",
        "analyze",
        "assemble",
        "audio",
        "extras",
        "output",
        "sample",
        "shard",
    ];
    for path in below(folder).iter().filter(|path| !before.contains(path)) {
        let path = Path::new(path);
        let name = path.file_name().unwrap().to_string_lossy();
        let expected = known.iter().any(|word| name.starts_with(word));
        assert!(
            path == inside || path.starts_with(inside) && expected,
            "{}",
            path.display()
        );
    }
    assert!(!folder.parent().unwrap().join("x").exists());
    // Where the container has no place for them, each is named.
    let bare = world.job(&odd, &quick("mp4"));
    let left_out = bare.proof["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), NAMES.len(), "{left_out:?}");
    assert_eq!(
        bytes(&world, &bare.output, "v:1").len(),
        std::fs::read(&pictures[0].path).unwrap().len()
    );
}
