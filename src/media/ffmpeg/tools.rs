//! Where ffmpeg and ffprobe are. Not here: what they can do; see `encoders.rs`.

use std::path::PathBuf;

use crate::error::MediaError;

/// The two programs that this crate runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// Path of ffmpeg.
    pub ffmpeg: PathBuf,
    /// Path of ffprobe.
    pub ffprobe: PathBuf,
}

impl Tools {
    /// Uses `REELRAFT_FFMPEG` and `REELRAFT_FFPROBE`, otherwise searches
    /// `PATH`.
    ///
    /// # Errors
    /// [`MediaError::ToolMissing`] names the missing one.
    pub fn find() -> Result<Tools, MediaError> {
        Ok(Tools {
            ffmpeg: locate("ffmpeg", "REELRAFT_FFMPEG")?,
            ffprobe: locate("ffprobe", "REELRAFT_FFPROBE")?,
        })
    }
}

fn locate(tool: &'static str, variable: &str) -> Result<PathBuf, MediaError> {
    if let Some(named) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(MediaError::ToolMissing { tool })
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
        .ok_or(MediaError::ToolMissing { tool })
}
