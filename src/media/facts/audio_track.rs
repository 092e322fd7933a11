//! An audio track that a job encodes or copies, and how loud it is.

use serde::{Deserialize, Serialize};

use crate::facts::labels::Label;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioTrack {
    /// Index of the stream in the source.
    pub stream: u32,
    /// Its number among the source's audio tracks, from 1; 0 in older analyses.
    #[serde(default)]
    pub number: u32,
    /// How long the container says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_us: Option<i64>,
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u32,
    /// Whether its codec header may come again among its packets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers_repeat: bool,
    /// What its channels are, by ffprobe's name; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub layout: String,
    pub label: Label,
    /// Measured only where the loudness is to be changed.
    pub loudness: Option<Loudness>,
}

/// Measured loudness (EBU R 128), in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loudness {
    /// Integrated loudness in LUFS.
    pub integrated_mlufs: i32,
    /// True peak in dB of full scale.
    pub peak_mdb: i32,
}
