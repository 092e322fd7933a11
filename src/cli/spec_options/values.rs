//! The values of spec options, from the text a user writes to exact numbers.
//! All errors are sentences for clap.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use reelraft_proto::v1::Crop;

pub fn above_zero(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("it must be above 0; omit the option to keep the source's".into()),
        Ok(value) => Ok(value),
        Err(_) => Err("it must be a whole number above 0".into()),
    }
}

/// The video codecs, also under the names that other programs have for them.
pub fn codec() -> impl TypedValueParser<Value = String> {
    const NAMES: [(&str, &[&str]); 5] = [
        ("h264", &["x264", "avc"]),
        ("hevc", &["h265", "x265"]),
        ("vp9", &[]),
        ("av1", &[]),
        ("ffv1", &[]),
    ];
    let values = NAMES.map(|(name, others)| PossibleValue::new(name).aliases(others));
    PossibleValuesParser::new(values).map(|given| {
        let known = NAMES
            .iter()
            .find(|(_, others)| others.contains(&given.as_str()));
        known.map_or(given.clone(), |(name, _)| name.to_string())
    })
}

/// A decimal number as an integer and its count of decimals: "12.5" is (125, 1).
fn decimal(text: &str, decimals_max: usize) -> Result<(i64, u32), String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() > 12 || whole.is_empty() || !plain(whole) || !plain(decimals) {
        return Err("it must be a decimal number such as 12.5".into());
    }
    if decimals.len() > decimals_max {
        return Err(format!("at most {decimals_max} decimals"));
    }
    let value: i64 = format!("{whole}{decimals}")
        .parse()
        .map_err(|_| "it is too large".to_string())?;
    let places = u32::try_from(decimals.len()).map_err(|_| "too many decimals".to_string())?;
    Ok((if negative { -value } else { value }, places))
}

/// Thousandths of a decimal with up to three decimals.
pub fn milli(text: &str) -> Result<i32, String> {
    let (value, places) = decimal(text, 3)?;
    i32::try_from(value * 10_i64.pow(3 - places)).map_err(|_| "it is too large".into())
}

/// Numbers between colons.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

pub fn crop(text: &str) -> Result<Crop, String> {
    let [width, height, x, y] =
        numbers(text).ok_or("use four numbers, W:H:X:Y, such as 1280:720:0:0")?;
    Ok(Crop {
        width,
        height,
        x,
        y,
    })
}

pub fn pad(text: &str) -> Result<(u32, u32), String> {
    let [width, height] = numbers(text).ok_or("use two numbers, W:H, such as 1920:1080")?;
    match (width, height) {
        (0, _) | (_, 0) => Err("both sides must be above 0".into()),
        sides => Ok(sides),
    }
}

/// Thousandths of a second.
pub fn above_zero_ms(text: &str) -> Result<u32, String> {
    match u32::try_from(milli(text)?) {
        Ok(0) | Err(_) => Err("it must be above 0".into()),
        Ok(ms) => Ok(ms),
    }
}

pub fn frame_rate(text: &str) -> Result<(u32, u32), String> {
    let bad = || "use a rate above 0 such as 25, 30000/1001 or 12.5".to_string();
    let (num, den) = match text.split_once('/') {
        Some((num, den)) => (
            num.parse().map_err(|_| bad())?,
            den.parse().map_err(|_| bad())?,
        ),
        None => {
            let (value, places) = decimal(text, 6).map_err(|_| bad())?;
            let num = u32::try_from(value).map_err(|_| bad())?;
            reduce(num, 10_u32.pow(places))
        }
    };
    if num == 0 || den == 0 {
        return Err(bad());
    }
    Ok((num, den))
}

fn reduce(num: u32, den: u32) -> (u32, u32) {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let divisor = a.max(1);
    (num / divisor, den / divisor)
}

pub fn bitrate(text: &str) -> Result<u32, String> {
    let bits = in_thousands(text).and_then(|bits| u32::try_from(bits).ok());
    bits.ok_or_else(|| "use bits per second above 0, such as 128k or 1.5M".into())
}

/// Bytes with a suffix that counts in thousands, as sizes on the web and on media do.
pub fn size(text: &str) -> Result<u64, String> {
    in_thousands(text).ok_or_else(|| "use bytes above 0, such as 700M or 1.5G".into())
}

/// A number above 0, perhaps a decimal of a suffix.
fn in_thousands(text: &str) -> Option<u64> {
    let (digits, zeros) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 6),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 9),
        _ => (text, 0),
    };
    let (value, places) = decimal(digits, zeros).ok()?;
    let found = value.checked_mul(10_i64.pow(zeros as u32 - places))?;
    u64::try_from(found).ok().filter(|found| *found > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_stay_exact() {
        assert_eq!(frame_rate("25").unwrap(), (25, 1));
        assert_eq!(frame_rate("30000/1001").unwrap(), (30000, 1001));
        assert_eq!(frame_rate("23.976").unwrap(), (2997, 125));
        assert_eq!(frame_rate("12.5").unwrap(), (25, 2));
        for bad in ["0", "-25", "1/0", "ntsc", "", "25/", "1e3", "."] {
            assert!(frame_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decimals_become_thousandths() {
        assert_eq!(milli("-0.25").unwrap(), -250);
        assert_eq!(milli("1").unwrap(), 1000);
        assert_eq!(milli("0.001").unwrap(), 1);
        assert!(milli("0.0001").is_err());
        assert!(milli("inf").is_err());
        assert_eq!(above_zero_ms("2.5").unwrap(), 2500);
        assert!(above_zero_ms("0").is_err() && above_zero_ms("-1").is_err());
    }

    #[test]
    fn bitrates_take_a_suffix() {
        assert_eq!(bitrate("128k").unwrap(), 128_000);
        assert_eq!(bitrate("96000").unwrap(), 96_000);
        assert_eq!(bitrate("1.5M").unwrap(), 1_500_000);
        assert!(bitrate("k").is_err() && bitrate("0").is_err() && bitrate("9999M").is_err());
    }

    #[test]
    fn sizes_count_in_thousands() {
        for (text, bytes) in [
            ("700M", 700_000_000),
            ("1.5G", 1_500_000_000),
            ("25k", 25_000),
            ("123456", 123_456),
            ("0.001k", 1),
        ] {
            assert_eq!(size(text).unwrap(), bytes);
        }
        for bad in [
            "",
            "M",
            "0",
            "-1",
            "1.5",
            "700MiB",
            "1.0001k",
            "9999999999999999G",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn areas_are_numbers_between_colons() {
        let area = crop("64:32:2:4").unwrap();
        assert_eq!((area.width, area.height, area.x, area.y), (64, 32, 2, 4));
        assert_eq!(pad("320:240").unwrap(), (320, 240));
        assert!(crop("64:32").is_err() && crop("64:32:-2:4").is_err() && pad("0:2").is_err());
    }
}
