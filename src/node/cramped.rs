//! Whether work of this node waits for room on its disk: then it is a home that others
//! are to replace, though its disk is not full for all else.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How much work waits for room.
#[derive(Default)]
pub struct Cramped(AtomicUsize);

/// Work that waits, as long as this lives.
pub struct Waits<'a>(&'a Cramped);

impl Cramped {
    /// Counts work that begins to wait.
    pub fn enter(&self) -> Waits<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waits(self)
    }

    /// Whether any waits.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
