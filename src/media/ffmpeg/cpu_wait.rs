//! Whether a process works or waits for a processor, as far as the kernel tells
//! everywhere: what its threads do at this moment, and how long it has run.

use std::{path::Path, time::Duration};

/// A process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Some thread of it runs, or is ready to and has no processor.
    pub runnable: bool,
    /// Processor time of all its threads so far.
    pub ran: Duration,
}

impl Moment {
    /// Looks at a process; at nothing, if it is gone.
    pub fn of_process(pid: u32) -> Moment {
        let process = format!("/proc/{pid}");
        let threads = std::fs::read_dir(format!("{process}/task"));
        let mut threads = threads.into_iter().flatten().flatten();
        Moment {
            runnable: threads
                .any(|thread| read(&thread.path()).is_some_and(|(runnable, _)| runnable)),
            ran: read(process.as_ref()).map_or(Duration::ZERO, |(_, ran)| ran),
        }
    }

    /// How much of the time between an earlier moment and this one it waited for
    /// a processor, at most: a thread that sleeps or reads does not.
    pub fn waited_since(self, earlier: Moment, between: Duration) -> Duration {
        match self.runnable {
            true => between.saturating_sub(self.ran.saturating_sub(earlier.ran)),
            false => Duration::ZERO,
        }
    }
}

fn read(folder: &Path) -> Option<(bool, Duration)> {
    // SAFETY: a plain system call.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    parse(&stat, u64::try_from(ticks_per_second).ok()?)
}

/// Parses `pid (name) state …`: the state, and user and system time in ticks as
/// the 14th and 15th field. A name may contain anything.
fn parse(stat: &str, ticks_per_second: u64) -> Option<(bool, Duration)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let mut times = fields.skip(10).map(|ticks| ticks.parse::<u64>().ok());
    let ticks = times.next()??.saturating_add(times.next()??);
    let ms = ticks.saturating_mul(1_000).checked_div(ticks_per_second)?;
    Some((state == "R", Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_process_that_works_is_seen_to_work() {
        let me = std::process::id();
        let before = Moment::of_process(me);
        let started = Instant::now();
        while Moment::of_process(me).ran == before.ran {
            assert!(started.elapsed() < Duration::from_secs(60));
        }
        assert!(Moment::of_process(me).runnable);
        assert_eq!(Moment::of_process(u32::MAX), Moment::default());
    }

    #[test]
    fn waiting_is_told_from_working_and_from_sleeping() {
        let stat = "7 (a) R b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 30 10";
        let (runnable, ran) = parse(stat, 100).unwrap();
        assert_eq!((runnable, ran), (false, Duration::from_secs(2)));
        let (runnable, _) = parse(&stat.replace(") S", ") R"), 100).unwrap();
        assert!(runnable);
        let at = |runnable, ms| Moment {
            runnable,
            ran: Duration::from_millis(ms),
        };
        let second = Duration::from_secs(1);
        let waited = |runnable, ms: u64| at(runnable, 500 + ms).waited_since(at(true, 500), second);
        assert_eq!(waited(true, 100), Duration::from_millis(900));
        assert_eq!(waited(true, 1_700), Duration::ZERO);
        assert_eq!(waited(false, 0), Duration::ZERO);
    }
}
