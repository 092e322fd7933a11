//! Runs ffmpeg on another machine: see `elsewhere.rs`.

use std::{
    future::Future,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        elsewhere::{Elsewhere, Said},
        process::{Exit, LineEffect, Listener},
    },
};

/// Tells a run that stands still from one that works, and ends one that only seems to
/// work: another machine may say anything for ever.
struct Clock {
    moved: Arc<AtomicU64>,
    seen: u64,
    since: Instant,
    stall_max: Duration,
    begun: Instant,
    time_max: Duration,
}

impl Clock {
    fn progress(&mut self) {
        self.since = Instant::now();
    }

    fn check_time(&self) -> Result<(), MediaError> {
        if self.begun.elapsed() < self.time_max {
            return Ok(());
        }
        let seconds = self.time_max.as_secs();
        Err(MediaError::Elsewhere {
            detail: format!("it was not done within {seconds} s"),
        })
    }

    fn check(&mut self) -> Result<(), MediaError> {
        self.check_time()?;
        if self.since.elapsed() < self.stall_max {
            return Ok(());
        }
        let moved = self.moved.load(Ordering::Relaxed);
        if moved == self.seen {
            return Err(MediaError::Stalled {
                tool: "ffmpeg".into(),
                seconds: self.stall_max.as_secs(),
            });
        }
        self.seen = moved;
        self.progress();
        Ok(())
    }

    /// Waits for something for as long as there is progress.
    async fn wait<T>(
        &mut self,
        work: impl Future<Output = Result<T, MediaError>>,
    ) -> Result<T, MediaError> {
        tokio::pin!(work);
        loop {
            let until = (self.since + self.stall_max).min(self.begun + self.time_max);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(until) => self.check()?,
            }
        }
    }
}

/// Runs ffmpeg there, as `process::run` does here. One that makes no progress for
/// `stall_max`, and moves no bytes, has stalled.
pub(crate) async fn run_elsewhere(
    machine: &dyn Elsewhere,
    args: &[String],
    output: &Path,
    stall_max: Duration,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Exit, MediaError> {
    let mut run = machine.begin(args, output.to_path_buf());
    let now = Instant::now();
    let mut clock = Clock {
        moved: run.moved(),
        seen: 0,
        since: now,
        stall_max,
        begun: now,
        time_max: machine.time_max(),
    };
    loop {
        let said = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(MediaError::Stopped),
            said = clock.wait(run.next()) => said?,
        };
        let effect = match said {
            Said::Line(line) => listener.stderr(&line)?,
            Said::Ended(0) => return Ok(Exit::Success),
            // The upper byte of a status is the exit code.
            Said::Ended(code) => {
                return Ok(Exit::Failure(ExitStatus::from_raw((code & 0xff) << 8)));
            }
        };
        clock.check_time()?;
        match effect {
            LineEffect::Progress => clock.progress(),
            LineEffect::Neutral => clock.check()?,
            LineEffect::Stop => {
                tokio::select! {
                    () = cancel.cancelled() => return Err(MediaError::Stopped),
                    stopped = clock.wait(run.stop()) => stopped?,
                }
                return Ok(Exit::StoppedByListener);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn clock(moved: &Arc<AtomicU64>) -> Clock {
        Clock {
            moved: moved.clone(),
            seen: 0,
            since: Instant::now(),
            stall_max: Duration::from_millis(20),
            begun: Instant::now(),
            time_max: Duration::from_secs(3600),
        }
    }

    #[tokio::test]
    async fn a_run_that_always_makes_progress_ends_all_the_same() {
        let moved = Arc::new(AtomicU64::new(0));
        let mut of_one = clock(&moved);
        of_one.stall_max = Duration::from_secs(3600);
        of_one.time_max = Duration::from_millis(100);
        let ended = loop {
            let line = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                moved.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            if let Err(error) = of_one.wait(line).await.and_then(|()| of_one.check_time()) {
                break error;
            }
            of_one.progress();
        };
        assert!(matches!(ended, MediaError::Elsewhere { .. }), "{ended}");
    }

    #[tokio::test]
    async fn a_run_stalls_by_what_it_moves_and_not_by_what_it_says() {
        let moved = Arc::new(AtomicU64::new(0));
        let mut of_one = clock(&moved);
        let waited = of_one.wait(std::future::pending::<Result<(), _>>());
        assert!(matches!(waited.await, Err(MediaError::Stalled { .. })));
        // A line that is there already does not restart it.
        of_one.wait(async { Ok(()) }).await.unwrap();
        assert!(of_one.check().is_err());
        moved.store(7, Ordering::Relaxed);
        of_one.check().unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert!(of_one.check().is_err(), "what has moved counts once");
    }
}
