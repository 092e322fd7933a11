//! Clips to transcode, made by ffmpeg, and what a finished file contains.

use std::{fs::File, path::Path, process::Command};

/// Makes a clip with a moving test picture at 24 frames per second and a tone.
///
/// # Panics
/// If ffmpeg fails.
pub fn make_clip(path: &Path, seconds: u32, size: &str) {
    let video = format!("testsrc2=size={size}:rate=24:duration={seconds}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(["-f", "lavfi", "-i", &video, "-f", "lavfi", "-i", &audio])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-g", "48"])
        .args(["-c:a", "aac", "-shortest"])
        .arg(path)
        .status()
        .expect("ffmpeg runs");
    assert!(status.success(), "ffmpeg made no clip: {status}");
}

/// The number of video frames that ffprobe decodes from a file; 0 if it can't.
///
/// # Panics
/// If ffprobe is missing.
pub fn frames_of(path: &Path) -> u64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .trim_end_matches(',')
        .parse()
        .unwrap_or(0)
}

/// The BLAKE3 of a file, in hex.
///
/// # Panics
/// If the file can't be read.
pub fn blake3_of(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hasher.finalize().to_hex().to_string()
}
