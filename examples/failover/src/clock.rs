//! Moments in microseconds since 1970, the unit of the nodes' log lines.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment as a number.
pub fn unix_us(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// [`unix_us`] of now.
pub fn now_us() -> u64 {
    unix_us(SystemTime::now())
}

/// Milliseconds from one moment to a later one.
pub fn ms_between(from_us: u64, to_us: u64) -> u64 {
    to_us.saturating_sub(from_us) / 1_000
}
