//! The checks of an assembly (P3) that need no tool: the parts are those of the
//! plan, and the output has the frames that were encoded.

use serde_json::Value;

use crate::{
    error::MediaError,
    facts::{
        encoded::{Part, hash},
        index::Index,
        report::{AudioReport, ExtrasReport, ShardReport},
        times::{Ratio, Span, rescale},
    },
    ffmpeg::packet_scan::PacketScan,
    limits::SYNC_SLACK_US,
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

/// Every pass over the whole source read the pictures at the same times, so sound
/// and subtitles lie beside them as one pass would put them.
pub(crate) fn check_clock(
    index: &Index,
    shards: &[ShardReport],
    audio: &[AudioReport],
    extras: &ExtrasReport,
) -> Result<(), MediaError> {
    let facts = &index.facts;
    if !facts.source.discontinuous || facts.source.video.is_none() {
        return Ok(());
    }
    // Shards are held against the packets' times, frame by frame.
    let passes = shards.iter().filter(|report| report.head.single);
    let pictures = passes.map(|report| &report.head.clock);
    let clocks: Vec<&Option<String>> = pictures
        .chain(audio.iter().map(|report| &report.clock))
        .chain(index.has_extras().then_some(&extras.clock))
        .collect();
    // Of a clock that leaps, the passes alone know what one pass makes.
    let right = match facts.source.leaps {
        true => clocks.first().and_then(|clock| clock.as_ref()),
        false => facts.clock.as_ref(),
    };
    if clocks
        .iter()
        .all(|clock| clock.is_some() && clock.as_ref() == right)
    {
        return Ok(());
    }
    unproven(
        ONE_CLOCK,
        "pictures and what lies beside them were read by clocks that differ",
    )
}

/// Name of [`check_clock`] in the proof.
pub(crate) const ONE_CLOCK: &str = "sound-and-pictures-by-one-clock";

/// A copy of AAC that lost its decoder's configuration has all its packets, but players
/// stay silent.
///
/// # Errors
/// [`MediaError::Unproven`] by the name [`HAS_HEADER`].
pub(crate) fn check_sound_headers(description: Option<&Value>) -> Result<(), MediaError> {
    let streams = description.and_then(|shown| shown["streams"].as_array());
    let lost = streams.into_iter().flatten().find(|stream| {
        stream["codec_name"] == "aac" && stream["extradata_size"].as_u64().unwrap_or(0) == 0
    });
    match lost {
        Some(stream) => unproven(
            HAS_HEADER,
            &format!(
                "stream {} is AAC without its decoder's configuration",
                stream["index"]
            ),
        ),
        None => Ok(()),
    }
}

/// Name of [`check_sound_headers`] in the proof.
pub(crate) const HAS_HEADER: &str = "audio-has-its-header";

/// A track lies beside the pictures of the output as it was encoded. MP4 and
/// Matroska may move what they store, by `pictures_moved_us` here, but only all of
/// it together. `paged` tracks have no certain first time.
pub(crate) fn check_sync(
    track: usize,
    muxed: &PacketScan,
    encoded: Option<Span>,
    paged: bool,
    pictures_moved_us: i64,
) -> Result<(), MediaError> {
    let (Some(muxed), Some(encoded)) = (muxed.span(), encoded) else {
        return unproven(IN_SYNC, &format!("track {track} has no times"));
    };
    let moved = |muxed: i64, encoded: i64| muxed - encoded - pictures_moved_us;
    let last = moved(muxed.last_us, encoded.last_us);
    let first = match paged {
        true => last,
        false => moved(muxed.first_us, encoded.first_us),
    };
    match first.abs().max(last.abs()) <= SYNC_SLACK_US {
        true => Ok(()),
        false => unproven(
            IN_SYNC,
            &format!("track {track} begins {first} us and ends {last} us late"),
        ),
    }
}

/// Name of [`check_sync`] in the proof.
pub(crate) const IN_SYNC: &str = "audio-beside-pictures";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{
        extra::{Extra, ExtraKind},
        index::tests::sample,
    };

    fn encoded(clock: Option<&str>) -> AudioReport {
        AudioReport {
            packets: 2,
            complaints: Vec::new(),
            complaints_total: 0,
            blake3: String::new(),
            clock: clock.map(str::to_string),
            span: None,
        }
    }

    #[test]
    fn passes_that_read_other_clocks_are_noticed() {
        let mut index = sample();
        let check_clock = |index: &Index, shards: &[ShardReport], audio: &[AudioReport]| {
            super::check_clock(index, shards, audio, &ExtrasReport::default())
        };
        assert!(check_clock(&index, &[], &[encoded(None)]).is_ok());
        index.facts.source.discontinuous = true;
        index.facts.clock = Some("a".into());
        assert!(check_clock(&index, &[], &[encoded(Some("a"))]).is_ok());
        for other in [Some("b"), None] {
            let error = check_clock(&index, &[], &[encoded(Some("a")), encoded(other)]);
            assert!(error.is_err(), "{other:?}");
        }
        index.facts.extras = vec![Extra {
            stream: 2,
            kind: ExtraKind::Subtitle,
            encoder: "copy".into(),
            label: Default::default(),
        }];
        for (clock, right) in [(Some("a"), true), (Some("b"), false), (None, false)] {
            let extras = ExtrasReport {
                clock: clock.map(str::to_string),
                ..Default::default()
            };
            let checked = super::check_clock(&index, &[], &[encoded(Some("a"))], &extras);
            assert_eq!(checked.is_ok(), right, "{clock:?}");
        }
        index.facts.extras.clear();
        index.facts.clock = None;
        index.facts.source.leaps = true;
        assert!(check_clock(&index, &[], &[encoded(Some("b")), encoded(Some("b"))]).is_ok());
        assert!(check_clock(&index, &[], &[encoded(Some("b")), encoded(Some("a"))]).is_err());
    }

    #[test]
    fn sound_that_was_moved_without_the_pictures_is_noticed() {
        let scan = |times: [i64; 2]| {
            let mut scan = PacketScan::default();
            scan.times = times.to_vec();
            scan.base = Some(Ratio { num: 1, den: 1000 });
            scan
        };
        let span = Some(Span {
            first_us: 0,
            last_us: 4_000_000,
        });
        let check = |times, paged, moved_us| check_sync(0, &scan(times), span, paged, moved_us);
        assert!(check([0, 4000], false, 0).is_ok());
        assert!(check([23, 4023], false, 23_000).is_ok());
        assert!(check([0, 4032], false, 0).is_err());
        assert!(check([40, 4040], false, 0).is_err());
        assert!(check([40, 4000], true, 0).is_ok());
        assert!(check_sync(0, &scan([0, 1]), None, false, 0).is_err());
    }
}
