//! Joins the shards into one file: a codec header, then all fragments. They are
//! taken as they come, and joined as far as they have come in order, so that a
//! home may begin while others are still encoded.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    facts::{encoded::Part, index::Index, report::ShardReport, times::Ratio},
    ffmpeg::{
        context::Context,
        fragmented_mp4::{self, Fragments},
    },
    limits::COPY_BYTES,
    output::{args::JOINED_FILE, checks::unproven, rate_header},
    video::{shard_check::check_times, timing::encoded_base},
};

/// The video of the output, joined into one file.
pub(crate) struct JoinedVideo {
    /// Time base of the times.
    pub base: Ratio,
    /// Reports of all shards.
    pub reports: Vec<ShardReport>,
    pub times: Vec<i64>,
}

/// The shards of a film of which some have come.
#[derive(Debug)]
pub struct Joining {
    path: PathBuf,
    out: File,
    /// Time base of the shards' times.
    base: Ratio,
    /// The frame rate that the header is to name.
    rate: Option<Ratio>,
    /// The codec header, once a shard is joined.
    init: Option<Vec<u8>>,
    /// Of the last frame that is joined.
    last_dts: i64,
    last_time: i64,
    /// How many shards are joined.
    joined: usize,
    /// Those that wait for one before them, by number from 0.
    waiting: BTreeMap<usize, PathBuf>,
    /// Of all that have come, by number.
    reports: BTreeMap<usize, ShardReport>,
}

fn disk() -> impl FnOnce(std::io::Error) -> MediaError {
    MediaError::disk("joining the shards")
}

impl Joining {
    /// Begins the joined file in a folder.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn begin(spec: &Spec, index: &Index, folder: &Path) -> Result<Self, MediaError> {
        let path = folder.join(JOINED_FILE);
        Ok(Joining {
            out: File::create(&path).map_err(disk())?,
            path,
            base: encoded_base(spec, index),
            rate: index.facts.rate,
            init: None,
            last_dts: i64::MIN,
            last_time: i64::MIN,
            joined: 0,
            waiting: BTreeMap::new(),
            reports: BTreeMap::new(),
        })
    }

    /// Takes the shard of a number and joins all that have come in order, each
    /// checked as the assembly does. After an error all of it is of no use.
    ///
    /// # Errors
    /// As the assembly's.
    pub fn add(&mut self, number: usize, part: &Part) -> Result<(), MediaError> {
        self.take(number, part)?;
        while let Some(file) = self.waiting.remove(&self.joined) {
            let number = self.joined;
            let report = self.reports.remove(&number);
            let report = report.expect("each file that waits has a report");
            self.append(&file, &report)?;
            self.reports.insert(number, report);
        }
        Ok(())
    }

    fn take(&mut self, number: usize, part: &Part) -> Result<(), MediaError> {
        let report = ShardReport::from_bytes(&part.1)?;
        self.reports.insert(number, report);
        self.waiting.insert(number, part.0.clone());
        Ok(())
    }

    /// Takes all shards that have not come yet, in order, and hands out the reports
    /// of all.
    pub(crate) fn take_rest(&mut self, rest: &[Part]) -> Result<Vec<ShardReport>, MediaError> {
        let lacking = (0..).filter(|number| !self.reports.contains_key(number));
        let lacking: Vec<usize> = lacking.take(rest.len()).collect();
        for (number, part) in lacking.into_iter().zip(rest) {
            self.take(number, part)?;
        }
        Ok(std::mem::take(&mut self.reports).into_values().collect())
    }

    /// Joins what is left, into a file in the step's folder. `reports` are those of
    /// all shards.
    pub(crate) async fn finish(
        mut self,
        context: &Context<'_>,
        reports: Vec<ShardReport>,
    ) -> Result<JoinedVideo, MediaError> {
        let place = context.work_dir.join(JOINED_FILE);
        let base = self.base;
        let join = move || {
            for (number, file) in std::mem::take(&mut self.waiting) {
                let report = reports.get(number).filter(|_| number == self.joined);
                let Some(report) = report else {
                    return unproven("no-gap-no-overlap", "a shard is missing");
                };
                self.append(&file, report)?;
            }
            if self.path != place {
                std::fs::rename(&self.path, &place).map_err(disk())?;
            }
            Ok(reports)
        };
        let reports = tokio::task::spawn_blocking(join)
            .await
            .map_err(|error| disk()(std::io::Error::other(error)))??;
        let times = reports.iter().flat_map(|report| report.times.iter());
        Ok(JoinedVideo {
            base,
            times: times.copied().collect(),
            reports,
        })
    }

    /// Writes the next shard, checked against its report, its times against those of
    /// the shard before.
    fn append(&mut self, file: &Path, report: &ShardReport) -> Result<(), MediaError> {
        let number = self.joined;
        let fragments = fragmented_mp4::read(file)?;
        check_times(&fragments, self.base, &report.times)?;
        for &time in &report.times {
            if time <= self.last_time {
                return unproven(
                    "times-strictly-rise",
                    &format!("{time} follows {} in shard {number}", self.last_time),
                );
            }
            self.last_time = time;
        }
        if let [first, .., last] | [first @ last] = fragments.samples.as_slice() {
            if first.dts <= self.last_dts {
                let (dts, before) = (first.dts, self.last_dts);
                return unproven(
                    "decode-times-rise",
                    &format!("shard {number} begins at {dts} after {before}"),
                );
            }
            self.last_dts = last.dts;
        }
        self.write_header(&fragments)?;
        if self.copy_body(file, &fragments).map_err(disk())? != report.head.blake3 {
            return unproven(
                "shard-hash",
                &format!("shard {number} is not what was encoded"),
            );
        }
        self.joined += 1;
        Ok(())
    }

    /// Writes the codec header once, and compares it with that of each shard.
    fn write_header(&mut self, fragments: &Fragments) -> Result<(), MediaError> {
        match &self.init {
            None => {
                let with_rate = self.rate.and_then(|rate| {
                    rate_header::with_frame_rate(&fragments.init, fragments.timescale, rate)
                });
                let header = with_rate.as_ref().unwrap_or(&fragments.init);
                self.out.write_all(header).map_err(disk())?;
                self.init = Some(fragments.init.clone());
                Ok(())
            }
            Some(init) if *init != fragments.init => Err(MediaError::PlanMismatch {
                detail: format!("the codec header of shard {} differs", self.joined),
            }),
            Some(_) => Ok(()),
        }
    }

    /// Copies the fragments of a file without its codec header, and hashes all of it
    /// on the way: what is joined is what was encoded.
    fn copy_body(&mut self, file: &Path, fragments: &Fragments) -> std::io::Result<String> {
        let mut file = File::open(file)?;
        let mut hasher = blake3::Hasher::new();
        let mut header = fragments.body_offset as usize;
        let mut block = vec![0; COPY_BYTES];
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                return Ok(hasher.finalize().to_hex().to_string());
            }
            hasher.update(&block[..read]);
            let skipped = header.min(read);
            header -= skipped;
            self.out.write_all(&block[skipped..read])?;
        }
    }
}
