//! The audio options: bit rate, loudness and the choice of tracks.

use super::{
    bounds::{AUDIO_BITRATE, LOUDNESS},
    choices::Audio,
    error::SpecError,
};
use crate::limits::TRACKS_MAX;

pub(super) struct AudioOptions<'a> {
    pub bitrate: Option<u32>,
    pub loudness_mlufs: Option<i32>,
    pub tracks: &'a [u32],
}

pub(super) struct AudioSettings {
    /// 0 where audio is not encoded at a bit rate.
    pub bitrate: u32,
    /// 0 leaves it alone.
    pub loudness_mlufs: i32,
    pub tracks: Vec<u32>,
}

pub(super) fn resolve_audio(
    audio: Audio,
    options: AudioOptions,
) -> Result<AudioSettings, SpecError> {
    let mut bitrate = 0;
    if matches!(audio, Audio::Aac | Audio::Opus) {
        bitrate = options.bitrate.unwrap_or(128_000);
        AUDIO_BITRATE.check(bitrate)?;
    }
    if let Some(loudness) = options.loudness_mlufs {
        LOUDNESS.check(loudness)?;
        if matches!(audio, Audio::Copy | Audio::None) {
            return Err(SpecError::Clash {
                wish: "--loudness",
                other: format!("--audio {}", audio.name()),
                hint: "loudness is changed by encoding: choose aac, opus or flac",
            });
        }
    }
    check_tracks(options.tracks)?;
    Ok(AudioSettings {
        bitrate,
        loudness_mlufs: options.loudness_mlufs.unwrap_or(0),
        tracks: options.tracks.to_vec(),
    })
}

fn check_tracks(tracks: &[u32]) -> Result<(), SpecError> {
    let distinct = (tracks.iter().enumerate()).all(|(at, track)| !tracks[..at].contains(track));
    if tracks.contains(&0) || tracks.len() > TRACKS_MAX || !distinct {
        let numbers: Vec<String> = tracks.iter().map(u32::to_string).collect();
        return Err(SpecError::OutOfRange {
            what: "audio-tracks",
            found: numbers.join(","),
            range: "up to 32 different numbers of tracks, from 1",
        });
    }
    Ok(())
}
