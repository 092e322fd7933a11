//! The turns that jobs took lately, from one state to the next, by the place in
//! the log that made them. Every replica has the same ones under the same marks,
//! so that whoever follows them may go on at any node.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use reelraft_model::{Mark, Turned};
use tokio::sync::watch;

use crate::limits::{TURNS_KEPT, TURNS_TAKEN_MAX};

/// A job came into a state.
#[derive(Debug)]
pub struct Turn {
    pub mark: Mark,
    pub job: Turned,
    /// Its form for clients, which the first to need it makes for all.
    pub text: OnceLock<Bytes>,
}

/// What follows a mark.
#[derive(Debug)]
pub struct Taken {
    /// In order, at most [`TURNS_TAKEN_MAX`].
    pub turns: Vec<Arc<Turn>>,
    /// Where to go on.
    pub next: Mark,
}

/// The latest turns. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns {
    ring: Arc<Mutex<Ring>>,
    /// Counts what was added.
    added: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    turns: VecDeque<Arc<Turn>>,
    /// What came after this is here.
    reaches: Mark,
    /// All turns up to this entry have been added.
    applied: u64,
}

impl Turns {
    /// None yet, of a replica that has applied this entry.
    pub(crate) fn new(applied: u64) -> Self {
        let ring = Ring {
            turns: VecDeque::new(),
            reaches: Mark::after(applied),
            applied,
        };
        Turns {
            ring: Arc::new(Mutex::new(ring)),
            added: watch::Sender::new(0),
        }
    }

    /// Adds what entries did, in order, the last of them named.
    pub(crate) fn add(&self, turned: Vec<(u64, Vec<Turned>)>, applied: u64) {
        let any = turned.iter().any(|(_, jobs)| !jobs.is_empty());
        let mut ring = self.ring();
        for (index, jobs) in turned {
            for (position, job) in (0..).zip(jobs) {
                let mark = Mark { index, position };
                let text = OnceLock::new();
                ring.turns.push_back(Arc::new(Turn { mark, job, text }));
            }
        }
        while ring.turns.len() > TURNS_KEPT {
            let oldest = ring.turns.pop_front();
            ring.reaches = oldest.map_or(ring.reaches, |turn| turn.mark);
        }
        ring.applied = applied;
        drop(ring);
        if any {
            self.added.send_modify(|count| *count += 1);
        }
    }

    /// Forgets all, as the replica has skipped to this entry.
    pub(crate) fn skip_to(&self, applied: u64) {
        let mut ring = self.ring();
        ring.turns.clear();
        ring.reaches = Mark::after(applied);
        ring.applied = applied;
        drop(ring);
        self.added.send_modify(|count| *count += 1);
    }

    /// Changes with each turn.
    pub fn added(&self) -> watch::Receiver<u64> {
        self.added.subscribe()
    }

    /// The turns after a mark; none where some of them are forgotten already.
    /// A replica that is behind has nothing after it yet.
    pub fn after(&self, mark: Mark) -> Option<Taken> {
        let ring = self.ring();
        if mark < ring.reaches {
            return None;
        }
        let first = ring.turns.partition_point(|turn| turn.mark <= mark);
        let following = ring.turns.iter().skip(first);
        let turns: Vec<_> = following.take(TURNS_TAKEN_MAX).cloned().collect();
        let next = match turns.last() {
            Some(last) if turns.len() == TURNS_TAKEN_MAX => last.mark,
            _ => mark.max(Mark::after(ring.applied)),
        };
        Some(Taken { turns, next })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(index: u64, jobs: usize) -> (u64, Vec<Turned>) {
        let job = |number: usize| Turned {
            job: format!("{index}-{number}"),
            ..Default::default()
        };
        (index, (0..jobs).map(job).collect())
    }

    fn marks(turns: &Turns, mark: Mark) -> Option<Vec<(u64, u32)>> {
        let taken = turns.after(mark)?;
        let marks = taken.turns.iter().map(|turn| turn.mark);
        Some(marks.map(|mark| (mark.index, mark.position)).collect())
    }

    #[test]
    fn one_goes_on_in_the_midst_of_an_entry_and_at_a_node_that_is_behind() {
        let turns = Turns::new(3);
        turns.add(vec![entry(4, 0), entry(5, 2)], 5);
        turns.add(vec![entry(7, 1)], 9);
        assert_eq!(marks(&turns, Mark::after(2)), None, "it began after that");
        let all = vec![(5, 0), (5, 1), (7, 0)];
        assert_eq!(marks(&turns, Mark::after(3)), Some(all.clone()));
        let mark = Mark {
            index: 5,
            position: 0,
        };
        assert_eq!(marks(&turns, mark), Some(all[1..].to_vec()));
        let next = turns.after(mark).unwrap().next;
        assert_eq!(next, Mark::after(9));
        // Another node was ahead.
        let ahead = turns.after(Mark::after(12)).unwrap();
        assert!(ahead.turns.is_empty());
        assert_eq!(ahead.next, Mark::after(12));
        turns.skip_to(20);
        assert_eq!(marks(&turns, next), None, "a snapshot has no turns");
        assert_eq!(marks(&turns, Mark::after(20)), Some(vec![]));
    }

    #[test]
    fn so_many_are_kept_and_taken_at_once() {
        let turns = Turns::new(0);
        let added = turns.added();
        let entries = (1..=TURNS_KEPT as u64 + 1).map(|index| entry(index, 1));
        turns.add(entries.collect(), TURNS_KEPT as u64 + 1);
        assert!(added.has_changed().unwrap());
        assert!(turns.after(Mark::after(0)).is_none());
        let mut mark = Mark::after(1);
        let mut taken = 0;
        loop {
            let some = turns.after(mark).unwrap();
            assert!(some.turns.len() <= TURNS_TAKEN_MAX);
            if some.turns.is_empty() {
                break;
            }
            taken += some.turns.len();
            mark = some.next;
        }
        assert_eq!(taken, TURNS_KEPT);
    }
}
