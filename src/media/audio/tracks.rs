//! Selects the audio tracks of a job: those that are requested and have sound
//! in them. Each is tried before the film is planned, by encoding or copying
//! its first packet. So what ffmpeg would fail on is refused by name at once,
//! and a declared but empty track is left out with a note.
//!
//! Not here: encoding the whole track; see `encode.rs`.

use reelraft_model::{
    limits::TRACKS_MAX,
    spec::{Audio, Spec},
};

use crate::{
    audio::{args, loudness},
    error::{MediaError, codec_name},
    facts::{
        audio_track::{AudioTrack, Loudness},
        labels::Label,
        source::{ProbedSource, Source, Stream, describe_streams},
    },
    ffmpeg::{
        context::Context,
        failures::lacks_decoder,
        log::Diagnostics,
        process::{Exit, LineEffect, Listener},
    },
};

/// The tracks of a job, in the output's order. What is left out is noted in
/// `notes`.
///
/// # Errors
/// [`MediaError::NoSuchAudioTrack`] for a number that the source lacks,
/// [`MediaError::AudioMisfit`] if the codec or container does not accept a
/// track, [`MediaError::SourceHasNoAudio`] if the output is audio only and
/// there is none.
pub(crate) async fn choose(
    context: &Context<'_>,
    found: &ProbedSource,
    notes: &mut Vec<String>,
) -> Result<Vec<AudioTrack>, MediaError> {
    let spec = context.spec;
    if spec.audio() == Audio::None {
        return Ok(Vec::new());
    }
    let mut tracks = Vec::new();
    let mut undecodable: Option<&Stream> = None;
    for (number, stream) in requested_tracks(spec, &found.streams)? {
        let silent = "has no sound that can be decoded and is left out";
        if stream.codec_name.is_none() {
            undecodable.get_or_insert(stream);
            notes.push(undecodable_note(number, stream));
            continue;
        }
        let Some((sample_rate, channels)) = stream.audio_params() else {
            notes.push(format!("audio track {number} {silent}"));
            continue;
        };
        let track = AudioTrack {
            stream: stream.index,
            number,
            declared_us: stream.declared_us(&found.source.demuxer),
            codec: stream.codec().to_string(),
            sample_rate,
            channels,
            headers_repeat: found.source.demuxer == "flv" && stream.codec() == "aac",
            layout: stream.channel_layout.clone().unwrap_or_default(),
            label: Label::of(stream),
            loudness: None,
        };
        match try_first_packet(context, &found.source, &track).await? {
            TrialResult::Good => {
                let loudness = loudness(context, &found.source, &track).await?;
                if loudness.is_none() && spec.loudness_mlufs != 0 {
                    notes.push(format!("audio track {number} is silent and stays as it is"));
                }
                tracks.push(AudioTrack { loudness, ..track });
            }
            TrialResult::NoDecoder => {
                undecodable.get_or_insert(stream);
                notes.push(undecodable_note(number, stream));
            }
            TrialResult::Silent => notes.push(format!("audio track {number} {silent}")),
            TrialResult::Misfit(detail) => {
                return Err(MediaError::AudioMisfit {
                    track: number,
                    codec: track.codec,
                    detail,
                    container: spec.container().name(),
                });
            }
        }
        if spec.container().sound_alone() && !tracks.is_empty() {
            break;
        }
    }
    if tracks.is_empty() && spec.container().sound_alone() {
        return Err(no_sound(&found.streams, undecodable));
    }
    Ok(tracks)
}

fn undecodable_note(number: u32, stream: &Stream) -> String {
    let codec = codec_name(stream.codec_or_tag());
    format!("audio track {number} is {codec}, which this ffmpeg can't decode, and is left out")
}

/// Why there is nothing to make sound alone of.
fn no_sound(streams: &[Stream], undecodable: Option<&Stream>) -> MediaError {
    match undecodable {
        Some(stream) => MediaError::Undecodable {
            what: "sound",
            codec: stream.codec_or_tag().to_string(),
        },
        None => MediaError::SourceHasNoAudio {
            found: describe_streams(streams),
        },
    }
}

/// The loudness of a track, if it is to be changed.
async fn loudness(
    context: &Context<'_>,
    source: &Source,
    track: &AudioTrack,
) -> Result<Option<Loudness>, MediaError> {
    match context.spec.loudness_mlufs {
        0 => Ok(None),
        _ => loudness::measure(context, source, track.stream).await,
    }
}

/// The requested tracks with their numbers from 1; all if none are requested.
pub(crate) fn requested_tracks<'s>(
    spec: &Spec,
    streams: &'s [Stream],
) -> Result<Vec<(u32, &'s Stream)>, MediaError> {
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
    if asked.is_empty() {
        let mut own = tracks;
        own.retain(|(_, stream)| !stream.in_other_program);
        if own.len() > TRACKS_MAX {
            return Err(MediaError::OverLimit {
                what: "the number of audio tracks",
                found: own.len() as u64,
                max: TRACKS_MAX as u64,
            });
        }
        return Ok(own);
    }
    asked
        .iter()
        .map(|&number| {
            let track = tracks.iter().find(|(own, _)| *own == number);
            track.copied().ok_or(MediaError::NoSuchAudioTrack {
                number,
                tracks: tracks.len() as u32,
            })
        })
        .collect()
}

/// Result of trying a track's first packet.
enum TrialResult {
    Good,
    /// The track is empty.
    Silent,
    /// This ffmpeg can't decode it.
    NoDecoder,
    /// The encoder or the container does not accept it.
    Misfit(String),
}

async fn try_first_packet(
    context: &Context<'_>,
    source: &Source,
    track: &AudioTrack,
) -> Result<TrialResult, MediaError> {
    let arguments = args::first(context.input, source, context.spec, track);
    let mut listener = FirstPacket::default();
    let address_bytes = source.address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut listener)
        .await?;
    if listener.seen {
        return Ok(TrialResult::Good);
    }
    judge(&listener.diagnostics, exit)
}

/// What a trial without a packet shows. A track is empty only if ffmpeg ended
/// well or said so: a failure in unknown words is an error, since for a missing
/// encoder or memory the sound would be lost unsaid.
fn judge(diagnostics: &Diagnostics, exit: Exit) -> Result<TrialResult, MediaError> {
    let said = |words: &[&str]| {
        let mut messages = diagnostics.messages();
        messages.find(|message| words.iter().any(|known| message.contains(known)))
    };
    match diagnostics.check_exit("ffmpeg", exit) {
        Ok(()) => Ok(TrialResult::Silent),
        Err(MediaError::ToolFailed { .. }) if lacks_decoder(&diagnostics.complaints()) => {
            Ok(TrialResult::NoDecoder)
        }
        Err(error @ MediaError::ToolFailed { .. }) => match (said(&MISFITS), said(&EMPTY)) {
            (Some(message), _) => Ok(TrialResult::Misfit(message.clone())),
            (None, Some(_)) => Ok(TrialResult::Silent),
            (None, None) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// What ffmpeg logs when a track's decoder gives no frame.
const EMPTY: [&str; 1] = ["Cannot determine format of input"];

/// What ffmpeg logs when a muxer or an encoder refuses a track.
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

/// Waits for the first packet that `framecrc` prints.
#[derive(Default)]
struct FirstPacket {
    seen: bool,
    diagnostics: Diagnostics,
}

impl Listener for FirstPacket {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        // `0, dts, pts, duration, size, …`. Where nothing came, FLAC's encoder ends
        // with a packet of no bytes.
        let size = line
            .strip_prefix("0,")
            .and_then(|rest| rest.split(',').nth(3));
        self.seen |= size.is_some_and(|size| size.trim() != "0");
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
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
        let wanted = requested_tracks(spec, &streams)?;
        Ok(wanted
            .iter()
            .map(|(number, stream)| (*number, stream.index))
            .collect())
    }

    fn failed(line: &str) -> Result<TrialResult, MediaError> {
        let mut diagnostics = Diagnostics::default();
        diagnostics.observe(line).unwrap();
        let code_1 = std::os::unix::process::ExitStatusExt::from_raw(1 << 8);
        judge(&diagnostics, Exit::Failure(code_1))
    }

    #[test]
    fn only_what_is_known_to_mean_no_sound_means_it() {
        let ended_well = judge(&Diagnostics::default(), Exit::Success);
        assert!(matches!(ended_well, Ok(TrialResult::Silent)));
        let no_frames = failed("[error] Cannot determine format of input stream 0:1 after EOF");
        assert!(matches!(no_frames, Ok(TrialResult::Silent)));
        let unknown = failed("[error] Decoder (codec ac4) not found for input stream #0:1");
        assert!(matches!(unknown, Ok(TrialResult::NoDecoder)));
        let misfit = failed("[mp4 @ 0x5] [error] Could not find tag for codec vorbis in stream #0");
        assert!(matches!(misfit, Ok(TrialResult::Misfit(_))));
        for (line, kind) in [
            ("[fatal] Unknown encoder 'libopus'", "encoder-missing"),
            ("[error] Cannot allocate memory", "ffmpeg-failed"),
            ("[error] words of a later version", "ffmpeg-failed"),
        ] {
            let error = failed(line).err().unwrap();
            assert_eq!(error.kind(), kind, "{line}");
        }
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
