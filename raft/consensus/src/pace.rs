//! How much longer than usual Raft's timeouts must be on this machine, from what
//! heartbeats and syncs took lately.
//!
//! The usual timeouts fit a quiet machine, where a takeover is to be quick. On a
//! busy one, heartbeats of a living leader come late, and each that comes too
//! late costs an election. A busy machine is no fault, so all of Raft's times
//! are stretched by one factor, in which the slowest of the last minute fits:
//! their proportions, which make Raft work, stay as they are.
//!
//! A single delay may be a fault that is over (a stopped process, a cut cable),
//! and stretches little. What happens again is how things are here.
//!
//! Pure: the clock stands in `raft_clock`.

use std::time::Duration;

use crate::limits::{
    BEAT_GAP_USUAL_MAX, DELAY_IS_FAULT, LOG_SYNC_USUAL_MAX, PACE_SLOT_TIME, PACE_SLOTS,
    ROUND_TRIP_USUAL_MAX, STRETCH_ONCE_PERCENT_MAX, STRETCH_PERCENT_MAX,
};

/// The stretch of a quiet machine.
pub const USUAL_PERCENT: u32 = 100;

/// What a node can see of its machine's and its network's speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Between two messages of the same leader.
    BeatGap,
    /// Until enough voters for a quorum have answered a leader's heartbeat.
    RoundTrip,
    /// Until entries or a vote were on the disk.
    LogSync,
}

impl Delay {
    /// What the usual timeouts bear.
    fn usual_max(self) -> Duration {
        match self {
            Delay::BeatGap => BEAT_GAP_USUAL_MAX,
            Delay::RoundTrip => ROUND_TRIP_USUAL_MAX,
            Delay::LogSync => LOG_SYNC_USUAL_MAX,
        }
    }

    /// Whether something was gone for so long, rather than slow. What the disk
    /// took was never gone.
    fn is_fault(self, delay: Duration) -> bool {
        self != Delay::LogSync && delay >= DELAY_IS_FAULT
    }

    /// The stretch that timeouts need to bear it.
    fn percent_for(self, delay: Duration) -> u32 {
        let percent = delay.as_micros() * u128::from(USUAL_PERCENT) / self.usual_max().as_micros();
        u32::try_from(percent)
            .unwrap_or(u32::MAX)
            .clamp(USUAL_PERCENT, STRETCH_PERCENT_MAX)
    }
}

/// The largest values of the last [`PACE_SLOTS`] stretches of time, each
/// [`PACE_SLOT_TIME`] long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// The number of the slot that was written last.
    slot: u64,
    largest: [u32; PACE_SLOTS],
}

impl Recent {
    /// Notes a value that was seen at a time since any fixed moment.
    pub fn note(&mut self, at: Duration, value: u32) {
        self.move_to(at);
        let largest = &mut self.largest[self.slot as usize % PACE_SLOTS];
        *largest = value.max(*largest);
    }

    /// The largest value, and the largest of all other slots: what was reached
    /// at least twice, some time apart.
    pub fn once_and_again(&mut self, at: Duration) -> (u32, u32) {
        self.move_to(at);
        self.largest
            .iter()
            .fold((0, 0), |(once, again), &value| match value > once {
                true => (value, once),
                false => (once, again.max(value)),
            })
    }

    /// Forgets what is too long ago.
    fn move_to(&mut self, at: Duration) {
        let now = (at.as_millis() / PACE_SLOT_TIME.as_millis()) as u64;
        let passed = now.saturating_sub(self.slot).min(PACE_SLOTS as u64);
        for slot in now + 1 - passed..=now {
            self.largest[slot as usize % PACE_SLOTS] = 0;
        }
        self.slot = self.slot.max(now);
    }
}

/// One machine's pace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    needed_percent: Recent,
    /// What the leader says that it needs.
    told_percent: u32,
}

impl Pace {
    /// Notes a delay that has just ended.
    pub fn note(&mut self, at: Duration, kind: Delay, delay: Duration) {
        if !kind.is_fault(delay) {
            self.needed_percent.note(at, kind.percent_for(delay));
        }
    }

    /// Notes what the leader says that it needs.
    pub fn note_told(&mut self, percent: u32) {
        self.told_percent = percent.clamp(USUAL_PERCENT, STRETCH_PERCENT_MAX);
    }

    /// What this node's own observations ask for: what a leader tells the others.
    pub fn own_percent(&mut self, at: Duration) -> u32 {
        let (once, again) = self.needed_percent.once_and_again(at);
        once.min(STRETCH_ONCE_PERCENT_MAX)
            .max(again)
            .max(USUAL_PERCENT)
    }

    /// The stretch of this node's timeouts. A follower is at least as patient as
    /// its leader: it must not seek another while that one still counts on its
    /// lease.
    pub fn percent(&mut self, at: Duration, leads: bool) -> u32 {
        let told = if leads { 0 } else { self.told_percent };
        self.own_percent(at).max(told)
    }
}

/// The time in which enough voters answered for a quorum with the leader, from
/// what each of the other voters took last. `None` while too few have answered.
pub fn quorum_round_trip(mut others: Vec<Duration>, voters: usize) -> Option<Duration> {
    others.sort_unstable();
    let needed = voters / 2;
    others.get(needed.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SLOT: Duration = PACE_SLOT_TIME;
    const ALL_SLOTS: Duration =
        Duration::from_millis(PACE_SLOTS as u64 * PACE_SLOT_TIME.as_millis() as u64);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_quiet_machine_has_the_usual_timeouts() {
        let mut pace = Pace::default();
        for beat in 0..2_000 {
            pace.note(ms(50 * beat), Delay::BeatGap, ms(60));
            pace.note(ms(50 * beat), Delay::RoundTrip, ms(3));
            pace.note(ms(50 * beat), Delay::LogSync, ms(20));
            assert_eq!(pace.percent(ms(50 * beat), false), USUAL_PERCENT);
        }
    }

    #[test]
    fn one_delay_stretches_little_and_a_repeated_one_stretches_enough() {
        let mut pace = Pace::default();
        pace.note(ms(0), Delay::BeatGap, ms(1_200));
        assert_eq!(pace.percent(ms(0), false), STRETCH_ONCE_PERCENT_MAX);
        pace.note(SLOT, Delay::BeatGap, ms(900));
        // The usual lease and shortest timeout, stretched, exceed it by half.
        assert_eq!(pace.percent(SLOT, false), 300);
    }

    #[test]
    fn it_is_forgotten_within_a_minute() {
        let mut pace = Pace::default();
        pace.note(ms(0), Delay::RoundTrip, ms(700));
        pace.note(SLOT, Delay::RoundTrip, ms(700));
        assert!(pace.percent(ALL_SLOTS - ms(1), false) >= 500);
        assert_eq!(pace.percent(ALL_SLOTS + SLOT, false), USUAL_PERCENT);
        assert!(ALL_SLOTS + SLOT < Duration::from_secs(60));
    }

    #[test]
    fn it_is_bounded_and_a_long_silence_is_a_fault() {
        let mut pace = Pace::default();
        for slot in 0..3 {
            pace.note(slot * SLOT, Delay::BeatGap, DELAY_IS_FAULT);
        }
        assert_eq!(pace.percent(2 * SLOT, false), USUAL_PERCENT);
        for slot in 0..3 {
            pace.note(slot * SLOT, Delay::LogSync, DELAY_IS_FAULT);
        }
        assert_eq!(pace.percent(2 * SLOT, false), STRETCH_PERCENT_MAX);
    }

    #[test]
    fn a_follower_is_as_patient_as_its_leader_and_a_leader_follows_itself() {
        let mut pace = Pace::default();
        pace.note_told(400);
        assert_eq!(pace.percent(ms(0), false), 400);
        assert_eq!(pace.percent(ms(0), true), USUAL_PERCENT);
        assert_eq!(pace.own_percent(ms(0)), USUAL_PERCENT);
        pace.note_told(1_000_000);
        assert_eq!(pace.percent(ms(0), false), STRETCH_PERCENT_MAX);
        // A leader of an earlier version says nothing.
        pace.note_told(0);
        assert_eq!(pace.percent(ms(0), false), USUAL_PERCENT);
    }

    #[test]
    fn the_slowest_voters_do_not_count_where_a_quorum_is_quick() {
        let others = |times: &[u64]| times.iter().copied().map(ms).collect();
        assert_eq!(quorum_round_trip(others(&[900, 2]), 3), Some(ms(2)));
        assert_eq!(quorum_round_trip(others(&[900]), 3), Some(ms(900)));
        assert_eq!(quorum_round_trip(others(&[]), 3), None);
        assert_eq!(quorum_round_trip(others(&[1, 5, 900, 700]), 5), Some(ms(5)));
        assert_eq!(quorum_round_trip(others(&[]), 1), None);
    }
}
