//! Which name an output gets: its source's, in the same folder below the target,
//! with the container's ending.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The container where no option names one.
const CONTAINER_DEFAULT: &str = "mp4";

/// The output's path below the target folder. A `turn` above 0 numbers it, where
/// the names before it are taken: `film-2.mp4`.
pub fn output_below(below: &Path, container: Option<&str>, turn: u32) -> PathBuf {
    let mut name = below.file_stem().unwrap_or_default().to_os_string();
    if turn > 0 {
        name.push(format!("-{}", turn + 1));
    }
    name.push(".");
    name.push(container.unwrap_or(CONTAINER_DEFAULT));
    below.with_file_name(name)
}

/// A name for a file that is moved to where its own may be taken: `film-2.mov`.
pub fn numbered(below: &Path, turn: u32) -> PathBuf {
    if turn == 0 {
        return below.to_path_buf();
    }
    let mut name: OsString = below.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{}", turn + 1));
    if let Some(ending) = below.extension() {
        name.push(".");
        name.push(ending);
    }
    below.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders_are_kept() {
        let out = |below: &str, container, turn| output_below(Path::new(below), container, turn);
        assert_eq!(out("a/b.film.mov", None, 0), Path::new("a/b.film.mp4"));
        assert_eq!(out("b.mov", Some("mkv"), 1), Path::new("b-2.mkv"));
        assert_eq!(numbered(Path::new("a/b.mov"), 0), Path::new("a/b.mov"));
        assert_eq!(numbered(Path::new("a/b.mov"), 2), Path::new("a/b-3.mov"));
        assert_eq!(numbered(Path::new("b"), 1), Path::new("b-2"));
    }
}
