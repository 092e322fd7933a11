//! Encodes or copies a whole audio track, separately from the video: cut into
//! shards, it would drift by the encoder's delay at every joint.

use crate::{
    audio::args::{self, AudioIntermediate},
    error::MediaError,
    facts::{
        encoded::{Encoded, hash},
        index::Index,
        report::AudioReport,
        times::Span,
    },
    ffmpeg::{
        context::Context,
        listeners::ProgressListener,
        packet_scan::{scan_fragments, scan_intermediate},
    },
    limits::SHIFT_SECONDS,
};

/// See [`crate::encode_audio`].
pub(crate) async fn encode_audio(
    context: &Context<'_>,
    index: &Index,
    track: u32,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Encoded, MediaError> {
    let Some(audio) = index.facts.audio_tracks.get(track as usize) else {
        return Err(MediaError::NoSuchAudioTask);
    };
    let form = AudioIntermediate::of(context.spec, audio);
    let path = context.work_dir.join(form.file());
    let arguments = args::track(context.input, index, context.spec, audio);
    let mut listener = ProgressListener::new(&progress);
    // To open a source ffmpeg decodes some of its pictures.
    let address_bytes = index.facts.picture.address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    listener.diagnostics.reject_if_strict(context.spec.strict)?;
    let packets = match form {
        AudioIntermediate::Mp4 | AudioIntermediate::Mov => scan_fragments(&path)?,
        _ => scan_intermediate(context, &path, form.demuxer(), "a:0").await?,
    };
    let shift_us = match form.shifted() {
        true => SHIFT_SECONDS * 1_000_000,
        false => 0,
    };
    if packets.times.is_empty() {
        // The first packet came when the track was chosen.
        return Err(MediaError::Unproven {
            check: "audio-encoded",
            detail: format!("track {track} gave nothing"),
        });
    }
    let bytes = std::fs::metadata(&path)
        .map_err(MediaError::disk("reading the audio"))?
        .len();
    let report = AudioReport {
        packets: packets.times.len() as u64,
        complaints: listener.diagnostics.complaints(),
        complaints_total: listener.diagnostics.total,
        blake3: hash(&path)?,
        clock: listener.clock.digest(),
        span: packets.span().map(|span| Span {
            first_us: span.first_us - shift_us,
            last_us: span.last_us - shift_us,
        }),
    };
    Ok(Encoded {
        path,
        frames: report.packets,
        report: report.to_bytes(),
        bytes,
        blake3: report.blake3,
        payload: 0,
        score_micro: 0,
    })
}
