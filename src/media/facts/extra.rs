//! Subtitles, attachments and cover pictures as data, and the intermediate file
//! that carries them from the source to the assembly.

use reelraft_model::spec::{Container, Spec};
use serde::{Deserialize, Serialize};

use crate::facts::labels::Label;

/// What an extra is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExtraKind {
    /// A subtitle track.
    Subtitle,
    /// A file of its own, as a font.
    Attachment,
    /// A picture to show beside the film.
    Cover,
}

impl ExtraKind {
    /// The word in the proof.
    pub fn name(self) -> &'static str {
        match self {
            ExtraKind::Subtitle => "subtitle",
            ExtraKind::Attachment => "attachment",
            ExtraKind::Cover => "cover",
        }
    }

    /// ffmpeg's letter for streams of this kind.
    pub fn letter(self) -> &'static str {
        match self {
            ExtraKind::Subtitle => "s",
            ExtraKind::Attachment => "t",
            ExtraKind::Cover => "v",
        }
    }
}

/// A stream that is taken along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// Number of the stream in the source.
    pub stream: u32,
    /// What it is.
    pub kind: ExtraKind,
    /// The encoder that makes it fit, or `copy`.
    pub encoder: String,
    /// What it is called and meant for.
    pub label: Label,
}

/// Labels of the extras of a kind, in order.
pub(crate) fn labels_of(extras: &[Extra], kind: ExtraKind) -> Vec<&Label> {
    extras
        .iter()
        .filter(|extra| extra.kind == kind)
        .map(|extra| &extra.label)
        .collect()
}

/// How extras are kept between the source and the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtrasIntermediate {
    /// Plain MP4: what ends a cue is a packet of its own, and with a shift
    /// the last one would last as much longer.
    Mp4,
    /// Matroska, late by the shift.
    Matroska,
}

impl ExtrasIntermediate {
    /// The form for a spec.
    pub fn of(spec: &Spec) -> ExtrasIntermediate {
        match spec.container() {
            Container::Mkv | Container::Webm => ExtrasIntermediate::Matroska,
            _ => ExtrasIntermediate::Mp4,
        }
    }

    /// Name in the work folder.
    pub fn file(self) -> &'static str {
        match self {
            ExtrasIntermediate::Mp4 => "extras.mp4",
            ExtrasIntermediate::Matroska => "extras.mkv",
        }
    }

    /// ffmpeg's demuxer for it.
    pub fn demuxer(self) -> &'static str {
        match self {
            ExtrasIntermediate::Mp4 => "mov",
            ExtrasIntermediate::Matroska => "matroska",
        }
    }

    /// Whether its times are late by the shift.
    pub fn shifted(self) -> bool {
        self == ExtrasIntermediate::Matroska
    }
}
