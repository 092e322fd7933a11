//! Backups, as far as the table decides: which blobs of a job belong into one, and
//! the table of the cluster that is made from one. That is a cluster of a single
//! node, which has the bytes that were in the backup and no others: a job whose bytes
//! are not among them ends, by name, and is never taken for one that has them.

use std::sync::Arc;

use prost::Message;

use crate::{
    error::ModelError,
    job_entry::JobEntry,
    limits::FEATURE_LEVEL,
    outside::Webhook,
    problem::Problem,
    row_parts::Home,
    rows::{ClusterRow, Job, JobState, Task, TaskKind},
    state::State,
    table_rows::{cluster_key, job_key, task_key},
};

/// Which bytes go into a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupMedia {
    /// None: jobs are known by their rows alone.
    None,
    /// Finished films, with their proofs and histories.
    Outputs,
    /// Finished films, and the sealed sources of jobs that are not finished.
    All,
}

impl BackupMedia {
    /// All of them, the least first.
    pub const ALL: [BackupMedia; 3] = [BackupMedia::None, BackupMedia::Outputs, BackupMedia::All];

    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            BackupMedia::None => "none",
            BackupMedia::Outputs => "outputs",
            BackupMedia::All => "all",
        }
    }

    /// The kind that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        BackupMedia::ALL.into_iter().find(|it| it.name() == word)
    }
}

/// The blobs of a job without which a backup does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupBlobs {
    /// Whether the first of them is a manifest, whose chunks belong to it too.
    pub source: bool,
    pub blobs: Vec<String>,
    /// What comes along where it is there: how the output compares with its source.
    pub beside: Vec<String>,
}

/// What of a job is in a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InBackup {
    /// All without which the backup does not have it.
    pub whole: bool,
    /// And all that comes along.
    pub beside: bool,
}

impl JobEntry {
    /// What of a job has to be there for it to go on, or to be fetched. Of a job that
    /// is made its source is enough: the rest is made again, to the same bytes (P1).
    pub fn backup_blobs(&self) -> BackupBlobs {
        let job = &self.job;
        let unfinished = !job.state().ended() && !job.manifest.is_empty();
        match job.state() {
            JobState::Succeeded => BackupBlobs {
                source: false,
                blobs: self.film_blobs(),
                beside: job.measured_blobs().cloned().collect(),
            },
            _ if unfinished || job.keeps_source() => BackupBlobs {
                source: true,
                blobs: vec![job.manifest.clone()],
                beside: Vec::new(),
            },
            _ => BackupBlobs::default(),
        }
    }
}

/// A job, by its id and the name of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedJob {
    pub id: String,
    pub name: String,
}

/// What became of the jobs of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Finished, and their films are there.
    pub finished: u64,
    /// Ended without an output, as before.
    pub ended: u64,
    /// Made again from their sources.
    pub again: Vec<NamedJob>,
    /// They wait for their source: an upload begins anew, a URL is fetched again.
    pub waiting: Vec<NamedJob>,
    /// Finished before, and failed now: their films were not in the backup.
    pub without_output: Vec<NamedJob>,
    /// Not finished before, and failed now: their sources were not in it.
    pub without_source: Vec<NamedJob>,
    /// Of jobs that had failed: they can't be tried again any more.
    pub sources_gone: u64,
    pub keys: u64,
}

/// The node that a cluster is made on.
#[derive(Clone, Copy, Debug)]
pub struct RestoredOn {
    pub node: u64,
    /// Up to which index its log counts as applied. No row was written after it.
    pub index: u64,
    /// The wall clock, for display only.
    pub unix_ms: u64,
}

impl State {
    /// The table of a cluster of one node that has those bytes of each job that `has`
    /// says.
    ///
    /// # Errors
    /// [`ModelError::UnknownField`] for the table of a later version.
    pub fn restored(
        &self,
        on: RestoredOn,
        has: impl Fn(&JobEntry) -> InBackup,
    ) -> Result<(State, Restored), ModelError> {
        if self.cluster.feature_level > FEATURE_LEVEL {
            return Err(ModelError::UnknownField { what: "table" });
        }
        let mut said = Restored {
            keys: self.keys().len() as u64,
            ..Default::default()
        };
        let cluster = ClusterRow {
            voters_wanted: 0,
            // An id is given once: nodes of before may still run somewhere.
            last_node: self
                .nodes
                .keys()
                .copied()
                .fold(self.cluster.last_node, u64::max),
            ..self.cluster.clone()
        };
        let mut rows = vec![(cluster_key(), cluster.encode_to_vec())];
        for entry in self.jobs() {
            let webhook = self
                .webhooks
                .get(&entry.job.tenant)
                .map(|webhook| &**webhook);
            let (job, tasks) = restored_job(&entry, (on, webhook), has(&entry), &mut said);
            let id = job.id.clone();
            rows.push((job_key(&id), job.encode_to_vec()));
            let of_tasks = tasks.iter();
            rows.extend(of_tasks.map(|task| (task_key(&id, task.key()), task.encode_to_vec())));
        }
        // Nodes and their tokens belong to the cluster that was; kept parts are not in
        // a backup.
        let others = self.rows();
        rows.extend(
            others.filter(|(key, _)| matches!(key.first(), Some(b'k' | b'q' | b'w' | b'a' | b'e'))),
        );
        Ok((State::from_rows(rows)?, said))
    }
}

fn restored_job(
    entry: &Arc<JobEntry>,
    (on, webhook): (RestoredOn, Option<&Webhook>),
    InBackup { whole, beside }: InBackup,
    said: &mut Restored,
) -> (Job, Vec<Task>) {
    let mut job = entry.job.clone();
    if !job.homes.is_empty() {
        job.epoch = on.index;
        job.homes = vec![Home {
            node: on.node,
            filled: true,
            ..Default::default()
        }];
    }
    job.history_at.clear();
    // Sources of finished films are in none either.
    job.source_at.clear();
    if job.is_measuring() || !whole || !beside {
        job.measurement = None;
    }
    // Parts are in no backup, so that nobody is to be promised any.
    job.shares_parts = false;
    let named = NamedJob {
        id: job.id.clone(),
        name: job.source_name.clone(),
    };
    let tasks = || {
        let tasks = entry.tasks.values();
        let tasks = tasks.filter(|task| task.kind() != TaskKind::Measure);
        tasks.map(|task| Task::clone(task)).collect()
    };
    match job.state() {
        JobState::Succeeded if whole => {
            said.finished += 1;
            return (job, tasks());
        }
        JobState::Deleted => return (job, tasks()),
        JobState::Failed | JobState::Cancelled => {
            said.ended += 1;
            if job.keeps_source() && !whole {
                job.source_kept = false;
                said.sources_gone += 1;
            }
            return (job, tasks());
        }
        JobState::Uploading => said.waiting.push(named),
        JobState::Succeeded => {
            said.without_output.push(named);
            let cause = format!(
                "its film ({}, {} bytes) is not in the backup that this cluster was made from",
                job.output_hash, job.output_bytes
            );
            fail(&mut job, (on, webhook), "output-not-in-backup", &cause);
        }
        _ if whole => said.again.push(named),
        _ => {
            said.without_source.push(named);
            let cause = "it was not finished, and its source is not in the backup that this \
                cluster was made from";
            fail(&mut job, (on, webhook), "source-not-in-backup", cause);
        }
    }
    begin_anew(&mut job, entry.last_attempt());
    // That of an upload is made when it is sealed.
    let analyzed = job.state() == JobState::Analyzing;
    let analysis = analyzed.then(|| Task::pending(TaskKind::Analyze, 0));
    (job, analysis.into_iter().collect())
}

fn fail(job: &mut Job, (on, webhook): (RestoredOn, Option<&Webhook>), kind: &str, cause: &str) {
    let hint = "submit the file again, under another request id";
    job.problem = Some(Problem::new(kind, cause, hint));
    job.state = JobState::Failed.into();
    job.ended_unix_ms = on.unix_ms;
    job.plan_note.clear();
    job.replan_note.clear();
    job.source_kept = false;
    // What was to be sent of before is not true any more, or not there.
    job.close_source_url();
    job.give_up_deliveries();
    job.add_deliveries(webhook);
}

/// Drops all that was made of a job's source. Attempts are counted on, as results of
/// before may still be on their way to whoever follows the job.
fn begin_anew(job: &mut Job, last_attempt: u32) {
    job.forget_analysis(last_attempt);
    if !job.state().ended() && job.state() != JobState::Uploading {
        job.state = JobState::Analyzing.into();
        job.replan_note = "it was restored from a backup".into();
        job.plan_note = job.replan_note.clone();
    }
    job.output_hash.clear();
    job.proof_hash.clear();
    job.history_hash.clear();
    job.output_bytes = 0;
    job.summary = None;
}
