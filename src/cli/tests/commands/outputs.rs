//! The file an output is written to: whatever lies there that is not ours
//! stays, and a whole output never gets lost on the last step.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output},
};

use reelraft_cli::exit;
use reelraft_proto::v1::JobState;

use crate::{
    fake::FakeCluster,
    line::{Folder, code, film, process, run, word},
};

/// Another user than the one that runs the tests, if that is root.
const NOBODY: u32 = 65_534;

fn finished() -> (Folder, FakeCluster, Vec<u8>) {
    let fake = FakeCluster::start(1);
    let output = film(4);
    fake.finished(output.clone());
    (Folder::new(), fake, output)
}

fn fetch<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["job", "fetch", "j1", word(out)], more].concat()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_source_is_never_written_to() {
    let folder = Folder::new();
    let fake = FakeCluster::start(1);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = film(2).into();
    });
    // Whatever the source is called: as another program's partial file, and
    // as our own.
    for name in ["out.mp4.part", ".out.mp4.j1.part"] {
        let (source, out) = (folder.path(name), folder.path("out.mp4"));
        fs::write(&source, film(3)).unwrap();
        let words = ["transcode", word(&source), word(&out), "--overwrite"];
        let _ = run(&fake.addresses, &words).await;
        assert!(fs::read(&source).unwrap() == film(3), "{name} is as it was");
        fake.with(|world| world.job = None);
    }
}

#[tokio::test]
async fn a_partial_file_that_is_not_ours_stays_as_it_is() {
    let (folder, fake, output) = finished();
    let (out, part) = (folder.path("o.mp4"), folder.path(".o.mp4.j1.part"));
    let precious = folder.path("precious.txt");
    fs::write(&precious, "precious").unwrap();

    // Another program's, by the name that many use.
    fs::write(folder.path("o.mp4.part"), "my notes").unwrap();
    assert_eq!(code(&fake, &fetch(&out, &[])).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
    assert_eq!(fs::read(folder.path("o.mp4.part")).unwrap(), b"my notes");
    fs::remove_file(&out).unwrap();

    let refused = async |why: &str| {
        let error = run(&fake.addresses, &fetch(&out, &[])).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&out).is_err());
        fs::remove_file(&part).unwrap();
    };
    symlink(&precious, &part).unwrap();
    refused("it is a symbolic link").await;
    fs::hard_link(&precious, &part).unwrap();
    refused("it has other names, too").await;
    let _listening = std::os::unix::net::UnixListener::bind(&part).unwrap();
    refused("it is not a regular file").await;
    assert!(
        Command::new("mkfifo")
            .arg(&part)
            .status()
            .unwrap()
            .success()
    );
    refused("it is not a regular file").await;
    if is_root() {
        fs::write(&part, "another's").unwrap();
        std::os::unix::fs::chown(&part, Some(NOBODY), None).unwrap();
        refused("it belongs to another user").await;
    }
}

#[tokio::test]
async fn an_output_that_exists_is_replaced_only_when_told() {
    let (folder, fake, output) = finished();
    let (source, out) = (folder.film(2), folder.path("o.mp4"));
    fs::write(&out, "an earlier film").unwrap();
    let error = run(&fake.addresses, &fetch(&out, &[])).await.unwrap_err();
    assert!(error.to_string().ends_with("it exists already"), "{error}");
    assert!(error.hint().contains("--overwrite"), "{}", error.hint());
    let words = ["transcode", word(&source), word(&out)];
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert!(error.to_string().ends_with("it exists already"), "{error}");
    assert_eq!(fake.with(|world| world.submits), 0);
    assert_eq!(fs::read(&out).unwrap(), b"an earlier film");

    assert_eq!(code(&fake, &fetch(&out, &["--overwrite"])).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
    // What is there is the very output: nothing is to be done, or refused.
    fake.with(|world| world.fetches.clear());
    assert_eq!(code(&fake, &fetch(&out, &[])).await, exit::OK);
    assert_eq!(fake.with(|world| world.fetches.len()), 0);
}

#[tokio::test]
async fn a_repeated_request_finds_its_own_output_there() {
    let folder = Folder::new();
    let (source, out) = (folder.film(2), folder.path("o.mp4"));
    let fake = FakeCluster::start(1);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = film(3).into();
    });
    let words = ["transcode", word(&source), word(&out), "--request-id", "r1"];
    // Of a job that is yet to be done, it can't be.
    fs::write(&out, "an earlier film").unwrap();
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert!(error.to_string().ends_with("it exists already"), "{error}");
    fs::remove_file(&out).unwrap();
    assert_eq!(code(&fake, &words).await, exit::OK);
    fake.with(|world| world.job.as_mut().unwrap().source_root.clear());
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), film(3));
}

#[tokio::test]
async fn what_happens_to_the_names_meanwhile_loses_nothing() {
    // The partial file is removed, or another takes its name.
    for instead in [None, Some("another's")] {
        let (folder, fake, output) = finished();
        let (out, part) = (folder.path("o.mp4"), folder.path(".o.mp4.j1.part"));
        let path = part.clone();
        fake.with(|world| {
            world.break_fetch_after = Some(100_000);
            world.on_fetch = Some(Box::new(move |offset| {
                if offset > 0 {
                    fs::remove_file(&path).unwrap();
                    if let Some(text) = instead {
                        fs::write(&path, text).unwrap();
                    }
                }
            }));
        });
        assert_eq!(code(&fake, &fetch(&out, &[])).await, exit::OK);
        assert_eq!(fs::read(&out).unwrap(), output);
        let left = instead.map(|text| text.as_bytes().to_vec());
        assert_eq!(fs::read(&part).ok(), left);
    }
    // OUT comes into being.
    let (folder, fake, output) = finished();
    let out = folder.path("o.mp4");
    let path = out.clone();
    fake.with(|world| {
        world.on_fetch = Some(Box::new(move |_| fs::write(&path, "another's").unwrap()));
    });
    let error = run(&fake.addresses, &fetch(&out, &[])).await.unwrap_err();
    assert!(error.hint().contains("another name"), "{}", error.hint());
    assert_eq!(fs::read(&out).unwrap(), b"another's");
    fake.with(|world| world.on_fetch = None);
    // All its bytes are here: they are checked and need not come again.
    fake.with(|world| world.fetches.clear());
    assert_eq!(code(&fake, &fetch(&out, &["-y"])).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
    assert_eq!(fake.with(|world| world.fetches.len()), 0);
}

#[tokio::test]
async fn a_name_as_long_as_can_be_is_written() {
    let (folder, fake, output) = finished();
    let out = folder.path(&format!("{}.mp4", "x".repeat(251)));
    assert_eq!(code(&fake, &fetch(&out, &[])).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
}

/// A folder in which nobody may do what `mode` allows.
fn nobodys(folder: &Folder, mode: u32) -> std::path::PathBuf {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.0.path(), open).unwrap();
    let inner = folder.path("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
    inner
}

fn as_nobody(fake: &FakeCluster, words: &[&str]) -> Option<Output> {
    // Without root there is no other user to be, nor where this program lies in
    // a folder that others may not enter.
    let output = process(fake, words).uid(NOBODY).gid(NOBODY).output();
    output.ok().filter(|_| is_root())
}

#[test]
fn a_folder_that_can_not_be_synced_is_no_failure() {
    let (folder, fake, output) = finished();
    let out = nobodys(&folder, 0o333).join("o.mp4");
    let Some(done) = as_nobody(&fake, &fetch(&out, &[])) else {
        return;
    };
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("can't be synced"), "{}", said(&done));
    assert_eq!(fs::read(&out).unwrap(), output);
}

#[test]
fn what_a_sticky_folder_holds_is_refused_before_the_encode() {
    let (folder, fake, _) = finished();
    let source = folder.film(1);
    let out = nobodys(&folder, 0o1777).join("o.mp4");
    fs::write(&out, "root's").unwrap();
    let words = ["transcode", word(&source), word(&out), "--overwrite"];
    let Some(done) = as_nobody(&fake, &words) else {
        return;
    };
    assert_eq!(done.status.code(), Some(exit::FAILED.into()));
    assert!(said(&done).contains("another user"), "{}", said(&done));
    assert_eq!(fake.with(|world| world.submits), 0);
}

/// Makes the kernel answer one system call of this process with an error.
fn refuse_call(call: libc::c_long, error: i32) -> std::io::Result<()> {
    let step = |code: u32, jump_if_not: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_if_not,
        k: value,
    };
    let refused = libc::SECCOMP_RET_ERRNO | error as u32;
    let mut filter = [
        // The call's number, which is the first word of what a filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, refused),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` points to four instructions, and both outlive the calls.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            + libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    match answer {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn a_file_system_without_locks_or_careful_renames_is_used_with_a_word() {
    for (call, error, word) in [
        (libc::SYS_flock, libc::EOPNOTSUPP, "can't be locked"),
        (libc::SYS_renameat2, libc::EINVAL, "is fetched"),
    ] {
        let (folder, fake, output) = finished();
        let out = folder.path("o.mp4");
        let mut child = process(&fake, &fetch(&out, &[]));
        // SAFETY: two system calls, which a forked child may make.
        unsafe { child.pre_exec(move || refuse_call(call, error)) };
        let done = child.output().unwrap();
        assert!(done.status.success(), "{}", said(&done));
        assert!(said(&done).contains(word), "{}", said(&done));
        assert_eq!(fs::read(&out).unwrap(), output);
    }
}

#[test]
fn two_commands_do_not_write_one_file() {
    let (folder, fake, _) = finished();
    let out = folder.path("o.mp4");
    let part = folder.path(".o.mp4.j1.part");
    let held = fs::File::create(&part).unwrap();
    held.lock().unwrap();
    let done = process(&fake, &fetch(&out, &[])).output().unwrap();
    assert!(said(&done).contains("another program"), "{}", said(&done));
    assert!(part.exists() && !out.exists());
    // Let go and renamed meanwhile, it is not the partial file any more.
    drop(held);
    fs::rename(&part, folder.path("other")).unwrap();
    let done = process(&fake, &fetch(&out, &[])).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(fs::read(folder.path("other")).unwrap(), b"");
}
