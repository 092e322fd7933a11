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
    /// At a constant frame rate, the first grid point that must be given, and
    /// the first that must not; the latter is unknown at the film's end.
    pub points: Option<(i64, Option<i64>)>,
    /// The keyframe that decoding starts at, if it is not the film's beginning.
    pub start: Option<i64>,
}

/// Follows one ffmpeg run.
pub(crate) struct FrameChecker<'a> {
    /// `None` for the whole film, of which nothing is known in advance.
    pub expected: Option<ExpectedFrames>,
    /// The frames of the shard.
    pub range: Bounds,
    /// Those and the ones that filters need around them.
    pub needed: Bounds,
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

    /// Checks a shard, whose times in the source are behind by `zero`.
    pub fn expecting(
        mut self,
        expected: ExpectedFrames,
        zero: i64,
        range: Bounds,
        needed: Bounds,
    ) -> Self {
        self.complaints = Complaints::new(Scope {
            zero,
            range,
            needed,
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

    /// Times of the frames given to the encoder.
    pub fn times(&self) -> &[i64] {
        self.filtered_times.as_ref().unwrap_or(&self.decoded_times)
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
        let times = self.filtered_times.get_or_insert_default();
        times.extend(frame.pts);
        within_limit(times.len() as u64)?;
        Ok(LineEffect::Progress)
    }
}

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
mod tests {
    use super::*;
    use crate::{facts::index::tests::sample, ffmpeg::log::reject_if_strict};
    use reelraft_model::spec::{SpecRequest, resolve};

    fn shown(filter: &str, pts: i64) -> String {
        format!("[showinfo@{filter} @ 0x5] [info] n: 0 pts: {pts} fmt:yuv420p s:1280x720 i:P")
    }

    /// Checks [60, 100) of the sample, decoded from 50 on.
    fn checker(index: &Index) -> FrameChecker<'_> {
        let spec = resolve(&SpecRequest::default()).unwrap();
        let range = index.shards()[1];
        let bounds = index.bounds(range);
        let expected = ExpectedFrames {
            decoded: index.times_in(range).to_vec(),
            points: None,
            start: Some(50),
        };
        let mut checker =
            FrameChecker::new(index, &spec, &|_| {}).expecting(expected, 0, bounds, bounds);
        checker.stderr("[info] Stream mapping:").unwrap();
        checker
    }

    const COMPLAINT: &str = "[h264 @ 0x5] [error] concealing 40 errors";

    #[test]
    fn every_frame_is_compared_with_the_expected_ones() {
        let index = sample();
        let mut whole = checker(&index);
        assert_eq!(whole.stderr(COMPLAINT).unwrap(), LineEffect::Neutral);
        for pts in 50..100 {
            assert_eq!(
                whole.stderr(&shown("decoded", pts)).unwrap(),
                LineEffect::Progress
            );
        }
        assert_eq!(whole.find_mismatch(), None);
        assert_eq!(
            (
                whole.lead_in,
                whole.decoded,
                whole.complaints.verdict().total
            ),
            (10, 40, 0)
        );

        let mut short = checker(&index);
        for pts in 50..99 {
            short.stderr(&shown("decoded", pts)).unwrap();
        }
        assert!(short.find_mismatch().unwrap().contains("39 decoded"));

        let mut skipping = checker(&index);
        skipping.stderr(&shown("decoded", 60)).unwrap();
        assert_eq!(
            skipping.stderr(&shown("decoded", 62)).unwrap(),
            LineEffect::Stop
        );
    }

    #[test]
    fn a_picture_of_another_size_behind_the_shard_is_noticed() {
        let index = sample();
        let mut checker = checker(&index);
        for pts in 60..100 {
            checker.stderr(&shown("decoded", pts)).unwrap();
        }
        let larger = shown("decoded", 100).replace("1280x720", "1920x1080");
        assert_eq!(checker.stderr(&larger).unwrap(), LineEffect::Stop);
        assert!(checker.find_mismatch().unwrap().contains("size"));
    }

    #[test]
    fn frames_lost_by_filters_are_noticed() {
        let index = sample();
        let mut checker = checker(&index);
        for pts in 60..100 {
            checker.stderr(&shown("decoded", pts)).unwrap();
            if pts != 77 {
                checker.stderr(&shown("filtered", pts)).unwrap();
            }
        }
        assert!(checker.find_mismatch().unwrap().contains("lost"));
    }

    #[test]
    fn an_error_counts_in_its_own_shard_and_names_its_place() {
        let index = sample();
        let decoded = |checker: &mut FrameChecker<'_>, times: std::ops::Range<i64>| {
            for pts in times {
                let line = format!("[info] decoder -> ist_index:0 type:video best_effort_ts:{pts}");
                checker.stderr(&line).unwrap();
            }
        };
        let mut noisy = checker(&index);
        noisy.stderr(COMPLAINT).unwrap();
        assert!(!noisy.complaints.verdict().any);
        let mut early = checker(&index);
        early.stderr(COMPLAINT).unwrap();
        decoded(&mut early, 50..51);
        early.stderr(COMPLAINT).unwrap();
        let verdict = early.complaints.verdict();
        assert!(verdict.any && verdict.doubtful);
        // A keyframe between them and the shard takes care of it.
        decoded(&mut early, 51..60);
        let verdict = early.complaints.verdict();
        assert!(verdict.any && !verdict.doubtful);
        let mut own = checker(&index);
        decoded(&mut own, 60..62);
        own.stderr(COMPLAINT).unwrap();
        let verdict = own.complaints.verdict();
        assert!(verdict.any && !verdict.doubtful);
        assert!(!own.agrees_with(&early) && own.agrees_with(&own));

        let mut last = checker(&index);
        decoded(&mut last, 58..59);
        last.stderr(COMPLAINT).unwrap();
        assert_eq!(last.complaints.verdict().total, 0);
        decoded(&mut last, 60..61);
        last.stderr(COMPLAINT).unwrap();
        let kept = last.complaints.verdict().kept;
        assert_eq!(kept, ["after 2.500000 s: h264: concealing 40 errors"]);
        let refused = reject_if_strict(&kept, true).unwrap_err();
        assert_eq!(refused.kind(), "damaged-source");
        assert!(reject_if_strict(&kept, false).is_ok());
    }
}
