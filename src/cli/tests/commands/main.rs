//! The commands against fake nodes: endpoints, retries, uploads, fetches and
//! exit codes.
#![allow(clippy::unwrap_used)]

mod errors;
mod fake;
mod fake_cluster;
mod line;
mod many;
mod outputs;
mod world;

use std::{
    fs,
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use clap::Parser;
use fake::{CHUNK, FakeCluster, problem};
use line::{Folder, Tree, code, film, process, run, word};
use reelraft_cli::exit;
use reelraft_proto::v1::JobState;

#[tokio::test]
async fn transcode_goes_all_the_way() {
    let folder = Folder::new();
    let (source, out) = (folder.film(5), folder.path("out.webm"));
    let fake = FakeCluster::start(3);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = film(7).into();
        world.watch_breaks = true;
    });
    let words = ["transcode", word(&source), word(&out), "--width", "640"];
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), film(7));
    assert!(!folder.path(".out.webm.j1.part").exists());
    fake.with(|world| {
        assert_eq!(world.sent, [4, 3, 2, 1, 0], "in the order asked for");
        let spec = world.job.as_ref().unwrap().spec.as_ref().unwrap();
        assert_eq!((spec.container.as_str(), spec.width), ("webm", 640));
    });
}

#[tokio::test]
async fn a_folder_takes_the_output_under_the_name_of_its_source() {
    let folder = Folder::new();
    let (source, small) = (folder.film(5), folder.path("small"));
    fs::create_dir(&small).unwrap();
    let fake = FakeCluster::start(1);
    fake.with(|world| {
        world.end = Some(JobState::Succeeded);
        world.output = film(7).into();
    });
    let words = [
        "transcode",
        word(&source),
        word(&small),
        "--container",
        "mkv",
    ];
    assert_eq!(code(&fake, &words).await, exit::OK);
    let out = small
        .join(source.file_stem().unwrap())
        .with_extension("mkv");
    assert_eq!(fs::read(&out).unwrap(), film(7));
    // Again: it is done, and nothing is asked for.
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fake.with(|world| world.submits), 1);
    let named = [&words[..], &["--request-id", "r"]].concat();
    assert_eq!(code(&fake, &named).await, exit::USAGE);
}

#[tokio::test]
async fn a_broken_upload_resumes_without_sending_twice() {
    let folder = Folder::new();
    let source = folder.film(6);
    let fake = FakeCluster::start(2);
    fake.with(|world| world.break_upload_after = Some(2));
    let words = ["job", "submit", word(&source), "--detach"];
    assert_eq!(code(&fake, &words).await, exit::OK);
    fake.with(|world| {
        assert_eq!(world.sent, [5, 4, 3, 2, 1, 0]);
        assert_eq!(world.submits, 1);
    });
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_is_gone() {
    let folder = Folder::new();
    let source = folder.film(3);
    let mut fake = FakeCluster::start(3);
    fake.kill(0);
    fake.kill(1);
    fake.with(|world| world.leaderless = 3);
    let words = ["job", "submit", word(&source), "--detach"];
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fake.with(|world| world.chunks.len()), 3);
}

#[tokio::test]
async fn an_upload_outlives_the_node_it_goes_to() {
    let folder = Folder::new();
    let source = folder.film(400);
    let mut fake = FakeCluster::start(2);
    let (sent, mut chunks) = tokio::sync::mpsc::unbounded_channel();
    fake.with(|world| {
        world.on_chunk = Some(Box::new(move |_| {
            std::thread::sleep(Duration::from_millis(1));
            let _ = sent.send(());
        }));
    });
    let endpoints = fake.addresses.clone();
    let words = ["job", "submit", word(&source), "--detach"];
    let killing = async {
        for _ in 0..50 {
            chunks.recv().await.unwrap();
        }
        fake.kill(0);
    };
    let (submitted, ()) = tokio::join!(run(&endpoints, &words), killing);
    submitted.unwrap();
    fake.with(|world| {
        assert_eq!(world.chunks.len(), 400);
        let sent: Vec<u8> = world.chunks.values().flatten().copied().collect();
        assert!(sent == film(400), "the bytes are those of the file");
    });
}

#[tokio::test]
async fn an_unreachable_cluster_is_reported_soon() {
    let mut fake = FakeCluster::start(2);
    fake.kill(0);
    fake.kill(1);
    let begun = Instant::now();
    assert_eq!(code(&fake, &["job", "list"]).await, exit::UNREACHABLE);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_source_that_changes_ends_the_upload_and_the_job() {
    for (how, cause) in [("shrink", "shrank"), ("remove", "was removed")] {
        let folder = Folder::new();
        let source = folder.film(40);
        let fake = FakeCluster::start(1);
        let path = source.clone();
        fake.with(|world| {
            world.on_chunk = Some(Box::new(move |_| match how {
                "shrink" => {
                    let file = fs::File::options().write(true).open(&path).unwrap();
                    file.set_len(10).unwrap();
                }
                _ => drop(fs::remove_file(&path)),
            }));
        });
        let error = run(&fake.addresses, &["job", "submit", word(&source)]).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
        assert!(error.hint().contains("was cancelled"), "{}", error.hint());
        assert_eq!(error.exit_code(), exit::FAILED);
        assert_eq!(fake.with(|world| world.cancels), 1);
    }
}

#[tokio::test]
async fn another_file_under_the_same_request_is_refused() {
    let folder = Folder::new();
    let source = folder.film(3);
    let fake = FakeCluster::start(1);
    let words = [
        "job",
        "submit",
        word(&source),
        "--request-id",
        "r1",
        "--detach",
    ];
    // Half-way: what is there already is compared.
    fake.with(|world| {
        world.chunks.insert(1, vec![9; CHUNK as usize].into());
    });
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the source changed"),
        "{error}"
    );
    // Sealed: the roots are compared.
    fake.with(|world| {
        let job = world.job.as_mut().unwrap();
        job.source_root = "00".into();
        job.set_state(JobState::Encoding);
    });
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert!(error.hint().contains("--request-id"), "{}", error.hint());
    assert_eq!(
        fake.with(|world| world.cancels),
        0,
        "it may be another's job"
    );
}

#[tokio::test]
async fn a_source_sealed_with_bytes_of_another_client_is_refused() {
    let folder = Folder::new();
    let source = folder.film(5);
    let fake = FakeCluster::start(1);
    // The same request, size, beginning and end: the middle came from elsewhere,
    // after this client's own was taken.
    fake.with(|world| {
        let replaced = (2, vec![9; CHUNK as usize].into());
        world.sealed_with = Some(replaced);
    });
    let words = ["job", "submit", word(&source), "--detach"];
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert_eq!(error.kind(), "source-changed", "{error}");
    assert!(error.hint().contains("--request-id"), "{}", error.hint());
}

#[tokio::test]
async fn bad_arguments_are_refused_before_anything_is_submitted() {
    let folder = Folder::new();
    let (source, empty) = (folder.film(1), folder.path("empty.mp4"));
    fs::write(&empty, b"").unwrap();
    let out = folder.path("out.mp4");
    let nowhere = folder.path("none/out.mp4");
    let fake = FakeCluster::start(1);
    for (source, out, wanted) in [
        (&empty, &out, exit::FAILED),
        (&folder.path("missing.mp4"), &out, exit::FAILED),
        (&source, &nowhere, exit::FAILED),
        (&source, &folder.path("out.avi"), exit::USAGE),
        (&source, &source, exit::USAGE),
    ] {
        let words = ["transcode", word(source), word(out)];
        assert_eq!(code(&fake, &words).await, wanted, "{words:?}");
    }
    assert_eq!(fake.with(|world| world.submits), 0);
    let left = fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left behind");
    for width in ["0", "-1", "wide"] {
        let words = ["reelraft", "transcode", "a", "b.mp4", "--width", width];
        assert_eq!(Tree::try_parse_from(words).err().unwrap().exit_code(), 2);
    }
}

#[tokio::test]
async fn a_spec_the_cluster_refuses_is_a_usage_error() {
    let folder = Folder::new();
    let source = folder.film(1);
    let fake = FakeCluster::start(1);
    let words = ["job", "submit", word(&source), "--width", "100000"];
    let refused = problem("bad-spec", "width 100000 is out of range");
    fake.with(|world| world.refuse_submit = Some(refused));
    let error = run(&fake.addresses, &words).await.unwrap_err();
    assert_eq!(error.to_string(), "width 100000 is out of range");
    assert_eq!(
        (error.hint().as_str(), error.exit_code()),
        ("do otherwise", exit::USAGE)
    );
    let refused = problem("request-id-reused", "request r1 made another job");
    fake.with(|world| world.refuse_submit = Some(refused));
    assert_eq!(code(&fake, &words).await, exit::FAILED);
}

#[tokio::test]
async fn a_fetch_resumes_and_is_verified() {
    let folder = Folder::new();
    let (out, part) = (folder.path("out.mp4"), folder.path(".out.mp4.j1.part"));
    let fake = FakeCluster::start(2);
    let output = film(8);
    fake.finished(output.clone());
    let words = ["job", "fetch", "j1", word(&out)];

    fake.with(|world| world.break_fetch_after = Some(100_000));
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
    assert_eq!(
        fake.with(|world| std::mem::take(&mut world.fetches)),
        [0, 100_000]
    );

    // A partial file of an earlier try.
    fs::remove_file(&out).unwrap();
    fs::write(&part, &output[..70_000]).unwrap();
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(
        fake.with(|world| std::mem::take(&mut world.fetches)),
        [70_000]
    );

    // One of another output is started over, once.
    fs::remove_file(&out).unwrap();
    fs::write(&part, vec![1; 70_000]).unwrap();
    assert_eq!(code(&fake, &words).await, exit::OK);
    assert_eq!(fs::read(&out).unwrap(), output);
    assert_eq!(
        fake.with(|world| std::mem::take(&mut world.fetches)),
        [70_000, 0]
    );

    // Wrong bytes never become OUT.
    fs::remove_file(&out).unwrap();
    fake.with(|world| world.job.as_mut().unwrap().output_hash = "00".into());
    assert_eq!(code(&fake, &words).await, exit::FAILED);
    assert!(!out.exists());
}

#[tokio::test]
async fn ends_of_jobs_have_their_exit_codes() {
    let fake = FakeCluster::start(1);
    fake.finished(vec![1]);
    assert_eq!(code(&fake, &["job", "wait", "j1"]).await, exit::OK);
    assert_eq!(
        code(&fake, &["job", "show", "other"]).await,
        exit::NOT_FOUND
    );
    assert_eq!(
        code(&fake, &["job", "watch", "other"]).await,
        exit::NOT_FOUND
    );
    assert_eq!(code(&fake, &["job", "delete", "j1"]).await, exit::FAILED);
    assert_eq!(code(&fake, &["cluster", "leader"]).await, exit::UNREACHABLE);
    assert_eq!(code(&fake, &["cluster", "status"]).await, exit::OK);
    assert_eq!(code(&fake, &["job", "list", "--all"]).await, exit::OK);
    assert_eq!(code(&fake, &["job", "proof", "j1"]).await, exit::FAILED);
    assert_eq!(code(&fake, &["job", "tasks", "j1"]).await, exit::FAILED);

    let state = |state| fake.with(|world| world.job.as_mut().unwrap().set_state(state));
    state(JobState::Encoding);
    let out = Folder::new();
    let fetch = [
        "job",
        "fetch",
        "j1",
        word(&out.path("a.mp4")).to_owned().leak(),
    ];
    assert_eq!(code(&fake, &fetch).await, exit::FAILED);
    assert!(fs::read_dir(out.0.path()).unwrap().next().is_none());
    let wait = ["job", "wait", "j1", "--timeout", "300ms"];
    assert_eq!(code(&fake, &wait).await, exit::TIMED_OUT);
    fake.with(|world| world.end = Some(JobState::Failed));
    let error = run(&fake.addresses, &["job", "wait", "j1"])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "job j1 failed: the source has no video");
    assert_eq!(error.exit_code(), exit::JOB_FAILED);
    assert_eq!(code(&fake, &fetch).await, exit::JOB_FAILED);
    state(JobState::Cancelled);
    assert_eq!(code(&fake, &["job", "wait", "j1"]).await, exit::JOB_FAILED);
}

/// Not a test by itself: the child process of the tests below, which is this
/// program with a command line in its environment.
#[test]
fn as_a_process() {
    line::serve_as_a_process();
}

#[test]
fn ctrl_c_says_that_the_job_continues() {
    let folder = Folder::new();
    let (source, out) = (folder.film(2), folder.path("a film.mp4"));
    let fake = FakeCluster::start(1);
    let words = ["transcode", word(&source), word(&out)];
    let mut child = process(&fake, &words).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("encoding")));
    // SAFETY: plain numbers; the child is not yet waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(exit::INTERRUPTED.into()));
    let wanted = format!(
        "hint: the job continues; return to it with `reelraft job watch j1` and \
         `reelraft job fetch j1 '{}'`",
        out.display()
    );
    assert_eq!(
        rest,
        ["error: interrupted: stopped by Ctrl-C or a signal", &wanted]
    );
    assert!(!out.exists());
}

#[test]
fn a_closed_standard_output_is_no_error() {
    let fake = FakeCluster::start(1);
    let mut child = process(&fake, &["job", "list", "--all"]).spawn().unwrap();
    // The harness in the child prints first, and fails on a closed output.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("running") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn an_error_is_two_lines() {
    let fake = FakeCluster::start(1);
    let output = process(&fake, &["job", "show", "j7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(exit::NOT_FOUND.into()));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: not-found: there is no job j7\nhint: do otherwise\n"
    );
}

#[test]
fn the_command_tree_is_sound() {
    use clap::CommandFactory;
    Tree::command().debug_assert();
}
