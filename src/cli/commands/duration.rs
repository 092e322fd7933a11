//! Times as a user writes them.

use std::time::Duration;

/// 90s, 5m, 2h, 7d, 1500ms; bare seconds too.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "use a time such as 90s, 5m, 2h or 7d".to_string();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let value: u64 = digits.parse().map_err(|_| bad())?;
    value
        .checked_mul(factor_ms)
        // A timer can't hold more than a few centuries.
        .filter(|&ms| ms <= 100 * 365 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_take_units() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(duration("7d").unwrap(), Duration::from_secs(604_800));
        assert_eq!(duration("7").unwrap(), Duration::from_secs(7));
        for bad in ["", "s", "-1s", "5 m", "1w", "99999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
