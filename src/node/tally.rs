//! What this process has done since it began: attempts and elections, counted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use reelraft_consensus::Leadership;
use reelraft_model::{FailureClass, TaskKind};
use tokio::sync::watch;

use super::messages::Outcome;

/// The word for attempts that did not fail; [`failed_by`] has those for the others.
pub const DONE: &str = "done";

/// What attempts of one kind and outcome came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub attempts: u64,
    /// Wall time, from the assignment to the result.
    pub time: Duration,
    /// Of those that gave a result; packets of audio.
    pub frames: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// All that is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// When it began.
    pub since: SystemTime,
    /// By the kind of task, and by [`DONE`] or what they failed by.
    pub ran: BTreeMap<(TaskKind, &'static str), Ran>,
    /// Leaders that this node has seen elected.
    pub elections: u64,
}

/// The counters of a process.
pub struct Tally(Mutex<Counts>);

impl Default for Tally {
    fn default() -> Self {
        Tally(Mutex::new(Counts {
            since: SystemTime::now(),
            ran: BTreeMap::new(),
            elections: 0,
        }))
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing is left half-done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counts as they are.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Counts an attempt that has ended.
    pub fn count(&self, kind: TaskKind, outcome: &Outcome, time: Duration) {
        let name = match outcome {
            Outcome::Done(_) => DONE,
            Outcome::Failed(failed) => failed_by(failed.class),
        };
        let mut counts = self.lock();
        let sum = counts.ran.entry((kind, name)).or_default();
        sum.attempts += 1;
        sum.time += time;
        if let Outcome::Done(done) = outcome {
            sum.frames += done.frames;
            sum.bytes_in += done.bytes_in;
            sum.bytes_out += done.bytes_out;
        }
    }

    /// Counts leaders as they come, until there is no cluster any more.
    pub async fn follow(self: Arc<Self>, mut leadership: watch::Receiver<Leadership>) {
        let mut last_term = 0;
        loop {
            let now = leadership.borrow_and_update().clone();
            if now.leader.is_some() && now.term > last_term {
                last_term = now.term;
                self.lock().elections += 1;
            }
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The word for a class of failures.
pub fn failed_by(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Work => "work",
        FailureClass::NodeFault => "node-fault",
        FailureClass::Final => "final",
        FailureClass::PlanMismatch => "plan-mismatch",
        FailureClass::Stopped => "stopped",
        FailureClass::NodeLost => "node-lost",
        FailureClass::OutOfReach => "out-of-reach",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leader_counts_once_a_term() {
        let tally = Arc::new(Tally::default());
        let of = |term, leader| Leadership {
            term,
            leader,
            ..Default::default()
        };
        let (say, hear) = watch::channel(of(1, Some(1)));
        let following = tokio::spawn(tally.clone().follow(hear));
        for now in [of(1, None), of(1, Some(1)), of(2, None), of(3, Some(2))] {
            tokio::time::sleep(Duration::from_millis(20)).await;
            say.send_replace(now);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(say);
        assert!(following.await.is_ok());
        assert_eq!(tally.counts().elections, 2);
    }
}
