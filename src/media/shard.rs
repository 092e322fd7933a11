//! Encodes one shard. What is decoded is compared with what the packets
//! promised; where it differs, or the decoder complains, decoding begins again
//! one keyframe earlier, and then at the beginning of the file.

use std::path::{Path, PathBuf};

use crate::{
    Context,
    analyze::address_bytes,
    boxes,
    encode_args::{self, SHARD_FILE, encoded_base, muxer_timescale},
    error::MediaError,
    index::Index,
    limits::{FRAMES_MAX, SHIFT_SECONDS},
    listen::{self, Complaints},
    plan::ShardRange,
    process::{self, Listener, Run, Step},
    report::{ShardHead, ShardReport},
};

/// A finished encoding in the work folder.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub path: PathBuf,
    /// Facts the assembly needs; equal bytes for equal work.
    pub report: Vec<u8>,
    /// Frames of video, or packets of audio.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Encodes the frames of a range; `single` makes the whole film in one plain
/// pass, whatever the packets promised. `progress` gets the frames encoded so
/// far, and starts afresh when decoding does.
///
/// # Errors
/// [`MediaError::PlanMismatch`] when decoding, even from the beginning, gives
/// other frames than promised: then the film must be one shard.
pub async fn encode_shard(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    single: bool,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Encoded, MediaError> {
    if single || index.shards().len() == 1 {
        return encode_single(context, index, range, &progress).await;
    }
    let zero = index.head.zero;
    let promise: Vec<i64> = index
        .times_in(range)
        .iter()
        .map(|time| time - zero)
        .collect();
    let starts = index.starts(range);
    let mut objection = String::new();
    for (tried, start) in (1..).zip(&starts) {
        let mut watch = Watch::new(index, &progress);
        watch.promise = Some(&promise);
        watch.bounds = (
            (index.times.first() < Some(&range.from_pts)).then_some(range.from_pts - zero),
            (index.times.last() >= Some(&range.to_pts)).then_some(range.to_pts - zero),
        );
        watch.last_try = tried as usize == starts.len();
        let arguments = encode_args::shard(context.input, index, context.spec, range, *start);
        let outcome = execute(context, index, &arguments, &mut watch).await;
        match (watch.judge(), outcome) {
            (None, Ok(())) => return finish(context, index, range, false, tried, watch).await,
            // A bad end may come of a bad start; the next one may do better.
            (Some(found), Ok(()) | Err(MediaError::ToolFailed { .. })) => {
                tracing::debug!(%found, ?start, "decoding is not as promised");
                objection = found;
            }
            (_, Err(error)) => return Err(error),
        }
    }
    Err(MediaError::PlanMismatch {
        detail: format!("{objection} in [{}, {})", range.from_pts, range.to_pts),
    })
}

async fn encode_single(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Encoded, MediaError> {
    let arguments = encode_args::single(context.input, index, context.spec);
    let mut watch = Watch::new(index, progress);
    execute(context, index, &arguments, &mut watch).await?;
    if watch.decoded == 0 {
        return Err(MediaError::NoFrames {
            detail: watch.complaints.last_words(),
        });
    }
    finish(context, index, range, true, 1, watch).await
}

async fn execute(
    context: &Context<'_>,
    index: &Index,
    arguments: &[String],
    watch: &mut Watch<'_>,
) -> Result<(), MediaError> {
    let ended = process::run(
        Run {
            program: &context.tools.ffmpeg,
            args: arguments,
            folder: context.work_dir,
            address_bytes_extra: address_bytes(index),
            time_max: None,
        },
        context.cancel,
        watch,
    )
    .await?;
    watch.complaints.judge("ffmpeg", ended)
}

/// Listens to an encoding.
struct Watch<'a> {
    /// Times the range must have, if anything is promised.
    promise: Option<&'a [i64]>,
    /// First time in the range and first after it, where it has such ends.
    bounds: (Option<i64>, Option<i64>),
    /// Whether no better start is left.
    last_try: bool,
    by_rate: bool,
    size: (u32, u32),
    progress: &'a (dyn Fn(u64) + Send + Sync),
    decoded: u64,
    lead_in: u64,
    /// Beyond the range's end: what follows is of no matter.
    over: bool,
    /// Times given to the encoder.
    times: Vec<i64>,
    encoded: u64,
    complaints: Complaints,
    objection: Option<String>,
}

impl<'a> Watch<'a> {
    fn new(index: &Index, progress: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        Watch {
            promise: None,
            bounds: (None, None),
            last_try: false,
            by_rate: false,
            size: index.head.picture.source,
            progress,
            decoded: 0,
            lead_in: 0,
            over: false,
            times: Vec::new(),
            encoded: 0,
            complaints: Complaints::default(),
            objection: None,
        }
    }

    /// What is wrong with the try as a whole, if anything.
    fn judge(&mut self) -> Option<String> {
        let promised = self.promise.map_or(0, <[i64]>::len);
        if self.objection.is_none() && self.times.len() != promised {
            self.objection = Some(format!(
                "{promised} frames were promised and {} decoded",
                self.times.len()
            ));
        }
        self.objection.take()
    }

    fn object(&mut self, why: String) -> Step {
        self.objection.get_or_insert(why);
        // A promise that is broken even from the beginning stays broken.
        Step::Enough
    }

    fn decoded(&mut self, frame: &listen::Frame) -> Result<Step, MediaError> {
        let Some(pts) = frame.pts else {
            if self.promise.is_some() {
                return Ok(self.object("a frame without a time".into()));
            }
            self.decoded += 1;
            return Ok(Step::Alive);
        };
        if self.bounds.0.is_some_and(|from| pts < from) {
            self.lead_in += 1;
            return Ok(Step::Alive);
        }
        if self.bounds.1.is_some_and(|to| pts >= to) {
            self.over = true;
            return Ok(Step::Alive);
        }
        if let Some(promise) = self.promise {
            if frame.size != self.size {
                return Ok(self.object("the picture's size changes".into()));
            }
            let promised = promise.get(self.decoded as usize).copied();
            if promised != Some(pts) {
                let said = promised.map_or("nothing".to_string(), |time| time.to_string());
                return Ok(self.object(format!("{said} was promised and {pts} decoded")));
            }
        }
        self.decoded += 1;
        if !self.by_rate {
            self.times.push(pts);
        }
        self.count(self.decoded)?;
        Ok(Step::Alive)
    }

    fn count(&self, frames: u64) -> Result<(), MediaError> {
        if frames > FRAMES_MAX {
            return Err(MediaError::OverLimit {
                what: "the number of frames",
                found: frames,
                max: FRAMES_MAX,
            });
        }
        Ok(())
    }
}

impl Listener for Watch<'_> {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        let frames = line
            .strip_prefix("frame=")
            .and_then(|frames| frames.trim().parse().ok());
        match frames {
            Some(frames) if frames > self.encoded => {
                self.encoded = frames;
                (self.progress)(frames);
                Ok(Step::Alive)
            }
            _ => Ok(Step::Quiet),
        }
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        if let Some(frame) = listen::frame(line, "decoded") {
            return self.decoded(&frame);
        }
        if let Some(frame) = listen::frame(line, "filtered") {
            if !self.by_rate {
                self.by_rate = true;
                self.times.clear();
            }
            self.times.extend(frame.pts);
            self.count(self.times.len() as u64)?;
            return Ok(Step::Alive);
        }
        let complained = self.complaints.hear(line)?;
        // Arriving in the midst of a stream is noisy; what counts is what is
        // said once pictures come, up to the range's end.
        if complained
            && self.promise.is_some()
            && !self.last_try
            && !self.over
            && self.lead_in + self.decoded > 0
        {
            return Ok(self.object("the decoder complains".into()));
        }
        Ok(Step::Quiet)
    }
}

/// Checks what was written and makes the report.
async fn finish(
    context: &Context<'_>,
    index: &Index,
    range: ShardRange,
    single: bool,
    tries: u32,
    watch: Watch<'_>,
) -> Result<Encoded, MediaError> {
    let path = context.work_dir.join(SHARD_FILE);
    let (fragments, blake3) = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || -> Result<_, MediaError> {
            let fragments = boxes::read(&path)?;
            Ok((fragments, hash(&path)?))
        })
        .await
        .map_err(|error| MediaError::Disk {
            what: "reading an encoded shard",
            error: std::io::Error::other(error),
        })??
    };
    let base = encoded_base(context.spec, index);
    check_times(&fragments, base, &watch.times)?;
    let encoded = fragments.samples.len() as u64;
    let report = ShardReport {
        head: ShardHead {
            range,
            single,
            decoded: watch.decoded,
            encoded,
            lead_in: watch.lead_in,
            tries,
            complaints: watch.complaints.kept,
            complaints_total: watch.complaints.total,
            blake3,
            init_blake3: blake3::hash(&fragments.init).to_hex().to_string(),
        },
        times: watch.times,
    };
    Ok(Encoded {
        path,
        report: report.to_bytes(),
        frames: encoded,
        bytes: fragments.bytes,
    })
}

/// BLAKE3 of a file, in hex.
pub(crate) fn hash(path: &Path) -> Result<String, MediaError> {
    let disk = || MediaError::disk("hashing an encoded file");
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(disk())?;
    hasher.update_reader(file).map_err(disk())?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// P3 for one file: every frame given to the encoder came out once, at its
/// time; decode times strictly rise and never pass presentation times.
pub(crate) fn check_times(
    fragments: &boxes::Fragments,
    base: crate::times::Ratio,
    times: &[i64],
) -> Result<(), MediaError> {
    let unproven = |check, detail| Err(MediaError::Unproven { check, detail });
    let timescale = muxer_timescale(base);
    if i64::from(fragments.timescale) != timescale {
        return unproven(
            "timescale",
            format!("{} instead of {timescale}", fragments.timescale),
        );
    }
    let ticks = timescale / base.den * base.num;
    let mut shown: Vec<i64> = fragments.samples.iter().map(|sample| sample.pts).collect();
    shown.sort_unstable();
    if shown.len() != times.len() {
        return unproven(
            "encoded-equals-decoded",
            format!("{} frames in, {} packets out", times.len(), shown.len()),
        );
    }
    for (time, shown) in times.iter().zip(&shown) {
        let expected = time * ticks + SHIFT_SECONDS * timescale;
        if expected != *shown {
            return unproven(
                "times-equal-decoded",
                format!("{shown} instead of {expected}"),
            );
        }
    }
    for pair in fragments.samples.windows(2) {
        if pair[0].dts >= pair[1].dts {
            return unproven(
                "decode-times-rise",
                format!("{} follows {}", pair[1].dts, pair[0].dts),
            );
        }
    }
    match fragments
        .samples
        .iter()
        .find(|sample| sample.dts > sample.pts)
    {
        Some(sample) => unproven(
            "decoded-before-shown",
            format!("{} is decoded at {}", sample.pts, sample.dts),
        ),
        None => Ok(()),
    }
}
