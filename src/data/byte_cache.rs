//! What was read and decoded lately, by its hash, as far as it fits into so
//! many bytes. Blobs never change, so nothing in here goes stale.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A cache of decoded blobs.
#[derive(Debug)]
pub struct ByteCache<T> {
    bytes_max: usize,
    /// The latest first.
    kept: Mutex<VecDeque<Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    hash: String,
    bytes: usize,
    value: Arc<T>,
}

impl<T> ByteCache<T> {
    /// An empty cache for blobs of so many bytes together.
    pub fn new(bytes_max: usize) -> Self {
        ByteCache {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob of a hash, if it is kept.
    pub fn get(&self, hash: &str) -> Option<Arc<T>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|known| known.hash == hash)?;
        let known = kept.remove(at)?;
        let value = known.value.clone();
        kept.push_front(known);
        Some(value)
    }

    /// Keeps a blob of so many bytes, in the place of those that were not asked
    /// for the longest. One that is larger than all room is not kept.
    pub fn put(&self, hash: &str, bytes: usize, value: Arc<T>) {
        let mut kept = self.kept();
        kept.retain(|known| known.hash != hash);
        kept.push_front(Kept {
            hash: hash.to_string(),
            bytes,
            value,
        });
        let mut room = self.bytes_max;
        kept.retain(|known| {
            let fits = known.bytes <= room;
            room = room.saturating_sub(known.bytes);
            fits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_as_far_as_they_fit() {
        let cache = ByteCache::new(10);
        for (hash, bytes) in [("a", 4), ("b", 4), ("c", 2)] {
            cache.put(hash, bytes, Arc::new(bytes));
        }
        assert_eq!(cache.get("a").as_deref(), Some(&4));
        cache.put("d", 3, Arc::new(3));
        assert!(cache.get("b").is_none(), "it was not asked for the longest");
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        cache.put("e", 11, Arc::new(11));
        assert!(cache.get("e").is_none(), "it is larger than all room");
    }
}
