//! Checks an encoding as it runs: every decoded frame and every frame given to
//! the encoder against what was expected. What the decoder complains of meanwhile
//! is in `complaints.rs`.

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    facts::{
        index::{Bounds, Index},
        times::Ratio,
    },
    ffmpeg::{
        log::{Diagnostics, LogLine},
        picture_clock::PictureClock,
        process::{LineEffect, Listener},
        showinfo,
    },
    limits::{ASPECTS_MAX, FRAMES_MAX},
    video::{
        complaints::{Complaints, Scope},
        timing::{encoded_base, fps},
    },
};

/// What an encoding of a shard must give.
#[derive(Debug)]
pub(crate) struct ExpectedFrames {
    /// Times of all frames that must be decoded, in ascending order.
    pub decoded: Vec<i64>,
    /// At a constant frame rate, the first grid point of the shard, and the first
    /// after it; the latter is unknown at the film's end.
    pub points: Option<(i64, Option<i64>)>,
    /// Packets of the shard, if others follow that are not needed.
    pub ends_after: Option<u64>,
    /// The keyframe that decoding starts at, if it is not the film's beginning.
    pub start: Option<i64>,
}

/// Follows one ffmpeg run.
pub(crate) struct FrameChecker<'a> {
    /// `None` for the whole film, of which nothing is known in advance.
    pub expected: Option<ExpectedFrames>,
    /// The frames of the shard.
    range: Bounds,
    /// Those that must be decoded.
    needed: Bounds,
    progress: &'a (dyn Fn(u64) + Send + Sync),
    encoded_base: Ratio,
    /// Whether a constant frame rate repeats and drops frames.
    gridded: bool,
    size: (u32, u32),
    pix_fmt: &'a str,
    /// Frames decoded in the shard's range.
    pub decoded: u64,
    /// Frames decoded before it.
    pub lead_in: u64,
    seen: usize,
    decoded_times: Vec<i64>,
    /// Shapes of the pixels of the shard's frames, each once, in order.
    aspects: Vec<String>,
    filtered_times: Option<Vec<i64>>,
    encoded: u64,
    /// Packets that were written, or are about to be.
    muxed: u64,
    /// Whatever was said, to judge how the run ended.
    pub diagnostics: Diagnostics,
    /// Decoder errors, each at its place.
    pub complaints: Complaints,
    /// Checksums of the shard's first frame as decoded here, unless the film
    /// begins with it, and of the first frame after the shard.
    pub joints: (Option<String>, Option<String>),
    /// Time of the frame at a joint that was shown last.
    joint: Option<i64>,
    first_mismatch: Option<String>,
    /// Whether another thread said something in the middle of a line, so that
    /// whether it was an error is not known.
    pub broken: bool,
    /// Whether a picture differed from the first in size or format.
    pub changed: bool,
    /// The pictures' clock, if the pass prints it.
    pub clock: PictureClock,
}

impl<'a> FrameChecker<'a> {
    /// Checks a pass over the whole film.
    pub fn new(index: &'a Index, spec: &Spec, progress: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        FrameChecker {
            expected: None,
            range: Bounds::default(),
            needed: Bounds::default(),
            progress,
            encoded_base: encoded_base(spec, index),
            gridded: fps(spec).is_some(),
            size: index.facts.picture.source,
            pix_fmt: &index.facts.picture.source_pix_fmt,
            decoded: 0,
            lead_in: 0,
            seen: 0,
            decoded_times: Vec::new(),
            aspects: Vec::new(),
            filtered_times: None,
            encoded: 0,
            muxed: 0,
            diagnostics: Diagnostics::default(),
            complaints: Complaints::new(Scope {
                stream: index.facts.source.video().stream,
                base: index.facts.source.video().time_base,
                zero: 0,
                range: Bounds::default(),
                needed: Bounds::default(),
                start: None,
            }),
            joints: (None, None),
            joint: None,
            first_mismatch: None,
            broken: false,
            changed: false,
            clock: PictureClock::default(),
        }
    }

    /// Checks a shard, whose times in the source are behind by `zero`. `filtered`
    /// are its frames and those that filters need around them, `needed` all that
    /// must be decoded.
    pub fn expecting(
        mut self,
        expected: ExpectedFrames,
        zero: i64,
        range: Bounds,
        filtered: Bounds,
        needed: Bounds,
    ) -> Self {
        self.complaints = Complaints::new(Scope {
            zero,
            range,
            // What is damaged behind a shard is in the next one.
            needed: filtered,
            start: expected.start,
            ..self.complaints.scope
        });
        self.expected = Some(expected);
        (self.range, self.needed) = (range, needed);
        self
    }

    /// What is wrong with the run as a whole, if anything.
    pub fn find_mismatch(&mut self) -> Option<String> {
        if self.first_mismatch.is_some() {
            return self.first_mismatch.take();
        }
        let Some(expected) = &self.expected else {
            let given = self.filtered_times.as_ref();
            let alike = given.is_none_or(|given| *given == self.decoded_times);
            return (!alike && !self.gridded).then(|| "filters lost or moved frames".into());
        };
        if self.seen != expected.decoded.len() {
            let (promised, seen) = (expected.decoded.len(), self.seen);
            return Some(format!(
                "{promised} frames were promised and {seen} decoded"
            ));
        }
        let given = self.times();
        match expected.points {
            None if given != self.decoded_times => Some("filters lost or moved frames".into()),
            Some((from, to)) => {
                let end = from.saturating_add(given.len() as i64);
                let rises = given.iter().zip(from..).all(|(&time, point)| time == point);
                let ends = to.map_or(!given.is_empty(), |to| to == end);
                (!rises || !ends).then(|| format!("the grid from {from} to {to:?} is not filled"))
            }
            None => None,
        }
    }

    /// Whether another run complained of the same and saw the same pictures at
    /// the joints.
    pub fn agrees_with(&self, other: &FrameChecker<'_>) -> bool {
        let verdicts = (self.complaints.verdict(), other.complaints.verdict());
        self.joints == other.joints
            && verdicts.0.total == verdicts.1.total
            && verdicts.0.kept == verdicts.1.kept
    }

    fn note_aspect(&mut self, frame: &showinfo::Frame) {
        if self.aspects.len() < ASPECTS_MAX && !self.aspects.contains(&frame.aspect) {
            self.aspects.push(frame.aspect.clone());
        }
    }

    /// The shapes of the pixels, if there are several.
    pub fn changed_aspects(&self) -> Vec<String> {
        match self.aspects.as_slice() {
            [] | [_] => Vec::new(),
            several => several.to_vec(),
        }
    }

    /// Times of the shard's frames, as given to the encoder.
    pub fn times(&self) -> &[i64] {
        self.filtered_times.as_ref().unwrap_or(&self.decoded_times)
    }

    /// Whether all of the shard is written, and nothing more is needed of the
    /// frames behind it. ffmpeg names a packet before it writes it: with the second
    /// one of those, the first was written, and with it all before its keyframe.
    fn is_done(&self) -> bool {
        self.expected.as_ref().is_some_and(|expected| {
            let ends_after = expected.ends_after;
            ends_after.is_some_and(|own| self.muxed >= own.saturating_add(2))
                && self.seen == expected.decoded.len()
        })
    }

    /// Packets of the shard, if others follow them in the file.
    pub fn ends_after(&self) -> Option<usize> {
        let expected = self.expected.as_ref();
        expected
            .and_then(|expected| expected.ends_after)
            .map(|packets| packets as usize)
    }

    fn mismatch(&mut self, why: String) -> LineEffect {
        self.first_mismatch.get_or_insert(why);
        // Going on would not undo the mismatch.
        LineEffect::Stop
    }

    fn decoded(&mut self, frame: &showinfo::Frame) -> Result<LineEffect, MediaError> {
        let Some(pts) = frame.pts else {
            if self.expected.is_some() {
                return Ok(self.mismatch("a frame without a time".into()));
            }
            self.changed |= frame.size != self.size || frame.pix_fmt != self.pix_fmt;
            self.decoded += 1;
            self.note_aspect(frame);
            return Ok(LineEffect::Progress);
        };
        let in_range = !self.range.is_before(pts) && !self.range.is_after(pts);
        if self.range.is_before(pts) {
            self.lead_in += 1;
        }
        if self.needed.is_before(pts) {
            return Ok(LineEffect::Progress);
        }
        // One behind the shard too: filters are built anew for it, and 7.0 loses
        // what they still hold.
        self.changed |= frame.size != self.size || frame.pix_fmt != self.pix_fmt;
        if self.changed && self.expected.is_some() {
            return Ok(self.mismatch("the picture's size or format changes".into()));
        }
        if self.needed.is_after(pts) {
            return Ok(LineEffect::Progress);
        }
        if let Some(expected) = &self.expected {
            let promised = expected.decoded.get(self.seen).copied();
            if promised != Some(pts) {
                let promised = promised.map_or("nothing".to_string(), |time| time.to_string());
                return Ok(self.mismatch(format!("{promised} was promised and {pts} decoded")));
            }
        }
        self.seen += 1;
        if in_range {
            self.decoded += 1;
            self.decoded_times.push(pts);
            self.note_aspect(frame);
            within_limit(self.decoded)?;
        }
        Ok(LineEffect::Progress)
    }

    /// Takes the checksum of the joint's frame that was shown last.
    fn join(&mut self, checksum: Option<String>) {
        if self.joint.is_some() && self.joint == self.range.from {
            self.joints.0 = checksum;
        } else if self.joint.is_some() && self.joint == self.range.to {
            self.joints.1 = checksum;
        }
    }

    fn filtered(&mut self, frame: &showinfo::Frame) -> Result<LineEffect, MediaError> {
        let points = self.expected.as_ref().and_then(|expected| expected.points);
        let own = points.map_or(self.range, |(from, to)| Bounds {
            from: Some(from),
            to,
        });
        let of_shard = |pts: &i64| !own.is_before(*pts) && !own.is_after(*pts);
        let times = self.filtered_times.get_or_insert_default();
        times.extend(frame.pts.filter(of_shard));
        within_limit(times.len() as u64)?;
        Ok(LineEffect::Progress)
    }
}

/// What ffmpeg says of each packet that it is about to write, under `-debug_ts`.
const MUXED: &str = "muxer <- ";

/// How lines begin that show a tag of the source, whatever it says.
const TAG: &str = "[info]    ";

fn within_limit(frames: u64) -> Result<(), MediaError> {
    if frames > FRAMES_MAX {
        return Err(MediaError::OverLimit {
            what: "the number of frames",
            found: frames,
            max: FRAMES_MAX,
        });
    }
    Ok(())
}

impl Listener for FrameChecker<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.clock.observe(line);
        let frames = line
            .strip_prefix("frame=")
            .and_then(|frames| frames.trim().parse().ok());
        // Frames after the shard are counted too.
        let ends_after = self.expected.as_ref().and_then(|own| own.ends_after);
        let frames = frames.map(|frames: u64| frames.min(ends_after.unwrap_or(frames)));
        match frames {
            Some(frames) if frames > self.encoded => {
                self.encoded = frames;
                (self.progress)(frames);
                Ok(LineEffect::Progress)
            }
            _ => Ok(LineEffect::Neutral),
        }
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        // Another thread may say it in the middle of a line.
        let is_tag = line.starts_with(TAG);
        self.muxed += u64::from(line.contains(MUXED) && !is_tag);
        if self.is_done() {
            return Ok(LineEffect::Stop);
        }
        if let Some(said) = showinfo::interjection(line) {
            self.broken |= !self.complaints.follow(said) && !showinfo::is_timestamp(said);
        }
        if let Some(frame) = showinfo::frame(line, "decoded") {
            return self.decoded(&frame);
        }
        if let Some(frame) = showinfo::frame(line, "filtered") {
            return self.filtered(&frame);
        }
        if let Some(frame) = showinfo::frame(line, "joint") {
            self.joint = frame.pts;
            self.join(frame.checksum);
            return Ok(LineEffect::Neutral);
        }
        if let Some(checksum) = showinfo::late_checksum(line, "joint") {
            self.join(Some(checksum));
        }
        if let Some(base) = showinfo::time_base(line, "filtered") {
            self.filtered_times.get_or_insert_default();
            // In another time base, these times could not be compared with the
            // plan's.
            if base != self.encoded_base {
                return Err(MediaError::Unproven {
                    check: "filtered-time-base",
                    detail: format!("{base:?} instead of {:?}", self.encoded_base),
                });
            }
        }
        if !self.diagnostics.observe(line)? {
            self.complaints.follow(line);
        } else if let Some(entry) = LogLine::parse(line) {
            self.complaints.add(&entry);
        }
        Ok(LineEffect::Neutral)
    }
}

#[cfg(test)]
#[path = "frame_checker_tests.rs"]
mod tests;
