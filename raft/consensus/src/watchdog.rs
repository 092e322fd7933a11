//! The watchdog: finds a disk operation that does not end, and fences the
//! node.
//!
//! openraft keeps sending heartbeats while its state machine hangs, so a
//! leader whose disk stalls would stay the leader and do nothing. Each disk
//! operation is therefore marked at its start and its end, and a thread of its
//! own looks for marks that stay open. The thread counts its own ticks: a
//! process that was stopped and then continued has not ticked meanwhile, so it
//! is not taken for a hung one. An idle disk is no hang either: without an
//! operation there is no mark. After a second without one the thread rests, and
//! the next mark wakes it.
//!
//! ```text
//! begin ──▶ open ──(end)──▶ gone
//!             │ too many ticks without a step
//!             ▼
//!           hang: the fence closes, then the caller's action runs
//! ```
//! It knows nothing of Raft, and does nothing to the process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    disk_work::DiskWork,
    limits::{
        DISK_WORKS_TICKS, HANG_FACTOR, HANG_REST, HANG_REST_TICKS, HANG_TICK, HANG_TICKS,
        HANG_TICKS_LEADER, HANG_TICKS_LEADER_MAX, HANG_TICKS_MAX, HANG_TICKS_SNAPSHOT,
    },
    pace::Recent,
};

/// A disk operation that may hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Entries or a vote.
    LogWrite,
    LogRead,
    /// The rows of a batch of entries.
    TableWrite,
    /// What the table has buffered.
    TableFlush,
    /// A snapshot of this node's own state.
    SnapshotWrite,
    /// A snapshot from the leader, which replaces the table.
    SnapshotInstall,
}

impl Operation {
    /// The subject of "has not ended".
    fn name(self) -> &'static str {
        match self {
            Operation::LogWrite => "writing the Raft log",
            Operation::LogRead => "reading the Raft log",
            Operation::TableWrite => "writing the table",
            Operation::TableFlush => "flushing the table",
            Operation::SnapshotWrite => "writing a snapshot",
            Operation::SnapshotInstall => "installing a snapshot",
        }
    }

    /// Large by nature, and nobody waits for it.
    fn is_large(self) -> bool {
        matches!(self, Operation::SnapshotWrite | Operation::SnapshotInstall)
    }

    /// Whether the log's disk is used, and not the table's.
    fn is_of_log(self) -> bool {
        matches!(self, Operation::LogWrite | Operation::LogRead)
    }

    /// How many ticks may pass without a step, where others took up to
    /// `usual_ticks` lately.
    fn ticks_max(self, replaceable_leader: bool, usual_ticks: u64) -> u64 {
        let patience = HANG_FACTOR * usual_ticks;
        match replaceable_leader {
            _ if self.is_large() => HANG_TICKS_SNAPSHOT,
            true => patience.clamp(HANG_TICKS_LEADER, HANG_TICKS_LEADER_MAX),
            false => patience.clamp(HANG_TICKS, HANG_TICKS_MAX),
        }
    }
}

/// An operation that does not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hang {
    pub operation: Operation,
    /// How long it has made no step.
    pub waited_ms: u64,
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hang {
            operation,
            waited_ms,
        } = self;
        write!(
            f,
            "the disk hangs: {} has not ended within {waited_ms} ms",
            operation.name()
        )
    }
}

/// What to do once the disk hangs and the fence is closed. It runs on the
/// watchdog's own thread, which waits for nothing that may hang.
#[derive(Clone)]
pub struct HangAction(Arc<dyn Fn(&Hang) + Send + Sync>);

impl HangAction {
    /// The action is called at most once.
    pub fn new(action: impl Fn(&Hang) + Send + Sync + 'static) -> Self {
        HangAction(Arc::new(action))
    }

    pub(crate) fn call(&self, hang: &Hang) {
        (self.0)(hang);
    }
}

impl Default for HangAction {
    fn default() -> Self {
        HangAction::new(|_| ())
    }
}

impl fmt::Debug for HangAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HangAction")
    }
}

/// The marks of one node's disk operations, and its fence. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tick: AtomicU64,
    marks: Mutex<Marks>,
    /// Wakes the watchdog from its rest.
    begun: Condvar,
    fenced: AtomicBool,
}

#[derive(Debug, Default)]
struct Marks {
    next: u64,
    /// The watchdog waits for a mark instead of the next tick.
    rests: bool,
    open: BTreeMap<u64, (Operation, u64)>,
    /// Ticks that operations took lately.
    taken: Recent,
    log_disk: Writes,
    table_disk: Writes,
}

/// A disk's completed writes.
#[derive(Debug, Default)]
struct Writes {
    done: u64,
    /// The tick at which there were more than before.
    moved: Option<u64>,
}

impl Writes {
    fn note(&mut self, done: Option<u64>, tick: u64) {
        let Some(done) = done else { return };
        if self.done != 0 && done != self.done {
            self.moved = Some(tick);
        }
        self.done = done;
    }

    fn is_busy(&self, tick: u64) -> bool {
        self.moved
            .is_some_and(|moved| tick - moved <= DISK_WORKS_TICKS)
    }
}

/// An operation in progress. It ends when this is dropped.
#[derive(Debug)]
pub struct Mark {
    watchdog: Watchdog,
    number: u64,
}

impl Mark {
    /// Records that part of the operation is done.
    pub fn step(&self) {
        let tick = self.watchdog.tick();
        if let Some((_, since)) = self.watchdog.marks().open.get_mut(&self.number) {
            *since = tick;
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let tick = self.watchdog.tick();
        let mut marks = self.watchdog.marks();
        let Some((operation, since)) = marks.open.remove(&self.number) else {
            return;
        };
        if !operation.is_large() {
            let taken = u32::try_from(tick - since).unwrap_or(u32::MAX);
            marks.taken.note(time_of(tick), taken);
        }
    }
}

impl Watchdog {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.shared
            .marks
            .lock()
            .expect("no holder of this lock panics")
    }

    fn tick(&self) -> u64 {
        self.shared.tick.load(Ordering::Relaxed)
    }

    /// Marks the start of an operation.
    pub fn begin(&self, operation: Operation) -> Mark {
        let tick = self.tick();
        let mut marks = self.marks();
        let number = marks.next;
        marks.next += 1;
        marks.open.insert(number, (operation, tick));
        if std::mem::take(&mut marks.rests) {
            self.shared.begun.notify_one();
        }
        drop(marks);
        Mark {
            watchdog: self.clone(),
            number,
        }
    }

    /// Whether this node must no longer send to others or answer them.
    pub fn fenced(&self) -> bool {
        self.shared.fenced.load(Ordering::SeqCst)
    }

    /// Whether any operation has begun and not ended.
    fn waits(&self) -> bool {
        !self.marks().open.is_empty()
    }

    /// Waits for the next mark, or for so long; what passes without one is counted
    /// as ticks too.
    fn rest(&self, limit: Duration) {
        let mut marks = self.marks();
        marks.rests = marks.open.is_empty();
        let woken = self
            .shared
            .begun
            .wait_timeout_while(marks, limit, |marks| marks.rests);
        let (mut marks, _) = woken.expect("no holder of this lock panics");
        if std::mem::take(&mut marks.rests) {
            let ticks = limit.as_millis() / HANG_TICK.as_millis();
            self.shared.tick.fetch_add(ticks as u64, Ordering::Relaxed);
        }
    }

    /// Notes how many writes the disks of log and table have completed.
    fn note_writes(&self, log: Option<u64>, table: Option<u64>) {
        let tick = self.tick();
        let mut marks = self.marks();
        marks.log_disk.note(log, tick);
        marks.table_disk.note(table, tick);
    }

    /// Counts a tick and looks for an operation that hangs.
    fn count_tick(&self, replaceable_leader: bool) -> Option<Hang> {
        let now = self.shared.tick.fetch_add(1, Ordering::Relaxed) + 1;
        let mut marks = self.marks();
        let (_, again) = marks.taken.once_and_again(time_of(now));
        let ticks_max = |operation: Operation| {
            let disk = match operation.is_of_log() {
                true => &marks.log_disk,
                false => &marks.table_disk,
            };
            let usual_ticks = match disk.is_busy(now) {
                true => HANG_TICKS_MAX,
                false => again.into(),
            };
            operation.ticks_max(replaceable_leader, usual_ticks)
        };
        let longest = marks
            .open
            .values()
            .filter(|(operation, since)| now - since > ticks_max(*operation))
            .min_by_key(|(_, since)| *since)?;
        Some(Hang {
            operation: longest.0,
            waited_ms: (now - longest.1) * HANG_TICK.as_millis() as u64,
        })
    }

    /// Starts the thread that looks for a hang. At each tick it asks whether
    /// this node is a leader that another could replace; `None` says that the
    /// node is gone, and ends the thread. So does the first hang, after it
    /// has closed the fence and called `on_hang`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        &self,
        log_disk: DiskWork,
        table_disk: DiskWork,
        replaceable_leader: impl Fn() -> Option<bool> + Send + 'static,
        on_hang: impl FnOnce(&Hang) + Send + 'static,
    ) -> std::io::Result<()> {
        let watchdog = self.clone();
        let watching = move || {
            let mut quiet_ticks = 0;
            while let Some(replaceable) = replaceable_leader() {
                quiet_ticks += 1;
                if watchdog.waits() {
                    quiet_ticks = 0;
                    watchdog.note_writes(log_disk.writes_done(), table_disk.writes_done());
                }
                if let Some(hang) = watchdog.count_tick(replaceable) {
                    // Before all else: from here on no heartbeat leaves.
                    watchdog.shared.fenced.store(true, Ordering::SeqCst);
                    on_hang(&hang);
                    return;
                }
                match quiet_ticks < HANG_REST_TICKS {
                    true => std::thread::sleep(HANG_TICK),
                    false => watchdog.rest(HANG_REST),
                }
            }
        };
        std::thread::Builder::new()
            .name("watchdog".to_string())
            .spawn(watching)
            .map(drop)
    }
}

/// Time as the watchdog counts it.
fn time_of(tick: u64) -> Duration {
    Duration::from_millis(tick.saturating_mul(HANG_TICK.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The ticks until a hang is found; none within 1,000.
    fn ticks_to_hang(watchdog: &Watchdog, leader: bool) -> Option<(u64, Hang)> {
        (1..=1_000).find_map(|tick| Some((tick, watchdog.count_tick(leader)?)))
    }

    #[test]
    fn what_does_not_end_is_a_hang_and_sooner_under_a_leader() {
        for (leader, ticks) in [(true, HANG_TICKS_LEADER), (false, HANG_TICKS)] {
            let watchdog = Watchdog::default();
            let _mark = watchdog.begin(Operation::TableWrite);
            let (tick, hang) = ticks_to_hang(&watchdog, leader).unwrap();
            assert_eq!(tick, ticks + 1);
            assert_eq!(hang.operation, Operation::TableWrite);
            assert_eq!(hang.waited_ms, tick * HANG_TICK.as_millis() as u64);
        }
    }

    #[test]
    fn quiet_is_no_hang() {
        let watchdog = Watchdog::default();
        drop(watchdog.begin(Operation::LogWrite));
        assert_eq!(ticks_to_hang(&watchdog, true), None);
    }

    #[test]
    fn a_resting_watchdog_is_woken_by_a_mark_and_counts_its_rest() {
        let watchdog = Watchdog::default();
        let limit = 3 * HANG_TICK;
        watchdog.rest(limit);
        assert_eq!(watchdog.tick(), 3);
        let long = Duration::from_secs(600);
        let resting = std::thread::spawn({
            let watchdog = watchdog.clone();
            move || watchdog.rest(long)
        });
        while !watchdog.marks().rests {
            std::thread::yield_now();
        }
        let mark = watchdog.begin(Operation::TableWrite);
        resting.join().unwrap();
        assert_eq!(watchdog.tick(), 3);
        // An open one leaves it no rest.
        watchdog.rest(long);
        let (ticks, _) = ticks_to_hang(&watchdog, true).unwrap();
        assert_eq!(ticks, HANG_TICKS_LEADER + 1);
        drop(mark);
    }

    #[test]
    fn many_short_operations_are_no_hang() {
        let watchdog = Watchdog::default();
        let mut mark = watchdog.begin(Operation::LogWrite);
        for _ in 0..1_000 {
            let next = watchdog.begin(Operation::LogWrite);
            drop(std::mem::replace(&mut mark, next));
            assert_eq!(watchdog.count_tick(true), None);
        }
    }

    #[test]
    fn a_disk_that_is_slow_again_and_again_is_given_longer() {
        let watchdog = Watchdog::default();
        let slow = |ticks: u64| {
            let mark = watchdog.begin(Operation::LogWrite);
            (0..ticks).for_each(|_| assert_eq!(watchdog.count_tick(true), None));
            drop(mark);
        };
        let hang = || {
            let mark = watchdog.begin(Operation::LogWrite);
            let (ticks, _) = ticks_to_hang(&watchdog, true).unwrap();
            drop(mark);
            ticks - 1
        };
        slow(8);
        assert_eq!(hang(), HANG_TICKS_LEADER);
        // The hang itself was one such operation, and this is another.
        (0..60).for_each(|_| slow(8));
        assert_eq!(hang(), 8 * HANG_FACTOR);
        (0..1_000).for_each(|_| slow(0));
        for _ in 0..600 {
            assert_eq!(watchdog.count_tick(true), None);
        }
        assert_eq!(hang(), HANG_TICKS_LEADER);
    }

    #[test]
    fn a_disk_that_completes_writes_is_busy_and_one_that_stops_hangs() {
        let watchdog = Watchdog::default();
        let _mark = watchdog.begin(Operation::TableFlush);
        for writes in 1..=HANG_TICKS_LEADER_MAX {
            watchdog.note_writes(Some(7), Some(writes));
            assert_eq!(watchdog.count_tick(true), None);
        }
        watchdog.note_writes(Some(7), Some(1));
        assert!(watchdog.count_tick(true).is_some(), "there is a bound");

        let watchdog = Watchdog::default();
        let _mark = watchdog.begin(Operation::LogWrite);
        for writes in 1..=HANG_TICKS_LEADER {
            // Another disk's work says nothing.
            watchdog.note_writes(Some(7), Some(writes));
            assert_eq!(watchdog.count_tick(true), None);
        }
        assert!(watchdog.count_tick(true).is_some());
    }

    #[test]
    fn a_long_one_that_gets_on_is_no_hang() {
        let watchdog = Watchdog::default();
        let mark = watchdog.begin(Operation::SnapshotInstall);
        for _ in 0..3 * HANG_TICKS_SNAPSHOT {
            mark.step();
            assert_eq!(watchdog.count_tick(false), None);
        }
        assert!(ticks_to_hang(&watchdog, false).is_some());
    }
}
