//! The chunk journals of this disk: a few are open, and of the others it is
//! known how many chunks they have.

use std::{collections::HashMap, sync::Arc};

use super::{journal::Journal, limits::JOURNALS_OPEN_MAX};

/// Those that are open, and what is known of those that are not.
#[derive(Default)]
pub(super) struct Journals {
    open: HashMap<String, Arc<Journal>>,
    /// Chunks of journals that are closed.
    counts: HashMap<String, u64>,
}

impl Journals {
    /// A journal that is open.
    pub(super) fn open(&self, job: &str) -> Option<Arc<Journal>> {
        self.open.get(job).cloned()
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

    /// How many chunks a journal has. `on_disk` is asked once of one that was
    /// not opened yet; none where there is no file.
    pub(super) fn count(&mut self, job: &str, on_disk: impl FnOnce() -> Option<u64>) -> u64 {
        if let Some(journal) = self.open.get(job) {
            return journal.count();
        }
        if let Some(count) = self.counts.get(job) {
            return *count;
        }
        let Some(count) = on_disk() else {
            return 0;
        };
        self.counts.insert(job.to_string(), count);
        count
    }

    /// Forgets a job that is removed; its journal, if that is open.
    pub(super) fn forget(&mut self, job: &str) -> Option<Arc<Journal>> {
        self.counts.remove(job);
        self.open.remove(job)
    }
}
