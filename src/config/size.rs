//! Sizes as people write them: `500G`, in powers of 1024.

use std::{fmt, str::FromStr};

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is no size: give one such as 500G, 20M or 0");
        let text = text.trim();
        let unit = text.chars().last().map(|last| last.to_ascii_uppercase());
        let unit = UNITS.iter().find(|(letter, _)| Some(*letter) == unit);
        let digits = unit.map_or(text, |_| &text[..text.len() - 1]);
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        let shift = unit.map_or(0, |(_, shift)| *shift);
        number.checked_mul(1 << shift).map(Size).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: &u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| whole(shift)) {
            Some((letter, shift)) => write!(f, "{}{letter}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_do() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1024", 1 << 10, "1K"),
            ("20M", 20 << 20, "20M"),
            ("500g", 500 << 30, "500G"),
            ("2T", 2 << 40, "2T"),
            ("1500", 1500, "1500"),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), shown);
        }
        for bad in ["", "G", "1.5G", "-1", "1GB", "99999999T", "é"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
