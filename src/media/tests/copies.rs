//! Sound that is copied: what a decoder needs, and how long it is, as one pass has it.

use crate::{
    tracks::same_sound,
    world::{Job, World, spec},
};

const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25";
const PICTURE: &str = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=3";

/// A job that copies the sound, in a container.
fn copied<'w>(world: &'w World, name: &str, made: &str, container: &str) -> Job<'w> {
    let clip = world.made_by(name, made);
    let words = [
        ("preset", "ultrafast"),
        ("audio", "copy"),
        ("container", container),
    ];
    world.job(&clip, &spec(&words))
}

/// The sound decodes as that of one pass, and is as long.
fn sounds_the_same(job: &Job<'_>) {
    same_sound(job, "a:0");
    let (ours, theirs) = (job.output.clone(), job.reference_file());
    let world = job.world;
    let words = format!("{} {:?}", job.clip.name, job.spec);
    let samples = [&ours, &theirs].map(|path| world.samples(path, "a:0", 0.0));
    assert!(samples[0].len() > 48_000, "{words}");
    assert!(samples[0] == samples[1], "{words}: the sound differs");
    let entries = "stream=codec_name,profile,channels,sample_rate,duration,extradata_size";
    let shown = [&ours, &theirs].map(|path| world.shown(path, entries)["streams"].take());
    let sound = |shown: &serde_json::Value| {
        let streams = shown.as_array().unwrap().iter();
        let mut sound = streams.filter(|stream| stream["sample_rate"].is_string());
        sound.next().unwrap().clone()
    };
    assert_eq!(sound(&shown[0]), sound(&shown[1]), "{words}");
}

#[test]
fn aac_that_repeats_its_header_is_described_in_files() {
    let world = World::new();
    let sine = "-f lavfi -i sine=d=3:b=2";
    let film = |channels: u32| format!("{PICTURE} {sine} {H264} -c:a aac -ac {channels}");
    for (container, channels) in [("mp4", 6), ("mov", 1), ("mkv", 6)] {
        let job = copied(
            &world,
            &format!("adts{channels}.ts"),
            &film(channels),
            container,
        );
        sounds_the_same(&job);
    }
    let alone = format!("{sine} -c:a aac -ac 6");
    sounds_the_same(&copied(&world, "alone.aac", &alone, "m4a"));
}

#[test]
fn the_last_packet_of_a_copy_is_as_long_as_it_was() {
    let world = World::new();
    let sine = "-f lavfi -i sine=d=3:r=44100 -ac 2";
    let alac = format!("{sine} -c:a alac");
    sounds_the_same(&copied(&world, "song.m4a", &alac, "m4a"));
    let film = |codec: &str| format!("{PICTURE} {sine} {H264} -c:a {codec}");
    sounds_the_same(&copied(&world, "alac.mov", &film("alac"), "mp4"));
    // ffmpeg does not decode WMA out of QuickTime.
    let job = copied(&world, "windows.asf", &film("wmav2"), "mov");
    let of = |path| world.show(path, "stream=codec_name,duration");
    assert_eq!(of(&job.output), of(&job.reference_file()));
}

#[test]
fn codecs_that_mp4_describes_by_their_packets_are_copied() {
    let world = World::new();
    let film = |codec: &str| format!("{PICTURE} -f lavfi -i sine=d=3:r=48000 {H264} -c:a {codec}");
    for codec in ["truehd -strict -2", "ac3", "eac3"] {
        let name = format!("{}.mkv", &codec[..3]);
        sounds_the_same(&copied(&world, &name, &film(codec), "mp4"));
    }
}
