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
    let container = match request.container.as_str() {
        "" => Container::Mp4,
        word => Container::parse(word)?,
    };
    let codec = match request.codec.as_str() {
        "" if container == Container::Webm => Codec::Vp9,
        "" => Codec::H264,
        word => Codec::parse(word)?,
    };
    let audio = match request.audio.as_str() {
        "" if container == Container::Webm => Audio::Opus,
        "" => Audio::Aac,
        word => Audio::parse(word)?,
    };
    check_pairs(codec, audio, container)?;

    for (what, side) in [("width", request.width), ("height", request.height)] {
        if let Some(side) = side {
            in_range(
                what,
                side.into(),
                2,
                PICTURE_SIDE_MAX.into(),
                "an even number from 2 to 16384",
            )?;
            if side % 2 != 0 {
                return Err(SpecError::OutOfRange {
                    what,
                    found: side.to_string(),
                    range: "an even number from 2 to 16384",
                });
            }
        }
    }
    let (fps_num, fps_den) = match request.fps {
        None => (0, 0),
        Some((num, den)) => {
            let range = "a rate above 0 and up to 300, as 25 or 30000/1001";
            in_range("fps denominator", den.into(), 1, 1_000_000, range)?;
            in_range(
                "fps",
                num.into(),
                1,
                i64::from(FPS_MAX) * i64::from(den),
                range,
            )?;
            (num, den)
        }
    };
    let (crf_default, crf_max) = codec.crf();
    let crf = match request.crf {
        None => crf_default,
        Some(crf) => {
            in_range(
                "crf",
                crf.into(),
                0,
                crf_max.into(),
                match crf_max {
                    0 => "no crf: ffv1 is lossless",
                    51 => "0 to 51",
                    _ => "0 to 63",
                },
            )?;
            crf
        }
    };
    let brightness_milli = request.brightness_milli.unwrap_or(0);
    milli_in_range(
        "brightness",
        brightness_milli.into(),
        -1000,
        1000,
        "-1 to 1",
    )?;
    let contrast_milli = request.contrast_milli.unwrap_or(1000);
    milli_in_range("contrast", contrast_milli.into(), 0, 2000, "0 to 2")?;
    let audio_bitrate = match audio {
        Audio::Copy | Audio::None => 0,
        Audio::Aac | Audio::Opus => {
            let rate = request.audio_bitrate.unwrap_or(128_000);
            in_range("audio-bitrate", rate.into(), 8_000, 510_000, "8k to 510k")?;
            rate
        }
    };
    let shard_ms = request.shard_ms.unwrap_or(SHARD_MS_DEFAULT);
    milli_in_range(
        "shard-seconds",
        shard_ms.into(),
        SHARD_MS_MIN.into(),
        SHARD_MS_MAX.into(),
        "0.5 to 600",
    )?;

    Ok(Spec {
        width: request.width.unwrap_or(0),
        height: request.height.unwrap_or(0),
        fps_num,
        fps_den,
        codec: codec.into(),
        crf,
        preset: resolve_preset(codec, &request.preset)?,
        pix_fmt: resolve_pix_fmt(codec, &request.pix_fmt)?,
        brightness_milli,
        contrast_milli,
        audio: audio.into(),
        audio_bitrate,
        container: container.into(),
        shard_ms,
    })
}

fn check_pairs(codec: Codec, audio: Audio, container: Container) -> Result<(), SpecError> {
    let pair = |inner, hint| {
        Err(SpecError::Pair {
            inner,
            container: container.name(),
            hint,
        })
    };
    match (codec, container) {
        (Codec::H264 | Codec::Hevc | Codec::Ffv1, Container::Webm) => {
            return pair(
                codec.name(),
                "WebM takes vp9 or av1; for this codec write an .mkv or .mp4",
            );
        }
        (Codec::Ffv1, Container::Mp4) => return pair(codec.name(), "store ffv1 in an .mkv file"),
        _ => {}
    }
    match (audio, container) {
        (Audio::Aac, Container::Webm) => pair(audio.name(), "WebM takes opus, or --audio none"),
        _ => Ok(()),
    }
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
        Codec::Ffv1 if asked.is_empty() => Ok(String::new()),
        Codec::Ffv1 => Err(SpecError::Unknown {
            what: "preset",
            found: asked.into(),
            known: "none: ffv1 has no presets",
        }),
    }
}

fn resolve_pix_fmt(codec: Codec, asked: &str) -> Result<String, SpecError> {
    if asked.is_empty() {
        return Ok(if codec == Codec::Ffv1 {
            String::new()
        } else {
            "yuv420p".to_string()
        });
    }
    let known: &'static str = match codec {
        Codec::Av1 => "yuv420p, yuv420p10le",
        Codec::H264 | Codec::Hevc | Codec::Vp9 | Codec::Ffv1 => {
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
