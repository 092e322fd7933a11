//! What other crates call: the steps of a job, and the checks of the tools, as
//! boxed futures. The code of a future is made where it is polled, so an
//! `async fn` would be compiled again by every program and test that calls it;
//! behind a box it is compiled once, here.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use crate::{
    analysis::{analyze, early::EarlySink},
    audio::encode,
    benchmark,
    error::MediaError,
    extras::take,
    facts::{
        encoded::{Encoded, Parts},
        index::Index,
        plan::ShardRange,
    },
    ffmpeg::{
        cancel::Cancel,
        context::Context,
        encoders::{self, Build, Lack},
        given::{self, Given},
        sandbox_check::{self, SandboxCheck},
        tools::Tools,
    },
    output::{
        assemble::{self, Assembled},
        join::Joining,
        measure::{self, FilmPart, PartMeasured},
        preview::{self, PreviewParts},
    },
    trial::{self, Lacks, Trial},
    video::{picture, shard},
};

/// What is to come, compiled here.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a step comes to.
pub type Step<'a, T> = Boxed<'a, Result<T, MediaError>>;

/// Receives how far a step has come.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Analyzes a source; the index holds all that later steps need.
///
/// # Errors
/// [`crate::error::Class::Final`] if the source itself is refused.
pub fn analyze<'a>(context: &'a Context<'a>, source_bytes: u64) -> Step<'a, Index> {
    Box::pin(analyze::analyze(context, source_bytes, None))
}

/// Analyzes a source that may still be coming, and gives those shards away that are
/// certain before the rest is known.
///
/// # Errors
/// Those of [`analyze`].
pub fn analyze_early<'a>(
    context: &'a Context<'a>,
    source_bytes: u64,
    sink: &'a EarlySink,
) -> Step<'a, Index> {
    Box::pin(analyze::analyze(context, source_bytes, Some(sink)))
}

/// Encodes the frames of a range. With `single`, encodes the whole film in one
/// plain pass, whatever the packets promised. `progress` receives the frames
/// encoded so far, and restarts when decoding does.
///
/// # Errors
/// [`MediaError::PlanMismatch`] when decoding gives other frames than promised
/// even from the beginning: then the film must be one shard.
pub fn encode_shard<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    range: ShardRange,
    single: bool,
    progress: Progress<'a>,
) -> Step<'a, Encoded> {
    Box::pin(shard::encode_shard(context, index, range, single, progress))
}

/// Encodes one audio track, by its number from 0 in the output. `progress`
/// receives the milliseconds done so far.
///
/// # Errors
/// [`MediaError::NoSuchAudioTask`] for a number beyond the output's tracks.
pub fn encode_audio<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    track: u32,
    progress: Progress<'a>,
) -> Step<'a, Encoded> {
    Box::pin(encode::encode_audio(context, index, track, progress))
}

/// Takes subtitles, attachments and covers out of the source.
///
/// # Errors
/// [`MediaError::NoExtras`] if the job has none.
pub fn take_extras<'a>(context: &'a Context<'a>, index: &'a Index) -> Step<'a, Encoded> {
    Box::pin(take::take_extras(context, index))
}

/// Assembles the output from its parts.
///
/// # Errors
/// [`MediaError::Unproven`] names the check that failed,
/// [`MediaError::PlanMismatch`] means that the shards' codec headers or joints
/// differ.
pub fn assemble<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    single: bool,
    parts: &'a Parts,
) -> Step<'a, Assembled> {
    Box::pin(assemble::assemble(context, index, single, parts))
}

/// The same where some shards have been joined before: `parts` has the others.
///
/// # Errors
/// As [`assemble`].
pub fn assemble_rest<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    single: bool,
    parts: &'a Parts,
    joining: Joining,
) -> Step<'a, Assembled> {
    let rest = assemble::assemble_rest(context, index, single, parts, joining);
    Box::pin(rest)
}

/// Compares shards of an output with its source, frame by frame. `progress` receives the
/// frames compared so far.
///
/// # Errors
/// [`MediaError::BadRecord`] for another output's proof, [`MediaError::Unproven`] where
/// the source does not give the output's frames, and what keeps ffmpeg from running.
pub fn measure_output<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    part: &'a FilmPart,
    progress: Progress<'a>,
) -> Step<'a, PartMeasured> {
    Box::pin(measure::measure_output(context, index, part, progress))
}

/// Makes a film of its first shards, and of those audio tracks that are there, in the
/// output's container; its file. Subtitles, tags and chapters are left out.
///
/// # Errors
/// What the disk refuses, what keeps ffmpeg from running, and shards that do not
/// follow one another.
pub fn preview<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    parts: &'a PreviewParts,
) -> Step<'a, PathBuf> {
    Box::pin(preview::preview(context, index, parts))
}

/// Makes a JPEG of the picture that is seen at a time of the source, counted from
/// its start; its file, or `None` where there is no picture then.
///
/// # Errors
/// What keeps ffmpeg from running or from reading the source.
pub fn take_picture<'a>(
    context: &'a Context<'a>,
    index: &'a Index,
    at_ms: u64,
    width: u32,
) -> Step<'a, Option<PathBuf>> {
    Box::pin(picture::take_picture(context, index, at_ms, width))
}

/// Makes a small job of each kind in `folder`, which must be an empty folder
/// with an absolute path: analysis, two shards and more, sound, assembly and
/// proof. None is made of a codec or container that is known to be lacking. A job is made
/// without sound if its format is known to be lacking, and made again without it
/// where it fails: that tells which of both is to blame. Takes some seconds.
pub fn try_jobs<'a>(
    tools: &'a Tools,
    folder: &'a Path,
    known: &'a [Lack],
) -> Boxed<'a, Vec<Trial>> {
    Box::pin(trial::try_jobs(tools, folder, known))
}

/// As [`benchmark::measure_speeds`].
pub fn measure_speeds<'a>(
    tools: &'a Tools,
    folder: &'a Path,
    known: &'a [Lack],
) -> Boxed<'a, BTreeMap<String, u64>> {
    Box::pin(benchmark::measure_speeds(tools, folder, known))
}

/// Makes a small job of each kind, as [`try_jobs`] does, and adds what fails to
/// what the probe of the build showed to be lacking, `known`. A failure that may
/// pass adds nothing, but another trial is due.
pub fn find_lacks<'a>(tools: &'a Tools, folder: &'a Path, known: Vec<Lack>) -> Boxed<'a, Lacks> {
    Box::pin(trial::find_lacks(tools, folder, known))
}

/// Finds out the encoder build: a hash over the versions of ffmpeg, its
/// libraries and the encoders' own, the architecture, our recipe, what ffprobe
/// says of a small clip, and the bytes that the scaler and each encoder give for
/// another on this processor. Takes about a second; a missing encoder is hashed
/// as missing, and so is one that fails twice.
///
/// # Errors
/// When ffmpeg or ffprobe can't be run, or ffprobe can't read the clip: every
/// analysis rests on what it says. When no encoder works.
pub fn probe_build(tools: &Tools) -> Step<'_, Build> {
    Box::pin(encoders::probe_build(tools))
}

/// Has ffmpeg say its version, which any ffmpeg does at once.
///
/// # Errors
/// When it can't be run, hangs, or is another program.
pub fn check_ffmpeg(tools: &Tools) -> Step<'_, ()> {
    Box::pin(encoders::check_ffmpeg(tools))
}

/// Has ffprobe say its version, and read a clip that is built in.
///
/// # Errors
/// [`MediaError::BadOutput`] if its answer lacks what is in the clip, and those
/// of [`check_ffmpeg`].
pub fn check_ffprobe(tools: &Tools) -> Step<'_, ()> {
    Box::pin(encoders::check_ffprobe(tools))
}

/// Runs an ffmpeg whose arguments another machine has made; gives its exit code.
/// `lines` receives what it writes to its error output.
///
/// # Errors
/// [`MediaError::Elsewhere`] for arguments that open anything but their input, and what
/// keeps ffmpeg from running.
pub fn run_given<'a>(
    tools: &'a Tools,
    given: Given<'a>,
    cancel: &'a Cancel,
    lines: &'a mut (dyn FnMut(&str) + Send),
) -> Step<'a, i32> {
    Box::pin(given::run_given(tools, given, cancel, lines))
}

/// Has ffmpeg read a file and reach a port that are none of its inputs.
pub fn check_sandbox(tools: &Tools) -> Boxed<'_, SandboxCheck> {
    Box::pin(sandbox_check::check_sandbox(tools))
}
