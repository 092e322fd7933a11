//! What belongs to a file beside pictures and sound, against the reference:
//! subtitles, attachments, covers, chapters, tags; and loudness.

use std::path::Path;

use crate::world::{self, Clip, Job, World, spec};
use reelraft_model::spec::Spec;
use serde_json::Value;

const CUES: &str = "1\n00:00:01,500 --> 00:00:03,000\nHello\n\n2\n00:00:05,000 --> 00:00:06,250\nWorld <i>x</i>\n\n";
const ABOUT: &str = ";FFMETADATA1\ntitle=A \\= b\\; \\#c \\\\ d\\\nsecond line\nartist=Nobody\ndate=2021\ncomment=-i /etc/passwd\nlocation=+48.1-100.2/\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=4000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=4000\nEND=8000\ntitle=Two \\; 2\n";

/// A film with two subtitle tracks, tags, a place, chapters, and in Matroska
/// a font.
fn full(world: &World, name: &str) -> Clip {
    world.written("cues.srt", CUES);
    world.written("about.txt", ABOUT);
    world.written("font.ttf", "no real font");
    let text = if name.ends_with("mkv") {
        "srt"
    } else {
        "mov_text"
    };
    let more = if text == "srt" {
        "-attach font.ttf -metadata:s:t:0 mimetype=font/ttf -metadata:s:t:0 filename=font.ttf"
    } else {
        "-movflags use_metadata_tags"
    };
    world.made_from(name, &format!("-f lavfi -i testsrc2=size=160x90:rate=24:duration=8 -f lavfi -i sine=duration=8 -i cues.srt -itsoffset 0.5 -i cues.srt -f ffmetadata -i about.txt -map 0 -map 1 -map 2 -map 3 -map_metadata 4 -map_chapters 4 -c:v libx264 -pix_fmt yuv420p -preset fast -g 36 -c:a aac -metadata:s:s:0 language=eng -metadata:s:s:1 language=fra -metadata:s:s:1 title=Forced -disposition:s:1 forced -c:s {text} {more}"))
}

fn quick(words: &[(&str, &str)]) -> Spec {
    let webm = words.contains(&("container", "webm"));
    let mut all = vec![("preset", if webm { "8" } else { "ultrafast" })];
    all.extend(words);
    spec(&all)
}

/// A file's tags but for what its muxer says of itself.
fn tags(shown: &Value) -> Vec<(String, String)> {
    let noise = [
        "encoder",
        "major_brand",
        "minor_version",
        "compatible_brands",
    ];
    let tags = shown["format"]["tags"].as_object();
    let mut tags: Vec<(String, String)> = tags
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.to_lowercase(), value.as_str().unwrap().to_string()))
        .filter(|(key, _)| !noise.contains(&key.as_str()))
        .collect();
    tags.sort();
    tags
}

fn chapters(shown: &Value) -> Vec<(String, String, Value)> {
    let seconds = |chapter: &Value, key: &str| chapter[key].as_str().unwrap().to_string();
    let chapters = shown["chapters"].as_array().unwrap().iter();
    chapters
        .map(|own| {
            let title = own["tags"]["title"].clone();
            (seconds(own, "start_time"), seconds(own, "end_time"), title)
        })
        .collect()
}

/// Times and sizes of a subtitle track's packets, in seconds.
fn cues(world: &World, path: &Path, track: usize) -> Vec<(String, String, String)> {
    let shown = world.shown(
        path,
        "packet=pts_time,duration_time,size,stream_index:stream=index,codec_type",
    );
    let streams = shown["streams"].as_array().unwrap();
    let mut own = streams
        .iter()
        .filter(|stream| stream["codec_type"] == "subtitle");
    let index = &own.nth(track).unwrap()["index"];
    let text = |packet: &Value, key: &str| packet[key].as_str().unwrap_or("none").to_string();
    let packets = shown["packets"].as_array().unwrap().iter();
    packets
        .filter(|packet| packet["stream_index"] == *index)
        .map(|own| {
            (
                text(own, "pts_time"),
                text(own, "duration_time"),
                text(own, "size"),
            )
        })
        .collect()
}

const ALL: &str = "format_tags:stream=codec_type,codec_name:stream_disposition:stream_tags=language,title,filename,mimetype:chapter=start_time,end_time:chapter_tags";

/// Streams, tags, chapters and cues equal the reference's; gives ours.
fn same(job: &Job<'_>) -> Value {
    let world = job.world;
    let words = format!("{} {:?}", job.clip.name, job.spec);
    let ours = world.shown(&job.output, ALL);
    let reference = world.shown(&job.reference_file(), ALL);
    assert_eq!(tags(&ours), tags(&reference), "{words}");
    assert_eq!(chapters(&ours), chapters(&reference), "{words}");
    let streams = ours["streams"].as_array().unwrap();
    let theirs = reference["streams"].as_array().unwrap();
    assert_eq!(streams.len(), theirs.len(), "{words}");
    let mut subtitles = 0;
    for (own, their) in streams.iter().zip(theirs) {
        for key in ["codec_type", "codec_name", "disposition"] {
            assert_eq!(own[key], their[key], "{words} {key}");
        }
        for key in ["language", "title", "filename", "mimetype"] {
            let lower = |stream: &Value| {
                let tags = stream["tags"].as_object().cloned().unwrap_or_default();
                let mut own = tags.into_iter();
                own.find(|(own, _)| own.to_lowercase() == key)
                    .map(|(_, value)| value)
            };
            assert_eq!(lower(own), lower(their), "{words} {key}");
        }
        if own["codec_type"] == "subtitle" {
            let (ours, theirs) = (
                cues(world, &job.output, subtitles),
                cues(world, &job.reference_file(), subtitles),
            );
            assert_eq!(ours, theirs, "{words} subtitle {subtitles}");
            assert!(ours.len() >= 2, "{words}");
            subtitles += 1;
        }
    }
    ours
}

fn codecs(shown: &Value) -> Vec<&str> {
    let streams = shown["streams"].as_array().unwrap().iter();
    streams
        .map(|own| own["codec_name"].as_str().unwrap_or("none"))
        .collect()
}

#[test]
fn subtitles_chapters_and_tags_are_the_references() {
    let world = World::new();
    let (film, clip) = (full(&world, "full.mkv"), full(&world, "full.mp4"));
    for (source, container, text) in [
        (&film, "mkv", "subrip"),
        (&film, "mp4", "mov_text"),
        (&film, "mov", "mov_text"),
        (&film, "webm", "webvtt"),
        (&clip, "mp4", "mov_text"),
        (&clip, "mkv", "subrip"),
    ] {
        let job = world.job(
            source,
            &quick(&[("container", container), ("shard_ms", "3000")]),
        );
        assert!(job.shards > 1, "{container}: {}", job.note);
        let shown = same(&job);
        assert_eq!(codecs(&shown)[2..4], [text, text], "{container}");
        assert_eq!(chapters(&shown).len(), 2, "{container}");
        assert_eq!(chapters(&shown)[1].2, "Two ; 2");
        let tags = tags(&shown);
        let has = |key: &str, value: &str| tags.contains(&(key.into(), value.into()));
        assert!(
            has("title", "A = b; #c \\ d\nsecond line"),
            "{container}: {tags:?}"
        );
        assert!(has("comment", "-i /etc/passwd"), "{container}: {tags:?}");
        assert!(
            !tags.iter().any(|(key, _)| key.contains("location")),
            "{tags:?}"
        );
        let attached = job.proof["extras"].as_array().unwrap().len() == 3;
        assert_eq!(attached, source.name == "full.mkv" && container == "mkv");
        if source.name == "full.mkv" && container != "mkv" {
            assert!(job.note.contains("an attachment"), "{}", job.note);
        }
    }
}

#[test]
fn what_is_not_wanted_is_left_out() {
    let world = World::new();
    let film = full(&world, "full.mkv");
    let bare = world.job(&film, &quick(&[("container", "mkv"), ("strip", "yes")]));
    let shown = same(&bare);
    assert_eq!((tags(&shown).len(), chapters(&shown).len()), (0, 0));
    assert_eq!(codecs(&shown).len(), 4, "pictures, sound and two subtitles");
    assert_eq!(shown["streams"][3]["tags"]["language"], "fra");
    let mute = world.job(
        &film,
        &quick(&[("container", "mp4"), ("subtitles", "none")]),
    );
    assert_eq!(
        codecs(&same(&mute))
            .iter()
            .filter(|own| **own == "mov_text")
            .count(),
        0
    );
    let placed = world.job(
        &film,
        &quick(&[("container", "mkv"), ("keep_location", "yes")]),
    );
    let kept = tags(&same(&placed));
    assert!(
        kept.contains(&("location".into(), "+48.1-100.2/".into())),
        "{kept:?}"
    );
}

/// Subtitles as pictures, as Blu-rays have them: each clears the screen.
fn pictures_of_text(at_seconds: &[u32]) -> Vec<u8> {
    let segment = |kind: u8, second: u32, body: &[u8]| {
        let mut bytes = b"PG".to_vec();
        bytes.extend((second * 90_000).to_be_bytes());
        bytes.extend([0, 0, 0, 0, kind, 0, body.len() as u8]);
        bytes.extend(body);
        bytes
    };
    let mut bytes = Vec::new();
    for (number, &second) in (0..).zip(at_seconds) {
        // 320 by 180 pixels, and nothing on them.
        let composition = [1, 64, 0, 180, 16, 0, number, 128, 0, 0, 0];
        bytes.extend(segment(0x16, second, &composition));
        bytes.extend(segment(0x80, second, &[]));
    }
    bytes
}

#[test]
fn what_a_container_has_no_place_for_is_named_beside_what_is_kept() {
    let world = World::new();
    world.written("cues.srt", CUES);
    world.written("pictures.sup", pictures_of_text(&[1, 2, 4, 6]));
    let film = world.made_from(
        "disc.mkv",
        "-f lavfi -i testsrc2=size=160x90:rate=24:duration=8 -f lavfi -i sine=duration=8 -i cues.srt -i pictures.sup -map 0 -map 1 -map 1 -map 1 -map 2 -map 3 -c:v libx264 -pix_fmt yuv420p -preset ultrafast -g 36 -c:a aac -filter:a:1 aselect=0 -c:s:0 srt -c:s:1 copy -metadata:s:a:2 language=fra",
    );
    let pictures = "subtitle track 2 (hdmv_pgs_subtitle) can't be kept in";
    for (container, kept) in [("mp4", false), ("mov", false), ("mkv", true)] {
        let words = [("container", container), ("shard_ms", "3000")];
        let job = world.job(&film, &quick(&words));
        let shown = same(&job);
        let subtitles = codecs(&shown).len() - 3;
        assert_eq!(subtitles, if kept { 2 } else { 1 }, "{container}: {shown}");
        let left_out: Vec<&str> = job.proof["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own.as_str().unwrap())
            .collect();
        assert!(left_out[0].starts_with("audio track 2"), "{left_out:?}");
        let named = left_out.iter().any(|own| own.starts_with(pictures));
        assert_eq!((named, left_out.len()), (!kept, 2 - usize::from(kept)));
        assert_eq!(job.note.contains(pictures), !kept, "{}", job.note);
        assert_eq!(job.proof["audio"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn songs_keep_their_tags_and_covers() {
    let world = World::new();
    let song = world.made("cover.mp3");
    for (container, cover) in [("m4a", true), ("flac", true), ("opus", false)] {
        let job = world.job(&song, &spec(&[("container", container)]));
        let shown = world.shown(&job.output, ALL);
        same(&job);
        assert_eq!(codecs(&shown).contains(&"png"), cover, "{container}");
        assert_eq!(job.note.contains("a cover picture"), !cover, "{}", job.note);
        let titled = |own: &Value| own["tags"]["title"] == "Song" || own["tags"]["TITLE"] == "Song";
        assert!(
            titled(&shown["format"]) || titled(&shown["streams"][0]),
            "{container}: {shown}"
        );
    }
}

/// Loudness as ffmpeg measures it, in LUFS, and the sample rate.
fn loudness(world: &World, path: &Path) -> f64 {
    let out = std::process::Command::new(&world.tools.ffmpeg)
        .args(["-nostdin", "-hide_banner", "-i"])
        .arg(format!("file:{}", path.display()))
        .args([
            "-map",
            "0:a:0",
            "-af",
            "ebur128=framelog=verbose",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = text
        .lines()
        .rev()
        .find(|line| line.trim().starts_with("I:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_track_is_brought_to_the_loudness_asked_for() {
    let world = World::new();
    let clip = world.made("h264.mp4");
    for (audio, container, asked) in [
        ("aac", "mp4", "-16000"),
        ("flac", "mkv", "-30000"),
        ("opus", "opus", "-23000"),
    ] {
        let mut words = vec![
            ("audio", audio),
            ("container", container),
            ("loudness", asked),
        ];
        if container != "opus" {
            words.push(("preset", "ultrafast"));
        }
        let job = world.job(&clip, &spec(&words));
        let wanted: f64 = asked.parse::<f64>().unwrap() / 1000.0;
        let (ours, theirs) = (
            loudness(&world, &job.output),
            loudness(&world, &job.reference_file()),
        );
        assert!(
            (ours - wanted).abs() <= 0.5,
            "{audio}: {ours} instead of {wanted}"
        );
        assert!((ours - theirs).abs() <= 0.1, "{audio}: {ours} and {theirs}");
        let shown = world.shown(&job.output, "stream=codec_type,sample_rate");
        let streams = shown["streams"].as_array().unwrap();
        let sound = streams
            .iter()
            .find(|own| own["codec_type"] == "audio")
            .unwrap();
        let rate = if audio == "opus" { "48000" } else { "44100" };
        assert_eq!(sound["sample_rate"], rate);
        let reference = job.proof["reference"].to_string();
        assert!(reference.contains("volume="), "{reference}");
    }
}

#[test]
#[ignore = "long: make test-all"]
fn real_files_keep_what_belongs_to_them() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    for (name, container) in [
        ("mp4_features/nasa_13013.mp4", "mp4"),
        ("mp4_features/nasa_13013.mp4", "mkv"),
        ("matroska/sample_with_ass_subtitles.mkv", "mkv"),
        ("mp4_features/sample_with_chapters.mp4", "mov"),
        ("mp4_features/sample_with_chapters.mp4", "webm"),
        ("hdr/hdr10tags-both.mkv", "mkv"),
        ("matroska/example-cover.mkv", "mp4"),
        ("mpeg2/dvd_single_frame.vob", "mkv"),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join(name),
        };
        let job = world.job(&clip, &quick(&[("container", container), ("width", "160")]));
        let shown = world.shown(&job.output, ALL);
        let theirs = world.shown(&job.reference_file(), ALL);
        assert_eq!(codecs(&shown), codecs(&theirs), "{name} {container}");
        assert_eq!(tags(&shown), tags(&theirs), "{name} {container}");
        assert_eq!(chapters(&shown), chapters(&theirs), "{name} {container}");
        let subtitles = shown["streams"].as_array().unwrap().iter();
        let subtitles = subtitles
            .filter(|own| own["codec_type"] == "subtitle")
            .count();
        for track in 0..subtitles {
            let ours = cues(&world, &job.output, track);
            assert_eq!(
                ours,
                cues(&world, &job.reference_file(), track),
                "{name} {container}"
            );
        }
        let place = tags(&shown).iter().any(|(key, _)| key.contains("location"));
        assert!(!place, "{name}");
    }
}
