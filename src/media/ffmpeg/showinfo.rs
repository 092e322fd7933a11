//! Parses the lines of ffmpeg's `showinfo` filter: each frame that passes it,
//! and the time base and rate of its input.
//!
//! The filter writes a line in parts. Where the decoder is a thread of its own,
//! as since ffmpeg 7, a line of its may stand between them, without its head.

use crate::{facts::times::Ratio, ffmpeg::log::LogLine};

/// A frame, as `showinfo` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its time in ticks, if it has one.
    pub pts: Option<i64>,
    pub pix_fmt: String,
    pub size: (u32, u32),
    /// The shape of its pixels, such as `4/3`; empty if it says none.
    pub aspect: String,
    /// Adler-32 of its bytes in hex, if the filter computes it.
    pub checksum: Option<String>,
}

/// Parses a frame from a line of the `showinfo` filter named `name`.
pub(crate) fn frame(line: &str, name: &str) -> Option<Frame> {
    let entry = line
        .starts_with("[showinfo@")
        .then(|| LogLine::parse(line))
        .flatten()?;
    if entry.component.strip_prefix("showinfo@") != Some(name) || !entry.text.starts_with("n:") {
        return None;
    }
    let mut words = entry.text.split_whitespace().peekable();
    let mut found = Frame {
        pts: None,
        pix_fmt: String::new(),
        size: (0, 0),
        aspect: String::new(),
        checksum: None,
    };
    // Numbers are padded, so a value may be the next word.
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
            // A shape that is not told is taken for square.
            "sar" if value == "0/1" => found.aspect = "1/1".into(),
            "sar" => found.aspect = value.to_string(),
            "s" => {
                let (width, height) = value.split_once('x')?;
                found.size = (width.parse().ok()?, height.parse().ok()?);
            }
            // The last one of the line's first part.
            "type" => {
                found.checksum = words.next().and_then(checksum);
                break;
            }
            _ => {}
        }
    }
    (found.size != (0, 0)).then_some(found)
}

fn checksum(word: &str) -> Option<String> {
    Some(word.strip_prefix("checksum:")?.to_string())
}

/// The checksum of the last frame of the filter named `name`, if its line was
/// broken before it.
pub(crate) fn late_checksum(line: &str, name: &str) -> Option<String> {
    let entry = LogLine::parse(line)?;
    let own = entry.component.strip_prefix("showinfo@") == Some(name);
    let word = own.then(|| entry.text.split_whitespace().next()).flatten();
    word.and_then(checksum)
}

/// What another thread said in the middle of a line of a `showinfo` filter.
pub(crate) fn interjection(line: &str) -> Option<&str> {
    let entry = LogLine::parse(line)?;
    entry.component.strip_prefix("showinfo@")?;
    let (own, last) = if entry.text.starts_with("n:") {
        (["checksum:", "plane_checksum:"], " type:")
    } else if entry.text.starts_with("color_") {
        (["color_", "color_"], "color_")
    } else {
        return None;
    };
    let (_, rest) = entry.text.split_once(last)?;
    // Behind the value of the last word.
    let (_, mut rest) = rest.split_once(' ')?;
    while let Some((word, behind)) = rest.split_once(' ') {
        if !own.iter().any(|own| word.starts_with(own)) {
            break;
        }
        rest = behind;
    }
    let rest = rest.trim();
    let own = own.iter().any(|own| rest.starts_with(own)) || entry.text.contains("checksum:");
    (!rest.is_empty() && !own).then_some(rest)
}

/// Parses the time base of the `showinfo` filter named `name`.
pub(crate) fn time_base(line: &str, name: &str) -> Option<Ratio> {
    let (base, _) = config(line, name)?.split_once(',')?;
    Ratio::parse(base.strip_prefix("time_base: ")?)
}

/// Parses the frame rate of the `showinfo` filter named `name`: a guess of the
/// demuxer, used for headers only.
pub(crate) fn rate(line: &str, name: &str) -> Option<Ratio> {
    Ratio::parse(config(line, name)?.split_once("frame_rate: ")?.1.trim())
}

/// The configuration of the `showinfo` filter named `name`.
fn config<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let entry = line
        .starts_with("[showinfo@")
        .then(|| LogLine::parse(line))
        .flatten()?;
    entry
        .text
        .strip_prefix("config in ")
        .filter(|_| entry.component.strip_prefix("showinfo@") == Some(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_that_is_broken_is_read() {
        let whole = "[showinfo@joint @ 0x5] [info] n:   0 pts:    60 pts_time:2.5 fmt:yuv420p sar:0/1 s:2x4 i:P iskey:0 type:P ";
        let colors = "[showinfo@joint @ 0x5] [info] color_range:tv color_space:unknown color_primaries:unknown color_trc:unknown";
        let mark = "decoder -> pts:99 pts_time:1 keyframe:1";
        let broken = format!("{whole}{mark}");
        assert_eq!(frame(&broken, "joint"), frame(whole, "joint"));
        assert_eq!(interjection(&broken), Some(mark));
        assert_eq!(interjection(&format!("{colors} {mark}")), Some(mark));
        let rest = "[showinfo@joint @ 0x5] [info] checksum:B58BC96F plane_checksum:[627BFC99";
        assert_eq!(late_checksum(rest, "joint").as_deref(), Some("B58BC96F"));
        assert_eq!(late_checksum(whole, "joint"), None);
        let hashed =
            format!("{whole}checksum:B58BC96F plane_checksum:[627BFC99] mean:[1] stdev:[2] ");
        for line in [whole, colors, rest, &hashed] {
            assert_eq!(interjection(line), None, "{line}");
        }
    }

    #[test]
    fn a_frame_is_read() {
        let line = "[showinfo@decoded @ 0x55e4b0358540] [info] n:   3 pts:    -12 pts_time:-0.125   pos:     1350 fmt:yuv420p sar:0/1 s:1280x720 i:P iskey:0 type:P ";
        assert_eq!(
            frame(line, "decoded").unwrap(),
            Frame {
                pts: Some(-12),
                pix_fmt: "yuv420p".into(),
                size: (1280, 720),
                aspect: "1/1".into(),
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
}
