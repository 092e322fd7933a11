//! The folder that an engine works in: a new one of its own, below the one that was named.
//! What else lies there is its owner's, and stays.

use std::{
    fs::{DirBuilder, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use tracing::{info, warn};

/// What its name begins with; 128 random bits follow.
const PREFIX: &str = "reelraft-engine-";

/// A file in it that says whose it is, locked for as long as its engine lives.
const MARKER: &str = "made-by-reelraft-engine";

/// Removed when this is dropped.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    _marker: File,
}

impl WorkFolder {
    /// Makes one below `place`, which is made too if it is not there, and removes what
    /// killed engines of this user have left there.
    ///
    /// # Errors
    /// The system's own.
    pub fn make(place: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(place)?;
        remove_left(place);
        let path = place.join(format!("{PREFIX}{:032x}", rand::random::<u128>()));
        // Never one that is there: somebody else may have made it, and see all in it.
        DirBuilder::new().mode(0o700).create(&path)?;
        let unmarked = path.join("new");
        let marker = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unmarked)?;
        // Before it has its name: nobody takes it for what a killed one has left.
        if !is_locked_now(&marker) {
            warn!(folder = %path.display(), "it can't be locked, and stays if this engine is killed");
        }
        std::fs::rename(&unmarked, path.join(MARKER))?;
        Ok(WorkFolder {
            path,
            _marker: marker,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes folders of engines that live no more.
fn remove_left(place: &Path) {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if !is_named_as_ours(&path) {
            continue;
        }
        let Some(marker) = marker_of(&path) else {
            continue;
        };
        if is_locked_now(&marker) {
            match std::fs::remove_dir_all(&path) {
                Ok(()) => info!(folder = %path.display(), "removed what a killed engine has left"),
                Err(error) => warn!(folder = %path.display(), %error, "it can't be removed"),
            }
        }
    }
}

fn is_named_as_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let random = name.and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// The marker of a folder that this user's engine has made.
fn marker_of(path: &Path) -> Option<File> {
    // SAFETY: takes nothing, and can't fail.
    let user = unsafe { libc::geteuid() };
    let found = std::fs::symlink_metadata(path).ok()?;
    if !found.is_dir() || found.uid() != user {
        return None;
    }
    let mut options = File::options();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let marker = options.open(path.join(MARKER)).ok()?;
    let found = marker.metadata().ok()?;
    (found.is_file() && found.uid() == user).then_some(marker)
}

/// Locks a file that nobody else holds.
fn is_locked_now(file: &File) -> bool {
    // SAFETY: flock on a descriptor that `file` owns touches no memory.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folders(place: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(place).unwrap().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn what_lies_in_the_named_folder_stays() {
        let place = tempfile::tempdir().unwrap();
        let film = place.path().join("film.mkv");
        std::fs::write(&film, "mine").unwrap();
        // Named as ours, but for the marker or the maker.
        let alike = place.path().join(format!("{PREFIX}{:032x}", 1));
        std::fs::create_dir(&alike).unwrap();
        std::fs::write(alike.join("film.mkv"), "mine").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join(MARKER), "").unwrap();
        let link = place.path().join(format!("{PREFIX}{:032x}", 2));
        symlink(elsewhere.path(), &link).unwrap();
        let before = folders(place.path());

        let work = WorkFolder::make(place.path()).unwrap();
        assert_eq!(work.path().parent(), Some(place.path()));
        let mode = std::fs::metadata(work.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(work.path().join("shard"), "x").unwrap();
        drop(work);
        assert_eq!(folders(place.path()), before);
        assert_eq!(std::fs::read(&film).unwrap(), b"mine");
        assert!(alike.join("film.mkv").exists() && elsewhere.path().join(MARKER).exists());
    }

    #[test]
    fn what_a_killed_engine_has_left_goes_and_a_living_ones_stays() {
        let place = tempfile::tempdir().unwrap();
        let living = WorkFolder::make(place.path()).unwrap();
        let killed = place.path().join(format!("{PREFIX}{:032x}", 3));
        std::fs::create_dir(&killed).unwrap();
        std::fs::write(killed.join(MARKER), "").unwrap();
        let other = WorkFolder::make(place.path()).unwrap();
        assert_ne!(living.path(), other.path());
        assert!(living.path().join(MARKER).exists() && !killed.exists());
    }

    #[test]
    fn a_place_that_takes_no_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert!(WorkFolder::make(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }
}
