//! The leader's last word on liveness and progress, as this node heard it.

use std::{sync::Mutex, time::Instant};

use reelraft_proto::v1;

use crate::limits::VIEW_FRESH;

/// The last view and when it came.
#[derive(Debug, Default)]
pub struct View(Mutex<Option<(Instant, v1::ClusterView)>>);

impl View {
    fn inner(&self) -> std::sync::MutexGuard<'_, Option<(Instant, v1::ClusterView)>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Notes a new view.
    pub fn set(&self, view: v1::ClusterView) {
        *self.inner() = Some((Instant::now(), view));
    }

    /// The last view, unless it is too old to say anything.
    pub fn fresh(&self) -> Option<v1::ClusterView> {
        self.inner()
            .as_ref()
            .filter(|(at, _)| at.elapsed() < VIEW_FRESH)
            .map(|(_, view)| view.clone())
    }

    /// What the leader said of one job.
    pub fn job(&self, id: &str) -> Option<v1::JobProgress> {
        let inner = self.inner();
        let (at, view) = inner.as_ref()?;
        (at.elapsed() < VIEW_FRESH)
            .then(|| view.jobs.iter().find(|job| job.job == id).cloned())
            .flatten()
    }
}
