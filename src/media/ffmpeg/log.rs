//! What ffmpeg and ffprobe say, made sense of: levels, decoded frames by the
//! `showinfo` filter, progress, and the few complaints that are no matter of
//! the picture (a source whose bytes stop coming, a full disk).

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use crate::{
    error::MediaError,
    facts::text::clip,
    ffmpeg::process::Exit,
    limits::{COMPLAINT_BYTES_MAX, COMPLAINTS_MAX, TAIL_LINES_MAX},
};

/// Options that make ffmpeg's log readable for us: a level on every line, and
/// no "last message repeated".
pub(crate) const LOG: &str = "repeat+level+info";
/// As [`LOG`], errors alone.
pub(crate) const LOG_ERRORS: &str = "repeat+level+error";

/// One line of the log: who says it, how bad it is, and what.
pub(crate) struct LogLine<'a> {
    /// Filter, codec or format without its address; empty for ffmpeg itself.
    pub who: &'a str,
    /// `error`, `warning`, `info`…
    pub level: &'a str,
    /// The text.
    pub text: &'a str,
}

impl<'a> LogLine<'a> {
    /// Takes `[who @ 0x…] [level] text` apart. Continued lines have no level.
    pub fn parse(line: &'a str) -> Option<LogLine<'a>> {
        let (first, rest) = line.strip_prefix('[')?.split_once("] ")?;
        if let Some((who, _)) = first.split_once(" @ 0x") {
            // Some speak through a parent: `[out#0 @ …] [mp4 @ …] [error] …`.
            return match LogLine::parse(rest)? {
                said if said.who.is_empty() => Some(LogLine { who, ..said }),
                said => Some(said),
            };
        }
        Some(LogLine {
            who: "",
            level: first,
            text: rest,
        })
    }

    /// Whether something went wrong.
    pub fn is_complaint(&self) -> bool {
        matches!(self.level, "error" | "fatal" | "panic")
    }

    /// As `who: text`, bounded, and without the source's address: that is
    /// another on each node, and its token is nobody's business.
    pub fn message(&self) -> String {
        let mut text = self.text.trim().to_string();
        for scheme in ["file:", "http://"] {
            if let Some(at) = text.find(scheme) {
                let end = text[at..].rfind(": ").map_or(text.len(), |end| at + end);
                text.replace_range(at..end, "source");
            }
        }
        if !self.who.is_empty() {
            text = format!("{}: {text}", self.who);
        }
        clip(&text, COMPLAINT_BYTES_MAX)
    }
}

/// Keeps complaints, bounded, and recognises those of the machine.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    /// The first of them.
    pub kept: Vec<String>,
    /// How many there were.
    pub total: u64,
    /// Where in the film we are; it is put before each.
    pub place: String,
    /// Whether what is said belongs to another shard and is not counted.
    pub muted: bool,
    tail: std::collections::VecDeque<String>,
    disk_full: bool,
}

impl Diagnostics {
    /// Takes a line of stderr.
    ///
    /// # Errors
    /// [`MediaError::SourceLost`] when the source's bytes stopped coming,
    /// which must never be taken for the end of the film.
    pub fn observe(&mut self, line: &str) -> Result<bool, MediaError> {
        let Some(said) = LogLine::parse(line) else {
            return Ok(false);
        };
        if !said.is_complaint() && said.level != "warning" {
            return Ok(false);
        }
        let from_transport = matches!(said.who, "http" | "tcp" | "file");
        if (from_transport && said.is_complaint()) || said.text.contains("Stream ends prematurely")
        {
            return Err(MediaError::SourceLost {
                detail: said.message(),
            });
        }
        if !said.is_complaint() {
            return Ok(false);
        }
        if said.text.contains("No space left on device") {
            self.disk_full = true;
        }
        if !self.muted {
            self.total += 1;
            if self.kept.len() < COMPLAINTS_MAX {
                let placed = match self.place.as_str() {
                    "" => said.message(),
                    place => format!("{place}: {}", said.message()),
                };
                self.kept.push(placed);
            }
        }
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(said.message());
        Ok(true)
    }

    /// Refuses what is damaged where that is asked for.
    ///
    /// # Errors
    /// [`MediaError::DamagedSource`] with the first complaint.
    pub fn reject_if_strict(&self, strict: bool) -> Result<(), MediaError> {
        match self.kept.first() {
            Some(complaint) if strict => Err(MediaError::DamagedSource {
                complaint: complaint.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The last words in one line.
    pub fn last_errors(&self) -> String {
        let words: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        if words.is_empty() {
            "it said nothing".to_string()
        } else {
            words.join("; ")
        }
    }

    /// Turns a bad end into an error.
    pub fn check_exit(&self, tool: &str, ended: Exit) -> Result<(), MediaError> {
        if self.disk_full {
            return Err(MediaError::DiskFull {
                tool: tool.to_string(),
            });
        }
        match ended {
            Exit::Success | Exit::StoppedByListener => Ok(()),
            Exit::Failure(status) => Err(MediaError::ToolFailed {
                tool: tool.to_string(),
                status: status_words(status),
                detail: self.last_errors(),
            }),
        }
    }
}

fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no code".to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_left_out_of_complaints() {
        let mut complaints = Diagnostics::default();
        assert!(
            complaints
                .observe("[h264 @ 0x55d4c8] [error] no frame!")
                .unwrap()
        );
        assert!(
            !complaints
                .observe("[h264 @ 0x55d4c8] [warning] hm")
                .unwrap()
        );
        assert_eq!(complaints.kept, ["h264: no frame!"]);
    }

    #[test]
    fn the_sources_address_is_left_out_of_complaints() {
        let mut complaints = Diagnostics::default();
        for line in [
            "[error] file:/a b/c: d.mp4: Invalid data found",
            "[error] http://127.0.0.1:9/secret: Invalid data found",
        ] {
            complaints.observe(line).unwrap();
        }
        assert_eq!(complaints.kept, ["source: Invalid data found"; 2]);
    }

    #[test]
    fn a_broken_connection_is_no_end_of_the_film() {
        let mut complaints = Diagnostics::default();
        let line = "[http @ 0x55d4c8] [error] Stream ends prematurely at 100, should be 200";
        assert!(matches!(
            complaints.observe(line),
            Err(MediaError::SourceLost { .. })
        ));
    }
}
