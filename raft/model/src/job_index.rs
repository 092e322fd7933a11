//! Index of jobs for housekeeping: how many a tenant has, which uploads stand
//! still, what has ended and is to be folded or forgotten. Jobs are named by
//! their age, which is short.

use std::collections::BTreeMap;

use prost::Message;
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{
    held_index::HeldIndex,
    open_index::with,
    pages::Pages,
    rows::{Job, JobState},
};

/// Jobs by what is to be done about them by and by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JobIndex {
    tenants: Map<String, Tenant>,
    /// How many jobs are in each state, but for those that are deleted.
    states: BTreeMap<JobState, u64>,
    /// Uploads, by the time they were last known to make progress.
    uploading: Set<(u64, u64)>,
    /// Ended jobs whose tasks are not folded yet, those that have an output
    /// apart from the others.
    unfolded: Set<(bool, u64)>,
    /// Folded jobs, by the time of that.
    folded: Pages<(u64, u64), ()>,
    /// Those among them whose source is kept.
    held: Set<(u64, u64)>,
    /// Jobs with an output whose source is held all the same.
    sources: HeldIndex,
    /// Jobs with something to be sent, by the time from which on.
    deliveries: Set<(u64, u64)>,
    /// Finished jobs by what they were made of.
    results: Pages<(ResultKey, u64), ()>,
    /// Jobs with a whole plan whose tasks are rows, by source.
    planned: Set<(u64, u64)>,
}

/// Short for tenant, source and spec: jobs with different ones may have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResultKey(u64);

impl ResultKey {
    pub fn of(job: &Job) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(job.tenant.as_bytes());
        hasher.update(job.source_root.as_bytes());
        hasher.update(&job.spec.as_made().encode_to_vec());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        ResultKey(u64::from_be_bytes(first))
    }
}

/// The jobs of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantCount {
    /// All but those that are deleted.
    pub jobs: u64,
    /// Those whose sources are not whole yet.
    pub uploading: u64,
    /// Of sources of unfinished jobs, and of outputs.
    pub bytes: u64,
}

/// What a tenant has.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tenant {
    count: TenantCount,
    /// The ages of the jobs that are counted.
    ages: Pages<u64, ()>,
}

/// What of a job counts as its tenant's bytes.
fn bytes_of(job: &Job) -> u64 {
    match job.state() {
        JobState::Succeeded => job.output_bytes,
        state if state.ended() => 0,
        _ => job.source_bytes,
    }
}

/// The source of a job that has a whole plan, and whose tasks are rows.
fn planned_source(job: &Job) -> Option<u64> {
    let planned = match job.state() {
        JobState::Encoding | JobState::Assembling => true,
        JobState::Succeeded => job.summary.is_none(),
        _ => false,
    };
    planned.then(|| job.source_key())
}

impl JobIndex {
    /// Keeps the index when a job's row changes.
    pub fn update(&mut self, before: Option<&Job>, after: &Job) {
        if let Some(before) = before {
            self.remove(before);
        }
        let age = after.created_index;
        let state = after.state();
        if state == JobState::Deleted {
            return;
        }
        let uploads = state == JobState::Uploading;
        with(&mut self.tenants, after.tenant.clone(), |tenant| {
            let count = &mut tenant.count;
            count.jobs += 1;
            count.uploading += u64::from(uploads);
            count.bytes = count.bytes.saturating_add(bytes_of(after));
            tenant.ages.insert_mut(age, ());
        });
        if let Some(due_ms) = after.delivery_due_ms() {
            self.deliveries.insert_mut((due_ms, age));
        }
        *self.states.entry(state).or_default() += 1;
        if state == JobState::Succeeded {
            self.results.insert_mut((ResultKey::of(after), age), ());
        }
        self.sources.insert(after);
        if let Some(source) = planned_source(after) {
            self.planned.insert_mut((source, age));
        }
        if uploads {
            self.uploading.insert_mut((after.touched_cluster_ms, age));
        } else if after.summary.is_some() {
            self.folded.insert_mut((after.folded_cluster_ms, age), ());
            if after.keeps_source() {
                self.held.insert_mut((after.folded_cluster_ms, age));
            }
        } else if state.ended() {
            self.unfolded.insert_mut((state.keeps_bytes(), age));
        }
    }

    fn remove(&mut self, job: &Job) {
        if job.state() == JobState::Deleted {
            return;
        }
        if let Some(Tenant { count, ages }) = self.tenants.get_mut(&job.tenant) {
            ages.remove_mut(&job.created_index);
            count.jobs -= 1;
            count.uploading -= u64::from(job.state() == JobState::Uploading);
            count.bytes = count.bytes.saturating_sub(bytes_of(job));
            if count.jobs == 0 {
                self.tenants.remove_mut(&job.tenant);
            }
        }
        if let Some(count) = self.states.get_mut(&job.state()) {
            *count -= 1;
            if *count == 0 {
                self.states.remove(&job.state());
            }
        }
        let age = job.created_index;
        if job.state() == JobState::Succeeded {
            self.results.remove_mut(&(ResultKey::of(job), age));
        }
        if let Some(due_ms) = job.delivery_due_ms() {
            self.deliveries.remove_mut(&(due_ms, age));
        }
        if let Some(source) = planned_source(job) {
            self.planned.remove_mut(&(source, age));
        }
        self.uploading.remove_mut(&(job.touched_cluster_ms, age));
        self.folded.remove_mut(&(job.folded_cluster_ms, age));
        self.held.remove_mut(&(job.folded_cluster_ms, age));
        self.sources.remove(job);
        self.unfolded.remove_mut(&(job.state().keeps_bytes(), age));
    }

    /// The age of the latest finished job that may have been made of the same.
    pub fn latest_result(&self, key: ResultKey) -> Option<u64> {
        let ((found, age), ()) = self.results.down_from((key, u64::MAX)).next()?;
        (found == key).then_some(age)
    }

    /// Ages of jobs with a whole plan of a source, whose tasks are rows, the latest
    /// first.
    pub fn planned_of(&self, source: u64) -> impl Iterator<Item = u64> + '_ {
        let range = (source, 0)..=(source, u64::MAX);
        self.planned.range(range).rev().map(|(_, age)| *age)
    }

    /// How many jobs a tenant has.
    pub fn of_tenant(&self, tenant: &str) -> TenantCount {
        let tenant = self.tenants.get(tenant);
        tenant.map(|tenant| tenant.count).unwrap_or_default()
    }

    /// The ages of a tenant's jobs below one, the highest first.
    pub fn ages_of(&self, tenant: &str, before: u64) -> impl Iterator<Item = u64> + '_ {
        let tenant = self.tenants.get(tenant).into_iter();
        let ages = tenant.flat_map(move |tenant| tenant.ages.down_from(before));
        ages.map(|(age, ())| age)
    }

    /// Uploads with their stamps, those that have stood still longest first.
    pub fn uploading(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.uploading.iter().copied()
    }

    /// How many jobs are being uploaded.
    pub fn uploading_count(&self) -> usize {
        self.uploading.size()
    }

    /// Ended jobs with an output, or those without, whose tasks are rows
    /// still, by age.
    pub fn unfolded(&self, output: bool) -> impl Iterator<Item = u64> + '_ {
        let range = (output, 0)..=(output, u64::MAX);
        self.unfolded.range(range).map(|(_, age)| *age)
    }

    /// Folded jobs whose source is kept, as [`JobIndex::folded`].
    pub fn held(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.held.iter().copied()
    }

    /// Jobs with an output whose source is held.
    pub fn sources(&self) -> &HeldIndex {
        &self.sources
    }

    /// Folded jobs with their stamps, the first to be folded first.
    pub fn folded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.folded.iter().map(|(key, ())| key)
    }

    /// How many jobs are in each state, but for those that are deleted.
    pub fn states(&self) -> BTreeMap<JobState, u64> {
        self.states.clone()
    }

    /// Jobs with something to be sent, with the time from which on, the first
    /// first.
    pub fn deliveries(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.deliveries.iter().copied()
    }
}
