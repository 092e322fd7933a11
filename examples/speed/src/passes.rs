//! What a cluster is held against: one ffmpeg pass, and a plain script.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    cost::{Cost, timed},
    films::ffmpeg,
};

/// The script of the crate that splits, encodes and concatenates.
const SCRIPT: &str = include_str!("split_and_concat.sh");

/// Options of the reference that are there for equal bytes alone, each with its
/// value.
const FOR_EXACTNESS: [&str; 5] = [
    "-threads",
    "-filter_threads",
    "-cpuflags",
    "-row-mt",
    "-force_key_frames:v",
];

/// An encoder's own options of which the same is true.
const OF_ENCODERS: [&str; 3] = ["-x264-params", "-x265-params", "-svtav1-params"];

/// Runs the reference command of a job, which has one thread, on this machine's
/// files.
///
/// # Errors
/// If it fails.
pub fn in_one_thread(reference: &[String], source: &Path, out: &Path) -> Result<Cost, String> {
    run(reference.to_vec(), source, out)
}

/// The same pass with as many threads as ffmpeg takes by itself.
///
/// # Errors
/// If it fails.
pub fn with_own_threads(reference: &[String], source: &Path, out: &Path) -> Result<Cost, String> {
    run(plain(reference), source, out)
}

fn plain(reference: &[String]) -> Vec<String> {
    let mut words = reference.iter().cloned();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let dropped =
            FOR_EXACTNESS.contains(&word.as_str()) || OF_ENCODERS.contains(&word.as_str());
        match dropped {
            true => drop(words.next()),
            false => kept.push(word),
        }
    }
    kept
}

fn run(mut words: Vec<String>, source: &Path, out: &Path) -> Result<Cost, String> {
    let input = words.iter().position(|word| word == "-i");
    let input = input.ok_or("the reference has no input")?;
    words[input + 1] = source.display().to_string();
    words.pop();
    let mut command = Command::new("ffmpeg");
    command
        .args(["-y", "-v", "error"])
        .args(&words[1..])
        .arg(out);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    timed(&mut command)
}

/// Runs the script that splits a film, encodes the pieces and concatenates them:
/// as many at once as there are nodes, with the encoder's options of the job's
/// reference.
///
/// # Errors
/// If it fails.
pub fn by_script(
    reference: &[String],
    at_once: usize,
    source: &Path,
    out: &Path,
    folder: &Path,
) -> Result<Cost, String> {
    let options = plain(reference);
    let from = options.iter().position(|word| word == "-c:v");
    let to = options
        .iter()
        .position(|word| word.starts_with("-map_metadata"));
    let (Some(from), Some(to)) = (from, to) else {
        return Err("the reference does not say how it encodes".into());
    };
    // Up to the sound's first option the words are about the picture.
    let between = &options[from..to];
    let sound = between.iter().position(|word| word == "-map");
    let (picture, sound) = between.split_at(sound.unwrap_or(between.len()));
    let size = options.iter().find(|word| word.contains("scale="));
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "split_and_concat"])
        .args([source, out, folder])
        .arg(at_once.to_string())
        .arg(size.map_or("null", String::as_str))
        .arg(picture.join(" "))
        .arg(sound.get(2..).unwrap_or_default().join(" "));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    timed(&mut command)
}

/// Encodes one clip as somebody would who has nothing but ffmpeg.
///
/// # Errors
/// If it fails.
pub fn simply(options: &[String], source: &Path, out: &Path) -> Result<Cost, String> {
    timed(ffmpeg().arg("-i").arg(source).args(options).arg(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pass_has_its_own_threads() {
        let words = "ffmpeg -cpuflags sse2 -threads 1 -i a -c:v libx264 -x264-params cpu-independent=1 -crf 23 -threads 1 b";
        let words: Vec<String> = words.split(' ').map(String::from).collect();
        assert_eq!(
            plain(&words).join(" "),
            "ffmpeg -i a -c:v libx264 -crf 23 b"
        );
    }
}
