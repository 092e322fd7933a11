//! How long a cluster was without a leader at work.

use crate::{
    event_log::EventLog,
    events::{EventKind, Kill},
};

/// From a fault of the leader to the first assignment by the next leader.
#[derive(Clone, Copy, Debug)]
pub struct Takeover {
    pub kill: Kill,
    pub elected_us: u64,
    /// When a survivor first finished something, and so had a free slot.
    pub slot_us: u64,
    pub assigned_us: u64,
    pub leader: u64,
}

impl Takeover {
    /// The takeover after a fault, if the log shows one. It ends with the first
    /// assignment, by a leader elected since then, of something that no leader
    /// had assigned before; repeating an old assignment does not count.
    pub fn find(log: &EventLog, kill: Kill) -> Option<Self> {
        let (elected_us, assigned_us, leader) = first_new_assignment(log, kill.at_us)?;
        let finished = log.after(kill.at_us).iter().find(|event| {
            event.node != kill.node && matches!(event.kind, EventKind::Finished { .. })
        });
        Some(Takeover {
            kill,
            elected_us,
            slot_us: finished.map_or(assigned_us, |event| event.at_us),
            assigned_us,
            leader,
        })
    }

    /// How long the new leader had nowhere to put work: from its election to
    /// the first free slot, if that came later.
    pub fn slot_wait_us(&self) -> u64 {
        let free_us = self.slot_us.clamp(self.elected_us, self.assigned_us);
        free_us - self.elected_us
    }

    /// From the fault to the assignment, without the wait for a slot.
    pub fn with_a_free_slot_ms(&self) -> u64 {
        (self.assigned_us - self.kill.at_us - self.slot_wait_us()) / 1_000
    }
}

/// (elected, assigned, by whom)
fn first_new_assignment(log: &EventLog, from_us: u64) -> Option<(u64, u64, u64)> {
    let mut assigned_before = None;
    let mut elected = None;
    for event in log.after(from_us) {
        match &event.kind {
            // If the first new leader is replaced at once, the wait goes on,
            // and the last election counts.
            EventKind::BecameLeader { .. } => elected = Some((event.at_us, event.node)),
            EventKind::Assigned { key, .. } => {
                let Some((elected_us, leader)) = elected else {
                    continue;
                };
                let before = assigned_before.get_or_insert_with(|| log.assigned_before(from_us));
                if leader == event.node && !before.contains(key) {
                    return Some((elected_us, event.at_us, leader));
                }
            }
            _ => {}
        }
    }
    None
}
