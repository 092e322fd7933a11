//! Wall clocks that can be set wrong while a node runs, one for each node, by
//! libfaketime. The monotonic clock stays as it is.

use std::path::{Path, PathBuf};

/// Where libfaketime is, if Debian's package faketime is installed.
///
/// # Errors
/// If it is not.
pub fn library() -> Result<String, String> {
    let folders = std::fs::read_dir("/usr/lib").map_err(|error| error.to_string())?;
    let candidates = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = candidates
        .chain([PathBuf::from("/usr/lib/faketime/libfaketimeMT.so.1")])
        .find(|path| path.exists());
    found
        .map(|path| path.display().to_string())
        .ok_or("libfaketime is missing: apt-get install faketime".to_string())
}

/// The environment of a node whose clock [`set_clock`] sets.
pub fn environment(folder: &Path, node: u64, library: &str) -> Vec<(String, String)> {
    let file = clock_file(folder, node).display().to_string();
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec()
}

/// Sets a node's wall clock this many seconds ahead. In one step, because a
/// half-written file would be read, too.
///
/// # Errors
/// If the file that holds it can't be written.
pub fn set_clock(folder: &Path, node: u64, ahead_s: i64) -> Result<(), String> {
    let (file, new) = (clock_file(folder, node), folder.join("clock-new"));
    std::fs::write(&new, format!("{ahead_s:+}\n"))
        .and_then(|()| std::fs::rename(&new, &file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn clock_file(folder: &Path, node: u64) -> PathBuf {
    folder.join(format!("clock-{node}"))
}
