//! A track that ends before its time: of a file that was cut off, or whose table
//! of packets is damaged. ffmpeg says nothing of it where it reads to the end.

use crate::{
    facts::times::{MICROSECONDS, Ratio, rescale},
    limits::DECLARED_SLACK_US,
};

/// A note of a track that lasts less than its container declares.
pub(crate) fn cut_off(what: &str, lasts_us: i64, declared_us: Option<i64>) -> Option<String> {
    let declared_us = declared_us?;
    let tenths = |us: i64| format!("{}.{}", us / 1_000_000, us % 1_000_000 / 100_000);
    (declared_us.saturating_sub(lasts_us) > DECLARED_SLACK_US).then(|| {
        format!(
            "{what} ends after {} s of the {} s that the file declares",
            tenths(lasts_us.max(0)),
            tenths(declared_us)
        )
    })
}

/// How long a video lasts, by the rising times of its pictures. The last one may
/// stay as long as any other did; of a single one nothing is known.
pub(crate) fn shown_us(times: &[i64], base: Ratio) -> Option<i64> {
    let (first, last) = (times.first()?, times.last()?);
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max()?;
    let ticks = last.saturating_sub(*first).saturating_add(longest);
    Some(rescale(ticks, base, MICROSECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_early_is_noted() {
        let note = cut_off("the video", 576_000, Some(13_056_000));
        let said = "the video ends after 0.5 s of the 13.0 s that the file declares";
        assert_eq!(note.as_deref(), Some(said));
        for (lasts, declared) in [
            (12_400_000, Some(13_000_000)),
            (1, None),
            (9_000_000, Some(1)),
        ] {
            assert_eq!(cut_off("the video", lasts, declared), None);
        }
        // A show of slides, of which the last stays.
        let base = Ratio { num: 1, den: 10 };
        assert_eq!(shown_us(&[0, 50, 100], base), Some(15_000_000));
        assert_eq!(shown_us(&[7], base), None);
    }
}
