//! The table in memory: rows behind shared pointers, copied on write, and the
//! indexes that the leader plans with. [`State::apply`] (in `apply`) is the only
//! writer. Indexes are derived from rows and never stored.

use std::{collections::BTreeMap, sync::Arc};

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{
    authorities::Authorities,
    command::Reply,
    engine_rows::Engines,
    job_entry::JobEntry,
    job_index::{JobIndex, TenantCount},
    kept_parts::Shelf,
    keys::{Key, Quota},
    limits::UPLOAD_LIVE_MS,
    open_index::OpenIndex,
    output_index::{Kept, OutputIndex},
    outside::Webhooks,
    past::Past,
    rows::{ClusterRow, Job, JobState, Node},
    tokens::Tokens,
    tombstones::Tombstones,
    turned::Turned,
};

/// The whole table. A clone costs the same whatever its size: it shares all
/// that is not changed afterwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(crate) cluster: ClusterRow,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Jobs that are not over, and while one command is applied the job that it is
    /// about, whatever became of that.
    pub(crate) jobs: Map<String, Arc<JobEntry>>,
    /// The other jobs.
    pub(crate) past: Past,
    pub(crate) keys: Map<String, Arc<Key>>,
    /// Of the tenants that have one of their own.
    pub(crate) quotas: Map<String, Arc<Quota>>,
    /// Of the tenants that have one.
    pub(crate) webhooks: Webhooks,
    /// Of jobs whose tasks are no rows any more.
    pub(crate) shelf: Shelf,
    pub(crate) tokens: Tokens,
    pub(crate) engines: Engines,
    pub(crate) authorities: Option<Arc<Authorities>>,
    /// Index: jobs that have not ended.
    pub(crate) active: Set<String>,
    /// Index: the same jobs, by what the plan looks for.
    pub(crate) open: OpenIndex,
    /// Index: jobs that are not over, by age.
    by_age: Map<u64, String>,
    /// Index: deleted jobs.
    pub(crate) tombstones: Tombstones,
    /// Index: where finished outputs are.
    pub(crate) outputs: OutputIndex,
    /// Index: jobs for housekeeping.
    pub(crate) index: JobIndex,
}

/// What one entry did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// A reply for each command, in order.
    pub replies: Vec<Reply>,
    /// Keys of the rows that were written or removed.
    pub touched: Vec<Vec<u8>>,
    /// Jobs that came into another state, by id.
    pub turned: Vec<Turned>,
}

impl State {
    /// The cluster's own time in milliseconds.
    pub fn cluster_ms(&self) -> u64 {
        self.cluster.cluster_ms
    }

    /// Up to which feature level all nodes can read the log.
    pub fn feature_level(&self) -> u32 {
        self.cluster.feature_level
    }

    /// A job, whatever became of it.
    pub fn job(&self, id: &str) -> Option<Arc<JobEntry>> {
        let current = self.jobs.get(id).cloned();
        current.or_else(|| self.past.job(id).map(JobEntry::alone))
    }

    /// Whether there is such a job.
    pub fn has_job(&self, id: &str) -> bool {
        self.jobs.contains_key(id) || self.past.contains(id)
    }

    /// A job that has not ended, or whose tasks are rows still.
    pub fn current(&self, id: &str) -> Option<&Arc<JobEntry>> {
        self.jobs.get(id)
    }

    /// Whether the job of an age is one of these.
    pub fn is_current(&self, age: u64) -> bool {
        self.by_age.contains_key(&age)
    }

    /// Whether there is a job of an age.
    pub fn has_age(&self, age: u64) -> bool {
        self.is_current(age) || self.past.has_age(age)
    }

    /// All jobs that have not ended, or whose tasks are rows still, by id.
    pub fn all_current(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.jobs.values()
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = Arc<JobEntry>> {
        let current = self.jobs.values().cloned();
        current.chain(self.past.jobs().map(JobEntry::alone))
    }

    /// How many jobs there are.
    pub fn jobs_count(&self) -> usize {
        self.jobs.size() + self.past.size()
    }

    /// How many jobs are in each state, deleted ones left out.
    pub fn counts_by_state(&self) -> BTreeMap<JobState, u64> {
        self.index.states()
    }

    /// Jobs that have not ended, by id.
    pub fn active(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.active.iter().filter_map(|id| self.jobs.get(id))
    }

    /// Jobs with a running task, or one that has failed before, by id.
    pub fn eventful(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        let eventful = self.open.eventful();
        eventful.filter_map(|id| self.jobs.get(id))
    }

    /// Jobs that have not ended, by what the plan looks for.
    pub(crate) fn open(&self) -> &OpenIndex {
        &self.open
    }

    /// Whether an upload has made no progress for so long that nobody waits for it.
    pub fn stands_still(&self, job: &Job) -> bool {
        job.touched_cluster_ms + UPLOAD_LIVE_MS <= self.cluster_ms()
    }

    /// Whether something goes on in the cluster: some job is worked on, or an
    /// upload was touched lately. One that stands still waits for its client.
    pub fn is_busy(&self) -> bool {
        let newest = self.uploading().next_back();
        let live = newest.is_some_and(|entry| !self.stands_still(&entry.job));
        let compares = self.open.is_measuring();
        live || compares || self.active.size() > self.index.uploading_count()
    }

    /// Finished jobs whose tasks are rows still, by age.
    pub fn without_history(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        let unfolded = self.index.unfolded(true);
        unfolded.filter_map(|age| self.at_age(age))
    }

    /// Jobs whose source is not sealed yet, those that have stood still
    /// longest first.
    pub fn uploading(&self) -> impl DoubleEndedIterator<Item = &Arc<JobEntry>> {
        let uploading = self.index.uploading();
        uploading.filter_map(|(_, age)| self.at_age(age))
    }

    /// The job of an age, whatever became of it.
    pub fn job_at(&self, age: u64) -> Option<Arc<JobEntry>> {
        let current = self.at_age(age).cloned();
        current.or_else(|| self.past.at_age(age).map(JobEntry::alone))
    }

    /// The finished jobs of which a node is a home, also one that retires, by
    /// age.
    pub fn outputs_at(&self, node: u64) -> impl Iterator<Item = (u64, Kept)> {
        let groups = self.outputs.groups();
        let here = groups.filter(move |(homes, _)| homes.iter().any(|home| home.node == node));
        here.flat_map(|(_, jobs)| jobs.iter().map(|(age, kept)| (age, *kept)))
    }

    /// Jobs that may be tried again of which a node is a home that is to have their
    /// source and has not said so yet, by age.
    pub fn sources_due_at(&self, node: u64) -> impl Iterator<Item = u64> {
        let groups = self.outputs.sources();
        let due = groups.filter(move |(homes, _)| {
            let mut homes = homes.iter();
            homes.any(|home| home.node == node && home.is_unsure())
        });
        due.flat_map(|(_, jobs)| jobs.iter().copied())
    }

    pub(crate) fn at_age(&self, age: u64) -> Option<&Arc<JobEntry>> {
        self.jobs.get(self.by_age.get(&age)?)
    }

    /// Where finished outputs are.
    pub(crate) fn outputs(&self) -> &OutputIndex {
        &self.outputs
    }

    /// Jobs older than `before` (a creation index), the newest first.
    pub fn newest_before(&self, before: u64) -> impl Iterator<Item = Arc<JobEntry>> {
        let current = self.by_age.range(..before).rev();
        let mut current = current
            .filter_map(|(age, id)| Some((*age, self.jobs.get(id)?)))
            .peekable();
        let past = self.past.down_from(before);
        let mut past = past
            .map(|(age, job)| (age, JobEntry::alone(job)))
            .peekable();
        std::iter::from_fn(move || {
            let newest_past = past.peek().map(|(age, _)| *age);
            match current.next_if(|(age, _)| Some(*age) > newest_past) {
                Some((_, entry)) => Some(entry.clone()),
                None => past.next().map(|(_, entry)| entry),
            }
        })
    }

    /// A tenant's jobs older than `before`, the newest first, without those that
    /// are deleted. What is not taken of them is not read.
    pub fn newest_of(&self, tenant: &str, before: u64) -> impl Iterator<Item = Arc<JobEntry>> {
        let ages = self.index.ages_of(tenant, before);
        ages.filter_map(|age| self.job_at(age))
    }

    /// How often keys were revoked and quotas set; see [`ClusterRow`].
    pub fn access_epoch(&self) -> u64 {
        self.cluster.access_epoch
    }

    pub fn key(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// All keys, by id.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// Whether there is a key, or a quota.
    pub(crate) fn tells_access(&self) -> bool {
        !self.keys.is_empty() || !self.quotas.is_empty()
    }

    pub(crate) fn put_key(&mut self, key: Key) {
        self.keys.insert_mut(key.id.clone(), Arc::new(key));
    }

    pub(crate) fn remove_key(&mut self, id: &str) {
        self.keys.remove_mut(id);
    }

    /// A tenant's quota; one that sets nothing where it has none of its own.
    pub fn quota(&self, tenant: &str) -> Quota {
        let own = self.quotas.get(tenant).map(|quota| Quota::clone(quota));
        own.unwrap_or_else(|| Quota::none(tenant))
    }

    /// Whether a tenant has a quota of its own.
    pub(crate) fn has_quota(&self, tenant: &str) -> bool {
        self.quotas.contains_key(tenant)
    }

    /// What a tenant has.
    pub fn used_by(&self, tenant: &str) -> TenantCount {
        self.index.of_tenant(tenant)
    }

    /// All quotas, by tenant.
    pub fn quotas(&self) -> impl ExactSizeIterator<Item = &Arc<Quota>> {
        self.quotas.values()
    }

    pub(crate) fn put_quota(&mut self, quota: Quota) {
        let tenant = quota.tenant.clone();
        match quota == Quota::none(&tenant) {
            true => self.quotas.remove_mut(&tenant),
            false => {
                self.quotas.insert_mut(tenant, Arc::new(quota));
                true
            }
        };
    }

    /// Puts a job by that is over: of what follows from it, nothing changes.
    pub(crate) fn put_by(&mut self, id: &str) {
        let over = |entry: &&Arc<JobEntry>| entry.tasks.is_empty() && Past::takes(&entry.job);
        let Some(entry) = self.jobs.get(id).filter(over) else {
            return;
        };
        self.past.insert(&entry.job);
        self.by_age.remove_mut(&entry.job.created_index);
        self.jobs.remove_mut(id);
    }

    /// Takes a job out that was put by, so that a command may change it.
    pub(crate) fn take_out(&mut self, id: &str) {
        if let Some(job) = self.past.remove(id) {
            self.by_age.insert_mut(job.created_index, job.id.clone());
            self.jobs.insert_mut(id.to_string(), JobEntry::alone(job));
        }
    }

    /// Removes a deleted job with its row.
    pub(crate) fn forget_job(&mut self, id: &str) {
        self.take_out(id);
        if let Some(entry) = self.jobs.get(id) {
            self.tombstones.remove(&entry.job);
            self.by_age.remove_mut(&entry.job.created_index);
            self.jobs.remove_mut(id);
        }
    }

    /// Writes a job's row and keeps the indexes.
    pub(crate) fn put_job(&mut self, job: Job) {
        let id = job.id.clone();
        if job.state().ended() {
            self.active.remove_mut(&id);
        } else {
            self.active.insert_mut(id.clone());
        }
        if job.state() == JobState::Deleted {
            self.tombstones.insert(&job);
        }
        let before = self.jobs.get(&id).map(|entry| &entry.job);
        self.outputs.update(before, &job);
        self.index.update(before, &job);
        match self.jobs.get_mut(&id) {
            Some(entry) => {
                self.open.remove(&entry.job, &entry.standing());
                Arc::make_mut(entry).job = job;
                self.open.insert(&entry.job, &entry.standing());
            }
            None => {
                self.by_age.insert_mut(job.created_index, id.clone());
                let entry = JobEntry::new(job);
                self.open.insert(&entry.job, &entry.standing());
                self.jobs.insert_mut(id, Arc::new(entry));
            }
        }
    }

    /// Changes a job's tasks and keeps the indexes; `false` if there is no such
    /// job.
    pub(crate) fn change_tasks(&mut self, job: &str, change: impl FnOnce(&mut JobEntry)) -> bool {
        let Some(entry) = self.jobs.get_mut(job) else {
            return false;
        };
        let before = entry.standing();
        let entry = Arc::make_mut(entry);
        change(entry);
        self.open.update(&entry.job, &before, &entry.standing());
        true
    }
}
