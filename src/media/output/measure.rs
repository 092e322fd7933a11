//! Compares a finished output with its source, a run of shards at a time. Which frames
//! of the file are a shard's follows from the counts in the proof and from the times of
//! the file's packets; from where on its source was decoded, from the proof too.

use std::{ops::Range, path::PathBuf};

use serde::Deserialize;

use crate::{
    error::MediaError,
    facts::{
        containers::demuxer,
        index::Index,
        measured::{Measured, MeasuredShard},
        plan::ShardRange,
        times::{MICROSECONDS, Ratio, rescale},
    },
    ffmpeg::context::Context,
    output::{assemble::Muxed, checks::unproven},
    video::{
        filters,
        measure::{GivenFrames, MadeFrames, compare, metrics_if},
        seam::Given,
    },
};

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct FilmPart {
    /// The output.
    pub output: PathBuf,
    /// Its proof.
    pub proof: Vec<u8>,
    /// The shards, by their numbers.
    pub shards: Range<u32>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct PartMeasured {
    /// JSON: a list with each shard, as a proof has it that says how its film compares.
    pub json: Vec<u8>,
    pub frames: u64,
}

/// What a proof says of the shards.
#[derive(Deserialize)]
struct Pictures {
    #[serde(default)]
    single: bool,
    #[serde(default)]
    shards: Vec<Shard>,
}

#[derive(Deserialize)]
struct Shard {
    from_pts: i64,
    to_pts: i64,
    frames: u64,
    tries: u32,
}

impl Pictures {
    fn of(proof: &[u8]) -> Result<Self, MediaError> {
        serde_json::from_slice(proof).map_err(|error| MediaError::BadRecord {
            what: "proof",
            detail: error.to_string(),
        })
    }
}

/// How many shards an output has, by its proof.
///
/// # Errors
/// [`MediaError::BadRecord`] for what is no proof.
pub fn shards_of_proof(proof: &[u8]) -> Result<u32, MediaError> {
    let count = Pictures::of(proof)?.shards.len();
    u32::try_from(count).map_err(|error| MediaError::BadRecord {
        what: "proof",
        detail: error.to_string(),
    })
}

/// See [`crate::measure_output`].
pub(crate) async fn measure_output(
    context: &Context<'_>,
    index: &Index,
    part: &FilmPart,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<PartMeasured, MediaError> {
    let film = Film::of(context, index, part).await?;
    let mut found: Vec<(usize, Measured)> = Vec::new();
    let mut frames = 0;
    for number in part.shards.clone() {
        let number = number as usize;
        let Some(shard) = film.pictures.shards.get(number) else {
            break;
        };
        let measured = film.measure(number, shard).await?;
        frames += measured.frames;
        progress(frames);
        found.push((number, measured));
    }
    let told = found.iter().map(|(shard, measured)| MeasuredShard {
        shard: *shard,
        from_us: film.begins_us(*shard),
        to_us: film.begins_us(shard + 1),
        measured,
    });
    let told: Vec<MeasuredShard<'_>> = told.collect();
    let json = serde_json::to_vec(&told).map_err(|error| MediaError::BadRecord {
        what: "comparison",
        detail: error.to_string(),
    })?;
    Ok(PartMeasured { json, frames })
}

/// A film with its frames' times.
struct Film<'a> {
    context: &'a Context<'a>,
    index: &'a Index,
    part: &'a FilmPart,
    pictures: Pictures,
    /// Those of all frames in the file, in ascending order.
    times: Vec<i64>,
    base: Ratio,
}

impl<'a> Film<'a> {
    async fn of(
        context: &'a Context<'a>,
        index: &'a Index,
        part: &'a FilmPart,
    ) -> Result<Self, MediaError> {
        let pictures = Pictures::of(&part.proof)?;
        let scan = Muxed::of(context, &part.output)?;
        let scan = scan_of(context, scan).await?;
        let (mut times, base) = scan;
        times.sort_unstable();
        let frames: u64 = pictures.shards.iter().map(|shard| shard.frames).sum();
        if frames != times.len() as u64 {
            let detail = format!("the proof has {frames} frames, the file {}", times.len());
            return unproven("measured-what-was-muxed", &detail);
        }
        Ok(Film {
            context,
            index,
            part,
            pictures,
            times,
            base,
        })
    }

    /// The number of a shard's first frame.
    fn first_frame(&self, shard: usize) -> usize {
        let before = self.pictures.shards.iter().take(shard);
        before.map(|shard| shard.frames as usize).sum()
    }

    /// Where a shard begins in the film, and where the last one ends.
    fn begins_us(&self, shard: usize) -> i64 {
        let us = |time: Option<&i64>| rescale(time.copied().unwrap_or(0), self.base, MICROSECONDS);
        let begins = self.times.get(self.first_frame(shard));
        us(begins.or(self.times.last())) - us(self.times.first())
    }

    /// Compares a shard. It is decoded from where its encoder's frames were; where other
    /// frames come of that, from elsewhere.
    async fn measure(&self, number: usize, shard: &Shard) -> Result<Measured, MediaError> {
        let (context, index) = (self.context, self.index);
        let whole = self.pictures.single;
        let range = ShardRange {
            from_pts: shard.from_pts,
            to_pts: shard.to_pts,
            frames: shard.frames,
        };
        let first = self.first_frame(number);
        let ends = self.times.get(first).zip(
            (first + shard.frames as usize)
                .checked_sub(1)
                .and_then(|last| self.times.get(last)),
        );
        let made = MadeFrames {
            file: self.part.output.clone(),
            demuxer: demuxer(context.spec),
            span: ends
                .filter(|_| !whole)
                .map(|(first, last)| (*first, *last, self.base)),
        };
        let metrics = metrics_if(true, context.spec);
        for start in self.starts(range, shard.tries, whole) {
            let sides = (GivenFrames::of(range, start), &made);
            let found = compare(context, index, sides, &metrics, shard.frames).await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        let detail = format!("shard {number} of {} frames", shard.frames);
        unproven("measured-what-was-encoded", &detail)
    }

    /// Where decoding may start, what the encoder's frames came of first.
    fn starts(&self, range: ShardRange, tries: u32, whole: bool) -> Vec<Option<Option<i64>>> {
        if whole {
            return vec![None];
        }
        let (spec, index) = (self.context.spec, self.index);
        let given = Given::of(spec, index, range);
        let starts = index.starts(filters::decoded_range(spec, index, given.range));
        let good = (tries.max(1) as usize - 1).min(starts.len().saturating_sub(1));
        let others = starts.iter().enumerate().filter(|(at, _)| *at != good);
        let others = others.map(|(_, start)| *start);
        starts
            .get(good)
            .copied()
            .into_iter()
            .chain(others)
            .map(Some)
            .collect()
    }
}

/// The times of the pictures, and their clock.
async fn scan_of(
    context: &Context<'_>,
    mut file: Muxed<'_>,
) -> Result<(Vec<i64>, Ratio), MediaError> {
    let scan = file.packets(context, 'v', 0).await?;
    let base = scan.base.ok_or_else(|| MediaError::BadOutput {
        tool: "ffprobe".into(),
        detail: "no time base".into(),
    })?;
    Ok((scan.times, base))
}
