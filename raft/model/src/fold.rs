//! Folding: what is kept of an ended job when its tasks leave the table. The
//! row counts them up. Of a finished job all of them are kept as a blob, the
//! history, which every home makes from the rows by itself; of one that failed
//! or was cancelled the row keeps some that failed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use prost::Message;

use crate::{
    error::ModelError,
    job_entry::JobEntry,
    limits::{
        FAILED_TASKS_BYTES_MAX, FAILED_TASKS_KEPT_MAX, FOLD_TASKS_PER_ENTRY_MAX,
        FOLDS_PER_ENTRY_MAX,
    },
    rows::{Task, TaskKind, TaskState},
    state::State,
    summary::{KindSummary, Summary},
};

/// The tasks of a finished job, in order, as they were when it ended.
#[derive(Clone, PartialEq, Message)]
pub struct History {
    #[prost(message, repeated, tag = "1")]
    pub tasks: Vec<Task>,
}

/// A history's bytes, and their name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBlob {
    pub bytes: Vec<u8>,
    /// BLAKE3 of the bytes, hex.
    pub hash: String,
}

impl History {
    /// The history of a job whose tasks are rows still. They don't change once
    /// the job has ended, so every replica comes to the same bytes.
    pub fn blob(entry: &JobEntry) -> HistoryBlob {
        let tasks = entry.tasks.values().map(|task| Task::clone(task)).collect();
        let bytes = History { tasks }.encode_to_vec();
        let hash = blake3::hash(&bytes).to_hex().to_string();
        HistoryBlob { bytes, hash }
    }

    /// Reads a history's blob.
    ///
    /// # Errors
    /// [`ModelError::Undecodable`] for foreign bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelError> {
        <History as Message>::decode(bytes).map_err(|error| ModelError::Undecodable {
            what: "history",
            cause: error.to_string(),
        })
    }
}

/// Of these jobs, those whose tasks may leave the table in one entry; one at
/// least, however many tasks it has.
pub fn foldable_at_once<'a>(
    jobs: impl Iterator<Item = &'a Arc<JobEntry>>,
) -> Vec<&'a Arc<JobEntry>> {
    let mut tasks = 0;
    jobs.take(FOLDS_PER_ENTRY_MAX)
        .take_while(|entry| {
            let first = tasks == 0;
            tasks += entry.tasks.len().max(1);
            first || tasks <= FOLD_TASKS_PER_ENTRY_MAX
        })
        .collect()
}

pub(crate) fn summary_of(entry: &JobEntry) -> Summary {
    let mut kinds: BTreeMap<TaskKind, KindSummary> = BTreeMap::new();
    let mut nodes = BTreeSet::new();
    for task in entry.tasks.values() {
        let kind = kinds.entry(task.kind()).or_default();
        kind.kind = task.kind;
        kind.total += 1;
        kind.attempts += u64::from(task.last_attempt());
        if task.state() == TaskState::Done {
            kind.done += 1;
            kind.frames += task.frames;
            kind.bytes_out += task.bytes_out;
        }
        nodes.insert(task.node);
    }
    nodes.remove(&0);
    Summary {
        kinds: kinds.into_values().collect(),
        nodes: nodes.len() as u32,
        engines: entry.made_by_engines(),
    }
}

/// The tasks that failed most, with as many of their latest failures as a row
/// has room for, in order.
pub(crate) fn failed_tasks(entry: &JobEntry) -> Vec<Task> {
    let failed = entry
        .tasks
        .values()
        .filter(|task| !task.failures.is_empty());
    let mut failed: Vec<&Arc<Task>> = failed.collect();
    // Those that failed by the work itself, and still wait for it, say why.
    failed.sort_by_key(|task| {
        let done = task.state() == TaskState::Done;
        let failures = (task.work_failures, task.node_faults);
        (done, Reverse(failures), task.key())
    });
    let mut room = FAILED_TASKS_BYTES_MAX;
    let mut kept = Vec::new();
    for task in failed.into_iter().take(FAILED_TASKS_KEPT_MAX) {
        let mut task = Task::clone(task);
        while task.encoded_len() > room && !task.failures.is_empty() {
            task.failures.remove(0);
        }
        if !task.failures.is_empty() {
            room -= task.encoded_len();
            kept.push(task);
        }
    }
    kept.sort_by_key(Task::key);
    kept
}

impl State {
    /// Jobs that ended without an output, and whose tasks are rows still.
    pub(crate) fn to_be_folded(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        let unfolded = self.index.unfolded(false);
        unfolded.filter_map(|age| self.at_age(age))
    }
}

impl Summary {
    /// The tasks of one kind.
    pub fn of(&self, kind: TaskKind) -> KindSummary {
        let mut kinds = self.kinds.iter();
        let found = kinds.find(|counted| counted.kind == i32::from(kind));
        found.copied().unwrap_or_default()
    }
}
