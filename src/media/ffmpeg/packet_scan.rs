//! Scans the packets of one stream of a file that we wrote ourselves: an
//! intermediate, or the output.

use std::path::Path;

use crate::{
    error::MediaError,
    facts::{
        text::strings,
        times::{MICROSECONDS, Ratio, Span, rescale},
    },
    ffmpeg::{
        context::Context,
        fragmented_mp4,
        input::{Input, open_input},
        log::{Diagnostics, LOG_ERRORS},
        process::{LineEffect, Listener},
    },
    limits::PACKETS_MAX,
};

/// ffprobe: prints `pts|dts|size|flags` for each packet of a stream, such as
/// `v:0`.
fn arguments(path: &Path, demuxer: &str, stream: &str) -> Vec<String> {
    let mut args = strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts,dts,size,flags:stream=time_base",
        "-of",
        "compact=p=0:nk=1",
    ]);
    args.extend(open_input(&Input::File(path.into()), Some(demuxer)));
    args
}

#[derive(Debug, Default)]
pub(crate) struct PacketScan {
    /// Presentation times in file order.
    pub times: Vec<i64>,
    /// Packets larger than the two bytes that stand for an empty cue.
    pub filled: u64,
    pub base: Option<Ratio>,
    diagnostics: Diagnostics,
}

impl PacketScan {
    /// Packets that were found without ffprobe.
    pub fn of(times: Vec<i64>, base: Ratio) -> Self {
        PacketScan {
            times,
            base: Some(base),
            ..Default::default()
        }
    }

    /// First and last time, if there are any.
    pub fn span(&self) -> Option<Span> {
        let base = self.base?;
        let us = |time: &i64| rescale(*time, base, MICROSECONDS);
        Some(Span {
            first_us: us(self.times.iter().min()?),
            last_us: us(self.times.iter().max()?),
        })
    }
}

impl Listener for PacketScan {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if line.is_empty() {
            return Ok(LineEffect::Neutral);
        }
        // Side data leaves a trailing bar.
        if let Some(base) = Ratio::parse(line.trim_end_matches('|')) {
            self.base = Some(base);
            return Ok(LineEffect::Progress);
        }
        let time = line.split('|').next().and_then(|time| time.parse().ok());
        let Some(time) = time.filter(|_| self.times.len() < PACKETS_MAX) else {
            return Err(MediaError::BadOutput {
                tool: "ffprobe".into(),
                detail: line.to_string(),
            });
        };
        self.times.push(time);
        let bytes: Option<u64> = line.split('|').nth(2).and_then(|size| size.parse().ok());
        self.filled += u64::from(bytes.is_some_and(|bytes| bytes > 2));
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
    }
}

/// Scans a file of fragments with one track, which takes no process.
pub(crate) fn scan_fragments(path: &Path) -> Result<PacketScan, MediaError> {
    let found = fragmented_mp4::read(path)?;
    let base = Ratio {
        num: 1,
        den: found.timescale.into(),
    };
    let times = found.samples.iter().map(|sample| sample.pts).collect();
    Ok(PacketScan::of(times, base))
}

/// Scans one stream of a file.
pub(crate) async fn scan_intermediate(
    context: &Context<'_>,
    path: &Path,
    demuxer: &str,
    stream: &str,
) -> Result<PacketScan, MediaError> {
    let mut scan = PacketScan::default();
    let arguments = arguments(path, demuxer, stream);
    let exit = context.ffprobe(&arguments, &mut scan).await?;
    scan.diagnostics.check_exit("ffprobe", exit)?;
    Ok(scan)
}
