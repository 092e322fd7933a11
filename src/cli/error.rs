//! Everything that can go wrong with a command.
//!
//! Each error has a kind, a cause and a hint (P10), and one exit code. What a
//! kind means is in [`crate::exit`]; [`crate::render::report`] prints errors.

use std::{io, path::PathBuf};

use reelraft_proto::{problem::of_status, v1::Problem};
use tonic::{Code, Status};

use crate::exit::{self, Meaning, kind_of, meaning_of};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line can't be carried out as written.
    #[error("{cause}")]
    Usage { cause: String, hint: String },
    /// No endpoint ever accepted a connection, or all are gone for good.
    #[error("no node is reachable at {endpoints}")]
    Unreachable { endpoints: String },
    /// Nodes answer, but none could serve within the failover window. Kind and
    /// hint are those of the last node asked.
    #[error("the cluster can't serve now: {cause}")]
    Unavailable {
        kind: String,
        cause: String,
        hint: String,
    },
    /// A node refused the request, or this process could not run as a node.
    #[error("{}", problem.cause)]
    Refused { code: Code, problem: Problem },
    /// A time limit passed; `after` is the limit as a user writes it.
    #[error("job {job} did not end within {after}")]
    TimedOut { job: String, after: String },
    #[error("job {job} failed: {cause}")]
    JobFailed {
        job: String,
        cause: String,
        hint: String,
    },
    #[error("job {job} was cancelled")]
    JobCancelled { job: String },
    #[error("job {job} was deleted")]
    JobDeleted { job: String },
    /// The job has no output yet.
    #[error("job {job} is {state}: it has no output yet")]
    NotFinished { job: String, state: &'static str },
    /// A local source that can't be uploaded; nothing was submitted.
    #[error("can't read {}: {cause}", path.display())]
    SourceUnfit {
        path: PathBuf,
        cause: String,
        hint: String,
    },
    /// The source changed during its upload. `how` is a verb ("shrank", "was
    /// removed"), `job_fate` says what became of the job.
    #[error("{} {how} while it was being uploaded", path.display())]
    SourceChanged {
        path: PathBuf,
        how: String,
        job_fate: String,
    },
    /// The job was made from another file than this one (P5).
    #[error("the source changed: {} is not what job {job} was given", path.display())]
    SourceDiffers { path: PathBuf, job: String },
    /// A local file that can't be written.
    #[error("can't write {}: {cause}", path.display())]
    OutputUnwritable {
        path: PathBuf,
        cause: String,
        hint: String,
    },
    /// The bytes fetched are not those the cluster promised, by their BLAKE3
    /// hashes in hex.
    #[error("the bytes fetched for job {job} have hash {found}, not {promised}")]
    OutputDiffers {
        job: String,
        found: String,
        promised: String,
    },
    /// Of many files some failed; each was named.
    #[error("{failed} of {all} files failed")]
    FilesFailed { failed: u64, all: u64 },
    /// A file that failed in an earlier run and has not changed since.
    #[error("{} failed: {why}", path.display())]
    FileFailedBefore { path: PathBuf, why: String },
    /// A node broke the protocol.
    #[error("the node's answer makes no sense: {what}")]
    Nonsense { what: String },
    /// A step on this machine failed (a process, a folder, the runtime).
    #[error("{what}: {cause}")]
    Local {
        what: String,
        cause: String,
        hint: String,
    },
    /// Ctrl-C or SIGTERM. The hint says what continues, and how to return to it.
    #[error("stopped by Ctrl-C or a signal")]
    Interrupted { hint: String },
    /// The reader of our standard output closed it; nothing is wrong.
    #[error("standard output was closed")]
    OutputClosed,
}

impl CliError {
    /// The command line is wrong.
    pub fn usage(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        CliError::Usage {
            cause: cause.into(),
            hint: hint.into(),
        }
    }

    /// A process or thread that this machine won't start.
    pub fn no_resources(what: &str, error: &io::Error) -> Self {
        CliError::Local {
            what: what.into(),
            cause: os_reason(error),
            hint: "see the limits on processes and open files (`ulimit -a`)".into(),
        }
    }

    /// Why this process can't run as a node, in the node's own terms.
    pub fn node(
        kind: impl Into<String>,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        CliError::Refused {
            // No call was refused: only the kind gives the exit code.
            code: Code::Unknown,
            problem: Problem {
                kind: kind.into(),
                cause: cause.into(),
                hint: hint.into(),
            },
        }
    }

    /// What a node's status says, once retrying is pointless.
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

    /// The error's stable name; a refusal by a node has the node's.
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
            CliError::FilesFailed { .. } => "files-failed",
            CliError::FileFailedBefore { .. } => "failed-before",
            CliError::Nonsense { .. } => "nonsense",
            CliError::Local { .. } => "local",
            CliError::Interrupted { .. } => "interrupted",
            CliError::OutputClosed => "output-closed",
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.meaning().exit
    }

    fn meaning(&self) -> &'static Meaning {
        let code = match self {
            CliError::Refused { code, .. } => *code,
            CliError::Unavailable { .. } => Code::Unavailable,
            _ => Code::Unknown,
        };
        meaning_of(self.kind(), code)
    }

    /// Whether a job that the command has made or follows goes on, so that the
    /// user may want to return to it.
    pub fn leaves_the_job(&self) -> bool {
        match self {
            CliError::Unreachable { .. }
            | CliError::Unavailable { .. }
            | CliError::OutputUnwritable { .. }
            | CliError::OutputDiffers { .. }
            | CliError::Nonsense { .. }
            | CliError::Local { .. } => true,
            CliError::Refused { .. } => self.exit_code() == exit::FAILED,
            CliError::Usage { .. }
            | CliError::TimedOut { .. }
            | CliError::JobFailed { .. }
            | CliError::JobCancelled { .. }
            | CliError::JobDeleted { .. }
            | CliError::NotFinished { .. }
            | CliError::SourceUnfit { .. }
            | CliError::SourceChanged { .. }
            | CliError::SourceDiffers { .. }
            | CliError::FilesFailed { .. }
            | CliError::FileFailedBefore { .. }
            | CliError::Interrupted { .. }
            | CliError::OutputClosed => false,
        }
    }

    /// What the user could do next.
    pub fn hint(&self) -> String {
        match self {
            CliError::Usage { hint, .. }
            | CliError::SourceUnfit { hint, .. }
            | CliError::OutputUnwritable { hint, .. }
            | CliError::Interrupted { hint }
            | CliError::Local { hint, .. }
            | CliError::SourceChanged { job_fate: hint, .. } => hint.clone(),
            CliError::Unavailable { hint, .. }
            | CliError::JobFailed { hint, .. }
            | CliError::Refused {
                problem: Problem { hint, .. },
                ..
            } if !hint.is_empty() => hint.clone(),
            CliError::JobFailed { job, .. } => {
                format!("see `reelraft job show {job}` and `reelraft job tasks {job}`")
            }
            CliError::TimedOut { job, .. } => format!(
                "the job continues; wait longer, or follow it with `reelraft job watch {job}`"
            ),
            CliError::NotFinished { job, .. } => {
                format!("wait for it with `reelraft job wait {job}`")
            }
            CliError::OutputDiffers { job, .. } => {
                format!("fetch it again; if this persists, see `reelraft job proof {job}`")
            }
            CliError::Unreachable { .. }
            | CliError::Unavailable { .. }
            | CliError::Refused { .. }
            | CliError::JobCancelled { .. }
            | CliError::JobDeleted { .. }
            | CliError::SourceDiffers { .. }
            | CliError::FilesFailed { .. }
            | CliError::FileFailedBefore { .. }
            | CliError::Nonsense { .. }
            | CliError::OutputClosed => self.meaning().hint.to_string(),
        }
    }
}

/// The problem in a status: the one a node attached, else one made of the bare
/// message, with the name of the code as its kind.
pub fn problem_of(status: &Status) -> Problem {
    of_status(status).unwrap_or_else(|| Problem {
        kind: kind_of(status.code()),
        cause: match status.message() {
            "" => status.code().description().to_string(),
            message => message.to_string(),
        },
        hint: String::new(),
    })
}

/// The operating system's message for an error, without its number.
pub fn os_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let message = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().collect::<String>() + letters.as_str(),
        None => "unknown error".into(),
    }
}
