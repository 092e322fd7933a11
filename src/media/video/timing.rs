//! Time bases and rates of the encoded video.

use reelraft_model::spec::{Codec, Spec};

use crate::facts::{index::Index, times::Ratio};

/// Frames by which the encoder's decode times lag behind, at its defaults: x264
/// and x265 use a B pyramid. The others do not reorder.
pub(crate) fn reordered_frames(spec: &Spec) -> usize {
    match spec.codec() {
        Codec::H264 if spec.preset == "ultrafast" => 0,
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

    #[test]
    fn the_muxers_timescale_is_ffmpegs() {
        for (num, den, scale) in [(1, 24, 12_288), (1_001, 30_000, 30_000), (1, 1_000, 16_000)] {
            assert_eq!(muxer_timescale(Ratio { num, den }), scale);
        }
    }
}
