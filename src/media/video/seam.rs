//! What an encoder is given beside its shard, so that a joint doesn't show: it
//! decides with the frames after it in view, and as if it had encoded those
//! before. A pure function of the index and the spec.
//!
//! x264 looks ahead by a number of frames. It is given that many of the next
//! shard, with a keyframe forced at the joint, and is ended at the first packet
//! of it: none of those frames has been encoded by then. Its first keyframe
//! would be coarser than a later one, which a zone mends.
//!
//! x265 has options for all that: frames before and after a chunk are looked at
//! and give no packet. Its first keyframe needs some encoded frames before it to
//! become like a later one.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{index::Index, plan::ShardRange},
    limits::{FRAMES_MAX, KEYFRAMES_APART, KEYFRAMES_APART_MAX, X265_LEAD_FRAMES},
    video::grid::Grid,
};

/// Frames of the output that an encoder is given beside its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Margins {
    lead: i64,
    tail: i64,
}

/// What an encoder is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The frames of the source that it is made from.
    pub range: ShardRange,
    /// Frames of the output before the shard.
    pub lead: i64,
    /// Those of the shard; only the decoder knows them where the film ends.
    pub own: Option<i64>,
    /// Whether there are frames after the shard.
    tail: bool,
}

impl Given {
    /// What the encoder of a shard is given.
    pub fn of(spec: &Spec, index: &Index, range: ShardRange) -> Given {
        let margins = margins(spec);
        let times = &index.times;
        let inner = times.last() >= Some(&range.to_pts);
        let first = times.partition_point(|&time| time < range.from_pts);
        let end = times.partition_point(|&time| time < range.to_pts);
        let (from, to, lead, own) = match Grid::of(spec, index) {
            None => {
                let from = first.saturating_sub(margins.lead as usize);
                let to = end.saturating_add(margins.tail as usize);
                (from, to, (first - from) as i64, (end - first) as i64)
            }
            Some(grid) => {
                let (opens, ends) = (grid.point(range.from_pts), grid.point(range.to_pts));
                let (low, high) = (opens - margins.lead, ends.saturating_add(margins.tail));
                let from = times.partition_point(|&time| grid.point(time) < low);
                let from = from.min(first);
                let to = times.partition_point(|&time| grid.point(time) < high);
                let lead = times.get(from).map_or(0, |&time| opens - grid.point(time));
                (from, to.max(end), lead, ends - opens)
            }
        };
        let time_at = |at: usize| times.get(at).copied();
        let last = times
            .last()
            .map_or(range.to_pts, |last| last.saturating_add(1));
        Given {
            range: ShardRange {
                from_pts: time_at(from).unwrap_or(range.from_pts),
                to_pts: time_at(to).unwrap_or(last),
                frames: range.frames,
            },
            lead,
            own: inner.then_some(own),
            tail: inner && margins.tail > 0,
        }
    }

    /// The frames of the shard, if others follow them in the file that the encoder
    /// is ended in.
    pub fn ends_after(&self, spec: &Spec) -> Option<i64> {
        let runs_on = self.tail && spec.codec() == Codec::H264;
        self.own.filter(|_| runs_on)
    }

    /// Parameters of x265 for its chunk; it counts frames from 1.
    pub fn x265_chunk(&self) -> String {
        let mut params = ":no-open-gop=1".to_string();
        if self.lead > 0 {
            params.push_str(&format!(":chunk-start={}", self.lead + 1));
        }
        // It knows of a start only with an end.
        match self.own {
            Some(own) => params.push_str(&format!(":chunk-end={}", self.lead + own)),
            None if self.lead > 0 => params.push_str(&format!(":chunk-end={FRAMES_MAX}")),
            None => {}
        }
        params
    }
}

fn margins(spec: &Spec) -> Margins {
    match spec.codec() {
        Codec::H264 => Margins {
            lead: 0,
            tail: x264_tail(&spec.preset),
        },
        Codec::Hevc => Margins {
            lead: X265_LEAD_FRAMES,
            tail: x265_tail(&spec.preset),
        },
        // The others decide within a group of pictures, or frame by frame.
        Codec::Vp9 | Codec::Av1 | Codec::Ffv1 | Codec::None => Margins { lead: 0, tail: 0 },
    }
}

/// Whether a preset of x264 spreads quality by what is made from each block, as
/// all but the fastest do.
pub(crate) fn x264_plans_ahead(preset: &str) -> bool {
    !matches!(preset, "ultrafast" | "superfast")
}

/// Whether a preset of x264 would choose between two ways of prediction
/// (`direct=auto`) by how they fared in the film so far.
pub(crate) fn x264_learns(preset: &str) -> bool {
    matches!(preset, "slow" | "slower" | "veryslow" | "placebo")
}

/// Frames between keyframes of SVT-AV1, which takes no word for single ones: as
/// long as the shards where they are all equally long but for the last, so that
/// one pass has its keyframes at the same frames.
pub(crate) fn svt_keyframes_apart(index: &Index) -> u64 {
    let shards = index.shards();
    let first = shards.first().map_or(0, |shard| shard.frames);
    let (last, whole) = shards.split_last().unwrap_or((&EMPTY, &[]));
    let alike = whole.iter().all(|shard| shard.frames == first) && last.frames <= first;
    match alike && !whole.is_empty() && (2..=KEYFRAMES_APART_MAX).contains(&first) {
        true => first,
        false => KEYFRAMES_APART,
    }
}

const EMPTY: ShardRange = ShardRange {
    from_pts: 0,
    to_pts: 0,
    frames: 0,
};

/// The frames that x264 has taken in when it gives the second packet after a
/// shard: as many as it decides with (`rc-lookahead`, or `bframes` where that is
/// more or there is none), one as their times may vary, and those two.
fn x264_tail(preset: &str) -> i64 {
    let decides_with = match preset {
        "ultrafast" => return 0,
        "superfast" => 3,
        "veryfast" => 10,
        "faster" => 20,
        "fast" => 30,
        "medium" => 40,
        "slow" => 50,
        "slower" | "veryslow" => 60,
        // Four times its 16 B frames.
        _ => 64,
    };
    decides_with + 3
}

/// The frames that x265 decides with: its look-ahead, and the B frames that it may
/// have put off.
fn x265_tail(preset: &str) -> i64 {
    let (lookahead, bframes) = match preset {
        "ultrafast" => (5, 3),
        "superfast" => (10, 3),
        "veryfast" | "faster" | "fast" => (15, 4),
        "medium" => (20, 4),
        "slow" => (25, 4),
        "slower" | "veryslow" => (40, 8),
        _ => (60, 8),
    };
    lookahead + bframes + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn spec(codec: &str, preset: &str, fps: Option<(u32, u32)>) -> Spec {
        let request = SpecRequest {
            codec: codec.into(),
            preset: preset.into(),
            fps,
            ..Default::default()
        };
        resolve(&request).expect("valid")
    }

    /// Range, lead and own frames of what is given for a shard of the sample.
    fn given(spec: &Spec, shard: usize) -> (i64, i64, i64, Option<i64>) {
        let index = sample();
        let given = Given::of(spec, &index, index.shards()[shard]);
        let range = given.range;
        (range.from_pts, range.to_pts, given.lead, given.own)
    }

    #[test]
    fn an_encoder_sees_as_far_as_it_looks_ahead_and_no_further_than_the_film() {
        let fast = spec("h264", "veryfast", None);
        assert_eq!(given(&fast, 0), (0, 73, 0, Some(60)));
        assert_eq!(given(&fast, 1), (60, 100, 0, None));
        let slow = spec("h264", "slow", None);
        assert_eq!(given(&slow, 0), (0, 100, 0, Some(60)));
        let none = spec("h264", "ultrafast", None);
        assert_eq!(given(&none, 0), (0, 60, 0, Some(60)));
        let chunk = spec("hevc", "fast", None);
        assert_eq!(given(&chunk, 0), (0, 80, 0, Some(60)));
        let lead = X265_LEAD_FRAMES;
        assert_eq!(given(&chunk, 1), (60 - lead, 100, lead, None));
    }

    #[test]
    fn it_is_counted_in_frames_of_the_output() {
        // One frame of the output is two of the source, or half of one.
        let half = spec("h264", "veryfast", Some((12, 1)));
        assert_eq!(given(&half, 0), (0, 85, 0, Some(30)));
        let double = spec("h264", "veryfast", Some((48, 1)));
        assert_eq!(given(&double, 0), (0, 67, 0, Some(120)));
        let (from, _, lead, own) = given(&spec("hevc", "fast", Some((12, 1))), 1);
        assert_eq!((lead, own), ((60 - from) / 2, None));
        assert!(lead <= X265_LEAD_FRAMES && lead > X265_LEAD_FRAMES - 2);
    }

    #[test]
    fn only_a_tail_of_x264_is_cut_off() {
        let index = sample();
        let ends = |codec: &str, preset: &str, shard: usize| {
            let spec = spec(codec, preset, None);
            Given::of(&spec, &index, index.shards()[shard]).ends_after(&spec)
        };
        assert_eq!(ends("h264", "medium", 0), Some(60));
        assert_eq!(ends("h264", "medium", 1), None);
        assert_eq!(ends("h264", "ultrafast", 0), None);
        assert_eq!(ends("hevc", "medium", 0), None);
    }
}
