//! When leaders were heard from, and what their silences say about the machine.

use std::time::Duration;

use openraft::Instant as _;
use tokio::time::Instant;

use crate::{
    pace::Delay,
    raft_clock::{self, RaftInstant},
    types::Vote,
};

/// The last message of one leader.
#[derive(Clone, Copy, Debug)]
struct Message {
    vote: Vote,
    at: Instant,
    raft_at: RaftInstant,
}

/// What was heard of the newest leader, and of the one before. That one may have
/// been replaced only because it was late, which shows when it is heard again.
#[derive(Debug, Default)]
pub struct Heard {
    newest: Option<Message>,
    former: Option<Message>,
}

impl Heard {
    /// Records that a leader has just sent something.
    pub fn hear(&mut self, vote: Vote, at: Instant) {
        if let Some(gap) = self.record(vote, at) {
            raft_clock::note(Delay::BeatGap, gap);
        }
    }

    /// How long it is in Raft's time since the newest leader sent anything; the
    /// maximum if none ever did.
    pub fn silence(&self) -> Duration {
        self.newest
            .map_or(Duration::MAX, |message| message.raft_at.elapsed())
    }

    /// Whether no newer leader than this one was heard.
    pub fn is_newest(&self, vote: Vote) -> bool {
        self.newest.is_none_or(|newest| newest.vote <= vote)
    }

    /// Records a message, and says how long its sender was silent before.
    fn record(&mut self, vote: Vote, at: Instant) -> Option<Duration> {
        let message = Message {
            vote,
            at,
            raft_at: RaftInstant::now(),
        };
        let known = [&mut self.newest, &mut self.former]
            .into_iter()
            .flatten()
            .find(|known| known.vote == vote);
        if let Some(known) = known {
            return Some(at - std::mem::replace(known, message).at);
        }
        if self.newest.is_none_or(|newest| newest.vote < vote) {
            self.former = self.newest.replace(message);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_count_within_one_leader_and_up_to_its_return() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let gap = |ms| Some(Duration::from_millis(ms));
        let (first, second) = (Vote::new_committed(1, 1), Vote::new_committed(2, 2));
        let mut heard = Heard::default();
        assert_eq!(heard.silence(), Duration::MAX);
        assert_eq!(heard.record(first, at(0)), None);
        assert_eq!(heard.record(first, at(50)), gap(50));
        // Another is elected: no silence of one leader.
        assert_eq!(heard.record(second, at(700)), None);
        // The first was only late.
        assert_eq!(heard.record(first, at(800)), gap(750));
        assert_eq!(heard.record(second, at(750)), gap(50));
        // One that was replaced long ago says nothing.
        assert_eq!(heard.record(Vote::new_committed(3, 3), at(900)), None);
        assert_eq!(heard.record(first, at(950)), None);
        assert!(!heard.is_newest(second) && heard.is_newest(Vote::new_committed(3, 3)));
    }
}
