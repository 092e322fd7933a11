//! Progress as one line of text: how far a job is, with frames per second and
//! time left. Pure: the meter is given the time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use reelraft_proto::{
    documents::job_state,
    v1::{Job, JobState},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    job_end::has_ended,
    limits::RATE_WINDOW_MS,
    render::format::{clock, counted, percent, size},
};

/// How fast a count rises, over the last few seconds.
#[derive(Default)]
pub struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Records the count at this moment. A lower count than before (a shard was
    /// restarted) restarts the measurement.
    pub fn record(&mut self, now: Instant, count: u64) {
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

    /// Counts per thousand seconds; 0 while unknown.
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

/// One line for a job: state, bar, frames, speed, time left, shards by state.
/// Where that exceeds `columns`, a short form.
pub fn job_line(job: &Job, frames_milli_per_second: u64, columns: usize) -> String {
    let line = job_line_in(job, frames_milli_per_second, false);
    if line.width() <= columns {
        return line;
    }
    job_line_in(job, frames_milli_per_second, true)
}

fn job_line_in(job: &Job, frames_milli_per_second: u64, short: bool) -> String {
    let mut parts = vec![format!("{:<10}", job_state(job.state))];
    let (done, total) = (job.frames_done, job.frames_total);
    if total > 0 {
        let done = done.min(total);
        let cells = if short { BAR_CELLS / 2 } else { BAR_CELLS };
        parts.push(bar(percent(done, total), cells));
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
        let (done, running) = (job.shards_done, job.shards_running);
        // Nothing runs or waits in a job that has ended.
        parts.push(if short || has_ended(job.state()) {
            format!("{done}/{} shards", job.shards_total)
        } else {
            format!("shards {done} done, {running} running, {waiting} waiting")
        });
    }
    if !job.waiting.is_empty() {
        parts.push(format!("waits: {}", job.waiting));
    }
    parts.join("  ").trim_end().to_string()
}

/// What a finished job came to: "5.9 MiB, 34 % of its source, 1000 frames in
/// 0:12, 83 fps".
pub fn summary(job: &Job) -> String {
    let mut text = size(job.output_bytes);
    if job.source_bytes > 0 {
        // More than the source is no progress: it is not cut off at 100.
        let share = u128::from(job.output_bytes) * 100 / u128::from(job.source_bytes);
        text.push_str(&format!(", {share}% of its source"));
    }
    // An audio-only job has none.
    if job.frames_total > 0 {
        text.push_str(&format!(", {}", counted(job.frames_total, "frame")));
    }
    let took_ms = job.ended_unix_ms.saturating_sub(job.created_unix_ms);
    if job.created_unix_ms > 0 && took_ms > 0 {
        text.push_str(&format!(" in {}", clock(Duration::from_millis(took_ms))));
        let fps = job.frames_total * 1000 / took_ms;
        if fps > 0 {
            text.push_str(&format!(", {fps} fps"));
        }
    }
    text
}

/// One line for an upload or a fetch.
pub fn bytes_line(what: &str, done: u64, total: u64, bytes_milli_per_second: u64) -> String {
    let mut line = format!(
        "{what:<10}  {}  {} of {}",
        bar(percent(done, total), BAR_CELLS),
        size(done),
        size(total)
    );
    if bytes_milli_per_second >= 1000 {
        line.push_str(&format!("  {}/s", size(bytes_milli_per_second / 1000)));
        let left_ms =
            u128::from(total.saturating_sub(done)) * 1_000_000 / u128::from(bytes_milli_per_second);
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(u64::MAX));
        line.push_str(&format!("  ETA {}", clock(left)));
    }
    line
}

/// Cells of the bar, one for each five percent.
pub const BAR_CELLS: usize = 20;

/// A bar of so many cells, and the number.
pub fn bar(percent: u64, cells: usize) -> String {
    let full = (percent as usize * cells / 100).min(cells);
    format!(
        "[{}{}] {percent:>3}%",
        "#".repeat(full),
        "-".repeat(cells - full)
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
            job_line(&job, 88_000, usize::MAX),
            "encoding    [########------------]  40%  512/1253 frames  88 fps  ETA 0:08  \
             shards 3 done, 4 running, 2 waiting"
        );
        assert_eq!(
            job_line(&job, 88_000, 79),
            "encoding    [####------]  40%  512/1253 frames  88 fps  ETA 0:08  3/9 shards"
        );
        job.set_state(JobState::Cancelled);
        assert_eq!(
            job_line(&job, 0, usize::MAX),
            "cancelled   [########------------]  40%  512/1253 frames  3/9 shards"
        );
        let mut early = Job {
            waiting: "no node of its build".into(),
            ..Default::default()
        };
        early.set_state(JobState::Analyzing);
        assert_eq!(
            job_line(&early, 0, usize::MAX),
            "analyzing   waits: no node of its build"
        );
    }

    #[test]
    fn a_finished_job_says_what_it_came_to() {
        let mut job = Job {
            source_bytes: 10 << 20,
            output_bytes: 3 << 20,
            frames_total: 1000,
            created_unix_ms: 5_000,
            ended_unix_ms: 17_000,
            ..Default::default()
        };
        let wanted = "3.0 MiB, 30% of its source, 1000 frames in 0:12, 83 fps";
        assert_eq!(summary(&job), wanted);
        job.frames_total = 0;
        job.created_unix_ms = 0;
        assert_eq!(summary(&job), "3.0 MiB, 30% of its source");
    }

    #[test]
    fn bytes_show_their_speed() {
        assert_eq!(
            bytes_line("uploading", 12 << 20, 48 << 20, 3000 << 20),
            "uploading   [#####---------------]  25%  12.0 MiB of 48.0 MiB  3.0 MiB/s  ETA 0:12"
        );
    }

    #[test]
    fn the_meter_forgets_and_restarts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        assert_eq!(meter.milli_per_second(), 0);
        for second in 0..20 {
            meter.record(at(second), second * 10);
        }
        assert_eq!(meter.milli_per_second(), 10_000);
        meter.record(at(20), 5);
        assert_eq!(meter.milli_per_second(), 0);
        meter.record(at(21), 25);
        assert_eq!(meter.milli_per_second(), 20_000);
    }
}
