//! Argument lists for opening and inspecting a source: pure functions. Names
//! of files never stand where an option could; formats and protocols are
//! whitelisted, and the demuxer is forced once it is known.
//!
//! Not here: what encodes and assembles, which is in `encode_args.rs`.

use crate::facts::{source::Source, text::strings};

/// ffmpeg calls a pass failed where two thirds of the frames are damaged, though
/// it has decoded what it could. Here complaints are counted and proven instead.
pub(crate) const TO_THE_END: [&str; 2] = ["-max_error_rate", "1"];

/// Options of ffmpeg itself: no questions, no stdin, a log we can read.
pub(crate) fn global_options(log: &str) -> Vec<String> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-y", "-v", log]);
    args.extend(strings(&TO_THE_END));
    args
}

/// A second output that takes the job's other streams and drops them: in
/// formats with discontinuous clocks the streams in use decide what the film's start
/// is. `mapped` are all streams of the job, `own` those in use already.
pub(crate) fn drain_other_streams(source: &Source, mapped: &[u32], own: &[u32]) -> Vec<String> {
    let mut args = Vec::new();
    for stream in mapped.iter().filter(|stream| !own.contains(stream)) {
        args.extend(strings(&["-map", &format!("0:{stream}")]));
    }
    if !source.discontinuous || args.is_empty() {
        return Vec::new();
    }
    args.extend(strings(&["-c", "copy", "-f", "null", "-"]));
    args
}
