//! The rate factors of encoders, and which shards of a film are probed.

use super::curve::{POINT, log2};
use crate::{
    limits::{SAMPLES_MAX, SAMPLES_OF_ALL, SAMPLES_ONE_OF},
    spec::Codec,
};

/// What libvpx and SVT-AV1 divide by at some rate factors, in hundredths: the steps of
/// their quantizers for 8 bits, between which they grow nearly evenly.
const QUANTIZERS: [(u32, u64); 12] = [
    (0, 4),
    (100, 11),
    (2_400, 104),
    (3_200, 176),
    (3_600, 227),
    (4_000, 300),
    (4_400, 401),
    (4_800, 520),
    (5_200, 702),
    (5_600, 933),
    (6_000, 1_343),
    (6_300, 1_828),
];

/// Which rate factors an encoder takes, in hundredths.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub low: u32,
    pub high: u32,
    /// What it can tell apart.
    pub step: u32,
    /// Those that the search begins with.
    pub first: [u32; 2],
    /// How many usually halve the size.
    pub halving: u32,
}

impl Rates {
    pub fn of(codec: Codec) -> Self {
        let (high, step, first, halving) = match codec {
            Codec::H264 => (5_100, 1, [2_000, 3_000], 600),
            Codec::Hevc => (5_100, 1, [2_200, 3_200], 600),
            Codec::Vp9 => (6_300, 100, [2_800, 4_400], 1_100),
            Codec::Av1 => (6_300, 100, [2_600, 4_200], 1_000),
            // These have none, and no aim.
            Codec::Ffv1 | Codec::None => (100, 100, [100, 100], 600),
        };
        Rates {
            low: 100,
            high,
            step,
            first,
            halving,
        }
    }

    /// The rate factor of a shard, where the film's is this one: those of whole ones
    /// are mixed evenly.
    pub fn of_shard(self, film_centi: u32, shard: u32) -> u32 {
        let (whole, rest) = (film_centi / self.step, u64::from(film_centi % self.step));
        let above = |shard: u64| shard * rest / u64::from(self.step);
        let shard = u64::from(shard);
        let raised = above(shard + 1) > above(shard);
        (whole + u32::from(raised)) * self.step
    }

    /// Where a rate factor lies on the scale by which the logarithm of a size falls evenly:
    /// by that of the quantizer's step, of which there are a thousand places to an octave.
    /// The factors of x264 and x265 are such a scale themselves.
    pub fn place(self, centi: u32) -> i64 {
        if self.step == 1 {
            return centi.into();
        }
        let above = QUANTIZERS.partition_point(|(at, _)| *at <= centi);
        let above = above.clamp(1, QUANTIZERS.len() - 1);
        let ((from, low), (to, high)) = (QUANTIZERS[above - 1], QUANTIZERS[above]);
        // In thousandths.
        let part = u64::from(centi.clamp(from, to) - from) * 1_000 * (high - low);
        let quantizer = low * 1_000 + part / u64::from(to - from);
        (log2(quantizer) * 1_000) >> POINT
    }

    /// The rate factor whose place is the nearest one to this.
    pub fn at(self, place: i64) -> u32 {
        if self.step == 1 {
            return place.clamp(self.low.into(), self.high.into()) as u32;
        }
        let (mut low, mut high) = (self.low, self.high);
        while low < high {
            let middle = low.midpoint(high);
            match self.place(middle) < place {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The one nearest to one that the encoder may not take.
    pub fn nearest(self, centi: u32) -> [u32; 1] {
        let whole = (centi + self.step / 2) / self.step * self.step;
        [whole.clamp(self.low, self.high)]
    }

    /// The same on both sides.
    pub fn around(self, centi: u32) -> [u32; 2] {
        let below = centi / self.step * self.step;
        let above = centi.div_ceil(self.step) * self.step;
        [below.max(self.low), above.min(self.high)]
    }
}

/// Which of so many shards are probed: all of a few, and else some that are spread
/// over the film.
pub(crate) fn samples(shards: u32) -> impl Iterator<Item = u32> {
    let beyond = shards.saturating_sub(SAMPLES_OF_ALL) / SAMPLES_ONE_OF;
    let count = shards.min((SAMPLES_OF_ALL + beyond).min(SAMPLES_MAX));
    let (shards, doubled) = (u64::from(shards), 2 * u64::from(count.max(1)));
    (0..u64::from(count)).map(move |at| ((2 * at + 1) * shards / doubled) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_all_of_a_few_and_else_spread_over_the_film() {
        let of = |shards| samples(shards).collect::<Vec<u32>>();
        assert_eq!(of(0), Vec::<u32>::new());
        assert_eq!(of(1), [0]);
        assert_eq!(of(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let film = of(720);
        assert_eq!(film.len(), SAMPLES_MAX as usize);
        assert_eq!((film[0], film[1], film[39]), (9, 27, 711));
        assert!(of(20_000).iter().all(|&shard| shard < 20_000));
    }

    #[test]
    fn places_rise_with_rate_factors_and_lead_back_to_them() {
        for codec in [Codec::Vp9, Codec::Av1, Codec::H264] {
            let rates = Rates::of(codec);
            for centi in (rates.low..rates.high).step_by(37) {
                assert!(rates.place(centi) <= rates.place(centi + 37), "{centi}");
                let back = rates.at(rates.place(centi));
                assert!(back.abs_diff(centi) < 10, "{centi} and {back}");
            }
            assert_eq!(rates.at(-1_000_000), rates.low);
            assert_eq!(rates.at(1_000_000), rates.high);
        }
    }

    #[test]
    fn whole_rate_factors_are_mixed_evenly() {
        let rates = Rates::of(Codec::Av1);
        let of = |film| (0..8).map(move |shard| rates.of_shard(film, shard) / 100);
        assert_eq!(of(3_000).collect::<Vec<u32>>(), [30; 8]);
        assert_eq!(
            of(3_050).collect::<Vec<u32>>(),
            [30, 31, 30, 31, 30, 31, 30, 31]
        );
        assert_eq!(of(3_025).sum::<u32>(), 8 * 30 + 2);
        assert_eq!(rates.around(3_025), [3_000, 3_100]);
        assert_eq!(Rates::of(Codec::H264).of_shard(2_345, 7), 2_345);
    }
}
