//! The beginning of a film as a file of its own, from the parts that are there: what
//! people look at while the rest is encoded. Neither it nor its proof is the output's.

use std::path::PathBuf;

use crate::{
    error::MediaError,
    facts::{
        containers::output_file,
        encoded::Part,
        index::Index,
        text::strings,
        times::{MICROSECONDS, rescale},
    },
    ffmpeg::{context::Context, listeners::ProgressListener},
    output::{args, join::Joining},
};

/// The parts of a preview.
#[derive(Clone, Debug, Default)]
pub struct PreviewParts {
    /// The first shards of the plan, in order.
    pub shards: Vec<Part>,
    /// Whole audio tracks by their number in the output: those that are encoded.
    pub audio: Vec<(usize, PathBuf)>,
}

/// See [`crate::preview`].
pub(crate) async fn preview(
    context: &Context<'_>,
    index: &Index,
    parts: &PreviewParts,
) -> Result<PathBuf, MediaError> {
    let mut joining = Joining::begin(context.spec, index, context.work_dir)?;
    let reports = joining.take_rest(&parts.shards)?;
    let video = joining.finish(context, reports).await?;
    let arguments = arguments(context, index, parts, end_us(&video.times, video.base));
    let mut listener = ProgressListener::new(&|_| {});
    let exit = context.ffmpeg(&arguments, &mut listener).await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    Ok(context.work_dir.join(output_file(context.spec)))
}

/// When the last frame has been seen, which is taken to last as long as the one
/// before it.
fn end_us(times: &[i64], base: crate::facts::times::Ratio) -> i64 {
    let end = match times {
        [.., before, last] => last.saturating_add(last - before),
        [last] => last.saturating_add(1),
        [] => 0,
    };
    rescale(end, base, MICROSECONDS)
}

/// Those of the assembly, without what belongs to the whole film alone, and no
/// longer than its pictures.
fn arguments(
    context: &Context<'_>,
    index: &Index,
    parts: &PreviewParts,
    end_us: i64,
) -> Vec<String> {
    let mut of_these = index.clone();
    let facts = &mut of_these.facts;
    (facts.extras, facts.metadata) = (Vec::new(), None);
    let all = std::mem::take(&mut facts.audio_tracks);
    let (tracks, files): (Vec<_>, Vec<_>) = parts
        .audio
        .iter()
        .filter_map(|(number, file)| Some((all.get(*number)?.clone(), file.clone())))
        .unzip();
    facts.audio_tracks = tracks;
    let mut arguments = args::assemble(&of_these, context.spec, &files, &[], None);
    let output = arguments.pop();
    // Times are kept, so that it is counted from zero and not from the start.
    arguments.extend(strings(&["-t", &format!("{}us", end_us.max(1))]));
    arguments.extend(output);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::times::Ratio;

    #[test]
    fn it_ends_when_its_last_picture_does() {
        let base = Ratio { num: 1, den: 24 };
        assert_eq!(end_us(&[0, 1, 2, 23], base), 44 * 1_000_000 / 24);
        assert_eq!(end_us(&[0, 1, 2], base), 125_000);
        assert_eq!(end_us(&[24], base), 1_041_667);
        assert_eq!(end_us(&[], base), 0);
    }
}
