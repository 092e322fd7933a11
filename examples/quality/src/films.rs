//! The films that `aims` and `joints` measure.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reelraft_media::Tools;

/// Runs ffmpeg over whatever was there before.
///
/// # Panics
/// If it does not end well.
pub fn ffmpeg(tools: &Tools, args: &[&str]) {
    let out = Command::new(&tools.ffmpeg)
        .args(["-v", "error", "-y"])
        .args(args)
        .output()
        .expect("ffmpeg starts");
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(out.status.success(), "{last}");
}

/// The long films of the folder that `REELRAFT_MEDIA` names, else some that are made.
///
/// # Panics
/// If they can't be read or made.
pub fn real_or_made(folder: &Path, tools: &Tools) -> Vec<PathBuf> {
    let real = std::env::var_os("REELRAFT_MEDIA").map(|media| PathBuf::from(media).join("long"));
    if let Some(entries) = real.and_then(|long| std::fs::read_dir(long).ok()) {
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("the folder can be read").path())
            .collect();
        files.sort();
        return files;
    }
    [
        "testsrc2=size=640x360:rate=24",
        "mandelbrot=size=640x360:rate=24",
    ]
    .iter()
    .enumerate()
    .map(|(number, picture)| {
        let path = folder.join(format!("made-{number}.mp4"));
        let made = path.to_str().expect("the folder has a plain name");
        let args = [
            "-nostdin", "-f", "lavfi", "-i", picture, "-t", "16", "-c:v", "libx264", "-crf", "12",
            "-pix_fmt", "yuv420p", "-g", "48", made,
        ];
        ffmpeg(tools, &args);
        path
    })
    .collect()
}
