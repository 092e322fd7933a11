//! What becomes of the source of a watched folder when it is done or has failed:
//! it stays, goes, or is moved under its own path into another folder, never onto
//! another file.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{CliError, os_reason},
    library::{names::numbered, stamp::Stamp, walk::Found},
    limits::FILE_NUMBERS_MAX,
    transfer::{
        local_files::{new_file, rename, sync_folders},
        output_file::{hint_for, unwritable},
    },
};

/// What becomes of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    Leave,
    Delete,
    MoveTo(PathBuf),
}

/// `leave`, `delete` or `move=DIR`.
///
/// # Errors
/// What to write instead.
pub fn after(text: &str) -> Result<After, String> {
    match text.split_once('=') {
        Some(("move", folder)) if !folder.is_empty() => Ok(After::MoveTo(folder.into())),
        None if text == "leave" => Ok(After::Leave),
        None if text == "delete" => Ok(After::Delete),
        _ => Err("use leave, delete or move=DIR".into()),
    }
}

impl After {
    /// Does it to a film, unless another file has its name by now, or it went.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn apply(&self, film: &Found) -> Result<(), CliError> {
        let path = film.path();
        if !is_same(film) {
            return Ok(());
        }
        let (done, place) = match self {
            After::Leave => return Ok(()),
            After::Delete => (std::fs::remove_file(&path), &path),
            After::MoveTo(folder) => (move_below(film, folder), folder),
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unwritable(place, &os_reason(&error), hint_for(&error)))
            }
            _ => Ok(()),
        }
    }
}

/// Whether what has a film's name is that film, as it was found.
fn is_same(film: &Found) -> bool {
    std::fs::symlink_metadata(film.path())
        .is_ok_and(|found| Stamp::of(&found).same_content(&film.stamp))
}

fn move_below(film: &Found, folder: &Path) -> io::Result<()> {
    let path = &film.path();
    for turn in 0..FILE_NUMBERS_MAX {
        let to = folder.join(numbered(&film.below, turn));
        let parent = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)?;
        let moved = match rename(path, &to, false) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(film, &to, folder),
            moved => moved,
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return sync_folders(&to, folder),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// To another disk: whole and synced under a hidden name, then under its own, and
/// with its folders up to `folder` synced, and only then is the source removed, if
/// it is still what was copied.
fn copy(film: &Found, to: &Path, folder: &Path) -> io::Result<()> {
    let path = &film.path();
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut hidden = OsString::from(".");
    hidden.push(to.file_name().unwrap_or_default());
    hidden.push(format!(".{:08x}.part", rand::random::<u32>()));
    let hidden = to.with_file_name(hidden);
    let copied = copy_to(path, &hidden).and_then(|()| rename(&hidden, to, false));
    if copied.is_err() {
        let _ = std::fs::remove_file(&hidden);
    }
    copied?;
    sync_folders(to, folder)?;
    if !is_same(film) {
        std::fs::remove_file(to)?;
        return Err(io::Error::other("it changed while it was copied"));
    }
    std::fs::remove_file(path)
}

fn copy_to(path: &Path, hidden: &Path) -> io::Result<()> {
    let mut from = File::open(path)?;
    let mut file = new_file(hidden)?;
    io::copy(&mut from, &mut file)?;
    let found = from.metadata()?;
    file.set_permissions(found.permissions())?;
    file.set_modified(found.modified()?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::library::walk::Walk;

    #[test]
    fn a_source_goes_where_it_was_told_and_never_onto_another() {
        let folder = tempfile::tempdir().unwrap();
        let (root, done) = (folder.path().join("in"), folder.path().join("done"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        let write = |text: &str| {
            std::fs::write(root.join("a/b.mov"), text).unwrap();
            let walk = Walk {
                recursive: true,
                ..Walk::default()
            };
            walk.films(&root).unwrap().films.remove(0)
        };
        let moving = After::MoveTo(done.clone());
        moving.apply(&write("one")).unwrap();
        moving.apply(&write("two")).unwrap();
        assert_eq!(std::fs::read(done.join("a/b.mov")).unwrap(), b"one");
        assert_eq!(std::fs::read(done.join("a/b-2.mov")).unwrap(), b"two");
        let old = write("three");
        let newer = write("a newer one");
        After::Delete.apply(&old).unwrap();
        assert!(newer.path().exists(), "it is another film by now");
        After::Leave.apply(&newer).unwrap();
        After::Delete.apply(&newer).unwrap();
        assert!(!newer.path().exists());
        moving.apply(&newer).unwrap();

        // As to another disk.
        let film = write("four");
        copy(&film, &done.join("c.mov"), &done).unwrap();
        assert!(!film.path().exists());
        assert_eq!(std::fs::read(done.join("c.mov")).unwrap(), b"four");
        let film = write("five");
        assert!(copy(&film, &done.join("c.mov"), &done).is_err());
        assert!(film.path().exists());
        let newer = write("six, a longer one");
        assert!(copy(&film, &done.join("d.mov"), &done).is_err());
        assert!(newer.path().exists() && !done.join("d.mov").exists());
    }

    #[test]
    fn ends_are_read_as_they_are_written() {
        assert_eq!(after("move=a b").unwrap(), After::MoveTo("a b".into()));
        assert_eq!(after("leave").unwrap(), After::Leave);
        assert_eq!(after("delete").unwrap(), After::Delete);
        for bad in ["move", "move=", "delete=x", ""] {
            assert!(after(bad).is_err(), "{bad}");
        }
    }
}
