//! The commands of the log. Each is conditional on what its proposer saw, so
//! that a duplicate or a late one changes nothing and gets the same reply.

use prost::Message;

pub use crate::reply::Reply;
use crate::{
    authorities::SetAuthorities,
    early::ChunksRead,
    engine_rows::{CreateEngine, RevokeEngine},
    housekeeping::{ExpireUpload, Fold, JobBounds, KeepHistory, TouchUpload},
    kept_parts::DropParts,
    keys::{CreateKey, RevokeKey, SetQuota},
    measuring::{EndMeasure, MeasureJob},
    member_commands::{AdmitNode, CreateToken, DrainNode, RemoveNode, SetVoters},
    outside::{FailFetch, NoteUpload, Outside, RecordDelivery, RemoveWebhook, SetWebhook},
    retry::{DropSource, RetryJob},
    reuse::DecideReuse,
    rows::{FailureClass, Problem, ShardRange, Task, TaskKey, TaskKind},
    spec::Spec,
};

/// A command in the log. At an unknown one (`None`) the node stops, lest replicas differ.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    #[prost(
        oneof = "Command",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 30, \
                31, 32, 33, 40, 41, 61, 71, 95, 96, 101, 102, 103, 104, 105, 111, 120, 121, 125"
    )]
    pub command: Option<Command>,
}

/// All that can change the table. Each variant's struct says what it does.
#[derive(Clone, PartialEq, prost::Oneof)]
#[allow(clippy::large_enum_variant, reason = "never held in numbers")]
pub enum Command {
    #[prost(message, tag = "1")]
    CreateJob(CreateJob),
    #[prost(message, tag = "2")]
    SetHomes(SetHomes),
    #[prost(message, tag = "3")]
    HomeFilled(HomeFilled),
    #[prost(message, tag = "4")]
    SealSource(SealSource),
    #[prost(message, tag = "5")]
    Assign(Assign),
    #[prost(message, tag = "6")]
    Release(Release),
    #[prost(message, tag = "7")]
    PlanAppend(PlanAppend),
    #[prost(message, tag = "8")]
    Complete(Complete),
    #[prost(message, tag = "9")]
    Reopen(Reopen),
    #[prost(message, tag = "10")]
    FailJob(FailJob),
    #[prost(message, tag = "11")]
    CancelJob(CancelJob),
    #[prost(message, tag = "12")]
    DeleteJob(DeleteJob),
    #[prost(message, tag = "13")]
    Tick(Tick),
    #[prost(message, tag = "14")]
    RegisterNode(RegisterNode),
    #[prost(message, tag = "15")]
    KeepHistory(KeepHistory),
    #[prost(message, tag = "16")]
    Fold(Fold),
    #[prost(message, tag = "17")]
    TouchUpload(TouchUpload),
    #[prost(message, tag = "18")]
    ExpireUpload(ExpireUpload),
    #[prost(message, tag = "20")]
    Replan(Replan),
    #[prost(message, tag = "21")]
    CreateKey(CreateKey),
    #[prost(message, tag = "22")]
    RevokeKey(RevokeKey),
    #[prost(message, tag = "23")]
    SetQuota(SetQuota),
    #[prost(message, tag = "30")]
    SetWebhook(SetWebhook),
    #[prost(message, tag = "31")]
    RemoveWebhook(RemoveWebhook),
    #[prost(message, tag = "32")]
    RecordDelivery(RecordDelivery),
    #[prost(message, tag = "33")]
    FailFetch(FailFetch),
    #[prost(message, tag = "40")]
    RetryJob(RetryJob),
    #[prost(message, tag = "41")]
    DropSource(DropSource),
    #[prost(message, tag = "61")]
    DecideReuse(DecideReuse),
    #[prost(message, tag = "71")]
    DropParts(DropParts),
    #[prost(message, tag = "95")]
    CreateEngine(CreateEngine),
    #[prost(message, tag = "96")]
    RevokeEngine(RevokeEngine),
    #[prost(message, tag = "101")]
    CreateToken(CreateToken),
    #[prost(message, tag = "102")]
    AdmitNode(AdmitNode),
    #[prost(message, tag = "103")]
    SetVoters(SetVoters),
    #[prost(message, tag = "104")]
    DrainNode(DrainNode),
    #[prost(message, tag = "105")]
    RemoveNode(RemoveNode),
    #[prost(message, tag = "111")]
    SetAuthorities(SetAuthorities),
    #[prost(message, tag = "120")]
    MeasureJob(MeasureJob),
    #[prost(message, tag = "121")]
    EndMeasure(EndMeasure),
    #[prost(message, tag = "125")]
    NoteUpload(NoteUpload),
}

/// Which task, and which attempt at it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Message)]
pub struct AttemptKey {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(enumeration = "TaskKind", tag = "2")]
    pub kind: i32,
    #[prost(uint32, tag = "3")]
    pub number: u32,
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// Creates a job, or finds the one that the same request created before (P5).
#[derive(Clone, PartialEq, Message)]
pub struct CreateJob {
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// The client's name for the request.
    #[prost(string, tag = "2")]
    pub request_id: String,
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    /// File name, for display.
    #[prost(string, tag = "4")]
    pub source_name: String,
    #[prost(uint64, tag = "5")]
    pub source_bytes: u64,
    /// BLAKE3 of length, head and tail.
    #[prost(string, tag = "6")]
    pub source_fingerprint: String,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "7")]
    pub unix_ms: u64,
    /// How many there may be; an entry of an earlier version does not say, and
    /// its job's upload bears no stamp.
    #[prost(message, optional, tag = "8")]
    pub bounds: Option<JobBounds>,
    /// What it has to do with the outside, without deliveries.
    #[prost(message, optional, tag = "40")]
    pub outside: Option<Outside>,
    /// See [`crate::Job::priority`].
    #[prost(sint32, tag = "30")]
    pub priority: i32,
    /// See [`crate::Job::max_retries`].
    #[prost(uint32, optional, tag = "31")]
    pub max_retries: Option<u32>,
    /// See [`crate::Job::deadline_unix_ms`].
    #[prost(uint64, tag = "32")]
    pub deadline_unix_ms: u64,
}

/// Gives a job its first homes or new ones, and raises its epoch.
#[derive(Clone, PartialEq, Message)]
pub struct SetHomes {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch that the proposer saw (0: none yet).
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The new set. Homes that stay in it keep their `filled`.
    #[prost(uint64, repeated, tag = "3")]
    pub homes: Vec<u64>,
    /// All homes that leave. Those that may hold what no other does stay to be
    /// read from until the new set is filled.
    #[prost(uint64, repeated, tag = "4")]
    pub retiring: Vec<u64>,
    /// With the first homes: whether the source is analysed while it is uploaded.
    #[prost(bool, tag = "34")]
    pub early: bool,
}

/// Records that a home holds all that its job has acknowledged.
#[derive(Clone, PartialEq, Message)]
pub struct HomeFilled {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch under which it was filled.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub node: u64,
    /// The analysis that the job had when the fill began. It alone can't be made
    /// again: a home that does not have it is not filled. Entries of earlier
    /// versions do not say.
    #[prost(string, optional, tag = "4")]
    pub index_hash: Option<String>,
}

/// Ends an upload: all chunks are safe on all homes of this epoch.
#[derive(Clone, PartialEq, Message)]
pub struct SealSource {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch of the homes that hold them.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Blob of the ordered chunk hashes.
    #[prost(string, tag = "3")]
    pub manifest: String,
    /// BLAKE3 over the ordered chunk hashes.
    #[prost(string, tag = "4")]
    pub root: String,
    /// Whether the source outlives a failure of the job for a while. Entries of
    /// earlier versions do not say, and there it went at once.
    #[prost(bool, tag = "5")]
    pub keep_source: bool,
}

/// Gives a pending task to a node, or a running shard to a second one.
#[derive(Clone, PartialEq, Message)]
pub struct Assign {
    /// The task and its new attempt (one above the last).
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// The node's encoder build: fixes the job's with its first task.
    #[prost(string, tag = "3")]
    pub build: String,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "4")]
    pub unix_ms: u64,
    /// Whether it is a second attempt at a shard that runs.
    #[prost(bool, tag = "14")]
    pub twin: bool,
}

/// Takes a running attempt back, so that its task waits for a node again.
#[derive(Clone, PartialEq, Message)]
pub struct Release {
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    #[prost(enumeration = "FailureClass", tag = "2")]
    pub class: i32,
    #[prost(message, required, tag = "3")]
    pub problem: Problem,
}

/// Adds shards to the plan of a running analysis.
#[derive(Clone, PartialEq, Message)]
pub struct PlanAppend {
    /// The analysing attempt.
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    /// Number of the first shard here: the count that the proposer saw.
    #[prost(uint32, tag = "2")]
    pub first: u32,
    /// The ranges, at most [`crate::limits::PLAN_SHARDS_PER_COMMAND_MAX`].
    #[prost(message, repeated, tag = "3")]
    pub ranges: Vec<ShardRange>,
    /// These may be begun at once, though the plan is not whole and the source may
    /// not be sealed.
    #[prost(message, optional, tag = "33")]
    pub early: Option<EarlyPlan>,
    /// The plan of the sealed source has other shards from `first` on than were
    /// planned early: these go.
    #[prost(bool, tag = "34")]
    pub replace: bool,
    /// Of a whole plan: what determines the bytes of each shard, see [`Task::made_by`].
    #[prost(string, repeated, tag = "44")]
    pub shard_keys: Vec<String>,
}

/// What shards rest on that are planned early. See [`crate::Early`].
#[derive(Clone, PartialEq, Message)]
pub struct EarlyPlan {
    /// Blob with as much of the analysis as they need.
    #[prost(string, tag = "1")]
    pub index: String,
    /// The key of each shard.
    #[prost(string, repeated, tag = "2")]
    pub keys: Vec<String>,
    /// The key of each audio track of the output: they may be begun too.
    #[prost(string, repeated, tag = "3")]
    pub audio_keys: Vec<String>,
    /// See [`crate::Job::shard_memory_mib`].
    #[prost(uint32, tag = "13")]
    pub shard_memory_mib: u32,
}

/// Records the result of an attempt.
#[derive(Clone, PartialEq, Message)]
pub struct Complete {
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    /// BLAKE3 of the result (the index, the shard, the audio, the output).
    #[prost(string, tag = "2")]
    pub hash: String,
    #[prost(uint64, tag = "3")]
    pub bytes_out: u64,
    /// Source bytes read.
    #[prost(uint64, tag = "4")]
    pub bytes_in: u64,
    /// Frames encoded (shards), promised (analysis) or muxed (assembly).
    #[prost(uint64, tag = "5")]
    pub frames: u64,
    /// Blob with times and complaints, or the proof.
    #[prost(string, tag = "6")]
    pub report: String,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "7")]
    pub unix_ms: u64,
    /// Analysis only: shards of the whole plan.
    #[prost(uint32, tag = "8")]
    pub shards_total: u32,
    /// What is unusual: of an analysis why it is one shard and what is left out,
    /// of an assembly what only the whole film shows.
    #[prost(string, tag = "9")]
    pub plan_note: String,
    /// Analysis only: audio tracks of the output.
    #[prost(uint32, tag = "10")]
    pub audio_tracks: u32,
    /// Analysis only: whether subtitles or attachments are to be taken along.
    #[prost(bool, tag = "11")]
    pub extras: bool,
    /// Analysis only: the epoch of the homes, all of which have the index.
    /// Entries of earlier versions do not say.
    #[prost(uint64, optional, tag = "20")]
    pub epoch: Option<u64>,
    /// What was read of a source that was not sealed by then. Only such a shard
    /// counts before the seal, and none of them after it.
    #[prost(message, optional, tag = "50")]
    pub read: Option<ChunksRead>,
    /// Analysis only: how many audio tracks that were begun early are those of the
    /// plan, and rest on what was sealed.
    #[prost(uint32, tag = "51")]
    pub audio_kept: u32,
    /// Analysis only: what determines the bytes of each audio track.
    #[prost(string, repeated, tag = "61")]
    pub audio_keys: Vec<String>,
    /// Analysis only: see [`crate::Job::shard_memory_mib`].
    #[prost(uint32, tag = "62")]
    pub shard_memory_mib: u32,
    /// Analysis only: see [`crate::Job::shares_parts`].
    #[prost(bool, tag = "63")]
    pub shares_parts: bool,
    /// Of a shard or probe: bytes of its frames, and their quality in millionths.
    #[prost(uint64, tag = "71")]
    pub payload: u64,
    #[prost(uint64, tag = "72")]
    pub score_micro: u64,
    /// Analysis only: how long the pictures last.
    #[prost(uint64, tag = "73")]
    pub duration_us: u64,
    /// Of an engine's shard: whether a member makes it again before it counts.
    #[prost(bool, tag = "95")]
    pub check: bool,
}

/// Opens a finished task again because its bytes are gone on all homes. It
/// must give the same hash as before.
#[derive(Clone, PartialEq, Message)]
pub struct Reopen {
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
}

/// Ends a job as failed.
#[derive(Clone, PartialEq, Message)]
pub struct FailJob {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(message, required, tag = "2")]
    pub problem: Problem,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
}

/// Ends a job because a user asked for it.
#[derive(Clone, PartialEq, Message)]
pub struct CancelJob {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "2")]
    pub unix_ms: u64,
}

/// Removes a job and its bytes; a tombstone stays for a while.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteJob {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "2")]
    pub unix_ms: u64,
}

/// Advances the cluster's time and forgets old tombstones.
#[derive(Clone, PartialEq, Message)]
pub struct Tick {
    /// The leader's base plus its own monotonic time.
    #[prost(uint64, tag = "1")]
    pub cluster_ms: u64,
}

/// Records which disk a node has and where it listens.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterNode {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Its disk's incarnation.
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// Where it listens.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Up to which [`crate::limits::FEATURE_LEVEL`] it can read the log.
    #[prost(uint32, tag = "4")]
    pub feature_level: u32,
    /// Said by the leader of a node that has been silent for very long: it no
    /// longer holds the cluster's level down, and comes back only with a program
    /// that can read this one.
    #[prost(bool, tag = "5")]
    pub left_behind: bool,
}

/// Starts a job anew from its analysis, under whatever build that is given to.
/// Nothing made under its former build stays in the table.
#[derive(Clone, PartialEq, Message)]
pub struct Replan {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The build that the proposer saw.
    #[prost(string, tag = "2")]
    pub build: String,
    /// How often the job had been planned anew when the proposer looked.
    #[prost(uint32, tag = "3")]
    pub replans: u32,
    /// Why, for the job's owner.
    #[prost(string, tag = "4")]
    pub note: String,
}

impl AttemptKey {
    /// The latest attempt at a job's task.
    pub fn of(job: &str, task: &Task) -> Self {
        AttemptKey {
            job: job.to_string(),
            kind: task.kind,
            number: task.number,
            attempt: task.attempt,
        }
    }

    /// The task without its attempt.
    pub fn task(&self) -> TaskKey {
        (self.kind(), self.number)
    }
}

impl std::fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{}#{}",
            self.job,
            self.kind().name(),
            self.number,
            self.attempt
        )
    }
}
