//! What this machine says of itself in its beats: load and disk.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::limits::ENCODERS_MEMORY_PERCENT;

/// Reads load and disk figures.
#[derive(Debug)]
pub struct Load {
    data: PathBuf,
    memory_mib: u64,
}

impl Load {
    /// Figures of this machine and of the disk that holds `data`.
    pub fn new(data: PathBuf) -> Self {
        let memory = memory_bytes().map_or(0, |bytes| bytes >> 20);
        Load {
            data,
            memory_mib: memory * ENCODERS_MEMORY_PERCENT / 100,
        }
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

    /// What encoders may take of this machine's memory together, in MiB: a share of
    /// what it has, or of what its control group may take; 0 where neither is known.
    pub fn memory_mib(&self) -> u64 {
        self.memory_mib
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

/// The memory of this machine, or what its control group may take of it.
fn memory_bytes() -> Option<u64> {
    let about = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    total_bytes(&about)
        .into_iter()
        .chain(group_limits(&groups, read))
        .min()
}

/// What `/proc/meminfo` says of the whole machine.
fn total_bytes(about: &str) -> Option<u64> {
    let line = about
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The limits of a process's control groups and of all above them, of both versions.
fn group_limits(groups: &str, read: impl Fn(&Path) -> String) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            // Where there is none it says `max`, or more than any machine has.
            let limit = read(&Path::new(root).join(group).join(file));
            limits.extend(limit.trim().parse::<u64>());
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_the_least_that_any_group_allows() {
        assert_eq!(
            total_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"),
            Some(2 << 20)
        );
        let read = |path: &Path| match path.to_str() {
            Some("/sys/fs/cgroup/a/b/memory.max") => "max\n".to_string(),
            Some("/sys/fs/cgroup/a/memory.max") => "1000\n".to_string(),
            Some("/sys/fs/cgroup/memory/c/memory.limit_in_bytes") => "500\n".to_string(),
            Some("/sys/fs/cgroup/memory/memory.limit_in_bytes") => "9223372036854771712".into(),
            _ => String::new(),
        };
        assert_eq!(group_limits("0::/a/b\n", read), [1000]);
        let old = "5:cpu,memory:/c\n4:pids:/c\n";
        assert_eq!(group_limits(old, read), [500, 9_223_372_036_854_771_712]);
    }
}
