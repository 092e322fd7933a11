//! The time that openraft lives in: this machine's clock, slowed down by the
//! stretch of [`Pace`].
//!
//! openraft's timeouts are fixed when it starts. It asks its runtime for the
//! time, and has no place to pass anything along, so there is one clock for the
//! process, as there is one machine under it. While it runs at a third of the
//! usual pace, a lease of 300 ms lasts 900 ms, and everything that openraft
//! waits for has three times as long.
//!
//! Nothing that is true depends on these times. No read leans on a lease: each
//! asks a quorum. Nodes whose clocks differ may cost an election, not a
//! promise.

use std::{
    io,
    ops::{Add, AddAssign, Sub, SubAssign},
    sync::{LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use openraft::{AsyncRuntime, Instant as _, OptionalSend, impls::TokioRuntime};

use crate::{
    limits::{HEARTBEAT, HEARTBEAT_AT_REST, LEADER_WAIT_PERCENT_AT_REST, STRETCH_PERCENT_AT_REST},
    pace::{Delay, Pace, USUAL_PERCENT},
};

static CLOCK: LazyLock<(Instant, Mutex<Clock>)> =
    LazyLock::new(|| (Instant::now(), Mutex::default()));

/// A time that runs slower than the machine's, and never backwards. Both count
/// from the start.
#[derive(Debug)]
struct Clock {
    pace: Pace,
    percent: u32,
    /// The stretch without what rest adds.
    needed_percent: u32,
    at_rest: bool,
    /// When the stretch changed last, in the machine's time and in Raft's.
    changed: Duration,
    raft_then: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            pace: Pace::default(),
            percent: USUAL_PERCENT,
            needed_percent: USUAL_PERCENT,
            at_rest: false,
            changed: Duration::ZERO,
            raft_then: Duration::ZERO,
        }
    }
}

impl Clock {
    fn raft_time(&self, now: Duration) -> Duration {
        let since = now.saturating_sub(self.changed);
        self.raft_then + since * USUAL_PERCENT / self.percent
    }

    fn set(&mut self, now: Duration, percent: u32) {
        self.raft_then = self.raft_time(now);
        self.changed = now.max(self.changed);
        self.percent = percent;
    }
}

/// The clock, and the machine's time.
fn clock() -> (MutexGuard<'static, Clock>, Duration) {
    let (started, clock) = &*CLOCK;
    let clock = clock.lock().expect("no holder of this lock panics");
    (clock, started.elapsed())
}

/// How long something takes in the machine's time that takes `usual` in Raft's.
pub fn stretched(usual: Duration) -> Duration {
    usual * clock().0.percent / USUAL_PERCENT
}

/// How long a leader is looked for, where that usually takes so long.
pub fn stretched_search(usual: Duration) -> Duration {
    let (clock, _) = clock();
    let percent = match clock.at_rest {
        true => clock.needed_percent.max(LEADER_WAIT_PERCENT_AT_REST),
        false => clock.needed_percent,
    };
    usual * percent / USUAL_PERCENT
}

/// The stretch of Raft's time in this process while some job is open.
pub fn needed_percent() -> u32 {
    clock().0.needed_percent
}

/// The stretch that this machine needs by itself.
pub fn own_percent() -> u32 {
    let (mut clock, now) = clock();
    clock.pace.own_percent(now)
}

/// Notes a delay that has just ended.
pub fn note(kind: Delay, delay: Duration) {
    let (mut clock, now) = clock();
    let delay = match kind {
        Delay::BeatGap if clock.at_rest => delay.saturating_sub(HEARTBEAT_AT_REST - HEARTBEAT),
        _ => delay,
    };
    clock.pace.note(now, kind, delay);
}

/// Notes the stretch that the leader needs.
pub fn note_told(percent: u32) {
    clock().0.pace.note_told(percent);
}

/// Sets the clock by what was noted. Returns the stretch that this takes;
/// `at_rest` stretches it too, for there is no hurry.
pub fn keep_pace(leads: bool, at_rest: bool) -> u32 {
    let (mut clock, now) = clock();
    let needed_percent = clock.pace.percent(now, leads);
    clock.needed_percent = needed_percent;
    clock.at_rest = at_rest;
    let percent = match at_rest {
        true => needed_percent.max(STRETCH_PERCENT_AT_REST),
        false => needed_percent,
    };
    if percent != clock.percent {
        clock.set(now, percent);
    }
    needed_percent
}

/// A moment in Raft's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RaftInstant(Duration);

/// The clock's start: late, so that there are moments before it.
const EPOCH: Duration = Duration::from_secs(1 << 32);

impl openraft::Instant for RaftInstant {
    fn now() -> Self {
        let (clock, now) = clock();
        RaftInstant(EPOCH + clock.raft_time(now))
    }
}

impl Add<Duration> for RaftInstant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        RaftInstant(self.0.saturating_add(time))
    }
}

impl AddAssign<Duration> for RaftInstant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub<Duration> for RaftInstant {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        RaftInstant(self.0.saturating_sub(time))
    }
}

impl SubAssign<Duration> for RaftInstant {
    fn sub_assign(&mut self, time: Duration) {
        *self = *self - time;
    }
}

impl Sub for RaftInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tokio, in Raft's time. A wait that has begun keeps its length when the
/// stretch changes; openraft looks at the time again after each.
#[derive(Debug)]
pub struct PacedRuntime(TokioRuntime);

impl AsyncRuntime for PacedRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = RaftInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(stretched(duration))
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Self::sleep(deadline - RaftInstant::now())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(stretched(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Self::timeout(deadline - RaftInstant::now(), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        PacedRuntime(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TokioRuntime::spawn_blocking(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_clock_runs_slower_and_never_backwards() {
        let second = Duration::from_secs(1);
        let mut clock = Clock::default();
        assert_eq!(clock.raft_time(second), second);
        clock.set(second, 400);
        assert_eq!(clock.raft_time(second), second);
        assert_eq!(clock.raft_time(5 * second), 2 * second);
        clock.set(5 * second, USUAL_PERCENT);
        assert_eq!(clock.raft_time(6 * second), 3 * second);
        // Two threads may ask for the time in one order and set it in the other.
        clock.set(4 * second, 200);
        assert_eq!(clock.raft_time(5 * second), 2 * second);
    }
}
