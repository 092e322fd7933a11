//! How much room the disk has.

use std::{io, path::Path, sync::Arc};

use super::limits::{FREE_PERCENT_MIN, NEARLY_FULL_PERCENT};
use crate::limits::RESERVE_LOW_BYTES;

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl Space {
    /// What is left free for the log and for deleting.
    pub(super) fn reserved_bytes(self) -> u64 {
        self.total_bytes / 100 * FREE_PERCENT_MIN
    }

    /// With less than this free, hardly any of that is left. More than what the reserve
    /// of the log is given up at, on a small disk, too: encoders end before.
    pub(super) fn nearly_full_bytes(self) -> u64 {
        let share = self.reserved_bytes() / 100 * NEARLY_FULL_PERCENT;
        share.max(2 * RESERVE_LOW_BYTES)
    }
}

/// Finds out the room at a path. Injected, so that a full disk can be tested.
pub type SpaceProbe = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// Asks the file system itself.
pub(crate) fn statvfs(path: &Path) -> io::Result<Space> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is a C string, and the kernel has filled the structure
    // when it returns 0.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(Space {
        free_bytes: found.f_bavail * found.f_frsize,
        total_bytes: found.f_blocks * found.f_frsize,
    })
}
