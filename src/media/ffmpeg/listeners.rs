//! Two general listeners: one keeps a tool's output, the other follows its
//! progress. Both collect diagnostics.

use crate::{
    error::MediaError,
    ffmpeg::{
        log::Diagnostics,
        picture_clock::PictureClock,
        process::{LineEffect, Listener},
    },
    limits::{TEXT_BYTES_MAX, TEXT_LINE_BYTES_MAX},
};

/// Keeps all of stdout, up to a limit.
#[derive(Default)]
pub(crate) struct TextListener {
    pub out: String,
    pub diagnostics: Diagnostics,
}

impl Listener for TextListener {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if self.out.len() + line.len() > TEXT_BYTES_MAX {
            return Err(MediaError::OverLimit {
                what: "the size of the source's description in bytes",
                found: (self.out.len() + line.len()) as u64,
                max: TEXT_BYTES_MAX as u64,
            });
        }
        self.out.push_str(line);
        self.out.push('\n');
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
    }

    fn line_bytes_max(&self) -> usize {
        TEXT_LINE_BYTES_MAX
    }
}

/// Follows a child's `-progress` output.
pub(crate) struct ProgressListener<'a> {
    /// Receives the milliseconds of film done so far.
    progress: &'a (dyn Fn(u64) + Send + Sync),
    out_us: i64,
    out_bytes: u64,
    pub diagnostics: Diagnostics,
    /// The pictures' clock, if the pass prints it.
    pub clock: PictureClock,
}

impl<'a> ProgressListener<'a> {
    pub fn new(progress: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        ProgressListener {
            progress,
            out_us: 0,
            out_bytes: 0,
            diagnostics: Diagnostics::default(),
            clock: PictureClock::default(),
        }
    }
}

impl Listener for ProgressListener<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.clock.observe(line);
        match line.split_once('=') {
            Some(("out_time_us", time)) => {
                let out_us = time.trim().parse().unwrap_or(0);
                if out_us > self.out_us {
                    self.out_us = out_us;
                    (self.progress)(out_us as u64 / 1000);
                    return Ok(LineEffect::Progress);
                }
            }
            Some(("total_size", size)) => {
                let out_bytes = size.trim().parse().unwrap_or(0);
                if out_bytes > self.out_bytes {
                    self.out_bytes = out_bytes;
                    return Ok(LineEffect::Progress);
                }
            }
            _ => {}
        }
        Ok(LineEffect::Neutral)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
    }
}
