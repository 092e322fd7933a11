//! The chunk journals of this disk: a few are open, and of the others it is
//! known how many chunks they have. Nothing here waits for the disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use super::{journal::Journal, limits::JOURNALS_OPEN_MAX};

/// Those that are open, and what is known of those that are not.
#[derive(Default)]
pub(super) struct Journals {
    open: HashMap<String, Arc<Journal>>,
    /// Chunks of journals that are closed.
    counts: HashMap<String, u64>,
    /// Held by who opens a journal.
    opening: HashMap<String, Weak<Mutex<()>>>,
    /// How many jobs were forgotten: what was seen on the disk before may be gone.
    forgotten: u64,
}

impl Journals {
    /// A journal that is open.
    pub(super) fn open(&self, job: &str) -> Option<Arc<Journal>> {
        self.open.get(job).cloned()
    }

    /// What whoever opens a journal is to hold: two would write its file anew at once.
    pub(super) fn opening(&mut self, job: &str) -> Arc<Mutex<()>> {
        if let Some(opening) = self.opening.get(job).and_then(Weak::upgrade) {
            return opening;
        }
        self.opening.retain(|_, opening| opening.strong_count() > 0);
        let opening = Arc::default();
        self.opening
            .insert(job.to_string(), Arc::downgrade(&opening));
        opening
    }

    /// Keeps one that was opened. Where too many are open, those that nobody
    /// holds are closed.
    pub(super) fn keep(&mut self, job: &str, journal: &Arc<Journal>) {
        if self.open.len() >= JOURNALS_OPEN_MAX {
            // One that somebody holds stays, so that a removal can retire it.
            let unheld = |_: &String, journal: &mut Arc<Journal>| Arc::strong_count(journal) == 1;
            let closed = self.open.extract_if(unheld);
            self.counts
                .extend(closed.map(|(job, journal)| (job, journal.count())));
        }
        self.counts.remove(job);
        self.open.insert(job.to_string(), journal.clone());
    }

    /// How many chunks a journal has, if that is known; else what to say to
    /// [`Journals::learn`].
    pub(super) fn count(&self, job: &str) -> Result<u64, u64> {
        let open = self.open.get(job).map(|journal| journal.count());
        open.or_else(|| self.counts.get(job).copied())
            .ok_or(self.forgotten)
    }

    /// Notes how many chunks were found on the disk of one that was not opened yet.
    pub(super) fn learn(&mut self, job: &str, count: u64, forgotten: u64) {
        if forgotten == self.forgotten && !self.open.contains_key(job) {
            self.counts.entry(job.to_string()).or_insert(count);
        }
    }

    /// Forgets a job that is removed; its journal, if that is open.
    pub(super) fn forget(&mut self, job: &str) -> Option<Arc<Journal>> {
        self.forgotten += 1;
        self.counts.remove(job);
        self.open.remove(job)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        ffi::CString,
        fs::{self, OpenOptions},
        os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use crate::blobs::BlobStore;

    #[test]
    fn a_journal_that_a_slow_disk_opens_keeps_nobody_else_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let slow = folder.path().join("slow");
        fs::create_dir(&slow).unwrap();
        // Reading it takes until its writer is done.
        let pipe = slow.join("journal");
        let path = CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string that ends.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let opened = thread::spawn({
            let store = store.clone();
            move || store.journal("slow").map(drop)
        });
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        let writer = loop {
            match options.open(&pipe) {
                Ok(writer) => break writer,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let (told, counts) = mpsc::channel();
        thread::spawn(move || {
            let hash = blake3::hash(b"x").to_hex().to_string();
            let other = store.journal("other").unwrap();
            other.append(0, &hash, 1).unwrap();
            told.send(["slow", "other"].map(|job| store.chunks_known(job)))
        });
        let counts = counts.recv_timeout(Duration::from_secs(20));
        drop(writer);
        assert_eq!(counts, Ok([0, 1]));
        opened.join().unwrap().unwrap();
    }
}
