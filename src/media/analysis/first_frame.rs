//! Decodes the first frame to learn its size, pixel format, time and rate.

use reelraft_model::spec::Codec;

use crate::{
    analysis::args,
    error::MediaError,
    facts::{source::Source, times::Ratio},
    ffmpeg::{
        context::Context,
        failures::lacks_decoder,
        log::Diagnostics,
        process::{LineEffect, Listener},
        showinfo::{self, Frame},
    },
    limits::FIRST_FRAMES,
};

/// The first frame, as decoded and as the encoder would get it.
#[derive(Clone)]
pub(crate) struct FirstFrame {
    pub decoded: Frame,
    pub filtered: Frame,
    pub rate: Option<Ratio>,
    /// Whether the first frames carry more than samples, beside what is told to
    /// nobody.
    pub has_side_data: bool,
}

/// How `showinfo` calls what frames carry and is told to nobody: notes of the
/// encoder, and what the decoder itself has applied.
const UNTOLD: [&str; 3] = ["User Data Unregistered", "displaymatrix", "GOP timecode"];

pub(crate) async fn first_frame(
    context: &Context<'_>,
    source: &Source,
    mapped: &[u32],
    copyts: bool,
) -> Result<FirstFrame, MediaError> {
    let encoder = match context.spec.codec() {
        Codec::Ffv1 => "ffv1",
        _ => "wrapped_avframe",
    };
    // Of a single pass the first frame alone is of interest.
    let wanted = if copyts { FIRST_FRAMES } else { 1 };
    let arguments = args::first_frame(context.input, source, mapped, copyts, wanted, encoder);
    let mut listener = FrameLines {
        wanted,
        ..Default::default()
    };
    let exit = context
        .ffmpeg_with(&arguments, source.video().address_bytes(), &mut listener)
        .await?;
    match (listener.decoded, listener.filtered) {
        (Some(decoded), Some(filtered)) => Ok(FirstFrame {
            decoded,
            filtered,
            rate: listener.rate,
            has_side_data: listener.has_side_data,
        }),
        _ => {
            match listener.diagnostics.check_exit("ffmpeg", exit) {
                Ok(()) | Err(MediaError::ToolFailed { .. }) => {}
                Err(error) => return Err(error),
            }
            if lacks_decoder(&listener.diagnostics.complaints()) {
                return Err(MediaError::Undecodable {
                    what: "video",
                    codec: source.video().codec.clone(),
                });
            }
            Err(MediaError::NoFrames {
                detail: listener.diagnostics.last_errors(),
            })
        }
    }
}

#[derive(Default)]
struct FrameLines {
    decoded: Option<Frame>,
    filtered: Option<Frame>,
    /// How many are still to be filtered.
    wanted: u32,
    rate: Option<Ratio>,
    has_side_data: bool,
    diagnostics: Diagnostics,
}

impl Listener for FrameLines {
    fn stdout(&mut self, _: &str) -> Result<LineEffect, MediaError> {
        Ok(LineEffect::Neutral)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if let Some(frame) = showinfo::frame(line, "decoded") {
            self.decoded.get_or_insert(frame);
        } else if let Some(frame) = showinfo::frame(line, "filtered") {
            self.filtered.get_or_insert(frame);
            self.wanted = self.wanted.saturating_sub(1);
            if self.wanted == 0 {
                // Nothing more is needed; a second output might go on for long.
                return Ok(LineEffect::Stop);
            }
        } else if let Some(name) = showinfo::side_data(line, "decoded") {
            self.has_side_data |= !UNTOLD.iter().any(|untold| name.starts_with(untold));
        } else if let Some(rate) = showinfo::rate(line, "decoded") {
            self.rate.get_or_insert(rate);
        } else {
            self.diagnostics.observe(line)?;
        }
        Ok(LineEffect::Neutral)
    }
}
