//! The encoder's options: quality and its cap, preset, tune, keyframes and pixel
//! format, each in the codec's own terms.

use super::{
    bounds::{BUFSIZE, CRF, KEYINT, MAXRATE, in_range},
    choices::Codec,
    error::SpecError,
    options::EncoderChoice,
};

/// Presets of x264 and x265, which share their names.
const X26X_PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

/// Pixel formats that the five encoders of Debian 12's ffmpeg take between
/// them; [`resolve_pix_fmt`] checks which codec takes which.
pub const PIX_FMTS: [&str; 6] = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
];

pub(super) struct EncoderOptions<'a> {
    pub crf: Option<u32>,
    pub preset: &'a str,
    pub pix_fmt: &'a str,
    pub choice: &'a EncoderChoice,
}

/// The default is that of a job without a picture.
#[derive(Default)]
pub(super) struct Encoder {
    pub crf: u32,
    pub preset: String,
    pub pix_fmt: String,
    /// None where it is nothing.
    pub choice: Option<EncoderChoice>,
}

pub(super) fn resolve_encoder(codec: Codec, options: EncoderOptions) -> Result<Encoder, SpecError> {
    let (crf_default, crf_max) = crf(codec);
    if let Some(crf) = options.crf {
        let range = match crf_max {
            0 => "no crf: ffv1 is lossless",
            51 => "0 to 51",
            _ => "0 to 63",
        };
        in_range("crf", crf.into(), 0, crf_max.into(), range)?;
    }
    Ok(Encoder {
        crf: options.crf.unwrap_or(crf_default),
        preset: resolve_preset(codec, options.preset)?,
        pix_fmt: resolve_pix_fmt(codec, options.pix_fmt)?,
        choice: resolve_choice(codec, options.choice)?,
    })
}

fn resolve_choice(codec: Codec, asked: &EncoderChoice) -> Result<Option<EncoderChoice>, SpecError> {
    let (maxrate, bufsize) = resolve_cap(codec, asked.maxrate, asked.bufsize)?;
    let choice = EncoderChoice {
        maxrate,
        bufsize,
        tune: resolve_tune(codec, &asked.tune)?,
        keyint_milli: resolve_keyint(codec, asked.keyint_milli)?,
    };
    Ok(Some(choice).filter(|choice| *choice != EncoderChoice::default()))
}

/// The highest rate and the buffer over which it holds, two seconds of it if none
/// is asked for; both 0 for a rate that has no cap.
fn resolve_cap(codec: Codec, maxrate: u32, bufsize: u32) -> Result<(u32, u32), SpecError> {
    match (maxrate, bufsize) {
        (0, 0) => return Ok((0, 0)),
        (0, _) => {
            return Err(SpecError::Clash {
                wish: "--bufsize",
                other: "a rate without a cap".into(),
                hint: "give --maxrate too",
            });
        }
        (_, _) if codec == Codec::Ffv1 => return Err(lossless("--maxrate")),
        (_, _) => MAXRATE.check(maxrate)?,
    }
    let bufsize = match bufsize {
        0 => maxrate * CAP_SECONDS,
        asked => asked,
    };
    BUFSIZE.check(bufsize)?;
    // A keyframe is as large as several frames, and has to fit in.
    if bufsize < maxrate / 2 {
        return Err(SpecError::Clash {
            wish: "--bufsize",
            other: "a rate that fills it in less than half a second".into(),
            hint: "make it one or two seconds of --maxrate",
        });
    }
    Ok((maxrate, bufsize))
}

/// Seconds of the highest rate that a buffer has where none is asked for, as is usual
/// for films that are streamed.
const CAP_SECONDS: u32 = 2;

fn lossless(wish: &'static str) -> SpecError {
    SpecError::Clash {
        wish,
        other: "--codec ffv1".into(),
        hint: "it is lossless, and all its frames are keyframes; leave the option out",
    }
}

fn resolve_keyint(codec: Codec, milli: u32) -> Result<u32, SpecError> {
    match (milli, codec) {
        (0, _) => return Ok(0),
        (_, Codec::Ffv1) => return Err(lossless("--keyint")),
        (_, _) => KEYINT.check(milli)?,
    }
    Ok(milli)
}

/// What an encoder may be tuned for, as itself names it.
fn resolve_tune(codec: Codec, asked: &str) -> Result<String, SpecError> {
    let known = match codec {
        Codec::H264 => "film, animation, grain, stillimage, fastdecode, psnr, ssim",
        Codec::Hevc => "animation, grain, fastdecode, psnr, ssim",
        Codec::Vp9 => "film, screen",
        Codec::Av1 => "vq, psnr",
        Codec::Ffv1 | Codec::None => "none: ffv1 has no tunes",
    };
    if asked.is_empty() || known.split(", ").any(|word| word == asked) {
        return Ok(asked.to_string());
    }
    Err(SpecError::Unknown {
        what: "tune",
        found: asked.into(),
        known,
    })
}

const CRF_MAX: u32 = CRF.high as u32;

impl Codec {
    /// The worst quality that its encoder takes, in its own scale.
    pub fn crf_max(self) -> u32 {
        crf(self).1
    }
}

/// The default quality and its upper bound, in the encoder's own scale.
fn crf(codec: Codec) -> (u32, u32) {
    match codec {
        Codec::H264 => (23, 51),
        Codec::Hevc => (28, 51),
        Codec::Vp9 => (31, CRF_MAX),
        Codec::Av1 => (35, CRF_MAX),
        Codec::Ffv1 | Codec::None => (0, 0),
    }
}

fn resolve_preset(codec: Codec, asked: &str) -> Result<String, SpecError> {
    let number = |default: &str, high: i64, range| -> Result<String, SpecError> {
        if asked.is_empty() {
            return Ok(default.to_string());
        }
        let value: i64 = asked.parse().map_err(|_| SpecError::Unknown {
            what: "encoder-preset",
            found: asked.into(),
            known: range,
        })?;
        in_range("encoder-preset", value, 0, high, range)?;
        Ok(value.to_string())
    };
    match codec {
        Codec::H264 | Codec::Hevc => {
            let preset = if asked.is_empty() { "medium" } else { asked };
            if X26X_PRESETS.contains(&preset) {
                Ok(preset.to_string())
            } else {
                Err(SpecError::Unknown {
                    what: "encoder-preset",
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
            what: "encoder-preset",
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
