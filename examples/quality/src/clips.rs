//! Makes the clips of `sources/clips.txt` with ffmpeg's test sources. ffmpeg is
//! asked for the same bytes on every run, so that a source's hash tells only of
//! ffmpeg's version and of changes in that file.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
};

const CLIPS: &str = include_str!("../sources/clips.txt");

/// Text that clips refer to by name.
const TEXTS: [(&str, &str); 2] = [
    ("captions.srt", include_str!("../sources/captions.srt")),
    ("chapters.txt", include_str!("../sources/chapters.txt")),
];

/// No versions, dates or random numbers, and one thread wherever the number of
/// threads could show in the bytes.
const SAME_BYTES: [&str; 12] = [
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
    "-flags:a",
    "+bitexact",
    "-threads",
    "1",
    "-filter_threads",
    "1",
    "-sws_flags",
    "bicubic+accurate_rnd+bitexact",
];

/// Makes all clips in a folder.
///
/// # Errors
/// In words, which clip could not be made.
pub fn make(folder: &Path) -> Result<(), String> {
    for (name, text) in TEXTS {
        std::fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    for (name, args) in recipes(CLIPS) {
        ffmpeg(folder, &name, &args)?;
    }
    Ok(())
}

/// Names and arguments, in the order of the text, with each `@word` filled in.
fn recipes(text: &str) -> Vec<(String, Vec<String>)> {
    let mut words: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut clips = Vec::new();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for (name, args) in lines.filter_map(|line| line.split_once(": ")) {
        let args = args
            .split_whitespace()
            .flat_map(|arg| match words.get(arg) {
                Some(stands_for) => stands_for.clone(),
                None => vec![arg.to_string()],
            })
            .collect();
        if name.starts_with('@') {
            words.insert(name, args);
        } else {
            clips.push((name.to_string(), args));
        }
    }
    clips
}

fn ffmpeg(folder: &Path, name: &str, args: &[String]) -> Result<(), String> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(args)
        .args(SAME_BYTES)
        .arg(name)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ffmpeg does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} can't be made: {}", said.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_their_arguments() {
        let made = recipes("# what\n@a: -x 1\n@b: @a -y\nclip.mp4: @b -map 0:v -z\n");
        let args = ["-x", "1", "-y", "-map", "0:v", "-z"].map(String::from);
        assert_eq!(made, [("clip.mp4".to_string(), args.to_vec())]);
    }

    #[test]
    fn every_word_is_known() {
        for (name, args) in recipes(CLIPS) {
            let unknown: Vec<_> = args.iter().filter(|arg| arg.starts_with('@')).collect();
            assert!(unknown.is_empty(), "{name}: {unknown:?}");
        }
    }
}
