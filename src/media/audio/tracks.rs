//! Which audio tracks a job takes: those that were asked for and have sound in
//! them. Each is tried before the film is planned, by encoding or copying its
//! first packet, so that what ffmpeg would fail on is refused by name at once
//! and a declared track without anything in it is left out with a note.
//!
//! Not here: encoding the whole track, which `audio.rs` does.

use reelraft_model::{
    limits::TRACKS_MAX,
    spec::{Audio, Spec},
};

use crate::{
    audio::{args, loudness},
    error::MediaError,
    facts::{
        audio_track::{Loudness, Sound},
        labels::Label,
        source::{Found, Source, Stream, kinds},
    },
    ffmpeg::{
        context::Context,
        log::Complaints,
        process::{Ended, Listener, Step},
    },
};

/// The tracks a job takes, in the output's order. What is left out, and why,
/// goes to `notes`.
///
/// # Errors
/// [`MediaError::NoTrack`] for a number that the source lacks,
/// [`MediaError::SoundMisfit`] where the codec or container does not take a
/// track, [`MediaError::NoAudio`] where sound alone is asked of a silent file.
pub(crate) async fn choose(
    context: &Context<'_>,
    found: &Found,
    notes: &mut Vec<String>,
) -> Result<Vec<Sound>, MediaError> {
    let spec = context.spec;
    if spec.audio() == Audio::None {
        return Ok(Vec::new());
    }
    let mut sounds = Vec::new();
    for (number, stream) in wanted(spec, &found.streams)? {
        let silent = "has no sound that can be decoded and is left out";
        let Some((sample_rate, channels)) = stream.sound() else {
            notes.push(format!("audio track {number} {silent}"));
            continue;
        };
        let sound = Sound {
            stream: stream.index,
            codec: stream.codec().to_string(),
            sample_rate,
            channels,
            label: Label::of(stream),
            loudness: None,
        };
        match attempt(context, &found.source, &sound).await? {
            Tried::Good => {
                let loudness = loudness(context, &found.source, &sound).await?;
                if loudness.is_none() && spec.loudness_mlufs != 0 {
                    notes.push(format!("audio track {number} is silent and stays as it is"));
                }
                sounds.push(Sound { loudness, ..sound });
            }
            Tried::Silent => notes.push(format!("audio track {number} {silent}")),
            Tried::Misfit(detail) => {
                return Err(MediaError::SoundMisfit {
                    track: number,
                    codec: sound.codec,
                    detail,
                    container: spec.container().name(),
                });
            }
        }
        if spec.container().sound_alone() {
            break;
        }
    }
    if sounds.is_empty() && spec.container().sound_alone() {
        return Err(MediaError::NoAudio {
            found: kinds(&found.streams),
        });
    }
    Ok(sounds)
}

/// How loud a track is, if its loudness is to be changed.
async fn loudness(
    context: &Context<'_>,
    source: &Source,
    sound: &Sound,
) -> Result<Option<Loudness>, MediaError> {
    match context.spec.loudness_mlufs {
        0 => Ok(None),
        _ => loudness::measure(context, source, sound.stream).await,
    }
}

/// The tracks asked for with their numbers from 1; all without a wish.
fn wanted<'s>(spec: &Spec, streams: &'s [Stream]) -> Result<Vec<(u32, &'s Stream)>, MediaError> {
    let tracks: Vec<(u32, &Stream)> = (1..)
        .zip(streams.iter().filter(|stream| stream.is("audio")))
        .collect();
    let asked = &spec.audio_tracks;
    if spec.container().sound_alone() && asked.len() > 1 {
        return Err(MediaError::OverLimit {
            what: "the number of audio tracks asked for in a file of sound alone",
            found: asked.len() as u64,
            max: 1,
        });
    }
    if asked.is_empty() && tracks.len() > TRACKS_MAX {
        return Err(MediaError::OverLimit {
            what: "the number of audio tracks",
            found: tracks.len() as u64,
            max: TRACKS_MAX as u64,
        });
    }
    if asked.is_empty() {
        return Ok(tracks);
    }
    asked
        .iter()
        .map(|&number| {
            let track = tracks.iter().find(|(own, _)| *own == number);
            track.copied().ok_or(MediaError::NoTrack {
                number,
                tracks: tracks.len() as u32,
            })
        })
        .collect()
}

/// How a track's first packet fared.
enum Tried {
    /// It came out.
    Good,
    /// There is nothing in the track.
    Silent,
    /// The encoder or the container does not take it.
    Misfit(String),
}

async fn attempt(
    context: &Context<'_>,
    source: &Source,
    sound: &Sound,
) -> Result<Tried, MediaError> {
    let arguments = args::first(context.input, source, context.spec, sound);
    let mut listener = FirstPacket::default();
    let ended = context.ffmpeg(&arguments, &mut listener).await?;
    if listener.seen {
        return Ok(Tried::Good);
    }
    let misfit = listener
        .complaints
        .kept
        .iter()
        .find(|said| MISFITS.iter().any(|words| said.contains(words)));
    match misfit.filter(|_| matches!(ended, Ended::Badly(_))) {
        Some(said) => Ok(Tried::Misfit(said.clone())),
        None => Ok(Tried::Silent),
    }
}

/// What ffmpeg says when a muxer or an encoder refuses a track.
const MISFITS: [&str; 8] = [
    "Could not find tag for codec",
    "Could not write header",
    "not currently supported in container",
    "Unsupported codec",
    "are supported for",
    "Unsupported channel layout",
    "Specified channel layout",
    "Error initializing output stream",
];

/// Waits for the first line of `framecrc` that is a packet.
#[derive(Default)]
struct FirstPacket {
    seen: bool,
    complaints: Complaints,
}

impl Listener for FirstPacket {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        self.seen |= line.starts_with("0,");
        Ok(Step::Alive)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        self.complaints.hear(line)?;
        Ok(Step::Quiet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn streams() -> Vec<Stream> {
        serde_json::from_str(
            r#"[{"index":0,"codec_type":"video"},{"index":1,"codec_type":"audio"},
            {"index":2,"codec_type":"subtitle"},{"index":3,"codec_type":"audio"}]"#,
        )
        .unwrap()
    }

    fn numbers(spec: &Spec) -> Result<Vec<(u32, u32)>, MediaError> {
        let streams = streams();
        let wanted = wanted(spec, &streams)?;
        Ok(wanted
            .iter()
            .map(|(number, stream)| (*number, stream.index))
            .collect())
    }

    #[test]
    fn tracks_come_as_asked_and_one_that_lacks_is_named() {
        let mut spec = Spec::default();
        assert_eq!(numbers(&spec).unwrap(), [(1, 1), (2, 3)]);
        spec.audio_tracks = vec![2, 1];
        assert_eq!(numbers(&spec).unwrap(), [(2, 3), (1, 1)]);
        spec.audio_tracks = vec![3];
        let error = numbers(&spec).unwrap_err();
        assert_eq!(error.kind(), "no-audio-track");
        assert!(error.to_string().contains("track 3"), "{error}");
    }
}
