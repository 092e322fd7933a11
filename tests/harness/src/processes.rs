//! The program under test, and processes as `/proc` shows them.

use std::path::PathBuf;

/// Names another program to test than the one that was built beside the
/// running test.
const BINARY_VARIABLE: &str = "REELRAFT_BINARY";

/// The program under test: the one named by `REELRAFT_BINARY`, or else the
/// `reelraft` in the target folder of the running test, example or experiment.
///
/// # Panics
/// If it has not been built.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os(BINARY_VARIABLE) {
        Some(named) => std::path::absolute(named).expect("a path is given"),
        None => target_folder().join("reelraft"),
    };
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build`, or name another in {BINARY_VARIABLE}",
        path.display()
    );
    path
}

/// One of the programs in `examples/`.
///
/// # Panics
/// If it has not been built.
pub fn example(name: &str) -> PathBuf {
    let path = target_folder().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build --examples`",
        path.display()
    );
    path
}

/// Where cargo puts programs. It puts tests into `deps/` below that, and
/// examples into `examples/`.
fn target_folder() -> PathBuf {
    let mut folder = std::env::current_exe().expect("/proc names the running program");
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    folder
}

/// The process that started another. It is field 4 of `/proc/PID/stat`,
/// proc(5); the name before it may itself contain blanks and brackets.
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// The ids of all processes on this machine.
pub fn all_pids() -> Vec<i32> {
    let folders = std::fs::read_dir("/proc").expect("Linux has /proc");
    folders
        .flatten()
        .filter_map(|folder| folder.file_name().to_str()?.parse().ok())
        .collect()
}

/// The command line of a process, or nothing if it has ended.
pub(crate) fn command_line(pid: i32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Sends a signal to a process that the caller has started.
pub(crate) fn signal(pid: i32, number: i32) {
    // SAFETY: kill takes plain numbers and touches no memory of ours.
    unsafe { libc::kill(pid, number) };
}

/// The last lines of a text, such as a log.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
