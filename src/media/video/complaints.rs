//! What a decoding complains of, each complaint at its place in the film.
//!
//! From ffmpeg 7 on demuxer, decoder and filters are threads, whose lines mix
//! in the log as the scheduler likes; the lines of one thread keep their order.
//! Under `-debug_ts` the demuxer names each packet and the decoder each frame.
//! So a complaint has its place from the marks of its own thread, and which
//! thread that is shows at the end: until then it is counted by both.
//!
//! Not here: what the frames themselves must be; see `frame_checker.rs`.

use crate::{
    facts::{
        index::Bounds,
        times::{MICROSECONDS, Ratio, rescale, seconds},
    },
    ffmpeg::log::LogLine,
    limits::{COMPLAINTS_MAX, JOINT_FRAMES, SPEAKERS_MAX},
};

/// A line by which a thread says where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The demuxer gave a packet of this stream.
    Packet { stream: u32, pts: Option<i64> },
    /// The decoder gave a frame.
    Frame { pts: Option<i64> },
}

impl Mark {
    fn parse(line: &str) -> Option<Mark> {
        let (who, text) = line.split_once(" -> ")?;
        let value = |keys: [&str; 2]| {
            let mut words = text.split(' ');
            words.find_map(|word| keys.iter().find_map(|key| word.strip_prefix(key)))
        };
        if who.ends_with("demuxer+ffmpeg") {
            // Since ffmpeg 6.1 with the file before it.
            let stream = value(["ist_index:", "ist_index:"])?;
            let stream = stream.rsplit(':').next().unwrap_or(stream);
            let time = |key| value([key, key]).and_then(|time| time.parse().ok());
            return Some(Mark::Packet {
                stream: stream.parse().ok()?,
                pts: time("pkt_pts:").or_else(|| time("pkt_dts:")),
            });
        }
        if who.ends_with("decoder") && !text.contains("type:audio") {
            // Before ffmpeg 6.1 the time that counts has another name.
            let pts = value(["best_effort_ts:", "pts:"])?;
            return Some(Mark::Frame {
                pts: pts.parse().ok(),
            });
        }
        None
    }
}

/// What of the film a decoding is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Index of the video in the source.
    pub stream: u32,
    pub base: Ratio,
    /// Taken off each time, to compare it with the ranges.
    pub zero: i64,
    /// The frames of the shard; open for the whole film.
    pub range: Bounds,
    /// Those and the ones that filters need around them.
    pub needed: Bounds,
    /// The keyframe that decoding starts at, if it is not the film's beginning.
    pub start: Option<i64>,
}

impl Scope {
    /// Whether errors before the first frame don't matter: decoding starts in
    /// the middle of the stream, at least a keyframe early.
    fn noisy_start(&self) -> bool {
        self.start.is_some_and(|start| self.needed.is_before(start))
    }
}

/// Where a thread is.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The last time it named.
    time: Option<i64>,
    /// What it gave before the shard's range, and in it.
    before: u64,
    within: u64,
}

impl Position {
    fn advance(&mut self, scope: &Scope, time: Option<i64>) {
        let Some(time) = time.map(|time| time - scope.zero) else {
            self.within += 1;
            return;
        };
        self.time = Some(time);
        if scope.range.is_before(time) {
            self.before += 1;
        } else if !scope.range.is_after(time) {
            self.within += 1;
        }
    }
}

/// Complaints by the places of one thread.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Those in the shard's range, and the first of them with their times.
    total: u64,
    kept: Vec<(Option<i64>, String)>,
    /// Whether there were any up to the last needed frame.
    any: bool,
    /// Whether there were any until the frame that decoding starts at was given.
    early: bool,
    /// Whether there were any at the shard's first frames.
    at_joint: bool,
    /// What had been given before the shard at the last one there.
    before: Option<u64>,
}

impl Tally {
    fn add(&mut self, scope: &Scope, at: Position, message: &str) {
        let within = match at.time {
            Some(time) => !scope.range.is_before(time) && !scope.range.is_after(time),
            None => scope.range.from.is_none(),
        };
        if within {
            self.total += 1;
            if self.kept.len() < COMPLAINTS_MAX {
                self.kept.push((at.time, message.to_string()));
            }
        }
        self.early |= scope
            .start
            .is_some_and(|start| at.time.is_none_or(|time| time < start));
        // Starting in the middle of a stream is noisy. What counts is what is
        // said from the first picture to the last needed one.
        let noise = scope.noisy_start() && at.before + at.within == 0;
        let over = at.time.is_some_and(|time| scope.needed.is_after(time));
        if !noise && !over {
            self.any = true;
            match at.within {
                0 => self.before = Some(at.before),
                given => self.at_joint |= given < 2,
            }
        }
    }
}

/// A part of ffmpeg that complains: a demuxer, a parser or a decoder.
#[derive(Clone, Debug)]
struct Speaker {
    component: String,
    address: String,
    /// Whether it spoke while the source was opened.
    early: bool,
    lines: u64,
    by_packets: Tally,
    by_frames: Tally,
}

/// All complaints of one decoding.
#[derive(Clone, Debug)]
pub(crate) struct Complaints {
    pub scope: Scope,
    opened: bool,
    packets: Position,
    frames: Position,
    speakers: Vec<Speaker>,
}

/// What came of them; equal for equal bytes and start, whatever was scheduled
/// when.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// Errors in the shard's range.
    pub total: u64,
    /// The first of them, each with its place.
    pub kept: Vec<String>,
    /// Whether there were errors up to the last needed frame.
    pub any: bool,
    /// Whether the shard's first frame itself may be damaged, and the one that
    /// decoding starts at as well. What is missing of a frame is taken from those
    /// before it, and of the very first one from nowhere.
    pub doubtful: bool,
}

impl Complaints {
    pub fn new(scope: Scope) -> Self {
        Complaints {
            scope,
            opened: false,
            packets: Position::default(),
            frames: Position::default(),
            speakers: Vec::new(),
        }
    }

    /// Takes a line that may say where a thread is, and tells whether it does.
    pub fn follow(&mut self, line: &str) -> bool {
        let mark = Mark::parse(line);
        match mark {
            Some(Mark::Packet { stream, pts }) if stream == self.scope.stream => {
                self.packets.advance(&self.scope, pts);
            }
            Some(Mark::Frame { pts }) => self.frames.advance(&self.scope, pts),
            Some(Mark::Packet { .. }) => {}
            None => self.opened |= line.starts_with("[info] Stream mapping:"),
        }
        mark.is_some()
    }

    /// Takes an error.
    pub fn add(&mut self, entry: &LogLine<'_>) {
        let found = self.speakers.iter().position(|speaker| {
            speaker.component == entry.component && speaker.address == entry.address
        });
        let at = match found {
            Some(at) => at,
            None if self.speakers.len() == SPEAKERS_MAX => SPEAKERS_MAX - 1,
            None => {
                self.speakers.push(Speaker {
                    component: entry.component.to_string(),
                    address: entry.address.to_string(),
                    early: !self.opened,
                    lines: 0,
                    by_packets: Tally::default(),
                    by_frames: Tally::default(),
                });
                self.speakers.len() - 1
            }
        };
        let message = entry.message();
        let speaker = &mut self.speakers[at];
        speaker.lines += 1;
        let scope = &self.scope;
        speaker.by_packets.add(scope, self.packets, &message);
        speaker.by_frames.add(scope, self.frames, &message);
    }

    /// The complaints, each by the thread it came from.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        let mut early = false;
        let mut kept = Vec::new();
        for demuxes in [true, false] {
            let mut speakers: Vec<&Speaker> = self
                .speakers
                .iter()
                .filter(|speaker| self.demuxes(speaker) == demuxes)
                .collect();
            // Those of one name keep the order in which they first spoke.
            speakers.sort_by(|one, other| one.component.cmp(&other.component));
            for speaker in speakers {
                let (tally, at) = match demuxes {
                    true => (&speaker.by_packets, self.packets),
                    false => (&speaker.by_frames, self.frames),
                };
                verdict.total += tally.total;
                verdict.any |= tally.any;
                let near = |given| at.before.saturating_sub(given) < JOINT_FRAMES;
                early |= tally.early;
                verdict.doubtful |= tally.at_joint || tally.before.is_some_and(near);
                kept.extend(&tally.kept);
            }
        }
        verdict.doubtful &= early;
        kept.sort_by_key(|(time, _)| *time);
        kept.truncate(COMPLAINTS_MAX);
        verdict.kept = kept
            .iter()
            .map(|(time, message)| self.placed(*time, message))
            .collect();
        verdict
    }

    fn placed(&self, time: Option<i64>, message: &str) -> String {
        match time {
            None => message.to_string(),
            Some(time) => {
                let place_us = rescale(time, self.scope.base, MICROSECONDS);
                format!("after {} s: {message}", seconds(place_us))
            }
        }
    }

    /// Whether a speaker works in the demuxer's thread. A parser has the name of
    /// its decoder since ffmpeg 8. It says less than the decoder, which reads
    /// the same headers and more, and of each packet it speaks first.
    fn demuxes(&self, speaker: &Speaker) -> bool {
        let name = speaker.component.as_str();
        if name.starts_with("dec:") || name.is_empty() {
            return false;
        }
        // A demuxer has all its names, or since ffmpeg 8 the number of its file.
        let demuxer = name.contains(',') || name.starts_with("in#") || name.starts_with("vist#");
        if demuxer || name == "NULL" || speaker.early || DEMUXERS.contains(&name) {
            return true;
        }
        let namesakes = self
            .speakers
            .iter()
            .filter(|other| other.component == speaker.component && !other.early);
        // The last of equals is the decoder.
        let decoder = namesakes.max_by_key(|other| other.lines);
        decoder.is_some_and(|decoder| decoder.address != speaker.address)
    }
}

/// Demuxers of a single name that complain.
const DEMUXERS: [&str; 12] = [
    "mpegts", "mpeg", "avi", "asf", "flv", "ogg", "mxf", "wtv", "gxf", "nut", "rm", "ivf",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scope() -> Scope {
        Scope {
            stream: 1,
            base: Ratio { num: 1, den: 10 },
            zero: 100,
            range: Bounds {
                from: Some(20),
                to: Some(40),
            },
            needed: Bounds {
                from: Some(20),
                to: Some(40),
            },
            start: Some(15),
        }
    }

    fn packet(pts: i64) -> String {
        format!(
            "[vist#0:1/h264 @ 0x1] [info] demuxer+ffmpeg -> ist_index:0:1 type:video pkt_pts:{pts} pkt_pts_time:1 pkt_dts:0 pkt_dts_time:0 off:0 off_time:0"
        )
    }

    fn frame(pts: i64) -> String {
        format!(
            "[vist#0:1/h264 @ 0x1] [dec:h264 @ 0x2] [info] decoder -> pts:{pts} pts_time:1 pkt_dts:0 keyframe:1 time_base:1/10"
        )
    }

    #[test]
    fn the_marks_of_each_version_are_read() {
        let seen = |line: &str| Mark::parse(line);
        let pts = Some(313_200);
        for line in [
            "[info] decoder -> ist_index:0 type:video frame_pts:NOPTS frame_pts_time:NOPTS best_effort_ts:313200 best_effort_ts_time:3.48 keyframe:1 frame_type:1 time_base:1/90000",
            &frame(313_200),
        ] {
            assert_eq!(seen(line), Some(Mark::Frame { pts }), "{line}");
        }
        for line in [
            "[info] demuxer+ffmpeg -> ist_index:1 type:video pkt_pts:313200 pkt_pts_time:3.5 pkt_dts:1 pkt_dts_time:0 off:0 off_time:0",
            "[info] demuxer+ffmpeg -> ist_index:1 type:video pkt_pts:NOPTS pkt_pts_time:NOPTS pkt_dts:313200 pkt_dts_time:3.5 off:0 off_time:0",
            &packet(313_200),
        ] {
            assert_eq!(seen(line), Some(Mark::Packet { stream: 1, pts }), "{line}");
        }
        assert_eq!(
            seen("[info] demuxer -> ist_index:1 type:video pkt_pts:3"),
            None
        );
        assert_eq!(seen("[h264 @ 0x1] [error] a -> b"), None);
    }

    /// Each thread's lines in their order, and the threads mixed anyhow.
    #[test]
    fn the_verdict_does_not_depend_on_how_the_threads_mix() {
        let error = |address: &str, text: &str| format!("[h264 @ {address}] [error] {text}");
        let mut demuxer: Vec<String> = (110..145).map(packet).collect();
        demuxer.insert(15, "[in#0/mpegts @ 0x9] [error] bad".into());
        demuxer.insert(20, error("0xa", "parser"));
        let mut decoder: Vec<String> = (110..145).map(frame).collect();
        for at in [20, 12, 12] {
            decoder.insert(at, error("0xd", "decoder"));
        }
        let verdict = |ahead: usize| {
            let mut complaints = Complaints::new(scope());
            complaints.follow("[info] Stream mapping:");
            let mut take = |line: &String| match LogLine::parse(line) {
                Some(entry) if entry.is_error() => complaints.add(&entry),
                _ => {
                    complaints.follow(line);
                }
            };
            let mut decoded = decoder.iter();
            for (number, line) in demuxer.iter().enumerate() {
                take(line);
                if number >= ahead {
                    decoded.by_ref().take(1).for_each(&mut take);
                }
            }
            decoded.for_each(&mut take);
            complaints.verdict()
        };
        let first = verdict(0);
        assert_eq!(
            first.kept,
            [
                "after 2.100000 s: h264: decoder",
                "after 2.100000 s: h264: decoder",
                "after 2.400000 s: in#0/mpegts: bad",
                "after 2.800000 s: h264: parser",
                "after 2.900000 s: h264: decoder",
            ]
        );
        assert!(first.total == 5 && first.any && !first.doubtful);
        for ahead in 1..12 {
            assert_eq!(verdict(ahead), first, "{ahead}");
        }
    }

    #[test]
    fn a_damaged_joint_is_doubtful_where_the_start_is_damaged_too() {
        let error = "[mpeg2video @ 0xd] [error] bad";
        let doubtful = |places: &[i64]| {
            let mut complaints = Complaints::new(scope());
            complaints.follow("[info] Stream mapping:");
            for time in 10..40 {
                if places.contains(&time) {
                    complaints.add(&LogLine::parse(error).unwrap());
                }
                complaints.follow(&frame(100 + time));
            }
            complaints.verdict().doubtful
        };
        assert!(!doubtful(&[20]) && !doubtful(&[18]), "the joint alone");
        assert!(!doubtful(&[10]) && !doubtful(&[15]), "the start alone");
        assert!(!doubtful(&[16, 20]), "behind the start");
        assert!(doubtful(&[10, 20]) && doubtful(&[15, 18]));
    }
}
