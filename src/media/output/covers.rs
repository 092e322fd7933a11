//! Covers in Matroska, where a cover is an attached file instead of a stream.
//! ffmpeg attaches files from the disk, so the assembly first extracts the
//! covers into files under names of our own.
//!
//! Not here: which covers are kept, and how other containers store them; see
//! `extras/`.

use std::path::Path;

use crate::{
    error::MediaError,
    facts::{containers::demuxer, extra::ExtrasIntermediate, index::Index, text::strings},
    ffmpeg::{
        args::global_options,
        context::Context,
        input::{Input, open_input},
        listeners::{ProgressListener, TextListener},
        log::LOG_ERRORS,
    },
};

/// Name of a cover in the work folder.
fn cover_file(number: usize) -> String {
    format!("cover-{number}")
}

/// Options that attach the first `count` extracted covers.
pub(crate) fn attach(count: usize) -> Vec<String> {
    (0..count)
        .flat_map(|number| ["-attach".to_string(), cover_file(number)])
        .collect()
}

/// Writes each cover of the extras to a file.
fn extract_covers_args(extras: &Path, count: usize) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-progress", "pipe:1", "-nostats"]));
    let demuxer = ExtrasIntermediate::Matroska.demuxer();
    args.extend(open_input(&Input::File(extras.into()), Some(demuxer)));
    for number in 0..count {
        args.extend(strings(&["-map", &format!("0:v:{number}"), "-c", "copy"]));
        args.extend(strings(&["-f", "image2pipe", &cover_file(number)]));
    }
    args
}

/// Extracts the covers for the muxer.
///
/// # Errors
/// [`MediaError::Unproven`] for an empty cover.
pub(crate) async fn extract_covers(
    context: &Context<'_>,
    extras: &Path,
    count: usize,
) -> Result<(), MediaError> {
    let arguments = extract_covers_args(extras, count);
    let mut listener = ProgressListener::new(&|_| {});
    let exit = context.ffmpeg(&arguments, &mut listener).await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    for number in 0..count {
        let bytes = std::fs::metadata(context.work_dir.join(cover_file(number)))
            .map_err(MediaError::disk("reading a cover"))?
            .len();
        if bytes == 0 {
            return Err(MediaError::Unproven {
                check: KEPT_CHECK,
                detail: format!("cover {number} is empty"),
            });
        }
    }
    Ok(())
}

/// Removes the extracted covers.
pub(crate) fn remove_extracted(context: &Context<'_>, count: usize) -> Result<(), MediaError> {
    (0..count).try_for_each(|number| {
        std::fs::remove_file(context.work_dir.join(cover_file(number)))
            .map_err(MediaError::disk("removing a cover"))
    })
}

/// The check that all extras are in the output: some muxers silently drop what
/// they can't store.
pub(crate) const KEPT_CHECK: &str = "extras-muxed-equal-taken";

/// Compares the numbers of attachments and covers in the output with those
/// taken.
///
/// # Errors
/// [`MediaError::Unproven`] if they differ.
pub(crate) async fn check_kept(
    context: &Context<'_>,
    index: &Index,
    output: &Path,
) -> Result<(), MediaError> {
    let taken = index.attached_counts();
    if taken == (0, 0) {
        return Ok(());
    }
    let demuxer = demuxer(context.spec);
    let mut args = strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-show_entries",
        "stream=codec_type:stream_disposition=attached_pic",
        "-of",
        "compact=p=0:nk=1",
    ]);
    args.extend(open_input(&Input::File(output.into()), Some(demuxer)));
    let mut text = TextListener::default();
    let exit = context.ffprobe(&args, &mut text).await?;
    text.diagnostics.check_exit("ffprobe", exit)?;
    let found = count(&text.out);
    if found == taken {
        return Ok(());
    }
    Err(MediaError::Unproven {
        check: KEPT_CHECK,
        detail: format!(
            "{} attachments and {} covers taken, {} and {} muxed",
            taken.0, taken.1, found.0, found.1
        ),
    })
}

/// Counts attachments and covers in a list of streams.
fn count(shown: &str) -> (usize, usize) {
    let lines = |wanted: fn(&str) -> bool| shown.lines().filter(|line| wanted(line)).count();
    (
        lines(|line| line.starts_with("attachment|")),
        lines(|line| line.starts_with("video|1")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_are_extracted_under_our_own_names() {
        let args = extract_covers_args("e.mkv".as_ref(), 2).join(" ");
        assert!(
            args.ends_with(
                "-i file:e.mkv -map 0:v:0 -c copy -f image2pipe cover-0 -map 0:v:1 -c copy -f image2pipe cover-1"
            ),
            "{args}"
        );
        assert_eq!(attach(2).join(" "), "-attach cover-0 -attach cover-1");
    }

    #[test]
    fn what_is_attached_is_counted() {
        let shown = "video|0\naudio|0\nattachment|0\nvideo|1\nsubtitle|0\nattachment|0\n";
        assert_eq!(count(shown), (2, 1));
    }
}
