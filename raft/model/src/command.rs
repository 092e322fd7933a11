//! The commands of the log. Each is conditional on what its proposer saw, so
//! that a duplicate or a late one changes nothing and gets the same reply.

use prost::Message;

use crate::{
    rows::{FailureClass, Problem, TaskKind},
    spec::Spec,
};

/// One log entry: commands applied together, in order.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The commands.
    #[prost(message, repeated, tag = "1")]
    pub commands: Vec<Envelope>,
}

/// A command as it stands in the log. An unknown one decodes to `None`, on
/// which a node stops: skipping it would let replicas differ.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    /// The command.
    #[prost(
        oneof = "Command",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14"
    )]
    pub command: Option<Command>,
}

/// All that can change the table.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    /// See [`CreateJob`].
    #[prost(message, tag = "1")]
    CreateJob(CreateJob),
    /// See [`SetHomes`].
    #[prost(message, tag = "2")]
    SetHomes(SetHomes),
    /// See [`HomeFilled`].
    #[prost(message, tag = "3")]
    HomeFilled(HomeFilled),
    /// See [`SealSource`].
    #[prost(message, tag = "4")]
    SealSource(SealSource),
    /// See [`Assign`].
    #[prost(message, tag = "5")]
    Assign(Assign),
    /// See [`Release`].
    #[prost(message, tag = "6")]
    Release(Release),
    /// See [`PlanAppend`].
    #[prost(message, tag = "7")]
    PlanAppend(PlanAppend),
    /// See [`Complete`].
    #[prost(message, tag = "8")]
    Complete(Complete),
    /// See [`Reopen`].
    #[prost(message, tag = "9")]
    Reopen(Reopen),
    /// See [`FailJob`].
    #[prost(message, tag = "10")]
    FailJob(FailJob),
    /// See [`CancelJob`].
    #[prost(message, tag = "11")]
    CancelJob(CancelJob),
    /// See [`DeleteJob`].
    #[prost(message, tag = "12")]
    DeleteJob(DeleteJob),
    /// See [`Tick`].
    #[prost(message, tag = "13")]
    Tick(Tick),
    /// See [`RegisterNode`].
    #[prost(message, tag = "14")]
    RegisterNode(RegisterNode),
}

/// Which task, and which attempt at it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Message)]
pub struct AttemptKey {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The task's kind.
    #[prost(enumeration = "TaskKind", tag = "2")]
    pub kind: i32,
    /// The task's number.
    #[prost(uint32, tag = "3")]
    pub number: u32,
    /// The attempt.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// Makes a job, or finds the one that this request made before (P5).
#[derive(Clone, PartialEq, Message)]
pub struct CreateJob {
    /// Whose job.
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// The client's name for the request.
    #[prost(string, tag = "2")]
    pub request_id: String,
    /// The resolved spec.
    #[prost(message, required, tag = "3")]
    pub spec: Spec,
    /// File name, for display.
    #[prost(string, tag = "4")]
    pub source_name: String,
    /// Size in bytes.
    #[prost(uint64, tag = "5")]
    pub source_bytes: u64,
    /// BLAKE3 of length, head and tail.
    #[prost(string, tag = "6")]
    pub source_fingerprint: String,
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "7")]
    pub unix_ms: u64,
}

/// Gives a job its homes, or other ones; raises the epoch.
#[derive(Clone, PartialEq, Message)]
pub struct SetHomes {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch that the proposer saw (0: none yet).
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The new set; those kept stay as filled as they are.
    #[prost(uint64, repeated, tag = "3")]
    pub homes: Vec<u64>,
}

/// A home now holds all that its job has acknowledged.
#[derive(Clone, PartialEq, Message)]
pub struct HomeFilled {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The epoch under which it was filled.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The home.
    #[prost(uint64, tag = "3")]
    pub node: u64,
}

/// All chunks are safe on all homes of this epoch.
#[derive(Clone, PartialEq, Message)]
pub struct SealSource {
    /// Job id.
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
}

/// Gives a pending task to a node.
#[derive(Clone, PartialEq, Message)]
pub struct Assign {
    /// The task and its new attempt (one above the last).
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    /// The node.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// The node's encoder build: fixes the job's with its first task.
    #[prost(string, tag = "3")]
    pub build: String,
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "4")]
    pub unix_ms: u64,
}

/// Takes a running attempt back.
#[derive(Clone, PartialEq, Message)]
pub struct Release {
    /// The attempt.
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    /// Who is to blame.
    #[prost(enumeration = "FailureClass", tag = "2")]
    pub class: i32,
    /// What happened.
    #[prost(message, required, tag = "3")]
    pub problem: Problem,
}

/// A range of frames as the analysis planned it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Range {
    /// First frame's time in the source's time base.
    #[prost(sint64, tag = "1")]
    pub from_pts: i64,
    /// First time after the range.
    #[prost(sint64, tag = "2")]
    pub to_pts: i64,
    /// Frames promised by the packets.
    #[prost(uint64, tag = "3")]
    pub frames: u64,
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
    pub ranges: Vec<Range>,
}

/// Records the result of an attempt.
#[derive(Clone, PartialEq, Message)]
pub struct Complete {
    /// The attempt.
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
    /// BLAKE3 of the result (the index, the shard, the audio, the output).
    #[prost(string, tag = "2")]
    pub hash: String,
    /// Its size in bytes.
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
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "7")]
    pub unix_ms: u64,
    /// Analysis only: shards of the whole plan.
    #[prost(uint32, tag = "8")]
    pub shards_total: u32,
    /// Analysis only: why it is one shard.
    #[prost(string, tag = "9")]
    pub plan_note: String,
    /// Analysis only: audio tracks of the output.
    #[prost(uint32, tag = "10")]
    pub audio_tracks: u32,
    /// Analysis only: whether subtitles or attachments are to be taken along.
    #[prost(bool, tag = "11")]
    pub extras: bool,
}

/// The bytes of a finished task are gone on all homes: it runs again, and
/// must give the same hash.
#[derive(Clone, PartialEq, Message)]
pub struct Reopen {
    /// The finished attempt.
    #[prost(message, required, tag = "1")]
    pub key: AttemptKey,
}

/// Ends a job as failed.
#[derive(Clone, PartialEq, Message)]
pub struct FailJob {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// Why.
    #[prost(message, required, tag = "2")]
    pub problem: Problem,
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
}

/// Ends a job at a user's wish.
#[derive(Clone, PartialEq, Message)]
pub struct CancelJob {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "2")]
    pub unix_ms: u64,
}

/// Removes a job and its bytes; a tombstone stays for a while.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteJob {
    /// Job id.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The proposer's wall clock, for display.
    #[prost(uint64, tag = "2")]
    pub unix_ms: u64,
}

/// Moves the cluster's time on and forgets old tombstones.
#[derive(Clone, PartialEq, Message)]
pub struct Tick {
    /// The leader's base plus its own monotonic time.
    #[prost(uint64, tag = "1")]
    pub cluster_ms: u64,
}

/// A node shows the disk that it has.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterNode {
    /// Node id.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Its disk's incarnation.
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// Where it listens.
    #[prost(string, tag = "3")]
    pub address: String,
}

/// What a command's proposer is told.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// The job that the command was about, if any.
    #[prost(string, tag = "1")]
    pub job: String,
    /// Whether the job had been made before by the same request.
    #[prost(bool, tag = "2")]
    pub existed: bool,
    /// Whether the command changed nothing because what its proposer saw has
    /// passed: late, or done already.
    #[prost(bool, tag = "3")]
    pub stale: bool,
    /// The refusal, if it is one.
    #[prost(message, optional, tag = "4")]
    pub refused: Option<Problem>,
}

/// Why bytes are no entry or table of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The bytes are no message of the expected kind.
    #[error("undecodable {what}: {cause}")]
    Undecodable {
        /// What was expected.
        what: &'static str,
        /// What the decoder says.
        cause: String,
    },
    /// A command of a later version: this node must stop, not skip it.
    #[error("a command that this version does not know")]
    UnknownCommand,
    /// A row without its owner.
    #[error("row {key} is orphaned or misplaced")]
    BadRow {
        /// The row's key.
        key: String,
    },
}

impl Entry {
    /// An entry of these commands.
    pub fn new(commands: Vec<Command>) -> Self {
        let commands = commands.into_iter().map(|command| Envelope {
            command: Some(command),
        });
        Entry {
            commands: commands.collect(),
        }
    }

    /// The entry's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`ModelError::Undecodable`] for foreign bytes and
    /// [`ModelError::UnknownCommand`] for a later version's command.
    pub fn decode(bytes: &[u8]) -> Result<Self, ModelError> {
        let entry = <Entry as Message>::decode(bytes).map_err(|error| ModelError::Undecodable {
            what: "log entry",
            cause: error.to_string(),
        })?;
        if entry
            .commands
            .iter()
            .any(|envelope| envelope.command.is_none())
        {
            return Err(ModelError::UnknownCommand);
        }
        Ok(entry)
    }
}

impl AttemptKey {
    /// The latest attempt at a job's task.
    pub fn of(job: &str, task: &crate::rows::Task) -> Self {
        AttemptKey {
            job: job.to_string(),
            kind: task.kind,
            number: task.number,
            attempt: task.attempt,
        }
    }

    /// The task without its attempt.
    pub fn task(&self) -> crate::state::TaskKey {
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

impl Reply {
    pub(crate) fn done(job: &str) -> Self {
        Reply {
            job: job.to_string(),
            ..Default::default()
        }
    }

    pub(crate) fn stale(job: &str) -> Self {
        Reply {
            job: job.to_string(),
            stale: true,
            ..Default::default()
        }
    }

    pub(crate) fn refused(job: &str, problem: Problem) -> Self {
        Reply {
            job: job.to_string(),
            refused: Some(problem),
            ..Default::default()
        }
    }

    /// The reply, or the refusal that it carries.
    ///
    /// # Errors
    /// The refusal.
    pub fn accepted(self) -> Result<Self, Problem> {
        match self.refused {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }
}
