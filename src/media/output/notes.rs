//! What only the whole film shows, and an analysis can't know: said beside what
//! the analysis has noted.

use reelraft_model::spec::Spec;

use crate::{
    facts::{
        declared::cut_off,
        index::Index,
        report::{AudioReport, ShardReport},
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
    for (track, report) in index.facts.audio_tracks.iter().zip(audio) {
        let Some(span) = report.span else { continue };
        let what = format!("audio track {}", track.number);
        notes.extend(cut_off(
            &what,
            span.last_us - span.first_us,
            track.declared_us,
        ));
    }
    notes
}
