//! Numbers and states as people read them: sizes, times, percentages, words.
//! Pure functions; the tables, the bar and the JSON share them.

use std::time::Duration;

use reelraft_proto::v1::{JobState, Spec, TaskState};

/// A job's state as a lower-case word.
pub fn job_state(state: i32) -> &'static str {
    match JobState::try_from(state) {
        Ok(JobState::Uploading) => "uploading",
        Ok(JobState::Analyzing) => "analyzing",
        Ok(JobState::Encoding) => "encoding",
        Ok(JobState::Assembling) => "assembling",
        Ok(JobState::Succeeded) => "succeeded",
        Ok(JobState::Failed) => "failed",
        Ok(JobState::Cancelled) => "cancelled",
        Ok(JobState::Deleted) => "deleted",
        Ok(JobState::Unspecified) | Err(_) => "unknown",
    }
}

/// A shard's state as a lower-case word.
pub fn task_state(state: i32) -> &'static str {
    match TaskState::try_from(state) {
        Ok(TaskState::Pending) => "pending",
        Ok(TaskState::Running) => "running",
        Ok(TaskState::Done) => "done",
        Ok(TaskState::Unspecified) | Err(_) => "unknown",
    }
}

/// The kept part of the picture, as its option is written.
pub fn crop(spec: &Spec) -> Option<String> {
    spec.crop
        .map(|crop| format!("{}:{}:{}:{}", crop.width, crop.height, crop.x, crop.y))
}

/// The canvas around the picture, as its option is written.
pub fn pad(spec: &Spec) -> Option<String> {
    (spec.pad_width != 0).then(|| format!("{}:{}", spec.pad_width, spec.pad_height))
}

/// The chosen audio tracks, as their option is written; empty for all.
pub fn tracks(spec: &Spec) -> String {
    let numbers: Vec<String> = spec.audio_tracks.iter().map(u32::to_string).collect();
    numbers.join(",")
}

/// A count with its noun: "1 frame", "12 frames".
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in binary units with three digits or so: "640 B", "12.3 MiB".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = UNITS[0];
    for name in UNITS {
        tenths /= 1024;
        unit = name;
        if tenths < 10_240 {
            break;
        }
    }
    if tenths < 1000 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// A length of time as a clock shows it: "0:09", "1:02:03".
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A moment in UTC, "2026-11-21 08:35:44"; "-" for 0.
pub fn moment(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return "-".into();
    }
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a count of days since 1970: counted in eras of 400
/// years that begin on the first of March, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
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

/// Whole percent, rounded down so that 100 means all of it.
pub fn percent(done: u64, total: u64) -> u64 {
    (u128::from(done) * 100)
        .checked_div(u128::from(total))
        .map_or(0, |percent| percent.min(100) as u64)
}

/// Thousandths as a decimal: 1280 is "1.28".
pub fn milli(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.unsigned_abs() / 1000, value.unsigned_abs() % 1000);
    let text = format!("{sign}{whole}.{part:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A time limit as a user writes it: 90s, 5m, 2h, 1500ms; bare seconds too.
///
/// # Errors
/// In words, for clap.
pub fn time_limit(text: &str) -> Result<Duration, String> {
    let bad = || "use a time such as 90s, 5m or 2h".to_string();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    let value: u64 = digits.parse().map_err(|_| bad())?;
    value
        .checked_mul(factor_ms)
        // A timer can't hold more than some centuries.
        .filter(|&ms| ms <= 100 * 365 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(bad)
}

/// An argument as a shell would have to be given it.
pub fn shell_quoted(argument: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_string()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(12 << 20), "12.0 MiB");
        assert_eq!(size(345 << 30), "345 GiB");
        assert_eq!(size(u64::MAX), "16383 PiB");
        assert_eq!(clock(Duration::from_secs(9)), "0:09");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(moment(0), "-");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(moment(1_795_250_144_000), "2026-11-21 08:35:44");
        assert_eq!((percent(1, 0), percent(2, 3), percent(5, 5)), (0, 66, 100));
        assert_eq!(
            (milli(1280), milli(-50), milli(2000)),
            ("1.28".into(), "-0.05".into(), "2".into())
        );
    }

    #[test]
    fn time_limits_take_units() {
        assert_eq!(time_limit("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(time_limit("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(time_limit("7").unwrap(), Duration::from_secs(7));
        for bad in ["", "s", "-1s", "5 m", "1d", "99999999999h"] {
            assert!(time_limit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_survive_a_shell() {
        assert_eq!(shell_quoted("-c:v"), "-c:v");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }
}
