//! How much is spent on the pictures: what a rate factor is to be found by, a size, a
//! bit rate or a quality; and whether they are compared with the source.

use super::{
    bounds::{BITRATE, MAX_ENCODED_PERCENT, SIZE, TARGET_PERCENTILE, in_range},
    choices::{Codec, Metric, Word},
    error::SpecError,
};

/// How much is spent, where no rate factor says it. Zero and empty mean that nothing is
/// said.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Amount {
    /// Bytes that the whole file may have.
    #[prost(uint64, tag = "1")]
    pub size_bytes: u64,
    /// Bits a second that the pictures may have.
    #[prost(uint32, tag = "2")]
    pub bitrate: u32,
    /// The quality to reach, as `ssim=0.985`.
    #[prost(string, tag = "3")]
    pub target: String,
    /// With a target: how large the pictures may come out, in hundredths of the source.
    #[prost(uint32, tag = "4")]
    pub max_encoded_percent: u32,
    /// Whether the output is compared with its source, frame by frame.
    #[prost(bool, tag = "5")]
    pub measure: bool,
    /// With a target: so many hundredths of the frames of a shard may be worse; 0 where
    /// the mean counts.
    #[prost(uint32, tag = "80")]
    pub target_percentile: u32,
    /// Whether the source is held for a while after the end, so that the output can be
    /// compared with it then.
    #[prost(bool, tag = "81")]
    pub hold_source: bool,
}

/// Hundredths as a decimal, without needless zeros.
pub fn centi_words(centi: u32) -> String {
    match (centi / 100, centi % 100) {
        (whole, 0) => whole.to_string(),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}"),
    }
}

/// What a rate factor is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Bytes of the whole file, at most.
    Size(u64),
    /// Bits a second of the pictures, at most.
    Bitrate(u32),
    /// Millionths on a metric's scale, at least.
    Quality(Metric, u32),
}

impl Amount {
    /// What a rate factor is to be found by, if anything says it.
    pub fn aim(&self) -> Option<Aim> {
        match (self.size_bytes, self.bitrate, self.target.as_str()) {
            (0, 0, "") => None,
            (0, 0, target) => {
                let (metric, micro) = parse_target(target).ok()?;
                Some(Aim::Quality(metric, micro))
            }
            (0, bitrate, _) => Some(Aim::Bitrate(bitrate)),
            (bytes, ..) => Some(Aim::Size(bytes)),
        }
    }
}

/// Checks what is asked for beside a rate factor; none where that is nothing.
pub(super) fn resolve_amount(
    codec: Codec,
    crf: Option<u32>,
    asked: &Amount,
) -> Result<Option<Amount>, SpecError> {
    let given = [
        ("--crf", crf.is_some()),
        ("--size", asked.size_bytes != 0),
        ("--bitrate", asked.bitrate != 0),
        ("--target", !asked.target.is_empty()),
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
    if asked.size_bytes != 0 {
        SIZE.check(i64::try_from(asked.size_bytes).unwrap_or(i64::MAX))?;
    }
    if asked.bitrate != 0 {
        BITRATE.check(asked.bitrate)?;
    }
    let target = match asked.target.as_str() {
        "" => String::new(),
        text => {
            let (metric, micro) = parse_target(text)?;
            target_words(metric, micro)
        }
    };
    check_beside_target(asked)?;
    let amount = Amount {
        target,
        measure: asked.measure && codec != Codec::None,
        hold_source: asked.hold_source && codec != Codec::None,
        ..asked.clone()
    };
    match (first.filter(|_| amount.aim().is_some()), codec) {
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
        _ => Ok(Some(amount).filter(|amount| *amount != Amount::default())),
    }
}

/// Checks what says more of a quality that is to be reached.
fn check_beside_target(asked: &Amount) -> Result<(), SpecError> {
    let (percent, percentile) = (asked.max_encoded_percent, asked.target_percentile);
    for (wish, bounds, number) in [
        ("--max-encoded-percent", MAX_ENCODED_PERCENT, percent),
        ("--target-percentile", TARGET_PERCENTILE, percentile),
    ] {
        if number == 0 {
            continue;
        }
        bounds.check(number)?;
        if asked.target.is_empty() {
            return Err(SpecError::Clash {
                wish,
                other: "no --target".into(),
                hint: "give a quality to reach, as --target ssim=0.985",
            });
        }
    }
    Ok(())
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
