//! Why the blob store refuses: one enum. Each variant has a stable kind, a cause
//! (its text) and a hint (P10).

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Neither a job id nor a hash. It never reaches the file system.
    #[error("'{name}' is no {what}")]
    BadName {
        what: &'static str,
        /// What was given, clipped.
        name: String,
    },
    #[error("blob {hash} of job {job} is not on this node")]
    Missing { job: String, hash: String },
    /// The bytes no longer have their hash. The blob has been moved aside, so it
    /// is missing from now on and can be put again.
    #[error("blob {hash} of job {job} is damaged on this disk")]
    Corrupt { job: String, hash: String },
    /// The bytes that were put do not have the announced hash.
    #[error("announced {expected}, but the bytes hash to {found}")]
    HashMismatch { expected: String, found: String },
    /// The range starts beyond the end of the blob.
    #[error("offset {offset} is past the end of blob {hash} ({total_bytes} bytes)")]
    PastTheEnd {
        hash: String,
        offset: u64,
        total_bytes: u64,
    },
    /// Too little room for a put.
    #[error(
        "the disk is full: {free_bytes} of {total_bytes} bytes are free, {wanted_bytes} were wanted"
    )]
    DiskFull {
        free_bytes: u64,
        total_bytes: u64,
        wanted_bytes: u64,
    },
    /// The blob is larger than any file may be.
    #[error("a blob of {bytes} bytes is too large")]
    TooLarge { bytes: u64 },
    /// The chunk's number is taken by other bytes: the source has changed.
    #[error("chunk {number} of job {job} was {known} and is now {found}")]
    ChunkConflict {
        job: String,
        number: u64,
        /// The hash in the journal.
        known: String,
        /// The hash of the new bytes.
        found: String,
    },
    /// The job's bytes were removed while somebody still held its journal.
    #[error("the bytes of job {job} were removed from this node meanwhile")]
    Removed { job: String },
    /// The journal was written by a later version.
    #[error("the chunk journal {path} has format {found}, this version knows up to {newest}")]
    NewerFormat {
        path: PathBuf,
        found: u32,
        newest: u32,
    },
    /// A sync failed. What is on the disk is unknown from now on, and this node
    /// must stop for good.
    #[error("could not sync {path}: {cause}")]
    SyncFailed { path: PathBuf, cause: String },
    #[error("could not {action} {path}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
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
            BlobError::Removed { .. } => "bytes-removed",
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
            BlobError::Removed { .. } => "open the job's journal again",
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
