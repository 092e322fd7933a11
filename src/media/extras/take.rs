//! What belongs to a film beside pictures and sound: subtitles, attachments
//! and cover pictures, taken out of the source into one small file in which
//! they are already as the output will have them.

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    facts::{
        encoded::{Encoded, hash},
        extra::{Extra, ExtrasForm, Kind, labels_of},
        index::Index,
        labels::{self},
        report::ExtrasReport,
        text::words,
    },
    ffmpeg::{
        args::{beside, quiet},
        context::Context,
        input::{Input, open},
        listeners::Advance,
        log::LOG_ERRORS,
        packet_scan::scan_own,
    },
    limits::SHIFT_SECONDS,
};

/// Options that take the extras of a kind out of an input, as the reference
/// has them.
pub(crate) fn reference_args(extras: &[Extra], kind: Kind, covers_from: usize) -> Vec<String> {
    let mut args = Vec::new();
    let own = extras.iter().filter(|extra| extra.kind == kind);
    for (number, extra) in own.enumerate() {
        let number = match kind {
            Kind::Cover => covers_from + number,
            _ => number,
        };
        args.extend(words(&["-map", &format!("0:{}", extra.stream)]));
        args.extend(words(&[
            &format!("-c:{}:{number}", kind.letter()),
            &extra.encoder,
        ]));
    }
    args
}

/// Takes the extras out of the source. Without `-copyts`, so that ffmpeg
/// shifts them as a single pass does.
fn arguments(input: &Input, index: &Index, spec: &Spec) -> Vec<String> {
    let source = &index.head.source;
    let extras = &index.head.extras;
    let form = ExtrasForm::of(spec);
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    if form == ExtrasForm::Matroska {
        // A Matroska file without a packet can't be read, and attachments have
        // none: a moment of silence goes along, which the assembly leaves out.
        args.extend(words(&["-f", "lavfi", "-i", "anullsrc=duration=0.01"]));
        args.extend(words(&["-map", "1:a", "-c:a", "pcm_s16le"]));
    }
    for kind in [Kind::Subtitle, Kind::Attachment, Kind::Cover] {
        args.extend(reference_args(extras, kind, 0));
    }
    args.extend(words(&["-map_metadata", "-1", "-map_chapters", "-1"]));
    for kind in [Kind::Attachment, Kind::Cover] {
        args.extend(labels::args(kind.letter(), &labels_of(extras, kind), false));
    }
    args.extend(words(&["-fflags", "+bitexact", "-flags:s", "+bitexact"]));
    match form {
        ExtrasForm::Mp4 => args.extend(words(&["-f", "mp4"])),
        ExtrasForm::Matroska => args.extend(words(&[
            "-output_ts_offset",
            &SHIFT_SECONDS.to_string(),
            "-avoid_negative_ts",
            "disabled",
            "-f",
            "matroska",
        ])),
    }
    args.push(form.file().to_string());
    let own: Vec<u32> = extras.iter().map(|extra| extra.stream).collect();
    args.extend(beside(source, &index.mapped(), &own));
    args
}

/// Takes the extras out of the source.
///
/// # Errors
/// [`MediaError::NoExtras`] when the source has none.
pub async fn take_extras(context: &Context<'_>, index: &Index) -> Result<Encoded, MediaError> {
    if !index.has_extras() {
        return Err(MediaError::NoExtras);
    }
    let form = ExtrasForm::of(context.spec);
    let arguments = arguments(context.input, index, context.spec);
    let mut watch = Advance::new(&|_| {});
    let ended = context.ffmpeg(&arguments, &mut watch).await?;
    watch.complaints.judge("ffmpeg", ended)?;
    let path = context.work_dir.join(form.file());
    let mut cues = Vec::new();
    for number in 0..labels_of(&index.head.extras, Kind::Subtitle).len() {
        let stream = format!("s:{number}");
        cues.push(
            scan_own(context, &path, form.demuxer(), &stream)
                .await?
                .filled,
        );
    }
    let bytes = std::fs::metadata(&path)
        .map_err(MediaError::disk("reading the extras"))?
        .len();
    let report = ExtrasReport {
        cues,
        complaints: watch.complaints.kept,
        complaints_total: watch.complaints.total,
        blake3: hash(&path)?,
    };
    Ok(Encoded {
        path,
        frames: report.cues.iter().sum(),
        report: report.to_bytes(),
        bytes,
    })
}
