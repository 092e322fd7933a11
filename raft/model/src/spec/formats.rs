//! Container, codec and audio: their defaults, and which go together.

use super::{
    bounds::word,
    choices::{Audio, Codec, Container},
    error::SpecError,
};

pub(super) struct FormatOptions<'a> {
    pub container: &'a str,
    pub codec: &'a str,
    pub audio: &'a str,
}

impl<'a> FormatOptions<'a> {
    pub fn new(container: &'a str, codec: &'a str, audio: &'a str) -> Self {
        FormatOptions {
            container,
            codec,
            audio,
        }
    }
}

pub(super) struct Formats {
    pub container: Container,
    pub codec: Codec,
    pub audio: Audio,
}

pub(super) fn resolve_formats(options: FormatOptions) -> Result<Formats, SpecError> {
    let container = word(options.container, Container::Mp4)?;
    let codec = match container {
        _ if container.sound_alone() => word(options.codec, Codec::None)?,
        Container::Webm => word(options.codec, Codec::Vp9)?,
        _ => word(options.codec, Codec::H264)?,
    };
    let audio = match container {
        Container::Webm | Container::Opus => word(options.audio, Audio::Opus)?,
        Container::Flac => word(options.audio, Audio::Flac)?,
        _ => word(options.audio, Audio::Aac)?,
    };
    check_video(codec, container)?;
    check_audio(audio, container)?;
    Ok(Formats {
        container,
        codec,
        audio,
    })
}

fn check_video(codec: Codec, container: Container) -> Result<(), SpecError> {
    use Container::{Mkv, Mov, Mp4, Webm};
    let hint = match (codec, container) {
        (Codec::None, container) if container.sound_alone() => return Ok(()),
        (Codec::None, _) => "choose h264, hevc, vp9, av1 or ffv1",
        (_, container) if container.sound_alone() => {
            "this container holds sound alone: leave --codec out, or write an .mp4 or .mkv"
        }
        (_, Mkv) => return Ok(()),
        (Codec::H264 | Codec::Hevc, Mp4 | Mov) | (Codec::Vp9 | Codec::Av1, Mp4 | Webm) => {
            return Ok(());
        }
        (Codec::Ffv1, _) => "store ffv1 in an .mkv file",
        (_, Webm) => "WebM takes vp9 or av1; for this codec write an .mkv or .mp4",
        (_, _) => "MOV takes h264 or hevc; for this codec write an .mkv or .mp4",
    };
    Err(SpecError::Pair {
        inner: codec.name(),
        container: container.name(),
        hint,
    })
}

/// Copied audio is checked once the source is known.
fn check_audio(audio: Audio, container: Container) -> Result<(), SpecError> {
    use Container::{Flac, M4a, Mkv, Mov, Mp4, Opus, Webm};
    let hint = match (audio, container) {
        (Audio::None, container) if container.sound_alone() => {
            "this container holds sound alone: choose a codec for it"
        }
        (Audio::Copy | Audio::None, _) | (_, Mkv | Mp4) => return Ok(()),
        (Audio::Aac, Mov | M4a) | (Audio::Opus, Webm | Opus) | (Audio::Flac, Flac) => return Ok(()),
        (_, Webm | Opus) => "it takes opus alone",
        (_, Flac) => "it takes flac alone",
        (_, Mov | M4a) => "it takes aac; for this codec write an .mkv or .mp4",
    };
    Err(SpecError::Pair {
        inner: audio.name(),
        container: container.name(),
        hint,
    })
}
