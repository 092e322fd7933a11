//! One picture of a source, for people to look at. No job's bytes depend on it.

use std::path::PathBuf;

use crate::{
    error::MediaError,
    facts::{index::Index, text::strings},
    ffmpeg::{
        args::global_options, context::Context, input::open_source, listeners::ProgressListener,
        log::LOG_ERRORS,
    },
};

/// Where it is written, in the step's folder.
const FILE: &str = "picture.jpg";

fn arguments(context: &Context<'_>, index: &Index, at_ms: u64, width: u32) -> Option<Vec<String>> {
    let source = &index.facts.source;
    let stream = source.video.as_ref()?.stream;
    let mut args = global_options(LOG_ERRORS);
    let at = format!("{}.{:03}", at_ms / 1000, at_ms % 1000);
    args.extend(strings(&["-threads", "1", "-ss", &at]));
    args.extend(open_source(context.input, source));
    args.extend(strings(&["-map", &format!("0:{stream}"), "-frames:v", "1"]));
    args.extend(strings(&["-vf", &format!("scale={width}:-2")]));
    args.extend(strings(&[
        "-c:v", "mjpeg", "-q:v", "5", "-threads", "1", "-f", "mjpeg", FILE,
    ]));
    Some(args)
}

/// See [`crate::take_picture`].
pub(crate) async fn take_picture(
    context: &Context<'_>,
    index: &Index,
    at_ms: u64,
    width: u32,
) -> Result<Option<PathBuf>, MediaError> {
    let Some(args) = arguments(context, index, at_ms, width) else {
        return Ok(None);
    };
    let mut listener = ProgressListener::new(&|_| {});
    let address_bytes = index.facts.picture.address_bytes();
    let exit = context
        .ffmpeg_with(&args, address_bytes, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let path = context.work_dir.join(FILE);
    let made = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    Ok(made.then_some(path))
}
