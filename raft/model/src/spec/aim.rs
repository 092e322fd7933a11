//! What a rate factor is to be found by: a size, a bit rate or a quality.

use super::{
    bounds::{BITRATE, MAX_ENCODED_PERCENT, SIZE, in_range},
    choices::{Codec, Metric, Word},
    error::SpecError,
};

pub(super) struct AimOptions<'a> {
    pub crf: Option<u32>,
    pub size_bytes: Option<u64>,
    pub bitrate: Option<u32>,
    pub target: &'a str,
    pub max_encoded_percent: Option<u32>,
    pub measure: bool,
}

/// What was aimed at; 0 where nothing is said.
#[derive(Default)]
pub(super) struct Aimed {
    pub size_bytes: u64,
    pub bitrate: u32,
    pub metric: Option<Metric>,
    pub target_micro: u32,
    pub max_encoded_percent: u32,
    pub measure: bool,
}

impl Aimed {
    /// Whether the rate factor is to be found.
    pub fn is_set(&self) -> bool {
        self.size_bytes != 0 || self.bitrate != 0 || self.target_micro != 0
    }
}

pub(super) fn resolve_aim(codec: Codec, options: AimOptions) -> Result<Aimed, SpecError> {
    let given = [
        ("--crf", options.crf.is_some()),
        ("--size", options.size_bytes.is_some()),
        ("--bitrate", options.bitrate.is_some()),
        ("--target", !options.target.is_empty()),
    ];
    let mut given = given.iter().filter(|(_, given)| *given);
    let first = given.next().map(|(name, _)| *name);
    if let (Some(first), Some((second, _))) = (first, given.next()) {
        return Err(SpecError::Clash {
            wish: second,
            other: first.into(),
            hint: "give one of --crf, --size, --bitrate and --target: each says how much is spent",
        });
    }
    if let Some(bytes) = options.size_bytes {
        SIZE.check(i64::try_from(bytes).unwrap_or(i64::MAX))?;
    }
    if let Some(bitrate) = options.bitrate {
        BITRATE.check(bitrate)?;
    }
    if let Some(percent) = options.max_encoded_percent {
        MAX_ENCODED_PERCENT.check(percent)?;
    }
    let target = match options.target {
        "" => None,
        text => Some(parse_target(text)?),
    };
    if options.max_encoded_percent.is_some() && target.is_none() {
        return Err(SpecError::Clash {
            wish: "--max-encoded-percent",
            other: "no --target".into(),
            hint: "give a quality to reach, as --target ssim=0.985",
        });
    }
    let aimed = Aimed {
        size_bytes: options.size_bytes.unwrap_or(0),
        bitrate: options.bitrate.unwrap_or(0),
        metric: target.map(|(metric, _)| metric),
        target_micro: target.map_or(0, |(_, micro)| micro),
        max_encoded_percent: options.max_encoded_percent.unwrap_or(0),
        measure: options.measure,
    };
    match (first.filter(|_| aimed.is_set()), codec) {
        (Some(wish), Codec::Ffv1) => Err(SpecError::Clash {
            wish,
            other: "ffv1".into(),
            hint: "it is lossless and as large as it is: choose h264, hevc, vp9 or av1",
        }),
        (Some(wish), Codec::None) => Err(SpecError::Clash {
            wish,
            other: "a container that holds sound alone".into(),
            hint: "give --audio-bitrate instead",
        }),
        _ => Ok(aimed),
    }
}

/// A metric and a decimal: `ssim=0.985`.
fn parse_target(text: &str) -> Result<(Metric, u32), SpecError> {
    let (word, value) = text.split_once('=').unwrap_or((text, ""));
    let metric = Metric::parse(word)?;
    let range = match metric {
        Metric::Ssim => "ssim=0.5 to 0.9999",
        Metric::Psnr => "psnr=15 to 60",
        Metric::Vmaf => "vmaf=10 to 99",
        Metric::Xpsnr => "xpsnr=15 to 60",
    };
    let out_of_range = || SpecError::OutOfRange {
        what: "target",
        found: text.into(),
        range,
    };
    let micro = micro_of(value).ok_or_else(out_of_range)?;
    let (low, high) = (metric.lowest_micro(), metric.highest_micro());
    in_range("target", micro.into(), low.into(), high.into(), range).map_err(|_| out_of_range())?;
    Ok((metric, micro))
}

/// Millionths of a decimal with up to six decimals.
fn micro_of(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || decimals.len() > 6 {
        return None;
    }
    if !plain(whole) || !plain(decimals) {
        return None;
    }
    format!("{whole}{decimals:0<6}").parse().ok()
}

/// A target as a user writes it.
pub fn target_words(metric: Metric, micro: u32) -> String {
    let decimals = format!("{:06}", micro % 1_000_000);
    let number = format!("{}.{decimals}", micro / 1_000_000);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{}={number}", metric.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_exact_and_come_back() {
        for (text, micro) in [
            ("ssim=0.985", 985_000),
            ("psnr=41.25", 41_250_000),
            ("vmaf=95", 95_000_000),
            ("xpsnr=40.000001", 40_000_001),
        ] {
            let (metric, found) = parse_target(text).expect("valid");
            assert_eq!(found, micro);
            assert_eq!(target_words(metric, micro), text);
        }
        for bad in [
            "ssim",
            "ssim=",
            "ssim=1",
            "ssim=-1",
            "vmaf=100",
            "x=1",
            "ssim=0.98500001",
        ] {
            assert!(parse_target(bad).is_err(), "{bad}");
        }
    }
}
