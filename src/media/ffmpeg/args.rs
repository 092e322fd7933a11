//! Options that every ffmpeg run shares.
//!
//! Not here: how an input is opened, which is in `input.rs`, and the argument
//! lists of the steps, which each room keeps in its own `args.rs`.

use reelraft_model::spec::{Audio, Spec};

use crate::{
    facts::{index::Index, source::Source, text::strings},
    ffmpeg::picture_clock,
};

/// ffmpeg declares a pass failed if two thirds of the frames are damaged, even
/// though it decoded what it could. We count errors and prove frames instead.
pub(crate) const DECODE_TO_THE_END: [&str; 2] = ["-max_error_rate", "1"];

/// Options of ffmpeg itself: no prompts, no stdin, a log that we can parse.
pub(crate) fn global_options(log: &str) -> Vec<String> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-y", "-v", log]);
    args.extend(strings(&DECODE_TO_THE_END));
    args
}

/// What every pass over a source is told about its clock.
pub(crate) fn clock_rule(source: &Source) -> Vec<String> {
    match source.demuxer.as_str() {
        // An Ogg stream may begin late: its first packet has no time, or zero,
        // and the next one has the real time. That is no leap to be evened out.
        "ogg" => strings(&["-dts_delta_threshold", "1000000000"]),
        _ => Vec::new(),
    }
}

/// An output that reads the pictures and the job's other streams, prints the
/// times of the pictures' packets and discards everything. In formats with
/// discontinuous timestamps, the streams in use determine where the film starts
/// and how leaps are evened out, so every step uses the same ones. `job_streams`
/// are all streams of the job, `used` those that the step maps anyway.
pub(crate) fn read_along(source: &Source, job_streams: &[u32], used: &[u32]) -> Vec<String> {
    let video = source.video.as_ref().map(|video| video.stream);
    let others = job_streams
        .iter()
        .filter(|stream| !used.contains(stream) && Some(**stream) != video);
    let mut args = Vec::new();
    for stream in video.iter().chain(others) {
        args.extend(strings(&["-map", &format!("0:{stream}")]));
    }
    if !source.discontinuous || args.is_empty() {
        return Vec::new();
    }
    args.extend(strings(&picture_clock::PRINTED));
    args
}

/// As [`read_along`], for a pass over the whole film. Up to version 6, ffmpeg
/// evens out leaps by what it has decoded, not by what it has read. So where the
/// clock leaps, what the reference encodes is decoded here too, and discarded.
pub(crate) fn pass_along(index: &Index, spec: &Spec, used: &[u32]) -> Vec<String> {
    let facts = &index.facts;
    let mut args = read_along(&facts.source, &index.job_streams(), used);
    if !facts.source.leaps {
        return args;
    }
    let others = |stream: &u32| !used.contains(stream);
    let video = facts.source.video.iter().map(|video| video.stream);
    for stream in video.filter(others) {
        args.extend(decoded(stream, "-filter:v", "select=0", "wrapped_avframe"));
    }
    let audio = facts.audio_tracks.iter().map(|track| track.stream);
    args.extend(
        audio
            .filter(others)
            .flat_map(|stream| decoded_audio(spec, stream)),
    );
    args
}

/// Decodes a track and gives nothing, if the job decodes it too.
pub(crate) fn decoded_audio(spec: &Spec, stream: u32) -> Vec<String> {
    match spec.audio() {
        Audio::Copy => Vec::new(),
        _ => decoded(stream, "-filter:a", "aselect=0", "pcm_s16le"),
    }
}

/// An output that decodes a stream and gives nothing.
fn decoded(stream: u32, filter: &str, none: &str, encoder: &str) -> Vec<String> {
    let map = format!("0:{stream}");
    strings(&["-map", &map, filter, none, "-c", encoder, "-f", "null", "-"])
}
