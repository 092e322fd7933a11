//! Encodes or copies the whole audio track, beside the video: cut into shards
//! it would drift by an encoder's run-up at every joint.

use std::path::Path;

use crate::{
    Context,
    error::MediaError,
    index::Index,
    limits::PACKETS_MAX,
    listen::{Advance, Complaints},
    mux_args::{self, SoundForm},
    process::{self, Ended, Listener, Run, Step},
    report::SoundReport,
    shard::{Encoded, hash},
    times::Ratio,
};
use reelraft_model::spec::Audio;

/// Encodes one audio track, by its number from 0 in the output. `progress` gets the milliseconds done so far.
///
/// # Errors
/// [`MediaError::CopyMisfit`] when the container does not take copied packets.
pub async fn encode_audio(
    context: &Context<'_>,
    index: &Index,
    track: u32,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Encoded, MediaError> {
    let Some(sound) = index.head.sound.as_ref().filter(|_| track == 0) else {
        return Err(MediaError::NoSound);
    };
    let form = SoundForm::of(context.spec, sound);
    let path = context.work_dir.join(form.file());
    let arguments = mux_args::audio(context.input, index, context.spec, sound);
    let mut watch = Advance::new(&progress);
    let ended = process::run(
        Run {
            program: &context.tools.ffmpeg,
            args: &arguments,
            folder: context.work_dir,
            address_bytes_extra: 0,
            time_max: None,
        },
        context.cancel,
        &mut watch,
    )
    .await?;
    let failed = matches!(ended, Ended::Badly(_));
    if failed && context.spec.audio() == Audio::Copy && no_header(&watch.complaints) {
        return Err(MediaError::CopyMisfit {
            codec: sound.codec.clone(),
            container: context.spec.container().name(),
        });
    }
    watch.complaints.judge("ffmpeg", ended)?;
    let packets = match std::fs::metadata(&path) {
        Ok(found) if found.len() > 0 => {
            scan_own(context, &path, form.demuxer(), "a:0").await?.times
        }
        // A track can be declared and have nothing in it.
        _ => {
            std::fs::write(&path, b"").map_err(MediaError::disk("writing the audio"))?;
            Vec::new()
        }
    };
    let bytes = std::fs::metadata(&path)
        .map_err(MediaError::disk("reading the audio"))?
        .len();
    let report = SoundReport {
        packets: packets.len() as u64,
        complaints: watch.complaints.kept,
        complaints_total: watch.complaints.total,
        blake3: hash(&path)?,
    };
    Ok(Encoded {
        path,
        frames: report.packets,
        report: report.to_bytes(),
        bytes,
    })
}

fn no_header(complaints: &Complaints) -> bool {
    complaints
        .kept
        .iter()
        .any(|said| said.contains("Could not write header") || said.contains("not supported"))
}

/// Packets of one stream of a file of our own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Presentation times in file order.
    pub times: Vec<i64>,
    /// The stream's time base.
    pub base: Option<Ratio>,
    complaints: Complaints,
}

impl Listener for Own {
    fn stdout(&mut self, line: &str) -> Result<Step, MediaError> {
        if line.is_empty() {
            return Ok(Step::Quiet);
        }
        // Side data leaves a bar behind.
        if let Some(base) = Ratio::parse(line.trim_end_matches('|')) {
            self.base = Some(base);
            return Ok(Step::Alive);
        }
        let time = line.split('|').next().and_then(|time| time.parse().ok());
        let Some(time) = time.filter(|_| self.times.len() < PACKETS_MAX) else {
            return Err(MediaError::BadOutput {
                tool: "ffprobe".into(),
                detail: line.to_string(),
            });
        };
        self.times.push(time);
        Ok(Step::Alive)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        self.complaints.hear(line)?;
        Ok(Step::Quiet)
    }
}

/// Reads the packets of one stream of a file of our own.
pub(crate) async fn scan_own(
    context: &Context<'_>,
    path: &Path,
    demuxer: &str,
    stream: &str,
) -> Result<Own, MediaError> {
    let mut own = Own::default();
    let arguments = mux_args::scan_own(path, demuxer, stream);
    let ended = process::run(
        Run {
            program: &context.tools.ffprobe,
            args: &arguments,
            folder: context.work_dir,
            address_bytes_extra: 0,
            time_max: None,
        },
        context.cancel,
        &mut own,
    )
    .await?;
    own.complaints.judge("ffprobe", ended)?;
    Ok(own)
}
