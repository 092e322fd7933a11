//! A limit of what a store may keep, below what the disk has. What it keeps is counted
//! by looking through its folders now and then; what was put since is counted on top, and
//! what was removed is not, so that the count is never too low by much.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{limits::QUOTA_LOOK_EVERY, space::Space};

/// The limit, and what is kept.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// 0: there is none.
    limit: AtomicU64,
    kept: AtomicU64,
    looked: Mutex<Look>,
}

#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    /// Whether one is under way.
    looking: bool,
}

impl Quota {
    /// Sets the limit, and counts what is kept.
    pub fn set(self: &Arc<Self>, root: &Path, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        if limit > 0 {
            self.kept.store(bytes_below(root), Ordering::Relaxed);
            self.looked().at = Some(Instant::now());
        }
    }

    /// Counts what was put.
    pub fn put(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Look> {
        // Nothing is left half-done while it is held.
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of a disk, as far as the limit leaves it.
    pub fn within(self: &Arc<Self>, root: &Path, disk: Space) -> Space {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return disk;
        }
        self.look_again(root);
        let kept = self.kept.load(Ordering::Relaxed);
        Space {
            free_bytes: disk.free_bytes.min(limit.saturating_sub(kept)),
            total_bytes: disk.total_bytes.min(limit),
        }
    }

    /// Counts anew, on a thread of its own, if that is due.
    fn look_again(self: &Arc<Self>, root: &Path) {
        let mut look = self.looked();
        let due = look.at.is_none_or(|at| at.elapsed() >= QUOTA_LOOK_EVERY);
        if look.looking || !due {
            return;
        }
        look.looking = true;
        let (quota, root): (Arc<Quota>, PathBuf) = (self.clone(), root.to_path_buf());
        let counting = thread::Builder::new().name("kept bytes".into());
        let begun = counting.spawn(move || {
            let before = quota.kept.load(Ordering::Relaxed);
            let found = bytes_below(&root);
            // What was put meanwhile may have been seen, or not.
            let put = quota.kept.load(Ordering::Relaxed).saturating_sub(before);
            quota.kept.store(found + put, Ordering::Relaxed);
            let mut look = quota.looked();
            (look.looking, look.at) = (false, Some(Instant::now()));
        });
        if begun.is_err() {
            (look.looking, look.at) = (false, Some(Instant::now()));
        }
    }
}

/// The bytes of all files below a folder. What goes meanwhile is not there.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_leaves_what_is_not_kept_yet() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("job")).unwrap();
        fs::write(dir.path().join("job/blob"), vec![0; 300]).unwrap();
        let quota: Arc<Quota> = Arc::default();
        let disk = |free_bytes| Space {
            free_bytes,
            total_bytes: 5_000,
        };
        let within = |quota: &Arc<Quota>, free| quota.within(dir.path(), disk(free));
        assert_eq!(within(&quota, 4_000), disk(4_000), "no limit");
        quota.set(dir.path(), 1_000);
        let left = within(&quota, 4_000);
        assert_eq!((left.free_bytes, left.total_bytes), (700, 1_000));
        quota.put(600);
        assert_eq!(within(&quota, 4_000).free_bytes, 100);
        assert_eq!(within(&quota, 50).free_bytes, 50, "the disk is full before");
        quota.put(600);
        assert_eq!(within(&quota, 4_000).free_bytes, 0);
        // What was removed shows with the next look.
        quota.looked().at = Some(Instant::now() - 2 * QUOTA_LOOK_EVERY);
        within(&quota, 4_000);
        let begun = Instant::now();
        while quota.looked().looking && begun.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(within(&quota, 4_000).free_bytes, 700);
    }
}
