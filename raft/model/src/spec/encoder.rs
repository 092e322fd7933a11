//! The encoder's options: quality, preset and pixel format, each in the
//! codec's own terms.

use super::{
    bounds::{CRF, in_range},
    choices::Codec,
    error::SpecError,
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
}

/// The default is that of a job without a picture.
#[derive(Default)]
pub(super) struct Encoder {
    pub crf: u32,
    pub preset: String,
    pub pix_fmt: String,
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
    })
}

const CRF_MAX: u32 = CRF.high as u32;

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
