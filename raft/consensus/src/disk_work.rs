//! Whether a disk gets on with its work: a busy one completes writes, whosever
//! they are, and one that hangs completes none.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The device under a folder.
#[derive(Debug)]
pub struct DiskWork {
    /// Where the kernel counts what it has done. Reading it waits for no disk.
    counters: Option<PathBuf>,
}

impl DiskWork {
    /// The device under `folder`, if the kernel tells: it does not for network
    /// and layered file systems.
    pub fn under(folder: &Path) -> Self {
        let counters = fs::metadata(folder).ok().map(|found| {
            let device = found.dev();
            let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
            let minor = (device & 0xff) | ((device >> 12) & !0xff);
            PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"))
        });
        DiskWork { counters }
    }

    /// Writes that it has completed since the machine started.
    pub fn writes_done(&self) -> Option<u64> {
        writes_in(&fs::read_to_string(self.counters.as_ref()?).ok()?)
    }
}

/// The fifth number is that of completed writes.
fn writes_in(counters: &str) -> Option<u64> {
    counters.split_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_writes_are_read_from_the_kernels_counters() {
        let counters = "    9832      120   644554     2163    60240    10212  3262368    41327\n";
        assert_eq!(writes_in(counters), Some(60_240));
        assert_eq!(writes_in(""), None);
        assert_eq!(DiskWork::under(Path::new("/proc")).writes_done(), None);
    }
}
