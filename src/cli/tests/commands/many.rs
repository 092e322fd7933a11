//! Many files: a folder of them, a watched folder, and a library in place. The
//! fake cluster has one job for all, so that all films hold the same bytes.

use std::{
    ffi::CString,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use reelraft_cli::exit;
use reelraft_proto::v1::JobState;

use crate::{
    fake::FakeCluster,
    line::{Folder, code, film, process, word},
};

/// An output of 61 % of its source. Sources are of one chunk: a larger one's root
/// depends on the chunks' size, which the fake has smaller.
fn small() -> Vec<u8> {
    film(1)[..40_000].to_vec()
}

/// A cluster whose job succeeds.
fn cluster(output: Vec<u8>) -> FakeCluster {
    let fake = FakeCluster::start(1);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = output.into();
    });
    fake
}

/// As nobody writes to it any more.
fn settle(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let before = SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(before).unwrap();
}

/// A folder with films in it and in a folder of it.
fn films(folder: &Folder, name: &str) -> PathBuf {
    let films = folder.path(name);
    fs::create_dir_all(films.join("b")).unwrap();
    for name in ["a.mov", "b/c.mkv"] {
        fs::write(films.join(name), film(1)).unwrap();
    }
    films
}

fn submits(fake: &FakeCluster) -> usize {
    fake.with(|world| world.submits)
}

#[tokio::test]
async fn many_files_keep_their_folders_and_are_done_once() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "films"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    let fake = cluster(film(7));
    let words = ["transcode", word(&films), "-r", "--to", word(&out)];
    let words = [&words[..], &["--at-once", "1"]].concat();
    assert_eq!(code(&fake, &words).await, exit::OK);
    for name in ["a.mp4", "b/c.mp4"] {
        assert_eq!(fs::read(out.join(name)).unwrap(), film(7), "{name}");
    }
    assert_eq!(submits(&fake), 2);
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(submits(&fake), 2, "nothing is asked for again");
    fs::remove_file(out.join("a.mp4")).unwrap();
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!((submits(&fake), out.join("a.mp4").exists()), (3, true));

    // Another's file has the name of an output.
    fs::write(films.join("d.mov"), film(1)).unwrap();
    fs::write(out.join("d.mp4"), "another's").unwrap();
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    let skipping = [&words[..], &["--skip-existing"]].concat();
    assert_eq!(code(&fake, &skipping).await, exit::OK);
    assert_eq!(fs::read(out.join("d.mp4")).unwrap(), b"another's");
    let over = [&words[..], &["--overwrite"]].concat();
    assert_eq!(code(&fake, &over).await, exit::OK);
    assert_eq!(fs::read(out.join("d.mp4")).unwrap(), film(7));
}

#[test]
fn failures_are_named_at_the_end_and_hold_up_no_other() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "films"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    let fake = cluster(small());
    let missing = folder.path("missing.mov");
    let words = [
        "transcode",
        word(&missing),
        word(&films),
        "--to",
        word(&out),
    ];
    let output = process(&fake, &words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit::FAILED.into()), "{said}");
    assert!(out.join("a.mp4").exists());
    let end: Vec<&str> = said.lines().rev().take(4).collect();
    assert!(end[0].starts_with("hint: each is named above"), "{said}");
    assert_eq!(end[1], "error: files-failed: 1 of 2 files failed");
    assert!(end[2].starts_with("2 files: 1 done, 1 failed; "), "{said}");
    assert!(end[2].ends_with(" saved"), "{said}");
    assert!(end[3].contains("missing.mov: can't read"), "{said}");
}

#[tokio::test]
async fn a_watched_folder_is_emptied_and_nothing_in_it_is_trusted() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "in"), folder.path("in/out"));
    fs::create_dir(&out).unwrap();
    let secret = folder.path("secret.mov");
    fs::write(&secret, film(1)).unwrap();
    std::os::unix::fs::symlink(&secret, films.join("link.mov")).unwrap();
    let pipe = CString::new(films.join("pipe.mov").as_os_str().as_bytes()).unwrap();
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    fs::write(films.join("e.mov.part"), "not yet").unwrap();
    fs::write(films.join("new\nline.mov"), film(1)).unwrap();
    let fake = cluster(small());
    let done = format!("move={}", word(&films.join("done")));
    let words = ["watch-folder", word(&films), "--to", word(&out), "--once"];
    let pace = [
        "--settle",
        "200ms",
        "--scan-every",
        "100ms",
        "--at-once",
        "1",
    ];
    let words = [&words[..], &pace, &["--done", &done]].concat();
    assert_eq!(code(&fake, &words).await, exit::OK);
    for (name, output) in [
        ("a.mov", "a.mp4"),
        ("b/c.mkv", "b/c.mp4"),
        ("new\nline.mov", "new\nline.mp4"),
    ] {
        assert!(films.join("done").join(name).exists(), "{name}");
        assert!(!films.join(name).exists(), "{name}");
        assert_eq!(fs::read(out.join(output)).unwrap(), small());
    }
    assert_eq!(submits(&fake), 3);
    assert!(films.join("link.mov").exists() && films.join("e.mov.part").exists());

    // Another film of the same name: neither output nor source is replaced.
    fs::write(films.join("a.mov"), film(1)).unwrap();
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert!(out.join("a.mp4").exists() && out.join("a-2.mp4").exists());
    assert!(films.join("done/a-2.mov").exists());
}

#[tokio::test]
async fn a_failed_film_is_moved_away_or_left_until_it_changes() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "in"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    fs::remove_dir_all(films.join("b")).unwrap();
    let fake = cluster(small());
    fake.with(|world| world.end = Some(JobState::Failed));
    let words = ["watch-folder", word(&films), "--to", word(&out), "--once"];
    let words = [&words[..], &["--settle", "100ms", "--scan-every", "100ms"]].concat();
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    assert_eq!(submits(&fake), 1, "it is not tried again");
    assert!(films.join("a.mov").exists());
    let failed = format!("move={}", word(&folder.path("failed")));
    let moving = [&words[..], &["--failed", &failed]].concat();
    assert_eq!(code(&fake, &moving).await, exit::FAILED);
    assert!(folder.path("failed/a.mov").exists() && !films.join("a.mov").exists());
}

#[tokio::test]
async fn a_library_is_replaced_in_place_only_where_that_helps() {
    let folder = Folder::new();
    let films = films(&folder, "films");
    let fake = cluster(small());
    let early = ["transcode", word(&films), "-r", "--replace"];
    assert_eq!(code(&fake, &early).await, exit::OK);
    assert_eq!(submits(&fake), 0, "they were written just now");
    for name in ["a.mov", "b/c.mkv"] {
        settle(&films.join(name));
    }
    let words = [
        "transcode",
        word(&films),
        "-r",
        "--replace",
        "--at-once",
        "1",
    ];
    let rule = [&words[..], &["--only-if-smaller=50"]].concat();
    assert_eq!(code(&fake, &rule).await, exit::OK);
    assert_eq!(
        fs::read(films.join("a.mov")).unwrap(),
        film(1),
        "39 % are not enough"
    );
    let asked = submits(&fake);
    assert_eq!(code(&fake, &rule).await, exit::OK);
    assert_eq!(submits(&fake), asked, "that is remembered");
    let rule = [&words[..], &["--only-if-smaller=30"]].concat();
    assert_eq!(code(&fake, &rule).await, exit::OK);
    for name in ["a.mov", "b/c.mkv"] {
        assert_eq!(fs::read(films.join(name)).unwrap(), small(), "{name}");
    }
    let asked = submits(&fake);
    assert_eq!(code(&fake, &rule).await, exit::OK);
    assert_eq!(submits(&fake), asked, "an output is no source");
    let days = fs::read_dir(films.join(".reelraft/originals")).unwrap();
    let kept = days.map(|day| fs::read(day.unwrap().path().join("b/c.mkv")).unwrap());
    assert_eq!(kept.collect::<Vec<_>>(), [film(1)]);
}

/// What jobs were asked for: whether damage is refused.
fn strict(fake: &FakeCluster) -> Option<bool> {
    let spec = fake.with(|world| world.job.take())?.spec;
    Some(spec.unwrap().strict)
}

#[tokio::test]
async fn damage_is_refused_where_the_source_goes() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "in"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    fs::remove_dir_all(films.join("b")).unwrap();
    settle(&films.join("a.mov"));
    let fake = cluster(small());
    fake.with(|world| world.end = Some(JobState::Failed));
    let watch = ["watch-folder", word(&films), "--to", word(&out), "--once"];
    let watch = [&watch[..], &["--settle", "100ms", "--scan-every", "100ms"]].concat();
    let to = folder.path("to");
    fs::create_dir(&to).unwrap();
    let many = ["transcode", word(&films), "--to", word(&to)];
    let replace = ["transcode", word(&films), "--replace"];
    let moved = format!("move={}", word(&folder.path("done")));
    for (words, with, asked) in [
        (&many[..], &[][..], Some(false)),
        (&watch, &["--done", "delete"], Some(true)),
        // It failed before, and is not tried again for nothing.
        (&watch, &["--done", &moved], None),
        (
            &watch,
            &["--done", "delete", "--allow-damaged"],
            Some(false),
        ),
        (&watch, &["--done", &moved], None),
        (&replace, &[], Some(true)),
        (&replace, &["--allow-damaged"], Some(false)),
    ] {
        let code = code(&fake, &[words, with].concat()).await;
        // Of one file alone its own failure is told.
        let ended = [exit::JOB_FAILED, exit::FAILED].contains(&code);
        assert!(ended, "{words:?} {with:?}");
        assert_eq!(strict(&fake), asked, "{words:?} {with:?}");
        assert_eq!(fs::read(films.join("a.mov")).unwrap(), film(1));
    }
}

#[tokio::test]
async fn a_film_of_which_something_would_be_lost_stays() {
    let folder = Folder::new();
    let films = films(&folder, "films");
    fs::remove_dir_all(films.join("b")).unwrap();
    settle(&films.join("a.mov"));
    let fake = cluster(small());
    let lost = "subtitle track 1 (dvd_subtitle) can't be kept in mov and is left out";
    fake.with(|world| world.note = format!("it is odd; {lost}"));
    let words = ["transcode", word(&films), "--replace"];
    for _ in 0..2 {
        assert_eq!(code(&fake, &words).await, exit::OK);
        assert_eq!(fs::read(films.join("a.mov")).unwrap(), film(1));
        assert_eq!(submits(&fake), 1, "that is remembered");
    }
    let ledger = fs::read_to_string(films.join(".reelraft/ledger")).unwrap();
    assert!(ledger.contains(lost), "{ledger}");
    let all_the_same = [&words[..], &["--allow-loss"]].concat();
    assert_eq!(code(&fake, &all_the_same).await, exit::OK);
    assert_eq!(fs::read(films.join("a.mov")).unwrap(), small());
}

#[tokio::test]
async fn a_library_that_moves_is_not_done_again() {
    let folder = Folder::new();
    let films = films(&folder, "films");
    for name in ["logo.gif", "theme.mp3"] {
        fs::write(films.join(name), film(1)).unwrap();
        settle(&films.join(name));
    }
    for name in ["a.mov", "b/c.mkv"] {
        settle(&films.join(name));
    }
    let fake = cluster(small());
    let run =
        async |films: &Path| code(&fake, &["transcode", word(films), "-r", "--replace"]).await;
    assert_eq!(run(&films).await, exit::OK);
    assert_eq!(submits(&fake), 2, "pictures and sounds are no films");
    assert!(films.join("logo.gif").exists() && films.join("theme.mp3").exists());
    let moved = folder.path("elsewhere");
    fs::rename(&films, &moved).unwrap();
    assert_eq!(run(&moved).await, exit::OK);
    assert_eq!(submits(&fake), 2);
    assert_eq!(fs::read(moved.join("b/c.mkv")).unwrap(), small());
}

#[tokio::test]
async fn two_films_that_would_get_one_name_stay_as_they_are() {
    let folder = Folder::new();
    let films = folder.path("films");
    fs::create_dir(&films).unwrap();
    for name in ["a.avi", "a.ts", "b.avi", "b.mkv"] {
        fs::write(films.join(name), film(1)).unwrap();
        settle(&films.join(name));
    }
    let fake = cluster(small());
    let words = ["transcode", word(&films), "--replace", "--at-once", "1"];
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    for name in ["a.avi", "a.ts", "b.avi"] {
        assert_eq!(fs::read(films.join(name)).unwrap(), film(1), "{name}");
    }
    assert_eq!(fs::read(films.join("b.mkv")).unwrap(), small());
    assert!(!films.join("a.mkv").exists());
}

#[tokio::test]
async fn a_source_is_not_deleted_once_its_output_is_gone() {
    let folder = Folder::new();
    let (films, out) = (films(&folder, "in"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    fs::remove_dir_all(films.join("b")).unwrap();
    let fake = cluster(small());
    let words = ["watch-folder", word(&films), "--to", word(&out), "--once"];
    let words = [&words[..], &["--settle", "100ms", "--scan-every", "100ms"]].concat();
    assert_eq!(code(&fake, &words).await, exit::OK);
    fs::remove_file(out.join("a.mp4")).unwrap();
    let careful = [&words[..], &["--done", "delete"]].concat();
    let deleting = [&careful[..], &["--allow-damaged"]].concat();
    assert_eq!(code(&fake, &deleting).await, exit::OK);
    assert!(films.join("a.mov").exists());

    // Another film, of the same size and time.
    fs::write(out.join("a.mp4"), small()).unwrap();
    let found = fs::metadata(films.join("a.mov")).unwrap();
    let newer = films.join("newer");
    let mut other = film(1);
    other[0] ^= 1;
    fs::write(&newer, &other).unwrap();
    let file = fs::File::options().write(true).open(&newer).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
    drop(file);
    fs::rename(&newer, films.join("a.mov")).unwrap();
    assert_eq!(code(&fake, &deleting).await, exit::OK);
    assert_eq!(fs::read(films.join("a.mov")).unwrap(), other);

    // The same film, put back: its output is there, so that it goes.
    fs::write(&newer, film(1)).unwrap();
    let file = fs::File::options().write(true).open(&newer).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
    drop(file);
    fs::rename(&newer, films.join("a.mov")).unwrap();
    assert_eq!(code(&fake, &careful).await, exit::OK);
    assert!(films.join("a.mov").exists(), "nobody asked for damage then");
    assert_eq!(code(&fake, &deleting).await, exit::OK);
    assert!(!films.join("a.mov").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_holds_up_no_other() {
    let folder = Folder::new();
    let films = films(&folder, "films");
    let (closed, out) = (films.join("lost+found"), folder.path("out"));
    fs::create_dir(&out).unwrap();
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        // The superuser reads everything.
        return;
    }
    let fake = cluster(small());
    let words = ["transcode", word(&films), "-r", "--to", word(&out)];
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    assert!(out.join("a.mp4").exists() && out.join("b/c.mp4").exists());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}
