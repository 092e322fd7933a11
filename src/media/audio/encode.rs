//! Encodes or copies the whole audio track, beside the video: cut into shards
//! it would drift by an encoder's run-up at every joint.

use std::path::Path;

use crate::{
    Context,
    audio::{args as sound_args, args::SoundForm},
    error::MediaError,
    facts::{index::Index, report::SoundReport, times::Ratio},
    ffmpeg::{
        log::{Advance, Complaints},
        process::{Listener, Step},
    },
    limits::PACKETS_MAX,
    output::args as mux_args,
    video::shard::{Encoded, hash},
};

/// Encodes one audio track, by its number from 0 in the output. `progress` gets
/// the milliseconds done so far.
///
/// # Errors
/// [`MediaError::NoSound`] for a number beyond the output's tracks.
pub async fn encode_audio(
    context: &Context<'_>,
    index: &Index,
    track: u32,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Encoded, MediaError> {
    let Some(sound) = index.head.sounds.get(track as usize) else {
        return Err(MediaError::NoSound);
    };
    let form = SoundForm::of(context.spec, sound);
    let path = context.work_dir.join(form.file());
    let arguments = sound_args::track(context.input, index, context.spec, sound);
    let mut watch = Advance::new(&progress);
    let ended = context.ffmpeg(&arguments, &mut watch).await?;
    watch.complaints.judge("ffmpeg", ended)?;
    watch.complaints.strictly(context.spec.strict)?;
    let packets = scan_own(context, &path, form.demuxer(), "a:0").await?.times;
    if packets.is_empty() {
        // Its first packet came when the track was chosen.
        return Err(MediaError::Unproven {
            check: "audio-encoded",
            detail: format!("track {track} gave nothing"),
        });
    }
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

/// Packets of one stream of a file of our own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Presentation times in file order.
    pub times: Vec<i64>,
    /// Packets of more than the two bytes that stand for "nothing is shown".
    pub filled: u64,
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
        let bytes: Option<u64> = line.split('|').nth(2).and_then(|size| size.parse().ok());
        self.filled += u64::from(bytes.is_some_and(|bytes| bytes > 2));
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
    let ended = context.ffprobe(&arguments, &mut own).await?;
    own.complaints.judge("ffprobe", ended)?;
    Ok(own)
}
