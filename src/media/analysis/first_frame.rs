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
    let outcome = listener.diagnostics.check_exit("ffmpeg", exit);
    let has_side_data = listener.may_carry_more(outcome.is_ok());
    match (listener.decoded, listener.filtered) {
        (Some(decoded), Some(filtered)) => Ok(FirstFrame {
            decoded,
            filtered,
            rate: listener.rate,
            has_side_data,
        }),
        _ => {
            match outcome {
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

impl FrameLines {
    /// Whether frames carry more than samples: also where some did not come, so
    /// that it is not known.
    fn may_carry_more(&self, ended_well: bool) -> bool {
        self.has_side_data || (self.wanted > 0 && !ended_well)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_carry_that_did_not_come_is_not_known() {
        let mut lines = FrameLines {
            wanted: 2,
            ..Default::default()
        };
        let frame = "[showinfo@filtered @ 0x5] [info] n: 0 pts: 0 fmt:yuv420p s:64x64 i:P";
        assert_eq!(lines.stderr(frame).unwrap(), LineEffect::Neutral);
        assert!(lines.may_carry_more(false) && !lines.may_carry_more(true));
        assert_eq!(lines.stderr(frame).unwrap(), LineEffect::Stop);
        assert!(!lines.may_carry_more(false));
        let told = "[showinfo@decoded @ 0x5] [info]   side data - Mastering display metadata";
        lines.stderr(told).unwrap();
        assert!(lines.may_carry_more(true));
    }
}
