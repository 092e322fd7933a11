//! Checks one encoded shard file against the frames its encoder was given (P3).

use crate::{
    error::MediaError, ffmpeg::fragmented_mp4, limits::SHIFT_SECONDS,
    video::timing::muxer_timescale,
};

/// Every frame given to the encoder came out once, at its time; decode times
/// strictly rise and never exceed presentation times.
pub(crate) fn check_times(
    fragments: &fragmented_mp4::Fragments,
    base: crate::facts::times::Ratio,
    times: &[i64],
) -> Result<(), MediaError> {
    let unproven = |check, detail| Err(MediaError::Unproven { check, detail });
    let timescale = muxer_timescale(base);
    if i64::from(fragments.timescale) != timescale {
        return unproven(
            "timescale",
            format!("{} instead of {timescale}", fragments.timescale),
        );
    }
    let ticks = timescale / base.den * base.num;
    let mut shown: Vec<i64> = fragments.samples.iter().map(|sample| sample.pts).collect();
    shown.sort_unstable();
    if shown.len() != times.len() {
        return unproven(
            "encoded-equals-decoded",
            format!("{} frames in, {} packets out", times.len(), shown.len()),
        );
    }
    for (time, shown) in times.iter().zip(&shown) {
        let expected = time * ticks + SHIFT_SECONDS * timescale;
        if expected != *shown {
            return unproven(
                "times-equal-decoded",
                format!("{shown} instead of {expected}"),
            );
        }
    }
    for pair in fragments.samples.windows(2) {
        if pair[0].dts >= pair[1].dts {
            return unproven(
                "decode-times-rise",
                format!("{} follows {}", pair[1].dts, pair[0].dts),
            );
        }
    }
    match fragments
        .samples
        .iter()
        .find(|sample| sample.dts > sample.pts)
    {
        Some(sample) => unproven(
            "decoded-before-shown",
            format!("{} is decoded at {}", sample.pts, sample.dts),
        ),
        None => Ok(()),
    }
}
