//! What this machine says of itself in its beats: load and disk.

use std::{ffi::CString, fs, os::unix::ffi::OsStrExt, path::PathBuf};

/// Reads load and disk figures.
#[derive(Debug)]
pub struct Load {
    data: PathBuf,
}

impl Load {
    /// Figures of this machine and of the disk that holds `data`.
    pub fn new(data: PathBuf) -> Self {
        Load { data }
    }

    /// One-minute load average in thousandths; 0 where the kernel says none.
    pub fn load_milli(&self) -> u32 {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let (whole, part) = text
            .split(' ')
            .next()
            .and_then(|load| load.split_once('.'))
            .unwrap_or(("0", "0"));
        let whole: u32 = whole.parse().unwrap_or(0);
        let hundredths: u32 = part.parse().unwrap_or(0);
        whole * 1000 + hundredths * 10
    }

    /// Free and total bytes of the data disk; zeros where it can't be asked.
    pub fn disk(&self) -> (u64, u64) {
        let Ok(path) = CString::new(self.data.as_os_str().as_bytes()) else {
            return (0, 0);
        };
        // SAFETY: `path` is a terminated string, `stat` is a plain C struct
        // for which all zeros are a value, and both outlive the call.
        let stat = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            if libc::statvfs(path.as_ptr(), &mut stat) != 0 {
                return (0, 0);
            }
            stat
        };
        (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)
    }
}
