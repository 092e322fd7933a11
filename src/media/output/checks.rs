//! The checks of an assembly (P3) that need no tool: the parts are those of the
//! plan, and the output has the frames that were encoded.

use crate::{
    error::MediaError,
    facts::{
        encoded::{Part, hash},
        index::Index,
        report::{AudioReport, ExtrasReport, ShardReport},
        times::{Ratio, rescale},
    },
    ffmpeg::packet_scan::PacketScan,
    video::timing::muxer_timescale,
};

pub(crate) fn unproven<T>(check: &'static str, detail: &str) -> Result<T, MediaError> {
    Err(MediaError::Unproven {
        check,
        detail: detail.to_string(),
    })
}

/// The reports belong to this plan: every range once, none missing.
pub(crate) fn check_plan(
    index: &Index,
    single: bool,
    reports: &[ShardReport],
) -> Result<(), MediaError> {
    if index.shards().is_empty() && reports.is_empty() {
        return Ok(());
    }
    if index.is_single_pass(single) {
        return match reports {
            [report] if report.head.single => Ok(()),
            _ => unproven("no-gap-no-overlap", "the film is not one shard"),
        };
    }
    let same = reports.len() == index.shards().len()
        && reports.iter().zip(index.shards()).all(|(report, planned)| {
            !report.head.single
                && (report.head.range.from_pts, report.head.range.to_pts)
                    == (planned.from_pts, planned.to_pts)
        });
    if !same {
        return unproven("no-gap-no-overlap", "the shards are not those of the plan");
    }
    check_joints(reports)
}

/// Neighbors decoded the frame at their joint alike. A decoder that starts in
/// the middle of a film may give wrong pictures at the right times without an
/// error; one that started further back gives the right ones.
fn check_joints(reports: &[ShardReport]) -> Result<(), MediaError> {
    for (number, pair) in (1..).zip(reports.windows(2)) {
        let (before, after) = (&pair[0].head.following, &pair[1].head.opening);
        if before.is_none() || before != after {
            return Err(MediaError::PlanMismatch {
                detail: format!(
                    "shard {number} begins with another picture than the one before it decodes there"
                ),
            });
        }
    }
    Ok(())
}

/// The audio tracks are those of the index, and their bytes are those encoded.
pub(crate) fn check_audio(index: &Index, audio: &[Part]) -> Result<Vec<AudioReport>, MediaError> {
    if audio.len() != index.facts.audio_tracks.len() {
        return unproven("audio-present", "the audio is not what the source promises");
    }
    audio
        .iter()
        .map(|(path, report)| {
            let report = AudioReport::from_bytes(report)?;
            if hash(path)? != report.blake3 {
                return unproven("audio-hash", "the audio's bytes are not those encoded");
            }
            Ok(report)
        })
        .collect()
}

/// The extras are those of the index, and their bytes are those taken. Returns
/// their report, an empty one without extras.
pub(crate) fn check_extras(
    index: &Index,
    extras: Option<&Part>,
) -> Result<ExtrasReport, MediaError> {
    let Some((path, report)) = extras else {
        return match index.has_extras() {
            false => Ok(ExtrasReport::default()),
            true => unproven("extras-present", "the extras of the source are not there"),
        };
    };
    let report = ExtrasReport::from_bytes(report)?;
    if hash(path)? != report.blake3 {
        return unproven("extras-hash", "the extras' bytes are not those taken");
    }
    Ok(report)
}

/// The output has every frame once, at its time. Its clock may be coarser
/// (Matroska counts milliseconds) and start elsewhere (MP4 puts a run-up into
/// an edit list, Matroska starts at the first decode time).
pub(crate) fn check_muxed(
    muxed: &PacketScan,
    base: Ratio,
    times: &[i64],
) -> Result<(), MediaError> {
    let mut shown = muxed.times.clone();
    shown.sort_unstable();
    if shown.len() != times.len() {
        return unproven(
            "muxed-equals-encoded",
            &format!("{} packets encoded, {} muxed", times.len(), shown.len()),
        );
    }
    let (Some(out), Some(&first), Some(&first_shown)) = (muxed.base, times.first(), shown.first())
    else {
        return unproven("muxed-equals-encoded", "there is no frame");
    };
    let exact = out.den == muxer_timescale(base) * out.num;
    for (time, shown) in times.iter().zip(&shown) {
        let expected = rescale(time - first, base, out);
        let off = (shown - first_shown).abs_diff(expected);
        // Both times are rounded to the coarser clock.
        if off > u64::from(!exact) {
            return unproven(
                "muxed-times-equal-decoded",
                &format!("{} instead of {expected}", shown - first_shown),
            );
        }
    }
    Ok(())
}
