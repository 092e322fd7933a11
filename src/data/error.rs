//! Why the data plane refuses, and what a refusal is worth to the caller: a
//! reason to look elsewhere, to try again, or to give up.

use reelraft_model::Problem;
use reelraft_storage::blobs::BlobError;

/// The kind of what is on no home any more.
pub const LOST_BYTES: &str = "lost-bytes";

/// A refusal of the data plane.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// This disk refused.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The table has no such job.
    #[error("there is no job {job}")]
    NoSuchJob {
        /// Its id.
        job: String,
    },
    /// The job takes no more bytes.
    #[error("job {job} is {state}")]
    JobEnded {
        /// Its id.
        job: String,
        /// Its state, as users see it.
        state: &'static str,
    },
    /// The put relies on homes that have been replaced since.
    #[error("the homes of job {job} changed: epoch {given} was given, {current} is current")]
    OldEpoch {
        /// The job.
        job: String,
        /// The put's epoch.
        given: u64,
        /// The job's epoch.
        current: u64,
    },
    /// The node keeps no bytes of this job.
    #[error("node {node} is no home of job {job}")]
    NotHome {
        /// The job.
        job: String,
        /// The node.
        node: u64,
    },
    /// The node did not apply the log as far as it was asked to in time.
    #[error("the log was not applied up to {index} in time: {cause}")]
    Behind {
        /// The index.
        index: u64,
        /// What the wait said.
        cause: String,
    },
    /// The leader has not given the job its homes yet.
    #[error("job {job} has no homes yet")]
    NoHomes {
        /// The job.
        job: String,
    },
    /// A chunk of another size or number than the source has.
    #[error("chunk {number} of job {job} {cause}")]
    BadChunk {
        /// The job.
        job: String,
        /// The chunk.
        number: u64,
        /// What is wrong.
        cause: String,
    },
    /// A node can't be reached now.
    #[error("node {node} can't be reached: {cause}")]
    Unreachable {
        /// The node.
        node: u64,
        /// What the connection said.
        cause: String,
    },
    /// Another node refused, for the reason that it gives.
    #[error("node {node}: {}", problem.cause)]
    Refused {
        /// The node.
        node: u64,
        /// Its reason.
        problem: Problem,
    },
    /// All homes were asked, and none has the bytes.
    #[error("blob {hash} of job {job} is on none of its homes")]
    Lost {
        /// The job.
        job: String,
        /// The blob.
        hash: String,
    },
    /// Some homes can't be asked, and the others don't have the bytes.
    #[error("blob {hash} of job {job} can't be had now: {cause}")]
    Unavailable {
        /// The job.
        job: String,
        /// The blob.
        hash: String,
        /// What the last home said.
        cause: String,
    },
    /// The homes of the job's epoch were asked and don't have the bytes; only
    /// former homes that have been lost may.
    #[error("blob {hash} of job {job} is on no home but lost ones: {cause}")]
    Retired {
        /// The job.
        job: String,
        /// The blob.
        hash: String,
        /// What the last one said.
        cause: String,
    },
    /// A list of chunks is not one.
    #[error("the manifest {hash} can't be read: {cause}")]
    BadManifest {
        /// Its blob.
        hash: String,
        /// What is wrong.
        cause: &'static str,
    },
    /// Two homes hold other bytes under one number, or a sealed source has
    /// other bytes: the source is not the one that was begun.
    #[error("the source of job {job} changed while it was uploaded: {cause}")]
    SourceChanged {
        /// The job.
        job: String,
        /// Where it shows.
        cause: String,
    },
    /// The uploading client can't give what it was asked for.
    #[error("{}", .0.cause)]
    SourceGone(Problem),
    /// The uploading client ended the stream, or says nothing any more.
    #[error("the client {cause}")]
    ClientLost {
        /// What it did.
        cause: String,
    },
    /// The table could not be read or written.
    #[error("{}", .0.cause)]
    Table(Problem),
    /// A part of this program ended without a result.
    #[error("{cause}")]
    Internal {
        /// What happened.
        cause: String,
    },
}

impl DataError {
    /// A stable word for the refusal.
    pub fn kind(&self) -> &str {
        match self {
            DataError::Blob(error) => error.kind(),
            DataError::NoSuchJob { .. } => "not-found",
            DataError::JobEnded { .. } => "job-ended",
            DataError::OldEpoch { .. } => "old-epoch",
            DataError::NotHome { .. } => "not-home",
            DataError::Behind { .. } => "behind",
            DataError::NoHomes { .. } => "no-homes",
            DataError::BadChunk { .. } => "bad-chunk",
            DataError::Unreachable { .. } => "unreachable",
            DataError::Refused { problem, .. } => &problem.kind,
            DataError::Lost { .. } => LOST_BYTES,
            DataError::Unavailable { .. } | DataError::Retired { .. } => "unavailable-bytes",
            DataError::BadManifest { .. } => "bad-manifest",
            DataError::SourceChanged { .. } => "source-changed",
            DataError::SourceGone(problem) | DataError::Table(problem) => &problem.kind,
            DataError::ClientLost { .. } => "client-lost",
            DataError::Internal { .. } => "internal",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        match self {
            DataError::Blob(error) => error.hint(),
            DataError::NoSuchJob { .. } => "see `reelraft job list`",
            DataError::JobEnded { .. } => "submit it again as a new job",
            DataError::OldEpoch { .. } | DataError::NotHome { .. } => {
                "read the job again, and put to its new homes"
            }
            DataError::Behind { .. } | DataError::NoHomes { .. } => {
                "try again; if this comes again, look at `reelraft cluster status`"
            }
            DataError::BadChunk { .. } => {
                "send chunks of the announced size, within the announced source"
            }
            DataError::Unreachable { .. }
            | DataError::Unavailable { .. }
            | DataError::Retired { .. } => {
                "start the missing nodes again; see `reelraft cluster nodes`"
            }
            DataError::Refused { problem, .. } => &problem.hint,
            DataError::Lost { .. } => {
                "the cluster encodes a lost part again; a lost source must be submitted again"
            }
            DataError::BadManifest { .. } => "submit the source again",
            DataError::SourceChanged { .. } => {
                "leave the file alone while it is uploaded, and submit it as a new job"
            }
            DataError::SourceGone(problem) | DataError::Table(problem) => &problem.hint,
            DataError::ClientLost { .. } => "upload again: what was acknowledged is kept",
            DataError::Internal { .. } => "look at the node's log",
        }
    }

    /// The refusal as users see it.
    pub fn problem(&self) -> Problem {
        Problem::new(self.kind(), self.to_string(), self.hint())
    }

    /// Whether no home has the bytes, so that only making them again helps.
    pub fn is_lost(&self) -> bool {
        matches!(self, DataError::Lost { .. })
    }

    /// Whether homes that could not be asked may have the bytes.
    pub fn is_out_of_reach(&self) -> bool {
        matches!(
            self,
            DataError::Unavailable { .. } | DataError::Retired { .. }
        )
    }

    /// Whether what can be made again should be, rather than be waited for.
    pub fn is_worth_remaking(&self) -> bool {
        matches!(self, DataError::Lost { .. } | DataError::Retired { .. })
    }

    /// Whether the asked node lacks the bytes, or has them damaged.
    pub fn is_missing(&self) -> bool {
        self.outlook() == Outlook::Elsewhere
    }

    /// Whether trying again may help: nodes return, homes are replaced,
    /// leaders are elected, disks are emptied.
    pub fn is_passing(&self) -> bool {
        self.outlook() != Outlook::Final
    }

    fn outlook(&self) -> Outlook {
        match self {
            DataError::Blob(error) => match error {
                BlobError::Missing { .. } | BlobError::Corrupt { .. } => Outlook::Elsewhere,
                BlobError::DiskFull { .. }
                | BlobError::Io { .. }
                | BlobError::HashMismatch { .. }
                | BlobError::Removed { .. }
                | BlobError::SyncFailed { .. } => Outlook::Later,
                BlobError::BadName { .. }
                | BlobError::PastTheEnd { .. }
                | BlobError::TooLarge { .. }
                | BlobError::ChunkConflict { .. }
                | BlobError::NewerFormat { .. } => Outlook::Final,
            },
            DataError::Refused { problem, .. } => Outlook::of_kind(&problem.kind),
            DataError::OldEpoch { .. }
            | DataError::NotHome { .. }
            | DataError::Behind { .. }
            | DataError::NoHomes { .. }
            | DataError::Unreachable { .. }
            | DataError::Unavailable { .. }
            | DataError::Retired { .. }
            | DataError::Table(_) => Outlook::Later,
            DataError::NoSuchJob { .. }
            | DataError::JobEnded { .. }
            | DataError::BadChunk { .. }
            | DataError::Lost { .. }
            | DataError::BadManifest { .. }
            | DataError::SourceChanged { .. }
            | DataError::SourceGone(_)
            | DataError::ClientLost { .. }
            | DataError::Internal { .. } => Outlook::Final,
        }
    }
}

/// Whether a refusal of this kind says that no home could be reached, which
/// passes when one is back and is no fault of the node that asked.
pub fn is_out_of_reach(kind: &str) -> bool {
    matches!(
        kind,
        "unavailable-bytes" | "unreachable" | "no-homes" | "behind"
    )
}

/// What a refusal is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// This node does not have the bytes; another may.
    Elsewhere,
    /// The same call may succeed later.
    Later,
    /// It never will.
    Final,
}

impl Outlook {
    /// The outlook of another node's refusal, of which only the kind is known.
    fn of_kind(kind: &str) -> Self {
        match kind {
            "missing-blob" | "corrupt-blob" => Outlook::Elsewhere,
            "old-epoch" | "not-home" | "behind" | "no-homes" | "unreachable"
            | "unavailable-bytes" | "disk-full" | "disk-error" | "hash-mismatch"
            | "bytes-removed" | "sync-failed" | "too-busy" => Outlook::Later,
            _ => Outlook::Final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal is worth the same whether it comes from this disk or, by its
    /// kind alone, from another node.
    #[test]
    fn a_refusal_means_the_same_on_both_sides_of_the_wire() {
        let (job, hash, cause) = ("j".to_string(), "h".to_string(), String::new());
        let refusals = [
            DataError::Blob(BlobError::Missing {
                job: job.clone(),
                hash: hash.clone(),
            }),
            DataError::Blob(BlobError::Corrupt {
                job: job.clone(),
                hash: hash.clone(),
            }),
            DataError::Blob(BlobError::DiskFull {
                free_bytes: 0,
                total_bytes: 1,
                wanted_bytes: 1,
            }),
            DataError::Blob(BlobError::HashMismatch {
                expected: hash.clone(),
                found: hash.clone(),
            }),
            DataError::Blob(BlobError::SyncFailed {
                path: "p".into(),
                cause: cause.clone(),
            }),
            DataError::Blob(BlobError::Removed { job: job.clone() }),
            DataError::Blob(BlobError::TooLarge { bytes: 1 }),
            DataError::NoSuchJob { job: job.clone() },
            DataError::OldEpoch {
                job: job.clone(),
                given: 1,
                current: 2,
            },
            DataError::NotHome {
                job: job.clone(),
                node: 1,
            },
            DataError::Behind {
                index: 1,
                cause: cause.clone(),
            },
            DataError::NoHomes { job: job.clone() },
            DataError::Lost {
                job: job.clone(),
                hash: hash.clone(),
            },
            DataError::Unavailable { job, hash, cause },
        ];
        for refusal in refusals {
            let kind = refusal.kind();
            assert!(Outlook::of_kind(kind) == refusal.outlook(), "{kind}");
        }
    }
}
