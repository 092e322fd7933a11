//! How many streams a node serves at once. Each holds memory for as long as
//! its client likes, so that without a limit one client could take all of it.
//! Where the room is full, a stream whose client does nothing gives way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use reelraft_model::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{
    BACKUPS_MAX, EVENTS_MAX, FETCHES_MAX, GIVES_WAY_AFTER, SHARE_SMALL, TENANT_SHARE_MAX,
    UPLOAD_CHUNKS_MAX, UPLOAD_GIVES_WAY_AFTER, WATCHES_MAX,
};

/// A stream's leave to be served. It ends when this is dropped.
pub struct Pass {
    room: OwnedSemaphorePermit,
    door: Door,
    /// Whose it is, where tenants share the room.
    tenant: Option<String>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(tenant) = &self.tenant else { return };
        let mut held = self.door.held();
        let left = held.get(tenant).copied().unwrap_or_default();
        match left.saturating_sub(self.room.num_permits()) {
            0 => held.remove(tenant),
            left => held.insert(tenant.clone(), left),
        };
    }
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
    max: usize,
    room: Arc<Semaphore>,
    guests: Arc<Mutex<Vec<Seated>>>,
    /// What each tenant has of the room.
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A stream that can be asked to give way, and whose it is.
#[derive(Clone)]
struct Seated {
    tenant: Option<String>,
    guest: Weak<dyn Guest>,
}

impl Pass {
    /// Says whose it is, so that the stream can be asked to give way.
    pub fn belongs_to(&self, guest: Weak<dyn Guest>) {
        let mut guests = self.door.guests();
        guests.retain(|seated| seated.guest.strong_count() > 0);
        let tenant = self.tenant.clone();
        guests.push(Seated { tenant, guest });
    }

    /// How much of the room it is for.
    pub fn share(&self) -> usize {
        self.room.num_permits()
    }
}

impl Door {
    /// A door for `max` of a thing at once; `what` names them in a refusal.
    pub fn new(what: &'static str, max: usize) -> Self {
        Door {
            what,
            patience: GIVES_WAY_AFTER,
            max,
            room: Arc::new(Semaphore::new(max)),
            guests: Arc::default(),
            held: Arc::default(),
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
                Err(_) if self.make_room(None) => {}
                Err(_) => return Err(self.too_busy()),
            }
        }
    }

    /// Lets a stream of a tenant in that would take this much of the room, and can do
    /// with less, but for the `least`: the fuller the room is, or the tenant's share of
    /// it, the less it gets.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn enter_as(&self, tenant: &str, wanted: u32, least: u32) -> Result<Pass, Problem> {
        loop {
            // One at a time: what is free and what a tenant has belong together.
            let mut held = self.held();
            let own = held.get(tenant).copied().unwrap_or_default();
            let own_left = (self.max / TENANT_SHARE_MAX).saturating_sub(own);
            let given = self.given(own_left, wanted).map(|given| given.max(least));
            let given = given.filter(|given| *given as usize <= own_left);
            let room = given.and_then(|given| self.room.clone().try_acquire_many_owned(given).ok());
            if let Some(room) = room {
                held.insert(tenant.to_string(), own + room.num_permits());
                drop(held);
                return Ok(self.pass_of(room, Some(tenant.to_string())));
            }
            drop(held);
            // Where its own share is taken, what others give up is not for it.
            let whose = (own_left < least.max(1) as usize).then_some(tenant);
            if !self.make_room(whose) {
                return Err(match whose {
                    Some(tenant) => self.tenant_too_busy(tenant),
                    None => self.too_busy(),
                });
            }
        }
    }

    /// How much one gets that wants so much; none where nothing is left.
    fn given(&self, own_left: usize, wanted: u32) -> Option<u32> {
        let sized = |left: usize, max: usize| match left {
            0 => None,
            left if left * 2 >= max => Some(wanted),
            left if left * 8 >= max => Some(wanted.min(SHARE_SMALL)),
            _ => Some(1),
        };
        let of_all = sized(self.room.available_permits(), self.max)?;
        let of_own = sized(own_left, self.max / TENANT_SHARE_MAX)?;
        Some(of_all.min(of_own))
    }

    /// Ends the stream that has been idle for longest, of a tenant where one is named;
    /// whether there was one.
    fn make_room(&self, tenant: Option<&str>) -> bool {
        let is_meant = |seated: &&Seated| tenant.is_none() || seated.tenant.as_deref() == tenant;
        let guests: Vec<_> = self
            .guests()
            .iter()
            .filter(is_meant)
            .filter_map(|seated| seated.guest.upgrade())
            .collect();
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
        self.pass_of(room, None)
    }

    fn pass_of(&self, room: OwnedSemaphorePermit, tenant: Option<String>) -> Pass {
        Pass {
            room,
            door: self.clone(),
            tenant,
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // Nothing is left half-done while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Seated>> {
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

    fn tenant_too_busy(&self, tenant: &str) -> Problem {
        let what = self.what;
        Problem::new(
            "too-busy",
            format!("tenant {tenant} has as many {what} on this node as one tenant may have"),
            "try again when some of them have ended, or ask another node",
        )
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fill(door: &Door, tenant: &str) -> Vec<Pass> {
        std::iter::from_fn(|| door.enter_as(tenant, 16, 1).ok()).collect()
    }

    fn shares(passes: &[Pass]) -> Vec<usize> {
        let mut shares: Vec<usize> = passes.iter().map(Pass::share).collect();
        shares.dedup();
        shares
    }

    #[test]
    fn a_room_that_fills_gives_less_and_none_takes_all_of_it() {
        let door = Door::new("uploads", 256);
        let mine = fill(&door, "a");
        assert_eq!((shares(&mine), mine.len()), (vec![16, 4, 1], 26));
        let refused = door.enter_as("a", 1, 1).err().unwrap();
        assert_eq!(refused.kind, "too-busy");
        assert!(refused.cause.starts_with("tenant a has as many uploads"));
        // Another finds its place as if nobody were there, until the room is full.
        let theirs = fill(&door, "b");
        assert_eq!((theirs[0].share(), theirs.len() > 26), (16, true));
        let full = door.enter_as("c", 1, 1).err().unwrap();
        assert!(full.cause.starts_with("this node serves as many uploads"));
        drop(theirs);
        assert_eq!(door.enter_as("c", 16, 16).unwrap().share(), 16);
        drop(mine);
        assert_eq!(door.enter_as("a", 16, 1).unwrap().share(), 16);
        assert!(door.held().is_empty() && door.room.available_permits() == 256);
    }

    #[test]
    fn what_can_not_do_with_less_gets_all_or_nothing() {
        let door = Door::new("uploads", 256);
        let held: Vec<Pass> = (0..9)
            .filter_map(|_| door.enter_as("a", 16, 16).ok())
            .collect();
        assert_eq!((held.len(), shares(&held)), (8, vec![16]));
    }

    struct Idle(Mutex<Option<Pass>>);

    impl Guest for Idle {
        fn idle(&self) -> Option<Duration> {
            let pass = self.0.lock().unwrap();
            pass.is_some().then_some(Duration::from_secs(3600))
        }

        fn give_way(&self) {
            self.0.lock().unwrap().take();
        }
    }

    #[test]
    fn a_tenants_own_idle_streams_make_room_for_it_and_no_others() {
        let door = Door::new("uploads", 256);
        let idle = |tenant: &str| {
            let pass = door.enter_as(tenant, 16, 16).unwrap();
            let guest = Arc::new(Idle(Mutex::new(None)));
            let weak: Weak<dyn Guest> = Arc::downgrade(&guest) as Weak<dyn Guest>;
            pass.belongs_to(weak);
            *guest.0.lock().unwrap() = Some(pass);
            guest
        };
        let (other, own) = (idle("b"), idle("a"));
        let _rest: Vec<Pass> = (0..7)
            .filter_map(|_| door.enter_as("a", 16, 16).ok())
            .collect();
        let entered = door.enter_as("a", 16, 1).unwrap();
        assert!(own.idle().is_none() && other.idle().is_some());
        drop(entered);
    }
}
