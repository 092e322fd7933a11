//! Random numbers from a seed that the experiment prints, so that its schedule
//! can be repeated. SplitMix64: small, and good enough to choose a victim.

use std::time::Duration;

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `low..high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// A time between two bounds in milliseconds.
    pub fn duration(&mut self, (low_ms, high_ms): (u64, u64)) -> Duration {
        Duration::from_millis(self.within(low_ms, high_ms))
    }

    /// One of some things, of which there must be at least one.
    pub fn choose<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.within(0, things.len() as u64) as usize]
    }
}
