//! An audio track that a job encodes or copies, and how loud it is.

use serde::{Deserialize, Serialize};

use crate::facts::labels::Label;

/// An audio track that is encoded or copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioTrack {
    /// Number of the stream in the source.
    pub stream: u32,
    /// ffmpeg's name of its codec.
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// Its language, its title and what it is meant for.
    pub label: Label,
    /// How loud it is, where that is to be changed.
    pub loudness: Option<Loudness>,
}

/// What was measured, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loudness {
    /// Integrated loudness in LUFS.
    pub integrated_mlufs: i32,
    /// True peak in dB of full scale.
    pub peak_mdb: i32,
}
