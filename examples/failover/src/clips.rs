//! Films that ffmpeg makes for an experiment.

use std::{path::Path, process::Command};

/// Makes a film of generated pictures; `arguments` say of which and how.
///
/// # Errors
/// If ffmpeg fails.
pub fn generate(path: &Path, arguments: &[&str]) -> Result<(), String> {
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"])
        .args(arguments)
        .arg(path)
        .status()
        .map_err(|error| format!("ffmpeg: {error}"))?;
    match made.success() {
        true => Ok(()),
        false => Err(format!("ffmpeg made no {}", path.display())),
    }
}
