//! What becomes of the source of a watched folder when it is done or has failed:
//! it stays, goes, or is moved under its own path into another folder, never onto
//! another file.

use std::{
    ffi::OsString,
    fs::{File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{CliError, os_reason},
    library::{
        names::numbered,
        stamp::Stamp,
        walk::{Found, Walk},
    },
    limits::FILE_NUMBERS_MAX,
    transfer::{
        local_files::{new_file_as, rename, sync_folders},
        output_file::{hint_for, unwritable},
    },
};

/// Of files that nobody else may read.
const OWN_MODE: u32 = 0o600;

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
    pub fn apply(&self, walk: &Walk, film: &Found) -> Result<(), CliError> {
        let path = film.path();
        if !is_same(film) {
            return Ok(());
        }
        let (done, place) = match self {
            After::Leave => return Ok(()),
            After::Delete => (std::fs::remove_file(&path), &path),
            After::MoveTo(folder) => (move_below(walk, film, folder), folder),
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

fn move_below(walk: &Walk, film: &Found, folder: &Path) -> io::Result<()> {
    let path = &film.path();
    for turn in 0..FILE_NUMBERS_MAX {
        let to = folder.join(numbered(&film.below, turn));
        let parent = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)?;
        let moved = match rename(path, &to, false) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy(walk, film, (&to, folder))
            }
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
fn copy(walk: &Walk, film: &Found, (to, folder): (&Path, &Path)) -> io::Result<()> {
    let from = walk.open(film)?;
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut hidden = OsString::from(".");
    hidden.push(to.file_name().unwrap_or_default());
    hidden.push(format!(".{:08x}.part", rand::random::<u32>()));
    let hidden = to.with_file_name(hidden);
    let copied = copy_to(from, &hidden).and_then(|()| rename(&hidden, to, false));
    if copied.is_err() {
        let _ = std::fs::remove_file(&hidden);
    }
    copied?;
    sync_folders(to, folder)?;
    if !is_same(film) {
        std::fs::remove_file(to)?;
        return Err(io::Error::other("it changed while it was copied"));
    }
    std::fs::remove_file(film.path())
}

/// Nobody else may read it before it is as its source.
fn copy_to(mut from: File, hidden: &Path) -> io::Result<()> {
    let mut file = new_file_as(hidden, OWN_MODE)?;
    io::copy(&mut from, &mut file)?;
    let found = from.metadata()?;
    // It is ours by now: it must not be run as ours.
    file.set_permissions(Permissions::from_mode(found.mode() & 0o777))?;
    file.set_modified(found.modified()?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_goes_where_it_was_told_and_never_onto_another() {
        let folder = tempfile::tempdir().unwrap();
        let (root, done) = (folder.path().join("in"), folder.path().join("done"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        let walk = &Walk {
            recursive: true,
            ..Walk::default()
        };
        let write = |text: &str| {
            std::fs::write(root.join("a/b.mov"), text).unwrap();
            walk.films(&root).unwrap().films.remove(0)
        };
        let moving = After::MoveTo(done.clone());
        moving.apply(walk, &write("one")).unwrap();
        moving.apply(walk, &write("two")).unwrap();
        assert_eq!(std::fs::read(done.join("a/b.mov")).unwrap(), b"one");
        assert_eq!(std::fs::read(done.join("a/b-2.mov")).unwrap(), b"two");
        let old = write("three");
        let newer = write("a newer one");
        After::Delete.apply(walk, &old).unwrap();
        assert!(newer.path().exists(), "it is another film by now");
        After::Leave.apply(walk, &newer).unwrap();
        After::Delete.apply(walk, &newer).unwrap();
        assert!(!newer.path().exists());
        moving.apply(walk, &newer).unwrap();

        // As to another disk.
        let copy = |film: &Found, name: &str| copy(walk, film, (&done.join(name), &done));
        let film = write("four");
        let mode = |mode| Permissions::from_mode(mode);
        std::fs::set_permissions(film.path(), mode(0o4640)).unwrap();
        copy(&film, "c.mov").unwrap();
        assert!(!film.path().exists());
        assert_eq!(std::fs::read(done.join("c.mov")).unwrap(), b"four");
        let moved = std::fs::metadata(done.join("c.mov")).unwrap();
        assert_eq!(moved.mode() & 0o7777, 0o640);
        let film = write("five");
        assert!(copy(&film, "c.mov").is_err());
        assert!(film.path().exists());
        let newer = write("six, a longer one");
        assert!(copy(&film, "d.mov").is_err());
        assert!(newer.path().exists() && !done.join("d.mov").exists());
    }

    #[test]
    fn a_source_that_became_a_link_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (root, done) = (folder.path().join("in"), folder.path().join("done"));
        let elsewhere = folder.path().join("elsewhere");
        for made in [&root.join("a"), &done, &elsewhere] {
            std::fs::create_dir_all(made).unwrap();
        }
        std::fs::write(root.join("a/b.mov"), "mine").unwrap();
        let walk = Walk {
            recursive: true,
            ..Walk::default()
        };
        let film = walk.films(&root).unwrap().films.remove(0);
        // The very same file, behind a link that another put there.
        std::fs::rename(root.join("a/b.mov"), elsewhere.join("b.mov")).unwrap();
        std::fs::remove_dir(root.join("a")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("a")).unwrap();
        assert!(copy(&walk, &film, (&done.join("b.mov"), &done)).is_err());
        assert_eq!(std::fs::read_dir(&done).unwrap().count(), 0);
        assert!(elsewhere.join("b.mov").exists());

        let hidden = done.join(".hidden");
        let file = new_file_as(&hidden, OWN_MODE).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o077, 0);
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
