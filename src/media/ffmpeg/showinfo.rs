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

/// The name of what a frame of the filter named `name` carries, and its value.
pub(crate) fn side_data<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let entry = LogLine::parse(line)?;
    let own = entry.component.strip_prefix("showinfo@") == Some(name);
    let text = entry.text.trim_start();
    own.then(|| text.strip_prefix("side data - ")).flatten()
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
    let text = entry.text.trim_start();
    let (own, last) = if text.starts_with("n:") {
        (["checksum:", "plane_checksum:"], " type:")
    } else if text.starts_with("color_") {
        (["color_", "color_"], "color_")
    } else {
        return None;
    };
    let (_, mut rest) = text.split_once(last)?;
    loop {
        // It may follow a value without a space.
        let (value, behind) = rest.split_once(' ')?;
        let told = behind.starts_with("-> ") || behind.starts_with("<- ");
        if let Some(who) = THREADS.iter().find(|who| told && value.ends_with(*who)) {
            return Some(rest[value.len() - who.len()..].trim());
        }
        rest = behind;
        if !own.iter().any(|own| rest.starts_with(own)) {
            break;
        }
    }
    let rest = rest.trim();
    (!rest.is_empty() && !text.contains("checksum:")).then_some(rest)
}

/// Who speaks under `-debug_ts`, each behind those that end alike.
const THREADS: [&str; 7] = [
    "demuxer+ffmpeg",
    "demuxer",
    "muxer",
    "decoder",
    "encoder",
    "filter_raw",
    "filter",
];

/// Whether an interjection is one of those that `-debug_ts` prints, or the end of
/// one: no error is lost with it.
pub(crate) fn is_timestamp(said: &str) -> bool {
    let told = |rest: &str| rest.starts_with("-> ") || rest.starts_with("<- ");
    let mut behind = THREADS.iter().filter_map(|who| said.strip_prefix(who));
    told(said) || behind.any(|rest| told(rest.trim_start()))
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
        assert_eq!(interjection(&format!("{colors}{mark}")), Some(mark));
        let late = "[showinfo@joint @ 0x5] [info]  color_space:bt709error while decoding";
        assert_eq!(interjection(late), Some("while decoding"));
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
    fn timestamps_in_a_line_are_no_lost_errors() {
        let whole = "[showinfo@decoded @ 0x5] [info] n:   0 pts:    60 s:2x4 i:P iskey:0 type:P ";
        let colors = "[showinfo@decoded @ 0x5] [info] color_range:tv color_space:unknown";
        for said in [
            "encoder <- type:video frame_pts:60 frame_pts_time:2.5 time_base:1/24",
            "encoder -> type:video pkt_pts:60 pkt_pts_time:2.5",
            "muxer <- type:video pkt_pts:60 pkt_pts_time:2.5",
            "demuxer -> ist_index:0:0 type:video next_dts:60",
        ] {
            for line in [format!("{whole}{said}"), format!("{colors}{said}")] {
                assert_eq!(interjection(&line), Some(said));
            }
            assert!(is_timestamp(said), "{said}");
            assert!(is_timestamp(said.split_once(' ').unwrap().1), "{said}");
        }
        for said in ["concealing 40 errors", "decoder failed", "muxer: -> no"] {
            let line = format!("{whole}{said}");
            assert_eq!(interjection(&line), Some(said));
            assert!(!is_timestamp(said), "{said}");
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
