//! What a codec asks for: a decoder that gives the alpha, as many slices as a
//! large picture needs, cuts in films of which every picture stands for itself,
//! and channels under the names that an encoder knows.

use crate::{
    pictures::{exact, lossless},
    world::{self, Clip, World, spec},
};

/// White, seen through more from left to right; a keyframe each second.
const GLASS: &str = "-f lavfi -i color=white:size=128x64:rate=10:duration=3,format=rgba,geq=r=255:g=255:b=255:a=X*2 -pix_fmt yuva420p -g 10 -auto-alt-ref 0";

#[test]
#[ignore = "long: make test-all"]
fn the_alpha_of_webm_is_decoded() {
    let world = World::new();
    for (name, encoder) in [
        ("glass8.webm", "-c:v libvpx -b:v 2M -deadline realtime"),
        ("glass9.webm", "-c:v libvpx-vp9 -b:v 2M -deadline realtime"),
    ] {
        let clip = world.made_by(name, &format!("{GLASS} {encoder}"));
        exact(&world, &clip, &lossless(|_| {}), 3);
        let kept = world.job(&clip, &lossless(|_| {}));
        assert_eq!(
            world.show(&kept.output, "stream=pix_fmt").trim(),
            "pix_fmt=yuva420p"
        );
        let spec = lossless(|request| {
            request.codec = "h264".into();
            request.crf = Some(1);
            request.preset = "ultrafast".into();
        });
        let row = world.first_luma(&world.job(&clip, &spec).output, 128);
        // Limited range: black is 16, white 235.
        for (x, luma) in row.iter().enumerate().step_by(9) {
            let wanted = 16.0 + 219.0 * (x as f64 * 2.0) / 255.0;
            assert!(
                (f64::from(*luma) - wanted).abs() < 8.0,
                "{name} {x}: {luma}"
            );
        }
    }
}

#[test]
fn the_hidden_half_of_a_real_webm_is_black() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    let clip = Clip {
        name: "alpha.webm".into(),
        path: real.join("cases/alpha.webm"),
    };
    exact(&world, &clip, &lossless(|_| {}), 1);
    let spec = spec(&[("preset", "ultrafast"), ("audio", "none")]);
    let row = world.first_luma(&world.job(&clip, &spec).output, 160);
    let black = row.iter().filter(|luma| **luma < 20).count();
    assert!((70..=90).contains(&black), "{row:?}");
}

#[test]
#[ignore = "long: make test-all"]
fn a_large_picture_has_as_many_slices_as_it_needs() {
    let world = World::new();
    for (name, size, pix_fmt) in [
        ("large.nut", "6144x3456", "yuv420p"),
        ("deep.nut", "3840x2160", "yuva444p16le"),
        ("narrow.nut", "2x100", "yuv420p"),
    ] {
        let options = format!(
            "-f lavfi -i color=gray:size={size}:rate=25:duration=0.04 -pix_fmt {pix_fmt} -c:v rawvideo"
        );
        let clip = world.made_by(name, &options);
        exact(&world, &clip, &lossless(|_| {}), 1);
    }
    let tall = world.made_by(
        "tall.nut",
        "-f lavfi -i color=gray:size=2x400:rate=25:duration=0.04 -pix_fmt yuv420p -c:v rawvideo",
    );
    let refused = world.try_job(&tall, &lossless(|_| {})).err().unwrap();
    assert_eq!(refused.kind(), "too-small");
}

#[test]
#[ignore = "long: make test-all"]
fn films_of_pictures_that_stand_for_themselves_are_cut() {
    let world = World::new();
    let picture = "-f lavfi -i testsrc2=size=160x96:rate=25:duration=4";
    for (name, options) in [
        (
            "film.mov",
            format!("{picture} -c:v jpeg2000 -pix_fmt yuv420p"),
        ),
        (
            "film.mkv",
            format!("{picture} -c:v cfhd -pix_fmt yuv422p10le"),
        ),
        (
            "film.avi",
            format!("{picture} -c:v magicyuv -pix_fmt yuv420p"),
        ),
        (
            "film.dv",
            "-f lavfi -i testsrc2=size=720x576:rate=25:duration=4 -c:v dvvideo -pix_fmt yuv420p"
                .to_string(),
        ),
    ] {
        exact(&world, &world.made_by(name, &options), &lossless(|_| {}), 3);
    }
}

/// A tone in one of several channels.
fn tone(at: usize, channels: usize, layout: &str) -> String {
    let silent = vec!["0"; channels];
    let mut each: Vec<String> = silent.into_iter().map(String::from).collect();
    each[at] = "0.5*sin(2764*t)".into();
    format!(
        "-f lavfi -i testsrc2=size=64x64:rate=10:duration=2 -f lavfi -i aevalsrc={}:c={layout}:d=2",
        each.join("|")
    )
}

/// The loudest sample of a stream at its middle, of 32768.
fn peak(world: &World, path: &std::path::Path, stream: &str) -> u32 {
    let samples = world.samples(path, stream, 0.5);
    let middle = samples.iter().take(24_000);
    middle
        .map(|value| u32::from(value.unsigned_abs()))
        .max()
        .unwrap()
}

#[test]
fn sound_at_the_sides_has_a_number_in_aac() {
    let world = World::new();
    let source = format!("{} -c:v mpeg4 -c:a ac3 -b:a 448k", tone(4, 6, "5.1(side)"));
    let mut clips = vec![world.made_by("side51.mkv", &source)];
    clips.extend(world::real().map(|real| Clip {
        name: "min_side51.mkv".into(),
        path: real.join("cases/min_side51.mkv"),
    }));
    for clip in &clips {
        let job = world.job(clip, &spec(&[("preset", "ultrafast")]));
        for path in [job.output.clone(), job.reference_file()] {
            let shown = world.shown(&path, "stream=channel_layout,codec_type");
            assert_eq!(
                shown["streams"][1]["channel_layout"], "5.1",
                "{}",
                clip.name
            );
        }
    }
    let job = world.job(&clips[0], &spec(&[("preset", "ultrafast")]));
    let back = world.made_from(
        "back.wav",
        &format!("-i {} -map 0:a -af pan=mono|c0=BL", job.output.display()),
    );
    let heard = peak(&world, &back.path, "a:0");
    assert!((14_000..19_000).contains(&heard), "{heard}");
}

#[test]
#[ignore = "long: make test-all"]
fn a_track_of_one_channel_is_mono_whatever_it_is_called() {
    let world = World::new();
    let mut clips = Vec::new();
    for (name, channel) in [("left.mov", "FL"), ("right.mov", "FR"), ("back.mov", "BC")] {
        let source = format!("{} -c:v mpeg4 -c:a pcm_s16le", tone(0, 1, channel));
        clips.push((world.made_by(name, &source), 1));
    }
    let real = world::real();
    clips.extend(real.map(|real| {
        let clip = Clip {
            name: "min_monofl.mov".into(),
            path: real.join("cases/min_monofl.mov"),
        };
        (clip, 2)
    }));
    for (clip, tracks) in &clips {
        for audio in ["aac", "opus", "flac"] {
            let words = [
                ("preset", "ultrafast"),
                ("audio", audio),
                ("container", "mkv"),
            ];
            let job = world.job(clip, &spec(&words));
            for track in 0..*tracks {
                let stream = format!("a:{track}");
                let shown = world.shown(&job.output, "stream=codec_type,channels,channel_layout");
                let own = &shown["streams"][1 + track];
                assert_eq!(own["channel_layout"], "mono", "{} {audio}", clip.name);
                let (ours, theirs) = (
                    peak(&world, &job.output, &stream),
                    peak(&world, &clip.path, &stream),
                );
                assert!(
                    ours.abs_diff(theirs) * 10 < theirs.max(10),
                    "{} {audio}: {ours} for {theirs}",
                    clip.name
                );
            }
        }
    }
}
