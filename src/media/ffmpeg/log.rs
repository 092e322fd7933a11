//! Parses the log of ffmpeg and ffprobe, collects its errors, and recognizes
//! those that are not about the picture: a source whose bytes stop coming, a
//! full disk, a build that lacks something.

use crate::{
    error::MediaError,
    facts::text::clip,
    ffmpeg::{
        failures::{Inability, inability},
        process::Exit,
    },
    limits::{COMPLAINT_BYTES_MAX, COMPLAINTS_MAX, SPEAKERS_MAX, TAIL_LINES_MAX},
};

/// Log level of runs whose log we parse: a level on every line, no "last
/// message repeated".
pub(crate) const LOG: &str = "repeat+level+info";
/// As [`LOG`], errors only.
pub(crate) const LOG_ERRORS: &str = "repeat+level+error";

/// What the address of a source, or its host, begins with in ffmpeg's words.
const ADDRESS_MARKS: [&str; 6] = [
    "file:",
    "http://",
    "https://",
    "tcp://",
    "tls://",
    "hostname ",
];

pub(crate) struct LogLine<'a> {
    /// Filter, codec or format, without its memory address; empty for ffmpeg
    /// itself.
    pub component: &'a str,
    /// Its memory address, which tells two of a name apart; empty if there is
    /// none.
    pub address: &'a str,
    /// `error`, `warning`, `info`…
    pub level: &'a str,
    pub text: &'a str,
}

impl<'a> LogLine<'a> {
    /// Parses `[component @ 0x…] [level] text`. Continuation lines have no
    /// level.
    pub fn parse(line: &'a str) -> Option<LogLine<'a>> {
        let (first, rest) = line.strip_prefix('[')?.split_once("] ")?;
        if let Some((component, address)) = first.split_once(" @ 0x") {
            // Some log through a parent: `[out#0 @ …] [mp4 @ …] [error] …`.
            return match LogLine::parse(rest)? {
                entry if entry.component.is_empty() => Some(LogLine {
                    component,
                    address,
                    ..entry
                }),
                entry => Some(entry),
            };
        }
        Some(LogLine {
            component: "",
            address: "",
            level: first,
            text: rest,
        })
    }

    pub fn is_error(&self) -> bool {
        matches!(self.level, "error" | "fatal" | "panic")
    }

    /// The line as `component: text`, clipped, and without the source's
    /// address or host: that differs on each node, and its token is secret.
    pub fn message(&self) -> String {
        let mut text = self.text.trim().to_string();
        for mark in ADDRESS_MARKS {
            while let Some(at) = text.find(mark) {
                let end = text[at..].rfind(": ").map_or(text.len(), |end| at + end);
                text.replace_range(at..end, "source");
            }
        }
        if !self.component.is_empty() {
            text = format!("{}: {text}", self.component);
        }
        clip(&text, COMPLAINT_BYTES_MAX)
    }
}

/// The first errors of one part of ffmpeg.
#[derive(Debug)]
struct Speaker {
    component: String,
    address: String,
    kept: Vec<String>,
}

/// Collects errors, up to a limit.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    /// Number of all errors.
    pub total: u64,
    speakers: Vec<Speaker>,
    tail: std::collections::VecDeque<String>,
    disk_full: bool,
    /// The first error of the transport.
    lost: Option<String>,
    /// The first error that is about the build and not about the source.
    unable: Option<Inability>,
}

impl Diagnostics {
    /// Takes a line of stderr, and tells whether it is an error.
    ///
    /// # Errors
    /// [`MediaError::SourceLost`] when the source's bytes stop coming, which
    /// must never pass for the end of the film.
    pub fn observe(&mut self, line: &str) -> Result<bool, MediaError> {
        let Some(entry) = LogLine::parse(line) else {
            return Ok(false);
        };
        if !entry.is_error() && entry.level != "warning" {
            return Ok(false);
        }
        if entry.text.contains("Stream ends prematurely") {
            return Err(MediaError::SourceLost {
                detail: entry.message(),
            });
        }
        if !entry.is_error() {
            return Ok(false);
        }
        if matches!(entry.component, "http" | "https" | "tcp" | "tls" | "file") {
            self.lost.get_or_insert_with(|| entry.message());
            self.remember(&entry);
            return Ok(false);
        }
        if self.unable.is_none() {
            self.unable = inability(entry.text, || entry.message());
        }
        if entry.text.contains("No space left on device") {
            self.disk_full = true;
        }
        self.total += 1;
        self.keep(entry.component, entry.address, entry.message());
        self.remember(&entry);
        Ok(true)
    }

    /// Adds what a step itself has to say.
    pub fn note(&mut self, complaint: String) {
        self.total += 1;
        self.keep("", "", complaint);
    }

    fn keep(&mut self, component: &str, address: &str, message: String) {
        let known = self
            .speakers
            .iter()
            .position(|speaker| speaker.component == component && speaker.address == address);
        let at = known.unwrap_or_else(|| {
            if self.speakers.len() < SPEAKERS_MAX {
                self.speakers.push(Speaker {
                    component: component.to_string(),
                    address: address.to_string(),
                    kept: Vec::new(),
                });
            }
            self.speakers.len() - 1
        });
        let kept = &mut self.speakers[at].kept;
        if kept.len() < COMPLAINTS_MAX {
            kept.push(message);
        }
    }

    /// The first errors, those of each part of ffmpeg together: since ffmpeg 7
    /// these are threads, and how their lines mix depends on the scheduler.
    pub fn complaints(&self) -> Vec<String> {
        self.messages().take(COMPLAINTS_MAX).cloned().collect()
    }

    /// The first errors of each part.
    pub fn messages(&self) -> impl Iterator<Item = &String> {
        let mut speakers: Vec<&Speaker> = self.speakers.iter().collect();
        speakers.sort_by_key(|speaker| (&speaker.component, &speaker.kept));
        speakers.into_iter().flat_map(|speaker| &speaker.kept)
    }

    fn remember(&mut self, entry: &LogLine<'_>) {
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(entry.message());
    }

    /// Rejects a source with errors if the spec is strict.
    ///
    /// # Errors
    /// [`MediaError::DamagedSource`] with the first error.
    pub fn reject_if_strict(&self, strict: bool) -> Result<(), MediaError> {
        reject_if_strict(&self.complaints(), strict)
    }

    /// The last errors in one line, even muted ones.
    pub fn last_errors(&self) -> String {
        let errors: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        if errors.is_empty() {
            "it said nothing".to_string()
        } else {
            errors.join("; ")
        }
    }

    /// Turns a failure into an error. This alone judges how a tool ended: a
    /// step that discarded it would take a lost source, a full disk or a
    /// missing encoder for something that it found in the source.
    ///
    /// # Errors
    /// [`MediaError::ToolFailed`] if nothing more exact is known.
    pub fn check_exit(&self, tool: &str, exit: Exit) -> Result<(), MediaError> {
        if self.disk_full {
            return Err(MediaError::DiskFull {
                tool: tool.to_string(),
            });
        }
        if let Some(detail) = &self.lost {
            return Err(MediaError::SourceLost {
                detail: detail.clone(),
            });
        }
        let Exit::Failure(status) = exit else {
            return Ok(());
        };
        Err(match &self.unable {
            Some(inability) => inability.clone().of_tool(tool),
            None => MediaError::ToolFailed {
                tool: tool.to_string(),
                status: match status.code() {
                    Some(code) => format!("code {code}"),
                    None => "no code".to_string(),
                },
                detail: self.last_errors(),
            },
        })
    }
}

/// Rejects a source with these errors if the spec is strict.
///
/// # Errors
/// [`MediaError::DamagedSource`] with the first error.
pub(crate) fn reject_if_strict(complaints: &[String], strict: bool) -> Result<(), MediaError> {
    match complaints.first() {
        Some(complaint) if strict => Err(MediaError::DamagedSource {
            complaint: complaint.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_addresses_are_left_out_of_messages() {
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
        assert_eq!(complaints.complaints(), ["h264: no frame!"]);
    }

    #[test]
    fn the_sources_url_is_left_out_of_messages() {
        let mut complaints = Diagnostics::default();
        for line in [
            "[error] file:/a b/c: d.mp4: Invalid data found",
            "[error] http://127.0.0.1:9/secret: Invalid data found",
        ] {
            complaints.observe(line).unwrap();
        }
        assert_eq!(complaints.complaints(), ["source: Invalid data found"; 2]);
        for (line, said) in [
            (
                "[https @ 0x1] [error] https://h.example/token: 404: https://h.example/token",
                "https: source: source",
            ),
            (
                "[tcp @ 0x1] [error] Connection to tcp://h.example:443 failed: refused",
                "tcp: Connection to source: refused",
            ),
            (
                "[tcp @ 0x1] [error] Failed to resolve hostname h.example: not known",
                "tcp: Failed to resolve source: not known",
            ),
            (
                "[tls @ 0x1] [error] tls://h.example:443 is not trusted",
                "tls: source",
            ),
        ] {
            assert_eq!(LogLine::parse(line).unwrap().message(), said);
            let mut lost = Diagnostics::default();
            assert!(!lost.observe(line).unwrap());
            let error = lost.check_exit("ffmpeg", Exit::Success).unwrap_err();
            assert_eq!(error.kind(), "source-lost");
        }
    }

    /// Lines of one thread keep their order, and the threads mix anyhow.
    #[test]
    fn the_order_of_threads_does_not_show() {
        let demuxer = ["[mpegts @ 0x1] [error] one", "[mpegts @ 0x1] [error] two"];
        let decoder = ["[aac @ 0x2] [error] three", "[aac @ 0x3] [error] four"];
        let said = |lines: [&str; 4]| {
            let mut complaints = Diagnostics::default();
            for line in lines {
                complaints.observe(line).unwrap();
            }
            (complaints.total, complaints.complaints())
        };
        let first = said([demuxer[0], demuxer[1], decoder[0], decoder[1]]);
        assert_eq!(
            first.1,
            ["aac: four", "aac: three", "mpegts: one", "mpegts: two"]
        );
        assert_eq!(
            said([decoder[1], demuxer[0], decoder[0], demuxer[1]]),
            first
        );
    }

    #[test]
    fn a_broken_connection_is_not_the_end_of_the_film() {
        let mut complaints = Diagnostics::default();
        let line = "[http @ 0x55d4c8] [error] Stream ends prematurely at 100, should be 200";
        assert!(matches!(
            complaints.observe(line),
            Err(MediaError::SourceLost { .. })
        ));
    }

    #[test]
    fn the_transport_is_judged_by_the_end() {
        let mut complaints = Diagnostics::default();
        let line = "[http @ 0x55d4c8] [error] Unexpected offset: expected 36, got 0";
        assert!(!complaints.observe(line).unwrap());
        assert_eq!(complaints.total, 0);
        for exit in [Exit::Success, Exit::StoppedByListener] {
            let lost = complaints.check_exit("ffmpeg", exit).unwrap_err();
            assert_eq!(lost.kind(), "source-lost");
        }
    }
}
