//! Times in UTC as people read them.

/// A time as RFC 3339 has it, "2026-11-21T08:35:44.120Z".
pub fn rfc3339(unix_ms: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(unix_ms);
    let milli = unix_ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month, day, hour, minute and second.
pub fn fields(unix_ms: u64) -> [u64; 6] {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    [year, month, day, hour, minute, second]
}

/// Year, month and day of a count of days since 1970. Counts in eras of 400
/// years that begin on the first of March, so that leap days come last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}
