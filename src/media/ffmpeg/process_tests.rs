//! What becomes of a child: how it ended, what it may reach, what ends it.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    error::Class,
    facts::text::strings,
    ffmpeg::{context::Context, input::Input, sandbox::landlock_version, tools::Tools},
    limits::{NICE, NICE_AWAITED, STALL_MAX},
};

struct Collect(Vec<String>);
impl Listener for Collect {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.0.push(line.to_string());
        Ok(LineEffect::Progress)
    }
    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.0.push(format!("! {line}"));
        Ok(LineEffect::Neutral)
    }
}

async fn shell(script: &str, cancel: &Cancel) -> (Result<Exit, MediaError>, Vec<String>) {
    let mut seen = Collect(Vec::new());
    let args = ["-c".to_string(), script.to_string()];
    let result = run(
        Invocation {
            program: Path::new("/bin/sh"),
            args: &args,
            work_dir: None,
            address_bytes_extra: 0,
            nice: NICE,
            time_max: Some(Duration::from_secs(20)),
            stall_max: STALL_MAX,
            served: None,
        },
        cancel,
        &mut seen,
    )
    .await;
    (result, seen.0)
}

#[tokio::test]
async fn lines_and_exits_are_distinguished() {
    let cancel = Cancel::new();
    let (exit, seen) = shell("echo a; printf 'b\\rc'; echo d >&2", &cancel).await;
    assert!(matches!(exit.unwrap(), Exit::Success));
    let out: Vec<_> = seen.iter().filter(|line| !line.starts_with('!')).collect();
    assert_eq!(out, ["a", "b", "c"]);
    assert!(seen.contains(&"! d".to_string()));
    assert!(matches!(
        shell("exit 3", &cancel).await.0.unwrap(),
        Exit::Failure(_)
    ));
}

/// Its log is read in turns once it has run for a moment, and is whole all the same.
#[tokio::test]
async fn a_long_log_comes_whole_and_in_order() {
    let script = "i=0; while [ $i -lt 3000 ]; do \
        printf 'line ' >&2; echo $i >&2; [ $((i % 1000)) = 0 ] && sleep 0.2; i=$((i+1)); done";
    let (exit, seen) = shell(script, &Cancel::new()).await;
    assert!(matches!(exit.unwrap(), Exit::Success));
    let expected: Vec<_> = (0..3000).map(|line| format!("! line {line}")).collect();
    assert_eq!(seen, expected);
}

/// Sends a signal to the child that prints its number.
struct Kill(libc::c_int);
impl Listener for Kill {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        // SAFETY: a plain system call on a child that has not been reaped.
        unsafe { libc::kill(line.parse().unwrap(), self.0) };
        Ok(LineEffect::Progress)
    }
    fn stderr(&mut self, _: &str) -> Result<LineEffect, MediaError> {
        Ok(LineEffect::Neutral)
    }
}

/// How a child ends that gets a signal.
async fn ended_by(signal: libc::c_int) -> MediaError {
    let args = strings(&["-c", "echo $$; exec sleep 20"]);
    let invocation = Invocation {
        program: Path::new("/bin/sh"),
        args: &args,
        work_dir: None,
        address_bytes_extra: 0,
        nice: NICE,
        time_max: None,
        stall_max: STALL_MAX,
        served: None,
    };
    let exit = run(invocation, &Cancel::new(), &mut Kill(signal)).await;
    exit.unwrap_err()
}

#[tokio::test]
async fn a_child_killed_from_outside_is_told_from_one_that_crashed() {
    let killed = ended_by(libc::SIGKILL).await;
    assert!(matches!(killed, MediaError::ToolKilled { signal: 9, .. }));
    for signal in [libc::SIGSEGV, libc::SIGILL, libc::SIGABRT] {
        let error = ended_by(signal).await;
        assert_eq!(error.kind(), "ffmpeg-crashed");
        assert_ne!(error.class(), Class::Final);
        assert!(error.to_string().contains(&signal.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_child_is_niced_and_has_no_stdin_and_no_environment() {
    let script = "nice; cat; grep ^policy /proc/self/sched; env";
    let (_, seen) = shell(script, &Cancel::new()).await;
    // What is said on stderr may come before it.
    let first = seen.iter().find(|line| !line.starts_with('!'));
    assert_eq!(first, Some(&NICE.to_string()));
    let policy = seen.iter().find(|line| line.starts_with("policy"));
    // A kernel without that file says nothing.
    assert!(policy.is_none_or(|line| line.ends_with(" 3")), "{policy:?}");
    assert!(
        !seen.iter().any(|line| line.starts_with("HOME=")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_child_reaches_neither_files_nor_processes_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let work_dir = folder.path().join("work");
    std::fs::create_dir(&work_dir).unwrap();
    let script = format!(
        "echo mine >out; cat out; cat {0}; cat /proc/$PPID/environ /etc/passwd; echo no >{0}; ln -s {0} link; kill -0 $PPID && echo killed
        (: </proc/$PPID/mem) && echo memory; (: </proc/$PPID/maps) && echo maps; ls -a {1} /proc/$PPID/fd; echo no >{1}/new; mkdir {1}/more",
        secret.display(),
        folder.path().display()
    );
    let mut seen = Collect(Vec::new());
    let invocation = Invocation {
        program: Path::new("/bin/sh"),
        args: &["-c".to_string(), script],
        work_dir: Some(&work_dir),
        address_bytes_extra: 0,
        nice: NICE,
        time_max: Some(Duration::from_secs(20)),
        stall_max: STALL_MAX,
        served: None,
    };
    run(invocation, &Cancel::new(), &mut seen).await.unwrap();
    let out: Vec<_> = seen
        .0
        .iter()
        .filter(|line| !line.starts_with('!'))
        .collect();
    if landlock_version().is_none() {
        return;
    }
    assert_eq!(out, ["mine"], "{:?}", seen.0);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert!(std::fs::symlink_metadata(work_dir.join("link")).is_err());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "the secret and the work folder");
}

/// What a child is answered that makes these system calls with these arguments:
/// the error's number, 0 for none.
async fn answers(calls: &[(i64, [i64; 4])], input: &str) -> Vec<i32> {
    let calls: String = calls
        .iter()
        .map(|(call, [a, b, c, d])| {
            format!("$! = 0; print syscall({call}, {a}, {b}, {c}, {d}) < 0 ? $! + 0 : 0, qq(\\n);")
        })
        .collect();
    let mut seen = Collect(Vec::new());
    let invocation = Invocation {
        program: Path::new("/usr/bin/perl"),
        args: &strings(&["-e", &calls, "--", "-i", input]),
        work_dir: None,
        address_bytes_extra: 0,
        nice: NICE,
        time_max: Some(Duration::from_secs(20)),
        stall_max: STALL_MAX,
        served: None,
    };
    run(invocation, &Cancel::new(), &mut seen).await.unwrap();
    let numbers = seen.0.iter().map(|line| line.parse().unwrap());
    numbers.collect()
}

#[tokio::test]
async fn a_child_connects_by_plain_tcp_alone_and_signals_nobody() {
    let (inet, stream) = (i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM));
    let (fast, parent) = (i64::from(libc::MSG_FASTOPEN), i64::from(std::process::id()));
    let refused = [
        // Without a filter they fail too, but otherwise: no such protocol, no
        // such file.
        (libc::SYS_socket, [inet, stream, 262, 0]),
        (libc::SYS_socket, [inet, stream, 132, 0]),
        (libc::SYS_socket, [inet, 6, 0, 0]),
        (libc::SYS_socket, [i64::from(libc::AF_INET6), stream, 0, 0]),
        (libc::SYS_sendto, [-1, 0, 0, fast]),
        (libc::SYS_sendto, [-1, 0, 0, fast | 0x4000]),
        (libc::SYS_sendmsg, [-1, 0, fast, 0]),
        (libc::SYS_sendmmsg, [-1, 0, 0, fast]),
        (libc::SYS_tgkill, [parent, parent, 0, 0]),
        (libc::SYS_fcntl, [1, 8, parent, 0]),
        (libc::SYS_fcntl, [1, 10, 9, 0]),
        (libc::SYS_fcntl, [1, 15, 0, 0]),
        (libc::SYS_ioctl, [1, 0x8901, 0, 0]),
        (libc::SYS_ioctl, [1, 0x8902, 0, 0]),
    ];
    let http = "http://127.0.0.1:4711/t";
    let told = answers(&refused, http).await;
    for (call, told) in refused.iter().zip(told) {
        assert_eq!(told, libc::EPERM, "{call:?}");
    }
    let allowed = [
        (libc::SYS_socket, [inet, stream, 0, 0], 0),
        (libc::SYS_socket, [inet, stream | 0o2_000_000, 6, 0], 0),
        (libc::SYS_sendto, [-1, 0, 0, 0x4000], libc::EBADF),
        (libc::SYS_fcntl, [1, 1, 0, 0], 0),
    ];
    let told = answers(&allowed.map(|(call, args, _)| (call, args)), http).await;
    assert_eq!(told, allowed.map(|(_, _, error)| error));
    let told = answers(&[(libc::SYS_socket, [inet, stream, 0, 0])], "file:/s").await;
    assert_eq!(told, [libc::EPERM], "a child without the net has no socket");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn other_numbers_of_the_same_calls_are_no_way_around() {
    let x32 = 0x4000_0000;
    let calls = [
        (x32 + libc::SYS_getpid, [0; 4]),
        (x32 + libc::SYS_socket, [2, 1, 262, 0]),
    ];
    assert_eq!(
        answers(&calls, "http://127.0.0.1:4711/t").await,
        [libc::EPERM; 2]
    );
}

#[tokio::test]
async fn a_child_that_aborts_has_crashed() {
    let (exit, _) = shell("exec perl -MPOSIX -e abort", &Cancel::new()).await;
    let error = exit.unwrap_err();
    assert_eq!(error.kind(), "ffmpeg-crashed", "{error}");
}

#[tokio::test]
async fn a_cancel_ends_the_whole_group_at_once() {
    let cancel = Cancel::new();
    let canceller = cancel.clone();
    let started = Instant::now();
    let (exit, ()) = tokio::join!(shell("sleep 60 & sleep 60", &cancel), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        canceller.cancel();
    });
    assert!(matches!(exit.0, Err(MediaError::Stopped)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(matches!(
        shell("true", &cancel).await.0,
        Err(MediaError::Stopped)
    ));
}

fn clock<'a>(served: Option<&'a BytesServed>) -> StallClock<'a> {
    StallClock::new(&Invocation {
        program: Path::new("/bin/true"),
        args: &[],
        work_dir: None,
        address_bytes_extra: 0,
        nice: NICE,
        time_max: None,
        stall_max: STALL_TICK * 3,
        served,
    })
}

#[test]
fn a_child_that_reads_is_alive_without_a_word() {
    let mut silent = clock(None);
    assert_eq!(
        [(); 3].map(|()| silent.tick(Moment::default()).is_some()),
        [false, false, true]
    );
    let mut talking = clock(None);
    for _ in 0..9 {
        talking.progress();
        assert!(talking.tick(Moment::default()).is_none());
    }
    let bytes = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = bytes.clone();
    let order = std::sync::atomic::Ordering::Relaxed;
    let served = BytesServed::new(move || counted.load(order));
    let mut reading = clock(Some(&served));
    for _ in 0..9 {
        bytes.fetch_add(1, order);
        assert!(reading.tick(Moment::default()).is_none());
    }
    assert_eq!(
        [(); 3].map(|()| reading.tick(Moment::default()).is_some()),
        [false, false, true]
    );
    // But a source that is read over and over is no work.
    let mut looping = clock(Some(&served));
    let ticks = READING_MAX.as_secs() / STALL_TICK.as_secs();
    let stalled = (0..ticks).position(|_| {
        bytes.fetch_add(1, order);
        looping.tick(Moment::default()).is_some()
    });
    assert_eq!(stalled, Some(ticks as usize - 1));
}

#[test]
fn a_child_that_waits_for_a_processor_has_not_stalled() {
    let at = |ran| Moment {
        runnable: true,
        ran,
    };
    let mut starved = clock(None);
    for second in 0..99 {
        assert!(
            starved.tick(at(Duration::ZERO)).is_none(),
            "after {second} s"
        );
    }
    let asleep = Moment::default();
    assert_eq!(
        [(); 3].map(|()| starved.tick(asleep).is_some()),
        [false, false, true]
    );
    // Half of a processor is enough to come to nothing.
    let mut endless = clock(None);
    let stalled = (1..).find(|&second| endless.tick(at(STALL_TICK * second / 2)).is_some());
    assert_eq!(stalled, Some(6));
    // And nobody waits for ever.
    let mut lost = clock(None);
    let ticks = READING_MAX.as_secs() / STALL_TICK.as_secs();
    let stalled = (1..=ticks).find(|_| lost.tick(at(Duration::ZERO)).is_some());
    assert_eq!(stalled, Some(ticks));
}

#[tokio::test]
async fn long_lines_are_cut() {
    let (_, seen) = shell(
        "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end",
        &Cancel::new(),
    )
    .await;
    assert_eq!(seen[0].len(), LINE_BYTES_MAX);
    assert_eq!(seen[1], "end");
}

/// What the whole film waits for goes before its shards.
#[tokio::test]
async fn shards_give_way_to_what_is_awaited() {
    let nice = std::path::PathBuf::from("/usr/bin/nice");
    let tools = Tools {
        ffmpeg: nice.clone(),
        ffprobe: nice,
    };
    let context = Context {
        tools: &tools,
        input: &Input::File("none".into()),
        spec: &Default::default(),
        work_dir: &std::env::temp_dir(),
        cancel: &Cancel::new(),
    };
    let mut seen = Collect(Vec::new());
    context.ffmpeg_for_shard(&[], 0, &mut seen).await.unwrap();
    context.ffmpeg(&[], &mut seen).await.unwrap();
    context.ffprobe(&[], &mut seen).await.unwrap();
    let expected = [NICE, NICE_AWAITED, NICE_AWAITED].map(|nice| nice.to_string());
    assert_eq!(seen.0, expected);
}
