//! Scans the packets of one stream of a file that we wrote ourselves.

use std::path::Path;

use crate::{
    error::MediaError,
    facts::{text::words, times::Ratio},
    ffmpeg::{
        context::Context,
        input::{Input, open},
        log::{Complaints, LOG_ERRORS},
        process::{Listener, Step},
    },
    limits::PACKETS_MAX,
};

/// ffprobe: a line `pts|dts|size|flags` for each packet of a stream of a file of
/// our own; `stream` as `v:0`.
fn arguments(path: &Path, demuxer: &str, stream: &str) -> Vec<String> {
    let mut args = words(&[
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
    args.extend(open(&Input::File(path.into()), Some(demuxer)));
    args
}

/// Packets of one stream of a file of our own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Presentation times in file order.
    pub times: Vec<i64>,
    /// Packets of more than the two bytes that stand for "nothing is shown".
    pub filled: u64,
    /// The stream's time base.
    pub base: Option<Ratio>,
    complaints: Complaints,
}

impl Listener for Own {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        if line.is_empty() {
            return Ok(Step::Quiet);
        }
        // Side data leaves a bar behind.
        if let Some(base) = Ratio::parse(line.trim_end_matches('|')) {
            self.base = Some(base);
            return Ok(Step::Alive);
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
        Ok(Step::Alive)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        self.complaints.hear(line)?;
        Ok(Step::Quiet)
    }
}

/// Reads the packets of one stream of a file of our own.
pub(crate) async fn scan_own(
    context: &Context<'_>,
    path: &Path,
    demuxer: &str,
    stream: &str,
) -> Result<Own, MediaError> {
    let mut own = Own::default();
    let arguments = arguments(path, demuxer, stream);
    let ended = context.ffprobe(&arguments, &mut own).await?;
    own.complaints.judge("ffprobe", ended)?;
    Ok(own)
}
