//! Assembles the output file from the shards, the audio and the extras, and
//! writes its proof (P3). Nothing is encoded here: the same parts give the same
//! bytes on every node.

use std::path::{Path, PathBuf};

use reelraft_model::spec::Audio;

use crate::{
    audio::args::{AudioIntermediate, muxed_codec},
    error::MediaError,
    facts::{
        containers::{attaches_covers, demuxer, muxer, output_file},
        encoded::{Parts, hash},
        index::Index,
        report::AudioReport,
        text::clip,
        times::{MICROSECONDS, rescale},
    },
    ffmpeg::{
        context::Context,
        describe::describe,
        input::{Input, open_input},
        listeners::ProgressListener,
        log::reject_if_strict,
        packet_scan::{PacketScan, scan_intermediate},
        sample_tables::{self, SampleTables},
    },
    limits::NOTE_BYTES_MAX,
    output::{
        args::{self, JOINED_FILE, METADATA_FILE},
        checks::{
            check_audio, check_clock, check_extras, check_muxed, check_plan, check_sound_headers,
            check_sync, unproven,
        },
        covers,
        join::{JoinedVideo, Joining},
        last_packets::{self, LastPacket},
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

/// See [`crate::assemble`].
pub(crate) async fn assemble(
    context: &Context<'_>,
    index: &Index,
    single: bool,
    parts: &Parts,
) -> Result<Assembled, MediaError> {
    let joining = match &index.facts.source.video {
        Some(_) => Some(Joining::begin(context.spec, index, context.work_dir)?),
        None => None,
    };
    assemble_from(context, index, single, parts, joining).await
}

/// See [`crate::assemble_rest`].
pub(crate) async fn assemble_rest(
    context: &Context<'_>,
    index: &Index,
    single: bool,
    parts: &Parts,
    joining: Joining,
) -> Result<Assembled, MediaError> {
    assemble_from(context, index, single, parts, Some(joining)).await
}

/// Goes on from the shards that are joined, where there is video.
async fn assemble_from(
    context: &Context<'_>,
    index: &Index,
    single: bool,
    parts: &Parts,
    mut joining: Option<Joining>,
) -> Result<Assembled, MediaError> {
    let reports = match &mut joining {
        Some(joining) => joining.take_rest(&parts.shards)?,
        None => Vec::new(),
    };
    check_plan(index, single, &reports)?;
    let audio = check_audio(index, &parts.audio)?;
    let early = notes::ends_early(index, context.spec, &reports, &audio);
    reject_if_strict(&early, context.spec.strict)?;
    let notes = notes::of_encoding(index, context.spec, &reports, &audio);
    let extras = check_extras(index, parts.extras.as_ref())?;
    check_clock(index, &reports, &audio, &extras)?;
    let video = match joining {
        Some(joining) => Some(joining.finish(context, reports).await?),
        None => None,
    };
    if let Some(metadata) = &index.facts.metadata {
        std::fs::write(context.work_dir.join(METADATA_FILE), metadata.text())
            .map_err(MediaError::disk("writing the tags"))?;
    }
    mux(context, index, parts).await?;
    let path = context.work_dir.join(output_file(context.spec));
    covers::check_kept(context, index, &path).await?;
    let mut muxed = Muxed::of(context, &path)?;
    let (muxed_frames, moved_us) = match &video {
        Some(video) => check_video(context, &mut muxed, video).await?,
        None => (0, 0),
    };
    check_tracks(context, index, &mut muxed, &audio, moved_us).await?;
    check_cues(context, &path, &extras.cues).await?;
    let opened = open_input(&Input::File(path.clone()), Some(demuxer(context.spec)));
    let description = describe(context, opened).await?;
    check_sound_headers(description.as_ref())?;
    let blake3 = hash(&path)?;
    let proof = proof::write(&ProofInput {
        index,
        spec: context.spec,
        single,
        video: video.as_ref(),
        engines: &parts.engines,
        muxed_frames,
        audio: &audio,
        extras: &extras,
        notes: &notes,
        output_blake3: &blake3,
        description: description.as_ref(),
    });
    Ok(Assembled {
        path,
        blake3,
        note: clip(&notes.join("; "), NOTE_BYTES_MAX),
        proof,
    })
}

/// The output, of which packets are to be found.
pub(super) struct Muxed<'a> {
    path: &'a Path,
    tables: SampleTables,
}

impl<'a> Muxed<'a> {
    pub fn of(context: &Context<'_>, path: &'a Path) -> Result<Self, MediaError> {
        let tables = match demuxer(context.spec) {
            "mov" => sample_tables::read(path)?,
            _ => SampleTables::default(),
        };
        Ok(Muxed { path, tables })
    }

    /// The packets of the `number`th track of a kind. From the file's own tables if
    /// they say it: for ffprobe a long film is as much work as its muxing.
    pub async fn packets(
        &mut self,
        context: &Context<'_>,
        kind: char,
        number: usize,
    ) -> Result<PacketScan, MediaError> {
        if let Some(scan) = self.tables.take(kind, number) {
            return Ok(scan);
        }
        let (demuxer, stream) = (demuxer(context.spec), format!("{kind}:{number}"));
        scan_intermediate(context, self.path, demuxer, &stream).await
    }
}

/// Compares the output's video with the joined shards, and removes those.
/// Returns the number of frames, and by how much they were moved, in microseconds.
async fn check_video(
    context: &Context<'_>,
    output: &mut Muxed<'_>,
    video: &JoinedVideo,
) -> Result<(u64, i64), MediaError> {
    let muxed = output.packets(context, 'v', 0).await?;
    check_muxed(&muxed, video.base, &video.times)?;
    std::fs::remove_file(context.work_dir.join(JOINED_FILE))
        .map_err(MediaError::disk("removing the joined shards"))?;
    let first = video.times.first().copied().unwrap_or(0);
    let first_us = rescale(first, video.base, MICROSECONDS);
    let moved_us = muxed.span().map_or(0, |span| span.first_us - first_us);
    Ok((muxed.times.len() as u64, moved_us))
}

/// Compares the output's audio tracks with what was encoded.
async fn check_tracks(
    context: &Context<'_>,
    index: &Index,
    output: &mut Muxed<'_>,
    audio: &[AudioReport],
    moved_us: i64,
) -> Result<(), MediaError> {
    let tracks = audio.iter().zip(&index.facts.audio_tracks);
    for (number, (encoded, track)) in tracks.enumerate() {
        let muxed = output.packets(context, 'a', number).await?;
        let (packets, wanted) = (muxed.times.len() as u64, encoded.packets);
        if packets != wanted {
            return unproven(
                "audio-muxed-equals-encoded",
                &format!("{wanted} packets encoded, {packets} muxed of track {number}"),
            );
        }
        if index.facts.source.video.is_some() {
            let paged = !AudioIntermediate::of(context.spec, track).shifted();
            check_sync(number, &muxed, encoded.span, paged, moved_us)?;
        }
    }
    Ok(())
}

/// Compares the output's subtitles with those taken.
async fn check_cues(context: &Context<'_>, output: &Path, cues: &[u64]) -> Result<(), MediaError> {
    let demuxer = demuxer(context.spec);
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

/// Reads the last packets of the audio beside the work of other tasks.
async fn last_packets(
    context: &Context<'_>,
    index: &Index,
    audio: &[PathBuf],
) -> Result<Vec<Option<LastPacket>>, MediaError> {
    let tracks = audio.iter().zip(&index.facts.audio_tracks);
    let parts: Vec<_> = tracks
        .map(|(path, track)| {
            let form = AudioIntermediate::of(context.spec, track);
            (
                path.clone(),
                form,
                muxed_codec(context.spec, track) == "aac",
            )
        })
        .collect();
    let read = move || {
        let parts = parts.iter();
        parts
            .map(|(path, form, aac)| last_packets::of(path, *form, *aac))
            .collect()
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| MediaError::Disk {
            what: "reading the audio",
            error: std::io::Error::other(error),
        })?
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
    let last_packets = match muxer(context.spec) {
        // Matroska says it in another way, which a copy would lose.
        "matroska" | "webm" => Vec::new(),
        _ => last_packets(context, index, &audio).await?,
    };
    let arguments = args::assemble(index, context.spec, &audio, &last_packets, extras);
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
    match listener.diagnostics.messages().find(ours) {
        Some(message) => unproven("muxed-without-complaint", message),
        None => Ok(()),
    }
}
