//! Encodes one shard. What is decoded is compared with what the packets
//! promised. If it differs, decoding restarts one keyframe earlier, and finally
//! at the beginning of the file.
//!
//! If the decoder logs errors, either the start is bad or the shard itself is
//! damaged. It is damaged where the errors can't come from before it: where those
//! of its first frames follow upon a sound start, and where two starts give the
//! same ones. So the work for a damaged film grows with its
//! length; decoding each shard from the beginning would grow with its square.

use reelraft_model::spec::{Aim, Spec};

use crate::{
    error::MediaError,
    facts::{
        encoded::{Encoded, hash},
        index::Index,
        measured::Measured,
        plan::ShardRange,
        report::{ShardHead, ShardReport},
    },
    ffmpeg::{
        context::Context,
        fragmented_mp4::{self, Fragments},
        log::reject_if_strict,
    },
    limits::BROKEN_LOGS_MAX,
    video::{
        args::{self, SHARD_FILE},
        filter_clock::{FilterClock, filter_clock},
        filters,
        frame_checker::{ExpectedFrames, FrameChecker},
        grid::Grid,
        measure,
        rate::{self, Judged, Rate},
        seam::Given,
        shard_check::check_times,
        timing::{encoded_base, reordered_frames},
    },
};

/// See [`crate::encode_shard`].
pub(crate) async fn encode_shard(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    single: bool,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Encoded, MediaError> {
    let spec = context.spec;
    let single = index.is_single_pass(single);
    let asked = match single {
        true => Rate::of(spec),
        false => Rate::of_shard(spec, index, range),
    };
    let (mut rate, mut tries) = (asked, 0);
    loop {
        let (encoded, judged) = match single {
            true => encode_single(context, index, range, &rate, &progress).await?,
            false => encode_part(context, index, range, &rate, &progress).await?,
        };
        if judged.kept {
            return Ok(encoded);
        }
        tries += 1;
        tracing::debug!(?rate, "it takes more than its cap");
        let length_ms = rate::length_ms(index, range);
        let next = Rate::after(&asked, tries, spec, length_ms, judged);
        rate = next.ok_or_else(|| {
            let (maxrate, bufsize) = spec.cap().unwrap_or_default();
            MediaError::RateExceeded { maxrate, bufsize }
        })?;
    }
}

/// What came of a range at some rate, and whether that is what was asked for.
type Made = (Encoded, Judged);

/// Encodes one shard of several.
async fn encode_part(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    rate: &Rate,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Made, MediaError> {
    let (input, spec) = (context.input, context.spec);
    let given = Given::of(spec, index, range);
    let needed = filters::decoded_range(spec, index, given.range);
    let starts = index.starts(needed);
    let clock = match reordered_frames(spec) {
        0 => FilterClock::Muxer,
        _ => filter_clock(context).await?,
    };
    let (mut mismatch, mut ended) = (String::new(), false);
    let mut complaining: Option<FrameChecker<'_>> = None;
    let mut repeats = 0;
    let mut attempts = (1..).zip(&starts);
    let mut next = attempts.next();
    while let Some((tried, start)) = next {
        if tried > 1 && start.is_none() && input.is_elsewhere() {
            // Whoever says that nothing fits would see the whole film.
            break;
        }
        let mut checker = checker(context, index, range, *start, progress);
        let arguments = args::shard(input, index, spec, range, *start, clock, rate);
        let outcome = execute(context, index, &arguments, &mut checker).await;
        let broken = checker.broken && outcome.is_ok();
        if broken && repeats < BROKEN_LOGS_MAX {
            repeats += 1;
            continue;
        }
        next = attempts.next();
        ended |= outcome.is_ok();
        match (checker.find_mismatch(), outcome) {
            (None, Ok(())) => {
                let said = checker.complaints.verdict();
                let settled = tried as usize == starts.len()
                    || !said.any
                    || (!said.doubtful && is_own_damage(index, *start))
                    || complaining.is_some_and(|before| before.agrees_with(&checker));
                if settled {
                    return finish(context, index, range, Some((tried, *start)), checker).await;
                }
                tracing::debug!(?start, "the decoder complains");
                mismatch = "the decoder complains".to_string();
                complaining = Some(checker);
            }
            // A failure may be due to a bad start; the next start may do
            // better.
            (Some(found), Ok(()) | Err(MediaError::ToolFailed { .. })) => {
                tracing::debug!(%found, ?start, "decoding is not as promised");
                mismatch = found;
            }
            (_, Err(error)) => return Err(error),
        }
    }
    let detail = format!("{mismatch} in [{}, {})", range.from_pts, range.to_pts);
    Err(match (input.is_elsewhere(), ended) {
        // A node finds out whether the film is odd or its engine.
        (true, true) => MediaError::NotElsewhere { detail },
        (true, false) => MediaError::Elsewhere { detail },
        (false, _) => MediaError::PlanMismatch { detail },
    })
}

/// The checks of a shard that is decoded from `start`.
fn checker<'a>(
    context: &Context<'_>,
    index: &'a Index,
    range: ShardRange,
    start: Option<i64>,
    progress: &'a (dyn Fn(u64) + Send + Sync),
) -> FrameChecker<'a> {
    let (spec, zero) = (context.spec, index.facts.zero);
    let given = Given::of(spec, index, range);
    let needed = filters::decoded_range(spec, index, given.range);
    let times = index.times_in(needed).iter();
    let expected = ExpectedFrames {
        decoded: times.map(|time| time - zero).collect(),
        points: Grid::of(spec, index).map(|grid| grid.points(index, range)),
        ends_after: given.ends_after(spec).map(|frames| frames as u64),
        start: start.map(|start| start - zero),
    };
    let filtered = filters::decoded_range(spec, index, range);
    FrameChecker::new(index, spec, progress).expecting(
        expected,
        zero,
        index.bounds(range),
        index.bounds(filtered),
        index.bounds(needed),
    )
}

/// Codecs whose pictures refer to the two anchors before them and no further:
/// what is shown after a keyframe needs nothing from before it.
const ANCHORED: [&str; 5] = ["mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3"];

/// Whether an error that occurs well within a shard, decoded from `start`, is
/// the shard's own: nothing there refers to what lies before the start.
fn is_own_damage(index: &Index, start: Option<i64>) -> bool {
    let anchored = ANCHORED.contains(&index.facts.source.video().codec.as_str());
    start.is_some_and(|start| anchored || index.is_clean_key(start))
}

async fn encode_single(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    rate: &Rate,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Made, MediaError> {
    let arguments = args::single(context.input, index, context.spec, rate);
    // A broken log may cost a complaint, which is not worth the whole film.
    let mut checker = FrameChecker::new(index, context.spec, progress);
    execute(context, index, &arguments, &mut checker).await?;
    if checker.decoded == 0 {
        return Err(MediaError::NoFrames {
            detail: checker.diagnostics.last_errors(),
        });
    }
    if checker.times().is_empty() {
        return Err(MediaError::NoFrames {
            detail: "the film is shorter than half a picture at this rate".into(),
        });
    }
    if let Some(detail) = checker.find_mismatch() {
        if checker.changed {
            return Err(MediaError::ChangingPicture);
        }
        return Err(MediaError::Unproven {
            check: "filtered-equals-decoded",
            detail,
        });
    }
    finish(context, index, range, None, checker).await
}

async fn execute(
    context: &Context<'_>,
    index: &Index,
    arguments: &[String],
    checker: &mut FrameChecker<'_>,
) -> Result<(), MediaError> {
    let address_bytes = index.facts.picture.address_bytes();
    let exit = context
        .ffmpeg_anywhere(arguments, address_bytes, SHARD_FILE, checker)
        .await?;
    checker.diagnostics.check_exit("ffmpeg", exit)
}

/// Checks the file and writes the report. `tried` is how many starts were tried of a
/// shard, and the good one; none of a film in one pass.
async fn finish(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    tried: Option<(u32, Option<i64>)>,
    checker: FrameChecker<'_>,
) -> Result<Made, MediaError> {
    let (single, tries) = (tried.is_none(), tried.map_or(1, |(tries, _)| tries));
    let said = checker.complaints.verdict();
    reject_if_strict(&said.kept, context.spec.strict)?;
    let path = context.work_dir.join(SHARD_FILE);
    let times = checker.times().to_vec();
    let ends_after = checker.ends_after();
    let (fragments, blake3) = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || -> Result<_, MediaError> {
            let fragments = match ends_after {
                Some(frames) => fragmented_mp4::cut(&path, frames)?,
                None => fragmented_mp4::read(&path)?,
            };
            Ok((fragments, hash(&path)?))
        })
        .await
        .map_err(|error| MediaError::Disk {
            what: "reading an encoded shard",
            error: std::io::Error::other(error),
        })??
    };
    let base = encoded_base(context.spec, index);
    check_times(&fragments, base, &times)?;
    let asked = match single {
        true => Rate::of(context.spec),
        false => Rate::of_shard(context.spec, index, range),
    };
    let judged = rate::judge(&asked, context.spec, index, range, &fragments);
    let encoded = fragments.samples.len() as u64;
    let measured = compared(context, index, range, tried, encoded).await?;
    let aspects = checker.changed_aspects();
    let (opening, following) = checker.joints;
    let report = ShardReport {
        head: ShardHead {
            range,
            single,
            decoded: checker.decoded,
            aspects,
            encoded,
            lead_in: checker.lead_in,
            opening,
            following,
            tries,
            complaints: said.kept,
            complaints_total: said.total,
            blake3,
            init_blake3: blake3::hash(&fragments.init).to_hex().to_string(),
            clock: checker.clock.digest(),
            measured,
        },
        times,
    };
    let encoded = Encoded {
        path,
        report: report.to_bytes(),
        frames: encoded,
        bytes: fragments.bytes,
        payload: payload(&fragments),
        score_micro: score(context.spec, report.head.measured.as_ref()),
        blake3: report.head.blake3,
    };
    Ok((encoded, judged))
}

/// Where a job aims at a quality: what its frames came to.
fn score(spec: &Spec, measured: Option<&Measured>) -> u64 {
    match (spec.aim(), measured) {
        (Some(Aim::Quality(metric, _)), Some(measured)) => {
            measured.score_micro(metric.name()).unwrap_or(0)
        }
        _ => 0,
    }
}

/// How the frames of a file compare with what its encoder was given, if that is asked for.
async fn compared(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    tried: Option<(u32, Option<i64>)>,
    frames: u64,
) -> Result<Option<Measured>, MediaError> {
    let place = (range, tried.map(|(_, start)| start));
    measure::measure(context, index, place, frames).await
}

/// Bytes of the frames alone.
fn payload(fragments: &Fragments) -> u64 {
    let samples = fragments.samples.iter();
    samples.map(|sample| u64::from(sample.bytes)).sum()
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
