//! Takes subtitles, attachments and covers out of the source into one small
//! file, already encoded as the output will have them.

use std::collections::BTreeMap;

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    extras::{
        cues::{self, Crowd, Cue},
        in_turn,
    },
    facts::{
        encoded::{Encoded, hash},
        extra::{Extra, ExtraKind, ExtrasIntermediate, labels_of},
        index::Index,
        labels,
        report::ExtrasReport,
        text::strings,
    },
    ffmpeg::{
        args::{clock_rule, global_options, pass_along},
        context::Context,
        input::{Input, open_source},
        listeners::ProgressListener,
        log::{Diagnostics, LOG_ERRORS},
        packet_scan::scan_intermediate,
    },
    limits::{CUES_AT_ONCE_MAX, CUES_MAX, SHIFT_SECONDS},
};

/// Options that map and encode the extras of one kind, as the reference does.
pub(crate) fn reference_args(extras: &[Extra], kind: ExtraKind, covers_from: usize) -> Vec<String> {
    let mut args = Vec::new();
    let of_kind = extras.iter().filter(|extra| extra.kind == kind);
    for (number, extra) in of_kind.enumerate() {
        let number = match kind {
            ExtraKind::Cover => covers_from + number,
            _ => number,
        };
        args.extend(strings(&["-map", &format!("0:{}", extra.stream)]));
        args.extend(strings(&[
            &format!("-c:{}:{number}", kind.letter()),
            &extra.encoder,
        ]));
    }
    args
}

/// Extracts the extras. Without `-copyts`, so that ffmpeg shifts them as a
/// single pass does. Cues that are converted for MP4 also come as text, and
/// with `text_alone` only so.
fn arguments(input: &Input, index: &Index, spec: &Spec, text_alone: bool) -> Vec<String> {
    let source = &index.facts.source;
    let all = &index.facts.extras;
    let kept = |extra: &&Extra| !(text_alone && in_turn::is_converted(extra));
    let extras: Vec<Extra> = all.iter().filter(kept).cloned().collect();
    let form = ExtrasIntermediate::of(spec);
    let mut args = global_options(LOG_ERRORS);
    args.extend(clock_rule(source));
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_source(input, source));
    if form == ExtrasIntermediate::Matroska {
        // A Matroska file without a packet can't be read, and attachments have
        // none. A moment of silence is added, which the assembly ignores.
        args.extend(strings(&["-f", "lavfi", "-i", "anullsrc=duration=0.01"]));
        args.extend(strings(&["-map", "1:a", "-c:a", "pcm_s16le"]));
    }
    if !extras.is_empty() {
        args.extend(output(&extras, form));
    }
    if form == ExtrasIntermediate::Mp4 {
        args.extend(in_turn::text_outputs(all));
    }
    let used: Vec<u32> = all.iter().map(|extra| extra.stream).collect();
    args.extend(pass_along(index, spec, &used));
    args
}

/// Maps, encodes and writes the extras.
fn output(extras: &[Extra], form: ExtrasIntermediate) -> Vec<String> {
    let mut args = Vec::new();
    for kind in [ExtraKind::Subtitle, ExtraKind::Attachment, ExtraKind::Cover] {
        args.extend(reference_args(extras, kind, 0));
    }
    args.extend(strings(&["-map_metadata", "-1", "-map_chapters", "-1"]));
    for kind in [ExtraKind::Attachment, ExtraKind::Cover] {
        args.extend(labels::args(kind.letter(), &labels_of(extras, kind), false));
    }
    args.extend(strings(&["-fflags", "+bitexact", "-flags:s", "+bitexact"]));
    match form {
        ExtrasIntermediate::Mp4 => args.extend(strings(&["-f", "mp4"])),
        ExtrasIntermediate::Matroska => args.extend(strings(&[
            "-output_ts_offset",
            &SHIFT_SECONDS.to_string(),
            "-avoid_negative_ts",
            "disabled",
            "-f",
            "matroska",
        ])),
    }
    args.push(form.file().to_string());
    args
}

/// See [`crate::take_extras`].
pub(crate) async fn take_extras(
    context: &Context<'_>,
    index: &Index,
) -> Result<Encoded, MediaError> {
    if !index.has_extras() {
        return Err(MediaError::NoExtras);
    }
    let form = ExtrasIntermediate::of(context.spec);
    let path = context.work_dir.join(form.file());
    let (cues, Extracted { diagnostics, clock }) = match form {
        ExtrasIntermediate::Mp4 => take_for_mp4(context, index).await?,
        ExtrasIntermediate::Matroska => {
            let extracted = extract(context, index, false).await?;
            (count_cues(context, index).await?, extracted)
        }
    };
    let bytes = std::fs::metadata(&path)
        .map_err(MediaError::disk("reading the extras"))?
        .len();
    let report = ExtrasReport {
        cues,
        complaints: diagnostics.complaints(),
        complaints_total: diagnostics.total,
        blake3: hash(&path)?,
        clock,
    };
    Ok(Encoded {
        path,
        frames: report.cues.iter().sum(),
        report: report.to_bytes(),
        bytes,
        blake3: report.blake3,
        payload: 0,
        score_micro: 0,
    })
}

/// What reading the source gave, beside the files.
struct Extracted {
    diagnostics: Diagnostics,
    /// Hash of the pictures' times, if the pass prints them.
    clock: Option<String>,
}

/// Reads the source and writes the extras. Without `text_alone`, MP4's muxer may
/// refuse a cue, which is in the diagnostics.
async fn extract(
    context: &Context<'_>,
    index: &Index,
    text_alone: bool,
) -> Result<Extracted, MediaError> {
    let arguments = arguments(context.input, index, context.spec, text_alone);
    let mut listener = ProgressListener::new(&|_| {});
    // To open a source ffmpeg decodes some of its pictures.
    let address_bytes = index.facts.picture.address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut listener)
        .await?;
    match listener.diagnostics.check_exit("ffmpeg", exit) {
        Err(MediaError::ToolFailed { .. }) if !text_alone && refuses(&listener.diagnostics) => {}
        other => other?,
    }
    Ok(Extracted {
        clock: listener.clock.digest(),
        diagnostics: listener.diagnostics,
    })
}

/// Whether MP4's muxer refuses something, which stops all outputs.
fn refuses(diagnostics: &Diagnostics) -> bool {
    let mut kept = diagnostics.messages();
    kept.any(|complaint| complaint.starts_with("mp4: "))
}

/// The cues of each subtitle track in the extras.
async fn count_cues(context: &Context<'_>, index: &Index) -> Result<Vec<u64>, MediaError> {
    let form = ExtrasIntermediate::of(context.spec);
    let path = context.work_dir.join(form.file());
    let mut counts = Vec::new();
    for number in 0..labels_of(&index.facts.extras, ExtraKind::Subtitle).len() {
        let stream = format!("s:{number}");
        let scan = scan_intermediate(context, &path, form.demuxer(), &stream).await?;
        counts.push(scan.filled);
    }
    Ok(counts)
}

/// Takes the extras for MP4, which shows one cue of a track at a time: tracks
/// that would lose some by that are written anew.
async fn take_for_mp4(
    context: &Context<'_>,
    index: &Index,
) -> Result<(Vec<u64>, Extracted), MediaError> {
    let extras = &index.facts.extras;
    let mut extracted = extract(context, index, false).await?;
    let refused = refuses(&extracted.diagnostics) && extras.iter().any(in_turn::is_converted);
    let mut counts = Vec::new();
    if refused {
        extracted = extract(context, index, true).await?;
    } else {
        counts = count_cues(context, index).await?;
    }
    let turned = {
        let (folder, extras) = (context.work_dir.to_path_buf(), extras.clone());
        let counts = counts.clone();
        tokio::task::spawn_blocking(move || in_turn::turned(&folder, &extras, &counts, refused))
            .await
            .map_err(|error| MediaError::Disk {
                what: "reading subtitles",
                error: std::io::Error::other(error),
            })??
    };
    let diagnostics = &mut extracted.diagnostics;
    for (number, crowd) in turned.crowded {
        if refused {
            return Err(over_limit(crowd));
        }
        diagnostics.note(format!("subtitle track {}: {}", number + 1, lost_by(crowd)));
    }
    let anew = turned.tracks;
    if !anew.is_empty() {
        let said = in_turn::rewrite(context, extras, &anew, refused).await?;
        said.messages()
            .for_each(|said| diagnostics.note(said.clone()));
        counts = count_cues(context, index).await?;
        check_written(&anew, &counts)?;
    }
    Ok((counts, extracted))
}

/// What happens to the cues of a track that MP4 takes as it is.
fn lost_by(crowd: Crowd) -> &'static str {
    match crowd {
        Crowd::AtOnce => "of cues shown at once only the last is kept",
        Crowd::InAll => "it has too many cues, or too long gaps: some may be lost or misplaced",
    }
}

/// Too many cues for a track that MP4 does not take as it is.
fn over_limit(crowd: Crowd) -> MediaError {
    let (what, max) = match crowd {
        Crowd::AtOnce => ("the number of subtitles shown at once", CUES_AT_ONCE_MAX),
        Crowd::InAll => ("the number of subtitles and of pieces of gaps", CUES_MAX),
    };
    MediaError::OverLimit {
        what,
        found: max as u64 + 1,
        max: max as u64,
    }
}

/// Each cue that was to be written is there.
fn check_written(anew: &BTreeMap<usize, Vec<Cue>>, counts: &[u64]) -> Result<(), MediaError> {
    for (number, cues) in anew {
        let (wanted, written) = (cues::readable(cues), counts.get(*number).copied());
        if written.is_none_or(|written| written < wanted) {
            return Err(MediaError::Unproven {
                check: "subtitles-written-equal-taken",
                detail: format!("{wanted} cues taken, {written:?} written of track {number}"),
            });
        }
    }
    Ok(())
}
