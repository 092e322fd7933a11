//! What a node keeps from other processes of its own user.

/// Closes this process's memory and environment to other processes of the same
/// user: the secrets are in them, and the encoders run hostile media as that
/// user. What an encoder becomes when it is started is not affected. A debugger
/// then takes root, and the kernel writes no core file.
///
/// # Errors
/// Where the kernel does not let it.
pub fn close_to_others() -> std::io::Result<()> {
    // SAFETY: takes integers and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_process_is_closed_and_can_still_look_at_itself() {
        close_to_others().unwrap();
        // SAFETY: takes integers and touches no memory of ours.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
        assert_eq!(dumpable, 0);
        assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() > 0);
        assert!(std::fs::read_to_string("/proc/self/stat").is_ok());
    }
}
