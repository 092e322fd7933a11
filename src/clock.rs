//! The wall clock. It is for display alone: what is decided rests on the log
//! and on monotonic time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by this machine's wall clock.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
