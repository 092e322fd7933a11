//! Exact arithmetic on times: integers in rational time bases, never seconds
//! as floats.

use serde::{Deserialize, Serialize};

/// A positive fraction, as ffmpeg writes `1001/30000`. A time base is in
/// seconds per tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    pub num: i64,
    pub den: i64,
}

/// First and last time of a track's packets, in microseconds of the film.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub first_us: i64,
    pub last_us: i64,
}

pub const MICROSECONDS: Ratio = Ratio {
    num: 1,
    den: 1_000_000,
};

pub const MILLISECONDS: Ratio = Ratio { num: 1, den: 1_000 };

impl Ratio {
    /// Parses `num/den`; both must be positive.
    pub fn parse(text: &str) -> Option<Ratio> {
        let (num, den) = text.split_once('/')?;
        let ratio = Ratio {
            num: num.parse().ok()?,
            den: den.parse().ok()?,
        };
        // ffmpeg keeps both in 32 bits, so every product fits into 128.
        let bounds = 1..=i64::from(i32::MAX);
        (bounds.contains(&ratio.num) && bounds.contains(&ratio.den)).then_some(ratio)
    }
}

/// Converts a time to the nearest tick of another time base, halves away from
/// zero, like ffmpeg's `av_rescale_q`.
pub fn rescale(value: i64, from: Ratio, to: Ratio) -> i64 {
    let top = i128::from(value) * i128::from(from.num) * i128::from(to.den);
    let bottom = i128::from(from.den) * i128::from(to.num);
    let half = bottom / 2;
    let rounded = if top >= 0 {
        (top + half) / bottom
    } else {
        -((-top + half) / bottom)
    };
    clamp(rounded)
}

/// Converts a time to the next tick of another time base, at or after it.
pub fn rescale_up(value: i64, from: Ratio, to: Ratio) -> i64 {
    let top = i128::from(value) * i128::from(from.num) * i128::from(to.den);
    let bottom = i128::from(from.den) * i128::from(to.num);
    clamp(top.div_euclid(bottom) + i128::from(top.rem_euclid(bottom) != 0))
}

/// Converts a time to the last tick of another time base, at or before it.
pub fn rescale_down(value: i64, from: Ratio, to: Ratio) -> i64 {
    let top = i128::from(value) * i128::from(from.num) * i128::from(to.den);
    let bottom = i128::from(from.den) * i128::from(to.num);
    clamp(top.div_euclid(bottom))
}

fn clamp(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Parses ffprobe's seconds with six decimals into microseconds.
pub fn parse_microseconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 6 {
        return None;
    }
    let micros: i64 = format!("{part:0<6}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    whole
        .checked_mul(1_000_000)?
        .checked_add(micros)
        .map(|value| sign * value)
}

/// Parses `01:02:03.456000000` into microseconds.
pub fn parse_clock(text: &str) -> Option<i64> {
    let (clock, part) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds: i64 = 0;
    for field in clock.split(':') {
        let field: u32 = field.parse().ok()?;
        seconds = seconds.checked_mul(60)?.checked_add(field.into())?;
    }
    parse_microseconds(&format!("{seconds}.{}", part.get(..6).unwrap_or(part)))
}

/// Formats microseconds as seconds, as ffmpeg's options take them.
pub fn seconds(microseconds: i64) -> String {
    let sign = if microseconds < 0 { "-" } else { "" };
    let value = microseconds.unsigned_abs();
    format!("{sign}{}.{:06}", value / 1_000_000, value % 1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rounding_is_ffmpegs() {
        let film = Ratio { num: 1, den: 24 };
        assert_eq!(rescale(1, film, MILLISECONDS), 42);
        assert_eq!(rescale(-1, film, MILLISECONDS), -42);
        let half = Ratio { num: 1, den: 2_000 };
        assert_eq!(rescale(1, half, MILLISECONDS), 1);
        assert_eq!(rescale(-1, half, MILLISECONDS), -1);
        assert_eq!(rescale_up(1, film, MICROSECONDS), 41_667);
        assert_eq!(rescale_up(-1, film, MICROSECONDS), -41_666);
        assert_eq!(rescale_down(1, film, MICROSECONDS), 41_666);
        assert_eq!(rescale_down(-1, film, MICROSECONDS), -41_667);
    }

    #[test]
    fn seconds_go_both_ways() {
        for text in ["0.000000", "-1.740000", "19207.123456", "-0.000001"] {
            assert_eq!(seconds(parse_microseconds(text).unwrap()), text);
        }
        assert_eq!(parse_microseconds("N/A"), None);
        assert_eq!(Ratio::parse("0/0"), None);
    }
}
