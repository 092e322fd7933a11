//! The clock in which ffmpeg's bitstream filters count. Up to version 6 it is
//! the muxer's, from 7 on the encoder's, and the filter that sets decode times
//! can't tell: the program is asked, by setting the times of three small frames.

use crate::{
    error::MediaError,
    facts::{text::strings, times::Ratio},
    ffmpeg::{
        args::global_options, context::Context, fragmented_mp4, listeners::TextListener,
        log::LOG_ERRORS, memory::Memory,
    },
    video::timing::muxer_timescale,
};

/// Whose ticks a bitstream filter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterClock {
    Muxer,
    Encoder,
}

impl FilterClock {
    /// Ticks of this clock in one tick of the encoded video.
    pub fn ticks(self, base: Ratio) -> i64 {
        match self {
            FilterClock::Muxer => muxer_timescale(base) / base.den * base.num,
            FilterClock::Encoder => 1,
        }
    }
}

/// Name of the trial in the work folder.
const TRIAL_FILE: &str = "clock.mov";

/// The frames of the trial, per second.
const TRIAL_RATE: Ratio = Ratio { num: 1, den: 25 };

/// Finds out which clock this ffmpeg uses.
pub(crate) async fn filter_clock(context: &Context<'_>) -> Result<FilterClock, MediaError> {
    static CLOCKS: Memory<FilterClock> = Memory::new();
    if let Some(known) = CLOCKS.recall(&context.tools.ffmpeg) {
        return Ok(known);
    }
    let found = try_clock(context).await?;
    CLOCKS.keep(&context.tools.ffmpeg, found);
    Ok(found)
}

async fn try_clock(context: &Context<'_>) -> Result<FilterClock, MediaError> {
    let mut arguments = global_options(LOG_ERRORS);
    arguments.extend(strings(&[
        "-f",
        "lavfi",
        "-i",
        "color=size=32x32:rate=25:duration=0.12",
        "-c:v",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-bsf:v",
        "setts=pts=N*2:dts=N*2",
        "-movflags",
        "+frag_keyframe+empty_moov+default_base_moof",
        "-f",
        "mov",
        TRIAL_FILE,
    ]));
    let mut text = TextListener::default();
    let exit = context.ffmpeg(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffmpeg", exit)?;
    let path = context.work_dir.join(TRIAL_FILE);
    let samples = fragmented_mp4::read(&path)?.samples;
    std::fs::remove_file(&path).map_err(MediaError::disk("removing a trial"))?;
    let step = match samples.as_slice() {
        [first, second, ..] => second.dts - first.dts,
        _ => 0,
    };
    for clock in [FilterClock::Muxer, FilterClock::Encoder] {
        let expected = 2 * FilterClock::Muxer.ticks(TRIAL_RATE) / clock.ticks(TRIAL_RATE);
        if step == expected {
            return Ok(clock);
        }
    }
    Err(MediaError::WrongBuild {
        tool: "ffmpeg".into(),
        detail: format!("a bitstream filter's step of two ticks became {step}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_count_the_same_time() {
        for (num, den, ticks) in [(1, 1_000, 16), (1, 24, 512), (1_001, 30_000, 1_001)] {
            let base = Ratio { num, den };
            assert_eq!(FilterClock::Muxer.ticks(base), ticks);
            assert_eq!(FilterClock::Encoder.ticks(base), 1);
        }
    }
}
