//! What a node keeps from other processes of its own user.

use tracing::warn;

/// Closes this process's memory and environment to other processes of the same
/// user: the secrets are in them, and the encoders run hostile media as that
/// user. What an encoder becomes when it is started is not affected. A debugger
/// then takes root, and the kernel writes no core file.
pub fn close_to_others() {
    // SAFETY: takes integers and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } != 0 {
        let error = std::io::Error::last_os_error();
        warn!(%error, "other processes of this user can read this node's secrets");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_process_is_closed_and_can_still_look_at_itself() {
        close_to_others();
        // SAFETY: takes integers and touches no memory of ours.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
        assert_eq!(dumpable, 0);
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() > 0);
        assert!(std::fs::read_to_string("/proc/self/stat").is_ok());
    }
}
