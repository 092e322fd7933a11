//! Why the blob store refuses: one variant for each refusal, each with a
//! stable kind, a cause (its text) and a hint (P10).

use std::{io, path::PathBuf};

/// A refusal of the blob store or of the chunk journal.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The name is no job id or no hash; it never reaches the file system.
    #[error("'{name}' is no {what}")]
    BadName {
        /// What it should have been.
        what: &'static str,
        /// What was given, clipped.
        name: String,
    },
    /// This disk has no such blob.
    #[error("blob {hash} of job {job} is not on this node")]
    Missing {
        /// The job.
        job: String,
        /// The blob.
        hash: String,
    },
    /// The bytes no longer have their hash; the blob has been moved aside, so
    /// that it is missing from now on and can be put again.
    #[error("blob {hash} of job {job} is damaged on this disk")]
    Corrupt {
        /// The job.
        job: String,
        /// The blob.
        hash: String,
    },
    /// The bytes that were put are not those that were announced.
    #[error("announced {expected}, but the bytes hash to {found}")]
    HashMismatch {
        /// The announced hash.
        expected: String,
        /// The hash of the bytes that came.
        found: String,
    },
    /// The range begins behind the end of the blob.
    #[error("offset {offset} is past the end of blob {hash} ({total_bytes} bytes)")]
    PastTheEnd {
        /// The blob.
        hash: String,
        /// The asked-for offset.
        offset: u64,
        /// The blob's size.
        total_bytes: u64,
    },
    /// Too little room for a put.
    #[error(
        "the disk is full: {free_bytes} of {total_bytes} bytes are free, {wanted_bytes} were wanted"
    )]
    DiskFull {
        /// Bytes free for us.
        free_bytes: u64,
        /// Size of the file system.
        total_bytes: u64,
        /// Bytes to be written.
        wanted_bytes: u64,
    },
    /// The blob is larger than any file may be.
    #[error("a blob of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The chunk's number is taken by other bytes: the source has changed.
    #[error("chunk {number} of job {job} was {known} and is now {found}")]
    ChunkConflict {
        /// The job.
        job: String,
        /// The chunk.
        number: u64,
        /// The hash in the journal.
        known: String,
        /// The hash of the new bytes.
        found: String,
    },
    /// The journal was written by a later version.
    #[error("the chunk journal {path} has format {found}, this version knows up to {newest}")]
    NewerFormat {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// A sync failed: what the disk holds is unknown from now on, and this
    /// node must stop for good.
    #[error("could not sync {path}: {cause}")]
    SyncFailed {
        /// What was synced.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The disk did not do what it was asked for.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BlobError {
    /// A stable word for the refusal.
    pub fn kind(&self) -> &'static str {
        match self {
            BlobError::BadName { .. } => "bad-name",
            BlobError::Missing { .. } => "missing-blob",
            BlobError::Corrupt { .. } => "corrupt-blob",
            BlobError::HashMismatch { .. } => "hash-mismatch",
            BlobError::PastTheEnd { .. } => "past-the-end",
            BlobError::DiskFull { .. } => "disk-full",
            BlobError::TooLarge { .. } => "too-large",
            BlobError::ChunkConflict { .. } => "source-changed",
            BlobError::NewerFormat { .. } => "newer-format",
            BlobError::SyncFailed { .. } => "sync-failed",
            BlobError::Io { .. } => "disk-error",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            BlobError::BadName { .. } => "a job id has a-z, 0-9 and '-'; a hash has 64 hex digits",
            BlobError::Missing { .. } => "another home of the job may have it",
            BlobError::Corrupt { .. } => {
                "it is mended from another home; if this comes again, check the disk and memory"
            }
            BlobError::HashMismatch { .. } => {
                "send it again; if this comes again, check the network and memory"
            }
            BlobError::PastTheEnd { .. } => "ask for a range inside the blob",
            BlobError::DiskFull { .. } => {
                "free some space on this node: delete finished jobs, or add disk"
            }
            BlobError::TooLarge { .. } => "split the source",
            BlobError::ChunkConflict { .. } => {
                "the source file changed while it was uploaded: submit it as a new job"
            }
            BlobError::NewerFormat { .. } => "start the newer version again",
            BlobError::SyncFailed { .. } => "check the disk, then start the node again",
            BlobError::Io { .. } => "check the disk and the rights of the data folder",
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> BlobError {
        let path = path.to_path_buf();
        move |source| BlobError::Io {
            action,
            path,
            source,
        }
    }
}
