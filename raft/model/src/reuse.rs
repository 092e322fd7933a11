//! The same work once: a job whose tenant has had the very same made before takes
//! that output. Its own source was sent all the same, and is kept until it has
//! succeeded: where the other job's bytes are gone by then, it is made like any other.
//! Each job has bytes of its own, so that either may be deleted.

/// The output that a job takes, and whose it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Reuse {
    /// The job that made it.
    #[prost(string, tag = "1")]
    pub job: String,
    /// What its homes are to have; empty once the job has succeeded, as its own row
    /// says it then.
    #[prost(string, tag = "2")]
    pub index_hash: String,
    #[prost(string, tag = "3")]
    pub output_hash: String,
    #[prost(string, tag = "4")]
    pub proof_hash: String,
}

/// Answers the offer of an output, which a job was made when its source was sealed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DecideReuse {
    #[prost(string, tag = "1")]
    pub job: String,
    /// The job whose output was offered.
    #[prost(string, tag = "2")]
    pub of: String,
    /// Whether it is taken; else the job is analysed.
    #[prost(bool, tag = "3")]
    pub taken: bool,
}
