//! Checks that options share: ranges, and words of a closed list.

use super::{choices::Word, error::SpecError};
use crate::limits::{
    AIM_BITRATE_MAX, AIM_BITRATE_MIN, AIM_SIZE_MIN, PICTURE_SIDE_MAX, PROGRAM_MAX, SHARD_MS_MAX,
    SHARD_MS_MIN, SOURCE_BYTES_MAX, VIDEO_TRACK_MAX,
};

/// Which numbers an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The option, as the command line names it.
    pub option: &'static str,
    pub low: i64,
    pub high: i64,
    /// What a number must be a multiple of.
    pub step: u32,
    /// Whether users write a decimal, of which these are thousandths.
    pub milli: bool,
    /// The same in words.
    words: &'static str,
}

/// The least side of a picture: chroma has half the samples.
pub(super) const SIDE_MIN: u32 = 2;

/// Which sides a picture may have, in words.
const SIDES: &str = "an even number from 2 to 16384";

pub(super) const WIDTH: Bounds = side("width");
pub(super) const HEIGHT: Bounds = side("height");
/// Of all codecs; some end before.
pub(super) const CRF: Bounds = whole("crf", 0, 63, "0 to 63");
/// Below, an encoder of the smallest picture has nothing left to give away.
pub(super) const MAXRATE: Bounds = whole("maxrate", 10_000, 1_000_000_000, "10k to 1000M");
pub(super) const BUFSIZE: Bounds = whole("bufsize", 10_000, 2_000_000_000, "10k to 2000M");
pub(super) const KEYINT: Bounds = milli("keyint", 250, 10_000, "0.25 to 10");
pub(super) const BRIGHTNESS: Bounds = milli("brightness", -1_000, 1_000, "-1 to 1");
pub(super) const CONTRAST: Bounds = milli("contrast", 0, 2_000, "0 to 2");
pub(super) const SATURATION: Bounds = milli("saturation", 0, 3_000, "0 to 3");
pub(super) const AUDIO_BITRATE: Bounds = whole("audio-bitrate", 8_000, 510_000, "8k to 510k");
pub(super) const LOUDNESS: Bounds = milli("loudness", -70_000, -5_000, "-70 to -5");
pub(super) const PROGRAM: Bounds = whole(
    "program",
    1,
    PROGRAM_MAX as i64,
    "a program's number, 1 to 65535",
);
pub(super) const VIDEO_TRACK: Bounds = whole(
    "video-track",
    1,
    VIDEO_TRACK_MAX as i64,
    "a video track's number, from 1",
);
pub(super) const SHARD_SECONDS: Bounds = milli(
    "shard-seconds",
    SHARD_MS_MIN as i64,
    SHARD_MS_MAX as i64,
    "0.5 to 600",
);

pub(super) const SIZE: Bounds = whole(
    "size",
    AIM_SIZE_MIN as i64,
    SOURCE_BYTES_MAX as i64,
    "bytes from 10k on, such as 700M",
);
pub(super) const BITRATE: Bounds = whole(
    "bitrate",
    AIM_BITRATE_MIN as i64,
    AIM_BITRATE_MAX as i64,
    "10k to 2000M bits a second",
);
pub(super) const MAX_ENCODED_PERCENT: Bounds = whole("max-encoded-percent", 1, 1_000, "1 to 1000");

pub(super) const TARGET_PERCENTILE: Bounds = whole("target-percentile", 1, 50, "1 to 50");

/// The bounds of every option that is one number.
pub const NUMBERS: [Bounds; 18] = [
    WIDTH,
    HEIGHT,
    CRF,
    MAXRATE,
    BUFSIZE,
    KEYINT,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    AUDIO_BITRATE,
    LOUDNESS,
    PROGRAM,
    VIDEO_TRACK,
    SHARD_SECONDS,
    SIZE,
    BITRATE,
    MAX_ENCODED_PERCENT,
    TARGET_PERCENTILE,
];

const fn whole(option: &'static str, low: i64, high: i64, words: &'static str) -> Bounds {
    Bounds {
        option,
        low,
        high,
        step: 1,
        milli: false,
        words,
    }
}

const fn milli(option: &'static str, low: i64, high: i64, words: &'static str) -> Bounds {
    Bounds {
        milli: true,
        ..whole(option, low, high, words)
    }
}

const fn side(option: &'static str) -> Bounds {
    Bounds {
        step: 2,
        ..whole(option, SIDE_MIN as i64, PICTURE_SIDE_MAX as i64, SIDES)
    }
}

impl Bounds {
    /// Refuses a number outside, in thousandths where these are.
    pub(super) fn check(&self, found: impl Into<i64>) -> Result<(), SpecError> {
        let found = found.into();
        match self.milli {
            true => milli_in_range(self.option, found, self.low, self.high, self.words),
            false => in_range(self.option, found, self.low, self.high, self.words),
        }
    }
}

pub(super) fn in_range(
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

/// Checks a side or place in a picture whose chroma has half the samples.
pub(super) fn even(what: &'static str, found: u32, low: u32) -> Result<(), SpecError> {
    let range = match low {
        0 => "an even number up to 16384",
        _ => SIDES,
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

/// The choice that a word names, or the default for none.
pub(super) fn word<T: Word>(word: &str, default: T) -> Result<T, SpecError> {
    match word {
        "" => Ok(default),
        word => T::parse(word),
    }
}
