//! How many streams a node serves at once. Each holds memory for as long as
//! its client likes, so that without a limit one client could take all of it.
//! Where the room is full, a stream whose client does nothing gives way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use reelraft_model::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{
    BACKUPS_MAX, EVENTS_MAX, FETCHES_MAX, GIVES_WAY_AFTER, UPLOAD_CHUNKS_MAX,
    UPLOAD_GIVES_WAY_AFTER, WATCHES_MAX,
};

/// A stream's leave to be served. It ends when this is dropped.
pub struct Pass {
    _room: OwnedSemaphorePermit,
    door: Door,
}

/// A stream that came in.
pub trait Guest: Send + Sync {
    /// How long the client has done nothing though it was its turn.
    fn idle(&self) -> Option<Duration>;

    /// Ends, and gives its pass up.
    fn give_way(&self);
}

/// The way in for one kind of stream.
#[derive(Clone)]
pub struct Door {
    what: &'static str,
    /// How long an idle stream keeps its place where others want it.
    patience: Duration,
    room: Arc<Semaphore>,
    guests: Arc<Mutex<Vec<Weak<dyn Guest>>>>,
}

impl Pass {
    /// Says whose it is, so that the stream can be asked to give way.
    pub fn belongs_to(&self, guest: Weak<dyn Guest>) {
        let mut guests = self.door.guests();
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(guest);
    }
}

impl Door {
    /// A door for `max` of a thing at once; `what` names them in a refusal.
    pub fn new(what: &'static str, max: usize) -> Self {
        Door {
            what,
            patience: GIVES_WAY_AFTER,
            room: Arc::new(Semaphore::new(max)),
            guests: Arc::default(),
        }
    }

    /// The same door with another patience.
    pub fn with_patience(self, patience: Duration) -> Self {
        Door { patience, ..self }
    }

    /// Lets a stream in that takes this much of the room. Where there is too
    /// little, those give way whose clients have done nothing for longest.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn enter(&self, share: u32) -> Result<Pass, Problem> {
        loop {
            match self.room.clone().try_acquire_many_owned(share) {
                Ok(room) => return Ok(self.pass(room)),
                Err(_) if self.make_room() => {}
                Err(_) => return Err(self.too_busy()),
            }
        }
    }

    /// Ends the stream that has been idle for longest; whether there was one.
    fn make_room(&self) -> bool {
        let guests: Vec<_> = self.guests().iter().filter_map(Weak::upgrade).collect();
        let idle = guests
            .iter()
            .filter_map(|guest| Some((guest.idle()?, guest)));
        let idle = idle.filter(|(idle, _)| *idle >= self.patience);
        let longest = idle.max_by_key(|(idle, _)| *idle);
        longest.is_some_and(|(_, guest)| {
            guest.give_way();
            true
        })
    }

    fn pass(&self, room: OwnedSemaphorePermit) -> Pass {
        Pass {
            _room: room,
            door: self.clone(),
        }
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Weak<dyn Guest>>> {
        // Nothing is left half-done while it is held.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Door::enter`], for one that would rather wait a moment.
    ///
    /// # Errors
    /// `too-busy`.
    pub async fn enter_within(&self, limit: Duration) -> Result<Pass, Problem> {
        let pass = tokio::time::timeout(limit, self.room.clone().acquire_owned()).await;
        pass.ok()
            .and_then(Result::ok)
            .map(|room| self.pass(room))
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
    pub backups: Door,
    pub watches: Door,
    pub events: Door,
}

impl Default for Doors {
    fn default() -> Self {
        Doors {
            uploads: Door::new("uploads", UPLOAD_CHUNKS_MAX).with_patience(UPLOAD_GIVES_WAY_AFTER),
            fetches: Door::new("downloads", FETCHES_MAX),
            backups: Door::new("backups", BACKUPS_MAX),
            watches: Door::new("watches", WATCHES_MAX),
            events: Door::new("event streams", EVENTS_MAX),
        }
    }
}
