//! What a client is asked for next, and how far ahead.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::messages::{Order, Pace};
use crate::data::limits::{UPLOAD_AHEAD, UPLOAD_AHEAD_FIRST, UPLOAD_AHEAD_MIN};

/// What is wanted out of turn, and the client's pace.
pub(super) struct Ahead {
    order: Order,
    window_max: usize,
    /// Chunks that readers wait for.
    wanted: BTreeSet<u64>,
    last: Option<Instant>,
    /// Between two chunks, on average.
    pause: Option<Duration>,
}

impl Ahead {
    pub fn new(pace: Pace) -> Self {
        Ahead {
            order: pace.order,
            window_max: pace.window.max(1),
            wanted: BTreeSet::new(),
            last: None,
            pause: None,
        }
    }

    /// Somebody waits for these.
    pub fn want(&mut self, numbers: Vec<u64>) {
        if self.order == Order::Any {
            self.wanted.extend(numbers);
        }
    }

    /// The next one that is wanted.
    pub fn next_wanted(&mut self) -> Option<u64> {
        self.wanted.pop_first()
    }

    /// A chunk has come.
    pub fn came(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let pause = now.duration_since(last);
            self.pause = Some(self.pause.map_or(pause, |before| (before * 3 + pause) / 4));
        }
    }

    /// How many chunks may be asked for and not have come. A client that is asked
    /// for all that the window holds would have to send it before what is wanted.
    pub fn window(&self) -> usize {
        if self.order == Order::Rising {
            return self.window_max;
        }
        let Some(pause) = self.pause else {
            return UPLOAD_AHEAD_FIRST.min(self.window_max);
        };
        let chunks = UPLOAD_AHEAD.as_micros() / pause.as_micros().max(1);
        let chunks = usize::try_from(chunks).unwrap_or(usize::MAX);
        chunks.max(UPLOAD_AHEAD_MIN).min(self.window_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::limits::UPLOAD_WINDOW;

    #[test]
    fn a_slow_client_is_asked_for_little_and_a_fast_one_for_much() {
        let mut now = Instant::now();
        let mut window = |ahead: &mut Ahead, pause_ms: u64| {
            for _ in 0..40 {
                now += Duration::from_millis(pause_ms);
                ahead.came(now);
            }
            ahead.window()
        };
        let mut ahead = Ahead::new(Order::Any.into());
        assert_eq!(ahead.window(), UPLOAD_AHEAD_FIRST);
        assert_eq!(window(&mut ahead, 3_000), UPLOAD_AHEAD_MIN);
        assert_eq!(window(&mut ahead, 190), 5);
        assert_eq!(window(&mut ahead, 1), UPLOAD_WINDOW);
        let mut rising = Ahead::new(Order::Rising.into());
        assert_eq!(window(&mut rising, 3_000), UPLOAD_WINDOW);
        let mut narrow = Ahead::new(Pace {
            order: Order::Any,
            window: 1,
        });
        assert_eq!((narrow.window(), window(&mut narrow, 1)), (1, 1));
        rising.want(vec![7]);
        assert_eq!(rising.next_wanted(), None);
    }
}
