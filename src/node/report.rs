//! The leader's last report, as this node heard it.

use std::sync::Mutex;

use tokio::time::Instant;

use super::messages::{JobProgress, LeaderReport};
use crate::limits::REPORT_FRESH;

/// The last report and when it came.
#[derive(Debug, Default)]
pub struct LatestReport(Mutex<Option<(Instant, LeaderReport)>>);

impl LatestReport {
    /// Notes a new report.
    pub fn set(&self, report: LeaderReport) {
        *self.lock() = Some((Instant::now(), report));
    }

    /// The last report, unless it is too old to say anything.
    pub fn fresh(&self) -> Option<LeaderReport> {
        self.with(LeaderReport::clone)
    }

    /// The index at which the leader compares all tables.
    pub fn compared_index(&self) -> Option<u64> {
        self.with(|report| report.compared_index)
    }

    /// What the leader said of one job.
    pub fn job(&self, id: &str) -> Option<JobProgress> {
        self.with(|report| report.jobs.get(id).cloned()).flatten()
    }

    fn with<T>(&self, read: impl FnOnce(&LeaderReport) -> T) -> Option<T> {
        let last = self.lock();
        let (heard, report) = last.as_ref()?;
        (heard.elapsed() < REPORT_FRESH).then(|| read(report))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, LeaderReport)>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
