//! The log lines of several nodes on one standard error, each with its node's
//! name. A paused terminal (Ctrl-S, a full pipe) must not pause the cluster:
//! lines are then dropped, and counted.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    task::JoinHandle,
};

use crate::{
    limits::{LOG_LINE_BYTES_MAX, LOG_LINES_QUEUED_MAX},
    render::screen::eprint,
};

/// Where lines go; clones share it.
#[derive(Clone)]
pub struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    colour: bool,
}

enum Line {
    Text(String),
    /// Answered once everything before it is written.
    End(SyncSender<()>),
}

impl Log {
    /// Starts the writing thread.
    pub fn start() -> Self {
        let (lines, queue) = sync_channel(LOG_LINES_QUEUED_MAX);
        // Ends with the last clone of the sender, or with the process.
        std::thread::spawn(move || {
            for line in queue {
                match line {
                    Line::Text(text) => eprint(&text),
                    Line::End(done) => {
                        let _ = done.try_send(());
                    }
                }
            }
        });
        Log {
            lines,
            dropped: Arc::default(),
            colour: io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Writes one line under a name.
    pub fn write(&self, name: &str, line: &str) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let mut text = String::new();
        if dropped > 0 {
            text = prefixed("dev", &format!("{dropped} lines were dropped"), self.colour);
        }
        text.push_str(&prefixed(name, line, self.colour));
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Line::Text(text)) {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    /// Writes all lines of a pipe under a name, until it is closed.
    pub fn follow(&self, name: &str, pipe: impl AsyncRead + Unpin + 'static) -> JoinHandle<()> {
        let (log, name) = (self.clone(), name.to_string());
        tokio::task::spawn_local(async move {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            loop {
                line.clear();
                // A longer line comes in pieces: memory stays bounded.
                let mut bounded = (&mut reader).take(LOG_LINE_BYTES_MAX);
                match bounded.read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => log.write(&name, String::from_utf8_lossy(&line).trim_end()),
                }
            }
        })
    }

    /// Waits briefly until all lines are written.
    pub fn flush(self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Line::End(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// A line after its name, which has its own colour on a terminal.
fn prefixed(name: &str, line: &str, colour: bool) -> String {
    if !colour {
        return format!("{name:<3} | {line}\n");
    }
    // Red is left to errors; the supervisor itself is bold.
    const COLOURS: [&str; 5] = ["36", "33", "32", "35", "34"];
    let number: Option<usize> = name.trim_start_matches('n').parse().ok();
    let code = number.map_or("1", |number| COLOURS[number % COLOURS.len()]);
    format!("\x1b[{code}m{name:<3} |\x1b[0m {line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_start_with_their_node() {
        assert_eq!(prefixed("n2", "listening", false), "n2  | listening\n");
        assert_eq!(prefixed("n2", "x", true), "\x1b[32mn2  |\x1b[0m x\n");
        assert_eq!(prefixed("dev", "x", true), "\x1b[1mdev |\x1b[0m x\n");
    }
}
