//! What the output shall be: the request as a user gives it, and the resolved
//! spec with every default filled in. The resolved spec is part of P1: two
//! equal ones over equal sources and builds give equal bytes.

mod resolve;

pub use resolve::resolve;

use crate::limits::{FPS_MAX, PICTURE_SIDE_MAX, SHARD_MS_DEFAULT, SHARD_MS_MAX, SHARD_MS_MIN};

/// Video codec of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Codec {
    /// H.264 by libx264.
    H264 = 0,
    /// HEVC by libx265.
    Hevc = 1,
    /// VP9 by libvpx.
    Vp9 = 2,
    /// AV1 by SVT-AV1.
    Av1 = 3,
    /// FFV1 version 3, lossless.
    Ffv1 = 4,
}

/// What becomes of the source's first audio track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Audio {
    /// Encoded as AAC-LC by ffmpeg's own encoder.
    Aac = 0,
    /// Encoded as Opus by libopus.
    Opus = 1,
    /// Its packets are kept as they are.
    Copy = 2,
    /// Left out.
    None = 3,
}

/// Container of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Container {
    /// ISO base media, index first.
    Mp4 = 0,
    /// Matroska.
    Mkv = 1,
    /// WebM.
    Webm = 2,
}

/// A spec as asked for: `None` or empty means "the default".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecRequest {
    /// Picture width in pixels.
    pub width: Option<u32>,
    /// Picture height in pixels.
    pub height: Option<u32>,
    /// Frame rate as numerator and denominator, frames a second.
    pub fps: Option<(u32, u32)>,
    /// h264, hevc, vp9, av1 or ffv1.
    pub codec: String,
    /// Constant quality factor, in the codec's own scale.
    pub crf: Option<u32>,
    /// Preset name of the encoder (for VP9 and AV1 its speed number).
    pub preset: String,
    /// ffmpeg's pixel format name.
    pub pix_fmt: String,
    /// Thousandths, -1000 to 1000, 0 neutral.
    pub brightness_milli: Option<i32>,
    /// Thousandths, 0 to 2000, 1000 neutral.
    pub contrast_milli: Option<i32>,
    /// aac, opus, copy or none.
    pub audio: String,
    /// Bits a second.
    pub audio_bitrate: Option<u32>,
    /// mp4, mkv or webm.
    pub container: String,
    /// Aimed-at shard length in milliseconds.
    pub shard_ms: Option<u32>,
}

/// The resolved spec. Only `pix_fmt` (for FFV1) and the size may still say
/// "as the source has it", which the source's bytes then decide.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Spec {
    /// Pixels; 0 keeps the source's, or the aspect where the other is given.
    #[prost(uint32, tag = "1")]
    pub width: u32,
    /// Pixels; 0 keeps the source's, or the aspect where the other is given.
    #[prost(uint32, tag = "2")]
    pub height: u32,
    /// Frames a second, numerator; 0 keeps the source's times (passthrough).
    #[prost(uint32, tag = "3")]
    pub fps_num: u32,
    /// Frames a second, denominator; 0 with `fps_num` 0.
    #[prost(uint32, tag = "4")]
    pub fps_den: u32,
    /// The video codec.
    #[prost(enumeration = "Codec", tag = "5")]
    pub codec: i32,
    /// Constant quality; without meaning for FFV1, where it is 0.
    #[prost(uint32, tag = "6")]
    pub crf: u32,
    /// Encoder preset; empty for FFV1.
    #[prost(string, tag = "7")]
    pub preset: String,
    /// Pixel format; empty keeps the source's (FFV1 only).
    #[prost(string, tag = "8")]
    pub pix_fmt: String,
    /// Thousandths, 0 neutral.
    #[prost(sint32, tag = "9")]
    pub brightness_milli: i32,
    /// Thousandths, 1000 neutral.
    #[prost(sint32, tag = "10")]
    pub contrast_milli: i32,
    /// What becomes of the audio.
    #[prost(enumeration = "Audio", tag = "11")]
    pub audio: i32,
    /// Bits a second; 0 where audio is copied or left out.
    #[prost(uint32, tag = "12")]
    pub audio_bitrate: u32,
    /// The container.
    #[prost(enumeration = "Container", tag = "13")]
    pub container: i32,
    /// Aimed-at shard length in milliseconds.
    #[prost(uint32, tag = "14")]
    pub shard_ms: u32,
}

/// Why a spec is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A word that names no codec, audio mode or container.
    #[error("{what} '{found}' is not known")]
    Unknown {
        /// Which option.
        what: &'static str,
        /// What was given.
        found: String,
        /// The words that are known.
        known: &'static str,
    },
    /// A number out of its range.
    #[error("{what} {found} is out of range")]
    OutOfRange {
        /// Which option.
        what: &'static str,
        /// What was given, in the unit in which users write it.
        found: String,
        /// The range in words.
        range: &'static str,
    },
    /// Two choices that can't go together.
    #[error("{inner} can't be stored in {container}")]
    Pair {
        /// The codec or audio mode.
        inner: &'static str,
        /// The container.
        container: &'static str,
        /// What would go.
        hint: &'static str,
    },
}

impl SpecError {
    /// What the user could do next.
    pub fn hint(&self) -> String {
        match self {
            SpecError::Unknown { known, .. } => format!("choose one of {known}"),
            SpecError::OutOfRange { range, .. } => format!("use {range}"),
            SpecError::Pair { hint, .. } => (*hint).to_string(),
        }
    }
}

const CODECS: &str = "h264, hevc, vp9, av1, ffv1";
const AUDIOS: &str = "aac, opus, copy, none";
const CONTAINERS: &str = "mp4, mkv, webm";

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
/// them; which codec takes which is checked in [`resolve`].
const PIX_FMTS: [&str; 6] = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
];

impl Codec {
    /// The word a user writes.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::Hevc => "hevc",
            Codec::Vp9 => "vp9",
            Codec::Av1 => "av1",
            Codec::Ffv1 => "ffv1",
        }
    }

    fn parse(word: &str) -> Result<Self, SpecError> {
        Ok(match word {
            "h264" => Codec::H264,
            "hevc" => Codec::Hevc,
            "vp9" => Codec::Vp9,
            "av1" => Codec::Av1,
            "ffv1" => Codec::Ffv1,
            _ => {
                return Err(SpecError::Unknown {
                    what: "codec",
                    found: word.into(),
                    known: CODECS,
                });
            }
        })
    }

    /// Default quality and its upper bound, in the encoder's own scale.
    fn crf(self) -> (u32, u32) {
        match self {
            Codec::H264 => (23, 51),
            Codec::Hevc => (28, 51),
            Codec::Vp9 => (31, 63),
            Codec::Av1 => (35, 63),
            Codec::Ffv1 => (0, 0),
        }
    }
}

impl Audio {
    /// The word a user writes.
    pub fn name(self) -> &'static str {
        match self {
            Audio::Aac => "aac",
            Audio::Opus => "opus",
            Audio::Copy => "copy",
            Audio::None => "none",
        }
    }

    fn parse(word: &str) -> Result<Self, SpecError> {
        Ok(match word {
            "aac" => Audio::Aac,
            "opus" => Audio::Opus,
            "copy" => Audio::Copy,
            "none" => Audio::None,
            _ => {
                return Err(SpecError::Unknown {
                    what: "audio",
                    found: word.into(),
                    known: AUDIOS,
                });
            }
        })
    }
}

impl Container {
    /// The word a user writes, and the usual file ending.
    pub fn name(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Mkv => "mkv",
            Container::Webm => "webm",
        }
    }

    fn parse(word: &str) -> Result<Self, SpecError> {
        Ok(match word {
            "mp4" => Container::Mp4,
            "mkv" => Container::Mkv,
            "webm" => Container::Webm,
            _ => {
                return Err(SpecError::Unknown {
                    what: "container",
                    found: word.into(),
                    known: CONTAINERS,
                });
            }
        })
    }
}
