//! Options that users write as a word: codecs, containers and the like. Each
//! is a closed list, so that the refusal of an unknown word names the known
//! ones.

use super::error::SpecError;

pub(super) trait Word: Copy + PartialEq + 'static {
    /// The option's name.
    const WHAT: &'static str;
    /// All words, for the refusal of an unknown one.
    const KNOWN: &'static str;
    const ALL: &'static [(Self, &'static str)];

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Codec {
    /// By libx264.
    H264 = 0,
    /// By libx265.
    Hevc = 1,
    /// By libvpx.
    Vp9 = 2,
    /// By SVT-AV1.
    Av1 = 3,
    /// Version 3, lossless.
    Ffv1 = 4,
    /// No video: for containers that hold sound alone.
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
    /// AAC-LC by ffmpeg's own encoder.
    Aac = 0,
    /// By libopus.
    Opus = 1,
    /// Their packets stay as they are.
    Copy = 2,
    None = 3,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Container {
    /// ISO base media, index first.
    Mp4 = 0,
    Mkv = 1,
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
    /// Those that a spec can ask for.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(container, _)| *container)
    }

    /// Whether it holds sound and no video.
    pub fn sound_alone(self) -> bool {
        matches!(self, Container::M4a | Container::Opus | Container::Flac)
    }
}

/// Which frames are deinterlaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Deinterlace {
    Off = 0,
    /// Only frames that are marked as interlaced.
    Auto = 1,
    On = 2,
}
words!(
    Deinterlace,
    "deinterlace",
    "off, auto, on",
    [Off = "off", Auto = "auto", On = "on"]
);

/// How much noise is taken out, by a filter with a finite memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Denoise {
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
    None = 1,
}
words!(
    Subtitles,
    "subtitles",
    "keep, none",
    [Keep = "keep", None = "none"]
);

/// What pictures are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Structural similarity of all planes, up to 1.
    Ssim,
    /// Peak signal-to-noise ratio of all planes, in dB.
    Psnr,
    /// Netflix' VMAF, up to 100.
    Vmaf,
    /// PSNR weighted by what is seen, of luma, in dB.
    Xpsnr,
}
words!(
    Metric,
    "target",
    "ssim, psnr, vmaf, xpsnr",
    [Ssim = "ssim", Psnr = "psnr", Vmaf = "vmaf", Xpsnr = "xpsnr"]
);

impl Metric {
    /// The most that can be asked for, in millionths: what no encoder is sure to
    /// reach is left out.
    pub fn highest_micro(self) -> u32 {
        match self {
            Metric::Ssim => 999_900,
            Metric::Psnr | Metric::Xpsnr => 60_000_000,
            Metric::Vmaf => 99_000_000,
        }
    }

    /// The least that can be asked for, in millionths.
    pub fn lowest_micro(self) -> u32 {
        match self {
            Metric::Ssim => 500_000,
            Metric::Psnr | Metric::Xpsnr => 15_000_000,
            Metric::Vmaf => 10_000_000,
        }
    }

    /// The filter of ffmpeg that compares by it.
    pub fn filter(self) -> &'static str {
        match self {
            Metric::Ssim => "ssim",
            Metric::Psnr => "psnr",
            Metric::Vmaf => "libvmaf",
            Metric::Xpsnr => "xpsnr",
        }
    }
}
