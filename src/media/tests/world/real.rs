//! Real files, where there are some.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::Clip;

/// The folder with real files, if there is one.
pub fn real() -> Option<PathBuf> {
    let path = std::env::var_os("REELRAFT_MEDIA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media"));
    if path.is_dir() {
        return Some(path);
    }
    // Straight to stderr: what a passing test prints is swallowed.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let said = format!(
        "skipped: {test} finds no real files at {}\n",
        path.display()
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

/// All real files, or those with `ONLY` in their names.
pub fn all(real: &Path) -> Vec<Clip> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut clips: Vec<Clip> = std::fs::read_dir(real)
        .unwrap()
        .filter_map(|entry| std::fs::read_dir(entry.unwrap().path()).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| Clip {
            name: path.strip_prefix(real).unwrap().display().to_string(),
            path,
        })
        .filter(|clip| clip.name.contains(&only))
        .collect();
    clips.sort_by(|one, other| one.name.cmp(&other.name));
    clips
}
