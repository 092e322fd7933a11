//! From what was asked for to what will be done: every default filled in,
//! every impossible option refused by name.

use super::{
    amount::{Amount, resolve_amount},
    audio::{AudioOptions, resolve_audio},
    bounds::{SHARD_SECONDS, word},
    choices::{Codec, Subtitles},
    encoder::{Encoder, EncoderOptions, resolve_encoder},
    error::SpecError,
    formats::{FormatOptions, resolve_formats},
    options::{Spec, SpecRequest},
    picture::{Picture, PictureOptions, resolve_picture},
    streams::{StreamOptions, resolve_streams},
};

/// The options of a request by what they are about.
struct Options<'a> {
    formats: FormatOptions<'a>,
    picture: PictureOptions<'a>,
    encoder: EncoderOptions<'a>,
    amount: (Option<u32>, &'a Amount),
    audio: AudioOptions<'a>,
    streams: StreamOptions,
    other: OtherOptions<'a>,
}

struct OtherOptions<'a> {
    shard_ms: Option<u32>,
    subtitles: &'a str,
    strip_metadata: bool,
    keep_location: bool,
    strict: bool,
}

impl<'a> From<&'a SpecRequest> for Options<'a> {
    /// Takes the request apart without `..`: an option that is added and not
    /// taken up here does not compile.
    fn from(request: &'a SpecRequest) -> Self {
        let SpecRequest {
            width,
            height,
            fps,
            codec,
            crf,
            preset,
            pix_fmt,
            brightness_milli,
            contrast_milli,
            audio,
            audio_bitrate,
            container,
            shard_ms,
            saturation_milli,
            deinterlace,
            crop,
            pad,
            denoise,
            loudness_mlufs,
            audio_tracks,
            subtitles,
            strip_metadata,
            keep_location,
            strict,
            program,
            video_track,
            ignore_dolby_vision,
            amount,
            encoder_choice,
        } = request;
        Options {
            formats: FormatOptions::new(container, codec, audio),
            picture: PictureOptions {
                width: *width,
                height: *height,
                fps: *fps,
                crop: *crop,
                pad: *pad,
                brightness_milli: *brightness_milli,
                contrast_milli: *contrast_milli,
                saturation_milli: *saturation_milli,
                deinterlace,
                denoise,
            },
            encoder: EncoderOptions {
                crf: *crf,
                preset,
                pix_fmt,
                choice: encoder_choice,
            },
            amount: (*crf, amount),
            audio: AudioOptions {
                bitrate: *audio_bitrate,
                loudness_mlufs: *loudness_mlufs,
                tracks: audio_tracks,
            },
            streams: StreamOptions::new(*program, *video_track, *ignore_dolby_vision),
            other: OtherOptions {
                shard_ms: *shard_ms,
                subtitles,
                strip_metadata: *strip_metadata,
                keep_location: *keep_location,
                strict: *strict,
            },
        }
    }
}

/// Fills in every default and refuses what can't be done.
///
/// # Errors
/// [`SpecError`] names the option, what was found and what would do.
pub fn resolve(request: &SpecRequest) -> Result<Spec, SpecError> {
    let options = Options::from(request);
    let formats = resolve_formats(options.formats)?;
    let shard_ms = resolve_shard_ms(options.other.shard_ms)?;
    let subtitles = word(options.other.subtitles, Subtitles::Keep)?;
    let (picture, encoder) = match formats.codec {
        Codec::None => (Picture::neutral(), Encoder::default()),
        codec => (
            resolve_picture(options.picture)?,
            resolve_encoder(codec, options.encoder)?,
        ),
    };
    let (crf, amount) = options.amount;
    let amount = resolve_amount(formats.codec, crf, amount)?;
    let aims = amount.as_ref().is_some_and(|amount| amount.aim().is_some());
    let audio = resolve_audio(formats.audio, options.audio)?;
    let streams = resolve_streams(formats.codec, options.streams)?;
    // Without `..` as well: a new field of the spec must be filled in here.
    Ok(Spec {
        width: picture.size.0,
        height: picture.size.1,
        fps_num: picture.fps.0,
        fps_den: picture.fps.1,
        codec: formats.codec.into(),
        // What is found by an aim has none beforehand.
        crf: if aims { 0 } else { encoder.crf },
        preset: encoder.preset,
        pix_fmt: encoder.pix_fmt,
        brightness_milli: picture.brightness_milli,
        contrast_milli: picture.contrast_milli,
        audio: formats.audio.into(),
        audio_bitrate: audio.bitrate,
        container: formats.container.into(),
        shard_ms,
        saturation_milli: picture.saturation_milli,
        deinterlace: picture.deinterlace.into(),
        crop: picture.crop,
        pad_width: picture.pad.0,
        pad_height: picture.pad.1,
        denoise: picture.denoise.into(),
        loudness_mlufs: audio.loudness_mlufs,
        audio_tracks: audio.tracks,
        subtitles: subtitles.into(),
        strip_metadata: options.other.strip_metadata,
        keep_location: options.other.keep_location,
        strict: options.other.strict,
        program: streams.program,
        video_track: streams.video_track,
        ignore_dolby_vision: streams.ignore_dolby_vision,
        amount,
        rate_centi: 0,
        encoder_choice: encoder.choice,
    })
}

fn resolve_shard_ms(asked: Option<u32>) -> Result<u32, SpecError> {
    let Some(shard_ms) = asked else { return Ok(0) };
    SHARD_SECONDS.check(shard_ms)?;
    Ok(shard_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Audio, Container, Crop, EncoderChoice};

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
    fn options_that_contradict_are_refused() {
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
        let both = refused(SpecRequest {
            program: Some(2),
            video_track: Some(1),
            ..Default::default()
        });
        assert!(both.contains("--program"), "{both}");
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
    fn one_thing_says_how_much_is_spent() {
        let amount = |size_bytes, bitrate, target: &str, percent| Amount {
            size_bytes,
            bitrate,
            target: target.into(),
            max_encoded_percent: percent,
            ..Amount::default()
        };
        let ask = |crf, codec: &str, amount| {
            let container = if codec == "ffv1" { "mkv" } else { "" };
            let spec = resolve(&SpecRequest {
                crf,
                codec: codec.into(),
                container: container.into(),
                amount,
                ..Default::default()
            });
            spec.map_err(|error| error.to_string())
        };
        let target = "ssim=0.98";
        for (crf, two) in [
            (Some(20), amount(700_000_000, 0, "", 0)),
            (Some(20), amount(0, 2_000_000, "", 0)),
            (Some(20), amount(0, 0, target, 0)),
            (None, amount(700_000_000, 2_000_000, "", 0)),
            (None, amount(700_000_000, 0, target, 0)),
            (None, amount(0, 2_000_000, target, 0)),
        ] {
            let refused = ask(crf, "", two).expect_err("refused");
            assert!(refused.contains("can't go with --"), "{refused}");
        }
        assert!(ask(None, "ffv1", amount(700_000_000, 0, "", 0)).is_err());
        assert!(ask(None, "", amount(0, 0, "", 80)).is_err());
        assert!(ask(None, "", amount(0, 0, "ssim=2", 0)).is_err());
        let found = ask(None, "", amount(0, 0, "ssim=0.980", 80)).expect("valid");
        let said = found.amount.as_ref().map(|amount| amount.target.as_str());
        assert_eq!((found.crf, said), (0, Some(target)));
        assert_eq!(
            ask(Some(20), "", Amount::default()).expect("valid").amount,
            None
        );
    }

    #[test]
    fn what_an_encoder_is_told_is_checked_by_codec() {
        let ask = |codec: &str, encoder_choice: EncoderChoice| {
            let container = if codec == "ffv1" { "mkv" } else { "" };
            let spec = resolve(&SpecRequest {
                codec: codec.into(),
                container: container.into(),
                encoder_choice,
                ..Default::default()
            });
            spec.map_err(|error| error.to_string())
        };
        let cap = |maxrate, bufsize| EncoderChoice {
            maxrate,
            bufsize,
            ..Default::default()
        };
        let tune = |tune: &str| EncoderChoice {
            tune: tune.into(),
            ..Default::default()
        };
        let two_seconds = ask("h264", cap(2_000_000, 0)).expect("valid").cap();
        assert_eq!(two_seconds, Some((2_000_000, 4_000_000)));
        let asked = ask("av1", cap(2_000_000, 1_000_000)).expect("valid").cap();
        assert_eq!(asked, Some((2_000_000, 1_000_000)));
        for (codec, choice, cause) in [
            ("h264", cap(0, 1_000_000), "--bufsize"),
            ("h264", cap(2_000_000, 900_000), "--bufsize"),
            ("h264", cap(5_000, 0), "maxrate 5000"),
            ("ffv1", cap(2_000_000, 0), "--codec ffv1"),
            ("hevc", tune("film"), "tune 'film'"),
            ("vp9", tune("grain"), "tune 'grain'"),
        ] {
            let refused = ask(codec, choice).expect_err("refused");
            assert!(refused.contains(cause), "{refused}");
        }
        assert_eq!(ask("hevc", tune("grain")).expect("valid").tune(), "grain");
        assert_eq!(ask("hevc", tune("")).expect("valid").encoder_choice, None);
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

    /// Requests that each set one option. The list names every field, or it
    /// does not compile.
    macro_rules! one_option_each {
        ($($option:ident = $value:expr,)+) => {{
            let _all = SpecRequest { $($option: $value,)+ };
            [$((
                stringify!($option),
                SpecRequest { $option: $value, ..Default::default() },
            ),)+]
        }};
    }

    #[test]
    fn every_option_reaches_the_resolved_spec() {
        let crop = Crop {
            width: 64,
            height: 48,
            x: 2,
            y: 4,
        };
        let requests = one_option_each![
            width = Some(640),
            height = Some(480),
            fps = Some((30_000, 1_001)),
            codec = "hevc".into(),
            crf = Some(30),
            preset = "slow".into(),
            pix_fmt = "yuv422p".into(),
            brightness_milli = Some(100),
            contrast_milli = Some(1_100),
            audio = "opus".into(),
            audio_bitrate = Some(96_000),
            container = "mkv".into(),
            shard_ms = Some(2_000),
            saturation_milli = Some(900),
            deinterlace = "auto".into(),
            crop = Some(crop),
            pad = Some((1_280, 720)),
            denoise = "light".into(),
            loudness_mlufs = Some(-16_000),
            audio_tracks = vec![2, 1],
            subtitles = "none".into(),
            strip_metadata = true,
            keep_location = true,
            strict = true,
            program = Some(2),
            video_track = Some(2),
            ignore_dolby_vision = true,
            amount = Amount {
                size_bytes: 700_000_000,
                ..Default::default()
            },
            encoder_choice = EncoderChoice {
                keyint_milli: 2_000,
                ..Default::default()
            },
        ];
        let mut specs = vec![("none", resolve(&SpecRequest::default()).expect("valid"))];
        for (option, request) in requests {
            let spec = resolve(&request).expect("valid");
            for (other, same) in &specs {
                assert_ne!(spec, *same, "{option} gives the spec of {other}");
            }
            specs.push((option, spec));
        }
    }

    #[test]
    fn to_hold_a_source_changes_nothing_in_the_output() {
        let ask = |measure, hold_source| {
            let amount = Amount {
                measure,
                hold_source,
                ..Default::default()
            };
            let request = SpecRequest {
                amount,
                ..Default::default()
            };
            resolve(&request).expect("valid")
        };
        let held = ask(false, true);
        assert!(held.holds_source() && !held.aims_or_measures());
        assert_ne!(ask(false, false), held);
        assert_eq!(ask(false, false), *held.as_made());
        assert_eq!(ask(true, false), *ask(true, true).as_made());
        assert!(ask(true, true).aims_or_measures());
    }
}
