//! What an encoder is given behind its shard, so that a joint doesn't show: it
//! decides with the frames in view that one pass would see there. A pure function
//! of the index and the spec.
//!
//! x264 looks ahead by a number of frames. It is given that many of the next
//! shard, with a keyframe forced at the joint, and is ended at the first packet
//! of it: none of those frames has been encoded by then. x265 has an option for
//! that: frames behind a chunk are looked at and give no packet.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{index::Index, plan::ShardRange},
    limits::{KEYFRAMES_APART, KEYFRAMES_APART_MAX},
    video::{grid::Grid, timing::is_even},
};

/// What an encoder is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The frames of the source that it is made from.
    pub range: ShardRange,
    /// Frames of the output in the shard, if there are others behind it.
    own: Option<i64>,
}

impl Given {
    /// What the encoder of a shard is given.
    pub fn of(spec: &Spec, index: &Index, range: ShardRange) -> Given {
        let (times, tail) = (&index.times, tail(spec));
        let inner = times.last() >= Some(&range.to_pts);
        let end = times.partition_point(|&time| time < range.to_pts);
        let (to, own) = match Grid::of(spec, index) {
            None => {
                let first = times.partition_point(|&time| time < range.from_pts);
                (end.saturating_add(tail as usize), (end - first) as i64)
            }
            Some(grid) => {
                let (opens, ends) = (grid.point(range.from_pts), grid.point(range.to_pts));
                let to = times.partition_point(|&time| grid.point(time) < ends + tail);
                (to.max(end), ends - opens)
            }
        };
        let to_pts = match times.get(to) {
            Some(&time) => time,
            None => range.to_pts.max(times.last().map_or(0, |last| last + 1)),
        };
        Given {
            range: ShardRange { to_pts, ..range },
            own: (inner && tail > 0).then_some(own),
        }
    }

    /// The frames of the shard, if others follow them in the file that the encoder
    /// is ended in.
    pub fn ends_after(&self, spec: &Spec) -> Option<i64> {
        self.own.filter(|_| spec.codec() == Codec::H264)
    }

    /// The frames of the shard, if x265 is to give no more.
    pub fn chunk(&self, spec: &Spec) -> Option<i64> {
        self.own.filter(|_| spec.codec() == Codec::Hevc)
    }
}

/// How like those of the reference the pictures of a job are known to be, in words.
pub fn likeness(index: &Index, spec: &Spec, single: bool) -> &'static str {
    let shards = index.shards().len();
    if index.is_single_pass(single) && spec.cap().is_some() {
        return "its pictures are those of the job where they keep to the highest rate; where not, the job has made its own smaller";
    }
    if index.is_single_pass(single) || shards == 0 {
        return "";
    }
    let even = Grid::of(spec, index).is_some() || is_even(index);
    if spec.cap().is_some() {
        return "its pictures are near those of the job, which keeps to its highest rate over joints in its own way";
    }
    if spec.keyint_milli() > 0 {
        return "its pictures are near those of the job: encoders make a keyframe otherwise that follows close upon another";
    }
    match spec.codec() {
        Codec::H264 if x264_plans_ahead(&spec.preset) && even => {
            "its pictures equal those of the job to the bit"
        }
        Codec::H264 if x264_plans_ahead(&spec.preset) => {
            "its pictures are those of the job but for keyframes, which x264 makes by how long the frames before them were shown"
        }
        Codec::H264 => {
            "its pictures are near those of the job: at this preset x264 goes by how hard the frames before were"
        }
        Codec::Hevc => {
            "its pictures are near those of the job: x265 makes keyframes by the mean of what it spent on the hundred frames before"
        }
        Codec::Vp9 => {
            "its pictures are near those of the job: libvpx carries its state over keyframes"
        }
        Codec::Av1 => {
            "its pictures equal those of the job where SVT-AV1 takes keyframes at the joints, which older versions do not"
        }
        Codec::Ffv1 => "its pictures equal those of the job to the bit",
        Codec::None => "",
    }
}

/// Frames of the output that an encoder is given behind its shard.
fn tail(spec: &Spec) -> i64 {
    match spec.codec() {
        Codec::H264 => x264_tail(spec),
        Codec::Hevc => x265_tail(spec),
        // The others decide within a group of pictures, or frame by frame.
        Codec::Vp9 | Codec::Av1 | Codec::Ffv1 | Codec::None => 0,
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

/// Frames between keyframes of SVT-AV1, whose older versions take no word for
/// single ones: as long as the shards where they are all equally long but for the
/// last, so that one pass has its keyframes at the same frames.
pub(crate) fn svt_keyframes_apart(index: &Index) -> u64 {
    match index.facts.so_far {
        Some(so_far) => so_far.keyframes_apart,
        None => keyframes_apart(index.shards()),
    }
}

/// The same of shards, the last of which may be shorter.
pub(crate) fn keyframes_apart(shards: &[ShardRange]) -> u64 {
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
fn x264_tail(spec: &Spec) -> i64 {
    let decides_with = match spec.preset.as_str() {
        "ultrafast" => return 0,
        "superfast" => 3 + more_bframes(spec),
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

/// B frames in a row that a tune adds to those of the preset.
fn more_bframes(spec: &Spec) -> i64 {
    match spec.tune() {
        "animation" => 2,
        _ => 0,
    }
}

/// The frames that x265 decides with: its look-ahead, and the B frames that it may
/// have put off.
fn x265_tail(spec: &Spec) -> i64 {
    let (lookahead, bframes) = match spec.preset.as_str() {
        "ultrafast" => (5, 3),
        "superfast" => (10, 3),
        "veryfast" | "faster" | "fast" => (15, 4),
        "medium" => (20, 4),
        "slow" => (25, 4),
        "slower" | "veryslow" => (40, 8),
        _ => (60, 8),
    };
    lookahead + bframes + more_bframes(spec) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{index::tests::sample, plan::Plan};
    use reelraft_model::spec::{EncoderChoice, SpecRequest, resolve};

    fn spec(codec: &str, preset: &str, fps: Option<(u32, u32)>) -> Spec {
        let request = SpecRequest {
            codec: codec.into(),
            preset: preset.into(),
            fps,
            ..Default::default()
        };
        resolve(&request).expect("valid")
    }

    /// Where what is given for a shard of the sample ends, and the frames before
    /// which more follow.
    fn given(spec: &Spec, shard: usize) -> (i64, Option<i64>) {
        let index = sample();
        let range = index.shards()[shard];
        let given = Given::of(spec, &index, range);
        assert_eq!(given.range.from_pts, range.from_pts);
        (given.range.to_pts, given.own)
    }

    #[test]
    fn an_encoder_sees_as_far_as_it_looks_ahead_and_no_further_than_the_film() {
        let fast = spec("h264", "veryfast", None);
        assert_eq!(given(&fast, 0), (73, Some(60)));
        assert_eq!(given(&fast, 1), (100, None));
        assert_eq!(given(&spec("h264", "slow", None), 0), (100, Some(60)));
        assert_eq!(given(&spec("h264", "ultrafast", None), 0), (60, None));
        assert_eq!(given(&spec("hevc", "fast", None), 0), (80, Some(60)));
        assert_eq!(given(&spec("vp9", "", None), 0), (60, None));
    }

    #[test]
    fn it_is_counted_in_frames_of_the_output() {
        // One frame of the output is two of the source, or half of one.
        let half = spec("h264", "veryfast", Some((12, 1)));
        assert_eq!(given(&half, 0), (85, Some(30)));
        let double = spec("h264", "veryfast", Some((48, 1)));
        assert_eq!(given(&double, 0), (67, Some(120)));
    }

    #[test]
    fn only_what_x264_writes_is_cut_off() {
        let index = sample();
        let of = |codec: &str, shard: usize| {
            let spec = spec(codec, "medium", None);
            let given = Given::of(&spec, &index, index.shards()[shard]);
            (given.ends_after(&spec), given.chunk(&spec))
        };
        assert_eq!(of("h264", 0), (Some(60), None));
        assert_eq!(of("hevc", 0), (None, Some(60)));
        assert_eq!((of("h264", 1), of("hevc", 1)), ((None, None), (None, None)));
    }

    #[test]
    fn it_is_said_how_like_the_reference_a_job_is() {
        let mut index = sample();
        let said = |index: &Index, codec: &str, preset: &str, fps| {
            likeness(index, &spec(codec, preset, fps), false)
        };
        assert!(said(&index, "h264", "medium", None).contains("to the bit"));
        assert!(said(&index, "h264", "ultrafast", None).contains("near"));
        assert!(said(&index, "hevc", "", None).contains("hundred frames"));
        assert_eq!(likeness(&index, &spec("h264", "", None), true), "");
        let capped = resolve(&SpecRequest {
            encoder_choice: EncoderChoice {
                maxrate: 1_000_000,
                ..Default::default()
            },
            ..Default::default()
        });
        let capped = capped.expect("valid");
        assert!(likeness(&index, &capped, false).contains("over joints"));
        assert!(likeness(&index, &capped, true).contains("where they keep"));
        index.times[40] += 3;
        assert!(said(&index, "h264", "medium", None).contains("keyframes"));
        assert!(said(&index, "h264", "medium", Some((24, 1))).contains("to the bit"));
    }

    #[test]
    fn keyframes_fall_on_joints_where_one_distance_does_it() {
        let mut index = sample();
        assert_eq!(svt_keyframes_apart(&index), 60);
        let plan = |frames: &[u64]| {
            let shards = frames.iter().map(|&frames| ShardRange { frames, ..EMPTY });
            Plan {
                shards: shards.collect(),
                ..Plan::empty()
            }
        };
        for (frames, apart) in [
            (&[50, 60][..], KEYFRAMES_APART),
            (&[60, 50, 60], KEYFRAMES_APART),
            (&[1_000, 1_000], KEYFRAMES_APART),
            (&[100], KEYFRAMES_APART),
            (&[100, 100, 100], 100),
        ] {
            index = Index::new(index.facts.clone(), plan(frames));
            assert_eq!(svt_keyframes_apart(&index), apart, "{frames:?}");
        }
    }
}
