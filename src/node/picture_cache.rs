//! The pictures of sources that a node made lately, and leave to make another.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use crate::limits::PICTURES_KEPT;

/// Which picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureOf {
    /// The job's analysis, which stands for its source.
    pub index: String,
    pub at_ms: u64,
    pub width: u32,
}

/// The pictures that were made lately, and leave to make another.
pub struct Pictures {
    room: Semaphore,
    kept: Mutex<VecDeque<(PictureOf, Bytes)>>,
}

impl Default for Pictures {
    fn default() -> Self {
        Pictures {
            room: Semaphore::new(1),
            kept: Mutex::default(),
        }
    }
}

impl Pictures {
    /// Leave to make another, while no other is made.
    ///
    /// # Errors
    /// While one is.
    pub fn enter(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.room.try_acquire()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(PictureOf, Bytes)>> {
        // Nothing is left half-done while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was made.
    pub fn find(&self, wanted: &PictureOf) -> Option<Bytes> {
        let kept = self.kept();
        let found = kept.iter().find(|(of, _)| of == wanted);
        found.map(|(_, picture)| picture.clone())
    }

    /// Keeps one in the place of the oldest.
    pub fn keep(&self, of: PictureOf, picture: Bytes) {
        let mut kept = self.kept();
        kept.truncate(PICTURES_KEPT - 1);
        kept.push_front((of, picture));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pictures_are_kept() {
        let pictures = Pictures::default();
        let of = |at_ms| PictureOf {
            index: "i".into(),
            at_ms,
            width: 320,
        };
        for at_ms in 0..=PICTURES_KEPT as u64 {
            pictures.keep(of(at_ms), Bytes::from_static(b"jpeg"));
        }
        assert!(pictures.find(&of(0)).is_none());
        assert!(pictures.find(&of(1)).is_some());
        assert_eq!(pictures.kept().len(), PICTURES_KEPT);
    }
}
