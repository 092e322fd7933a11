//! How many streams a node serves at once. Each holds memory for as long as
//! its client likes, so that without a limit one client could take all of it.

use std::sync::Arc;

use reelraft_model::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{FETCHES_MAX, UPLOAD_CHUNKS_MAX, WATCHES_MAX};

/// A stream's leave to be served. It ends when this is dropped.
pub type Pass = OwnedSemaphorePermit;

/// The way in for one kind of stream.
#[derive(Clone)]
pub struct Door {
    what: &'static str,
    room: Arc<Semaphore>,
}

impl Door {
    /// A door for `max` of a thing at once; `what` names them in a refusal.
    pub fn new(what: &'static str, max: usize) -> Self {
        Door {
            what,
            room: Arc::new(Semaphore::new(max)),
        }
    }

    /// Lets a stream in that takes this much of the room.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn enter(&self, share: u32) -> Result<Pass, Problem> {
        let pass = self.room.clone().try_acquire_many_owned(share);
        pass.map_err(|_| self.too_busy())
    }

    /// As [`Door::enter`], for one that would rather wait a moment.
    ///
    /// # Errors
    /// `too-busy`.
    pub async fn enter_within(&self, limit: std::time::Duration) -> Result<Pass, Problem> {
        let pass = tokio::time::timeout(limit, self.room.clone().acquire_owned()).await;
        pass.ok()
            .and_then(Result::ok)
            .ok_or_else(|| self.too_busy())
    }

    fn too_busy(&self) -> Problem {
        Problem::new(
            "too-busy",
            format!("this node serves as many {} as it can hold", self.what),
            "try again in a while, or ask another node",
        )
    }
}

/// The doors for clients.
pub struct Doors {
    /// In chunks that an upload may hold.
    pub uploads: Door,
    pub fetches: Door,
    pub watches: Door,
}

impl Default for Doors {
    fn default() -> Self {
        Doors {
            uploads: Door::new("uploads", UPLOAD_CHUNKS_MAX),
            fetches: Door::new("downloads", FETCHES_MAX),
            watches: Door::new("watches", WATCHES_MAX),
        }
    }
}
