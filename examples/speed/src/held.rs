//! Nodes that are held to a share of a core, by cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where cgroups of the processor are, of the first version.
const ROOT: &str = "/sys/fs/cgroup/cpu";

/// Time over which a share is reckoned: short, so that none waits for long.
const PERIOD_US: f64 = 10_000.0;

/// The least time in a period that the kernel takes: a small share needs a longer one.
const QUOTA_MIN_US: f64 = 1_000.0;

/// Groups that hold what is put into them to a share; removed when dropped.
#[derive(Default)]
pub struct Groups(Vec<PathBuf>);

impl Groups {
    /// Words before a program that put it into a group of its own.
    ///
    /// # Errors
    /// If this machine does not let us.
    pub fn prefix(&mut self, share: f64) -> Result<Vec<String>, String> {
        let name = format!("reelraft-speed-{}-{}", std::process::id(), self.0.len());
        let group = Path::new(ROOT).join(name);
        let refused = |error| format!("{}: {error}", group.display());
        fs::create_dir(&group).map_err(refused)?;
        self.0.push(group.clone());
        let period_us = (QUOTA_MIN_US / share).max(PERIOD_US);
        for (file, us) in [
            ("cpu.cfs_period_us", period_us),
            ("cpu.cfs_quota_us", share * period_us),
        ] {
            let value = format!("{us:.0}");
            fs::write(group.join(file), value).map_err(refused)?;
        }
        let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", group.display());
        Ok(["sh", "-c", &enter, "sh"].map(String::from).to_vec())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = fs::remove_dir(group);
        }
    }
}
