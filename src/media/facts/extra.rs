//! Subtitles, attachments and cover pictures as data, and the intermediate file
//! that carries them from the source to the assembly.

use reelraft_model::spec::{Container, Spec};
use serde::{Deserialize, Serialize};

use crate::facts::labels::Label;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExtraKind {
    Subtitle,
    /// An attached file, such as a font.
    Attachment,
    /// A cover picture.
    Cover,
}

impl ExtraKind {
    /// Its name in the proof.
    pub fn name(self) -> &'static str {
        match self {
            ExtraKind::Subtitle => "subtitle",
            ExtraKind::Attachment => "attachment",
            ExtraKind::Cover => "cover",
        }
    }

    /// ffmpeg's stream specifier for this kind.
    pub fn letter(self) -> &'static str {
        match self {
            ExtraKind::Subtitle => "s",
            ExtraKind::Attachment => "t",
            ExtraKind::Cover => "v",
        }
    }
}

/// A stream of the source that the output keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    /// Index of the stream in the source.
    pub stream: u32,
    pub kind: ExtraKind,
    /// The encoder that converts it, or `copy`.
    pub encoder: String,
    pub label: Label,
}

/// Labels of the extras of one kind, in order.
pub(crate) fn labels_of(extras: &[Extra], kind: ExtraKind) -> Vec<&Label> {
    extras
        .iter()
        .filter(|extra| extra.kind == kind)
        .map(|extra| &extra.label)
        .collect()
}

/// The container that carries extras from the source to the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtrasIntermediate {
    /// Plain MP4, unshifted: a packet of its own ends each cue, so a shift
    /// would prolong the last one.
    Mp4,
    /// Matroska, shifted like the shards.
    Matroska,
}

impl ExtrasIntermediate {
    pub fn of(spec: &Spec) -> ExtrasIntermediate {
        match spec.container() {
            Container::Mkv | Container::Webm => ExtrasIntermediate::Matroska,
            _ => ExtrasIntermediate::Mp4,
        }
    }

    pub fn file(self) -> &'static str {
        match self {
            ExtrasIntermediate::Mp4 => "extras.mp4",
            ExtrasIntermediate::Matroska => "extras.mkv",
        }
    }

    pub fn demuxer(self) -> &'static str {
        match self {
            ExtrasIntermediate::Mp4 => "mov",
            ExtrasIntermediate::Matroska => "matroska",
        }
    }

    /// Whether its timestamps are shifted by `SHIFT_SECONDS`.
    pub fn shifted(self) -> bool {
        self == ExtrasIntermediate::Matroska
    }
}
