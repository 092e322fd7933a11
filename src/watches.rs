//! The folders that this node watches, each on a thread of its own. What is known of
//! their films is on the disk beside the outputs and in the cluster's table, so that it
//! may end at any moment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reelraft::{
    config::WatchWords,
    limits::{WATCH_AGAIN, WATCH_NICE, WATCH_STOP_LOOK},
    server::OwnDoor,
};
use reelraft_cli::{OwnNode, WatchedFolder};
use reelraft_model::Problem;
use tokio::sync::watch;
use tracing::{info, warn};

/// Reads what the settings say of them.
///
/// # Errors
/// `bad-config` for options that there are not, and for outputs that would be taken for
/// films.
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
    for (at, maker) in watched.iter().enumerate() {
        let outputs = whole(maker.outputs());
        let mut others = watched.iter().enumerate();
        let other = others
            .find(|(other, taker)| *other != at && outputs.starts_with(whole(taker.folder())));
        if let Some((other, _)) = other {
            let cause = format!("its outputs lie in the folder of [[watch]] {}", other + 1);
            let hint = "name another folder: its outputs would be transcoded again";
            return Err(refused(at, cause, hint.to_string()));
        }
    }
    Ok(watched)
}

/// A path that can be compared, of a folder that need not be there.
fn whole(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.canonicalize().unwrap_or_else(|_| absolute())
}

/// Watches them until `stop` is set, and has this node do what is to be done.
pub fn begin(watched: Vec<WatchedFolder>, door: OwnDoor, stop: &watch::Receiver<bool>) {
    let node = OwnNode {
        address: door.address.to_string(),
        connector: door.trust.connector(None),
        secret: door.secret,
    };
    for folder in watched {
        let (node, stop) = (node.clone(), stop.clone());
        let name = folder.folder().display().to_string();
        let keep = move || keep(&folder, &node, &stop);
        let started = std::thread::Builder::new().name("watch".into()).spawn(keep);
        if let Err(error) = started {
            warn!(folder = name, %error, "it is not watched: no thread can be started");
        }
    }
}

/// Watches one folder; begins again where that fails, as a disk may be away for a while.
fn keep(folder: &WatchedFolder, node: &OwnNode, stop: &watch::Receiver<bool>) {
    // SAFETY: takes three integers; on Linux it is about this thread and those that it
    // starts.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, WATCH_NICE) };
    let name = folder.folder().display().to_string();
    let mut told = String::new();
    while !*stop.borrow() {
        let tell = {
            let name = name.clone();
            move |text: &str| info!(folder = name, "{text}")
        };
        let watching = AssertUnwindSafe(|| folder.watch(node, tell, stop.clone()));
        let cause = match catch_unwind(watching) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error} ({})", error.hint()),
            Err(_) => "it ended by a fault of the program".to_string(),
        };
        // Said once, however long it lasts.
        if cause != told {
            let again_s = WATCH_AGAIN.as_secs();
            warn!(
                folder = name,
                cause, again_s, "a folder can't be watched now"
            );
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

    fn table(folder: &str, to: &str) -> WatchWords {
        WatchWords {
            words: vec![format!("--to={to}"), "--".into(), folder.into()],
            off: Vec::new(),
        }
    }

    #[test]
    fn outputs_that_another_would_take_are_refused_by_name() {
        let read = |tables: &[(&str, &str)]| {
            let tables: Vec<_> = tables
                .iter()
                .map(|(folder, to)| table(folder, to))
                .collect();
            read(&tables)
        };
        // Its own are left out, and two may make different films of one folder.
        assert!(read(&[("/srv/in", "/srv/in/out")]).is_ok());
        assert_eq!(
            read(&[("/srv/in", "/a"), ("/srv/in", "/b")]).unwrap().len(),
            2
        );
        for tables in [
            [("/srv/a", "/srv/b/x"), ("/srv/b", "/srv/c")],
            [("/srv/a", "/srv/b"), ("/srv/b", "/srv/a")],
        ] {
            let problem = read(&tables).unwrap_err();
            assert_eq!(problem.kind, "bad-config");
            assert!(
                problem.cause.contains("[[watch]] 1: its outputs"),
                "{problem}"
            );
        }
    }
}
