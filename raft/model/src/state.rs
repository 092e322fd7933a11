//! The table in memory: rows behind shared pointers, copied on write, and the
//! indexes that the leader plans with. [`State::apply`] (in `apply`) is the only
//! writer. Indexes are derived from rows and never stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost::Message;
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{
    command::{Reply, exact},
    error::ModelError,
    job_index::JobIndex,
    keys::{Key, Quota},
    limits::UPLOAD_LIVE_MS,
    open_index::{OpenIndex, Standing},
    output_index::OutputIndex,
    rows::{ClusterRow, Job, JobState, Node, Task, TaskKey, TaskKind, TaskState},
    task_counts::TaskCounts,
};

/// A job with its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEntry {
    pub job: Job,
    pub tasks: BTreeMap<TaskKey, Arc<Task>>,
    /// Index: tasks that wait for a node.
    pub pending: BTreeSet<TaskKey>,
    pub running: BTreeSet<TaskKey>,
    /// Index: pending tasks that have failed or been lost before.
    pub failed: BTreeSet<TaskKey>,
    /// Counts of the tasks, so that nobody has to walk them.
    pub counts: TaskCounts,
}

/// The whole table. A clone costs the same whatever its size: it shares all
/// that is not changed afterwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(crate) cluster: ClusterRow,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) jobs: Map<String, Arc<JobEntry>>,
    keys: Map<String, Arc<Key>>,
    /// Of the tenants that have one of their own.
    quotas: Map<String, Arc<Quota>>,
    /// Index: jobs that have not ended.
    pub(crate) active: Set<String>,
    /// Index: the same jobs, by what the plan looks for.
    pub(crate) open: OpenIndex,
    /// Index: jobs by age.
    pub(crate) by_age: Map<u64, String>,
    /// Index: tombstones by their cluster time and id.
    pub(crate) tombstones: Set<(u64, String)>,
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
}

const CLUSTER_KEY: &[u8] = b"c";

pub(crate) fn cluster_key() -> Vec<u8> {
    CLUSTER_KEY.to_vec()
}

pub(crate) fn node_key(node: u64) -> Vec<u8> {
    format!("n/{node:020}").into_bytes()
}

pub(crate) fn job_key(job: &str) -> Vec<u8> {
    format!("j/{job}").into_bytes()
}

pub(crate) fn key_key(id: &str) -> Vec<u8> {
    format!("k/{id}").into_bytes()
}

pub(crate) fn quota_key(tenant: &str) -> Vec<u8> {
    format!("q/{tenant}").into_bytes()
}

pub(crate) fn task_key(job: &str, (kind, number): TaskKey) -> Vec<u8> {
    format!("t/{job}/{}/{number:010}", kind as i32).into_bytes()
}

/// A row from its bytes, all of which this version must know.
fn row<R: Message + Default>(bytes: &[u8]) -> Result<R, ModelError> {
    let row = R::decode(bytes).map_err(|error| ModelError::Undecodable {
        what: "row",
        cause: error.to_string(),
    })?;
    exact("row", &row, bytes)?;
    Ok(row)
}

impl JobEntry {
    pub(crate) fn new(job: Job) -> Self {
        JobEntry {
            job,
            tasks: BTreeMap::new(),
            pending: BTreeSet::new(),
            running: BTreeSet::new(),
            failed: BTreeSet::new(),
            counts: TaskCounts::default(),
        }
    }

    /// Writes a task and keeps the indexes.
    pub(crate) fn put_task(&mut self, task: Task) {
        let key = task.key();
        self.unindex(&key);
        self.counts.add(&task);
        match task.state() {
            TaskState::Pending => {
                self.pending.insert(key);
                if !task.failures.is_empty() {
                    self.failed.insert(key);
                }
            }
            TaskState::Running => drop(self.running.insert(key)),
            TaskState::Done => {}
        }
        self.tasks.insert(key, Arc::new(task));
    }

    pub(crate) fn remove_task(&mut self, key: TaskKey) {
        self.unindex(&key);
        self.tasks.remove(&key);
    }

    fn unindex(&mut self, key: &TaskKey) {
        if let Some(former) = self.tasks.get(key) {
            self.counts.subtract(former);
        }
        for index in [&mut self.pending, &mut self.running, &mut self.failed] {
            index.remove(key);
        }
    }

    fn standing(&self) -> Standing {
        let assemblies = (TaskKind::Assemble, 0)..=(TaskKind::Assemble, u32::MAX);
        let assemblies = self.pending.range(assemblies);
        Standing {
            eventful: !self.running.is_empty() || !self.failed.is_empty(),
            waits: !self.pending.is_empty(),
            assemblies: assemblies.map(|(_, node)| u64::from(*node)).collect(),
        }
    }

    /// Pending tasks that were lost with their node while they ran.
    pub fn lost(&self) -> impl Iterator<Item = &Arc<Task>> {
        let failed = self.failed.iter().filter_map(|key| self.tasks.get(key));
        failed.filter(|task| task.was_lost())
    }

    /// The shards in order.
    pub fn shards(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks
            .range((TaskKind::Shard, 0)..=(TaskKind::Shard, u32::MAX))
            .map(|(_, task)| task)
    }

    /// All tasks whose results are parts of the output: audio tracks and shards,
    /// each in order, and extras.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().filter(|task| task.kind().is_part())
    }

    /// Whether a node is a home of the job's epoch, and so takes its new bytes.
    pub fn is_home(&self, node: u64) -> bool {
        self.job.current_homes().any(|home| home.node == node)
    }

    /// Whether a node is a home of the job, also one that retires.
    pub fn is_read_from(&self, node: u64) -> bool {
        self.job.homes.iter().any(|home| home.node == node)
    }

    /// Every blob that a home must have, in the order of their creation. The
    /// manifest comes first and names the source chunks. A finished job keeps
    /// only what its owner can still ask for.
    pub fn blobs(&self) -> Vec<String> {
        let job = &self.job;
        if job.state() == JobState::Succeeded {
            let kept = [&job.index_hash, &job.output_hash, &job.proof_hash];
            let history = Some(&job.history_hash).filter(|hash| !hash.is_empty());
            return kept.into_iter().chain(history).cloned().collect();
        }
        let mut blobs = vec![job.manifest.clone(), job.index_hash.clone()];
        for task in self
            .tasks
            .values()
            .filter(|task| task.state() == TaskState::Done)
        {
            if task.kind().is_part() {
                blobs.push(task.hash.clone());
            }
            blobs.push(task.report.clone());
        }
        let mut seen = BTreeSet::new();
        blobs.retain(|hash| !hash.is_empty() && seen.insert(hash.clone()));
        blobs
    }
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

    pub fn job(&self, id: &str) -> Option<&Arc<JobEntry>> {
        self.jobs.get(id)
    }

    /// All jobs, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.jobs.values()
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

    /// Whether something goes on in the cluster: some job is worked on, or an
    /// upload was touched lately. One that stands still waits for its client.
    pub fn is_busy(&self) -> bool {
        let newest = self.uploading().next_back();
        let live = newest.is_some_and(|entry| {
            let until_ms = entry.job.touched_cluster_ms + UPLOAD_LIVE_MS;
            until_ms > self.cluster_ms()
        });
        live || self.active.size() > self.index.uploading_count()
    }

    /// Finished jobs whose tasks are rows still, by age.
    pub fn without_history(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        let unfolded = self.index.unfolded(true);
        unfolded.filter_map(|age| self.at_age(age))
    }

    /// Jobs that ended without an output, and whose tasks are rows still.
    pub(crate) fn to_be_folded(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        let unfolded = self.index.unfolded(false);
        unfolded.filter_map(|age| self.at_age(age))
    }

    /// Jobs whose source is not sealed yet, those that have stood still
    /// longest first.
    pub fn uploading(&self) -> impl DoubleEndedIterator<Item = &Arc<JobEntry>> {
        let uploading = self.index.uploading();
        uploading.filter_map(|(_, age)| self.at_age(age))
    }

    /// Folded jobs, the first to be folded first.
    pub(crate) fn folded(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.index.folded().filter_map(|(_, age)| self.at_age(age))
    }

    fn at_age(&self, age: u64) -> Option<&Arc<JobEntry>> {
        self.jobs.get(self.by_age.get(&age)?)
    }

    /// Where finished outputs are.
    pub(crate) fn outputs(&self) -> &OutputIndex {
        &self.outputs
    }

    /// Jobs older than `before` (a creation index), the newest first.
    pub fn newest_before(&self, before: u64) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.by_age
            .range(..before)
            .rev()
            .filter_map(|(_, id)| self.jobs.get(id))
    }

    /// The incarnation under which a node is known.
    pub fn incarnation_of(&self, node: u64) -> Option<String> {
        self.nodes.get(&node).map(|node| node.incarnation.clone())
    }

    /// All nodes that have taken part.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn key(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// All keys, by id.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Arc<Key>> {
        self.keys.values()
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

    /// The bytes of a row, if it exists.
    pub fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(key).ok()?;
        if key == CLUSTER_KEY {
            return Some(self.cluster.encode_to_vec());
        }
        let (table, rest) = text.split_once('/')?;
        match table {
            "n" => self
                .nodes
                .get(&rest.parse().ok()?)
                .map(Message::encode_to_vec),
            "j" => self.jobs.get(rest).map(|entry| entry.job.encode_to_vec()),
            "k" => self.keys.get(rest).map(|key| key.encode_to_vec()),
            "q" => self.quotas.get(rest).map(|quota| quota.encode_to_vec()),
            "t" => {
                let mut parts = rest.split('/');
                let entry = self.jobs.get(parts.next()?)?;
                let kind = TaskKind::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
                let number = parts.next()?.parse().ok()?;
                entry
                    .tasks
                    .get(&(kind, number))
                    .map(|task| task.encode_to_vec())
            }
            _ => None,
        }
    }

    /// All rows, sorted by key.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let cluster = std::iter::once((cluster_key(), self.cluster.encode_to_vec()));
        let jobs = self
            .jobs
            .values()
            .map(|entry| (job_key(&entry.job.id), entry.job.encode_to_vec()));
        let keys = self.keys.values();
        let keys = keys.map(|key| (key_key(&key.id), key.encode_to_vec()));
        let nodes = self
            .nodes
            .values()
            .map(|node| (node_key(node.id), node.encode_to_vec()));
        let quotas = self.quotas.values();
        let quotas = quotas.map(|quota| (quota_key(&quota.tenant), quota.encode_to_vec()));
        let tasks = self.jobs.values().flat_map(|entry| {
            entry
                .tasks
                .iter()
                .map(|(key, task)| (task_key(&entry.job.id, *key), task.encode_to_vec()))
        });
        cluster
            .chain(jobs)
            .chain(keys)
            .chain(nodes)
            .chain(quotas)
            .chain(tasks)
    }

    /// Rebuilds the table and its indexes from rows in the order of
    /// [`State::rows`] (jobs before their tasks).
    ///
    /// # Errors
    /// [`ModelError`] for a row that is not ours; nothing is guessed.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, ModelError> {
        let mut state = State::default();
        for (key, value) in rows {
            let name = || String::from_utf8_lossy(&key).into_owned();
            match key.first() {
                Some(b'c') => state.cluster = row(&value)?,
                Some(b'n') => {
                    let node: Node = row(&value)?;
                    state.nodes.insert(node.id, node);
                }
                Some(b'j') => state.put_job(row(&value)?),
                Some(b'k') => state.put_key(row(&value)?),
                Some(b'q') => state.put_quota(row(&value)?),
                Some(b't') => {
                    let job = name()
                        .split('/')
                        .nth(1)
                        .map(str::to_string)
                        .unwrap_or_default();
                    let task = row(&value)?;
                    if !state.change_tasks(&job, |entry| entry.put_task(task)) {
                        return Err(ModelError::BadRow { key: name() });
                    }
                }
                _ => return Err(ModelError::BadRow { key: name() }),
            }
        }
        Ok(state)
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
            let tombstone = (job.deleted_cluster_ms, id.clone());
            self.tombstones.insert_mut(tombstone);
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
