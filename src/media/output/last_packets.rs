//! How long the last packet of each audio track is. An encoder pads it, and MP4
//! says by its duration where the sound ends. The fragments of our intermediates
//! have that duration, but ffmpeg's demuxer does not tell it.

use std::path::PathBuf;

use crate::{audio::args::AudioIntermediate, error::MediaError, video::fragmented_mp4};

/// The last packet of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastPacket {
    /// Its number from 0.
    pub number: usize,
    /// Its duration in samples.
    pub samples: i64,
}

/// The last packet of an encoded track, where its file is of fragments.
pub(crate) fn of(
    (path, form): &(PathBuf, AudioIntermediate),
) -> Result<Option<LastPacket>, MediaError> {
    if !matches!(form, AudioIntermediate::Mp4 | AudioIntermediate::Mov) {
        return Ok(None);
    }
    let found = fragmented_mp4::read(path)?;
    let [.., before, last] = found.samples.as_slice() else {
        return Ok(None);
    };
    let samples = found.end - last.dts;
    // Where packets do not follow each other evenly, their durations mean little.
    // A clock of milliseconds, as Matroska's, rounds off 48 samples at most.
    let even = (last.dts - before.dts).abs_diff(AAC_SAMPLES) <= 48;
    Ok(
        (even && (1..=AAC_SAMPLES).contains(&samples)).then(|| LastPacket {
            number: found.samples.len() - 1,
            samples,
        }),
    )
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
