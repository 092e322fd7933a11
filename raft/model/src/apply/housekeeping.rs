//! Commands that keep the table small: folding what has ended, ending what is
//! abandoned, and the bounds of what is made.

use super::writer::Writer;
use crate::{
    command::{CreateJob, Reply},
    fold::{History, failed_tasks, summary_of},
    housekeeping::{ExpireUpload, Fold, JobBounds, KeepHistory, TouchUpload},
    limits::FAIR_TOMBSTONES_LEVEL,
    rows::{Job, JobState, Problem, TaskKey},
    state::State,
    table_rows::job_key,
    tombstones::{Tombstone, Tombstones},
};

impl Writer<'_> {
    pub(super) fn keep_history(&mut self, c: &KeepHistory) -> Reply {
        let Some(entry) = self.state.jobs.get(&c.job) else {
            return Reply::stale(&c.job);
        };
        let job = &entry.job;
        let awaited = job.state() == JobState::Succeeded
            && job.summary.is_none()
            && job.epoch == c.epoch
            && !job.history_at.contains(&c.node);
        let holds = job
            .current_homes()
            .any(|home| home.node == c.node && home.filled);
        if !awaited || !holds || History::blob(entry).hash != c.history_hash {
            return Reply::stale(&c.job);
        }
        let mut job = job.clone();
        job.history_at.push(c.node);
        let has = |node: u64| job.history_at.contains(&node);
        let everywhere = job.current_homes().all(|home| has(home.node));
        self.put_job(job);
        if everywhere {
            self.drop_tasks(&c.job, &c.history_hash);
        }
        Reply::done(&c.job)
    }

    pub(super) fn fold(&mut self, c: &Fold) -> Reply {
        let foldable = |job: &Job| {
            let ended = matches!(job.state(), JobState::Failed | JobState::Cancelled);
            ended && job.summary.is_none()
        };
        match self.job(&c.job).is_some_and(foldable) {
            true => self.drop_tasks(&c.job, ""),
            false => return Reply::stale(&c.job),
        }
        Reply::done(&c.job)
    }

    fn drop_tasks(&mut self, id: &str, history_hash: &str) {
        self.keep_parts(id);
        let Some(entry) = self.state.jobs.get(id) else {
            return;
        };
        let keys: Vec<TaskKey> = entry.tasks.keys().copied().collect();
        let mut job = entry.job.clone();
        job.summary = Some(summary_of(entry));
        if job.state() != JobState::Succeeded {
            job.failed_tasks = failed_tasks(entry);
        }
        if job.keeps_source() {
            job.attempts_before = entry.last_attempt();
        }
        job.history_hash = history_hash.to_string();
        job.history_at.clear();
        job.folded_cluster_ms = self.state.cluster_ms();
        self.put_job(job);
        for key in keys {
            self.remove_task(id, key);
        }
    }

    pub(super) fn touch_upload(&mut self, c: &TouchUpload) -> Reply {
        let now = self.state.cluster_ms().max(1);
        match self.stood_still(&c.job, c.touched_cluster_ms) {
            Some(mut job) => {
                job.touched_cluster_ms = now;
                self.put_job(job);
                Reply::done(&c.job)
            }
            None => Reply::stale(&c.job),
        }
    }

    pub(super) fn expire_upload(&mut self, c: &ExpireUpload) -> Reply {
        if self.stood_still(&c.job, c.touched_cluster_ms).is_none() {
            return Reply::stale(&c.job);
        }
        let problem = Problem::new(
            "upload-expired",
            "its upload was begun and made no progress for too long",
            "submit the file again under a new --request-id",
        );
        self.fail(&c.job, c.unix_ms, problem)
    }

    /// An upload that has not been touched since a proposer saw it.
    fn stood_still(&self, id: &str, seen_ms: u64) -> Option<Job> {
        let job = self.job(id)?;
        let still = job.state() == JobState::Uploading && job.touched_cluster_ms == seen_ms;
        still.then(|| job.clone())
    }

    /// Removes the row of a deleted job.
    pub(super) fn forget(&mut self, (_, age): Tombstone) {
        if let Some(entry) = self.state.job_at(age) {
            let id = &entry.job.id;
            self.state.forget_job(id);
            self.touched.insert(job_key(id));
        }
    }

    /// Makes room for another job, or says why there is none.
    pub(super) fn find_room_for(&mut self, c: &CreateJob) -> Option<Problem> {
        let bounds = c.bounds?;
        let fair = self.state.feature_level() >= FAIR_TOMBSTONES_LEVEL;
        let problem = match fair {
            true => self.state.no_room_for(&c.tenant, c.source_bytes, bounds),
            false => {
                self.make_room(bounds, Tombstones::oldest);
                let rows = self.state.jobs_count() as u64;
                no_room(self.state, &c.tenant, c.source_bytes, bounds, rows)
            }
        };
        if fair && problem.is_none() {
            self.make_room(bounds, Tombstones::oldest_of_most);
        }
        problem
    }

    /// Forgets a deleted job where there are too many rows for another: what is
    /// deleted never keeps anyone from a new job.
    fn make_room(&mut self, bounds: JobBounds, next: fn(&Tombstones) -> Option<Tombstone>) {
        if (self.state.jobs_count() as u64) < bounds.rows {
            return;
        }
        if let Some(next) = next(&self.state.tombstones) {
            self.forget(next);
        }
    }
}

impl State {
    /// Why another job of a tenant would be refused now, if it would be.
    pub fn no_room_for(
        &self,
        tenant: &str,
        source_bytes: u64,
        bounds: JobBounds,
    ) -> Option<Problem> {
        // One that is deleted would be forgotten.
        let forgotten = u64::from(!self.tombstones.is_empty());
        let rows = self.jobs_count() as u64 - forgotten;
        no_room(self, tenant, source_bytes, bounds, rows)
    }
}

fn no_room(
    state: &State,
    tenant: &str,
    source_bytes: u64,
    bounds: JobBounds,
    rows: u64,
) -> Option<Problem> {
    let (of, quota) = (state.index.of_tenant(tenant), state.quota(tenant));
    if of.uploading >= quota.uploads.unwrap_or(bounds.uploading) {
        return Some(Problem::new(
            "too-many-uploads",
            format!("tenant '{tenant}' has {} unfinished uploads", of.uploading),
            "finish, cancel or delete some of them first",
        ));
    }
    let hint = "delete finished ones with `reelraft job delete`";
    if of.jobs >= quota.jobs.unwrap_or(bounds.jobs) {
        let cause = format!("tenant '{tenant}' has {} jobs", of.jobs);
        return Some(Problem::new("too-many-jobs", cause, hint));
    }
    let bytes = of.bytes.saturating_add(source_bytes);
    if let Some(may) = quota.bytes.filter(|may| bytes > *may) {
        let had = of.bytes;
        let cause = format!(
            "tenant '{tenant}' may have {may} bytes, has {had}, and the source has {source_bytes}"
        );
        let hint = "delete finished jobs with `reelraft job delete`, or ask for a larger quota";
        return Some(Problem::new("too-many-bytes", cause, hint));
    }
    (rows >= bounds.rows).then(|| {
        let cause = format!("the cluster has {rows} jobs of all tenants");
        Problem::new("too-many-jobs", cause, hint)
    })
}
