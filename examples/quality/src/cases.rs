//! Which jobs are done: those of `sources/cases.txt` with made clips, and one
//! with each small file of a folder of real ones.

use std::path::{Path, PathBuf};

const CASES: &str = include_str!("../sources/cases.txt");

/// Larger files are left out: all jobs together are a matter of minutes.
const REAL_BYTES_MAX: u64 = 512 << 10;

/// What is made of real files. A file's name decides which of these it gets, so
/// that one more file changes no other row.
const REAL_OPTIONS: [&str; 8] = [
    "--container mp4 --preset ultrafast --width 96 --shard-seconds 1",
    "--container mkv --preset ultrafast --width 96 --audio copy --shard-seconds 1",
    "--container mkv --codec ffv1 --width 64 --shard-seconds 2",
    "--container webm --preset 8 --width 96 --shard-seconds 2",
    "--container mov --codec hevc --preset ultrafast --width 96 --shard-seconds 1",
    "--container mp4 --codec av1 --preset 13 --width 160 --fps 10",
    "--container mkv --preset ultrafast --deinterlace auto --width 128 --pad 160:160 --loudness -16",
    "--container m4a",
];

/// One job.
pub struct Case {
    /// The source's name, relative to the folder that it is from.
    pub name: String,
    /// Where the source is.
    pub path: PathBuf,
    /// Options of `reelraft job submit`.
    pub options: String,
}

/// The jobs of `sources/cases.txt`, with the clips in `folder`.
pub fn made(folder: &Path) -> Vec<Case> {
    CASES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, options)| Case {
            name: name.into(),
            path: folder.join(name),
            options: options.into(),
        })
        .collect()
}

/// A job for each small file below a folder; of equal files the first alone.
///
/// # Errors
/// In words, what can't be read.
pub fn real(media: &Path) -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    collect(media, &mut files).map_err(|error| format!("{}: {error}", media.display()))?;
    files.sort();
    let mut seen = Vec::new();
    let mut cases = Vec::new();
    for path in files {
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let hash = blake3::hash(&bytes);
        if seen.contains(&hash) {
            continue;
        }
        seen.push(hash);
        let name = path.strip_prefix(media).unwrap_or(&path);
        let name = name.to_string_lossy().into_owned();
        let choice = usize::from(blake3::hash(name.as_bytes()).as_bytes()[0]);
        cases.push(Case {
            options: REAL_OPTIONS[choice % REAL_OPTIONS.len()].into(),
            name,
            path,
        });
    }
    Ok(cases)
}

/// Small files below a folder, but for lists of what is in it.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let about = std::fs::metadata(&path)?;
        let list = path.extension().is_some_and(|ending| ending == "tsv");
        if about.is_dir() {
            collect(&path, files)?;
        } else if !list && about.len() <= REAL_BYTES_MAX {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_and_container_is_asked_for() {
        let lines: Vec<String> = made(Path::new(""))
            .into_iter()
            .map(|case| case.options)
            .collect();
        let all = lines.join("\n");
        for codec in ["hevc", "vp9", "av1", "ffv1"] {
            assert!(all.contains(&format!("--codec {codec}")), "{codec}");
        }
        for container in ["mp4", "mkv", "webm", "mov", "m4a", "opus", "flac"] {
            let word = format!("--container {container}");
            assert!(all.contains(&word), "{container}");
        }
    }
}
