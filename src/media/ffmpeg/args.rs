//! Options that every ffmpeg run shares.
//!
//! Not here: how an input is opened, which is in `input.rs`, and the argument
//! lists of the steps, which each room keeps in its own `args.rs`.

use crate::facts::{source::Source, text::strings};

/// ffmpeg declares a pass failed if two thirds of the frames are damaged, even
/// though it decoded what it could. We count errors and prove frames instead.
pub(crate) const DECODE_TO_THE_END: [&str; 2] = ["-max_error_rate", "1"];

/// Options of ffmpeg itself: no prompts, no stdin, a log that we can parse.
pub(crate) fn global_options(log: &str) -> Vec<String> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-y", "-v", log]);
    args.extend(strings(&DECODE_TO_THE_END));
    args
}

/// A second output that reads the job's other streams and discards them. In
/// formats with discontinuous timestamps, the streams in use determine where
/// the film starts, so every step uses the same ones. `job_streams` are all
/// streams of the job, `used` those that the step maps anyway.
pub(crate) fn drain_other_streams(
    source: &Source,
    job_streams: &[u32],
    used: &[u32],
) -> Vec<String> {
    let mut args = Vec::new();
    for stream in job_streams.iter().filter(|stream| !used.contains(stream)) {
        args.extend(strings(&["-map", &format!("0:{stream}")]));
    }
    if !source.discontinuous || args.is_empty() {
        return Vec::new();
    }
    args.extend(strings(&["-c", "copy", "-f", "null", "-"]));
    args
}
