//! How fast this node copies what it lacks: so many bytes a second at most, where its
//! operator says so.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::limits::PACED_COPIES_MAX;

/// A bucket of what may be copied: it fills at the rate, and holds what a second gives.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; 0: as fast as they come.
    rate: AtomicU64,
    /// When all that was taken so far is paid for.
    paid_at: Mutex<Option<Instant>>,
    /// Copies that go on at once while there is a rate.
    places: Semaphore,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            rate: AtomicU64::new(0),
            paid_at: Mutex::default(),
            places: Semaphore::new(PACED_COPIES_MAX),
        }
    }
}

impl Pace {
    /// Sets the rate in bytes a second; 0: as fast as they come.
    pub fn set(&self, bytes_per_s: u64) {
        self.rate.store(bytes_per_s, Ordering::Relaxed);
    }

    pub fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Waits for a place to copy in, where there is a rate. A copy holds a place at its
    /// source as long as it lasts, and a slow one would hold it for hours.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        match self.rate() {
            0 => None,
            _ => self.places.acquire().await.ok(),
        }
    }

    /// Waits until so many bytes may be copied. Whoever takes at the same time shares
    /// the rate.
    pub async fn take(&self, bytes: u64) {
        let now = Instant::now();
        let until = {
            // Nothing is left half-done while it is held.
            let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let until = paid_after(*paid_at, now, bytes, self.rate());
            *paid_at = until;
            until
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until.checked_sub(BURST).unwrap_or(now)).await;
        }
    }
}

/// What may be copied at once after a rest, in time at the rate.
const BURST: Duration = Duration::from_secs(1);

fn paid_after(paid_at: Option<Instant>, now: Instant, bytes: u64, rate: u64) -> Option<Instant> {
    if rate == 0 {
        return None;
    }
    let from = paid_at.unwrap_or(now).max(now);
    Some(from + Duration::from_secs_f64(bytes as f64 / rate as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_takes_the_time_of_its_rate() {
        let begun = Instant::now();
        let mib = 1 << 20;
        assert_eq!(paid_after(None, begun, u64::MAX, 0), None, "no limit");
        let mut paid_at = None;
        for _ in 0..10 {
            paid_at = paid_after(paid_at, begun, mib, mib);
        }
        assert_eq!(paid_at, Some(begun + Duration::from_secs(10)));
        // A rest is not saved up.
        let later = begun + Duration::from_secs(60);
        let paid_at = paid_after(paid_at, later, mib / 2, mib);
        assert_eq!(paid_at, Some(later + Duration::from_millis(500)));
    }

    #[tokio::test]
    async fn few_copies_go_on_at_once_where_there_is_a_rate() {
        let pace = Pace::default();
        let mut free = Vec::new();
        for _ in 0..2 * PACED_COPIES_MAX {
            free.push(pace.place().await);
        }
        pace.set(1);
        let mut places = Vec::new();
        for _ in 0..PACED_COPIES_MAX {
            places.push(pace.place().await);
        }
        let short = Duration::from_millis(20);
        let full = tokio::time::timeout(short, pace.place()).await.is_err();
        assert!(full, "all places are taken");
        drop(places);
        assert!(pace.place().await.is_some());
    }

    #[tokio::test]
    async fn the_first_second_is_given_at_once() {
        let pace = Pace::default();
        pace.set(1 << 20);
        let begun = Instant::now();
        pace.take(1 << 20).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        pace.take(1 << 20).await;
        assert!(begun.elapsed() >= Duration::from_millis(900));
    }
}
