//! The words of progress: one line of text for how far a job is, with frames a
//! second and time to go. Pure but for the meter's clock, which is handed in.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use reelraft_proto::v1::{Job, JobState};

use crate::{
    limits::RATE_WINDOW_MS,
    words::{clock, job_state, percent, size},
};

/// How fast a count rises, over the last few seconds.
#[derive(Default)]
pub struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes the count as it is now. One that fell (a shard was started over)
    /// starts the measurement over.
    pub fn take(&mut self, now: Instant, count: u64) {
        if self.samples.back().is_some_and(|&(_, last)| count < last) {
            self.samples.clear();
        }
        self.samples.push_back((now, count));
        let window = Duration::from_millis(RATE_WINDOW_MS);
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|&(at, _)| now.duration_since(at) > window)
        {
            self.samples.pop_front();
        }
    }

    /// Counts per thousand seconds; 0 until it is known.
    pub fn milli_per_second(&self) -> u64 {
        let (Some(&(start, low)), Some(&(end, high))) = (self.samples.front(), self.samples.back())
        else {
            return 0;
        };
        let elapsed_ms = end.duration_since(start).as_millis();
        (u128::from(high - low) * 1_000_000)
            .checked_div(elapsed_ms)
            .unwrap_or(0) as u64
    }
}

/// One line for a job: state, bar, frames, speed, time to go, shards by state.
pub fn job_line(job: &Job, frames_milli_per_second: u64) -> String {
    let mut parts = vec![format!("{:<10}", job_state(job.state))];
    let (done, total) = (job.frames_done, job.frames_total);
    if total > 0 {
        let done = done.min(total);
        parts.push(bar(percent(done, total)));
        parts.push(format!("{done}/{total} frames"));
    }
    if job.state() == JobState::Encoding && total > 0 && frames_milli_per_second > 0 {
        parts.push(format!("{} fps", frames_milli_per_second.div_ceil(1000)));
        let left = u128::from(total.saturating_sub(done)) * 1_000_000;
        let left_ms = left / u128::from(frames_milli_per_second);
        let left_ms = u64::try_from(left_ms).unwrap_or(u64::MAX);
        parts.push(format!("ETA {}", clock(Duration::from_millis(left_ms))));
    }
    if job.shards_total > 0 {
        let waiting = job
            .shards_total
            .saturating_sub(job.shards_done)
            .saturating_sub(job.shards_running);
        parts.push(format!(
            "shards {} done, {} running, {waiting} waiting",
            job.shards_done, job.shards_running
        ));
    }
    if !job.waiting.is_empty() {
        parts.push(format!("waits: {}", job.waiting));
    }
    parts.join("  ").trim_end().to_string()
}

/// One line for bytes that move, up or down.
pub fn bytes_line(what: &str, done: u64, total: u64, bytes_milli_per_second: u64) -> String {
    let mut line = format!(
        "{what:<10}  {}  {} of {}",
        bar(percent(done, total)),
        size(done),
        size(total)
    );
    if bytes_milli_per_second >= 1000 {
        line.push_str(&format!("  {}/s", size(bytes_milli_per_second / 1000)));
    }
    line
}

fn bar(percent: u64) -> String {
    const CELLS: usize = 20;
    let full = (percent as usize * CELLS / 100).min(CELLS);
    format!(
        "[{}{}] {percent:>3}%",
        "#".repeat(full),
        "-".repeat(CELLS - full)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_line_says_how_far_it_is() {
        let mut job = Job {
            frames_total: 1253,
            frames_done: 512,
            shards_total: 9,
            shards_done: 3,
            shards_running: 4,
            ..Default::default()
        };
        job.set_state(JobState::Encoding);
        assert_eq!(
            job_line(&job, 88_000),
            "encoding    [########------------]  40%  512/1253 frames  88 fps  ETA 0:08  \
             shards 3 done, 4 running, 2 waiting"
        );
        let mut early = Job {
            waiting: "no node of its build".into(),
            ..Default::default()
        };
        early.set_state(JobState::Analyzing);
        assert_eq!(
            job_line(&early, 0),
            "analyzing   waits: no node of its build"
        );
    }

    #[test]
    fn bytes_show_their_speed() {
        assert_eq!(
            bytes_line("uploading", 12 << 20, 48 << 20, 3000 << 20),
            "uploading   [#####---------------]  25%  12.0 MiB of 48.0 MiB  3.0 MiB/s"
        );
    }

    #[test]
    fn the_meter_forgets_and_starts_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        assert_eq!(meter.milli_per_second(), 0);
        for second in 0..20 {
            meter.take(at(second), second * 10);
        }
        assert_eq!(meter.milli_per_second(), 10_000);
        meter.take(at(20), 5);
        assert_eq!(meter.milli_per_second(), 0);
        meter.take(at(21), 25);
        assert_eq!(meter.milli_per_second(), 20_000);
    }
}
