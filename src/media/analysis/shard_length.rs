//! How long shards are: as was asked, or as suits the source. A function of the
//! packets up to the cut, so that shards are known while the rest is still read.

use reelraft_model::spec::Spec;

use crate::{
    facts::{
        source::Video,
        times::{MICROSECONDS, MILLISECONDS, Ratio, rescale},
    },
    limits::{
        SHARD_FRAMES_A_SECOND, SHARD_GROWTH, SHARD_LONG_FROM_MS, SHARD_LONG_GROWTH, SHARD_MS_FIRST,
        SHARD_MS_LONG, SHARD_MS_USUAL, SHARD_PIXELS_FULL, SHARD_STRETCH_MAX,
        SHARD_STRETCH_SMALL_MAX, SHARD_TAIL_FILM_MS, SHARD_TAIL_MS, SHARD_UNINDEXED_GROWTH,
    },
    video::timing::fps,
};

/// Decides where shards may end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShardLength {
    /// In ticks of the source.
    Asked(i64),
    Chosen {
        base: Ratio,
        /// How many times as long as for larger pictures.
        stretch: u32,
        /// Frames a second of the output, if it has a constant rate.
        rate: Option<Ratio>,
        /// How long the file says that the film is, in ticks.
        declared: Option<i64>,
        /// Whether a shard reads only what is its own.
        indexed: bool,
    },
}

impl ShardLength {
    /// The length for the pictures of a source, whose container may say how long they
    /// last, in microseconds, and may be indexed.
    pub fn of(spec: &Spec, video: &Video, declared_us: Option<i64>, indexed: bool) -> Self {
        let base = video.time_base;
        match spec.shard_ms {
            0 => ShardLength::Chosen {
                base,
                stretch: stretch(spec, video.pixels),
                rate: fps(spec),
                declared: declared_us.map(|us| rescale(us, MICROSECONDS, base)),
                indexed,
            },
            asked => ShardLength::Asked(rescale(asked.into(), MILLISECONDS, base).max(1)),
        }
    }

    /// The length in ticks to aim at in a shard that begins so many ticks behind
    /// the first. Short films are for several nodes; the longer a film, the less
    /// is won by short shards, and each costs the look-ahead of its encoder.
    pub fn target(&self, behind: i64) -> i64 {
        match self {
            ShardLength::Asked(ticks) => *ticks,
            ShardLength::Chosen {
                base,
                stretch,
                declared,
                indexed,
                ..
            } => {
                let ticks = |ms: u32| {
                    let ms = i64::from(ms) * i64::from(*stretch);
                    rescale(ms, MILLISECONDS, *base).max(1)
                };
                let grown = ticks(SHARD_MS_FIRST).saturating_add(behind / SHARD_GROWTH);
                let far = behind.saturating_sub(ticks(SHARD_LONG_FROM_MS)).max(0);
                let usual = ticks(SHARD_MS_USUAL).saturating_add(far / SHARD_LONG_GROWTH);
                let target = grown.min(usual).min(ticks(SHARD_MS_LONG));
                if !indexed {
                    return target.max(behind / SHARD_UNINDEXED_GROWTH);
                }
                let (first, film) = (ticks(SHARD_MS_FIRST), ticks(SHARD_TAIL_FILM_MS));
                match declared.filter(|all| (film.max(behind + 1)..).contains(all)) {
                    // The one before the tail ends where that begins.
                    Some(all) => target.min((all - ticks(SHARD_TAIL_MS) - behind).max(first)),
                    None => target,
                }
            }
        }
    }

    /// Whether a shard may end that begins `behind` the first and has this length
    /// in ticks and this many frames; with an `open` keyframe it would have to be
    /// longer, as the next one is decoded from far before it.
    pub fn is_reached(&self, behind: i64, length: i64, frames: usize, open: bool) -> bool {
        let target = self.target(behind);
        let wanted = match open {
            true => target.saturating_mul(3) / 2,
            false => target,
        };
        length >= wanted && self.has_frames(target, length, frames)
    }

    /// Whether it has frames enough, where that is for us to choose: what is read
    /// beyond a shard for its encoder is counted in frames.
    fn has_frames(&self, target: i64, length: i64, frames: usize) -> bool {
        let ShardLength::Chosen { base, rate, .. } = *self else {
            return true;
        };
        let given = rate.map_or(frames as i64, |rate| {
            let step = Ratio {
                num: rate.den,
                den: rate.num,
            };
            rescale(length, base, step)
        });
        let wanted = Ratio {
            num: 1,
            den: SHARD_FRAMES_A_SECOND,
        };
        given >= rescale(target, base, wanted) || length / SHARD_STRETCH_MAX >= target
    }
}

/// By the larger of what is decoded and what is encoded; 1 where that is not known.
fn stretch(spec: &Spec, source_pixels: u64) -> u32 {
    let (width, height) = (u64::from(spec.width), u64::from(spec.height));
    // Where one side is given, the other may be as in most films.
    let output = (width * height).max(width * width * 9 / 16);
    let pixels = source_pixels.max(output.max(height * height * 16 / 9));
    let times = SHARD_PIXELS_FULL.checked_div(pixels).unwrap_or(1);
    times.clamp(1, SHARD_STRETCH_SMALL_MAX) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{index::tests::sample, recipe::RECIPE};
    use reelraft_model::spec::{SpecRequest, resolve};

    const MS: Ratio = MILLISECONDS;

    fn length(request: SpecRequest) -> ShardLength {
        of_pixels(request, 640 * 360)
    }

    fn of_pixels(request: SpecRequest, pixels: u64) -> ShardLength {
        let video = Video {
            pixels,
            time_base: MS,
            ..sample().facts.source.video().clone()
        };
        ShardLength::of(&resolve(&request).expect("valid"), &video, None, true)
    }

    /// Where a film with a clean keyframe every half second is cut, in ms.
    fn cuts(length: ShardLength, frames_a_second: i64, film_ms: i64) -> Vec<i64> {
        let mut cuts = vec![0];
        for now in (500..film_ms).step_by(500) {
            let begun = cuts[cuts.len() - 1];
            let frames = (now - begun) * frames_a_second / 1000;
            if length.is_reached(begun, now - begun, frames as usize, false) {
                cuts.push(now);
            }
        }
        cuts
    }

    #[test]
    fn a_short_film_is_for_several_nodes_and_a_long_one_has_long_shards() {
        let chosen = length(SpecRequest::default());
        assert_eq!(cuts(chosen, 24, 5_000), [0]);
        assert_eq!(cuts(chosen, 24, 20_000), [0, 5_000, 11_500, 19_500]);
        let long = cuts(chosen, 24, 600_000);
        assert!(long[4..].windows(2).all(|pair| pair[1] - pair[0] == 10_000));
        let longer = cuts(chosen, 24, 7_200_000);
        assert_eq!(longer.len(), 414);
        let last = &longer[longer.len() - 2..];
        assert_eq!(last[1] - last[0], 20_000);
        assert!(!chosen.is_reached(60_000, 10_000, 240, true));
        assert!(chosen.is_reached(60_000, 15_000, 360, true));
    }

    #[test]
    fn a_film_that_says_how_long_it_is_ends_in_short_shards() {
        let video = sample().facts.source.video().clone();
        let video = Video {
            pixels: 640 * 360,
            time_base: MS,
            ..video
        };
        let spec = resolve(&SpecRequest::default()).expect("valid");
        let lengths = |declared_us, film_ms| {
            let cuts = cuts(
                ShardLength::of(&spec, &video, declared_us, true),
                24,
                film_ms,
            );
            let lengths = cuts.windows(2).map(|pair| pair[1] - pair[0]);
            lengths.skip(4).collect::<Vec<_>>()
        };
        let told = lengths(Some(300_000_000), 300_000);
        assert!(told.ends_with(&[10_000, 10_000, 5_000, 5_000, 5_000, 5_000]));
        assert!(lengths(None, 300_000).iter().all(|ms| *ms == 10_000));
        assert!(
            lengths(Some(100_000_000), 100_000)
                .iter()
                .all(|ms| *ms == 10_000)
        );
        // What it says is no promise.
        assert!(lengths(Some(200_000_000), 300_000).ends_with(&[10_000, 10_000]));
        assert!(
            lengths(Some(i64::MAX), 300_000)
                .iter()
                .all(|ms| *ms == 10_000)
        );
    }

    /// Each of its shards reads all that lies before it: nine times the film in all, and
    /// not hundreds of times.
    #[test]
    fn a_film_without_an_index_has_few_shards() {
        let spec = resolve(&SpecRequest::default()).expect("valid");
        let video = Video {
            pixels: 640 * 360,
            time_base: MS,
            ..sample().facts.source.video().clone()
        };
        let film_ms = 7_200_000;
        let cuts = cuts(ShardLength::of(&spec, &video, None, false), 24, film_ms);
        let read: i64 = cuts.iter().sum();
        assert!((8..10).contains(&(read / film_ms)), "{}", read / film_ms);
        assert!((40..80).contains(&cuts.len()), "{}", cuts.len());
    }

    /// Cuts are part of what the recipe stands for: a change here raises it.
    #[test]
    fn the_recipe_stands_for_these_cuts() {
        let cuts = cuts(length(SpecRequest::default()), 24, 1_800_000);
        let sum: i64 = cuts.iter().sum();
        assert_eq!((RECIPE, cuts.len(), sum), (11, 144, 111_650_000));
    }

    #[test]
    fn small_pictures_have_longer_shards() {
        let last = |request: SpecRequest, pixels| {
            let cuts = cuts(of_pixels(request, pixels), 24, 600_000);
            cuts[cuts.len() - 1] - cuts[cuts.len() - 2]
        };
        let of = |pixels| last(SpecRequest::default(), pixels);
        assert_eq!(
            (
                of(160 * 90),
                of(320 * 90),
                of(320 * 180),
                of(64 * 36),
                of(0)
            ),
            (40_000, 20_000, 10_000, 40_000, 10_000)
        );
        let request = SpecRequest {
            width: Some(640),
            ..Default::default()
        };
        assert_eq!(last(request, 160 * 90), 10_000);
        let request = SpecRequest {
            height: Some(90),
            ..Default::default()
        };
        assert_eq!(last(request, 640 * 360), 10_000);
    }

    #[test]
    fn a_slow_film_has_longer_shards_but_not_endless_ones() {
        let chosen = length(SpecRequest::default());
        let of = |frames: i64| {
            let cuts = cuts(chosen, frames, 600_000);
            cuts[cuts.len() - 1] - cuts[cuts.len() - 2]
        };
        assert_eq!(
            (of(60), of(20), of(10), of(1)),
            (10_000, 10_000, 20_000, 60_000)
        );
        // What counts is what is encoded.
        let request = SpecRequest {
            fps: Some((10, 1)),
            ..Default::default()
        };
        assert!(!length(request).is_reached(60_000, 19_900, 480, false));
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let request = SpecRequest {
            shard_ms: Some(2_000),
            ..Default::default()
        };
        let asked = length(request);
        assert_eq!(cuts(asked, 1, 7_000), [0, 2_000, 4_000, 6_000]);
        assert!(!asked.is_reached(0, 2_999, 1, true) && asked.is_reached(0, 3_000, 1, true));
    }
}
