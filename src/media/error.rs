//! Every way media work can be refused or fail, each with a kind, a cause, a
//! hint (P10) and a class that tells the cluster whether to try again.

use crate::limits::STALL_MAX;

/// Who is to blame, and so what the cluster does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The work failed here; another node may try.
    Work,
    /// This machine could not do its part.
    NodeFault,
    /// The source or spec is at fault: trying again is pointless.
    Final,
    /// Decoding gave other frames than the packets promised: one shard, please.
    PlanMismatch,
    /// It was told to stop.
    Stopped,
}

/// Why media work gave no result.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// ffmpeg or ffprobe is not installed.
    #[error("{tool} was not found")]
    ToolMissing {
        /// `ffmpeg` or `ffprobe`.
        tool: &'static str,
    },
    /// The system would not start a child.
    #[error("{tool} could not be started: {error}")]
    Spawn {
        /// The program.
        tool: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A file of our own could not be read or written.
    #[error("{what}: {error}")]
    Disk {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A child found no room to write.
    #[error("no space left while {tool} wrote")]
    DiskFull {
        /// The program.
        tool: String,
    },
    /// The source's bytes stopped coming.
    #[error("the source could not be read: {detail}")]
    SourceLost {
        /// What ffmpeg said.
        detail: String,
    },
    /// The source has no bytes.
    #[error("the file is empty")]
    EmptySource,
    /// The source is in no format that is read here.
    #[error("the file is no video that can be read: {detail}")]
    Unreadable {
        /// What ffmpeg said.
        detail: String,
    },
    /// A playlist, session description or the like, which names other files.
    #[error("files of this kind are not opened: {detail}")]
    RefusedFormat {
        /// What ffmpeg said.
        detail: String,
    },
    /// Readable, but without moving pictures.
    #[error("there is no video in this file ({found})")]
    NoVideo {
        /// What there is.
        found: String,
    },
    /// A video stream of which not one frame can be decoded.
    #[error("no frame of the video can be decoded: {detail}")]
    NoFrames {
        /// What ffmpeg said.
        detail: String,
    },
    /// A number in the source beyond what is taken.
    #[error("{what} is {found}, at most {max} is taken")]
    OverLimit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// An output picture below what the encoder takes.
    #[error("a picture of {width}x{height} is too small for this codec")]
    TooSmall {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A part of the picture that lies beyond it.
    #[error("the picture has {width}x{height} pixels, which the asked-for part exceeds")]
    CropMisfit {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A canvas smaller than what is put on it.
    #[error("a picture of {width}x{height} does not fit on the asked-for canvas")]
    PadMisfit {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A filter that looks at neighbours, and pictures that are no longer alike.
    #[error(
        "the picture's size or format changes within the film, where deinterlacing would lose pictures"
    )]
    ChangingPicture,
    /// `--strict` and a source that does not decode cleanly.
    #[error("the source is damaged: {complaint}")]
    DamagedSource {
        /// The first complaint of the decoder, and where.
        complaint: String,
    },
    /// The audio was asked for where there is none.
    #[error("the job has no audio")]
    NoSuchAudioTask,
    /// Extras were asked for where there are none.
    #[error("the job has neither subtitles nor attachments")]
    NoExtras,
    /// Sound alone was asked of a file without any.
    #[error("there is no sound in this file ({found})")]
    SourceHasNoAudio {
        /// What there is.
        found: String,
    },
    /// An audio track was asked for that the source lacks.
    #[error("there is no audio track {number} in this file, it has {tracks}")]
    NoSuchAudioTrack {
        /// The number asked for, from 1.
        number: u32,
        /// How many there are.
        tracks: u32,
    },
    /// An audio track that its encoder or the container does not take.
    #[error("audio track {track} ({codec}) can't be stored in {container} this way: {detail}")]
    AudioMisfit {
        /// Its number in the source, from 1.
        track: u32,
        /// The source's audio codec.
        codec: String,
        /// The output's container.
        container: &'static str,
        /// What ffmpeg said.
        detail: String,
    },
    /// A child ended with an error.
    #[error("{tool} ended with {status}: {detail}")]
    ToolFailed {
        /// The program.
        tool: String,
        /// Exit code or signal in words.
        status: String,
        /// Its last words.
        detail: String,
    },
    /// A child was ended from outside.
    #[error("{tool} was killed (signal {signal})")]
    ToolKilled {
        /// The program.
        tool: String,
        /// The signal.
        signal: i32,
    },
    /// A child showed no progress.
    #[error("{tool} made no progress for {} s", STALL_MAX.as_secs())]
    Stalled {
        /// The program.
        tool: String,
    },
    /// A child said something that is not understood.
    #[error("{tool} gave output that is not understood: {detail}")]
    BadOutput {
        /// The program.
        tool: String,
        /// The part in question.
        detail: String,
    },
    /// Decoding gave other frames than the packets promised.
    #[error("decoded frames differ from the plan: {detail}")]
    PlanMismatch {
        /// Where they differ.
        detail: String,
    },
    /// A check of the proof did not hold (P3).
    #[error("the check '{check}' does not hold: {detail}")]
    Unproven {
        /// Name of the check.
        check: &'static str,
        /// What was found.
        detail: String,
    },
    /// An index or a report of another version, or a damaged one.
    #[error("the {what} can't be read: {detail}")]
    BadRecord {
        /// `index` or `report`.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// HeaderColorTags to stop.
    #[error("stopped")]
    Stopped,
}

impl MediaError {
    /// A stable word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            MediaError::ToolMissing { .. } => "ffmpeg-missing",
            MediaError::Spawn { .. } => "ffmpeg-not-started",
            MediaError::Disk { .. } => "disk",
            MediaError::DiskFull { .. } => "disk-full",
            MediaError::SourceLost { .. } => "source-lost",
            MediaError::EmptySource => "empty-source",
            MediaError::Unreadable { .. } => "unreadable-source",
            MediaError::RefusedFormat { .. } => "refused-format",
            MediaError::NoVideo { .. } => "no-video",
            MediaError::NoFrames { .. } => "no-frames",
            MediaError::OverLimit { .. } => "over-limit",
            MediaError::TooSmall { .. } => "too-small",
            MediaError::CropMisfit { .. } => "crop-misfit",
            MediaError::PadMisfit { .. } => "pad-misfit",
            MediaError::ChangingPicture => "changing-picture",
            MediaError::DamagedSource { .. } => "damaged-source",
            MediaError::NoSuchAudioTask => "no-audio",
            MediaError::NoExtras => "no-extras",
            MediaError::SourceHasNoAudio { .. } => "no-sound",
            MediaError::NoSuchAudioTrack { .. } => "no-audio-track",
            MediaError::AudioMisfit { .. } => "audio-misfit",
            MediaError::ToolFailed { .. } => "ffmpeg-failed",
            MediaError::ToolKilled { .. } => "ffmpeg-killed",
            MediaError::Stalled { .. } => "ffmpeg-stalled",
            MediaError::BadOutput { .. } => "ffmpeg-output",
            MediaError::PlanMismatch { .. } => "plan-mismatch",
            MediaError::Unproven { .. } => "unproven",
            MediaError::BadRecord { .. } => "bad-record",
            MediaError::Stopped => "stopped",
        }
    }

    /// Who is to blame.
    pub fn class(&self) -> Class {
        match self {
            MediaError::ToolMissing { .. }
            | MediaError::Spawn { .. }
            | MediaError::Disk { .. }
            | MediaError::DiskFull { .. }
            | MediaError::SourceLost { .. }
            | MediaError::ToolKilled { .. }
            | MediaError::BadRecord { .. } => Class::NodeFault,
            MediaError::EmptySource
            | MediaError::Unreadable { .. }
            | MediaError::RefusedFormat { .. }
            | MediaError::NoVideo { .. }
            | MediaError::NoFrames { .. }
            | MediaError::OverLimit { .. }
            | MediaError::TooSmall { .. }
            | MediaError::CropMisfit { .. }
            | MediaError::PadMisfit { .. }
            | MediaError::ChangingPicture
            | MediaError::DamagedSource { .. }
            | MediaError::NoSuchAudioTask
            | MediaError::NoExtras
            | MediaError::SourceHasNoAudio { .. }
            | MediaError::NoSuchAudioTrack { .. }
            | MediaError::AudioMisfit { .. } => Class::Final,
            MediaError::ToolFailed { .. }
            | MediaError::Stalled { .. }
            | MediaError::BadOutput { .. }
            | MediaError::Unproven { .. } => Class::Work,
            MediaError::PlanMismatch { .. } => Class::PlanMismatch,
            MediaError::Stopped => Class::Stopped,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            MediaError::ToolMissing { .. } => {
                "install it (on Debian: apt-get install ffmpeg) or set REELRAFT_FFMPEG and REELRAFT_FFPROBE; `reelraft doctor` checks it"
            }
            MediaError::Spawn { .. } => {
                "look at the limits on processes and memory of this machine; `reelraft doctor` checks it"
            }
            MediaError::Disk { .. } => "look at the data folder's disk and its permissions",
            MediaError::DiskFull { .. } => "free some space on the node's data folder",
            MediaError::SourceLost { .. } => {
                "a node that keeps the source did not answer; it is tried again"
            }
            MediaError::EmptySource => {
                "check that the file was fully written, then submit it again"
            }
            MediaError::Unreadable { .. } => {
                "check that it is a whole video file (a cut-off MP4 has lost its index); `ffprobe FILE` says more"
            }
            MediaError::RefusedFormat { .. } => {
                "submit the film itself as MP4, Matroska, MPEG-TS, AVI or the like; playlists and descriptions, which name other files, are never followed"
            }
            MediaError::NoVideo { .. } => {
                "submit a file with a video track; of sound alone make an .m4a, .opus or .flac"
            }
            MediaError::NoFrames { .. } => {
                "the file is encrypted, or a header alone, or damaged throughout; submit a whole and clear one"
            }
            MediaError::OverLimit { .. } => "use a smaller source or a lower frame rate",
            MediaError::TooSmall { .. } => {
                "AV1 needs 64 pixels a side at least; ask for a larger picture or another codec"
            }
            MediaError::CropMisfit { .. } => {
                "ask for a part that lies within the picture, as it stands after rotation"
            }
            MediaError::PadMisfit { .. } => {
                "make the canvas larger, or the picture smaller with --width or --height"
            }
            MediaError::ChangingPicture => {
                "leave --deinterlace off; all pictures are scaled to the first one's size"
            }
            MediaError::DamagedSource { .. } => {
                "without --strict it is made as far as it can be decoded, and the proof lists where"
            }
            MediaError::NoSuchAudioTask | MediaError::NoExtras => {
                "the index says which parts there are"
            }
            MediaError::SourceHasNoAudio { .. } => {
                "submit a file with sound, or write an .mp4 or .mkv"
            }
            MediaError::NoSuchAudioTrack { .. } => {
                "choose among its tracks by --audio-tracks, or leave it out to take all"
            }
            MediaError::AudioMisfit { .. } => {
                "use --audio aac or opus, write an .mkv, or choose other tracks by --audio-tracks"
            }
            MediaError::ToolFailed { .. } => {
                "see the cause; `reelraft doctor` checks the encoders of a machine"
            }
            MediaError::ToolKilled { .. } => {
                "something on the machine ended it (often: too little memory); it is tried again"
            }
            MediaError::Stalled { .. } => "the machine may be overloaded, or the source damaged",
            MediaError::BadOutput { .. } => {
                "ffmpeg 5.1 is what this was made for; `reelraft doctor` shows what there is"
            }
            MediaError::PlanMismatch { .. } => "the job goes on as one shard",
            MediaError::Unproven { .. } => {
                "nothing unproven is handed out; report it together with the source"
            }
            MediaError::BadRecord { .. } => {
                "it was written by another version, or a disk is failing"
            }
            MediaError::Stopped => "it was cancelled or the node is stopping",
        }
    }

    pub(crate) fn disk(what: &'static str) -> impl FnOnce(std::io::Error) -> MediaError {
        move |error| MediaError::Disk { what, error }
    }
}
