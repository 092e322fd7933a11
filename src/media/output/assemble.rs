//! Makes the one output file of the shards and the audio, and its proof (P3).
//! Nothing is encoded here: the same parts give the same bytes on every node.

use std::path::PathBuf;

use reelraft_model::spec::Audio;

use crate::{
    error::MediaError,
    facts::{
        containers::{attached, demuxer, output_file},
        encoded::{Parts, hash},
        index::Index,
        report::ShardReport,
    },
    ffmpeg::{context::Context, listeners::Advance, packet_scan::scan_own},
    output::{
        args::{self, ABOUT_FILE, JOINED_FILE},
        checks::{check_extras, check_muxed, check_plan, check_sounds, unproven},
        covers,
        join::join_shards,
        proof::{self, Facts},
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
    let demuxer = demuxer(context.spec);
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

async fn mux(context: &Context<'_>, index: &Index, parts: &Parts) -> Result<(), MediaError> {
    let audio: Vec<PathBuf> = parts.audio.iter().map(|(path, _)| path.clone()).collect();
    let extras = parts.extras.as_ref().map(|(path, _)| path.as_path());
    let laid_out = match extras {
        Some(path) if attached(context.spec.container()) => {
            let count = index.attached_counts().1;
            if count > 0 {
                covers::lay_out(context, path, count).await?;
            }
            count
        }
        _ => 0,
    };
    let arguments = args::assemble(index, context.spec, &audio, extras);
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
