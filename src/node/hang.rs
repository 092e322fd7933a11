//! What becomes of a node whose disk hangs: it ends, as far as it can.
//!
//! A thread that waits for a disk can't be killed, not even by SIGKILL, and
//! keeps its process and all of its sockets open until the disk goes on. So
//! the exit alone would leave a peer that takes every connection and answers
//! none. What others could wait for is therefore shut first, by system calls
//! that need no disk. Whoever supervises the node sees it end, and starts it
//! again, once the disk goes on.
//!
//! How a hang is found is the business of the consensus room.

use std::{fs, sync::mpsc};

use reelraft_consensus::Hang;
use tracing::error;

use crate::limits::LAST_WORDS;

/// Shuts the sockets, kills the encoders, says why, and exits.
pub fn end_process(hang: &Hang) {
    shut_sockets();
    kill_children();
    let hang = hang.to_string();
    let (said, hear) = mpsc::channel();
    // The lock of standard error may be held by a thread that hangs.
    std::thread::spawn(move || {
        error!("{hang}; this node ends, and is well again when its disk is");
        let _ = said.send(());
    });
    let _ = hear.recv_timeout(LAST_WORDS);
    // SAFETY: ends the process. Nothing is run at exit, which could wait for
    // the disk or for a lock.
    unsafe { libc::_exit(1) };
}

/// Shuts every socket of this process, so that connections end and none is
/// accepted any more.
fn shut_sockets() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let numbers: Vec<libc::c_int> = numbers.collect();
    // The standard streams may be sockets too, and have last words to pass on.
    for number in numbers
        .into_iter()
        .filter(|number| *number > libc::STDERR_FILENO)
    {
        // SAFETY: takes plain numbers. What is no socket refuses.
        unsafe { libc::shutdown(number, libc::SHUT_RDWR) };
    }
}

/// Kills the process groups of all children: they would be killed by the
/// kernel only when their starter's thread is gone.
fn kill_children() {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    let own = std::process::id();
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<libc::pid_t>().ok());
    for pid in pids.filter(|pid| parent_of(*pid) == Some(own)) {
        // SAFETY: takes plain numbers. A child leads a group of its own, and
        // its number is its own until this process has waited for it.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}

/// The parent of a process; `None` if it is gone.
fn parent_of(pid: libc::pid_t) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_child_is_known_by_its_parent() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        assert_eq!(parent_of(pid), Some(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parent_of(pid), None);
    }
}
