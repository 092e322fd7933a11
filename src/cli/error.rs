//! Everything a client command can end with, other than well.
//!
//! Each refusal has a kind, a cause and a hint (P10), and one exit code.
//! Printing them is the job of [`crate::run`].

use std::path::PathBuf;

use prost::Message;
use reelraft_proto::v1::Problem;
use tonic::{Code, Status};

/// Metadata key under which a node sends its [`Problem`].
pub const PROBLEM_KEY: &str = "reelraft-problem-bin";

/// Exit codes, as documented in the README.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Failed for a reason that no other code names.
    pub const FAILED: u8 = 1;
    /// The command line, or the spec in it, can't be.
    pub const USAGE: u8 = 2;
    /// No node reachable, or no leader.
    pub const UNREACHABLE: u8 = 3;
    /// There is no such job.
    pub const NOT_FOUND: u8 = 4;
    /// The job itself failed or was cancelled.
    pub const JOB_FAILED: u8 = 5;
    /// A time limit passed.
    pub const TIMED_OUT: u8 = 6;
    /// Ended by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line can't be carried out as written.
    #[error("{cause}")]
    Usage {
        /// What is wrong.
        cause: String,
        /// What would do.
        hint: String,
    },
    /// No endpoint ever accepted a connection, or all are gone for good.
    #[error("no node is reachable at {endpoints}")]
    Unreachable {
        /// The endpoints tried, with commas.
        endpoints: String,
    },
    /// Nodes answer, but none could serve within the failover window.
    #[error("the cluster can't serve now: {cause}")]
    Unavailable {
        /// The refusal's stable name, by the node.
        kind: String,
        /// What the last node said.
        cause: String,
        /// The node's hint; may be empty.
        hint: String,
    },
    /// A node refused the request.
    #[error("{}", problem.cause)]
    Refused {
        /// The gRPC status code it came with.
        code: Code,
        /// What the node said.
        problem: Problem,
    },
    /// A time limit passed before the end.
    #[error("job {job} did not end within {after}")]
    TimedOut {
        /// The job that was waited for.
        job: String,
        /// The limit, as a user writes it.
        after: String,
    },
    /// The job ended as failed.
    #[error("job {job} failed: {cause}")]
    JobFailed {
        /// Its id.
        job: String,
        /// The job's own cause.
        cause: String,
        /// The job's own hint; may be empty.
        hint: String,
    },
    /// The job was cancelled.
    #[error("job {job} was cancelled")]
    JobCancelled {
        /// Its id.
        job: String,
    },
    /// The job was deleted.
    #[error("job {job} was deleted")]
    JobDeleted {
        /// Its id.
        job: String,
    },
    /// The job has no output yet.
    #[error("job {job} is {state}: it has no output yet")]
    NotFinished {
        /// Its id.
        job: String,
        /// Its state, as a word.
        state: &'static str,
    },
    /// A local source that can't be uploaded; nothing was submitted.
    #[error("can't read {}: {cause}", path.display())]
    SourceUnfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
        /// What would do.
        hint: String,
    },
    /// The source changed under a running upload; the job was cancelled.
    #[error("{} {how} while it was uploaded", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
        /// In words: "shrank", "was removed".
        how: String,
        /// What became of the job.
        job_fate: String,
    },
    /// The job was made with another file than this one (P5).
    #[error("the source changed: {} is not what job {job} was given", path.display())]
    SourceDiffers {
        /// The file.
        path: PathBuf,
        /// The job's id.
        job: String,
    },
    /// A local file that can't be written.
    #[error("can't write {}: {cause}", path.display())]
    OutputUnwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
        /// What would do.
        hint: String,
    },
    /// The bytes fetched are not those the cluster promised.
    #[error("the bytes fetched for job {job} have hash {found}, not {promised}")]
    OutputDiffers {
        /// Its id.
        job: String,
        /// BLAKE3 of what came, hex.
        found: String,
        /// BLAKE3 in the table, hex.
        promised: String,
    },
    /// A node broke the protocol.
    #[error("the node's answer makes no sense: {what}")]
    Nonsense {
        /// What was wrong with it.
        what: String,
    },
    /// A step on this machine failed (a process, a folder, the runtime).
    #[error("{what}: {cause}")]
    Local {
        /// The step.
        what: String,
        /// The system's own words.
        cause: String,
        /// What to do next.
        hint: String,
    },
    /// Ctrl-C.
    #[error("told to end")]
    Interrupted {
        /// What goes on without us, and how to come back.
        hint: String,
    },
    /// Whoever read our standard output closed it; nothing is wrong.
    #[error("standard output was closed")]
    OutputClosed,
}

impl CliError {
    /// A refusal of what the user wrote.
    pub fn usage(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        CliError::Usage {
            cause: cause.into(),
            hint: hint.into(),
        }
    }

    /// What a node's status says, once trying again is pointless.
    pub fn from_status(status: &Status) -> Self {
        let problem = problem_of(status);
        match status.code() {
            Code::Unavailable => CliError::Unavailable {
                kind: problem.kind,
                cause: problem.cause,
                hint: problem.hint,
            },
            code => CliError::Refused { code, problem },
        }
    }

    /// The refusal's stable name: a node's own for what a node refused.
    pub fn kind(&self) -> &str {
        match self {
            CliError::Usage { .. } => "usage",
            CliError::Unreachable { .. } => "unreachable",
            CliError::Unavailable { kind, .. } => kind,
            CliError::Refused { problem, .. } => &problem.kind,
            CliError::TimedOut { .. } => "timed-out",
            CliError::JobFailed { .. } => "job-failed",
            CliError::JobCancelled { .. } => "job-cancelled",
            CliError::JobDeleted { .. } => "job-deleted",
            CliError::NotFinished { .. } => "not-finished",
            CliError::SourceUnfit { .. } => "source-unfit",
            CliError::SourceChanged { .. } | CliError::SourceDiffers { .. } => "source-changed",
            CliError::OutputUnwritable { .. } => "output-unwritable",
            CliError::OutputDiffers { .. } => "hash-mismatch",
            CliError::Nonsense { .. } => "nonsense",
            CliError::Local { .. } => "local",
            CliError::Interrupted { .. } => "interrupted",
            CliError::OutputClosed => "output-closed",
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage { .. } => exit::USAGE,
            CliError::Unreachable { .. } | CliError::Unavailable { .. } => exit::UNREACHABLE,
            CliError::Refused { code, .. } => match code {
                // What the node can't even read as a request was written wrongly.
                Code::InvalidArgument => exit::USAGE,
                Code::NotFound => exit::NOT_FOUND,
                Code::Unavailable => exit::UNREACHABLE,
                Code::DeadlineExceeded => exit::TIMED_OUT,
                _ => exit::FAILED,
            },
            CliError::TimedOut { .. } => exit::TIMED_OUT,
            CliError::JobFailed { .. } | CliError::JobCancelled { .. } => exit::JOB_FAILED,
            CliError::JobDeleted { .. } => exit::NOT_FOUND,
            CliError::Interrupted { .. } => exit::INTERRUPTED,
            CliError::OutputClosed => exit::OK,
            CliError::NotFinished { .. }
            | CliError::SourceUnfit { .. }
            | CliError::SourceChanged { .. }
            | CliError::SourceDiffers { .. }
            | CliError::OutputUnwritable { .. }
            | CliError::OutputDiffers { .. }
            | CliError::Nonsense { .. }
            | CliError::Local { .. } => exit::FAILED,
        }
    }

    /// What the user could do next.
    pub fn hint(&self) -> String {
        match self {
            CliError::Usage { hint, .. }
            | CliError::SourceUnfit { hint, .. }
            | CliError::OutputUnwritable { hint, .. }
            | CliError::Interrupted { hint }
            | CliError::Local { hint, .. } => hint.clone(),
            CliError::Unreachable { .. } => {
                "start a local cluster with `reelraft dev`, or name your nodes with --endpoints \
                 or REELRAFT_ENDPOINTS"
                    .into()
            }
            CliError::Unavailable { hint, .. } => or_else(
                hint,
                "most voters must be running; see `reelraft cluster status`",
            ),
            CliError::Refused { code, problem } => or_else(&problem.hint, hint_for(*code)),
            CliError::TimedOut { job, .. } => {
                format!("the job goes on; wait longer, or watch it with `reelraft job watch {job}`")
            }
            CliError::JobFailed { hint, job, .. } => or_else(
                hint,
                &format!("see `reelraft job show {job}` and `reelraft job tasks {job}`"),
            ),
            CliError::JobCancelled { .. } => {
                "submit it again, with another --request-id if you gave one".into()
            }
            CliError::JobDeleted { .. } => {
                "list the others with `reelraft job list`; to make it again, give another --request-id".into()
            }
            CliError::NotFinished { job, .. } => {
                format!("wait for it with `reelraft job wait {job}`")
            }
            CliError::SourceChanged { job_fate, .. } => job_fate.clone(),
            CliError::SourceDiffers { .. } => {
                "give the file the job was made with, or submit under another --request-id".into()
            }
            CliError::OutputDiffers { job, .. } => {
                format!("fetch it again; if this stays, see `reelraft job proof {job}`")
            }
            CliError::Nonsense { .. } => {
                "check that client and nodes are the same version (`reelraft cluster nodes`)".into()
            }
            CliError::OutputClosed => String::new(),
        }
    }
}

fn or_else(hint: &str, fallback: &str) -> String {
    if hint.is_empty() { fallback } else { hint }.to_string()
}

fn hint_for(code: Code) -> &'static str {
    match code {
        Code::NotFound => "list the jobs with `reelraft job list`",
        Code::InvalidArgument => "see the command's --help",
        Code::AlreadyExists => "use another --request-id for another job",
        Code::DeadlineExceeded => "try again; see `reelraft cluster status`",
        Code::Unauthenticated | Code::PermissionDenied => {
            "set REELRAFT_SECRET to the cluster's secret"
        }
        Code::Unimplemented => {
            "check that client and nodes are the same version (`reelraft cluster nodes`)"
        }
        _ => "see the node's log",
    }
}

/// The problem in a status: the one a node attached, else its bare message.
pub fn problem_of(status: &Status) -> Problem {
    status
        .metadata()
        .get_bin(PROBLEM_KEY)
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| Problem::decode(bytes).ok())
        .unwrap_or_else(|| Problem {
            kind: kind_of(status.code()),
            cause: match status.message() {
                "" => status.code().description().to_string(),
                message => message.to_string(),
            },
            hint: String::new(),
        })
}

/// A status code's name as the kind of a refusal: `NotFound` is `not-found`.
fn kind_of(code: Code) -> String {
    let mut kind = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !kind.is_empty() {
            kind.push('-');
        }
        kind.push(letter.to_ascii_lowercase());
    }
    kind
}
