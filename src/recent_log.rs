//! The last lines of this process's log, for whoever asks what happened: a service's
//! log may be on another machine, or gone with its container.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{RECENT_LINE_BYTES_MAX, RECENT_LINES_MAX};

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

fn lines() -> MutexGuard<'static, VecDeque<String>> {
    // Nothing is left half-done while it is held.
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines, the oldest first.
pub fn recent() -> Vec<String> {
    lines().iter().cloned().collect()
}

/// Writes the log to standard error, and keeps its last lines.
pub struct KeepingStderr;

impl Write for KeepingStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        keep(bytes);
        // An event comes in one piece, and another's must not come between.
        io::stderr().lock().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for KeepingStderr {
    type Writer = KeepingStderr;

    fn make_writer(&'a self) -> Self::Writer {
        KeepingStderr
    }
}

fn keep(bytes: &[u8]) {
    let text = without_colours(&String::from_utf8_lossy(bytes));
    let mut kept = lines();
    for line in text.lines() {
        let mut end = line.len().min(RECENT_LINE_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        if kept.len() == RECENT_LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line[..end].to_string());
    }
}

/// A text without the sequences that colour it on a terminal.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut pieces = text.split("\u{1b}[");
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let end = piece.find(|letter: char| letter.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &piece[end + 1..]));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_colours_and_not_too_long() {
        keep(b"\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m it began\n");
        assert!(recent().contains(&"2026  INFO it began".to_string()));
        for number in 0..2 * RECENT_LINES_MAX {
            keep(format!("line {number}\n").as_bytes());
        }
        keep("é".repeat(RECENT_LINE_BYTES_MAX).as_bytes());
        let kept = recent();
        assert_eq!(kept.len(), RECENT_LINES_MAX);
        assert!(kept.iter().all(|line| line.len() <= RECENT_LINE_BYTES_MAX));
        let first = 2 * RECENT_LINES_MAX - (RECENT_LINES_MAX - 1);
        assert_eq!(kept[0], format!("line {first}"));
    }
}
