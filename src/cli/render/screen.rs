//! What the user sees on standard error while a command runs, and the one
//! door to standard output.
//!
//! On a terminal there is one bar that is redrawn in place, and notices scroll
//! above it. Elsewhere the same text comes as lines, at a bounded rate. What
//! the lines say is decided in [`crate::render::progress`].

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::CliError,
    limits::{BAR_MS, LINE_MS},
};

/// Standard error, shared by all that report.
pub struct Screen {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The bar as it stands on the terminal; empty where there is none.
    bar: String,
    last: Option<Instant>,
    /// What an interrupted user is told.
    on_interrupt: String,
}

impl Screen {
    /// Looks once whether standard error is a terminal that can redraw.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Screen {
            terminal: io::stderr().is_terminal() && !dumb,
            state: Mutex::default(),
        }
    }

    // A panic while the lock was held can only have left a half-drawn bar.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line that stays.
    pub fn notice(&self, text: &str) {
        let state = self.state();
        let text = printable(text);
        if state.bar.is_empty() {
            eprint(&format!("{text}\n"));
        } else {
            eprint(&format!("\r\x1b[K{text}\n{}", state.bar));
        }
    }

    /// Whether it is time to draw again; asked first, so that nothing is
    /// rendered in vain.
    pub fn due(&self) -> bool {
        let every_ms = if self.terminal { BAR_MS } else { LINE_MS };
        self.state()
            .last
            .is_none_or(|last| last.elapsed() >= Duration::from_millis(every_ms))
    }

    /// Shows how far things are, replacing what was shown before.
    pub fn progress(&self, text: &str) {
        let mut state = self.state();
        state.last = Some(Instant::now());
        if self.terminal {
            state.bar = printable(text).chars().take(columns()).collect();
            eprint(&format!("\r\x1b[K{}", state.bar));
        } else {
            eprint(&format!("{}\n", printable(text)));
        }
    }

    /// How wide a line of progress may be: the terminal's width, or any.
    pub fn columns(&self) -> usize {
        if self.terminal { columns() } else { usize::MAX }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        let mut state = self.state();
        if !state.bar.is_empty() {
            eprint("\r\x1b[K");
            state.bar.clear();
        }
        state.last = None;
    }

    /// Says beforehand what Ctrl-C will answer from here on.
    pub fn on_interrupt(&self, hint: impl Into<String>) {
        self.state().on_interrupt = hint.into();
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

/// Text without control characters: what a node or a file name says must not
/// steer the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

/// Writes to standard error; that it is closed is no reason to stop.
pub fn eprint(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Writes a whole answer to standard output.
///
/// # Errors
/// [`CliError::OutputClosed`] if the reader is gone, [`CliError::Local`] if
/// the write fails otherwise (a full disk behind a redirection).
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Local {
            what: "can't write to standard output".into(),
            cause: error.to_string(),
            hint: "see where the output goes".into(),
        },
    })
}

/// Columns of the terminal less one (a full line would wrap), 79 if unknown.
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
