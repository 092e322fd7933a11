//! What a worker and the leader say to each other in a session. The gRPC room
//! puts these on the wire.

use std::{collections::BTreeMap, sync::Arc};

use reelraft_model::{AttemptKey, ChunksRead, FailureClass, Problem, ShardRange};

use super::engine_messages::{EngineNews, EngineStatus};

/// Attempts that a worker runs or holds finished, with the frames encoded so
/// far.
pub type Progress = BTreeMap<AttemptKey, u64>;

/// From a worker, after its [`Hello`].
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    Beat(Beat),
    Result(AttemptResult),
}

/// How a worker opens its session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello {
    pub node: u64,
    /// Random, given when its disk was formatted.
    pub incarnation: String,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// What browsers call its HTTP port; empty where it has none.
    pub http: String,
    /// What fails together with it; empty where that is not said.
    pub zone: String,
    pub pid: u32,
    /// Random, drawn when its process started: in a container each has the
    /// same pid.
    pub process: u64,
    /// Attempts that it may run at once.
    pub slots: u32,
    /// Its encoder build; empty without ffmpeg, and while it is starting.
    pub build: String,
    /// Whether it still tries its encoders; the next hello says what it has.
    pub starting: bool,
    /// The versions behind it, for people.
    pub build_words: String,
    /// The version of this program.
    pub version: String,
    /// Up to which level it can read the log.
    pub feature_level: u32,
    /// The first heartbeat, so that a node in trouble gets no work at first,
    /// and what it runs is not given out again.
    pub beat: Beat,
}

/// A heartbeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beat {
    pub running: Progress,
    /// One-minute load average, thousandths.
    pub load_milli: u32,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    /// How far this replica has applied the log.
    pub applied_index: u64,
    /// Why the node takes no work; empty if it does.
    pub trouble: String,
    /// Whether its disk has no room for more.
    pub full: bool,
    /// What its disk can still take beyond the uploads that were begun there.
    pub room_bytes: u64,
    /// What its build can't make, as far as it was tried.
    pub lacks: Vec<Lack>,
    /// By codec: frames of a fixed clip that one slot encodes in a thousand seconds.
    pub speeds: BTreeMap<String, u64>,
    /// This replica's table where the leader last named an index, if it has
    /// passed it.
    pub table: Option<TablePoint>,
    /// Of this node, where nodes speak by TLS.
    pub certificate: Option<Certificate>,
    /// What its encoders may take together, in MiB; 0 where that is not known.
    pub memory_mib: u64,
    pub upkeep: UpkeepTold,
    /// What is new of the engines that are connected to it.
    pub engines: EngineNews,
}

/// What a home does for what it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpkeepTold {
    /// Jobs of which it is to have all and has not, and about how many bytes that are.
    pub copy_jobs: u64,
    pub copy_bytes: u64,
    /// Bytes copied since its process began.
    pub copied_bytes: u64,
    /// What it may copy a second; 0: as much as comes.
    pub copy_rate: u64,
    pub scrub: ScrubTold,
}

/// How far a scrub is, and what the last one found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubTold {
    pub running: bool,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// When the last one ended; 0: none has since the process began.
    pub ended_unix_ms: u64,
    pub blobs: u64,
    pub bytes: u64,
    pub damaged: u64,
    pub unread: u64,
}

/// What is told of a node's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of it, in hex.
    pub sha256: String,
    /// The same of the authority that signed it.
    pub authority_sha256: String,
    /// When it ends.
    pub until_unix_ms: u64,
    /// How often all nodes had been told to renew when it was made.
    pub renewals: u64,
}

/// Something that a node can't make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// A codec or a sound format, as a spec names it.
    pub what: String,
    pub why: String,
}

/// A replica's table at an index of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablePoint {
    pub index: u64,
    /// Over all rows, hex.
    pub hash: String,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptResult {
    pub key: AttemptKey,
    /// The engine whose attempt it is; 0 for the node itself.
    pub engine: u64,
    pub outcome: Outcome,
}

/// A result, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its bytes are on the homes.
    Done(Done),
    Failed(Failed),
}

/// A result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// BLAKE3 of the result, hex.
    pub hash: String,
    pub bytes_out: u64,
    /// Source bytes read for it.
    pub bytes_in: u64,
    /// Frames encoded; of an analysis, those of the whole source.
    pub frames: u64,
    /// Blob with what belongs to it (times, complaints, or the proof).
    pub report: String,
    /// What an analysis found; of an assembly its note alone.
    pub analysis: Option<Analysis>,
    /// Of a shard whose source was not sealed: what it read of it.
    pub read: Option<ChunksRead>,
    /// Of a shard or probe: bytes of its frames alone, and what quality they have, in
    /// millionths, where the job aims at one.
    pub payload: u64,
    pub score_micro: u64,
}

/// What an analysis found, beside its index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// The shards, in order.
    pub plan: Vec<ShardRange>,
    /// What is unusual: why the film is one shard, what is left out.
    pub plan_note: String,
    /// Audio tracks of the output.
    pub audio_tracks: u32,
    /// Whether subtitles or attachments are to be taken along.
    pub extras: bool,
    /// The epoch of the homes, all of which have its index.
    pub epoch: u64,
    /// How many shards that were planned early are those of this plan, and rest on
    /// what was sealed.
    pub kept: u32,
    /// The same of audio tracks.
    pub audio_kept: u32,
    /// What determines the bytes of each shard and audio track, beside source and
    /// build.
    pub shard_keys: Vec<String>,
    pub audio_keys: Vec<String>,
    /// What the encoding of a shard takes, in MiB.
    pub shard_memory_mib: u32,
    /// Whether the job takes single parts that were made before.
    pub shares_parts: bool,
    /// How long the pictures last.
    pub duration_us: u64,
}

/// Why an attempt gave no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub problem: Problem,
    /// Who is to blame.
    pub class: FailureClass,
    /// Finished tasks whose bytes no home has any more: they must run again.
    pub lost: Vec<AttemptKey>,
}

impl Failed {
    /// A failure that lost no finished task.
    pub fn new(class: FailureClass, problem: Problem) -> Self {
        Failed {
            problem,
            class,
            lost: Vec::new(),
        }
    }
}

/// To a worker. There is no cancel: a worker reads from the table what it is
/// to stop.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// First: who leads.
    Welcome {
        leader: u64,
        term: u64,
    },
    Assign(Assignment),
    /// The result is in the log: the worker may forget it.
    Settled(AttemptKey),
    Report(LeaderReport),
}

/// An attempt that is this worker's. All else is in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub key: AttemptKey,
    /// The worker applies at least this far before it starts.
    pub log_index: u64,
    /// The engine that it is for; 0 for the node itself.
    pub engine: u64,
}

/// What only the leader knows, told to all nodes now and then, so that any of
/// them can answer for it: liveness and progress are not facts, and stay out
/// of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaderReport {
    pub leader: u64,
    pub term: u64,
    pub nodes: Vec<NodeStatus>,
    /// The jobs that run or wait; `None` if they are as in the report before it
    /// on the same session.
    pub jobs: Option<Arc<JobsProgress>>,
    /// The index at which all say their tables' hashes; 0 for none yet.
    pub compared_index: u64,
    /// The table that most voters have, where some replica has another.
    pub majority: Option<TablePoint>,
    /// By node: what the leader does about its place in the cluster, and why.
    pub notes: BTreeMap<u64, String>,
    /// The engines that are there; `None` if they are as in the report before it on the
    /// same session.
    pub engines: Option<Arc<Vec<EngineStatus>>>,
}

/// Jobs by their ids.
pub type JobsProgress = BTreeMap<String, JobProgress>;

/// What the leader knows of a job beyond the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobProgress {
    pub running: Progress,
    /// Why the job waits, in words; empty if it does not.
    pub waiting: String,
}

/// A node as people see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeStatus {
    pub id: u64,
    pub address: String,
    /// What browsers call its HTTP port; empty where that is not known.
    pub http: String,
    /// Its part in Raft; the leader's report leaves that to the reader, who
    /// knows the members himself.
    pub role: Option<Role>,
    /// Whether the leader has heard of it within its lease.
    pub reachable: bool,
    pub pid: u32,
    pub slots: u32,
    pub slots_busy: u32,
    /// One-minute load average, thousandths.
    pub load_milli: u32,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    pub build: String,
    /// The versions behind it, for people.
    pub build_words: String,
    /// What its build can't make.
    pub lacks: Vec<Lack>,
    /// As in its [`Beat`].
    pub speeds: BTreeMap<String, u64>,
    pub applied_index: u64,
    pub incarnation: String,
    pub version: String,
    /// Why it takes no work; empty if it does.
    pub trouble: String,
    /// What its disk can still take beyond the uploads that were begun there.
    pub room_bytes: u64,
    /// Whether it still tries its encoders: its build and what that lacks are not
    /// known yet.
    pub starting: bool,
    /// As in its [`Beat`].
    pub memory_mib: u64,
    /// Up to which level it can read the log; 0 where it has not said. The table has it.
    pub feature_level: u32,
    /// What the leader does about its place in the cluster, and why.
    pub note: String,
    /// As in its [`Beat`].
    pub certificate: Option<Certificate>,
    pub upkeep: UpkeepTold,
    pub zone: String,
}

/// A member's part in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Voter,
    Learner,
}

impl Role {
    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Voter => "voter",
            Role::Learner => "learner",
        }
    }
}
