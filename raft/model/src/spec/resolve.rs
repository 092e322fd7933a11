//! From what was asked to what will be done: every default filled in, every
//! impossible wish refused by name.

use super::*;

fn in_range(
    what: &'static str,
    found: i64,
    low: i64,
    high: i64,
    range: &'static str,
) -> Result<(), SpecError> {
    if (low..=high).contains(&found) {
        Ok(())
    } else {
        let found = found.to_string();
        Err(SpecError::OutOfRange { what, found, range })
    }
}

/// As [`in_range`] for what users write as a decimal and we keep in
/// thousandths.
fn milli_in_range(
    what: &'static str,
    found_milli: i64,
    low: i64,
    high: i64,
    range: &'static str,
) -> Result<(), SpecError> {
    in_range(what, found_milli, low, high, range).map_err(|_| {
        let (sign, size) = (if found_milli < 0 { "-" } else { "" }, found_milli.abs());
        let found = format!("{sign}{}.{:03}", size / 1000, size % 1000);
        SpecError::OutOfRange { what, found, range }
    })
}

/// Fills every default in and refuses what can't be.
///
/// # Errors
/// [`SpecError`] names the option, what was found and what would do.
pub fn resolve(request: &SpecRequest) -> Result<Spec, SpecError> {
    let container = word(&request.container, Container::Mp4)?;
    let codec = match container {
        _ if container.sound_alone() => word(&request.codec, Codec::None)?,
        Container::Webm => word(&request.codec, Codec::Vp9)?,
        _ => word(&request.codec, Codec::H264)?,
    };
    let audio = match container {
        Container::Webm | Container::Opus => word(&request.audio, Audio::Opus)?,
        Container::Flac => word(&request.audio, Audio::Flac)?,
        _ => word(&request.audio, Audio::Aac)?,
    };
    check_video(codec, container)?;
    check_audio(audio, container)?;
    let shard_ms = request.shard_ms.unwrap_or(SHARD_MS_DEFAULT);
    let range = "0.5 to 600";
    let (low, high) = (SHARD_MS_MIN.into(), SHARD_MS_MAX.into());
    milli_in_range("shard-seconds", shard_ms.into(), low, high, range)?;

    let mut spec = Spec {
        codec: codec.into(),
        contrast_milli: 1000,
        saturation_milli: 1000,
        audio: audio.into(),
        container: container.into(),
        shard_ms,
        subtitles: word(&request.subtitles, Subtitles::Keep)?.into(),
        strip_metadata: request.strip_metadata,
        keep_location: request.keep_location,
        strict: request.strict,
        ..Default::default()
    };
    if codec != Codec::None {
        resolve_picture(request, &mut spec)?;
        resolve_encoder(request, &mut spec)?;
    }
    resolve_sound(request, &mut spec)?;
    Ok(spec)
}

fn word<T: Word>(word: &str, default: T) -> Result<T, SpecError> {
    match word {
        "" => Ok(default),
        word => T::parse(word),
    }
}

/// Size, rate and filters.
fn resolve_picture(request: &SpecRequest, spec: &mut Spec) -> Result<(), SpecError> {
    let (pad_width, pad_height) = request.pad.unzip();
    for (what, side) in [
        ("width", request.width),
        ("height", request.height),
        ("pad width", pad_width),
        ("pad height", pad_height),
    ] {
        if let Some(side) = side {
            even(what, side, 2)?;
        }
    }
    if let Some(crop) = request.crop {
        even("crop width", crop.width, 2)?;
        even("crop height", crop.height, 2)?;
        even("crop x", crop.x, 0)?;
        even("crop y", crop.y, 0)?;
    }
    let too_small = |side: Option<u32>, pad| side.zip(pad).is_some_and(|(side, pad)| pad < side);
    if too_small(request.width, pad_width) || too_small(request.height, pad_height) {
        return Err(SpecError::Clash {
            wish: "a padded canvas that is smaller than the picture",
            other: "--width and --height".into(),
            hint: "make the canvas at least as large as the picture",
        });
    }
    if let Some((num, den)) = request.fps {
        let range = "a rate above 0 and up to 300, as 25 or 30000/1001";
        in_range("fps denominator", den.into(), 1, 1_000_000, range)?;
        let high = i64::from(FPS_MAX) * i64::from(den);
        in_range("fps", num.into(), 1, high, range)?;
        (spec.fps_num, spec.fps_den) = (num, den);
    }
    let milli = |what, asked: Option<i32>, neutral: i32, low, high, range| {
        let value = asked.unwrap_or(neutral);
        milli_in_range(what, value.into(), low, high, range).map(|()| value)
    };
    spec.brightness_milli = milli(
        "brightness",
        request.brightness_milli,
        0,
        -1000,
        1000,
        "-1 to 1",
    )?;
    spec.contrast_milli = milli("contrast", request.contrast_milli, 1000, 0, 2000, "0 to 2")?;
    spec.saturation_milli = milli(
        "saturation",
        request.saturation_milli,
        1000,
        0,
        3000,
        "0 to 3",
    )?;
    spec.width = request.width.unwrap_or(0);
    spec.height = request.height.unwrap_or(0);
    spec.pad_width = pad_width.unwrap_or(0);
    spec.pad_height = pad_height.unwrap_or(0);
    spec.crop = request.crop;
    spec.deinterlace = word(&request.deinterlace, Deinterlace::Off)?.into();
    spec.denoise = word(&request.denoise, Denoise::Off)?.into();
    Ok(())
}

/// A side or place in a picture whose chroma has half the samples.
fn even(what: &'static str, found: u32, low: u32) -> Result<(), SpecError> {
    let range = match low {
        0 => "an even number up to 16384",
        _ => "an even number from 2 to 16384",
    };
    in_range(
        what,
        found.into(),
        low.into(),
        PICTURE_SIDE_MAX.into(),
        range,
    )?;
    if found.is_multiple_of(2) {
        return Ok(());
    }
    let found = found.to_string();
    Err(SpecError::OutOfRange { what, found, range })
}

/// Quality, preset and pixel format.
fn resolve_encoder(request: &SpecRequest, spec: &mut Spec) -> Result<(), SpecError> {
    let codec = spec.codec();
    let (crf_default, crf_max) = codec.crf();
    if let Some(crf) = request.crf {
        let range = match crf_max {
            0 => "no crf: ffv1 is lossless",
            51 => "0 to 51",
            _ => "0 to 63",
        };
        in_range("crf", crf.into(), 0, crf_max.into(), range)?;
    }
    spec.crf = request.crf.unwrap_or(crf_default);
    spec.preset = resolve_preset(codec, &request.preset)?;
    spec.pix_fmt = resolve_pix_fmt(codec, &request.pix_fmt)?;
    Ok(())
}

/// Bit rate, loudness and the choice of tracks.
fn resolve_sound(request: &SpecRequest, spec: &mut Spec) -> Result<(), SpecError> {
    let audio = spec.audio();
    if matches!(audio, Audio::Aac | Audio::Opus) {
        let rate = request.audio_bitrate.unwrap_or(128_000);
        in_range("audio-bitrate", rate.into(), 8_000, 510_000, "8k to 510k")?;
        spec.audio_bitrate = rate;
    }
    if let Some(loudness) = request.loudness_mlufs {
        let range = "-70 to -5";
        milli_in_range("loudness", loudness.into(), -70_000, -5_000, range)?;
        if matches!(audio, Audio::Copy | Audio::None) {
            return Err(SpecError::Clash {
                wish: "--loudness",
                other: format!("--audio {}", audio.name()),
                hint: "loudness is changed by encoding: choose aac, opus or flac",
            });
        }
        spec.loudness_mlufs = loudness;
    }
    let tracks = &request.audio_tracks;
    let distinct = (tracks.iter().enumerate()).all(|(at, track)| !tracks[..at].contains(track));
    if tracks.contains(&0) || tracks.len() > TRACKS_MAX || !distinct {
        return Err(SpecError::OutOfRange {
            what: "audio-tracks",
            found: tracks
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(","),
            range: "up to 32 different numbers of tracks, from 1",
        });
    }
    spec.audio_tracks.clone_from(tracks);
    Ok(())
}

fn check_video(codec: Codec, container: Container) -> Result<(), SpecError> {
    use Container::{Mkv, Mov, Mp4, Webm};
    let hint = match (codec, container) {
        (Codec::None, container) if container.sound_alone() => return Ok(()),
        (Codec::None, _) => "choose h264, hevc, vp9, av1 or ffv1",
        (_, container) if container.sound_alone() => {
            "this container holds sound alone: leave --codec out, or write an .mp4 or .mkv"
        }
        (_, Mkv) => return Ok(()),
        (Codec::H264 | Codec::Hevc, Mp4 | Mov) | (Codec::Vp9 | Codec::Av1, Mp4 | Webm) => {
            return Ok(());
        }
        (Codec::Ffv1, _) => "store ffv1 in an .mkv file",
        (_, Webm) => "WebM takes vp9 or av1; for this codec write an .mkv or .mp4",
        (_, _) => "MOV takes h264 or hevc; for this codec write an .mkv or .mp4",
    };
    Err(SpecError::Pair {
        inner: codec.name(),
        container: container.name(),
        hint,
    })
}

/// Copied audio is judged when the source is known.
fn check_audio(audio: Audio, container: Container) -> Result<(), SpecError> {
    use Container::{Flac, M4a, Mkv, Mov, Mp4, Opus, Webm};
    let hint = match (audio, container) {
        (Audio::None, container) if container.sound_alone() => {
            "this container holds sound alone: choose a codec for it"
        }
        (Audio::Copy | Audio::None, _) | (_, Mkv | Mp4) => return Ok(()),
        (Audio::Aac, Mov | M4a) | (Audio::Opus, Webm | Opus) | (Audio::Flac, Flac) => return Ok(()),
        (_, Webm | Opus) => "it takes opus alone",
        (_, Flac) => "it takes flac alone",
        (_, Mov | M4a) => "it takes aac; for this codec write an .mkv or .mp4",
    };
    Err(SpecError::Pair {
        inner: audio.name(),
        container: container.name(),
        hint,
    })
}

fn resolve_preset(codec: Codec, asked: &str) -> Result<String, SpecError> {
    let number = |default: &str, high: i64, range| -> Result<String, SpecError> {
        if asked.is_empty() {
            return Ok(default.to_string());
        }
        let value: i64 = asked.parse().map_err(|_| SpecError::Unknown {
            what: "preset",
            found: asked.into(),
            known: range,
        })?;
        in_range("preset", value, 0, high, range)?;
        Ok(value.to_string())
    };
    match codec {
        Codec::H264 | Codec::Hevc => {
            let preset = if asked.is_empty() { "medium" } else { asked };
            if X26X_PRESETS.contains(&preset) {
                Ok(preset.to_string())
            } else {
                Err(SpecError::Unknown {
                    what: "preset",
                    found: asked.into(),
                    known: "ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow, placebo",
                })
            }
        }
        // libvpx's -cpu-used, SVT-AV1's -preset.
        Codec::Vp9 => number("2", 8, "a speed from 0 (slow) to 8 (fast)"),
        Codec::Av1 => number("8", 13, "a preset from 0 (slow) to 13 (fast)"),
        Codec::Ffv1 | Codec::None if asked.is_empty() => Ok(String::new()),
        Codec::Ffv1 | Codec::None => Err(SpecError::Unknown {
            what: "preset",
            found: asked.into(),
            known: "none: ffv1 has no presets",
        }),
    }
}

fn resolve_pix_fmt(codec: Codec, asked: &str) -> Result<String, SpecError> {
    if asked.is_empty() {
        return Ok(String::new());
    }
    let known: &'static str = match codec {
        Codec::Av1 => "yuv420p, yuv420p10le",
        Codec::H264 | Codec::Hevc | Codec::Vp9 | Codec::Ffv1 | Codec::None => {
            "yuv420p, yuv422p, yuv444p, yuv420p10le, yuv422p10le, yuv444p10le"
        }
    };
    let fits = PIX_FMTS.contains(&asked) && known.split(", ").any(|word| word == asked);
    if fits {
        Ok(asked.to_string())
    } else {
        Err(SpecError::Unknown {
            what: "pix-fmt",
            found: asked.into(),
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(codec: &str, container: &str) -> Result<Spec, SpecError> {
        resolve(&SpecRequest {
            codec: codec.into(),
            container: container.into(),
            ..Default::default()
        })
    }

    #[test]
    fn defaults_follow_the_container() {
        let spec = ask("", "webm").expect("valid");
        assert_eq!(
            (spec.codec(), spec.audio(), spec.crf),
            (Codec::Vp9, Audio::Opus, 31)
        );
        let spec = ask("", "").expect("valid");
        assert_eq!(
            (spec.codec(), spec.container(), spec.preset.as_str()),
            (Codec::H264, Container::Mp4, "medium")
        );
        assert_eq!(spec.contrast_milli, 1000);
    }

    #[test]
    fn pairs_that_cannot_be_are_refused_by_name() {
        for (codec, container) in [
            ("h264", "webm"),
            ("hevc", "webm"),
            ("ffv1", "webm"),
            ("ffv1", "mp4"),
            ("vp9", "mov"),
            ("h264", "m4a"),
        ] {
            let error = ask(codec, container).expect_err("refused");
            assert!(
                error.to_string().contains(codec) && error.to_string().contains(container),
                "{error}"
            );
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn sound_alone_has_no_picture_and_must_have_sound() {
        let spec = ask("", "flac").expect("valid");
        assert_eq!((spec.codec(), spec.audio()), (Codec::None, Audio::Flac));
        assert_eq!((spec.crf, spec.preset.as_str()), (0, ""));
        let silent = SpecRequest {
            container: "m4a".into(),
            audio: "none".into(),
            ..Default::default()
        };
        assert!(resolve(&silent).is_err());
        assert!(ask("none", "mkv").is_err());
    }

    #[test]
    fn wishes_that_contradict_are_refused() {
        let refused = |request: SpecRequest| resolve(&request).expect_err("refused").to_string();
        let copied = refused(SpecRequest {
            audio: "copy".into(),
            loudness_mlufs: Some(-16_000),
            ..Default::default()
        });
        assert!(copied.contains("--loudness"), "{copied}");
        let twice = refused(SpecRequest {
            audio_tracks: vec![2, 1, 2],
            ..Default::default()
        });
        assert!(twice.contains("2,1,2"), "{twice}");
        let canvas = refused(SpecRequest {
            width: Some(640),
            pad: Some((320, 480)),
            ..Default::default()
        });
        assert!(canvas.contains("canvas"), "{canvas}");
        let odd = refused(SpecRequest {
            crop: Some(Crop {
                width: 64,
                height: 64,
                x: 3,
                y: 0,
            }),
            ..Default::default()
        });
        assert!(odd.contains("crop x"), "{odd}");
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for width in [0, 1, 3, 100_000] {
            let request = SpecRequest {
                width: Some(width),
                ..Default::default()
            };
            let error = resolve(&request).expect_err("refused");
            assert!(error.to_string().contains("width"), "{error}");
        }
    }
}
