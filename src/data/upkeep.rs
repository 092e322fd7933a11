//! What a home does for what it keeps, as it goes on: copies that it makes to become
//! whole, and its scrub. Progress is no fact, and is told in the node's beats.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

/// What one round over a disk's blobs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, how many were damaged and moved aside.
    pub damaged: u64,
    /// Blobs that the disk could not give; nothing is known of them.
    pub unread: u64,
}

/// What is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepNow {
    /// Jobs of which this node is to have all and has not, and about how many bytes
    /// that are.
    pub copy_jobs: u64,
    pub copy_bytes: u64,
    /// Bytes copied since the process began.
    pub copied_bytes: u64,
    /// What it may copy a second; 0: as much as comes.
    pub copy_rate: u64,
    pub scrub: ScrubNow,
}

/// How far a scrub is, and what the last one found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubNow {
    pub running: bool,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// When the last one ended; 0: none has since the process began.
    pub ended_unix_ms: u64,
    pub last: Scrubbed,
}

/// The same as it changes.
#[derive(Debug)]
pub struct Upkeep {
    copy_jobs: AtomicU64,
    copy_bytes: AtomicU64,
    copied_bytes: AtomicU64,
    scrub: Mutex<ScrubNow>,
    asked: watch::Sender<u64>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep {
            copy_jobs: AtomicU64::new(0),
            copy_bytes: AtomicU64::new(0),
            copied_bytes: AtomicU64::new(0),
            scrub: Mutex::default(),
            asked: watch::Sender::new(0),
        }
    }
}

impl Upkeep {
    fn scrub(&self) -> MutexGuard<'_, ScrubNow> {
        // Nothing is left half-done while it is held.
        self.scrub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to tell.
    pub fn now(&self, copy_rate: u64) -> UpkeepNow {
        UpkeepNow {
            copy_jobs: self.copy_jobs.load(Ordering::Relaxed),
            copy_bytes: self.copy_bytes.load(Ordering::Relaxed),
            copied_bytes: self.copied_bytes.load(Ordering::Relaxed),
            copy_rate,
            scrub: *self.scrub(),
        }
    }

    /// Says what there is to copy.
    pub fn to_copy(&self, jobs: u64, bytes: u64) {
        self.copy_jobs.store(jobs, Ordering::Relaxed);
        self.copy_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Counts what was copied.
    pub fn copied(&self, bytes: u64) {
        self.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Asks for a scrub now. One that runs goes on as fast as that, and another
    /// follows it.
    pub fn ask_scrub(&self) {
        self.asked.send_modify(|asked| *asked += 1);
    }

    /// Changes with each question.
    pub fn scrubs_asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// A scrub of so many bytes begins.
    pub fn scrub_begins(&self, total_bytes: u64) {
        let mut scrub = self.scrub();
        scrub.running = true;
        (scrub.done_bytes, scrub.total_bytes) = (0, total_bytes);
    }

    /// Some more was checked.
    pub fn scrub_goes_on(&self, bytes: u64) {
        self.scrub().done_bytes += bytes;
    }

    /// It has ended; with what it found, unless it was broken off.
    pub fn scrub_ends(&self, found: Option<Scrubbed>, unix_ms: u64) {
        let mut scrub = self.scrub();
        scrub.running = false;
        if let Some(found) = found {
            scrub.last = found;
            scrub.ended_unix_ms = unix_ms;
        }
    }
}
