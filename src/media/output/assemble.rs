//! Assembles the output file from the shards, the audio and the extras, and
//! writes its proof (P3). Nothing is encoded here: the same parts give the same
//! bytes on every node.

use std::path::{Path, PathBuf};

use reelraft_model::spec::Audio;

use crate::{
    error::MediaError,
    facts::{
        containers::{attaches_covers, demuxer, output_file},
        encoded::{Parts, hash},
        index::Index,
        report::{AudioReport, ShardReport},
        text::clip,
    },
    ffmpeg::{context::Context, listeners::ProgressListener, packet_scan::scan_intermediate},
    limits::NOTE_BYTES_MAX,
    output::{
        args::{self, JOINED_FILE, METADATA_FILE},
        checks::{check_audio, check_extras, check_muxed, check_plan, unproven},
        covers,
        join::{JoinedVideo, join_shards},
        notes,
        proof::{self, ProofInput},
    },
};

/// A finished output.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// Its file in the work folder.
    pub path: PathBuf,
    /// BLAKE3 of the output, in hex, as the proof has it.
    pub blake3: String,
    /// What only the whole film shows; empty if nothing is unusual.
    pub note: String,
    /// The proof: JSON, equal bytes for equal work.
    pub proof: Vec<u8>,
}

/// Assembles the output from its parts.
///
/// # Errors
/// [`MediaError::Unproven`] names the check that failed,
/// [`MediaError::PlanMismatch`] means that the shards' codec headers or joints
/// differ.
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
    let notes = notes::of_encoding(index, context.spec, &reports);
    let audio = check_audio(index, &parts.audio)?;
    let video = match &index.facts.source.video {
        Some(_) => Some(join_shards(context, index, &parts.shards, reports).await?),
        None => None,
    };
    let extras = check_extras(index, parts.extras.as_ref())?;
    if let Some(metadata) = &index.facts.metadata {
        std::fs::write(context.work_dir.join(METADATA_FILE), metadata.text())
            .map_err(MediaError::disk("writing the tags"))?;
    }
    mux(context, index, parts).await?;
    let path = context.work_dir.join(output_file(context.spec));
    covers::check_kept(context, index, &path).await?;
    let muxed_frames = match &video {
        Some(video) => check_video(context, &path, video).await?,
        None => 0,
    };
    check_tracks(context, &path, &audio, &extras.cues).await?;
    let blake3 = hash(&path)?;
    let proof = proof::write(&ProofInput {
        index,
        spec: context.spec,
        single,
        video: video.as_ref(),
        muxed_frames,
        audio: &audio,
        extras: &extras,
        notes: &notes,
        output_blake3: &blake3,
    });
    Ok(Assembled {
        path,
        blake3,
        note: clip(&notes.join("; "), NOTE_BYTES_MAX),
        proof,
    })
}

/// Compares the output's video with the joined shards, and removes those.
/// Returns the number of frames.
async fn check_video(
    context: &Context<'_>,
    output: &Path,
    video: &JoinedVideo,
) -> Result<u64, MediaError> {
    let muxed = scan_intermediate(context, output, demuxer(context.spec), "v:0").await?;
    check_muxed(&muxed, video.base, &video.times)?;
    std::fs::remove_file(context.work_dir.join(JOINED_FILE))
        .map_err(MediaError::disk("removing the joined shards"))?;
    Ok(muxed.times.len() as u64)
}

/// Compares the output's audio and subtitle tracks with what was encoded.
async fn check_tracks(
    context: &Context<'_>,
    output: &Path,
    audio: &[AudioReport],
    cues: &[u64],
) -> Result<(), MediaError> {
    let demuxer = demuxer(context.spec);
    for (number, encoded) in audio.iter().enumerate() {
        let muxed = scan_intermediate(context, output, demuxer, &format!("a:{number}")).await?;
        let (muxed, encoded) = (muxed.times.len() as u64, encoded.packets);
        if muxed != encoded {
            return unproven(
                "audio-muxed-equals-encoded",
                &format!("{encoded} packets encoded, {muxed} muxed of track {number}"),
            );
        }
    }
    for (number, cues) in cues.iter().enumerate() {
        let muxed = scan_intermediate(context, output, demuxer, &format!("s:{number}")).await?;
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
    Ok(())
}

/// Muxes the joined shards, audio and extras into the output.
async fn mux(context: &Context<'_>, index: &Index, parts: &Parts) -> Result<(), MediaError> {
    let audio: Vec<PathBuf> = parts.audio.iter().map(|(path, _)| path.clone()).collect();
    let extras = parts.extras.as_ref().map(|(path, _)| path.as_path());
    let extracted = match extras {
        Some(path) if attaches_covers(context.spec.container()) => {
            let count = index.attached_counts().1;
            if count > 0 {
                covers::extract_covers(context, path, count).await?;
            }
            count
        }
        _ => 0,
    };
    let arguments = args::assemble(index, context.spec, &audio, extras);
    let mut listener = ProgressListener::new(&|_| {});
    let exit = context.ffmpeg(&arguments, &mut listener).await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    covers::remove_extracted(context, extracted)?;
    // This step copies what our own muxer wrote, so any error is one too many.
    // The exception: decoders that look into audio copied from a damaged source.
    let copied = match context.spec.audio() {
        Audio::Copy => index.facts.audio_tracks.as_slice(),
        _ => &[],
    };
    let ours = |message: &&String| !copied.iter().any(|track| message.starts_with(&track.codec));
    match listener.diagnostics.kept.iter().find(ours) {
        Some(message) => unproven("muxed-without-complaint", message),
        None => Ok(()),
    }
}
