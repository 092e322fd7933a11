//! What the output shall be: the request as a user gives it, and the resolved
//! spec with every default filled in. The resolved spec is part of P1: two
//! equal ones over equal sources and builds give equal bytes.

mod resolve;
mod words;

pub use resolve::resolve;
use words::Word;
pub use words::{Audio, Codec, Container, Deinterlace, Denoise, Subtitles};

use crate::limits::{
    FPS_MAX, PICTURE_SIDE_MAX, SHARD_MS_DEFAULT, SHARD_MS_MAX, SHARD_MS_MIN, TRACKS_MAX,
};

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
    /// aac, opus, flac, copy or none.
    pub audio: String,
    /// Bits a second.
    pub audio_bitrate: Option<u32>,
    /// mp4, mkv, webm, mov, m4a, opus or flac.
    pub container: String,
    /// Aimed-at shard length in milliseconds.
    pub shard_ms: Option<u32>,
    /// Thousandths, 0 to 3000, 1000 neutral.
    pub saturation_milli: Option<i32>,
    /// off, auto or on.
    pub deinterlace: String,
    /// The part of the picture that is kept.
    pub crop: Option<Crop>,
    /// Size of the black canvas in whose middle the picture is put.
    pub pad: Option<(u32, u32)>,
    /// off, light, medium or strong.
    pub denoise: String,
    /// Aimed-at loudness in thousandths of LUFS (EBU R 128), below zero.
    pub loudness_mlufs: Option<i32>,
    /// Numbers of the audio tracks that are taken, from 1; empty takes all.
    pub audio_tracks: Vec<u32>,
    /// keep or none.
    pub subtitles: String,
    /// Whether tags and chapters are left out.
    pub strip_metadata: bool,
    /// Whether tags that tell a place are kept.
    pub keep_location: bool,
    /// Whether a source with decode errors is refused.
    pub strict: bool,
}

/// A part of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Crop {
    /// Pixels.
    #[prost(uint32, tag = "1")]
    pub width: u32,
    /// Pixels.
    #[prost(uint32, tag = "2")]
    pub height: u32,
    /// Pixels left of it.
    #[prost(uint32, tag = "3")]
    pub x: u32,
    /// Pixels above it.
    #[prost(uint32, tag = "4")]
    pub y: u32,
}

/// The resolved spec. Only `pix_fmt` and the size may still say "as the source
/// has it", which the source's bytes then decide. Where the container holds
/// sound alone, all that is about the picture is neutral.
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
    /// Pixel format; empty follows the source: FFV1 keeps it, the others keep
    /// its depth of 8 or 10 bit at 4:2:0.
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
    /// Thousandths, 1000 neutral.
    #[prost(sint32, tag = "15")]
    pub saturation_milli: i32,
    /// Whether fields are woven into frames.
    #[prost(enumeration = "Deinterlace", tag = "16")]
    pub deinterlace: i32,
    /// The part of the picture that is kept, before it is scaled.
    #[prost(message, optional, tag = "17")]
    pub crop: Option<Crop>,
    /// Width of the black canvas around the scaled picture; 0 for none.
    #[prost(uint32, tag = "18")]
    pub pad_width: u32,
    /// Height of that canvas; 0 for none.
    #[prost(uint32, tag = "19")]
    pub pad_height: u32,
    /// How much noise is taken out.
    #[prost(enumeration = "Denoise", tag = "20")]
    pub denoise: i32,
    /// Aimed-at loudness in thousandths of LUFS; 0 leaves it alone.
    #[prost(sint32, tag = "21")]
    pub loudness_mlufs: i32,
    /// Audio tracks that are taken, from 1, in the output's order; empty takes
    /// all.
    #[prost(uint32, repeated, tag = "22")]
    pub audio_tracks: Vec<u32>,
    /// What becomes of subtitles.
    #[prost(enumeration = "Subtitles", tag = "23")]
    pub subtitles: i32,
    /// Whether tags and chapters are left out.
    #[prost(bool, tag = "24")]
    pub strip_metadata: bool,
    /// Whether tags that tell a place are kept.
    #[prost(bool, tag = "25")]
    pub keep_location: bool,
    /// Whether a source with decode errors is refused.
    #[prost(bool, tag = "26")]
    pub strict: bool,
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
    /// Two wishes that contradict each other.
    #[error("{wish} can't go with {other}")]
    Clash {
        /// The one.
        wish: &'static str,
        /// The other.
        other: String,
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
            SpecError::Pair { hint, .. } | SpecError::Clash { hint, .. } => (*hint).to_string(),
        }
    }
}

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
    /// Default quality and its upper bound, in the encoder's own scale.
    fn crf(self) -> (u32, u32) {
        match self {
            Codec::H264 => (23, 51),
            Codec::Hevc => (28, 51),
            Codec::Vp9 => (31, 63),
            Codec::Av1 => (35, 63),
            Codec::Ffv1 | Codec::None => (0, 0),
        }
    }
}
