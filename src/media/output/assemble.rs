//! Makes the one output file of the shards and the audio, and its proof (P3).
//! Nothing is encoded here: the same parts give the same bytes on every node.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use reelraft_model::spec::Audio;

use crate::{
    Context,
    audio::encode::{Own, scan_own},
    error::MediaError,
    facts::{
        index::Index,
        report::{ExtrasReport, ShardReport, SoundReport},
        times::{Ratio, rescale},
    },
    ffmpeg::log::Advance,
    output::{
        args as mux_args,
        args::{ABOUT_FILE, JOINED_FILE, output_file},
        covers,
        proof::{self, Facts},
        rate_header,
    },
    video::{
        args::{encoded_base, muxer_timescale},
        fragmented_mp4 as boxes,
        shard::{check_times, hash},
    },
};

/// A finished output in the work folder.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The output.
    pub path: PathBuf,
    /// The proof: JSON, equal bytes for equal work.
    pub proof: Vec<u8>,
}

/// A finished part: its file and its report.
pub type Part = (PathBuf, Vec<u8>);

/// What an output is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The shards, in order.
    pub shards: Vec<Part>,
    /// The audio tracks, in order.
    pub audio: Vec<Part>,
    /// Subtitles and attachments, if there are any.
    pub extras: Option<Part>,
}

/// Makes the output of its parts.
///
/// # Errors
/// [`MediaError::Unproven`] names the check that does not hold;
/// [`MediaError::PlanMismatch`] when the shards' codec headers differ.
pub async fn assemble(
    context: &Context<'_>,
    index: &Index,
    single: bool,
    parts: &Parts,
) -> Result<Assembled, MediaError> {
    let reports: Vec<ShardReport> = parts
        .shards
        .iter()
        .map(|(_, report)| ShardReport::from_bytes(report))
        .collect::<Result<_, _>>()?;
    check_plan(index, single, &reports)?;
    let sounds = check_sounds(index, &parts.audio)?;
    let film = match &index.head.source.video {
        Some(_) => Some(join_shards(context, index, &parts.shards, reports).await?),
        None => None,
    };
    let cues = check_extras(index, parts.extras.as_ref())?;
    if let Some(about) = &index.head.about {
        std::fs::write(context.work_dir.join(ABOUT_FILE), about.text())
            .map_err(MediaError::disk("writing the tags"))?;
    }
    mux(context, index, parts).await?;
    let path = context.work_dir.join(output_file(context.spec));
    covers::check_kept(context, index, &path).await?;
    let demuxer = mux_args::demuxer(context.spec);
    let mut muxed_frames = 0;
    if let Some(film) = &film {
        let muxed = scan_own(context, &path, demuxer, "v:0").await?;
        check_muxed(&muxed, film.base, &film.times)?;
        muxed_frames = muxed.times.len() as u64;
        std::fs::remove_file(context.work_dir.join(JOINED_FILE))
            .map_err(MediaError::disk("removing the joined shards"))?;
    }
    for (number, sound) in sounds.iter().enumerate() {
        let muxed = scan_own(context, &path, demuxer, &format!("a:{number}")).await?;
        let (muxed, encoded) = (muxed.times.len() as u64, sound.packets);
        if muxed != encoded {
            return unproven(
                "audio-muxed-equals-encoded",
                &format!("{encoded} packets encoded, {muxed} muxed of track {number}"),
            );
        }
    }
    for (number, cues) in cues.iter().enumerate() {
        let muxed = scan_own(context, &path, demuxer, &format!("s:{number}")).await?;
        if muxed.filled != *cues {
            return unproven(
                "subtitles-muxed-equal-taken",
                &format!(
                    "{cues} cues taken, {} muxed of track {number}",
                    muxed.filled
                ),
            );
        }
    }
    let proof = proof::write(&Facts {
        index,
        spec: context.spec,
        single,
        film: film.as_ref(),
        muxed_frames,
        sounds: &sounds,
        cues: &cues,
        output_blake3: hash(&path)?,
    });
    Ok(Assembled { path, proof })
}

/// The pictures of the output, joined into one file.
pub(crate) struct Film {
    /// Seconds a tick of the times.
    pub base: Ratio,
    /// What the shards told of themselves.
    pub reports: Vec<ShardReport>,
    /// Times of all frames.
    pub times: Vec<i64>,
}

async fn join_shards(
    context: &Context<'_>,
    index: &Index,
    shards: &[Part],
    reports: Vec<ShardReport>,
) -> Result<Film, MediaError> {
    let base = encoded_base(context.spec, index);
    let files: Vec<PathBuf> = shards.iter().map(|(path, _)| path.clone()).collect();
    let joined = context.work_dir.join(JOINED_FILE);
    let rate = index.head.rate;
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
    Ok(Film {
        base,
        reports,
        times,
    })
}

/// The audio tracks are those of the index, and their bytes those encoded.
fn check_sounds(index: &Index, audio: &[Part]) -> Result<Vec<SoundReport>, MediaError> {
    if audio.len() != index.head.sounds.len() {
        return unproven("audio-present", "the audio is not what the source promises");
    }
    audio
        .iter()
        .map(|(path, report)| {
            let report = SoundReport::from_bytes(report)?;
            if hash(path)? != report.blake3 {
                return unproven("audio-hash", "the audio's bytes are not those encoded");
            }
            Ok(report)
        })
        .collect()
}

fn unproven<T>(check: &'static str, detail: &str) -> Result<T, MediaError> {
    Err(MediaError::Unproven {
        check,
        detail: detail.to_string(),
    })
}

/// The reports are of this plan: every range once, none left out.
fn check_plan(index: &Index, single: bool, reports: &[ShardReport]) -> Result<(), MediaError> {
    if index.shards().is_empty() && reports.is_empty() {
        return Ok(());
    }
    if index.is_whole(single) {
        return match reports {
            [report] if report.head.single => Ok(()),
            _ => unproven("no-gap-no-overlap", "the film is not one shard"),
        };
    }
    let same = reports.len() == index.shards().len()
        && reports.iter().zip(index.shards()).all(|(report, planned)| {
            !report.head.single
                && (report.head.range.from_pts, report.head.range.to_pts)
                    == (planned.from_pts, planned.to_pts)
        });
    if !same {
        return unproven("no-gap-no-overlap", "the shards are not those of the plan");
    }
    check_joints(reports)
}

/// Neighbours decoded the frame at their joint alike. A decoder that began
/// somewhere in the film may give wrong pictures at the right times and
/// without a complaint; one that came there from further back knows better.
fn check_joints(reports: &[ShardReport]) -> Result<(), MediaError> {
    for (number, pair) in (1..).zip(reports.windows(2)) {
        let (before, after) = (&pair[0].head.following, &pair[1].head.opening);
        if before.is_none() || before != after {
            return Err(MediaError::PlanMismatch {
                detail: format!(
                    "shard {number} begins with another picture than the one before it decodes there"
                ),
            });
        }
    }
    Ok(())
}

/// Writes one codec header and all fragments, checking each against its
/// report and each joint.
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
        let fragments = boxes::read(file)?;
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
                let told = rate
                    .and_then(|rate| rate_header::tell(&fragments.init, fragments.timescale, rate));
                let header = told.as_ref().unwrap_or(&fragments.init);
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
        boxes::copy_body(file, &fragments, &mut out).map_err(disk())?;
    }
    out.flush().map_err(disk())
}

/// The extras are those of the index, and their bytes those taken; their cues.
fn check_extras(index: &Index, extras: Option<&Part>) -> Result<Vec<u64>, MediaError> {
    let Some((path, report)) = extras else {
        return match index.has_extras() {
            false => Ok(Vec::new()),
            true => unproven("extras-present", "the extras of the source are not there"),
        };
    };
    let report = ExtrasReport::from_bytes(report)?;
    if hash(path)? != report.blake3 {
        return unproven("extras-hash", "the extras' bytes are not those taken");
    }
    Ok(report.cues)
}

async fn mux(context: &Context<'_>, index: &Index, parts: &Parts) -> Result<(), MediaError> {
    let audio: Vec<PathBuf> = parts.audio.iter().map(|(path, _)| path.clone()).collect();
    let extras = parts.extras.as_ref().map(|(path, _)| path.as_path());
    let laid_out = match extras {
        Some(path) if covers::attached(context.spec.container()) => {
            let count = index.attached_counts().1;
            if count > 0 {
                covers::lay_out(context, path, count).await?;
            }
            count
        }
        _ => 0,
    };
    let arguments = mux_args::assemble(index, context.spec, &audio, extras);
    let mut watch = Advance::new(&|_| {});
    let ended = context.ffmpeg(&arguments, &mut watch).await?;
    watch.complaints.judge("ffmpeg", ended)?;
    covers::clear(context, laid_out)?;
    // It copies what our own muxer wrote: any complaint is one too many, but
    // for those of decoders that look into sound copied from a damaged source.
    let copied = match context.spec.audio() {
        Audio::Copy => index.head.sounds.as_slice(),
        _ => &[],
    };
    let own = |said: &&String| !copied.iter().any(|sound| said.starts_with(&sound.codec));
    match watch.complaints.kept.iter().find(own) {
        Some(said) => unproven("muxed-without-complaint", said),
        None => Ok(()),
    }
}

/// The output has every frame once, at its time. Its clock may be coarser
/// (Matroska counts milliseconds) and begin elsewhere (MP4 puts a run-up into
/// an edit list, Matroska begins at the first decode time).
fn check_muxed(muxed: &Own, base: Ratio, times: &[i64]) -> Result<(), MediaError> {
    let mut shown = muxed.times.clone();
    shown.sort_unstable();
    if shown.len() != times.len() {
        return unproven(
            "muxed-equals-encoded",
            &format!("{} packets encoded, {} muxed", times.len(), shown.len()),
        );
    }
    let (Some(out), Some(&first), Some(&first_shown)) = (muxed.base, times.first(), shown.first())
    else {
        return unproven("muxed-equals-encoded", "there is no frame");
    };
    let exact = out.den == muxer_timescale(base) * out.num;
    for (time, shown) in times.iter().zip(&shown) {
        let expected = rescale(time - first, base, out);
        let off = (shown - first_shown).abs_diff(expected);
        // Both ends are rounded to the coarser clock.
        if off > u64::from(!exact) {
            return unproven(
                "muxed-times-equal-decoded",
                &format!("{} instead of {expected}", shown - first_shown),
            );
        }
    }
    Ok(())
}
