//! Puts the cues that MP4 can't hold as they are into its extras anew. This
//! reads nothing but the step's own files.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::MediaError,
    extras::cues::{self, Crowd, Cue},
    facts::{
        extra::{Extra, ExtraKind, ExtrasIntermediate, labels_of},
        labels,
        text::strings,
    },
    ffmpeg::{
        args::global_options,
        context::Context,
        input::{Input, open_input},
        listeners::ProgressListener,
        log::{Diagnostics, LOG_ERRORS},
    },
    limits::CUES_BYTES_MAX,
};

/// Whether its cues are converted into MP4's.
pub(crate) fn is_converted(extra: &Extra) -> bool {
    extra.kind == ExtraKind::Subtitle && extra.encoder == "mov_text"
}

/// The numbers of the subtitle tracks that are converted into MP4's, with the
/// extras that they are.
fn converted(extras: &[Extra]) -> impl Iterator<Item = (usize, &Extra)> {
    extras
        .iter()
        .filter(|extra| extra.kind == ExtraKind::Subtitle)
        .enumerate()
        .filter(|(_, extra)| is_converted(extra))
}

/// Name of a track's cues as text in the work folder.
fn text_file(number: usize) -> String {
    format!("cues-{number}.srt")
}

/// Options that also write the converted cues as text.
pub(crate) fn text_outputs(extras: &[Extra]) -> Vec<String> {
    converted(extras)
        .flat_map(|(number, extra)| {
            let map = format!("0:{}", extra.stream);
            let file = text_file(number);
            strings(&["-map", &map, "-c:s", "srt", "-f", "srt", &file])
        })
        .collect()
}

/// The converted tracks in turns, where they must be written anew.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    pub tracks: BTreeMap<usize, Vec<Cue>>,
    /// Those that can't be brought into turns, and why.
    pub crowded: BTreeMap<usize, Crowd>,
}

/// Brings the converted tracks into turns that would lose cues otherwise: fewer
/// are in the extras by `counts`, or their muxer has `refused` them all.
pub(crate) fn turned(
    work_dir: &Path,
    extras: &[Extra],
    counts: &[u64],
    refused: bool,
) -> Result<Turned, MediaError> {
    let mut turned = Turned::default();
    for (number, _) in converted(extras) {
        let path = work_dir.join(text_file(number));
        let disk = || MediaError::disk("reading subtitles");
        let bytes = std::fs::metadata(&path).map_err(disk())?.len();
        if bytes > CUES_BYTES_MAX as u64 {
            turned.crowded.insert(number, Crowd::InAll);
            continue;
        }
        let text = std::fs::read(&path).map_err(disk())?;
        let cues = cues::parse(&String::from_utf8_lossy(&text));
        let fewer = |count: &u64| *count < cues::readable(&cues);
        if !refused && !cues::lose_by_turns(&cues) && !counts.get(number).is_some_and(fewer) {
            continue;
        }
        match cues::in_turn(&cues) {
            Ok(turns) => drop(turned.tracks.insert(number, turns)),
            Err(crowd) => drop(turned.crowded.insert(number, crowd)),
        }
    }
    Ok(turned)
}

/// Writes the given tracks' cues into the extras in place of those there;
/// `none_there` says that none of a converted track is.
pub(crate) async fn rewrite(
    context: &Context<'_>,
    extras: &[Extra],
    tracks: &BTreeMap<usize, Vec<Cue>>,
    none_there: bool,
) -> Result<Diagnostics, MediaError> {
    for (number, cues) in tracks {
        let path = context.work_dir.join(text_file(*number));
        std::fs::write(path, cues::write(cues)).map_err(MediaError::disk("writing subtitles"))?;
    }
    let arguments = arguments(extras, tracks, none_there);
    let mut listener = ProgressListener::new(&|_| {});
    let exit = context.ffmpeg(&arguments, &mut listener).await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let folder = context.work_dir;
    std::fs::rename(folder.join(REWRITTEN), folder.join(FORM.file()))
        .map_err(MediaError::disk("replacing the extras"))?;
    Ok(listener.diagnostics)
}

const FORM: ExtrasIntermediate = ExtrasIntermediate::Mp4;

/// Name of the new extras in the work folder.
const REWRITTEN: &str = "extras-in-turn.mp4";

fn arguments(
    extras: &[Extra],
    tracks: &BTreeMap<usize, Vec<Cue>>,
    none_there: bool,
) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-progress", "pipe:1", "-nostats", "-copyts"]));
    let old = extras
        .iter()
        .any(|extra| !(none_there && is_converted(extra)));
    if old {
        let input = Input::File(FORM.file().into());
        args.extend(open_input(&input, Some(FORM.demuxer())));
    }
    for number in tracks.keys() {
        let input = Input::File(text_file(*number).into());
        args.extend(open_input(&input, Some("srt")));
    }
    let (mut text, mut there) = (usize::from(old), 0);
    let subtitles = extras.iter().filter(|own| own.kind == ExtraKind::Subtitle);
    for (number, extra) in subtitles.enumerate() {
        let codec = format!("-c:s:{number}");
        let (map, encoder) = match tracks.contains_key(&number) {
            true => (format!("{text}:s:0"), "mov_text"),
            false => (format!("0:s:{there}"), "copy"),
        };
        text += usize::from(tracks.contains_key(&number));
        there += usize::from(!(none_there && is_converted(extra)));
        args.extend(strings(&["-map", &map, &codec, encoder]));
    }
    let covers = labels_of(extras, ExtraKind::Cover);
    for number in 0..covers.len() {
        let (map, codec) = (format!("0:v:{number}"), format!("-c:v:{number}"));
        args.extend(strings(&["-map", &map, &codec, "copy"]));
    }
    args.extend(strings(&["-map_metadata", "-1", "-map_chapters", "-1"]));
    args.extend(labels::args("v", &covers, false));
    args.extend(strings(&["-fflags", "+bitexact", "-flags:s", "+bitexact"]));
    args.extend(strings(&["-f", "mp4", REWRITTEN]));
    args
}
