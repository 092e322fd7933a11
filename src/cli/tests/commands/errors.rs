//! What a command says when it can't go on: how to return to the job, for
//! people and for programs; and that it can always be ended.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Child, Output},
    time::{Duration, Instant},
};

use reelraft_cli::exit;
use reelraft_proto::v1::JobState;

use crate::{
    fake::{FakeCluster, problem},
    line::{Folder, code, film, process, run, run_as, word},
};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_lost_cluster_is_said_with_the_way_back() {
    let folder = Folder::new();
    let source = folder.film(1);
    let mut fake = FakeCluster::start(1);
    fake.kill(0);
    let words = ["job", "submit", word(&source), "-o", "json"];
    let done = process(&fake, &words).output().unwrap();
    assert_eq!(done.status.code(), Some(exit::UNREACHABLE.into()));
    let said = said(&done);
    assert!(
        said.contains("\nhint: the same command with --request-id r"),
        "{said}"
    );
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["error"]["kind"], &last["error"]["exit"]),
        (&"unreachable".into(), &3.into())
    );
    assert!(
        last["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("--request-id r")
    );
}

#[test]
fn a_disk_that_takes_no_more_is_said_with_the_command_that_goes_on() {
    let folder = Folder::new();
    let (source, out) = (folder.film(2), folder.path("o.mp4"));
    let fake = FakeCluster::start(1);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = film(8).into();
    });
    let mut child = process(&fake, &["transcode", word(&source), word(&out)]);
    // SAFETY: two system calls, which a forked child may make.
    unsafe {
        child.pre_exec(|| {
            let most = libc::rlimit {
                rlim_cur: 200_000,
                rlim_max: 200_000,
            };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &most);
            Ok(())
        });
    }
    let done = child.output().unwrap();
    assert_eq!(done.status.code(), Some(exit::FAILED.into()));
    let wanted = format!("`reelraft job fetch j1 {}`", out.display());
    assert!(said(&done).contains(&wanted), "{}", said(&done));
    // It does.
    fake.with(|world| world.fetches.clear());
    let done = process(&fake, &["job", "fetch", "j1", word(&out)])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(fs::read(&out).unwrap(), film(8));
    assert_eq!(fake.with(|world| world.fetches[0]), 200_000);
}

#[tokio::test]
async fn another_node_is_asked_where_one_has_a_sick_disk_or_is_silent() {
    let folder = Folder::new();
    let fake = FakeCluster::start(2);
    fake.finished(film(2));
    let (out, more) = (folder.path("o.mp4"), folder.path("more.mp4"));
    let sick = |kind| problem(kind, "the disk is sick");
    fake.with(|world| world.refuse_fetches = vec![sick("disk-error")]);
    let words = ["job", "fetch", "j1", word(&out)];
    assert_eq!(code(&fake, &words).await, exit::OK);
    // All of them: that is the answer.
    fake.with(|world| world.refuse_fetches = vec![sick("disk-full"), sick("disk-full")]);
    let words = ["job", "fetch", "j1", word(&more)];
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert_eq!(error.kind(), "disk-full");
    // What is refused for good is not asked again.
    fake.with(|world| world.refuse_fetches = vec![sick("lost-bytes")]);
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert_eq!(error.kind(), "lost-bytes");

    fake.with(|world| world.watch_is_silent = true);
    let waiting = run(&fake.addresses, &["job", "wait", "j1"]);
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    ended.expect("a silent node holds nobody up").unwrap();
}

#[tokio::test]
async fn a_job_that_ended_badly_is_not_compared() {
    let folder = Folder::new();
    let source = folder.film(3);
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    fake.with(|world| {
        let job = world.job.as_mut().unwrap();
        job.set_state(JobState::Failed);
        job.source_root = "00".into();
    });
    let words = ["job", "submit", word(&source), "--request-id", "r1"];
    assert_eq!(code(&fake, &words).await, exit::JOB_FAILED);
}

#[tokio::test]
async fn a_url_is_no_endpoint() {
    let endpoints = ["https://h:1".to_string()];
    let error = run(&endpoints, &["job", "list"]).await.unwrap_err();
    assert_eq!(error.exit_code(), exit::USAGE);
    assert!(error.hint().contains("--server"), "{error}");
}

/// Nobody is asked before: a node that refuses it has been told by then.
#[tokio::test]
async fn a_secret_is_not_said_in_clear_to_a_network() {
    let nodes = ["127.0.0.1:1".to_string(), "node1.invalid:7401".into()];
    for words in [
        &["job", "list"][..],
        &["job", "list", "--server", "http://node1.invalid:8401"],
    ] {
        let error = run_as("hush", &nodes, words).await.unwrap_err();
        assert_eq!(error.exit_code(), exit::USAGE, "{error}");
        assert!(error.hint().contains("--ca"), "{}", error.hint());
        let open = run(&nodes, words).await.unwrap_err();
        assert_eq!(open.exit_code(), exit::UNREACHABLE, "{open}");
    }
}

#[tokio::test]
async fn a_server_is_a_plain_url() {
    for url in [
        "nonsense",
        "ftp://h",
        "http://me:secret@h",
        "http://h/?a=b",
        "http:///",
    ] {
        let error = run(&[], &["job", "list", "--server", url]).await;
        let error = error.unwrap_err();
        assert_eq!(error.exit_code(), exit::USAGE, "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let unreachable = run(&[], &["job", "list", "--server", "http://127.0.0.1:1"]).await;
    assert_eq!(unreachable.unwrap_err().exit_code(), exit::UNREACHABLE);
}

/// A command that follows a job which never ends, once it does follow it.
fn follower(
    fake: &FakeCluster,
    ignored: Option<libc::c_int>,
) -> (Child, impl Iterator<Item = String>) {
    fake.finished(vec![1]);
    fake.with(|world| world.job.as_mut().unwrap().set_state(JobState::Encoding));
    let mut command = process(fake, &["job", "wait", "j1"]);
    // SAFETY: one system call, which a forked child may make.
    unsafe {
        command.pre_exec(move || {
            if let Some(signal) = ignored {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("encoding")));
    (child, lines)
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: plain numbers; the child is not yet waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn a_lost_terminal_ends_a_command_with_its_hint_but_not_under_nohup() {
    let fake = FakeCluster::start(1);
    let (mut child, mut lines) = follower(&fake, None);
    signal(&child, libc::SIGHUP);
    assert!(lines.any(|line| line.starts_with("hint: the job continues")));
    assert_eq!(child.wait().unwrap().code(), Some(exit::INTERRUPTED.into()));

    let (mut child, _lines) = follower(&fake, Some(libc::SIGHUP));
    signal(&child, libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "nohup holds");
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(exit::INTERRUPTED.into()));
}

#[test]
fn a_command_that_hangs_in_a_write_can_be_ended() {
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    fake.with(|world| world.job.as_mut().unwrap().set_state(JobState::Encoding));
    let (reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: plain numbers; the pipe is open.
    let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    writer.write_all(&vec![b'x'; room as usize]).unwrap();
    let mut command = process(&fake, &["job", "wait", "j1"]);
    let mut child = command.stderr(writer).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let begun = Instant::now();
    signal(&child, libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it hangs");
    signal(&child, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(exit::INTERRUPTED.into()));
    assert!(begun.elapsed() < Duration::from_secs(3));
    drop(reader);
}

#[tokio::test]
async fn a_job_is_found_by_the_beginning_of_its_id() {
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    let ids = ["j8dc3aaaaaaaaaaaaaaaa", "j8dc4aaaaaaaaaaaaaaaa"];
    fake.with(|world| {
        world.job.as_mut().unwrap().id = ids[0].into();
        world.listed = ids.map(String::from).to_vec();
    });
    for begin in ["8dc3", "j8dc3", ids[0]] {
        assert_eq!(code(&fake, &["job", "show", begin]).await, exit::OK);
    }
    let error = run(&fake.addresses, &["job", "show", "8dc"])
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), exit::USAGE);
    assert!(error.hint().contains(ids[1]), "{}", error.hint());
    assert_eq!(code(&fake, &["job", "show", "9"]).await, exit::NOT_FOUND);
    // What can't be undone takes the whole of it.
    assert_eq!(code(&fake, &["job", "rm", "8dc3"]).await, exit::NOT_FOUND);
    assert_eq!(code(&fake, &["job", "ls"]).await, exit::OK);
}

#[tokio::test]
async fn codecs_have_the_names_of_other_programs_too() {
    let folder = Folder::new();
    let source = folder.film(1);
    for (given, wanted) in [("h265", "hevc"), ("x264", "h264"), ("av1", "av1")] {
        let fake = FakeCluster::start(1);
        let words = ["job", "submit", word(&source), "--codec", given, "--detach"];
        assert_eq!(code(&fake, &words).await, exit::OK);
        fake.with(|world| {
            let job = world.job.as_ref().unwrap();
            assert_eq!(job.spec.as_ref().unwrap().codec, wanted);
        });
    }
}

#[tokio::test]
async fn all_ended_jobs_are_deleted_only_where_that_is_said() {
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    let all = ["job", "delete", "--finished"];
    let refused = run(&fake.addresses, &all).await.unwrap_err();
    assert_eq!(refused.exit_code(), exit::USAGE);
    assert!(refused.to_string().contains("all tenants"), "{refused}");
    let of_one = [&all[..], &["--tenant", "anna"]].concat();
    let refused = run(&fake.addresses, &of_one).await.unwrap_err();
    assert!(refused.to_string().contains("anna"), "{refused}");
    for said in [&["--yes"][..], &["--older-than", "7d"]] {
        let words = [&all[..], said].concat();
        assert_eq!(code(&fake, &words).await, exit::OK);
    }
}

#[tokio::test]
async fn what_was_deleted_is_said_where_the_rest_fails() {
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    fake.with(|world| {
        world.listed = ["j1", "j1"].map(String::from).to_vec();
        world.listed_as = JobState::Succeeded;
        world.deletes = 1;
    });
    let words = ["job", "delete", "--finished", "--yes"];
    let output = process(&fake, &words).output().unwrap();
    let said = said(&output);
    assert!(said.contains("deleting 2 jobs"), "{said}");
    assert!(said.contains("deleted 1 job\n"), "{said}");
    assert_eq!(output.status.code(), Some(exit::FAILED.into()));
}
