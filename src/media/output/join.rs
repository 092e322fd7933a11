//! Joins the shards into one file: a codec header, then all fragments.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::{
    error::MediaError,
    facts::{
        encoded::{Part, hash},
        index::Index,
        report::ShardReport,
        times::Ratio,
    },
    ffmpeg::{context::Context, fragmented_mp4},
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

pub(crate) async fn join_shards(
    context: &Context<'_>,
    index: &Index,
    shards: &[Part],
    reports: Vec<ShardReport>,
) -> Result<JoinedVideo, MediaError> {
    let base = encoded_base(context.spec, index);
    let files: Vec<PathBuf> = shards.iter().map(|(path, _)| path.clone()).collect();
    let joined = context.work_dir.join(JOINED_FILE);
    let rate = index.facts.rate;
    let reports = tokio::task::spawn_blocking(move || {
        join(&files, &reports, base, rate, &joined).map(|()| reports)
    })
    .await
    .map_err(|error| MediaError::Disk {
        what: "joining the shards",
        error: std::io::Error::other(error),
    })??;
    let times = reports
        .iter()
        .flat_map(|report| report.times.iter().copied())
        .collect();
    Ok(JoinedVideo {
        base,
        reports,
        times,
    })
}

/// Writes one codec header and all fragments. Each shard is checked against its
/// report, and its times against those of the shard before.
fn join(
    files: &[PathBuf],
    reports: &[ShardReport],
    base: Ratio,
    rate: Option<Ratio>,
    joined: &Path,
) -> Result<(), MediaError> {
    let disk = || MediaError::disk("joining the shards");
    let mut out = std::io::BufWriter::new(std::fs::File::create(joined).map_err(disk())?);
    let mut init: Option<Vec<u8>> = None;
    let mut last_dts = i64::MIN;
    let mut last_time = i64::MIN;
    for (number, (file, report)) in files.iter().zip(reports).enumerate() {
        if hash(file)? != report.head.blake3 {
            return unproven(
                "shard-hash",
                &format!("shard {number} is not what was encoded"),
            );
        }
        let fragments = fragmented_mp4::read(file)?;
        check_times(&fragments, base, &report.times)?;
        for &time in &report.times {
            if time <= last_time {
                return unproven(
                    "times-strictly-rise",
                    &format!("{time} follows {last_time} in shard {number}"),
                );
            }
            last_time = time;
        }
        if let Some(first) = fragments.samples.first() {
            if first.dts <= last_dts {
                return unproven(
                    "decode-times-rise",
                    &format!("shard {number} begins at {} after {last_dts}", first.dts),
                );
            }
            last_dts = fragments.samples[fragments.samples.len() - 1].dts;
        }
        match &init {
            None => {
                let header_with_rate = rate.and_then(|rate| {
                    rate_header::with_frame_rate(&fragments.init, fragments.timescale, rate)
                });
                let header = header_with_rate.as_ref().unwrap_or(&fragments.init);
                out.write_all(header).map_err(disk())?;
                init = Some(fragments.init.clone());
            }
            Some(init) if *init != fragments.init => {
                return Err(MediaError::PlanMismatch {
                    detail: format!("the codec header of shard {number} differs"),
                });
            }
            Some(_) => {}
        }
        fragmented_mp4::copy_body(file, &fragments, &mut out).map_err(disk())?;
    }
    out.flush().map_err(disk())
}
