//! The source chunks that somebody waits for on this home. Nothing depends on
//! it but the order in which a client is asked: it may be lost at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::limits::UPLOAD_WINDOW;

/// How many wait for each chunk, by job and number.
type Waiting = BTreeMap<(String, u64), usize>;

/// The chunks that are waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    waiting: Mutex<Waiting>,
    /// How many chunks have come that somebody waited for.
    puts: watch::Sender<u64>,
}

impl Default for Awaited {
    fn default() -> Self {
        Awaited {
            waiting: Mutex::default(),
            puts: watch::Sender::new(0),
        }
    }
}

/// Somebody waits for a chunk, until this is dropped.
pub(super) struct Waits {
    awaited: Arc<Awaited>,
    chunk: (String, u64),
}

impl Awaited {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a chunk is waited for.
    pub fn enter(self: &Arc<Self>, job: &str, number: u64) -> Waits {
        let chunk = (job.to_string(), number);
        *self.waiting().entry(chunk.clone()).or_default() += 1;
        Waits {
            awaited: self.clone(),
            chunk,
        }
    }

    /// Changes with each chunk that comes and was waited for.
    pub fn puts(&self) -> watch::Receiver<u64> {
        self.puts.subscribe()
    }

    /// A chunk has come. Nobody else is woken: each looks at the journal then.
    pub fn came(&self, job: &str, number: u64) {
        let waited_for = self.waiting().contains_key(&(job.to_string(), number));
        if waited_for {
            self.puts.send_modify(|puts| *puts += 1);
        }
    }

    /// Chunks of a job that are waited for, as many as an upload asks for.
    pub fn of(&self, job: &str) -> Vec<u64> {
        let waiting = self.waiting();
        let own = waiting.range((job.to_string(), 0)..=(job.to_string(), u64::MAX));
        own.map(|((_, number), _)| *number)
            .take(UPLOAD_WINDOW)
            .collect()
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut waiting = self.awaited.waiting();
        if let Some(count) = waiting.get_mut(&self.chunk) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_chunk_that_is_waited_for_wakes_readers() {
        let awaited = Arc::new(Awaited::default());
        let waits = awaited.enter("a", 7);
        let puts = awaited.puts();
        awaited.came("a", 6);
        awaited.came("b", 7);
        assert!(!puts.has_changed().expect("it is there"));
        awaited.came("a", 7);
        assert!(puts.has_changed().expect("it is there"));
        assert_eq!(awaited.of("a"), [7]);
        drop(waits);
        assert!(awaited.of("a").is_empty());
    }
}
