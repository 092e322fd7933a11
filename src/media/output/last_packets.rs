//! How long the last packet of each audio track is. An encoder pads it, and MP4
//! says by its duration where the sound ends. The fragments of our intermediates
//! have that duration, but ffmpeg's demuxer does not tell it.

use std::path::Path;

use crate::{audio::args::AudioIntermediate, error::MediaError, ffmpeg::fragmented_mp4};

/// The last packet of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastPacket {
    /// Its number from 0.
    pub number: usize,
    /// Its duration in samples.
    pub samples: i64,
}

/// The last packet of a track, where its file is of fragments. Packets of AAC are of one
/// length; of other codecs (ALAC, WMA) the first shows it.
pub(crate) fn of(
    path: &Path,
    form: AudioIntermediate,
    aac: bool,
) -> Result<Option<LastPacket>, MediaError> {
    if !matches!(form, AudioIntermediate::Mp4 | AudioIntermediate::Mov) {
        return Ok(None);
    }
    let found = fragmented_mp4::read(path)?;
    let ([first, second, ..], [.., before, last]) = (&*found.samples, &*found.samples) else {
        return Ok(None);
    };
    let samples = found.end - last.dts;
    let usual = match aac {
        true => AAC_SAMPLES,
        false => second.dts - first.dts,
    };
    let even = is_even(last.dts - before.dts, usual, found.timescale);
    Ok(
        (even && (1..=usual).contains(&samples)).then(|| LastPacket {
            number: found.samples.len() - 1,
            samples,
        }),
    )
}

/// Whether a packet follows another so many samples later as it should: where they
/// do not come evenly, their durations mean little. A clock of milliseconds, as
/// Matroska's, rounds off less than one, and the conversion another sample.
fn is_even(step: i64, usual: i64, sample_rate: u32) -> bool {
    step.abs_diff(usual) <= u64::from(sample_rate / 1_000) + 1
}

/// Samples of a packet of AAC.
const AAC_SAMPLES: i64 = 1024;

/// Options that give a track's last packet its duration.
pub(crate) fn options(track: usize, last: LastPacket) -> [String; 2] {
    let LastPacket { number, samples } = last;
    [
        format!("-bsf:a:{track}"),
        format!("setts=pts=PTS:dts=DTS:duration=if(eq(N\\,{number})\\,{samples}\\,DURATION)"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_clock_of_milliseconds_are_even() {
        for rate in [8_000, 22_050, 44_100, 48_000, 88_200, 96_000] {
            let time = |packet: i64| {
                let ms = (packet * AAC_SAMPLES * 1_000 + rate / 2) / rate;
                (ms * rate + 500) / 1_000
            };
            for packet in 0..200 {
                let step = time(packet + 1) - time(packet);
                assert!(is_even(step, AAC_SAMPLES, rate as u32), "{rate}: {step}");
            }
        }
        let even = |step, rate| is_even(step, AAC_SAMPLES, rate);
        assert!(!even(2 * AAC_SAMPLES, 96_000) && !even(960, 48_000));
    }
}
