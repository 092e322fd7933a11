//! The leader's last report, as this node heard it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::{
    engine_messages::EngineStatus,
    messages::{JobProgress, LeaderReport, NodeStatus},
};
use crate::limits::REPORT_FRESH;

/// The last report and when it came.
#[derive(Debug, Default)]
pub struct LatestReport {
    last: Mutex<Option<(Instant, LeaderReport)>>,
    /// What browsers call the nodes that were ever named.
    origins: Mutex<BTreeMap<u64, String>>,
}

impl LatestReport {
    /// Notes a new report.
    pub fn set(&self, mut report: LeaderReport) {
        {
            let mut origins = self.origins.lock().expect("no holder of this lock panics");
            for node in &report.nodes {
                match node.http.as_str() {
                    "" => drop(origins.remove(&node.id)),
                    http => drop(origins.insert(node.id, http.to_string())),
                }
            }
        }
        let mut last = self.lock();
        let former = last.take().map(|(_, former)| former).unwrap_or_default();
        report.jobs = report.jobs.or(former.jobs);
        report.engines = report.engines.or(former.engines);
        *last = Some((Instant::now(), report));
    }

    /// What it says of all nodes, read in place: views of jobs ask for it often.
    pub fn nodes<T>(&self, read: impl FnOnce(&[NodeStatus]) -> T) -> Option<T> {
        self.with(|report| read(&report.nodes))
    }

    /// What browsers call the nodes, also those that are silent now.
    pub fn origins(&self) -> BTreeMap<u64, String> {
        let origins = self.origins.lock();
        origins.expect("no holder of this lock panics").clone()
    }

    /// What the leader does about each node's place in the cluster.
    pub fn notes(&self) -> BTreeMap<u64, String> {
        self.with(|report| report.notes.clone()).unwrap_or_default()
    }

    /// The index at which the leader compares all tables.
    pub fn compared_index(&self) -> Option<u64> {
        self.with(|report| report.compared_index)
    }

    /// The engines that are there; `None` while no leader says so.
    pub fn engines(&self) -> Option<Arc<Vec<EngineStatus>>> {
        self.with(|report| report.engines.clone()).flatten()
    }

    /// What the leader said of one job.
    pub fn job(&self, id: &str) -> Option<JobProgress> {
        let of = |report: &LeaderReport| report.jobs.as_ref()?.get(id).cloned();
        self.with(of).flatten()
    }

    /// Reads the last report, unless it is too old to say anything.
    fn with<T>(&self, read: impl FnOnce(&LeaderReport) -> T) -> Option<T> {
        let last = self.lock();
        let (heard, report) = last.as_ref()?;
        (heard.elapsed() < REPORT_FRESH).then(|| read(report))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, LeaderReport)>> {
        self.last.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_left_out_are_as_they_were() {
        let latest = LatestReport::default();
        latest.set(LeaderReport::default());
        assert_eq!(latest.job("a"), None);
        let progress = JobProgress {
            waiting: "for a free slot".into(),
            ..Default::default()
        };
        latest.set(LeaderReport {
            jobs: Some(Arc::new([("a".to_string(), progress.clone())].into())),
            ..Default::default()
        });
        latest.set(LeaderReport::default());
        assert_eq!(latest.job("a"), Some(progress));
        latest.set(LeaderReport {
            jobs: Some(Arc::default()),
            ..Default::default()
        });
        assert_eq!(latest.job("a"), None);
    }
}
