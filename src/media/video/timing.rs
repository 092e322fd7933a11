//! Time bases and rates of the encoded video.

use reelraft_model::spec::{Codec, Spec};

use crate::facts::{
    index::Index,
    times::{Ratio, rescale},
};

/// Frames by which the encoder's decode times lag behind, at its defaults: x264
/// and x265 use a B pyramid. The others do not reorder.
pub(crate) fn reordered_frames(spec: &Spec) -> usize {
    match spec.codec() {
        // The tune brings B frames back.
        Codec::H264 if spec.preset == "ultrafast" && spec.tune() != "animation" => 0,
        Codec::H264 | Codec::Hevc => 2,
        Codec::Vp9 | Codec::Av1 | Codec::Ffv1 | Codec::None => 0,
    }
}

/// Time base of the encoded video: the source's, or the grid's at a constant
/// rate.
pub(crate) fn encoded_base(spec: &Spec, index: &Index) -> Ratio {
    match fps(spec) {
        Some(rate) => Ratio {
            num: rate.den,
            den: rate.num,
        },
        None => index.facts.source.video().time_base,
    }
}

/// The requested frame rate in lowest terms, in frames per second.
pub(crate) fn fps(spec: &Spec) -> Option<Ratio> {
    (spec.fps_num > 0).then(|| {
        let (num, den) = (i64::from(spec.fps_num), i64::from(spec.fps_den.max(1)));
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Ratio {
            num: num / a,
            den: den / a,
        }
    })
}

/// Whether a film has a constant rate, and its clock is too coarse for it: each
/// frame comes within a tick of its turn, and not all after the same time.
pub(crate) fn is_evened_out(index: &Index) -> bool {
    if let Some(so_far) = index.facts.so_far {
        return so_far.evened_out;
    }
    Evenness::of_all(index).is_evened_out()
}

/// Whether each frame comes within a tick of its turn, or all after the same time.
pub(crate) fn is_even(index: &Index) -> bool {
    Evenness::of_all(index).is_even()
}

/// How even the times of a film are, as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evenness {
    /// Of a frame, in seconds.
    step: Option<Ratio>,
    base: Ratio,
    first: Option<i64>,
    last: Option<i64>,
    frames: i64,
    /// The first step in ticks, and whether all others are like it.
    usual: Option<i64>,
    alike: bool,
    steady: bool,
}

impl Evenness {
    pub fn of(rate: Option<Ratio>, base: Ratio) -> Self {
        Evenness {
            step: rate.map(|rate| Ratio {
                num: rate.den,
                den: rate.num,
            }),
            base,
            first: None,
            last: None,
            frames: 0,
            usual: None,
            alike: true,
            steady: true,
        }
    }

    fn of_all(index: &Index) -> Self {
        let mut all = Evenness::of(index.facts.rate, index.facts.source.video().time_base);
        all.observe(&index.times);
        all
    }

    /// Takes the next times, in ascending order.
    pub fn observe(&mut self, times: &[i64]) {
        for &time in times {
            let first = *self.first.get_or_insert(time);
            if let Some(step) = self.step {
                let turn = first.saturating_add(rescale(self.frames, step, self.base));
                self.steady &= time.abs_diff(turn) <= 1;
            }
            if let Some(step) = self.last.map(|last| time - last) {
                self.alike &= *self.usual.get_or_insert(step) == step;
            }
            self.last = Some(time);
            self.frames += 1;
        }
    }

    /// The last time so far.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    pub fn is_even(&self) -> bool {
        self.alike || (self.step.is_some() && self.steady)
    }

    pub fn is_evened_out(&self) -> bool {
        self.is_even() && !self.alike
    }
}

/// The ticks per second that ffmpeg's MP4 muxer chooses for a time base.
pub(crate) fn muxer_timescale(base: Ratio) -> i64 {
    let mut scale = base.den;
    while scale < 10_000 {
        scale *= 2;
    }
    scale
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::{index::tests::sample, times::MILLISECONDS};

    #[test]
    fn a_clock_of_milliseconds_is_evened_out_and_a_varying_rate_is_not() {
        let mut index = sample();
        assert!(!is_evened_out(&index), "its clock is exact");
        index.facts.source.video.as_mut().unwrap().time_base = MILLISECONDS;
        index.times = (0..100)
            .map(|frame| 40 + (frame * 1000 + 12) / 24)
            .collect();
        assert!(is_evened_out(&index));
        index.times[50] += 5;
        assert!(!is_evened_out(&index));
        index.times[50] -= 5;
        index.facts.rate = None;
        assert!(!is_evened_out(&index));
    }

    #[test]
    fn the_muxers_timescale_is_ffmpegs() {
        for (num, den, scale) in [(1, 24, 12_288), (1_001, 30_000, 30_000), (1, 1_000, 16_000)] {
            assert_eq!(muxer_timescale(Ratio { num, den }), scale);
        }
    }
}
