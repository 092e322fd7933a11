//! The last lines of this process's log, for whoever asks what happened: a service's
//! log may be on another machine, or gone with its container.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{RECENT_LINE_BYTES_MAX, RECENT_LINES_MAX};

/// A line, and whether it may name films.
struct Line {
    text: String,
    names: bool,
}

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

thread_local! {
    /// What this thread logs now may name films.
    static NAMES: Cell<bool> = const { Cell::new(false) };
}

/// What stands for a line that names films where those are not to be told.
const LEFT_OUT: &str = "(a line that may name films)";

fn lines() -> MutexGuard<'static, VecDeque<Line>> {
    // Nothing is left half-done while it is held.
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines, the oldest first; of those that may name films only that they were there,
/// unless `names` are wanted.
pub fn recent(names: bool) -> Vec<String> {
    let shown = |line: &Line| match names || !line.names {
        true => line.text.clone(),
        false => LEFT_OUT.to_string(),
    };
    lines().iter().map(shown).collect()
}

/// Logs what may name films.
pub fn naming_films<T>(log: impl FnOnce() -> T) -> T {
    // An event is written by the thread that logs it.
    NAMES.set(true);
    let logged = log();
    NAMES.set(false);
    logged
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
        kept.push_back(Line {
            text: line[..end].to_string(),
            names: NAMES.get(),
        });
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
    fn the_last_lines_are_kept_without_colours_names_and_not_too_long() {
        keep(b"\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m it began\n");
        naming_films(|| keep(b"/srv/out/secret.mp4 is done\n"));
        keep(b"it ended\n");
        let told = |names: bool| {
            let lines = recent(names);
            let known = [
                "2026  INFO it began",
                "/srv/out/secret.mp4 is done",
                "it ended",
            ];
            known.map(|text| lines.contains(&text.to_string()))
        };
        assert_eq!((told(true), told(false)), ([true; 3], [true, false, true]));
        assert!(recent(false).contains(&LEFT_OUT.to_string()));
        for number in 0..2 * RECENT_LINES_MAX {
            keep(format!("line {number}\n").as_bytes());
        }
        keep("é".repeat(RECENT_LINE_BYTES_MAX).as_bytes());
        let kept = recent(true);
        assert_eq!(kept.len(), RECENT_LINES_MAX);
        assert!(kept.iter().all(|line| line.len() <= RECENT_LINE_BYTES_MAX));
        let first = 2 * RECENT_LINES_MAX - (RECENT_LINES_MAX - 1);
        assert_eq!(kept[0], format!("line {first}"));
    }
}
