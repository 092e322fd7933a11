//! Checks that options share: ranges, and words of a closed list.

use super::{choices::Word, error::SpecError};
use crate::limits::PICTURE_SIDE_MAX;

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
pub(super) fn milli_in_range(
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
        _ => "an even number from 2 to 16384",
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
