//! Replacing a film, killed at each step and run again.
#![allow(clippy::unwrap_used)]

use std::{cell::RefCell, os::unix::fs::symlink};

use super::*;
use crate::library::walk::Walk;

const DAY: Duration = Duration::from_secs(86_400);

const WEEK: Keep = Keep {
    time: Duration::from_secs(7 * 86_400),
    hard_links: false,
};

struct Library {
    folder: tempfile::TempDir,
}

impl Library {
    fn new(name: &str) -> Self {
        let library = Library {
            folder: tempfile::tempdir().unwrap(),
        };
        let path = library.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "the original").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(old).set_accessed(old))
            .unwrap();
        library
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn film(&self) -> Found {
        let walk = Walk {
            recursive: true,
            ..Walk::default()
        };
        walk.films(self.folder.path()).unwrap().films.remove(0)
    }

    fn ledger(&self) -> RefCell<Ledger> {
        RefCell::new(Ledger::open(self.folder.path()).unwrap())
    }

    /// What one run does, from the fetch on.
    fn run(&self, keep: Keep) -> Result<PathBuf, CliError> {
        let film = self.film();
        self.run_with(&film, keep)
    }

    fn run_of(&self, name: &str, keep: Keep) -> Result<PathBuf, CliError> {
        let films = Walk::default().films(self.folder.path()).unwrap().films;
        let film = films.iter().find(|film| film.below == Path::new(name));
        self.run_with(film.unwrap(), keep)
    }

    fn run_with(&self, film: &Found, keep: Keep) -> Result<PathBuf, CliError> {
        let container = container_for(&film.below);
        let new = beside(film, &container);
        std::fs::write(&new, "the output").unwrap();
        let source = Source::open(&film.path()).unwrap();
        let made = Made {
            film,
            source: &source,
            new: &new,
            container: &container,
            spec: b"spec",
        };
        let record = Record {
            key: ledger_key(None, &film.below, &film.stamp, b"spec"),
            bytes_out: "the output".len() as u64,
            ..Record::default()
        };
        made.replace(keep, record, &self.ledger())
    }

    fn end(&self) -> Option<End> {
        let film = self.film();
        let key = ledger_key(None, &film.below, &film.stamp, b"spec");
        let ledger = self.ledger();
        let mut ledger = ledger.borrow_mut();
        ledger.find(&key).unwrap().map(|record| record.end)
    }

    fn kept(&self, name: &str) -> Vec<String> {
        let days = std::fs::read_dir(originals(self.folder.path()));
        let days = days.into_iter().flatten().flatten();
        let texts = days.map(|day| std::fs::read_to_string(day.path().join(name)).unwrap());
        texts.collect()
    }
}

#[test]
fn the_output_takes_the_name_the_mode_and_the_times() {
    let library = Library::new("a/film.MKV");
    let out = library.run(WEEK).unwrap();
    assert_eq!(out, library.path("a/film.MKV"));
    assert_eq!(std::fs::read(&out).unwrap(), b"the output");
    let found = std::fs::metadata(&out).unwrap();
    assert_eq!(
        (found.mode() & 0o777, found.mtime()),
        (0o640, 1_000_000_000)
    );
    assert_eq!(library.kept("a/film.MKV"), ["the original"]);
    assert_eq!(library.end(), Some(End::Made), "it is no source again");
    assert_eq!(std::fs::read_dir(library.path("a")).unwrap().count(), 1);
}

#[test]
fn another_ending_is_another_name_and_the_old_one_goes_last() {
    let library = Library::new("film.avi");
    let out = library.run(WEEK).unwrap();
    assert_eq!(out, library.path("film.mkv"));
    assert!(!library.path("film.avi").exists());
    assert_eq!(library.kept("film.avi"), ["the original"]);
    assert_eq!(library.end(), Some(End::Made));

    // A stranger's film has the name: both stay.
    let library = Library::new("film.avi");
    std::fs::write(library.path("film.mkv"), "a stranger's").unwrap();
    let error = library.run(WEEK).unwrap_err();
    assert!(error.to_string().contains("another file has"), "{error}");
    assert_eq!(
        std::fs::read(library.path("film.avi")).unwrap(),
        b"the original"
    );
    assert_eq!(
        std::fs::read(library.path("film.mkv")).unwrap(),
        b"a stranger's"
    );
}

#[test]
fn a_run_that_was_killed_between_two_steps_is_gone_on_with() {
    // After the link.
    let library = Library::new("film.mkv");
    keep_original(&library.film(), &library.path("film.mkv"), WEEK.time).unwrap();
    assert_eq!(
        unfit(&library.film(), WEEK),
        None,
        "the second name is ours"
    );
    library.run(WEEK).unwrap();
    assert_eq!(library.kept("film.mkv"), ["the original"]);

    // After the rename to another name, before the ledger's line.
    let library = Library::new("film.avi");
    let film = library.film();
    let original = std::fs::read(film.path()).unwrap();
    library.run(WEEK).unwrap();
    std::fs::write(film.path(), original).unwrap();
    let file = File::options().write(true).open(film.path()).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_times(FileTimes::new().set_modified(old)).unwrap();
    drop(file);
    library.run(WEEK).unwrap();
    assert!(!film.path().exists() && library.path("film.mkv").exists());
}

#[test]
fn two_films_of_one_new_name_never_replace_each_other() {
    let library = Library::new("film.avi");
    library.run(WEEK).unwrap();
    // Of the same time and, as its output has, the same size.
    let (out, other) = (library.path("film.mkv"), library.path("film.ts"));
    std::fs::write(&other, "the other one").unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options().write(true).open(&other).unwrap();
    file.set_times(FileTimes::new().set_modified(old).set_accessed(old))
        .unwrap();
    drop(file);
    let before = FileId::at(&out).unwrap();
    for _ in 0..2 {
        let error = library.run_of("film.ts", WEEK).unwrap_err();
        assert!(error.to_string().contains("another file has"), "{error}");
        assert_eq!(FileId::at(&out).unwrap(), before);
        assert_eq!(std::fs::read(&other).unwrap(), b"the other one");
    }
}

#[test]
fn a_film_that_somebody_writes_stays() {
    let library = Library::new("film.mkv");
    let writer = File::options().write(true).open(library.path("film.mkv"));
    let writer = writer.unwrap();
    if is_written(&File::open(library.path("film.mkv")).unwrap()) != Some(true) {
        // A file system without leases.
        return;
    }
    let error = library.run(WEEK).unwrap_err();
    assert!(error.to_string().contains("opened to be"), "{error}");
    drop(writer);
    library.run(WEEK).unwrap();
}

#[test]
fn another_film_under_the_old_name_is_not_removed() {
    let library = Library::new("film.avi");
    let film = library.film();
    let source = Source::open(&film.path()).unwrap();
    let made = Made {
        film: &film,
        source: &source,
        new: &beside(&film, "mkv"),
        container: "mkv",
        spec: b"spec",
    };
    assert_eq!(made.own_stamp(&film.path()), Some(film.stamp));
    std::fs::rename(film.path(), library.path("moved")).unwrap();
    std::fs::write(film.path(), "a newer film").unwrap();
    assert_eq!(made.own_stamp(&film.path()), None);
    let error = keep_original(&film, &film.path(), WEEK.time).unwrap_err();
    assert!(error.to_string().contains("became another"), "{error}");
    let days = std::fs::read_dir(originals(&film.root)).unwrap();
    let kept = days.map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().count());
    assert_eq!(kept.sum::<usize>(), 0);
}

#[test]
fn what_is_left_after_the_last_line_is_finished_and_what_came_back_is_not_removed() {
    let library = Library::new("film.avi");
    let film = library.film();
    std::fs::write(library.path("film.mkv"), "the output").unwrap();
    let record = |film: &Found| Record {
        end: End::Done,
        out: "film.mkv".into(),
        source: film.stamp.text(),
        bytes_out: "the output".len() as u64,
        ..Record::default()
    };
    let before = record(&film);
    // As one puts a backup back: another file, the same name, size and time.
    std::fs::rename(film.path(), library.path("moved")).unwrap();
    std::fs::copy(library.path("moved"), film.path()).unwrap();
    let back = library.film();
    finish(&back, &before, WEEK).unwrap();
    assert!(film.path().exists());
    finish(&back, &record(&back), WEEK).unwrap();
    assert!(!film.path().exists());
    assert_eq!(library.kept("film.avi"), ["the original"]);
}

#[test]
fn a_film_that_changes_meanwhile_stays() {
    let library = Library::new("film.mkv");
    let film = library.film();
    let source = Source::open(&film.path()).unwrap();
    let new = beside(&film, "mkv");
    std::fs::write(&new, "the output").unwrap();
    std::fs::remove_file(film.path()).unwrap();
    std::fs::write(film.path(), "a newer film").unwrap();
    let made = Made {
        film: &film,
        source: &source,
        new: &new,
        container: "mkv",
        spec: b"spec",
    };
    let refused = made.replace(WEEK, Record::default(), &library.ledger());
    assert_eq!(refused.unwrap_err().kind(), "source-unfit");
    assert_eq!(std::fs::read(film.path()).unwrap(), b"a newer film");
    assert!(!new.exists());
}

#[test]
fn links_are_not_replaced_unless_told() {
    let library = Library::new("film.mkv");
    std::fs::hard_link(library.path("film.mkv"), library.path("other.bin")).unwrap();
    let film = library.film();
    assert!(unfit(&film, WEEK).unwrap().contains("hard links"));
    let told = Keep {
        hard_links: true,
        ..WEEK
    };
    assert_eq!(unfit(&film, told), None);
    std::fs::remove_file(film.path()).unwrap();
    symlink(library.path("other.bin"), film.path()).unwrap();
    assert!(unfit(&film, told).unwrap().contains("a link"));
}

#[test]
fn originals_go_after_their_last_day() {
    let library = Library::new("film.mkv");
    library.run(WEEK).unwrap();
    let root = library.folder.path();
    let now = SystemTime::now();
    assert_eq!(remove_old(root, now + 7 * DAY).unwrap(), 0);
    assert_eq!(library.kept("film.mkv"), ["the original"]);
    std::fs::create_dir(originals(root).join("mine")).unwrap();
    assert_eq!(remove_old(root, now + 8 * DAY + DAY).unwrap(), 1);
    assert!(originals(root).join("mine").exists());
    for name in ["1999-13-01", "1999-00-10", "19990-1-10", "1999-1--10"] {
        assert!(!is_day(name), "{name}");
    }
    assert!(is_day("1999-12-31"));
    // Of a link's folder nothing is removed.
    let elsewhere = library.path("elsewhere");
    std::fs::remove_dir_all(originals(root)).unwrap();
    std::fs::create_dir_all(elsewhere.join("1999-12-31")).unwrap();
    symlink(&elsewhere, originals(root)).unwrap();
    assert_eq!(remove_old(root, now).unwrap(), 0);
    assert!(elsewhere.join("1999-12-31").exists());
    assert_eq!(last_day(UNIX_EPOCH, DAY), "1970-01-02");
}
