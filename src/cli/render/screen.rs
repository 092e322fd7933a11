//! The two output streams: standard error, with notices and a progress bar, and
//! standard output, with answers. Nothing else in this program writes to them,
//! and a reader that is gone is never a panic.
//!
//! On a terminal the bar is redrawn in place, and notices scroll above it.
//! Elsewhere progress is printed as lines, at a bounded rate. What the lines
//! say is decided in [`crate::render::progress`].

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{
    error::{CliError, os_reason},
    limits::{BAR_MS, LINE_MS},
    render::format::is_unprintable,
};

/// What takes notices in place of standard error.
type Told = Box<dyn Fn(&str) + Send + Sync>;

/// Standard error, shared by everything that reports on it.
pub struct Screen {
    terminal: bool,
    told: Option<Told>,
    state: Mutex<State>,
    /// The screen that this one is a part of: it shows no progress itself.
    whole: Option<Arc<Screen>>,
    /// Of the source that is being uploaded: bytes that are safe.
    uploaded_bytes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The bar as the terminal shows it; empty if it shows none.
    bar: String,
    drawn: Option<Instant>,
    /// The hint for an interrupted user.
    on_interrupt: String,
    /// The last notice of a part.
    last_of_parts: String,
}

impl Screen {
    /// Checks once whether standard error is a terminal that can redraw.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            terminal: io::stderr().is_terminal() && !dumb,
            told: None,
            state: Mutex::default(),
            whole: None,
            uploaded_bytes: AtomicU64::new(0),
        }
    }

    /// A screen that tells its notices to somebody else, and no progress to anybody.
    pub fn told(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Screen {
            terminal: false,
            told: Some(Box::new(tell)),
            state: Mutex::default(),
            whole: None,
            uploaded_bytes: AtomicU64::new(0),
        }
    }

    /// A screen for one of several things done at once. Its notices go to the
    /// whole, one that several say but once; its progress is only counted.
    pub fn part(whole: &Arc<Screen>) -> Self {
        Screen {
            terminal: false,
            told: None,
            state: Mutex::default(),
            whole: Some(whole.clone()),
            uploaded_bytes: AtomicU64::new(0),
        }
    }

    /// So many bytes of the source are safe.
    pub fn uploaded(&self, bytes: u64) {
        self.uploaded_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The bytes last told to [`Screen::uploaded`].
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded_bytes.load(Ordering::Relaxed)
    }

    // A panic while the lock was held can only have left a half-drawn bar.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a line that stays.
    pub fn notice(&self, text: &str) {
        if let Some(whole) = &self.whole {
            let known = {
                let mut state = whole.state();
                std::mem::replace(&mut state.last_of_parts, text.to_string()) == text
            };
            if !known {
                whole.notice(text);
            }
            return;
        }
        if let Some(tell) = &self.told {
            tell(&printable(text));
            return;
        }
        let state = self.state();
        let text = printable(text);
        if state.bar.is_empty() {
            eprint(&format!("{text}\n"));
        } else {
            let erase = erase(&state.bar, columns());
            eprint(&format!("{erase}{text}\n{}", state.bar));
        }
    }

    /// Whether it is time to draw again. Asked first, so that nothing is rendered
    /// in vain.
    pub fn due(&self) -> bool {
        if self.whole.is_some() || self.told.is_some() {
            return false;
        }
        let every_ms = if self.terminal { BAR_MS } else { LINE_MS };
        self.state()
            .drawn
            .is_none_or(|drawn| drawn.elapsed() >= Duration::from_millis(every_ms))
    }

    /// Shows how far things are, in place of what was shown before.
    pub fn progress(&self, text: &str) {
        if self.whole.is_some() || self.told.is_some() {
            return;
        }
        let mut state = self.state();
        state.drawn = Some(Instant::now());
        if self.terminal {
            let erase = erase(&state.bar, columns());
            state.bar = cut(&printable(text), columns());
            eprint(&format!("{erase}{}", state.bar));
        } else {
            eprint(&format!("{}\n", printable(text)));
        }
    }

    /// Whether progress is redrawn in place.
    pub fn redraws(&self) -> bool {
        self.terminal
    }

    /// How wide a line of progress may be: the terminal's width, or unlimited.
    pub fn columns(&self) -> usize {
        if self.terminal { columns() } else { usize::MAX }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        let mut state = self.state();
        if !state.bar.is_empty() {
            eprint(&erase(&state.bar, columns()));
            state.bar.clear();
        }
        state.drawn = None;
    }

    /// Sets what Ctrl-C will print from here on.
    pub fn on_interrupt(&self, hint: impl Into<String>) {
        self.state().on_interrupt = hint.into();
    }

    /// How to return to the job, if the command has one; else empty.
    pub fn way_back(&self) -> String {
        self.state().on_interrupt.clone()
    }

    /// The hint last given to [`Screen::on_interrupt`].
    pub fn interrupt_hint(&self) -> String {
        match self.state().on_interrupt.as_str() {
            "" => "nothing was changed; run the command again".to_string(),
            hint => hint.to_string(),
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// What removes a bar from the screen. A terminal that became narrower since it
/// was drawn has wrapped it into several lines.
fn erase(bar: &str, columns: usize) -> String {
    match bar.width().saturating_sub(1) / (columns + 1) {
        0 => "\r\x1b[K".into(),
        lines => format!("\r\x1b[{lines}A\x1b[J"),
    }
}

/// As much of a text as fits into so many cells.
fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |letter: &char| {
        used += letter.width().unwrap_or(0);
        used <= columns
    };
    text.chars().take_while(fits).collect()
}

/// Text without what steers a terminal: that must not come from a node or a
/// file name.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if is_unprintable(letter) { '?' } else { letter })
        .collect()
}

/// Writes to standard error; ignores that it may be closed.
pub fn eprint(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Writes a whole answer to standard output.
///
/// # Errors
/// [`CliError::OutputClosed`] if the reader is gone, [`CliError::Local`] if
/// the write fails for another reason (a full disk behind a redirection).
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Local {
            what: "can't write to standard output".into(),
            cause: os_reason(&error),
            hint: "check where the output goes".into(),
        },
    })
}

/// The terminal's columns minus one (a full line would wrap), 79 if unknown.
fn columns() -> usize {
    // SAFETY: the call writes one winsize, which `size` is, and an all-zero
    // winsize is a valid value.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size);
        size
    };
    match size.ws_col {
        0 => 79,
        columns => usize::from(columns) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_cut_by_cells_and_not_by_letters() {
        assert_eq!(cut("映画 film", 7), "映画 fi");
        assert_eq!(cut("映画", 3), "映");
    }

    #[test]
    fn a_bar_that_the_terminal_has_wrapped_is_erased_as_a_whole() {
        assert_eq!(erase(&"#".repeat(79), 79), "\r\x1b[K");
        assert_eq!(erase(&"#".repeat(79), 39), "\r\x1b[1A\x1b[J");
        assert_eq!(erase("", 39), "\r\x1b[K");
    }
}
