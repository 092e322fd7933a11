//! What ffmpeg and ffprobe say, made sense of: levels, decoded frames by the
//! `showinfo` filter, progress, and the few complaints that are no matter of
//! the picture (a source whose bytes stop coming, a full disk).

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::{
    error::MediaError,
    facts::times::Ratio,
    ffmpeg::process::{Ended, Listener, Step},
    limits::{
        COMPLAINT_BYTES_MAX, COMPLAINTS_MAX, TAIL_LINES_MAX, TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX,
    },
};

/// Options that make ffmpeg's log readable for us: a level on every line, and
/// no "last message repeated".
pub(crate) const LOG: &str = "repeat+level+info";
/// As [`LOG`], errors alone.
pub(crate) const LOG_ERRORS: &str = "repeat+level+error";

/// One line of the log: who says it, how bad it is, and what.
pub(crate) struct Said<'a> {
    /// Filter, codec or format without its address; empty for ffmpeg itself.
    pub who: &'a str,
    /// `error`, `warning`, `info`…
    pub level: &'a str,
    /// The text.
    pub text: &'a str,
}

impl<'a> Said<'a> {
    /// Takes `[who @ 0x…] [level] text` apart. Continued lines have no level.
    pub fn parse(line: &'a str) -> Option<Said<'a>> {
        let (first, rest) = line.strip_prefix('[')?.split_once("] ")?;
        if let Some((who, _)) = first.split_once(" @ 0x") {
            // Some speak through a parent: `[out#0 @ …] [mp4 @ …] [error] …`.
            return match Said::parse(rest)? {
                said if said.who.is_empty() => Some(Said { who, ..said }),
                said => Some(said),
            };
        }
        Some(Said {
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
    pub fn clipped(&self) -> String {
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

/// Cuts a text at a character boundary.
pub(crate) fn clip(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_string()
}

/// Keeps complaints, bounded, and recognises those of the machine.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// The first of them.
    pub kept: Vec<String>,
    /// How many there were.
    pub total: u64,
    /// Where in the film we are; it is put before each.
    pub place: String,
    /// Whether what is said belongs to another shard and is not counted.
    pub deaf: bool,
    tail: std::collections::VecDeque<String>,
    disk_full: bool,
}

impl Complaints {
    /// Takes a line of stderr.
    ///
    /// # Errors
    /// [`MediaError::SourceLost`] when the source's bytes stopped coming,
    /// which must never be taken for the end of the film.
    pub fn hear(&mut self, line: &str) -> Result<bool, MediaError> {
        let Some(said) = Said::parse(line) else {
            return Ok(false);
        };
        if !said.is_complaint() && said.level != "warning" {
            return Ok(false);
        }
        let from_transport = matches!(said.who, "http" | "tcp" | "file");
        if (from_transport && said.is_complaint()) || said.text.contains("Stream ends prematurely")
        {
            return Err(MediaError::SourceLost {
                detail: said.clipped(),
            });
        }
        if !said.is_complaint() {
            return Ok(false);
        }
        if said.text.contains("No space left on device") {
            self.disk_full = true;
        }
        if !self.deaf {
            self.total += 1;
            if self.kept.len() < COMPLAINTS_MAX {
                let placed = match self.place.as_str() {
                    "" => said.clipped(),
                    place => format!("{place}: {}", said.clipped()),
                };
                self.kept.push(placed);
            }
        }
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(said.clipped());
        Ok(true)
    }

    /// Refuses what is damaged where that is asked for.
    ///
    /// # Errors
    /// [`MediaError::DamagedSource`] with the first complaint.
    pub fn strictly(&self, strict: bool) -> Result<(), MediaError> {
        match self.kept.first() {
            Some(complaint) if strict => Err(MediaError::DamagedSource {
                complaint: complaint.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The last words in one line.
    pub fn last_words(&self) -> String {
        let words: Vec<&str> = self.tail.iter().map(String::as_str).collect();
        if words.is_empty() {
            "it said nothing".to_string()
        } else {
            words.join("; ")
        }
    }

    /// Turns a bad end into an error.
    pub fn judge(&self, tool: &str, ended: Ended) -> Result<(), MediaError> {
        if self.disk_full {
            return Err(MediaError::DiskFull {
                tool: tool.to_string(),
            });
        }
        match ended {
            Ended::Well | Ended::Enough => Ok(()),
            Ended::Badly(status) => Err(MediaError::ToolFailed {
                tool: tool.to_string(),
                status: status_words(status),
                detail: self.last_words(),
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

/// A frame as `showinfo` saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its time in ticks; `None` if it has none.
    pub pts: Option<i64>,
    /// Pixel format.
    pub pix_fmt: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Adler-32 of its bytes in hex, where the filter was asked for it.
    pub checksum: Option<String>,
}

/// Reads a line of the `showinfo` filter named `name`.
pub(crate) fn frame(line: &str, name: &str) -> Option<Frame> {
    let said = line
        .starts_with("[showinfo@")
        .then(|| Said::parse(line))
        .flatten()?;
    if said.who.strip_prefix("showinfo@") != Some(name) || !said.text.starts_with("n:") {
        return None;
    }
    let mut words = said.text.split_whitespace().peekable();
    let mut found = Frame {
        pts: None,
        pix_fmt: String::new(),
        size: (0, 0),
        checksum: None,
    };
    // Numbers are padded, so a value may be a word of its own.
    while let Some(word) = words.next() {
        let Some((key, value)) = word.split_once(':') else {
            continue;
        };
        let value = if value.is_empty() {
            words.peek().copied().unwrap_or("")
        } else {
            value
        };
        match key {
            "pts" => found.pts = value.parse().ok(),
            "fmt" => found.pix_fmt = value.to_string(),
            "checksum" => found.checksum = Some(value.to_string()),
            "s" => {
                let (width, height) = value.split_once('x')?;
                found.size = (width.parse().ok()?, height.parse().ok()?);
            }
            _ => {}
        }
    }
    (found.size != (0, 0)).then_some(found)
}

/// Reads the time base in which the `showinfo` filter named `name` counts.
pub(crate) fn time_base(line: &str, name: &str) -> Option<Ratio> {
    let (base, _) = config(line, name)?.split_once(',')?;
    Ratio::parse(base.strip_prefix("time_base: ")?)
}

/// Reads the frame rate that the `showinfo` filter named `name` is told of: a
/// guess of the demuxer's, used for headers alone.
pub(crate) fn rate(line: &str, name: &str) -> Option<Ratio> {
    Ratio::parse(config(line, name)?.split_once("frame_rate: ")?.1.trim())
}

/// What the `showinfo` filter named `name` says of its input.
fn config<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let said = line
        .starts_with("[showinfo@")
        .then(|| Said::parse(line))
        .flatten()?;
    said.text
        .strip_prefix("config in ")
        .filter(|_| said.who.strip_prefix("showinfo@") == Some(name))
}

/// Keeps all of stdout, bounded, and the complaints.
#[derive(Default)]
pub(crate) struct Text {
    /// What came on stdout.
    pub out: String,
    /// What went wrong.
    pub complaints: Complaints,
}

impl Listener for Text {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        if self.out.len() + line.len() > TEXT_BYTES_MAX {
            return Err(MediaError::OverLimit {
                what: "the size of the source's description in bytes",
                found: (self.out.len() + line.len()) as u64,
                max: TEXT_BYTES_MAX as u64,
            });
        }
        self.out.push_str(line);
        self.out.push('\n');
        Ok(Step::Alive)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        self.complaints.hear(line)?;
        Ok(Step::Quiet)
    }

    fn line_bytes_max(&self) -> usize {
        TEXT_LINE_BYTES_MAX
    }
}

/// Follows a child by what `-progress` says, and keeps the complaints.
pub(crate) struct Advance<'a> {
    /// Gets the milliseconds of film done so far.
    progress: &'a (dyn Fn(u64) + Send + Sync),
    out_us: i64,
    out_bytes: u64,
    /// What went wrong.
    pub complaints: Complaints,
}

impl<'a> Advance<'a> {
    pub fn new(progress: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        Advance {
            progress,
            out_us: 0,
            out_bytes: 0,
            complaints: Complaints::default(),
        }
    }
}

impl Listener for Advance<'_> {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        match line.split_once('=') {
            Some(("out_time_us", time)) => {
                let out_us = time.trim().parse().unwrap_or(0);
                if out_us > self.out_us {
                    self.out_us = out_us;
                    (self.progress)(out_us as u64 / 1000);
                    return Ok(Step::Alive);
                }
            }
            Some(("total_size", size)) => {
                let out_bytes = size.trim().parse().unwrap_or(0);
                if out_bytes > self.out_bytes {
                    self.out_bytes = out_bytes;
                    return Ok(Step::Alive);
                }
            }
            _ => {}
        }
        Ok(Step::Quiet)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        self.complaints.hear(line)?;
        Ok(Step::Quiet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_frame_is_read() {
        let line = "[showinfo@decoded @ 0x55e4b0358540] [info] n:   3 pts:    -12 pts_time:-0.125   pos:     1350 fmt:yuv420p sar:0/1 s:1280x720 i:P iskey:0 type:P ";
        assert_eq!(
            frame(line, "decoded").unwrap(),
            Frame {
                pts: Some(-12),
                pix_fmt: "yuv420p".into(),
                size: (1280, 720),
                checksum: None,
            }
        );
        let hashed = line.replace("@decoded", "@joint")
            + "checksum:B58BC96F plane_checksum:[627BFC99 982EAD48]";
        let hashed = frame(&hashed, "joint").unwrap();
        assert_eq!(hashed.checksum.as_deref(), Some("B58BC96F"));
        assert_eq!(frame(line, "filtered"), None);
        let none = "[showinfo@decoded @ 0x5] [info] n:   0 pts:NOPTS pts_time:NOPTS pos: 1 fmt:gray sar:1/1 s:2x4 i:P iskey:1 type:I";
        assert_eq!(frame(none, "decoded").unwrap().pts, None);
        assert_eq!(frame("[info] n: 0 pts: 1 s:2x2", "decoded"), None);
    }

    #[test]
    fn addresses_are_left_out_of_complaints() {
        let mut complaints = Complaints::default();
        assert!(
            complaints
                .hear("[h264 @ 0x55d4c8] [error] no frame!")
                .unwrap()
        );
        assert!(!complaints.hear("[h264 @ 0x55d4c8] [warning] hm").unwrap());
        assert_eq!(complaints.kept, ["h264: no frame!"]);
    }

    #[test]
    fn the_sources_address_is_left_out_of_complaints() {
        let mut complaints = Complaints::default();
        for line in [
            "[error] file:/a b/c: d.mp4: Invalid data found",
            "[error] http://127.0.0.1:9/secret: Invalid data found",
        ] {
            complaints.hear(line).unwrap();
        }
        assert_eq!(complaints.kept, ["source: Invalid data found"; 2]);
    }

    #[test]
    fn a_broken_connection_is_no_end_of_the_film() {
        let mut complaints = Complaints::default();
        let line = "[http @ 0x55d4c8] [error] Stream ends prematurely at 100, should be 200";
        assert!(matches!(
            complaints.hear(line),
            Err(MediaError::SourceLost { .. })
        ));
    }
}
