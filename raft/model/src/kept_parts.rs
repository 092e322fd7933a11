//! Single parts that were made before: shards and audio tracks by what determines
//! their bytes. A job takes those of its tenant's other jobs of the same source under
//! the same build, and its own of before it was tried again or planned anew. Of a job
//! whose tasks are rows these say it; of others a row of kept parts does.

use prost::Message;
use rpds::RedBlackTreeMapSync as Map;
use std::sync::Arc;

use crate::{
    job_entry::JobEntry,
    limits::KEPT_PARTS_PER_JOB_MAX,
    rows::{Job, JobState, Problem, Task, TaskKey, TaskKind, TaskState},
    spec::Spec,
};

/// Parts of a job whose tasks have left the table, or were given up with its plan.
/// Its homes have their bytes for as long as this row is there.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeptParts {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The job's age.
    #[prost(uint64, tag = "2")]
    pub created_index: u64,
    #[prost(string, tag = "3")]
    pub tenant: String,
    /// BLAKE3 over the chunk hashes of the source.
    #[prost(string, tag = "8")]
    pub source_root: String,
    /// Short for tenant, what the client said of the source before it was sealed, and
    /// the picture's options.
    #[prost(fixed64, tag = "4")]
    pub likeness: u64,
    /// The build that they were made under.
    #[prost(string, tag = "5")]
    pub build: String,
    /// Cluster time from which on they have been kept.
    #[prost(uint64, tag = "6")]
    pub since_cluster_ms: u64,
    /// In the order of their tasks.
    #[prost(message, repeated, tag = "7")]
    pub parts: Vec<KeptPart>,
    /// Whether the job has an output: its parts are kept for others alone.
    #[prost(bool, tag = "9")]
    pub finished: bool,
}

/// What there is to know of a part.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeptPart {
    #[prost(enumeration = "TaskKind", tag = "1")]
    pub kind: i32,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    /// See [`Task::made_by`].
    #[prost(string, tag = "3")]
    pub made_by: String,
    #[prost(string, tag = "4")]
    pub hash: String,
    #[prost(string, tag = "5")]
    pub report: String,
    #[prost(uint64, tag = "6")]
    pub bytes_out: u64,
    #[prost(uint64, tag = "7")]
    pub frames: u64,
}

/// Lets the parts of a job go that were kept for others.
#[derive(Clone, PartialEq, Message)]
pub struct DropParts {
    #[prost(string, tag = "1")]
    pub job: String,
    /// Since when they had been kept, when the proposer looked.
    #[prost(uint64, tag = "2")]
    pub since_cluster_ms: u64,
}

impl KeptParts {
    fn time(&self) -> (bool, u64, u64) {
        (self.finished, self.since_cluster_ms, self.created_index)
    }
}

impl KeptPart {
    pub(crate) fn of(task: &Task) -> Self {
        KeptPart {
            kind: task.kind,
            number: task.number,
            made_by: task.made_by().to_string(),
            hash: task.hash.clone(),
            report: task.report.clone(),
            bytes_out: task.bytes_out,
            frames: task.frames,
        }
    }

    pub(crate) fn task(&self) -> TaskKey {
        (self.kind(), self.number)
    }

    /// Has a task be done by this part.
    pub(crate) fn complete(self, task: &mut Task, of: &str) {
        task.state = TaskState::Done.into();
        task.taken_from = of.to_string();
        task.hash = self.hash;
        task.report = self.report;
        task.bytes_out = self.bytes_out;
        task.frames = self.frames;
    }
}

/// Short for what is hashed: others may have the same.
fn short(fields: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

fn source_key(tenant: &str, source_root: &str) -> u64 {
    short(&[tenant.as_bytes(), source_root.as_bytes()])
}

impl Job {
    /// Whether its homes may have its parts still.
    pub(crate) fn holds_parts(&self) -> bool {
        self.state() == JobState::Succeeded || !self.state().ended() || self.keeps_source()
    }

    /// Short for tenant and sealed source.
    pub(crate) fn source_key(&self) -> u64 {
        source_key(&self.tenant, &self.source_root)
    }

    /// Short for all that tells that its shards may have been made before, while its
    /// source is not known.
    pub(crate) fn likeness(&self) -> u64 {
        short(&[
            self.tenant.as_bytes(),
            self.source_fingerprint.as_bytes(),
            &self.source_bytes.to_le_bytes(),
            &self.spec.pictures_alone().encode_to_vec(),
        ])
    }
}

impl Spec {
    /// These options, as far as they change pictures: of all others the neutral ones.
    fn pictures_alone(&self) -> Spec {
        let neutral = Spec::default();
        Spec {
            audio: neutral.audio,
            audio_bitrate: neutral.audio_bitrate,
            container: neutral.container,
            loudness_mlufs: neutral.loudness_mlufs,
            audio_tracks: neutral.audio_tracks,
            subtitles: neutral.subtitles,
            strip_metadata: neutral.strip_metadata,
            keep_location: neutral.keep_location,
            ..self.clone()
        }
    }
}

impl JobEntry {
    /// The finished parts of a job that others may take, and it itself where it is
    /// made again: none of one whose parts did not fit together, or that two machines
    /// made differently.
    pub(crate) fn parts_to_keep(&self) -> impl Iterator<Item = KeptPart> {
        let job = &self.job;
        let problem = job.problem.as_ref().map(|problem| problem.kind.as_str());
        let assemblies = (TaskKind::Assemble, 0)..=(TaskKind::Assemble, u32::MAX);
        let mut assemblies = self.tasks.range(assemblies);
        let doubtful = problem == Some(Problem::NOT_REPRODUCIBLE)
            || assemblies.any(|(_, task)| task.work_failures > 0);
        let known = [&job.source_root, &job.build, &job.index_hash];
        let planned = job.shares_parts && !known.iter().any(|known| known.is_empty());
        let succeeded = job.state() == JobState::Succeeded;
        let held = job.holds_parts();
        let parts = self.tasks.values().filter(move |task| {
            let own = succeeded || task.taken_from.is_empty();
            let done = task.state() == TaskState::Done && !task.made_by().is_empty();
            planned && held && !doubtful && done && own && !task.is_by_engine()
        });
        let parts = parts.map(|task| KeptPart::of(task));
        parts.take(KEPT_PARTS_PER_JOB_MAX)
    }
}

/// All kept parts, by job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shelf {
    rows: Map<String, Arc<KeptParts>>,
    /// Index: jobs by source and age.
    by_source: Map<(u64, u64), String>,
    /// Index: how many rows there are of a likeness.
    by_likeness: Map<u64, u32>,
    /// Index: jobs, those that are finished apart, by the time from which on their
    /// parts have been kept, and age.
    by_time: Map<(bool, u64, u64), String>,
    /// How many parts there are.
    count: usize,
}

impl Shelf {
    pub fn get(&self, job: &str) -> Option<&Arc<KeptParts>> {
        self.rows.get(job)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// All rows, by job.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<KeptParts>> {
        self.rows.values()
    }

    pub fn put(&mut self, row: KeptParts) {
        self.remove(&row.job);
        let (job, age) = (row.job.clone(), row.created_index);
        self.count += row.parts.len();
        let source = source_key(&row.tenant, &row.source_root);
        self.by_source.insert_mut((source, age), job.clone());
        let alike = self.by_likeness.get(&row.likeness).copied().unwrap_or(0);
        self.by_likeness.insert_mut(row.likeness, alike + 1);
        self.by_time.insert_mut(row.time(), job.clone());
        self.rows.insert_mut(job, Arc::new(row));
    }

    /// Takes the parts of a job out.
    pub fn remove(&mut self, job: &str) -> Option<Arc<KeptParts>> {
        let row = self.rows.get(job)?.clone();
        self.count -= row.parts.len();
        let source = source_key(&row.tenant, &row.source_root);
        self.by_source.remove_mut(&(source, row.created_index));
        let alike = self.by_likeness.get(&row.likeness).copied().unwrap_or(0);
        match alike {
            0 | 1 => drop(self.by_likeness.remove_mut(&row.likeness)),
            alike => self.by_likeness.insert_mut(row.likeness, alike - 1),
        }
        self.by_time.remove_mut(&row.time());
        self.rows.remove_mut(job);
        Some(row)
    }

    /// The job whose parts have been kept longest, one that may be made again before
    /// those that are finished.
    pub fn oldest(&self) -> Option<&String> {
        self.by_time.values().next()
    }

    /// Rows of finished jobs, those that have been kept longest first.
    pub fn finished(&self) -> impl Iterator<Item = &Arc<KeptParts>> {
        let finished = self.by_time.range((true, 0, 0)..);
        finished.filter_map(|(_, job)| self.rows.get(job))
    }

    /// Jobs with kept parts of a source, the latest first.
    pub fn of_source(&self, source: u64) -> impl Iterator<Item = &Arc<KeptParts>> {
        let jobs = self.by_source.range((source, 0)..=(source, u64::MAX));
        jobs.rev().filter_map(|(_, job)| self.rows.get(job))
    }

    /// Whether there are parts of this likeness.
    pub fn has_like(&self, likeness: u64) -> bool {
        self.by_likeness.contains_key(&likeness)
    }
}
