//! Every way in which media work is refused or fails. Each has a kind, a cause,
//! a hint (P10) and a class that tells the cluster whether to try again.

use reelraft_model::Problem;

/// What is at fault, and so what the cluster does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The work failed here; another node may try.
    Work,
    /// This machine could not do its part.
    NodeFault,
    /// The source or spec is at fault: trying again is pointless.
    Final,
    /// Decoding gave other frames than the packets promised: make one shard of
    /// the film.
    PlanMismatch,
    /// It was cancelled.
    Stopped,
}

/// Why a step gave no result.
///
/// Fields named `detail` quote what ffmpeg said; `found` is what the source has.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum MediaError {
    /// ffmpeg or ffprobe is not installed.
    #[error("{tool} was not found")]
    ToolMissing { tool: &'static str },
    /// What the environment names is no program.
    #[error("{variable} names {path}, which is no program that this user can run")]
    NoProgram {
        variable: &'static str,
        path: String,
    },
    /// The system would not start a child.
    #[error("{tool} could not be started: {error}")]
    Spawn { tool: String, error: std::io::Error },
    /// A file of our own could not be read or written.
    #[error("{what}: {error}")]
    Disk {
        what: &'static str,
        error: std::io::Error,
    },
    /// A child ran out of disk space.
    #[error("no space left while {tool} wrote")]
    DiskFull { tool: String },
    /// The source's bytes stopped coming.
    #[error("the source could not be read: {detail}")]
    SourceLost { detail: String },
    /// The source has no bytes.
    #[error("the file is empty")]
    EmptySource,
    /// The source is in no format that we read.
    #[error("the file is no video that can be read: {detail}")]
    Unreadable { detail: String },
    /// A playlist, session description or the like, which names other files.
    #[error("files of this kind are not opened: {detail}")]
    RefusedFormat { detail: String },
    /// Readable, but without video.
    #[error("there is no video in this file ({found})")]
    NoVideo { found: String },
    /// The source has no such video track. `number` counts from 1.
    #[error("there is no video track {number} in this file, it has {tracks}")]
    NoSuchVideoTrack { number: u32, tracks: u32 },
    /// The source has no such program.
    #[error("there is no program {number} in this file, it has: {found}")]
    NoSuchProgram { number: u32, found: String },
    /// A stream in a codec that this build of ffmpeg can't decode.
    #[error("the {what} is {}, which this ffmpeg can't decode", codec_name(codec))]
    Undecodable { what: &'static str, codec: String },
    /// A file that can't be read by a build that lacks formats.
    #[error("this ffmpeg can't read the file, and has no demuxer for {demuxers}")]
    DemuxerMissing { demuxers: String },
    /// The picture has no colors but those that Dolby Vision gives it.
    #[error(
        "the picture is Dolby Vision profile {profile}, whose colors no other decoder can make"
    )]
    DolbyVisionAlone { profile: u64 },
    /// A video stream of which no frame can be decoded.
    #[error("no frame of the video can be decoded: {detail}")]
    NoFrames { detail: String },
    /// A number in the source exceeds a limit.
    #[error("{what} is {found}, at most {max} is taken")]
    OverLimit {
        what: &'static str,
        found: u64,
        max: u64,
    },
    /// The output picture is smaller than the encoder accepts.
    #[error("a picture of {width}x{height} is too small for this codec")]
    TooSmall { width: u32, height: u32 },
    /// The crop extends beyond the picture.
    #[error("the picture has {width}x{height} pixels, which the asked-for part exceeds")]
    CropMisfit { width: u32, height: u32 },
    /// The canvas is smaller than the picture.
    #[error("a picture of {width}x{height} does not fit on the asked-for canvas")]
    PadMisfit { width: u32, height: u32 },
    /// The picture changes within the film, and a filter looks at neighboring
    /// frames.
    #[error(
        "the picture's size or format changes within the film, where deinterlacing would lose pictures"
    )]
    ChangingPicture,
    /// The film's clock begins anew midway, in a format in which it must not.
    #[error("the film's clock begins anew after {after} s")]
    ClockRestarts { after: String },
    /// The source does not decode cleanly, and the spec is strict.
    #[error("the source is damaged: {complaint}")]
    DamagedSource { complaint: String },
    /// The job has no audio task of this number.
    #[error("the job has no audio")]
    NoSuchAudioTask,
    /// The job has no extras task.
    #[error("the job has neither subtitles nor attachments")]
    NoExtras,
    /// The output is audio only, and the source has none.
    #[error("there is no sound in this file ({found})")]
    SourceHasNoAudio { found: String },
    /// The spec asks for an audio track that the source lacks. `number` counts
    /// from 1.
    #[error("there is no audio track {number} in this file, it has {tracks}")]
    NoSuchAudioTrack { number: u32, tracks: u32 },
    /// The encoder or the container does not accept an audio track. `track` counts
    /// from 1.
    #[error("audio track {track} ({codec}) can't be stored in {container} this way: {detail}")]
    AudioMisfit {
        track: u32,
        codec: String,
        container: &'static str,
        detail: String,
    },
    /// A child failed.
    #[error("{tool} ended with {status}: {detail}")]
    ToolFailed {
        tool: String,
        status: String,
        detail: String,
    },
    /// A child was killed by someone else.
    #[error("{tool} was killed (signal {signal})")]
    ToolKilled { tool: String, signal: i32 },
    /// A child died of a signal of its own making.
    #[error("{tool} crashed (signal {signal})")]
    ToolCrashed { tool: String, signal: i32 },
    /// The build of ffmpeg lacks an encoder that the spec asks for.
    #[error("this ffmpeg has no encoder {encoder}")]
    EncoderMissing { encoder: String },
    /// The build of ffmpeg refuses an option, filter or format that steps need.
    #[error("this {tool} does not do what is asked of it: {detail}")]
    WrongBuild { tool: String, detail: String },
    /// A program that works, but not inside the sandbox.
    #[error("{tool} works only outside the sandbox of encoders")]
    SandboxMisfit { tool: String },
    /// A child showed no progress.
    #[error("{tool} made no progress for {seconds} s")]
    Stalled { tool: String, seconds: u64 },
    /// A child's output is not understood.
    #[error("{tool} gave output that is not understood: {detail}")]
    BadOutput { tool: String, detail: String },
    /// Decoding gave other frames than the packets promised.
    #[error("decoded frames differ from the plan: {detail}")]
    PlanMismatch { detail: String },
    /// No quality keeps the pictures to the rate that was asked for.
    #[error(
        "the pictures take more than {maxrate} bits a second over a buffer of {bufsize} bits, at any quality"
    )]
    RateExceeded { maxrate: u32, bufsize: u32 },
    /// A check of the proof failed (P3).
    #[error("the check '{check}' does not hold: {detail}")]
    Unproven { check: &'static str, detail: String },
    /// A stored index or report is damaged or of another version.
    #[error("the {what} can't be read: {detail}")]
    BadRecord { what: &'static str, detail: String },
    /// Another machine that was asked for a run gave none.
    #[error("the engine gave nothing: {detail}")]
    Elsewhere { detail: String },
    /// What came of another machine does not suit the film, which may be odd: whose
    /// fault that is only a member finds out.
    #[error("no engine makes this shard: {detail}")]
    NotElsewhere { detail: String },
    /// The step was cancelled.
    #[error("stopped")]
    Stopped,
}

impl MediaError {
    /// A stable word that users and programs match on.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ToolMissing { .. } | Self::NoProgram { .. } => "ffmpeg-missing",
            Self::Spawn { .. } => "ffmpeg-not-started",
            Self::Disk { .. } => "disk",
            Self::DiskFull { .. } => "disk-full",
            Self::SourceLost { .. } => "source-lost",
            Self::EmptySource => "empty-source",
            Self::Unreadable { .. } => "unreadable-source",
            Self::RefusedFormat { .. } => "refused-format",
            Self::NoVideo { .. } => "no-video",
            Self::NoSuchVideoTrack { .. } => "no-video-track",
            Self::NoSuchProgram { .. } => "no-program",
            Self::Undecodable { .. } | Self::DemuxerMissing { .. } => Problem::DECODER_MISSING,
            Self::DolbyVisionAlone { .. } => "dolby-vision",
            Self::NoFrames { .. } => "no-frames",
            Self::OverLimit { .. } => "over-limit",
            Self::TooSmall { .. } => "too-small",
            Self::CropMisfit { .. } => "crop-misfit",
            Self::PadMisfit { .. } => "pad-misfit",
            Self::ChangingPicture => "changing-picture",
            Self::ClockRestarts { .. } => "clock-restarts",
            Self::RateExceeded { .. } => "rate-exceeded",
            Self::DamagedSource { .. } => "damaged-source",
            Self::NoSuchAudioTask => "no-audio",
            Self::NoExtras => "no-extras",
            Self::SourceHasNoAudio { .. } => "no-sound",
            Self::NoSuchAudioTrack { .. } => "no-audio-track",
            Self::AudioMisfit { .. } => "audio-misfit",
            Self::ToolFailed { .. } => "ffmpeg-failed",
            Self::ToolKilled { .. } => "ffmpeg-killed",
            Self::ToolCrashed { .. } => "ffmpeg-crashed",
            Self::EncoderMissing { .. } => Problem::ENCODER_MISSING,
            Self::WrongBuild { .. } => "wrong-build",
            Self::SandboxMisfit { .. } => "sandbox-misfit",
            Self::Stalled { .. } => "ffmpeg-stalled",
            Self::BadOutput { .. } => "ffmpeg-output",
            Self::PlanMismatch { .. } => "plan-mismatch",
            Self::Unproven { .. } => "unproven",
            Self::BadRecord { .. } => "bad-record",
            Self::Elsewhere { .. } => "engine-failed",
            Self::NotElsewhere { .. } => Problem::NOT_FOR_ENGINES,
            Self::Stopped => "stopped",
        }
    }

    /// What is at fault.
    pub fn class(&self) -> Class {
        match self {
            Self::ToolMissing { .. }
            | Self::NoProgram { .. }
            | Self::SandboxMisfit { .. }
            | Self::Spawn { .. }
            | Self::Disk { .. }
            | Self::DiskFull { .. }
            | Self::SourceLost { .. }
            | Self::ToolKilled { .. }
            | Self::BadRecord { .. }
            | Self::Elsewhere { .. }
            // Nodes of another build may have it.
            | Self::EncoderMissing { .. }
            | Self::DemuxerMissing { .. }
            | Self::Undecodable { .. } => Class::NodeFault,
            Self::EmptySource
            | Self::Unreadable { .. }
            | Self::RefusedFormat { .. }
            | Self::NoVideo { .. }
            | Self::NoSuchVideoTrack { .. }
            | Self::NoSuchProgram { .. }
            | Self::DolbyVisionAlone { .. }
            | Self::NoFrames { .. }
            | Self::OverLimit { .. }
            | Self::TooSmall { .. }
            | Self::CropMisfit { .. }
            | Self::PadMisfit { .. }
            | Self::ChangingPicture
            | Self::ClockRestarts { .. }
            | Self::RateExceeded { .. }
            | Self::DamagedSource { .. }
            | Self::NoSuchAudioTask
            | Self::NoExtras
            | Self::SourceHasNoAudio { .. }
            | Self::NoSuchAudioTrack { .. }
            | Self::AudioMisfit { .. }
            // A job keeps to one build, whose other nodes would say the same.
            | Self::WrongBuild { .. } => Class::Final,
            // Of a crash either the tool or the source may be the cause, which
            // only another node's answer tells.
            Self::ToolCrashed { .. }
            | Self::ToolFailed { .. }
            | Self::Stalled { .. }
            | Self::BadOutput { .. }
            | Self::Unproven { .. } => Class::Work,
            Self::PlanMismatch { .. } => Class::PlanMismatch,
            Self::NotElsewhere { .. } | Self::Stopped => Class::Stopped,
        }
    }

    /// Whether the machine may be at fault and not its build of ffmpeg: the next
    /// try may go well.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::EncoderMissing { .. }
            | Self::DemuxerMissing { .. }
            | Self::Undecodable { .. } => false,
            // On a machine without memory to spare much comes half.
            Self::Stalled { .. } | Self::ToolCrashed { .. } | Self::BadOutput { .. } => true,
            other => other.class() == Class::NodeFault,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ToolMissing { .. } => {
                "install it (on Debian: apt-get install ffmpeg) or set REELRAFT_FFMPEG and REELRAFT_FFPROBE; `reelraft doctor` checks it"
            }
            Self::Spawn { .. } => {
                "look at the limits on processes and memory of this machine; `reelraft doctor` checks it"
            }
            Self::Disk { .. } => "look at the data folder's disk and its permissions",
            Self::DiskFull { .. } => "free some space on the node's data folder",
            Self::SourceLost { .. } => {
                "a node that keeps the source did not answer; it is tried again"
            }
            Self::EmptySource => "check that the file was fully written, then submit it again",
            Self::Unreadable { .. } => {
                "check that it is a whole video file (a cut-off MP4 has lost its index); `ffprobe FILE` says more"
            }
            Self::RefusedFormat { .. } => {
                "submit the film itself as MP4, Matroska, MPEG-TS, AVI or the like; playlists and descriptions, which name other files, are never followed"
            }
            Self::NoVideo { .. } => {
                "submit a file with a video track; of sound alone make an .m4a, .opus or .flac"
            }
            Self::NoSuchVideoTrack { .. } => "choose another --video-track, or leave it out",
            Self::NoSuchProgram { .. } => "choose another --program, or leave it out",
            Self::Undecodable { codec, .. } => decoder_hint(codec),
            Self::DemuxerMissing { .. } => DEMUXER_HINT,
            Self::DolbyVisionAlone { .. } => {
                "give --ignore-dolby-vision to take it with wrong colors, or submit it converted, or with a layer for other players (profile 8)"
            }
            Self::NoFrames { .. } => {
                "the file is encrypted, or a header alone, or damaged throughout; submit a whole and clear one"
            }
            Self::OverLimit { .. } => "use a smaller source or a lower frame rate",
            Self::ChangingPicture => {
                "leave --deinterlace off; all pictures are scaled to the first one's size"
            }
            Self::ClockRestarts { .. } => {
                "cut the file there and submit its parts, or convert it with a tool that gives it one clock"
            }
            Self::DamagedSource { .. } => {
                "without --strict (--allow-damaged where sources are replaced, moved or deleted) it is made as far as it can be decoded, and the proof lists where"
            }
            Self::NoSuchAudioTask | Self::NoExtras => "the index says which parts there are",
            Self::SourceHasNoAudio { .. } => "submit a file with sound, or write an .mp4 or .mkv",
            Self::NoSuchAudioTrack { .. } => {
                "choose among its tracks by --audio-tracks, or leave it out to take all"
            }
            Self::AudioMisfit { .. } => {
                "use --audio aac or opus, write an .mkv, or choose other tracks by --audio-tracks"
            }
            Self::PlanMismatch { .. } => "the job goes on as one shard",
            Self::Unproven { .. } => {
                "nothing unproven is handed out; report it together with the source"
            }
            Self::BadRecord { .. } => "it was written by another version, or a disk is failing",
            Self::Elsewhere { .. } | Self::NotElsewhere { .. } => {
                "a member makes it in the engine's place"
            }
            Self::Stopped => "it was cancelled or the node is stopping",
            other => other.hint_on_wish(),
        }
    }

    /// The same where the source can't have what was asked for.
    fn hint_on_wish(&self) -> &'static str {
        match self {
            Self::TooSmall { .. } => {
                "AV1 needs 64 pixels a side at least; ask for a larger picture or another codec"
            }
            Self::CropMisfit { .. } => {
                "ask for a part that lies within the picture, as it stands after rotation"
            }
            Self::PadMisfit { .. } => {
                "make the canvas larger, or the picture smaller with --width or --height"
            }
            Self::RateExceeded { .. } => {
                "raise --maxrate or --bufsize, or ask for smaller pictures with --width"
            }
            tool => tool.hint_on_tool(),
        }
    }

    /// The same where ffmpeg is to blame.
    fn hint_on_tool(&self) -> &'static str {
        match self {
            Self::NoProgram { .. } => {
                "name the program itself, not the folder that it is in; `reelraft doctor` checks it"
            }
            Self::ToolKilled { .. } => {
                "something on the machine ended it (often: too little memory); it is tried again"
            }
            Self::ToolCrashed { .. } => {
                "the program itself is at fault: install another build of it (some static builds crash on MPEG-TS); `reelraft doctor` checks it"
            }
            Self::EncoderMissing { .. } => {
                "install an ffmpeg that has it, or choose another codec; `reelraft doctor` lists what works"
            }
            Self::SandboxMisfit { .. } => {
                "it needs files that encoders may not read: install it below /usr, or with its libraries in `lib` beside its `bin`, or name their folder in LD_LIBRARY_PATH"
            }
            Self::WrongBuild { .. } => {
                "the source is not at fault: install ffmpeg 5.1 or later with its usual parts; `reelraft doctor` lists what works"
            }
            Self::Stalled { .. } => {
                "the machine may be overloaded, the program broken, or the source damaged"
            }
            Self::BadOutput { .. } => {
                "ffmpeg 5.1 to 9 were tried; `reelraft doctor` shows what there is"
            }
            _ => "see the cause; `reelraft doctor` checks the encoders of a machine",
        }
    }

    /// Wraps an error of a file of our own; `what` says what was being done.
    pub(crate) fn disk(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Disk { what, error }
    }
}

/// Codecs that some builds of ffmpeg can't decode: ffmpeg's and containers'
/// names for them, what people call them, and what can be done.
const RARE_CODECS: [(&[&str], &str, &str); 5] = [
    (
        &["vvc", "vvc1", "vvi1"],
        "VVC (H.266)",
        "ffmpeg 7.1 or later decodes it: install that on the nodes, or submit another codec",
    ),
    (
        &["mpegh_3d_audio", "mhm1", "mhm2", "mha1", "mha2"],
        "MPEG-H 3D Audio",
        "ffmpeg has no decoder of its own: keep it by --audio copy, or choose other tracks by --audio-tracks",
    ),
    (
        &["ac4", "ac-4"],
        "AC-4",
        "ffmpeg has no decoder of its own: keep it by --audio copy, or choose other tracks by --audio-tracks",
    ),
    (
        &["webp", "webp_anim", "animated WebP"],
        "animated WebP",
        "ffmpeg 9.0 or later decodes it, with an ffprobe of that version: install both on the nodes, or convert it first, to GIF, APNG or a video",
    ),
    (
        &["apv", "apv1"],
        "APV",
        "ffmpeg 8.0 or later decodes it: install that on the nodes, or submit another codec",
    ),
];

fn rare(codec: &str) -> Option<&'static (&'static [&'static str], &'static str, &'static str)> {
    RARE_CODECS
        .iter()
        .find(|(names, ..)| names.contains(&codec))
}

/// What people call a codec.
pub(crate) fn codec_name(codec: &str) -> &str {
    rare(codec).map_or(codec, |(_, name, _)| name)
}

const DEMUXER_HINT: &str = "check that it is a whole video file, or install an ffmpeg that reads all formats on the nodes; `ffmpeg -demuxers` lists what it has";

fn decoder_hint(codec: &str) -> &'static str {
    rare(codec).map_or(
        "install an ffmpeg that has its decoder on the nodes, or submit another codec; `ffmpeg -codecs` lists what it has",
        |(.., hint)| hint,
    )
}
