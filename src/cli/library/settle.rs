//! Which files of a watched folder are to be taken: those that have not changed
//! for a while and that nobody writes, and that were not dealt with. Pure but for
//! one look at an open file: the caller gives the time and what it saw.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    library::{stamp::Stamp, walk::Found},
    limits::{FILE_PAUSE_MS_MAX, FILE_PAUSE_MS_MIN},
};

/// The files of a folder, as they were seen.
#[derive(Debug)]
pub struct Settling {
    quiet: Duration,
    files: HashMap<PathBuf, Watched>,
}

#[derive(Debug)]
struct Watched {
    stamp: Stamp,
    /// It looks like that since.
    since: Instant,
    state: State,
    /// How often it was tried since it last changed.
    tries: u32,
}

/// What is done about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waits,
    /// It is being done.
    Runs,
    /// Nothing more, until it changes.
    Ended,
    /// It is tried again.
    PausesUntil(Instant),
}

impl Settling {
    pub fn new(quiet: Duration) -> Self {
        Settling {
            quiet,
            files: HashMap::new(),
        }
    }

    /// What the folder has now. Files that went are forgotten, unless they are
    /// being done.
    pub fn see(&mut self, now: Instant, films: &[Found]) {
        let there: HashSet<&Path> = films.iter().map(|film| film.below.as_path()).collect();
        self.files
            .retain(|path, file| file.state == State::Runs || there.contains(path.as_path()));
        for film in films {
            let file = self.files.entry(film.below.clone()).or_insert(Watched {
                stamp: film.stamp,
                since: now,
                state: State::Waits,
                tries: 0,
            });
            if file.stamp == film.stamp {
                continue;
            }
            // Only what it holds makes it another film; a new mode or a second
            // name is no reason to do it again.
            if !file.stamp.same_content(&film.stamp) {
                file.tries = 0;
                if file.state != State::Runs {
                    file.state = State::Waits;
                }
            }
            file.stamp = film.stamp;
            file.since = now;
        }
    }

    /// The films that may be taken now, the oldest first.
    pub fn ready(&self, now: Instant, films: &[Found]) -> Vec<Found> {
        let may = |film: &&Found| {
            self.files.get(&film.below).is_some_and(|file| {
                let rests = match file.state {
                    State::Waits => true,
                    State::PausesUntil(until) => until <= now,
                    State::Runs | State::Ended => false,
                };
                rests && now.duration_since(file.since) >= self.quiet && film.stamp.bytes > 0
            })
        };
        let mut ready: Vec<Found> = films.iter().filter(may).cloned().collect();
        ready.sort_by(|one, two| {
            let key = |film: &Found| (film.stamp.modified_ns, film.below.clone());
            key(one).cmp(&key(two))
        });
        ready
    }

    /// It is being done.
    pub fn begin(&mut self, film: &Found) {
        if let Some(file) = self.files.get_mut(&film.below) {
            file.state = State::Runs;
            file.tries += 1;
        }
    }

    /// It was done, or is not to be: unless it has changed meanwhile.
    pub fn end(&mut self, film: &Found) {
        if let Some(file) = self.files.get_mut(&film.below) {
            file.state = match file.stamp.same_content(&film.stamp) {
                true => State::Ended,
                false => State::Waits,
            };
        }
    }

    /// It could not be done: it is tried again after a pause, longer each time.
    /// Returns whether that is the first time since it changed.
    pub fn pause(&mut self, now: Instant, film: &Found) -> bool {
        let Some(file) = self.files.get_mut(&film.below) else {
            return true;
        };
        let doubled = FILE_PAUSE_MS_MIN << (file.tries.clamp(1, 16) - 1);
        let pause = Duration::from_millis(doubled.min(FILE_PAUSE_MS_MAX));
        file.state = State::PausesUntil(now + pause);
        file.tries <= 1
    }

    /// How many files are still to be done or are being done. Empty ones are not:
    /// nobody may ever fill them.
    pub fn open(&self) -> usize {
        let open = |file: &&Watched| file.state != State::Ended && file.stamp.bytes > 0;
        self.files.values().filter(open).count()
    }
}

/// Whether somebody has the file open to write it; none where that can't be told.
/// The kernel grants a lease for reading only where nobody has.
pub fn is_written(file: &File) -> Option<bool> {
    let descriptor = file.as_raw_fd();
    // SAFETY: plain numbers, and a descriptor that outlives the calls. Who opens
    // the file in this moment waits until the lease is given back; the signal for
    // that is one that is ignored unless asked for.
    let answer = unsafe {
        libc::fcntl(descriptor, F_SETSIG, libc::SIGURG);
        let answer = libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK);
        if answer == 0 {
            libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
        }
        answer
    };
    if answer == 0 {
        return Some(false);
    }
    let error = std::io::Error::last_os_error();
    (error.raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// Which signal says that a lease is to be given back; Linux has had one number
/// for it on all architectures that this program runs on.
const F_SETSIG: libc::c_int = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transfer::local_files::FileId;

    fn film(name: &str, bytes: u64, modified_ns: i128) -> Found {
        Found {
            root: PathBuf::from("/in"),
            below: PathBuf::from(name),
            stamp: Stamp {
                id: FileId::of_nothing(),
                bytes,
                modified_ns,
                changed_ns: modified_ns,
                links: 1,
            },
        }
    }

    #[test]
    fn a_file_is_taken_once_it_rests() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut settling = Settling::new(Duration::from_secs(10));
        let ready = |settling: &mut Settling, seconds, films: &[Found]| {
            settling.see(at(seconds), films);
            let ready = settling.ready(at(seconds), films).into_iter();
            ready.map(|film| film.below).collect::<Vec<_>>()
        };
        let (a, empty) = (film("a", 5, 2), film("empty", 0, 0));
        assert!(ready(&mut settling, 0, &[a.clone(), empty.clone()]).is_empty());
        // It grows: its rest begins anew.
        let grown = film("a", 9, 3);
        assert!(ready(&mut settling, 9, &[grown.clone(), empty.clone()]).is_empty());
        let older = film("b", 5, 1);
        assert!(ready(&mut settling, 18, &[grown.clone(), older.clone()]).is_empty());
        let both = [grown.clone(), older.clone()];
        assert_eq!(ready(&mut settling, 19, &both), [PathBuf::from("a")]);
        let names = ["b", "a"].map(PathBuf::from);
        assert_eq!(ready(&mut settling, 28, &both), names, "the oldest first");

        settling.begin(&grown);
        assert_eq!(ready(&mut settling, 29, &both), [PathBuf::from("b")]);
        settling.end(&grown);
        settling.begin(&older);
        settling.end(&older);
        assert_eq!(settling.open(), 0);
        // A new mode or name is no new film, other content is.
        let mut touched = grown.clone();
        touched.stamp.changed_ns = 99;
        assert!(ready(&mut settling, 60, &[touched]).is_empty());
        assert!(ready(&mut settling, 61, &[film("a", 9, 7)]).is_empty());
        assert_eq!(ready(&mut settling, 71, &[film("a", 9, 7)]).len(), 1);
    }

    #[test]
    fn what_changed_while_it_was_done_is_done_again_and_failures_pause() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut settling = Settling::new(Duration::from_secs(1));
        let (old, new) = (film("a", 5, 2), film("a", 6, 3));
        settling.see(at(0), std::slice::from_ref(&old));
        settling.begin(&old);
        settling.see(at(5), std::slice::from_ref(&new));
        assert!(settling.ready(at(9), std::slice::from_ref(&new)).is_empty());
        settling.end(&old);
        assert_eq!(settling.ready(at(9), std::slice::from_ref(&new)).len(), 1);

        settling.begin(&new);
        assert!(settling.pause(at(10), &new));
        assert_eq!(settling.open(), 1);
        assert!(
            settling
                .ready(at(10), std::slice::from_ref(&new))
                .is_empty()
        );
        let later = at(10) + Duration::from_millis(FILE_PAUSE_MS_MIN);
        assert_eq!(settling.ready(later, std::slice::from_ref(&new)).len(), 1);
        settling.begin(&new);
        assert!(!settling.pause(later, &new), "it was said before");
        // Gone, it is no longer waited for.
        settling.see(at(99), &[]);
        assert_eq!(settling.open(), 0);
    }

    #[test]
    fn a_writer_is_noticed_where_the_system_tells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let with = is_written(&reader);
        drop(writer);
        let without = is_written(&reader);
        assert!(
            with != Some(false) && without != Some(true),
            "{with:?} {without:?}"
        );
    }
}
