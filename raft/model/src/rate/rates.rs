//! The rate factors of encoders, and which shards of a film are probed.

use crate::{
    limits::{SAMPLES_MAX, SAMPLES_OF_ALL, SAMPLES_ONE_OF},
    spec::Codec,
};

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

    /// Those next to one that the encoder may not take.
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
