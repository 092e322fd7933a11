//! What belongs to a film beside pictures and sound: subtitles, attachments
//! and cover pictures, taken out of the source into one small file in which
//! they are already as the output will have them.

use reelraft_model::spec::{Container, Spec, Subtitles};
use serde::{Deserialize, Serialize};

use crate::{
    Context,
    analysis::probe::Stream,
    audio::encode::scan_own,
    error::MediaError,
    facts::{
        index::Index,
        labels::{self, Label},
        report::ExtrasReport,
    },
    ffmpeg::{
        args::{Input, beside, open, quiet, words},
        log::{Advance, LOG_ERRORS},
    },
    limits::{EXTRAS_MAX, SHIFT_SECONDS},
    output::covers,
    video::shard::{Encoded, hash},
};

/// What an extra is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A subtitle track.
    Subtitle,
    /// A file of its own, as a font.
    Attachment,
    /// A picture to show beside the film.
    Cover,
}

impl Kind {
    /// The word in the proof.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Subtitle => "subtitle",
            Kind::Attachment => "attachment",
            Kind::Cover => "cover",
        }
    }

    /// ffmpeg's letter for streams of this kind.
    pub fn letter(self) -> &'static str {
        match self {
            Kind::Subtitle => "s",
            Kind::Attachment => "t",
            Kind::Cover => "v",
        }
    }
}

/// A stream that is taken along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// Number of the stream in the source.
    pub stream: u32,
    /// What it is.
    pub kind: Kind,
    /// The encoder that makes it fit, or `copy`.
    pub encoder: String,
    /// What it is called and meant for.
    pub label: Label,
}

/// Subtitles made of text, which can be made into one another.
const TEXT: [&str; 13] = [
    "subrip",
    "srt",
    "ass",
    "ssa",
    "webvtt",
    "mov_text",
    "text",
    "microdvd",
    "subviewer",
    "subviewer1",
    "jacosub",
    "sami",
    "realtext",
];

/// Subtitles that Matroska holds as they are.
const IN_MATROSKA: [&str; 9] = [
    "subrip",
    "ass",
    "ssa",
    "webvtt",
    "text",
    "hdmv_pgs_subtitle",
    "hdmv_text_subtitle",
    "dvd_subtitle",
    "dvb_subtitle",
];

/// How a subtitle gets into a container: its encoder, or why it does not.
fn encoder(container: Container, codec: &str) -> Option<&'static str> {
    let text = TEXT.contains(&codec);
    match container {
        Container::Mkv if IN_MATROSKA.contains(&codec) => Some("copy"),
        Container::Mkv if text => Some("srt"),
        Container::Webm if codec == "webvtt" => Some("copy"),
        Container::Webm if text => Some("webvtt"),
        Container::Mp4 | Container::Mov if codec == "mov_text" => Some("copy"),
        Container::Mp4 | Container::Mov if text => Some("mov_text"),
        _ => None,
    }
}

/// Whether a container shows this picture as its cover. QuickTime and WebM
/// have no place for one; muxers refuse one whose size can't be read.
fn shows_cover(container: Container, stream: &Stream) -> bool {
    matches!(
        container,
        Container::Mp4 | Container::M4a | Container::Flac | Container::Mkv
    ) && matches!(stream.codec(), "mjpeg" | "png")
        && stream.has_size()
}

/// Whether Matroska can be told what this attachment is, which it insists on.
fn is_named(stream: &Stream) -> bool {
    let tags = Label::of(stream).tags;
    tags.contains_key("filename") && tags.contains_key("mimetype")
}

/// The extras a job takes, subtitles first; what is left out goes to `notes`.
pub(crate) fn choose(spec: &Spec, streams: &[Stream], notes: &mut Vec<String>) -> Vec<Extra> {
    let container = spec.container();
    let mut extras = Vec::new();
    let mut take = |stream: &Stream, kind, encoder: &str| {
        let mut label = Label::of(stream);
        if kind == Kind::Cover && covers::attached(container) {
            covers::name(&mut label, stream.codec());
        }
        extras.push(Extra {
            stream: stream.index,
            kind,
            encoder: encoder.to_string(),
            label,
        });
    };
    let mut leave = |what: &str, stream: &Stream| {
        let codec = match stream.codec() {
            "" => "unknown",
            codec => codec,
        };
        notes.push(format!(
            "{what} ({codec}) can't be kept in {} and is left out",
            container.name()
        ));
    };
    if spec.subtitles() == Subtitles::Keep {
        let subtitles = streams.iter().filter(|stream| stream.is("subtitle"));
        for (number, stream) in (1..).zip(subtitles) {
            match encoder(container, stream.codec()) {
                Some(encoder) => take(stream, Kind::Subtitle, encoder),
                None => leave(&format!("subtitle track {number}"), stream),
            }
        }
    }
    if !spec.strip_metadata {
        for stream in streams {
            if stream.is("attachment") {
                match container {
                    Container::Mkv if is_named(stream) => take(stream, Kind::Attachment, "copy"),
                    _ => leave("an attachment", stream),
                }
            }
        }
        for stream in streams.iter().filter(|stream| stream.has("attached_pic")) {
            if shows_cover(container, stream) {
                take(stream, Kind::Cover, "copy");
            } else {
                leave("a cover picture", stream);
            }
        }
    }
    if extras.len() > EXTRAS_MAX {
        let over = extras.len() - EXTRAS_MAX;
        notes.push(format!(
            "{over} subtitles or attachments too many are left out"
        ));
        extras.truncate(EXTRAS_MAX);
    }
    extras
}

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

/// How extras are kept between the source and the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtrasForm {
    /// Plain MP4: what ends a cue is a packet of its own, and with a shift
    /// the last one would last as much longer.
    Mp4,
    /// Matroska, late by the shift.
    Matroska,
}

impl ExtrasForm {
    /// The form for a spec.
    pub fn of(spec: &Spec) -> ExtrasForm {
        match spec.container() {
            Container::Mkv | Container::Webm => ExtrasForm::Matroska,
            _ => ExtrasForm::Mp4,
        }
    }

    /// Name in the work folder.
    fn file(self) -> &'static str {
        match self {
            ExtrasForm::Mp4 => "extras.mp4",
            ExtrasForm::Matroska => "extras.mkv",
        }
    }

    /// ffmpeg's demuxer for it.
    pub fn demuxer(self) -> &'static str {
        match self {
            ExtrasForm::Mp4 => "mov",
            ExtrasForm::Matroska => "matroska",
        }
    }

    /// Whether its times are late by the shift.
    pub fn shifted(self) -> bool {
        self == ExtrasForm::Matroska
    }
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

/// Labels of the extras of a kind, in order.
pub(crate) fn labels_of(extras: &[Extra], kind: Kind) -> Vec<&Label> {
    extras
        .iter()
        .filter(|extra| extra.kind == kind)
        .map(|extra| &extra.label)
        .collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn taken(container: &str, strip: bool) -> (Vec<(u32, String)>, usize) {
        let streams: Vec<Stream> = serde_json::from_str(
            r#"[{"index":0,"codec_type":"video","codec_name":"h264"},
            {"index":1,"codec_type":"subtitle","codec_name":"ass"},
            {"index":2,"codec_type":"subtitle","codec_name":"dvd_subtitle"},
            {"index":3,"codec_type":"subtitle","codec_name":"mov_text"},
            {"index":4,"codec_type":"attachment","tags":{"filename":"f.ttf","mimetype":"font/ttf"}},
            {"index":5,"codec_type":"video","codec_name":"png","width":9,"height":9,"disposition":{"attached_pic":1}},
            {"index":6,"codec_type":"video","codec_name":"mjpeg","width":0,"height":0,"disposition":{"attached_pic":1}},
            {"index":7,"codec_type":"attachment","tags":{"filename":"f.ttf","mimetype":""}}]"#,
        )
        .unwrap();
        let request = SpecRequest {
            container: container.into(),
            strip_metadata: strip,
            ..Default::default()
        };
        let mut notes = Vec::new();
        let extras = choose(&resolve(&request).unwrap(), &streams, &mut notes);
        let taken = extras
            .into_iter()
            .map(|extra| (extra.stream, extra.encoder));
        (taken.collect(), notes.len())
    }

    #[test]
    fn each_container_takes_what_it_can_and_the_rest_is_named() {
        let own = |list: &[(u32, &str)]| -> Vec<(u32, String)> {
            list.iter()
                .map(|(at, word)| (*at, word.to_string()))
                .collect()
        };
        let matroska = own(&[
            (1, "copy"),
            (2, "copy"),
            (3, "srt"),
            (4, "copy"),
            (5, "copy"),
        ]);
        assert_eq!(taken("mkv", false), (matroska.clone(), 2));
        assert_eq!(taken("mkv", true), (matroska[..3].to_vec(), 0));
        let mp4 = own(&[(1, "mov_text"), (3, "copy"), (5, "copy")]);
        assert_eq!(taken("mp4", false), (mp4, 4));
        let mov = own(&[(1, "mov_text"), (3, "copy")]);
        assert_eq!(taken("mov", false), (mov, 5));
        assert_eq!(
            taken("webm", true),
            (own(&[(1, "webvtt"), (3, "webvtt")]), 1)
        );
        assert_eq!(taken("flac", false), (own(&[(5, "copy")]), 6));
    }
}
