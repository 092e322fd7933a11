//! Finished files: the result of an encoding, and the parts of an output.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::error::MediaError;

/// A finished encoding.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its file in the work folder.
    pub path: PathBuf,
    /// What the assembly needs to know; equal bytes for equal work.
    pub report: Vec<u8>,
    /// Frames of video, packets of audio, or cues of subtitles.
    pub frames: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file, in hex, as the report has it.
    pub blake3: String,
    /// Bytes of its frames alone; 0 where they are none.
    pub payload: u64,
    /// Quality on the scale that the job aims at, in millionths; 0 where none is
    /// asked for.
    pub score_micro: u64,
}

/// BLAKE3 of a file, in hex.
pub(crate) fn hash(path: &Path) -> Result<String, MediaError> {
    let disk = || MediaError::disk("hashing an encoded file");
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(disk())?;
    hasher.update_reader(file).map_err(disk())?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// A finished part of an output: its file and its report.
pub type Part = (PathBuf, Vec<u8>);

/// The parts of an output.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// In the order of the plan.
    pub shards: Vec<Part>,
    /// In the order of the output's tracks.
    pub audio: Vec<Part>,
    /// Subtitles, attachments and covers, if there are any.
    pub extras: Option<Part>,
    /// By shard, those that were made by engines. Of the proof alone: no byte of the
    /// output depends on it.
    pub engines: BTreeMap<u32, MadeByEngine>,
}

/// Which engine made a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MadeByEngine {
    pub number: u64,
    pub name: String,
    /// Whether a node has made the same.
    pub checked: bool,
}
