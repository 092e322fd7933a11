//! The choices of a spec that users write as a word: codecs, containers and
//! the like. Each is a closed list, so an unknown word is refused by naming
//! the known ones.

use super::SpecError;

/// A choice among words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The option's name.
    const WHAT: &'static str;
    /// All words, for the refusal of another one.
    const KNOWN: &'static str;
    /// Every choice with its word.
    const ALL: &'static [(Self, &'static str)];

    /// The choice that a word names.
    fn parse(word: &str) -> Result<Self, SpecError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == word);
        found
            .map(|(choice, _)| *choice)
            .ok_or_else(|| SpecError::Unknown {
                what: Self::WHAT,
                found: word.into(),
                known: Self::KNOWN,
            })
    }

    /// The word of a choice.
    fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(choice, _)| *choice == self);
        found.map(|(_, name)| *name).unwrap_or_default()
    }
}

macro_rules! words {
    ($choice:ty, $what:literal, $known:literal, [$($variant:ident = $word:literal),+]) => {
        impl Word for $choice {
            const WHAT: &'static str = $what;
            const KNOWN: &'static str = $known;
            const ALL: &'static [(Self, &'static str)] = &[$((<$choice>::$variant, $word)),+];
        }
        impl $choice {
            /// The word a user writes.
            pub fn name(self) -> &'static str {
                self.word()
            }
        }
    };
}

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
    /// No video: what containers of sound alone have.
    None = 5,
}
words!(
    Codec,
    "codec",
    "h264, hevc, vp9, av1, ffv1",
    [
        H264 = "h264",
        Hevc = "hevc",
        Vp9 = "vp9",
        Av1 = "av1",
        Ffv1 = "ffv1",
        None = "none"
    ]
);

/// What becomes of the source's audio tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Audio {
    /// Encoded as AAC-LC by ffmpeg's own encoder.
    Aac = 0,
    /// Encoded as Opus by libopus.
    Opus = 1,
    /// Their packets are kept as they are.
    Copy = 2,
    /// Left out.
    None = 3,
    /// Encoded as FLAC, lossless.
    Flac = 4,
}
words!(
    Audio,
    "audio",
    "aac, opus, flac, copy, none",
    [
        Aac = "aac",
        Opus = "opus",
        Copy = "copy",
        None = "none",
        Flac = "flac"
    ]
);

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
    /// QuickTime, index first.
    Mov = 3,
    /// MP4 with sound alone, index first.
    M4a = 4,
    /// Ogg with Opus alone.
    Opus = 5,
    /// Native FLAC.
    Flac = 6,
}
words!(
    Container,
    "container",
    "mp4, mkv, webm, mov, m4a, opus, flac",
    [
        Mp4 = "mp4",
        Mkv = "mkv",
        Webm = "webm",
        Mov = "mov",
        M4a = "m4a",
        Opus = "opus",
        Flac = "flac"
    ]
);

impl Container {
    /// Whether it holds sound and no video.
    pub fn sound_alone(self) -> bool {
        matches!(self, Container::M4a | Container::Opus | Container::Flac)
    }
}

/// Whether fields are woven into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Deinterlace {
    /// Frames stay as they are.
    Off = 0,
    /// Only frames that say they are interlaced.
    Auto = 1,
    /// All frames.
    On = 2,
}
words!(
    Deinterlace,
    "deinterlace",
    "off, auto, on",
    [Off = "off", Auto = "auto", On = "on"]
);

/// How much noise is taken out, by a filter whose memory is finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Denoise {
    /// None.
    Off = 0,
    /// Sensor noise of a good camera.
    Light = 1,
    /// Dim rooms.
    Medium = 2,
    /// At the cost of fine texture.
    Strong = 3,
}
words!(
    Denoise,
    "denoise",
    "off, light, medium, strong",
    [
        Off = "off",
        Light = "light",
        Medium = "medium",
        Strong = "strong"
    ]
);

/// What becomes of subtitle tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Subtitles {
    /// Copied, or converted where the container wants another form.
    Keep = 0,
    /// Left out.
    None = 1,
}
words!(
    Subtitles,
    "subtitles",
    "keep, none",
    [Keep = "keep", None = "none"]
);
