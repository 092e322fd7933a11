//! The folders that this node watches, each on a thread of its own. What is known of
//! their films is on the disk beside the outputs and in the cluster's table, so that it
//! may end at any moment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reelraft::{
    config::WatchWords,
    limits::{WATCH_AGAIN, WATCH_NICE, WATCH_STOP_LOOK},
    recent_log::naming_films,
    server::OwnDoor,
};
use reelraft_cli::{OwnNode, WatchedFolder};
use reelraft_model::Problem;
use tokio::sync::watch;
use tracing::{info, warn};

/// Reads what the settings say of them.
///
/// # Errors
/// `bad-config` for options that there are not, for what would be taken for films again,
/// and for two that would take films from each other.
pub fn read(tables: &[WatchWords]) -> Result<Vec<WatchedFolder>, Problem> {
    let refused = |at: usize, cause: String, hint: String| {
        let number = at + 1;
        Problem::new("bad-config", format!("[[watch]] {number}: {cause}"), hint)
    };
    let mut watched = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let parsed = WatchedFolder::parse(&table.words, &table.off);
        watched.push(parsed.map_err(|error| refused(at, error.to_string(), error.hint()))?);
    }
    // Of the paths alone: a disk that does not answer must not hold the node back.
    let places: Vec<_> = watched
        .iter()
        .map(|folder| Places::of(folder, absolute))
        .collect();
    for (at, one) in places.iter().enumerate() {
        let others = places.iter().enumerate().filter(|(other, _)| *other != at);
        for (other, two) in others {
            if let Some((cause, hint)) = one.conflict(two) {
                let cause = format!("{cause} of [[watch]] {}", other + 1);
                return Err(refused(at, cause, hint.to_string()));
            }
        }
    }
    Ok(watched)
}

/// Where a watched folder's files are, and go to.
#[derive(Clone)]
struct Places {
    folder: PathBuf,
    outputs: PathBuf,
    moved_to: Vec<PathBuf>,
    leaves_sources: bool,
}

impl Places {
    fn of(folder: &WatchedFolder, whole: impl Fn(&Path) -> PathBuf) -> Self {
        Places {
            folder: whole(folder.folder()),
            outputs: whole(folder.outputs()),
            moved_to: folder.moved_to().map(&whole).collect(),
            leaves_sources: folder.leaves_sources(),
        }
    }

    /// Why it can't be watched beside another one, and what to do.
    fn conflict(&self, other: &Places) -> Option<(&'static str, &'static str)> {
        if self.outputs.starts_with(&other.folder) {
            return Some((
                "its outputs lie in the folder",
                "name another folder: its outputs would be transcoded again",
            ));
        }
        let mut moved_to = self.moved_to.iter();
        if moved_to.any(|place| place.starts_with(&other.folder)) {
            return Some((
                "its sources are moved into the folder",
                "name another folder for them: they would be transcoded again",
            ));
        }
        let nested =
            self.folder.starts_with(&other.folder) || other.folder.starts_with(&self.folder);
        (nested && !(self.leaves_sources && other.leaves_sources)).then_some((
            "its folder is, holds or lies in the folder",
            "leave the sources of both where they are: what one takes away, the other has not done",
        ))
    }
}

/// A path that can be compared; the disk is not asked.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The same without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = absolute(path);
    let found = path.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        let below = path.strip_prefix(above).ok()?;
        Some(real.join(below))
    });
    found.unwrap_or(path)
}

/// Where each of them really is, as far as that is known by now; each is looked for by its
/// own thread, as its disk may not answer.
struct Known(Mutex<Vec<Option<Places>>>);

impl Known {
    /// Has one known, unless another that is known stands against it.
    fn add(&self, at: usize, places: Places) -> Result<(), (String, &'static str)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known[at] = None;
        for (other, two) in known.iter().enumerate() {
            let Some(two) = two else { continue };
            let here = places.conflict(two);
            if let Some((cause, hint)) = here {
                return Err((format!("{cause} of [[watch]] {}", other + 1), hint));
            }
            if let Some((cause, hint)) = two.conflict(&places) {
                return Err((format!("of [[watch]] {}: {cause} of this", other + 1), hint));
            }
        }
        known[at] = Some(places);
        Ok(())
    }
}

/// Watches them until `stop` is set, and has this node do what is to be done.
pub fn begin(watched: Vec<WatchedFolder>, door: OwnDoor, stop: &watch::Receiver<bool>) {
    let node = OwnNode {
        address: door.address.to_string(),
        connector: door.trust.connector(None),
        secret: door.secret,
    };
    let known = Arc::new(Known(Mutex::new(vec![None; watched.len()])));
    for (at, folder) in watched.into_iter().enumerate() {
        let (node, stop, known) = (node.clone(), stop.clone(), known.clone());
        let name = folder.folder().display().to_string();
        let stands = move |folder: &WatchedFolder| known.add(at, Places::of(folder, real));
        let keep = move || keep(&folder, &node, &stop, stands);
        let started = std::thread::Builder::new().name("watch".into()).spawn(keep);
        if let Err(error) = started {
            warn!(folder = name, %error, "it is not watched: no thread can be started");
        }
    }
}

/// Watches one folder; begins again where that fails, as a disk may be away for a while.
fn keep(
    folder: &WatchedFolder,
    node: &OwnNode,
    stop: &watch::Receiver<bool>,
    stands: impl Fn(&WatchedFolder) -> Result<(), (String, &'static str)>,
) {
    // SAFETY: takes three integers; on Linux it is about this thread and those that it
    // starts.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, WATCH_NICE) };
    let name = folder.folder().display().to_string();
    let mut told = String::new();
    while !*stop.borrow() {
        let tell = {
            let name = name.clone();
            move |text: &str| naming_films(|| info!(folder = name, "{text}"))
        };
        let watching = AssertUnwindSafe(|| {
            stands(folder).map_err(|(cause, hint)| format!("{cause} ({hint})"))?;
            let ended = folder.watch(node, tell, stop.clone());
            ended.map_err(|error| format!("{error} ({})", error.hint()))
        });
        let cause = match catch_unwind(watching) {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause,
            Err(_) => "it ended by a fault of the program".to_string(),
        };
        // Said once, however long it lasts.
        if cause != told {
            let again_s = WATCH_AGAIN.as_secs();
            naming_films(|| {
                warn!(
                    folder = name,
                    cause, again_s, "a folder can't be watched now"
                );
            });
            told = cause;
        }
        rest(WATCH_AGAIN, stop);
    }
}

fn rest(time: Duration, stop: &watch::Receiver<bool>) {
    let begun = Instant::now();
    while begun.elapsed() < time && !*stop.borrow() {
        std::thread::sleep(WATCH_STOP_LOOK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of folders, with their outputs' and what becomes of what is done.
    fn tables(all: &[(&str, &str, &str)]) -> Vec<WatchWords> {
        let table = |(folder, to, done): &(&str, &str, &str)| WatchWords {
            words: vec![
                format!("--to={to}"),
                format!("--done={done}"),
                "--".into(),
                folder.to_string(),
            ],
            off: Vec::new(),
        };
        all.iter().map(table).collect()
    }

    #[test]
    fn folders_that_would_take_from_each_other_are_refused_by_name() {
        // Its own are left out, and two may make different films of what both leave.
        for well in [
            &[("/srv/in", "/srv/in/out", "move=/srv/in/done")][..],
            &[("/srv/in", "/a", "leave"), ("/srv/in", "/b", "leave")],
            &[("/srv/in", "/a", "leave"), ("/srv/in/b", "/b", "leave")],
            &[("/srv/in", "/a", "delete"), ("/srv/in2", "/b", "delete")],
        ] {
            assert_eq!(read(&tables(well)).unwrap().len(), well.len());
        }
        let (outputs, moved) = ("its outputs lie", "its sources are moved");
        for (bad, cause) in [
            (
                [("/srv/a", "/srv/b/x", "leave"), ("/srv/b", "/c", "leave")],
                outputs,
            ),
            (
                [("/srv/a", "/srv/b", "leave"), ("/srv/b", "/srv/a", "leave")],
                outputs,
            ),
            (
                [
                    ("/srv/a", "/x", "move=/srv/b/./"),
                    ("/srv/b", "/y", "leave"),
                ],
                moved,
            ),
            (
                [("/srv/in", "/a", "delete"), ("/srv/in", "/b", "leave")],
                "its folder",
            ),
            (
                [("/srv/in", "/a", "leave"), ("/srv/in/b", "/b", "move=/z")],
                "its folder",
            ),
        ] {
            let problem = read(&tables(&bad)).unwrap_err();
            assert_eq!(problem.kind, "bad-config");
            let cause = format!("[[watch]] 1: {cause}");
            assert!(problem.cause.contains(&cause), "{problem}");
        }
    }

    #[test]
    fn links_are_followed_before_each_watch_and_not_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(at("in")).unwrap();
        for link in ["link", "other"] {
            std::os::unix::fs::symlink(at("in"), at(link)).unwrap();
        }
        let (one, two, three) = (at("in"), at("link"), at("other/deeper"));
        let watched = read(&tables(&[
            (&one, "/a", "delete"),
            (&two, "/b", "leave"),
            (&at("x"), &three, "leave"),
        ]));
        let watched = watched.unwrap();
        let known = Known(Mutex::new(vec![None; watched.len()]));
        let add = |at: usize| known.add(at, Places::of(&watched[at], real));
        add(0).unwrap();
        add(0).unwrap();
        let (cause, _) = add(1).unwrap_err();
        assert!(cause.contains("its folder"), "{cause}");
        let (cause, _) = add(2).unwrap_err();
        assert!(cause.contains("its outputs"), "{cause}");
        // One that nobody knows stands against none.
        known.0.lock().unwrap()[0] = None;
        add(1).unwrap();
    }
}
