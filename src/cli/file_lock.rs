//! An advisory lock on an open file, let go when the file is closed, also by a
//! killed process. Serves against two programs writing one output or one
//! data folder; nothing else leans on it.

use std::{fs::File, io, os::fd::AsRawFd};

/// Takes the lock if nobody has it; says whether it did.
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
