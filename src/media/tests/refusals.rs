//! Bad sources: each gets a typed refusal that says why, and no other file is
//! ever read on their behalf (P9, P10).

use crate::world::{self, Clip, World, spec};
use reelraft_media::Class;

fn refused(world: &World, clip: &Clip) -> &'static str {
    let Err(error) = world.try_job(clip, &spec(&[])) else {
        panic!("{} was taken", clip.name)
    };
    assert_eq!(error.class(), Class::Final, "{}: {error}", clip.name);
    assert!(!error.hint().is_empty());
    assert!(!error.to_string().contains("root:"), "{error}");
    error.kind()
}

#[test]
fn what_is_no_video_is_refused_by_name() {
    let world = World::new();
    let victim = world.made("h264.mp4");
    let list = format!("ffconcat version 1.0\nfile '{}'\n", victim.path.display());
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\nfile:{}\n#EXT-X-ENDLIST\n",
        victim.path.display()
    );
    let session = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n";
    for (name, text, kind) in [
        ("empty.mp4", "", "empty-source"),
        ("text.txt", "this is no video\n", "unreadable-source"),
        ("text.mp4", "this is no video\n", "unreadable-source"),
        ("list.ffconcat", &list, "refused-format"),
        ("list.mp4", &list, "refused-format"),
        ("playlist.mp4", &playlist, "refused-format"),
        ("playlist.m3u8", &playlist, "refused-format"),
        ("session.sdp", session, "refused-format"),
    ] {
        assert_eq!(refused(&world, &world.written(name, text)), kind, "{name}");
    }
    assert_eq!(refused(&world, &world.made("picture.png")), "no-video");
    let photo = world.made_by("photo.jpg", "-f lavfi -i testsrc2=size=64x64 -frames:v 1");
    assert_eq!(refused(&world, &photo), "no-video");
    assert_eq!(refused(&world, &world.made("sound.flac")), "no-video");
    let cut = world.written("cut.mp4", "");
    let whole = std::fs::read(&victim.path).unwrap();
    std::fs::write(&cut.path, &whole[..whole.len() * 6 / 10]).unwrap();
    assert_eq!(refused(&world, &cut), "unreadable-source");
}

#[test]
fn a_header_without_a_film_is_told_as_such() {
    let world = World::new();
    let film = world.made_by(
        "fragments.mp4",
        "-f lavfi -i testsrc2=size=64x64:duration=1 -c:v libx264 -movflags +empty_moov+default_base_moof",
    );
    let bytes = std::fs::read(&film.path).unwrap();
    let body = bytes.windows(4).position(|four| four == b"moof").unwrap() - 4;
    let header = world.written("header.mp4", &bytes[..body]);
    let Err(error) = world.try_job(&header, &spec(&[])) else {
        panic!("taken")
    };
    assert_eq!(error.kind(), "no-frames");
    assert!(error.to_string().contains("not one packet"), "{error}");
}

#[test]
fn a_picture_that_changes_its_size_is_scaled_but_not_deinterlaced() {
    let world = World::new();
    let part = |size: &str| {
        let clip = world.made_by(
            &format!("{size}.h264"),
            &format!(
                "-f lavfi -i testsrc2=size={size}:rate=25:duration=1 -c:v libx264 -preset ultrafast"
            ),
        );
        std::fs::read(&clip.path).unwrap()
    };
    let film = world.written("film.h264", [part("128x96"), part("160x120")].concat());
    let words = [("codec", "ffv1"), ("container", "mkv"), ("audio", "none")];
    let job = world.job(&film, &spec(&words));
    assert_eq!(job.frames(), job.reference_frames());
    assert_eq!(job.proof["frames"]["muxed"], 50);
    let words = [&words[..], &[("deinterlace", "on")]].concat();
    let Err(error) = world.try_job(&film, &spec(&words)) else {
        panic!("taken")
    };
    assert_eq!(
        (error.kind(), error.class()),
        ("changing-picture", Class::Final)
    );
}

#[test]
fn names_of_files_are_no_options() {
    let world = World::new();
    let clip = world.made("one.mp4");
    for name in ["-map.mp4", "frame%03d.mp4", "a b'c\"d.mp4", "http:x.mp4"] {
        let other = world.written(name, "");
        std::fs::copy(&clip.path, &other.path).unwrap();
        assert_eq!(world.job(&other, &spec(&[])).proof["frames"]["muxed"], 1);
    }
}

#[test]
fn copied_audio_that_does_not_fit_is_refused() {
    let world = World::new();
    let clip = world.made("vp9.webm");
    // Opus fits into MP4; PCM does not.
    world.job(&clip, &spec(&[("audio", "copy"), ("container", "mp4")]));
    let clip = world.made("pcm.mov");
    let Err(error) = world.try_job(&clip, &spec(&[("audio", "copy"), ("container", "mp4")])) else {
        panic!("taken")
    };
    assert_eq!(error.kind(), "audio-misfit");
    let all = spec(&[("audio", "copy"), ("container", "mkv")]);
    assert!(world.job(&clip, &all).proof["audio"][0]["packets"].as_u64() > Some(0));
}

#[test]
fn the_hostile_files_are_refused() {
    let Some(real) = world::real() else { return };
    let world = World::new();
    for (name, kind) in [
        ("hostile/concat_passwd.ffconcat", "refused-format"),
        ("hostile/hls_disguised.mp4", "refused-format"),
        ("hostile/hls_file_passwd.m3u8", "refused-format"),
        ("hostile/hls_sibling_leak.mp4", "refused-format"),
        ("hostile/rtp_session.sdp", "refused-format"),
        ("nonmedia/git_lfs_pointer.mp4", "unreadable-source"),
        ("nonmedia/image_png.mp4", "no-video"),
        ("nonmedia/zero_bytes.webm", "empty-source"),
        ("fuzzed/gif_10_bytes.gif", "no-frames"),
        ("fuzzed/mopt_35.mp4", "no-video"),
        ("audio_only/bear.flac", "no-video"),
        (
            "derived/bear_trailing-moov_cut60pct.mp4",
            "unreadable-source",
        ),
    ] {
        let clip = Clip {
            name: name.into(),
            path: real.join(name),
        };
        assert_eq!(refused(&world, &clip), kind, "{name}");
    }
}

/// ffmpeg decodes animated WebP from 9.0 on, and an ffprobe before that takes it
/// for a still.
#[test]
fn an_animated_webp_is_told_from_a_still() {
    let world = World::new();
    let made = |name: &str, options: &str| {
        let picture = "-f lavfi -i testsrc2=size=64x64:rate=10:duration=0.5";
        world.made_by(name, &format!("{picture} {options}"))
    };
    let still = made("still.webp", "-frames:v 1 -c:v libwebp");
    let refused = world.try_job(&still, &world::lossless()).err().unwrap();
    assert_eq!(refused.kind(), "no-video", "{refused}");
    match world.try_job(&made("film.webp", "-c:v libwebp_anim"), &world::lossless()) {
        Ok(job) => assert_eq!(job.frames(), job.reference_frames()),
        Err(refused) => {
            assert_eq!(refused.kind(), "no-decoder", "{refused}");
            assert!(refused.to_string().contains("animated WebP"), "{refused}");
        }
    }
}
