//! Where keyframes are forced: where shards begin, so that the reference has them
//! there too; behind a shard, where its encoder is given more; and, where keyframes
//! are wanted at even times, at the first frame from each of these on. Times are
//! counted from the film's first frame.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{
        index::Index,
        plan::ShardRange,
        text::{milli, strings},
        times::{MICROSECONDS, MILLISECONDS, Ratio, rescale_down, seconds},
    },
    video::{
        filters::Pass,
        grid::Grid,
        seam::Given,
        timing::{encoded_base, fps},
    },
};

/// The options that force keyframes.
pub(crate) fn forced(spec: &Spec, index: &Index, pass: Pass) -> Vec<String> {
    let expression = match (spec.codec(), pass) {
        (Codec::Ffv1 | Codec::None, _) | (_, Pass::Sample | Pass::Compared(_)) => {
            return Vec::new();
        }
        (_, Pass::Shard(range)) => in_shard(spec, index, range),
        (_, Pass::Reference { whole: false }) => in_reference(spec, index),
        (_, Pass::Whole | Pass::Reference { whole: true }) => even(spec),
    };
    let mut args = Vec::new();
    if !expression.is_empty() {
        args.extend(["-force_key_frames:v".into(), expression]);
        if spec.codec() == Codec::Hevc {
            args.extend(strings(&["-forced-idr:v", "1"]));
        }
    }
    if let Pass::Shard(range) = pass
        && Given::of(spec, index, range).ends_after(spec).is_some()
    {
        // What is complete is on the disk at once, as ffmpeg is ended.
        args.extend(strings(&["-flush_packets", "1"]));
    }
    args
}

/// Of the frames that an encoder is given for a shard.
fn in_shard(spec: &Spec, index: &Index, range: ShardRange) -> String {
    let given = Given::of(spec, index, range);
    let mut frames: Vec<i64> = given.ends_after(spec).into_iter().collect();
    frames.extend(even_frames(spec, index, given.range));
    frames.sort_unstable();
    frames.dedup();
    let frames: Vec<String> = frames
        .iter()
        .map(|frame| format!("eq(n,{frame})"))
        .collect();
    match frames.is_empty() {
        true => String::new(),
        false => format!("expr:{}", frames.join("+")),
    }
}

fn in_reference(spec: &Spec, index: &Index) -> String {
    match spec.keyint_milli() {
        0 => cut_times(spec, index).join(","),
        _ => {
            let joints = joint_frames(index);
            let joints: String = joints.map(|frame| format!("+eq(n,{frame})")).collect();
            format!("{}{joints}", even(spec))
        }
    }
}

/// At even times, in ffmpeg's own words; a hair is added, as it counts in floats.
fn even(spec: &Spec) -> String {
    let Ok(every) = i32::try_from(spec.keyint_milli()) else {
        return String::new();
    };
    if every == 0 {
        return String::new();
    }
    let every = milli(every);
    let turn = |time: &str| format!("floor({time}/{every}+1e-6)");
    let (now, last) = (turn("t"), turn("prev_forced_t"));
    format!("expr:if(isnan(prev_forced_t),1,gt({now},{last}))")
}

/// Numbers of the first frames of shards, but for the first.
fn joint_frames(index: &Index) -> impl Iterator<Item = u64> {
    let shards = index.shards();
    let ends = shards.iter().scan(0, |frames, shard| {
        *frames += shard.frames;
        Some(*frames)
    });
    ends.take(shards.len().saturating_sub(1))
}

/// Frames of a range, by their numbers in it, that are the first from an even time
/// on. The first one is a keyframe anyway.
fn even_frames(spec: &Spec, index: &Index, range: ShardRange) -> Vec<i64> {
    if spec.keyint_milli() == 0 {
        return Vec::new();
    }
    let every = Ratio {
        num: spec.keyint_milli().into(),
        den: MILLISECONDS.den,
    };
    let base = encoded_base(spec, index);
    let first = index.times.first().copied().unwrap_or(range.from_pts);
    let turn = |since: i64| rescale_down(since, base, every);
    let times: Vec<i64> = match Grid::of(spec, index) {
        Some(grid) => {
            let (zero, from) = (grid.point(first), grid.point(range.from_pts));
            let to = index
                .times
                .last()
                .map_or(range.to_pts, |last| range.to_pts.min(last + 1));
            (from..grid.point(to)).map(|point| point - zero).collect()
        }
        None => index
            .times_in(range)
            .iter()
            .map(|time| time - first)
            .collect(),
    };
    let pairs = (1..).zip(times.windows(2));
    pairs
        .filter(|(_, pair)| turn(pair[0]) < turn(pair[1]))
        .map(|(frame, _)| frame)
        .collect()
}

/// The most frames from one keyframe to the next, where the rate is known: a part
/// of a frame counts as one, or an encoder would set its own just before each that is
/// forced.
pub(crate) fn frames_apart(spec: &Spec, index: &Index) -> Option<u64> {
    let rate = fps(spec).or(index.facts.rate)?;
    let frames = u128::from(spec.keyint_milli()) * u128::try_from(rate.num).ok()?;
    let frames = frames.div_ceil(1_000 * u128::try_from(rate.den).ok()?.max(1));
    u64::try_from(frames).ok().filter(|frames| *frames > 0)
}

/// Times of the frames that shards begin with, but for the first: seconds of the
/// output, rounded down, as ffmpeg takes the first frame that is not before one.
fn cut_times(spec: &Spec, index: &Index) -> Vec<String> {
    let base = encoded_base(spec, index);
    let cuts = index.shards().iter().skip(1).map(|shard| shard.from_pts);
    cuts.map(|pts| match Grid::of(spec, index) {
        Some(grid) => grid.point(pts),
        None => pts - index.facts.zero,
    })
    .map(|time| seconds(rescale_down(time, base, MICROSECONDS)))
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{EncoderChoice, SpecRequest, resolve};

    fn args(codec: &str, keyint_milli: u32, rate: Option<(u32, u32)>, pass: Pass) -> String {
        let spec = resolve(&SpecRequest {
            codec: codec.into(),
            preset: if codec == "h264" { "veryfast" } else { "" }.into(),
            fps: rate,
            encoder_choice: EncoderChoice {
                keyint_milli,
                ..Default::default()
            },
            ..Default::default()
        });
        forced(&spec.unwrap(), &sample(), pass).join(" ")
    }

    #[test]
    fn keyframes_fall_on_even_times_of_the_film_in_each_shard() {
        let shards = sample().shards().to_vec();
        // 24 frames a second, a joint at 60.
        let of = |number: usize, milli| args("h264", milli, None, Pass::Shard(shards[number]));
        assert_eq!(
            of(0, 1_000),
            "-force_key_frames:v expr:eq(n,24)+eq(n,48)+eq(n,60)+eq(n,72) -flush_packets 1"
        );
        // The third second is 12 frames behind the joint.
        assert_eq!(of(1, 1_000), "-force_key_frames:v expr:eq(n,12)+eq(n,36)");
        assert_eq!(of(1, 0), "");
        let half = args("vp9", 1_000, Some((12, 1)), Pass::Shard(shards[1]));
        assert_eq!(half, "-force_key_frames:v expr:eq(n,6)+eq(n,18)");
    }

    #[test]
    fn an_encoder_sets_none_just_before_one_that_is_forced() {
        let apart = |keyint_milli, num, den| {
            let mut index = sample();
            index.facts.rate = Some(Ratio { num, den });
            let spec = resolve(&SpecRequest {
                encoder_choice: EncoderChoice {
                    keyint_milli,
                    ..Default::default()
                },
                ..Default::default()
            });
            frames_apart(&spec.unwrap(), &index)
        };
        assert_eq!(apart(1_000, 24, 1), Some(24));
        // The first frame from each second on is the 24th, sometimes the 23rd.
        assert_eq!(apart(1_000, 24_000, 1_001), Some(24));
        assert_eq!(apart(250, 30_000, 1_001), Some(8));
        assert_eq!(apart(250, 1, 1), Some(1));
        assert_eq!(apart(0, 24, 1), None);
    }

    #[test]
    fn the_reference_has_those_of_all_shards() {
        let pass = Pass::Reference { whole: false };
        assert_eq!(args("h264", 0, None, pass), "-force_key_frames:v 2.500000");
        let even = "expr:if(isnan(prev_forced_t),1,gt(floor(t/1.000+1e-6),floor(prev_forced_t/1.000+1e-6)))";
        assert_eq!(
            args("hevc", 1_000, None, pass),
            format!("-force_key_frames:v {even}+eq(n,60) -forced-idr:v 1")
        );
        let whole = args("h264", 1_000, None, Pass::Whole);
        assert_eq!(whole, format!("-force_key_frames:v {even}"));
        assert_eq!(args("h264", 0, None, Pass::Whole), "");
    }
}
