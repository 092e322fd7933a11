//! Measures a track's loudness (EBU R 128) over its whole length, during
//! analysis.
//!
//! The reference command names the gain, so it must be known before the plan:
//! for such jobs the analysis decodes the audio once.

use crate::{
    audio::args,
    error::MediaError,
    facts::{audio_track::Loudness, source::Source},
    ffmpeg::{
        context::Context,
        listeners::ProgressListener,
        process::{LineEffect, Listener},
    },
    limits::SILENCE_MLUFS,
};

/// Measures a whole track; `None` if it is silent, so that no gain would help.
pub(crate) async fn measure(
    context: &Context<'_>,
    source: &Source,
    stream: u32,
) -> Result<Option<Loudness>, MediaError> {
    let arguments = args::measure(context.input, source, context.spec, stream);
    let mut summary = LoudnessSummary {
        progress: ProgressListener::new(&|_| {}),
        integrated_mlufs: None,
        peak_mdb: None,
    };
    let address_bytes = source.address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut summary)
        .await?;
    summary.progress.diagnostics.check_exit("ffmpeg", exit)?;
    let (Some(integrated_mlufs), Some(peak_mdb)) = (summary.integrated_mlufs, summary.peak_mdb)
    else {
        return Ok(None);
    };
    Ok((integrated_mlufs > SILENCE_MLUFS).then_some(Loudness {
        integrated_mlufs,
        peak_mdb,
    }))
}

/// Parses the summary of the filter `ebur128`, with lines such as `I: -16.7
/// LUFS` and `Peak: -1.3 dBFS`.
struct LoudnessSummary<'a> {
    progress: ProgressListener<'a>,
    integrated_mlufs: Option<i32>,
    peak_mdb: Option<i32>,
}

impl Listener for LoudnessSummary<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.progress.stdout(line)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("I:"), Some(value), Some("LUFS")) => self.integrated_mlufs = thousandths(value),
            (Some("Peak:"), Some(value), Some("dBFS")) => self.peak_mdb = thousandths(value),
            _ => return self.progress.stderr(line),
        }
        Ok(LineEffect::Neutral)
    }
}

/// Parses a decimal number with up to three places; `None` for `-inf`.
fn thousandths(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part: i32 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let whole: i32 = whole.parse().ok()?;
    Some(sign * whole.checked_mul(1000)?.checked_add(part)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        assert_eq!(thousandths("-16.7"), Some(-16_700));
        assert_eq!(thousandths("0.3"), Some(300));
        assert_eq!(thousandths("-0.5"), Some(-500));
        assert_eq!(thousandths("-inf"), None);
    }
}
