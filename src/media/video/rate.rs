//! What the pictures may cost: a quality, and a cap on the rate.
//!
//! The cap holds over joints too. A shard is encoded as if a player's buffer were
//! half full when it begins, and counts only if it leaves the buffer no emptier than
//! that. One that does not is encoded again, with a smaller buffer and a rate by so
//! much lower that it can't take more than it gives back; an encoder that does not
//! keep to that either has its quality lowered too. Each shard is judged by itself,
//! so that none waits for another.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{
        index::Index,
        plan::ShardRange,
        times::{MILLISECONDS, rescale},
    },
    ffmpeg::fragmented_mp4::Fragments,
    limits::{BUFFER_AT_FILM_MILLI, BUFFER_AT_JOINT_MILLI, CAP_CRF_STEP, CAP_TRIES_MAX},
};

/// What an encoder may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Hundredths of the quality factor, in the codec's own scale.
    pub crf_centi: u32,
    pub cap: Option<Cap>,
}

/// The highest rate of a buffer that is filled at it and emptied by the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    /// Bits a second.
    pub maxrate: u32,
    /// Bits.
    pub bufsize: u32,
    /// How full it is when the first frame is taken out, in thousandths.
    pub full_milli: u32,
    /// The level that the codec's header names, where the encoder would choose
    /// another one than the other shards' does.
    pub level: Option<u32>,
}

/// How far a shard is from its cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub kept: bool,
    /// The level that its header names.
    level: Option<u32>,
}

impl Rate {
    /// That of a film from its beginning.
    pub fn of(spec: &Spec) -> Rate {
        Rate {
            crf_centi: match spec.rate_centi {
                0 => spec.crf.saturating_mul(100),
                found => found,
            },
            cap: spec.cap().map(|(maxrate, bufsize)| Cap {
                maxrate,
                bufsize,
                full_milli: BUFFER_AT_FILM_MILLI,
                level: None,
            }),
        }
    }

    /// That of the shard of a range.
    pub fn of_shard(spec: &Spec, index: &Index, range: ShardRange) -> Rate {
        let mut rate = Rate::of(spec);
        if let Some(cap) = &mut rate.cap
            && index.bounds(range).from.is_some()
        {
            cap.full_milli = BUFFER_AT_JOINT_MILLI;
        }
        rate
    }

    /// What to try after so many tries at `asked`, each of which took too much; none
    /// where nothing is left to try.
    pub fn after(
        asked: &Rate,
        tries: u32,
        spec: &Spec,
        length_ms: i64,
        judged: Judged,
    ) -> Option<Rate> {
        let cap = asked.cap.filter(|_| tries < CAP_TRIES_MAX)?;
        // x264 and x265 keep to what they are told.
        let obeys = matches!(spec.codec(), Codec::H264 | Codec::Hevc);
        let (step, last, least) = match obeys {
            true => (tries - 1, CAP_TRIES_MAX - 2, CAP_CRF_STEP),
            false => (tries, CAP_TRIES_MAX - 1, 2 * CAP_CRF_STEP),
        };
        // Steps grow, and the last one comes to the worst quality, or nobody could say
        // that none does.
        let worst = spec.codec().crf_max().saturating_mul(100);
        let part = worst.saturating_sub(asked.crf_centi) * step * step / (last * last);
        let lowered = part.next_multiple_of(100).max(step * least * 100);
        let crf_centi = asked.crf_centi.saturating_add(lowered).min(worst);
        Some(Rate {
            crf_centi,
            cap: Some(match obeys {
                true => cap.tightened(length_ms, judged.level),
                false => cap,
            }),
        })
    }
}

impl Cap {
    /// A cap that leaves this one's buffer as full as it was in so many milliseconds.
    fn tightened(&self, length_ms: i64, level: Option<u32>) -> Cap {
        let part = |whole: u32, milli: u32| (u64::from(whole) * u64::from(milli) / 1_000) as u32;
        let bufsize = part(self.bufsize, 1_000 - BUFFER_AT_JOINT_MILLI);
        // What it may take out at first, it has to leave unspent in the end.
        let advance = u64::from(part(bufsize, BUFFER_AT_FILM_MILLI)) * 1_000;
        let less = advance / u64::try_from(length_ms).unwrap_or(0).max(1);
        let less = u32::try_from(less).unwrap_or(u32::MAX);
        Cap {
            maxrate: self.maxrate.saturating_sub(less).max(self.maxrate / 2),
            bufsize,
            full_milli: BUFFER_AT_FILM_MILLI,
            level,
        }
    }
}

/// Whether the packets of a range keep to the cap that was asked for.
pub(crate) fn judge(
    asked: &Rate,
    spec: &Spec,
    index: &Index,
    range: ShardRange,
    fragments: &Fragments,
) -> Judged {
    let leaves = match index.bounds(range).to {
        Some(_) => BUFFER_AT_JOINT_MILLI,
        None => 0,
    };
    Judged {
        kept: asked.cap.is_none_or(|cap| keeps(cap, fragments, leaves)),
        level: level(spec.codec(), &fragments.init),
    }
}

/// Whether packets never take more out of a cap's buffer than is in it, and leave it
/// as full as is wanted.
fn keeps(cap: Cap, fragments: &Fragments, leaves_milli: u32) -> bool {
    // In bits, times the ticks of a second.
    let scale = i128::from(fragments.timescale);
    let size = i128::from(cap.bufsize) * scale;
    let mut fill = size * i128::from(cap.full_milli) / 1_000;
    let ends = fragments.samples.iter().skip(1).map(|sample| sample.dts);
    let ends = ends.chain([fragments.end]);
    for (sample, end) in fragments.samples.iter().zip(ends) {
        fill -= i128::from(sample.bytes) * 8 * scale;
        if fill < 0 {
            return false;
        }
        let came = i128::from(cap.maxrate) * i128::from(end - sample.dts);
        fill = size.min(fill + came);
    }
    fill * 1_000 >= size * i128::from(leaves_milli)
}

/// The level in a codec's header, as its encoder takes it.
fn level(codec: Codec, init: &[u8]) -> Option<u32> {
    let (name, at, scale) = match codec {
        Codec::H264 => (b"avcC", 3, 1),
        // Thirty a level, where the encoder counts ten.
        Codec::Hevc => (b"hvcC", 12, 3),
        _ => return None,
    };
    let found = init.windows(4).position(|bytes| bytes == name)?;
    let value = init.get(found + name.len() + at)?;
    Some(u32::from(*value) / scale)
}

/// The length of a range in milliseconds, of the frames that are known.
pub(crate) fn length_ms(index: &Index, range: ShardRange) -> i64 {
    let to = index
        .times
        .last()
        .map_or(range.to_pts, |last| range.to_pts.min(*last));
    rescale(
        to - range.from_pts,
        index.facts.source.video().time_base,
        MILLISECONDS,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{facts::index::tests::sample, ffmpeg::fragmented_mp4::Sample};
    use reelraft_model::spec::{EncoderChoice, SpecRequest, resolve};

    fn capped(codec: &str) -> Spec {
        let request = SpecRequest {
            codec: codec.into(),
            encoder_choice: EncoderChoice {
                maxrate: 100_000,
                bufsize: 100_000,
                ..Default::default()
            },
            ..Default::default()
        };
        resolve(&request).unwrap()
    }

    /// Packets of so many bytes, ten a second.
    fn packets(bytes: &[u32]) -> Fragments {
        let sample = |(number, &bytes): (usize, &u32)| Sample {
            dts: 100 * number as i64,
            pts: 100 * number as i64,
            bytes,
        };
        Fragments {
            init: b"\0\0\0\x20avcC\x01\x64\x00\x1f".to_vec(),
            body_offset: 0,
            bytes: 0,
            timescale: 1_000,
            samples: bytes.iter().enumerate().map(sample).collect(),
            end: 100 * bytes.len() as i64,
        }
    }

    #[test]
    fn a_shard_leaves_the_buffer_as_it_found_it() {
        let (spec, index) = (capped("h264"), sample());
        let kept = |shard: usize, bytes: &[u32]| {
            let range = index.shards()[shard];
            let rate = Rate::of_shard(&spec, &index, range);
            judge(&rate, &spec, &index, range, &packets(bytes)).kept
        };
        // The film begins with nine tenths of 100 kbit.
        assert!(kept(0, &[11_000, 0, 0, 0, 0]) && !kept(0, &[11_400, 0, 0, 0, 0, 0]));
        assert!(kept(1, &[6_200]) && !kept(1, &[6_300]), "half at a joint");
        // It must be half full in the end, but at the film's.
        let (whole, half) = (vec![1_250; 20], [1_250; 20]);
        assert!(kept(0, &half) && kept(1, &whole));
        let mut late = vec![1_250; 20];
        late[19] = 7_000;
        assert!(!kept(0, &late) && !kept(1, &late));
        late[19] = 6_000;
        assert!(kept(0, &late) && kept(1, &late));
        // A buffer is never more than full.
        assert!(kept(0, &[0; 30]) && !kept(1, &[vec![0; 30], vec![12_600]].concat()));
    }

    #[test]
    fn what_is_tried_next_can_not_take_more_than_it_gives_back() {
        let (spec, index) = (capped("h264"), sample());
        let range = index.shards()[1];
        let asked = Rate::of_shard(&spec, &index, range);
        let judged = judge(&asked, &spec, &index, range, &packets(&[9_000]));
        let next = |spec: &Spec, tries| Rate::after(&asked, tries, spec, 10_000, judged);
        let first = next(&spec, 1).unwrap();
        let cap = first.cap.unwrap();
        assert_eq!((cap.bufsize, cap.level), (50_000, Some(31)));
        assert_eq!((cap.maxrate, cap.full_milli), (95_500, 900));
        assert_eq!(first.crf_centi, 2_300);
        assert_eq!(next(&spec, 2).unwrap().crf_centi, 2_600);
        assert_eq!(next(&capped("av1"), 1).unwrap().crf_centi, 2_900);
        assert_eq!(next(&spec, CAP_TRIES_MAX), None);
        // The last try is at the worst quality.
        let last = |crf_centi: u32, codec: &str| {
            let asked = Rate { crf_centi, ..asked };
            Rate::after(&asked, CAP_TRIES_MAX - 1, &capped(codec), 10_000, judged)
        };
        let last = |centi, codec| last(centi, codec).unwrap().crf_centi;
        assert_eq!((last(400, "vp9"), last(100, "h264")), (6_300, 5_100));
        let hvcc = [&b"hvcC"[..], &[1; 12], &[93]].concat();
        assert_eq!(level(Codec::Hevc, &hvcc), Some(31));
    }
}
