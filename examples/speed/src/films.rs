//! Films to encode: a real one where there is one, else a made one.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::options::Options;

/// The real film below the folder of real files.
const REAL: &str = "long/sintel_trailer-720p.mp4";

/// A folder of real files, beside the checkout, if no other is named.
const MEDIA: &str = "../shared/media";

/// Frames a second of made films.
const RATE: u32 = 24;

/// The film of a command: `--film FILE`, else the real one repeated up to
/// `--seconds`, else one that is made as large as `--size`.
///
/// # Errors
/// If ffmpeg can't make it.
pub fn film(options: &Options, seconds: u32, folder: &Path) -> Result<PathBuf, String> {
    if let Some(film) = options.text("film") {
        return Ok(film.into());
    }
    let seconds = options.number("seconds", seconds)?;
    let path = folder.join("film.mp4");
    match (real(), options.text("size")) {
        (Some(real), None) => repeated(&real, seconds, &path)?,
        (_, size) => made(seconds, size.unwrap_or("1280x720"), &path)?,
    }
    Ok(path)
}

fn real() -> Option<PathBuf> {
    let media = std::env::var_os("REELRAFT_MEDIA").map_or(MEDIA.into(), PathBuf::from);
    Some(media.join(REAL)).filter(|path| path.exists())
}

/// A film of some length from a shorter one, without encoding it again.
fn repeated(real: &Path, seconds: u32, path: &Path) -> Result<(), String> {
    let mut command = ffmpeg();
    command
        .args(["-stream_loop", "-1", "-i"])
        .arg(real)
        .args([
            "-t",
            &seconds.to_string(),
            "-c",
            "copy",
            "-map",
            "0:v:0",
            "-map",
            "0:a:0?",
        ])
        .arg(path);
    succeed(&mut command)
}

/// A film with a moving picture and a tone.
pub fn made(seconds: u32, size: &str, path: &Path) -> Result<(), String> {
    let video = format!("testsrc2=size={size}:rate={RATE}:duration={seconds}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut command = ffmpeg();
    command
        .args(["-f", "lavfi", "-i", &video, "-f", "lavfi", "-i", &audio])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            "20",
            "-g",
            "96",
        ])
        .args(["-c:a", "aac", "-shortest"])
        .arg(path);
    succeed(&mut command)
}

/// The same film with its index in front of its pictures.
///
/// # Errors
/// If ffmpeg can't make it.
pub fn with_its_index_first(film: &Path, path: &Path) -> Result<PathBuf, String> {
    let mut command = ffmpeg();
    command.arg("-i").arg(film);
    command.args(["-c", "copy", "-map", "0", "-movflags", "+faststart"]);
    succeed(command.arg(path)).map(|()| path.to_path_buf())
}

/// The same film under another tag, so that it is another source.
pub fn tagged(film: &Path, tag: &str, path: &Path) -> Result<(), String> {
    let mut command = ffmpeg();
    command
        .arg("-i")
        .arg(film)
        .args([
            "-c",
            "copy",
            "-map",
            "0",
            "-metadata",
            &format!("comment={tag}"),
        ])
        // The tag comes before the pictures, which lie elsewhere in each.
        .args(["-movflags", "+faststart"])
        .arg(path);
    succeed(&mut command)
}

/// How long a film's pictures last, in seconds.
///
/// # Errors
/// If ffprobe can't tell.
pub fn length_of(film: &Path) -> Result<f64, String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0"]);
    command.args(["-show_entries", "stream=duration", "-of", "csv=p=0"]);
    let output = command.arg(film).output();
    let output = output.map_err(|error| format!("ffprobe does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| format!("{} has no length", film.display()))
}

/// An ffmpeg that says nothing and asks nothing.
pub fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("ffmpeg does not start: {error}")),
    }
}
