//! Which of a source's streams are taken: a program of a broadcast, a video
//! track, and whether one of a kind without colors of its own is.

use super::{
    bounds::{PROGRAM, VIDEO_TRACK},
    choices::Codec,
    error::SpecError,
};

pub(super) struct StreamOptions {
    program: Option<u32>,
    video_track: Option<u32>,
    ignore_dolby_vision: bool,
}

impl StreamOptions {
    pub fn new(program: Option<u32>, video_track: Option<u32>, ignore_dolby_vision: bool) -> Self {
        StreamOptions {
            program,
            video_track,
            ignore_dolby_vision,
        }
    }
}

pub(super) struct Streams {
    /// 0 takes that of the chosen video.
    pub program: u32,
    /// 0 takes the best.
    pub video_track: u32,
    pub ignore_dolby_vision: bool,
}

/// A job without a picture takes no video track, and so has no say in it.
pub(super) fn resolve_streams(codec: Codec, options: StreamOptions) -> Result<Streams, SpecError> {
    if let Some(program) = options.program {
        PROGRAM.check(program)?;
    }
    if let Some(track) = options.video_track {
        VIDEO_TRACK.check(track)?;
    }
    if options.program.is_some() && options.video_track.is_some() {
        return Err(SpecError::Clash {
            wish: "--program",
            other: "--video-track".into(),
            hint: "give the track alone: the sound of its program comes with it",
        });
    }
    let sound_alone = codec == Codec::None;
    Ok(Streams {
        program: options.program.unwrap_or(0),
        video_track: options.video_track.filter(|_| !sound_alone).unwrap_or(0),
        ignore_dolby_vision: options.ignore_dolby_vision && !sound_alone,
    })
}
