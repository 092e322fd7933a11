//! A limit of what a store may keep, below what the disk has. What it keeps is counted
//! by looking through its folders now and then; what was put since is counted on top, and
//! what was removed is not, so that the count is never too low by much.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    limits::QUOTA_LOOK_EVERY,
    names::{QUARANTINE_FOLDER, TRASH_FOLDER},
    space::Space,
};

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
    /// Sets the limit, and begins to count what is kept. Until that is known there is
    /// no room.
    pub fn set(self: &Arc<Self>, root: &Path, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        if limit > 0 {
            self.kept.store(limit, Ordering::Relaxed);
            self.looked().at = None;
            self.look_again(root);
        }
    }

    /// Whether it was counted what is kept, or needs not be.
    pub fn is_counted(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == 0 || self.looked().at.is_some()
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
        let own = Space {
            free_bytes: limit.saturating_sub(kept),
            total_bytes: disk.total_bytes.min(limit),
        };
        // What the disk itself is to have left is left, too.
        let spare = disk.free_bytes.saturating_sub(disk.reserved_bytes());
        Space {
            free_bytes: own.free_bytes.min(spare + own.reserved_bytes()),
            ..own
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
        // Held loosely: it ends with the store.
        let (held, root) = (Arc::downgrade(self), root.to_path_buf());
        let counting = thread::Builder::new().name("kept bytes".into());
        let begun = counting.spawn(move || {
            let kept = || Some(held.upgrade()?.kept.load(Ordering::Relaxed));
            let Some(before) = kept() else { return };
            let mut linked = HashSet::new();
            let found = bytes_below(&root, &held, &mut linked);
            let Some(quota) = held.upgrade() else { return };
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

/// The bytes of all files below a folder, once for each file however many names it
/// has. What goes meanwhile is not there; nor is what is damaged, or being deleted.
fn bytes_below(folder: &Path, store: &Weak<Quota>, linked: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        if store.strong_count() == 0 {
            break;
        }
        let name = entry.file_name();
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => {
                match name == TRASH_FOLDER || name == QUARANTINE_FOLDER {
                    true => 0,
                    false => bytes_below(&entry.path(), store, linked),
                }
            }
            Ok(found) if found.nlink() > 1 && !linked.insert((found.dev(), found.ino())) => 0,
            Ok(found) => found.len(),
            Err(_) => 0,
        };
    }
    bytes
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
        // Damaged and removed blobs are not kept, and a second name is no second file.
        for folder in [TRASH_FOLDER, QUARANTINE_FOLDER] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("blob"), vec![0; 90]).unwrap();
        }
        fs::hard_link(dir.path().join("job/blob"), dir.path().join("job/twin")).unwrap();
        let within = |quota: &Arc<Quota>, free| quota.within(dir.path(), disk(free));
        let counted = |quota: &Arc<Quota>| {
            let begun = Instant::now();
            while quota.looked().looking && begun.elapsed() < Duration::from_secs(30) {
                thread::sleep(Duration::from_millis(5));
            }
        };
        assert_eq!(within(&quota, 4_000), disk(4_000), "no limit");
        quota.set(dir.path(), 1_000);
        counted(&quota);
        let left = within(&quota, 4_000);
        assert_eq!((left.free_bytes, left.total_bytes), (700, 1_000));
        // 250 are the disk's own reserve, and 50 are that of what may be kept.
        assert_eq!(within(&quota, 400).free_bytes, 150 + 50);
        assert_eq!(
            within(&quota, 250).free_bytes,
            50,
            "the disk is full before"
        );
        quota.put(600);
        assert_eq!(within(&quota, 4_000).free_bytes, 100);
        quota.put(600);
        assert_eq!(within(&quota, 4_000).free_bytes, 0);
        // What was removed shows with the next look.
        quota.looked().at = Some(Instant::now() - 2 * QUOTA_LOOK_EVERY);
        within(&quota, 4_000);
        counted(&quota);
        assert_eq!(within(&quota, 4_000).free_bytes, 700);
    }

    #[test]
    fn nothing_is_taken_until_it_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let quota: Arc<Quota> = Arc::default();
        // The look under way is another's, which never ends.
        quota.looked().looking = true;
        quota.set(dir.path(), 1_000);
        let disk = Space {
            free_bytes: 4_000,
            total_bytes: 5_000,
        };
        assert!(!quota.is_counted());
        assert_eq!(quota.within(dir.path(), disk).free_bytes, 0);
    }
}
