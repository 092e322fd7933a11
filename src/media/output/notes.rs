//! What only the whole film shows, and an analysis can't know: said beside what
//! the analysis has noted.

use reelraft_model::spec::Spec;

use crate::{
    facts::{
        declared::cut_off,
        index::Index,
        report::{AudioReport, ShardReport},
        times::{MICROSECONDS, rescale},
    },
    video::timing::fps,
};

/// Notes of what was encoded.
pub(crate) fn of_encoding(
    index: &Index,
    spec: &Spec,
    reports: &[ShardReport],
    audio: &[AudioReport],
) -> Vec<String> {
    let mut notes = Vec::new();
    let decoded: u64 = reports.iter().map(|report| report.head.decoded).sum();
    // At a constant rate the frames of the plan are those of the output.
    let promised = index.frames_total();
    if fps(spec).is_none() && decoded < promised {
        let lost = promised - decoded;
        notes.push(format!(
            "{lost} of {promised} packets of the video gave no picture of their own"
        ));
    }
    let changed = reports.iter().map(|report| &report.head.aspects);
    if let Some(aspects) = changed.into_iter().find(|aspects| !aspects.is_empty()) {
        let shapes = aspects.join(", ");
        notes.push(format!(
            "the shape of the pixels changes within the film ({shapes}): that of the first picture is kept"
        ));
    }
    notes.extend(sound_ends_early(index, audio));
    notes
}

/// Notes of tracks of sound that last less than the file declares.
fn sound_ends_early(index: &Index, audio: &[AudioReport]) -> impl Iterator<Item = String> {
    let tracks = index.facts.audio_tracks.iter().zip(audio);
    tracks.filter_map(|(track, report)| {
        let span = report.span?;
        let what = format!("audio track {}", track.number);
        cut_off(&what, span.last_us - span.first_us, track.declared_us)
    })
}

/// Tracks of which an end is missing, for a job that takes no damaged source. What the
/// analysis saw was refused there: here are sound, and packets at the end that gave no
/// picture, of which a decoder may say nothing.
pub(crate) fn ends_early(
    index: &Index,
    spec: &Spec,
    reports: &[ShardReport],
    audio: &[AudioReport],
) -> Vec<String> {
    let mut early: Vec<String> = sound_ends_early(index, audio).collect();
    let source = &index.facts.source;
    // At a constant rate, and where the clock leaps, other times are given.
    if let Some(video) = &source.video
        && fps(spec).is_none()
        && !source.leaps
    {
        let shown = reports.iter().flat_map(|report| report.times.iter());
        let (shown, promised) = (span_of(shown), span_of(&index.times));
        let us = |ticks| rescale(ticks, video.time_base, MICROSECONDS);
        early.extend(cut_off("the video", us(shown), Some(us(promised))));
    }
    early
}

/// From the first time to the last.
fn span_of<'a>(times: impl IntoIterator<Item = &'a i64>) -> i64 {
    let mut times = times.into_iter();
    let first = times.next();
    let last = times.last().or(first);
    first.zip(last).map_or(0, |(first, last)| last - first)
}
