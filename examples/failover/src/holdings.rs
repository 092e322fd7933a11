//! Which node holds bytes of which job, read from the nodes' data folders, also
//! from those of nodes that are away.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::clock::now_us;

/// A time in which one disk held bytes of one job.
#[derive(Clone, Debug)]
pub struct Stay {
    pub node: u64,
    pub job: String,
    pub from_us: u64,
    /// `None` while it holds them.
    pub to_us: Option<u64>,
    /// The most that was seen.
    pub bytes: u64,
}

impl Stay {
    pub fn includes(&self, at_us: u64) -> bool {
        self.from_us <= at_us && self.to_us.is_none_or(|to_us| at_us < to_us)
    }
}

/// A node that is away for longer than this may lose its place as a home.
const HOME_LOST_US: u64 = 8_000_000;

/// A time in which a node was away.
pub struct Away {
    pub node: u64,
    pub from_us: u64,
    /// `None` if its disk is lost.
    pub to_us: Option<u64>,
}

/// What was seen on the disks so far.
#[derive(Default)]
pub struct Holdings {
    pub stays: Vec<Stay>,
}

impl Holdings {
    /// Looks at the disks: each node with its data folder. A disk that is not
    /// named holds nothing any more.
    pub fn look(&mut self, disks: &BTreeMap<u64, PathBuf>) {
        let at_us = now_us();
        let mut seen: BTreeSet<(u64, String)> = BTreeSet::new();
        for (&node, data) in disks {
            for (job, bytes) in bytes_of_jobs(data) {
                seen.insert((node, job.clone()));
                let mut open = self.stays.iter_mut().filter(|stay| stay.to_us.is_none());
                match open.find(|stay| stay.node == node && stay.job == job) {
                    Some(stay) => stay.bytes = stay.bytes.max(bytes),
                    None => self.stays.push(Stay {
                        node,
                        job,
                        from_us: at_us,
                        to_us: None,
                        bytes,
                    }),
                }
            }
        }
        for stay in &mut self.stays {
            if stay.to_us.is_none() && !seen.contains(&(stay.node, stay.job.clone())) {
                stay.to_us = Some(at_us);
            }
        }
    }

    /// Where there were more copies of a job's bytes than explained. It has so
    /// many homes, and one copy more for each home that was lost: one that was
    /// silent while the job was at work, or whose disk is gone.
    pub fn copies_too_many(
        &self,
        homes: usize,
        aways: &[Away],
        finished_us: &BTreeMap<String, u64>,
    ) -> Vec<String> {
        let jobs: BTreeSet<&String> = self.stays.iter().map(|stay| &stay.job).collect();
        let mut too_many = Vec::new();
        for job in jobs {
            let finished_us = finished_us.get(job).copied().unwrap_or(u64::MAX);
            let losses = aways
                .iter()
                .filter(|away| self.is_loss(job, finished_us, away));
            let (losses, copies) = (losses.count(), self.of(job).count());
            if copies > homes + losses {
                let stays: Vec<_> = self.of(job).collect();
                too_many.push(format!(
                    "{copies} copies of {job} for {homes} homes and {losses} losses: {stays:?}"
                ));
            }
        }
        too_many
    }

    /// Whether a job lost a home when a node was away.
    fn is_loss(&self, job: &str, finished_us: u64, away: &Away) -> bool {
        let held = |at_us| {
            self.of(job)
                .any(|stay| stay.node == away.node && stay.includes(at_us))
        };
        match away.to_us {
            None => held(away.from_us),
            // It may become a home while it is away, before that is noticed.
            Some(to_us) => {
                to_us - away.from_us > HOME_LOST_US && away.from_us < finished_us && held(to_us)
            }
        }
    }

    /// The times in which disks held bytes of a job.
    pub fn of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Stay> {
        self.stays.iter().filter(move |stay| stay.job == job)
    }
}

/// Whether a disk holds a blob of a job.
pub fn holds(data: &Path, job: &str, hash: &str) -> bool {
    data.join("blobs").join(job).join(hash).is_file()
}

/// The jobs that a disk holds blobs of, and how many bytes.
fn bytes_of_jobs(data: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for folder in entries(&data.join("blobs")) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('_') || !folder.is_dir() {
            continue;
        }
        let blobs = entries(&folder).into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let bytes: u64 = blobs
            .filter_map(|path| path.metadata().ok())
            .map(|data| data.len())
            .sum();
        if bytes > 0 {
            found.push((name.into_owned(), bytes));
        }
    }
    found
}

/// What is in a folder. One that is being removed may be gone by now.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
