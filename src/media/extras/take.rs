//! Takes subtitles, attachments and covers out of the source into one small
//! file, already encoded as the output will have them.

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
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
        log::LOG_ERRORS,
        packet_scan::scan_intermediate,
    },
    limits::SHIFT_SECONDS,
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
/// single pass does.
fn arguments(input: &Input, index: &Index, spec: &Spec) -> Vec<String> {
    let source = &index.facts.source;
    let extras = &index.facts.extras;
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
    let used: Vec<u32> = extras.iter().map(|extra| extra.stream).collect();
    args.extend(pass_along(index, spec, &used));
    args
}

/// Takes the extras out of the source.
///
/// # Errors
/// [`MediaError::NoExtras`] if the job has none.
pub async fn take_extras(context: &Context<'_>, index: &Index) -> Result<Encoded, MediaError> {
    if !index.has_extras() {
        return Err(MediaError::NoExtras);
    }
    let form = ExtrasIntermediate::of(context.spec);
    let arguments = arguments(context.input, index, context.spec);
    let mut listener = ProgressListener::new(&|_| {});
    // Where the clock leaps, this pass decodes the pictures too.
    let pictures = match index.facts.source.leaps {
        true => index.facts.picture.address_bytes(),
        false => 0,
    };
    let exit = context
        .ffmpeg_with(&arguments, pictures, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let path = context.work_dir.join(form.file());
    let mut cues = Vec::new();
    for number in 0..labels_of(&index.facts.extras, ExtraKind::Subtitle).len() {
        let stream = format!("s:{number}");
        cues.push(
            scan_intermediate(context, &path, form.demuxer(), &stream)
                .await?
                .filled,
        );
    }
    let bytes = std::fs::metadata(&path)
        .map_err(MediaError::disk("reading the extras"))?
        .len();
    let report = ExtrasReport {
        cues,
        complaints: listener.diagnostics.kept,
        complaints_total: listener.diagnostics.total,
        blake3: hash(&path)?,
    };
    Ok(Encoded {
        path,
        frames: report.cues.iter().sum(),
        report: report.to_bytes(),
        bytes,
        blake3: report.blake3,
    })
}
