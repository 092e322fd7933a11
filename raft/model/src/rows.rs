//! The rows of the replicated table, each a prost message that evolves by
//! adding tags. State keeps them in memory; storage keeps their bytes.
//!
//! ```text
//! job:   UPLOADING -> ANALYZING -> ENCODING -> ASSEMBLING -> SUCCEEDED
//!            \____________\____________\____________\------> FAILED | CANCELLED
//!                       ^-------------^--------------' (planned anew under another build)
//!        any of them ---------------------------------------> DELETED -> (purged)
//! (A shard that was planned early runs while its job is UPLOADING or ANALYZING.)
//!
//! task:  PENDING -> RUNNING -> DONE
//!           ^----------'  (released: failed, stopped or its node was lost)
//!           ^---------------------'  (reopened: its bytes are gone everywhere)
//! ```

pub use crate::failure::{Failure, FailureClass};
pub use crate::node_rows::{ClusterRow, JoinToken, Node, NodeStanding};
pub use crate::problem::Problem;
pub use crate::row_parts::Home;
pub use crate::shard_range::ShardRange;
use crate::{
    early::Early,
    engine_rows::Claim,
    limits::{SMALL_JOB_FRAMES, SMALL_SOURCE_BYTES},
    measurement::Measurement,
    outside::Outside,
    rate_row::Rate,
    reuse::Reuse,
    summary::Summary,
    twin::Twin,
};

/// A task's name within its job.
pub type TaskKey = (TaskKind, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum JobState {
    /// Its source is not sealed yet.
    Uploading = 0,
    /// The sealed source is being scanned and planned.
    Analyzing = 1,
    /// Shards and audio are being encoded.
    Encoding = 2,
    /// The homes are making the one file.
    Assembling = 3,
    /// The output and its proof are on every home.
    Succeeded = 4,
    /// It can't be done; `problem` says why.
    Failed = 5,
    Cancelled = 6,
    /// A tombstone, kept so that a late retry finds it.
    Deleted = 7,
}

impl JobState {
    /// Whether nothing more happens to the job by itself.
    pub fn ended(self) -> bool {
        matches!(
            self,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Deleted
        )
    }

    /// Whether the homes keep the job's bytes: all states but those that ended
    /// without an output to ask for.
    pub fn keeps_bytes(self) -> bool {
        !matches!(
            self,
            JobState::Failed | JobState::Cancelled | JobState::Deleted
        )
    }

    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Uploading => "uploading",
            JobState::Analyzing => "analyzing",
            JobState::Encoding => "encoding",
            JobState::Assembling => "assembling",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Deleted => "deleted",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TaskKind {
    /// Scans the source and makes the plan.
    Analyze = 0,
    /// Encodes one audio track, whole; its number is the track's in the output.
    Audio = 1,
    /// Encodes one range of frames.
    Shard = 2,
    /// Makes the output on one home; its number is that home's node id.
    Assemble = 3,
    /// Takes subtitles and attachments out of the source.
    Extras = 4,
    /// Encodes a sampled shard at some rate factor.
    Probe = 25,
    /// Compares a part of a finished job's output with its source.
    Measure = 80,
}

impl TaskKind {
    /// All of them, in the order of a job's life.
    pub const ALL: [TaskKind; 7] = [
        TaskKind::Analyze,
        TaskKind::Audio,
        TaskKind::Probe,
        TaskKind::Shard,
        TaskKind::Extras,
        TaskKind::Assemble,
        TaskKind::Measure,
    ];

    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            TaskKind::Analyze => "analyze",
            TaskKind::Audio => "audio",
            TaskKind::Shard => "shard",
            TaskKind::Assemble => "assemble",
            TaskKind::Extras => "extras",
            TaskKind::Probe => "probe",
            TaskKind::Measure => "measure",
        }
    }

    /// Whether its result is a part of the output. The homes keep parts until
    /// they have assembled them.
    pub fn is_part(self) -> bool {
        matches!(self, TaskKind::Shard | TaskKind::Audio | TaskKind::Extras)
    }

    /// The kind that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        TaskKind::ALL.into_iter().find(|kind| kind.name() == word)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TaskState {
    /// It waits for a node.
    Pending = 0,
    /// It is assigned to `node` as `attempt`.
    Running = 1,
    /// Its result is recorded.
    Done = 2,
}

/// A job's own row.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Job {
    /// Derived from tenant and request id; see [`crate::job_id`].
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub tenant: String,
    /// The client's name for this request (P5).
    #[prost(string, tag = "3")]
    pub request_id: String,
    #[prost(enumeration = "JobState", tag = "4")]
    pub state: i32,
    #[prost(message, required, tag = "5")]
    pub spec: crate::spec::Spec,
    /// The file's name at the client, for display.
    #[prost(string, tag = "6")]
    pub source_name: String,
    #[prost(uint64, tag = "7")]
    pub source_bytes: u64,
    /// BLAKE3 of length, head and tail: tells two sources apart early.
    #[prost(string, tag = "8")]
    pub source_fingerprint: String,
    /// The log index of the latest change of homes; 0 before the first.
    #[prost(uint64, tag = "9")]
    pub epoch: u64,
    /// The nodes that keep the job's bytes: those of the epoch, and those that
    /// retire.
    #[prost(message, repeated, tag = "10")]
    pub homes: Vec<Home>,
    /// Blob with the ordered chunk hashes, once sealed.
    #[prost(string, tag = "11")]
    pub manifest: String,
    /// BLAKE3 over the ordered chunk hashes, once sealed.
    #[prost(string, tag = "12")]
    pub source_root: String,
    /// Blob of the analysis, once analysed.
    #[prost(string, tag = "13")]
    pub index_hash: String,
    /// How many shards the plan has so far.
    #[prost(uint32, tag = "14")]
    pub shards_total: u32,
    /// Frames promised by the source's packets.
    #[prost(uint64, tag = "15")]
    pub frames_total: u64,
    /// How many audio tracks the output has.
    #[prost(uint32, tag = "16")]
    pub audio_tracks: u32,
    /// Whether the film was collapsed to one shard after the plan was made.
    #[prost(bool, tag = "17")]
    pub single: bool,
    /// Why the film is one shard; empty otherwise.
    #[prost(string, tag = "18")]
    pub plan_note: String,
    /// The encoder build all its tasks run under (P1).
    #[prost(string, tag = "19")]
    pub build: String,
    /// BLAKE3 of the output, once the homes agree.
    #[prost(string, tag = "20")]
    pub output_hash: String,
    #[prost(uint64, tag = "21")]
    pub output_bytes: u64,
    /// Blob of the proof (P3).
    #[prost(string, tag = "22")]
    pub proof_hash: String,
    /// Why it failed.
    #[prost(message, optional, tag = "23")]
    pub problem: Option<Problem>,
    /// Its age among jobs: made from the log index of its creation.
    #[prost(uint64, tag = "24")]
    pub created_index: u64,
    /// Wall clock, for display only.
    #[prost(uint64, tag = "25")]
    pub created_unix_ms: u64,
    /// Wall clock, for display only.
    #[prost(uint64, tag = "26")]
    pub ended_unix_ms: u64,
    /// Cluster time of its deletion: says when its tombstone may go.
    #[prost(uint64, tag = "27")]
    pub deleted_cluster_ms: u64,
    /// Its tasks, counted, once they are no rows any more.
    #[prost(message, optional, tag = "30")]
    pub summary: Option<Summary>,
    /// Of a finished job: the blob with its tasks, once they are no rows.
    #[prost(string, tag = "31")]
    pub history_hash: String,
    /// Of a finished job: the homes that have that blob, until all have it.
    #[prost(uint64, repeated, tag = "32")]
    pub history_at: Vec<u64>,
    /// Of a folded job without an output: tasks that failed, with why.
    #[prost(message, repeated, tag = "33")]
    pub failed_tasks: Vec<Task>,
    /// Cluster time at which its upload was last known to make progress.
    #[prost(uint64, tag = "34")]
    pub touched_cluster_ms: u64,
    /// Cluster time at which its tasks left the table.
    #[prost(uint64, tag = "35")]
    pub folded_cluster_ms: u64,
    /// How often it was planned anew.
    #[prost(uint32, tag = "40")]
    pub replans: u32,
    /// Tasks made from now on count their attempts from above this, so that no
    /// number of an earlier plan comes again and its late results stay fenced off.
    #[prost(uint32, tag = "41")]
    pub attempts_before: u32,
    /// Why it was last planned anew; empty otherwise. `plan_note` begins with it.
    #[prost(string, tag = "42")]
    pub replan_note: String,
    /// Whether its homes keep its sealed source for a while after it has failed or
    /// was cancelled.
    #[prost(bool, tag = "50")]
    pub source_kept: bool,
    /// What it has to do with the outside, if anything.
    #[prost(message, optional, tag = "70")]
    pub outside: Option<Outside>,
    /// How its output was compared with its source after it had succeeded, if that was
    /// asked for.
    #[prost(message, optional, tag = "80")]
    pub measurement: Option<Measurement>,
    /// Homes that hold its source, see [`Job::holds_source`].
    #[prost(uint64, repeated, tag = "81")]
    pub source_at: Vec<u64>,
    /// Jobs of a higher one go first within their tenant's.
    #[prost(sint32, tag = "60")]
    pub priority: i32,
    /// How often a task's own failures are tried again before the job fails;
    /// what is not said is judged by how many failed and where.
    #[prost(uint32, optional, tag = "61")]
    pub max_retries: Option<u32>,
    /// The equal job whose output it takes, or is offered while it is not analysed.
    #[prost(message, optional, tag = "90")]
    pub reuse: Option<Reuse>,
    /// Whether its analysis writes down the plan of the sealed source: nothing is
    /// planned early any more.
    #[prost(bool, tag = "100")]
    pub plan_sealed: bool,
    /// What the encoding of one of its shards takes, in MiB; 0 where that is not known.
    #[prost(uint32, tag = "110")]
    pub shard_memory_mib: u32,
    /// Whether it takes single parts that were made before, and others may take its.
    #[prost(bool, tag = "111")]
    pub shares_parts: bool,
    /// How long its pictures last, and how its rate factor is found, if it aims at something.
    #[prost(uint64, tag = "120")]
    pub duration_us: u64,
    #[prost(message, optional, tag = "121")]
    pub rate: Option<Rate>,
    /// When it should be done, by the wall clock of whoever asked for it; 0 for no
    /// such time. Earlier ones go first among jobs of one priority. Nothing else
    /// follows from it.
    #[prost(uint64, tag = "130")]
    pub deadline_unix_ms: u64,
}

impl Job {
    /// Whether it is done in moments, as far as is known: of one that is not analysed
    /// its bytes alone are.
    pub(crate) fn is_small(&self) -> bool {
        self.source_bytes <= SMALL_SOURCE_BYTES && self.frames_total <= SMALL_JOB_FRAMES
    }

    /// The homes of its epoch: new bytes go to all of these, and to no other.
    pub fn current_homes(&self) -> impl Iterator<Item = &Home> {
        self.homes.iter().filter(|home| !home.retiring)
    }

    /// The homes that another has taken the place of, as it is not filled yet.
    pub fn retiring_homes(&self) -> impl Iterator<Item = &Home> {
        self.homes.iter().filter(|home| home.retiring)
    }

    /// Whether some home of the epoch does not hold all of the job's bytes yet,
    /// or has not said so since it returned.
    pub fn is_filling(&self) -> bool {
        self.current_homes().any(Home::is_unsure)
    }
}

/// A unit of work of one job.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Task {
    #[prost(enumeration = "TaskKind", tag = "1")]
    pub kind: i32,
    /// The number of the shard or audio track; the home's node id for an
    /// assembly; 0 otherwise.
    #[prost(uint32, tag = "2")]
    pub number: u32,
    #[prost(enumeration = "TaskState", tag = "3")]
    pub state: i32,
    /// The latest attempt. A result of any other one is late, but for that of a twin.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
    /// The node of the latest attempt.
    #[prost(uint64, tag = "5")]
    pub node: u64,
    /// Shards only: see [`Task::range`].
    #[prost(sint64, tag = "6")]
    pub from_pts: i64,
    /// Shards only.
    #[prost(sint64, tag = "7")]
    pub to_pts: i64,
    /// Frames promised by the packets; once done, frames encoded.
    #[prost(uint64, tag = "8")]
    pub frames: u64,
    /// BLAKE3 of the result, once done. A reopened task keeps it, for comparison.
    #[prost(string, tag = "9")]
    pub hash: String,
    /// The size of the result.
    #[prost(uint64, tag = "10")]
    pub bytes_out: u64,
    /// How many source bytes were read.
    #[prost(uint64, tag = "11")]
    pub bytes_in: u64,
    /// Blob with times and complaints (shards, audio) or the proof (assembly).
    #[prost(string, tag = "12")]
    pub report: String,
    /// The latest attempts without a result.
    #[prost(message, repeated, tag = "13")]
    pub failures: Vec<Failure>,
    /// Wall clock of the latest assignment, for display only.
    #[prost(uint64, tag = "14")]
    pub started_unix_ms: u64,
    /// Wall clock of the result, for display only.
    #[prost(uint64, tag = "15")]
    pub ended_unix_ms: u64,
    /// Attempts that ended by a fault of the work itself.
    #[prost(uint32, tag = "16")]
    pub work_failures: u32,
    /// Attempts that ended by a fault of their node.
    #[prost(uint32, tag = "17")]
    pub node_faults: u32,
    /// Of a shard or audio track that was begun before the source was sealed, or
    /// before the plan was whole.
    #[prost(message, optional, tag = "47")]
    pub early: Option<Early>,
    /// See [`Task::made_by`]; of what was begun early that says it.
    #[prost(string, tag = "57")]
    pub part_key: String,
    /// The job that had made this part before; empty where it was made for this one.
    #[prost(string, tag = "58")]
    pub taken_from: String,
    /// The attempt beside `attempt`, if there was one.
    #[prost(message, optional, tag = "59")]
    pub twin: Option<Twin>,
    /// What an engine gave, where a member makes it as well.
    #[prost(message, optional, tag = "65")]
    pub claim: Option<Claim>,
    /// Hundredths of a rate factor, of a probe, and of a shard that has not its film's.
    #[prost(uint32, tag = "67")]
    pub rate_centi: u32,
    /// Bytes of its frames, once done, and their quality on the job's scale in millionths.
    #[prost(uint64, tag = "68")]
    pub payload: u64,
    #[prost(uint64, tag = "69")]
    pub score_micro: u64,
    /// Of a probe: the shard that it encodes.
    #[prost(uint32, tag = "70")]
    pub shard: u32,
    /// The name of the engine that made it, as it was called then.
    #[prost(string, tag = "85")]
    pub engine_name: String,
}

impl Task {
    /// Whether it may be given out before its source is sealed or its plan whole.
    /// What has failed by then waits for that: there may be nothing wrong with it.
    pub(crate) fn may_begin_early(&self) -> bool {
        let mut failures = self.failures.iter();
        failures.all(|failure| failure.class() == FailureClass::NodeLost)
    }

    /// Of a shard or audio track: a hash over all that determines its bytes beside
    /// source and build. Empty where that is not known.
    pub fn made_by(&self) -> &str {
        match &self.early {
            Some(early) => &early.key,
            None => &self.part_key,
        }
    }

    pub(crate) fn pending(kind: TaskKind, number: u32) -> Self {
        Task {
            kind: kind.into(),
            number,
            state: TaskState::Pending.into(),
            ..Default::default()
        }
    }

    /// A shard that waits for a node.
    pub(crate) fn shard(number: u32, range: &ShardRange) -> Self {
        let ShardRange {
            from_pts,
            to_pts,
            frames,
        } = *range;
        Task {
            from_pts,
            to_pts,
            frames,
            ..Task::pending(TaskKind::Shard, number)
        }
    }

    /// Its name within the job.
    pub fn key(&self) -> TaskKey {
        (self.kind(), self.number)
    }

    /// The range that a shard encodes. Its frames are those promised while
    /// the task has never been done.
    pub fn range(&self) -> ShardRange {
        ShardRange {
            from_pts: self.from_pts,
            to_pts: self.to_pts,
            frames: self.frames,
        }
    }

    /// Whether its latest attempt was lost with the node that ran it.
    pub fn was_lost(&self) -> bool {
        let last = self.failures.last();
        last.is_some_and(|failure| failure.class() == FailureClass::NodeLost)
    }
}
