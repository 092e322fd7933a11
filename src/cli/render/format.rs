//! Numbers and states as people read them: sizes, times, percentages, names.
//! Pure functions, shared by the tables, the progress bar and the JSON.

use std::time::Duration;

use reelraft_proto::utc;

/// A count with its noun: "1 frame", "12 frames".
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in binary units, with about three digits: "640 B", "12.3 MiB".
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

/// A duration as a clock shows it: "0:09", "1:02:03".
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A time in UTC, "2026-11-21 08:35:44"; "-" for 0.
pub fn utc_time(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return "-".into();
    }
    let [year, month, day, hour, minute, second] = utc::fields(unix_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Whole percent, rounded down so that 100 means all.
pub fn percent(done: u64, total: u64) -> u64 {
    (u128::from(done) * 100)
        .checked_div(u128::from(total))
        .map_or(0, |percent| percent.min(100) as u64)
}

/// Whether a letter steers the terminal or shows nothing: control characters,
/// those that turn the direction of writing, and those without width.
pub fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// An argument, quoted for a shell where it needs to be. What a terminal must
/// not see is written as its bytes, which bash and zsh turn back.
pub fn shell_quoted(argument: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=+,@%".contains(letter);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_string()
    } else if argument.chars().any(is_unprintable) {
        let mut quoted = String::from("$'");
        for letter in argument.chars() {
            match letter {
                '\\' | '\'' => quoted.extend(['\\', letter]),
                _ if is_unprintable(letter) => {
                    let bytes = letter.to_string().into_bytes();
                    quoted.extend(bytes.iter().map(|byte| format!("\\x{byte:02x}")));
                }
                _ => quoted.push(letter),
            }
        }
        quoted + "'"
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
        assert_eq!(utc_time(0), "-");
        assert_eq!(utc_time(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc_time(1_795_250_144_000), "2026-11-21 08:35:44");
        assert_eq!((percent(1, 0), percent(2, 3), percent(5, 5)), (0, 66, 100));
    }

    #[test]
    fn arguments_survive_a_shell() {
        assert_eq!(shell_quoted("-c:v"), "-c:v");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
        let hostile = "a'\u{1b}[31m\\\u{202e}";
        assert_eq!(shell_quoted(hostile), r"$'a\'\x1b[31m\\\xe2\x80\xae'");
    }
}
