//! An advisory lock on an open file, released when the file is closed, also
//! when its process is killed. It keeps two programs from writing the same
//! output or the same data folder; nothing else relies on it.

use std::{fs::File, io, os::fd::AsRawFd};

/// Takes the lock if it is free; returns whether it did.
///
/// # Errors
/// The system's own, where a filesystem has no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor belongs to `file`, which outlives the call.
    let answer = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if answer == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(false),
        _ => Err(error),
    }
}

/// Gives the lock back before the file is closed.
pub fn unlock(file: &File) {
    // SAFETY: the descriptor belongs to `file`, which outlives the call.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
}
