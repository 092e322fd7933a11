//! Finished files: what encoding gives, and what an assembly takes.

use std::path::{Path, PathBuf};

use crate::error::MediaError;

/// A finished encoding in the work folder.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub path: PathBuf,
    /// SourceFacts the assembly needs; equal bytes for equal work.
    pub report: Vec<u8>,
    /// Frames of video, or packets of audio.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// BLAKE3 of a file, in hex.
pub(crate) fn hash(path: &Path) -> Result<String, MediaError> {
    let disk = || MediaError::disk("hashing an encoded file");
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(disk())?;
    hasher.update_reader(file).map_err(disk())?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// A finished part: its file and its report.
pub type Part = (PathBuf, Vec<u8>);

/// What an output is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The shards, in order.
    pub shards: Vec<Part>,
    /// The audio tracks, in order.
    pub audio: Vec<Part>,
    /// Subtitles and attachments, if there are any.
    pub extras: Option<Part>,
}
