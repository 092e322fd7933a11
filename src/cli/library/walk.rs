//! Films in a folder and, if wanted, in the folders below it. Folders are filled
//! by others, so nothing in them is trusted: links are not followed unless told,
//! pipes and devices are no files, and a file is opened below its folder even
//! if a part of its path became a link meanwhile.

use std::{
    collections::HashSet,
    ffi::{CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use crate::{
    error::os_reason,
    library::stamp::Stamp,
    limits::{FOLDER_DEPTH_MAX, FOLDER_FILES_MAX},
    transfer::local_files::FileId,
};

/// The endings of films, by which a folder's files are taken. Beside a film often
/// lie its subtitles, its picture and notes about it.
const FILMS: [&str; 27] = [
    "3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "ivf", "m2t", "m2ts", "m2v", "m4v",
    "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogv", "qt", "ts", "vob", "webm",
    "wmv",
];

/// Those of sounds.
const SOUNDS: [&str; 20] = [
    "aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "caf", "dts", "eac3", "flac", "m4a", "m4b",
    "mka", "mp3", "oga", "ogg", "opus", "wav", "wma",
];

/// Pictures that may move: those of a page far more often than a film.
const PICTURES: [&str; 1] = ["gif"];

/// Which files of a folder are taken, by the endings of their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Takes {
    #[default]
    All,
    Films,
    Sounds,
}

impl Takes {
    /// Whose names they have.
    pub fn whose(self) -> &'static str {
        match self {
            Takes::All => "a film's or a sound's",
            Takes::Films => "a film's",
            Takes::Sounds => "a sound's",
        }
    }

    /// Whether a file of this name is taken.
    pub fn takes(self, name: &OsStr) -> bool {
        let ending = Path::new(name).extension().unwrap_or_default();
        let one_of = |endings: &[&str]| {
            endings
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        };
        match self {
            Takes::All => one_of(&FILMS) || one_of(&SOUNDS) || one_of(&PICTURES),
            Takes::Films => one_of(&FILMS),
            Takes::Sounds => one_of(&SOUNDS),
        }
    }
}

/// A film in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The folder.
    pub root: PathBuf,
    /// Its path from there.
    pub below: PathBuf,
    pub stamp: Stamp,
}

impl Found {
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.below)
    }
}

/// How folders are looked through.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// The folders in it, too.
    pub recursive: bool,
    /// Links to files and folders, too, wherever they lead.
    pub follow_links: bool,
    pub takes: Takes,
    /// Folders to leave out: those that outputs go to.
    pub left_out: Vec<FileId>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Seen {
    /// By path.
    pub films: Vec<Found>,
    /// Files whose names are no film's or sound's.
    pub passed_over: u64,
    /// Folders that could not be read, and why.
    pub unread: Vec<(PathBuf, String)>,
}

impl Walk {
    /// The films of a folder.
    ///
    /// # Errors
    /// The system's own, of that folder itself.
    pub fn films(&self, root: &Path) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut visited = HashSet::from([FileId::at(root)?]);
        self.folder(root, Path::new(""), 0, &mut seen, &mut visited)?;
        seen.films.sort_by(|one, two| one.below.cmp(&two.below));
        Ok(seen)
    }

    fn folder(
        &self,
        root: &Path,
        below: &Path,
        depth: usize,
        seen: &mut Seen,
        visited: &mut HashSet<FileId>,
    ) -> io::Result<()> {
        for entry in std::fs::read_dir(root.join(below))? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            if is_unfinished(&name) || seen.films.len() >= FOLDER_FILES_MAX {
                continue;
            }
            let found = match self.follow_links {
                true => std::fs::metadata(&path),
                // Of the entry itself.
                false => entry.metadata(),
            };
            // It went meanwhile, or is a link to nothing.
            let Ok(found) = found else { continue };
            let below = below.join(&name);
            if found.is_dir() {
                let id = FileId::of(&found);
                let deeper = self.recursive && depth < FOLDER_DEPTH_MAX;
                if !deeper || self.left_out.contains(&id) || !visited.insert(id) {
                    continue;
                }
                if let Err(error) = self.folder(root, &below, depth + 1, seen, visited) {
                    seen.unread.push((path, os_reason(&error)));
                }
            } else if found.is_file() && self.takes.takes(&name) {
                seen.films.push(Found {
                    root: root.to_path_buf(),
                    below,
                    stamp: Stamp::of(&found),
                });
            } else if found.is_file() {
                seen.passed_over += 1;
            }
        }
        Ok(())
    }

    /// Opens a film that was found.
    ///
    /// # Errors
    /// The system's own; [`io::ErrorKind::NotFound`] also for one that is another
    /// file by now.
    pub fn open(&self, film: &Found) -> io::Result<File> {
        let file = match self.follow_links {
            true => nonblocking(&film.path())?,
            false => open_below(&film.root, &film.below)?,
        };
        let found = file.metadata()?;
        if !found.is_file() || FileId::of(&found) != film.stamp.id {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(file)
    }
}

/// A pipe that has taken the film's name must not hold us up.
fn nonblocking(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path)
}

/// Opens a file below a folder without following links on the way.
fn open_below(root: &Path, below: &Path) -> io::Result<File> {
    let folder = File::open(root)?;
    let path = CString::new(below.as_os_str().as_bytes())?;
    // SAFETY: an all-zero open_how is a valid value. The kernel reads it and the
    // path, which both outlive the call, and gives a descriptor that is ours.
    let answer = unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK) as u64;
        how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        let size = std::mem::size_of::<libc::open_how>();
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size,
        )
    };
    if let Ok(descriptor) = i32::try_from(answer)
        && descriptor >= 0
    {
        // SAFETY: just made by the kernel, and no one else's.
        return Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // A sandbox that does not know the call: the file's identity is checked
        // by the caller.
        Some(libc::ENOSYS | libc::EPERM) => nonblocking(&root.join(below)),
        _ => Err(error),
    }
}

/// Whether a name says that it is not for others: hidden, or still being written.
pub fn is_unfinished(name: &OsStr) -> bool {
    const PARTIAL: [&str; 9] = [
        "part",
        "partial",
        "tmp",
        "temp",
        "crdownload",
        "download",
        "!qb",
        "!ut",
        "filepart",
    ];
    let ending = Path::new(name).extension().unwrap_or_default();
    name.as_bytes().starts_with(b".")
        || name.as_bytes().ends_with(b"~")
        || PARTIAL.iter().any(|it| ending.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        ffi::OsString,
        os::unix::{ffi::OsStringExt, fs::symlink},
    };

    use super::*;

    fn names(seen: &Seen) -> Vec<OsString> {
        let names = seen.films.iter().map(|film| film.below.clone());
        names.map(PathBuf::into_os_string).collect()
    }

    #[test]
    fn films_are_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("in"), folder.path().join("secret.mkv"));
        std::fs::create_dir_all(root.join("b/out")).unwrap();
        std::fs::write(&outside, "x").unwrap();
        let strange = OsString::from_vec(b"new\nline\xff.MKV".to_vec());
        for name in [OsStr::new("a.mov"), &strange, OsStr::new("b/c.mp4")] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        for name in [".hid.mkv", "d.mkv.part", "e.tmp", "n.srt", "b/out/o.mp4"] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        symlink(&outside, root.join("link.mkv")).unwrap();
        symlink(&root, root.join("b/loop")).unwrap();
        let pipe = CString::new(root.join("pipe.mkv").as_os_str().as_bytes()).unwrap();
        // SAFETY: the path outlives the call.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);

        let seen = Walk::default().films(&root).unwrap();
        assert_eq!(names(&seen), [OsString::from("a.mov"), strange.clone()]);
        assert_eq!(seen.passed_over, 1);
        let mut walk = Walk {
            recursive: true,
            left_out: vec![FileId::at(&root.join("b/out")).unwrap()],
            ..Walk::default()
        };
        let seen = walk.films(&root).unwrap();
        assert_eq!(
            names(&seen),
            ["a.mov", "b/c.mp4"]
                .map(OsString::from)
                .into_iter()
                .chain([strange])
                .collect::<Vec<_>>()
        );
        walk.follow_links = true;
        // The loop leads back to where it began.
        assert_eq!(walk.films(&root).unwrap().films.len(), 4);
    }

    #[test]
    fn of_a_folder_in_place_films_are_taken_or_sounds() {
        let taken = |takes: Takes| {
            let names = ["a.MKV", "b.ts", "logo.gif", "theme.mp3", "c.m4a", "d.jpg"];
            let names = names
                .into_iter()
                .filter(|name| takes.takes(OsStr::new(name)));
            names.collect::<Vec<_>>()
        };
        assert_eq!(taken(Takes::Films), ["a.MKV", "b.ts"]);
        assert_eq!(taken(Takes::Sounds), ["theme.mp3", "c.m4a"]);
        assert_eq!(taken(Takes::All).len(), 5);
    }

    #[test]
    fn a_film_that_became_a_link_or_a_pipe_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (folder.path().join("in"), folder.path().join("elsewhere"));
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::write(root.join("b/a.mov"), "mine").unwrap();
        let walk = Walk {
            recursive: true,
            ..Walk::default()
        };
        let film = walk.films(&root).unwrap().films.remove(0);
        assert!(walk.open(&film).is_ok());
        std::fs::rename(root.join("b"), root.join("c")).unwrap();
        std::fs::hard_link(root.join("c/a.mov"), elsewhere.join("a.mov")).unwrap();
        symlink(&elsewhere, root.join("b")).unwrap();
        assert!(walk.open(&film).is_err(), "even if it is the same file");
        std::fs::remove_file(root.join("b")).unwrap();
        std::fs::create_dir(root.join("b")).unwrap();
        let pipe = CString::new(root.join("b/a.mov").as_os_str().as_bytes()).unwrap();
        // SAFETY: the path outlives the call.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert!(walk.open(&film).is_err());
    }
}
