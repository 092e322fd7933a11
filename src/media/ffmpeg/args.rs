//! Argument lists for opening and inspecting a source: pure functions. Names
//! of files never stand where an option could; formats and protocols are
//! whitelisted, and the demuxer is forced once it is known.
//!
//! Not here: what encodes and assembles, which is in `encode_args.rs`.

use crate::facts::{source::Source, text::words};

/// ffmpeg calls a pass failed where two thirds of the frames are damaged, though
/// it has decoded what it could. Here complaints are counted and proven instead.
pub(crate) const TO_THE_END: [&str; 2] = ["-max_error_rate", "1"];

/// Options of ffmpeg itself: no questions, no stdin, a log we can read.
pub(crate) fn quiet(log: &str) -> Vec<String> {
    let mut args = words(&["-nostdin", "-hide_banner", "-y", "-v", log]);
    args.extend(words(&TO_THE_END));
    args
}

/// A second output that takes the job's other streams and drops them: in
/// formats with jumping clocks the streams in use decide what the film's start
/// is. `mapped` are all streams of the job, `own` those in use already.
pub(crate) fn beside(source: &Source, mapped: &[u32], own: &[u32]) -> Vec<String> {
    let mut args = Vec::new();
    for stream in mapped.iter().filter(|stream| !own.contains(stream)) {
        args.extend(words(&["-map", &format!("0:{stream}")]));
    }
    if !source.jumping || args.is_empty() {
        return Vec::new();
    }
    args.extend(words(&["-c", "copy", "-f", "null", "-"]));
    args
}

#[cfg(test)]
mod tests {}
