//! A refusal on the wire: a gRPC status that carries the [`Problem`], and the
//! one table that gives each kind of problem its status code.
//!
//! The code is for programs that know gRPC and nothing of this cluster:
//! `UNAVAILABLE` says that another node, or the same one later, may do it.

use prost::Message;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::v1::Problem;

/// Metadata key under which a status carries its [`Problem`].
pub const PROBLEM_KEY: &str = "reelraft-problem-bin";

/// The status code of a kind of problem.
pub fn code_of(kind: &str) -> Code {
    match kind {
        "not-found" | "missing-blob" => Code::NotFound,
        "request-id-reused" => Code::AlreadyExists,
        "bad-spec" | "bad-request" | "empty-source" | "bad-name" | "bad-chunk" | "too-large"
        | "too-many-commands" | "entry-too-long" | "bad-entry" => Code::InvalidArgument,
        "past-the-end" => Code::OutOfRange,
        "hash-mismatch" | "corrupt-blob" | "lost-bytes" | "bad-manifest" => Code::DataLoss,
        "disk-full" | "too-many-uploads" | "too-many-jobs" => Code::ResourceExhausted,
        "old-epoch" => Code::Aborted,
        // A node that is too busy is no reason to give up: another may not be.
        "no-leader" | "not-leader" | "unconfirmed" | "behind" | "stopped" | "no-homes"
        | "unreachable" | "unavailable-bytes" | "too-busy" => Code::Unavailable,
        "client-lost" => Code::Cancelled,
        "timed-out" => Code::DeadlineExceeded,
        "internal" | "sync-failed" | "disk-error" | "damaged-state" => Code::Internal,
        _ => Code::FailedPrecondition,
    }
}

/// A refusal as a status, its code by its kind.
pub fn to_status(problem: &Problem) -> Status {
    let mut status = Status::new(code_of(&problem.kind), problem.cause.clone());
    let value = MetadataValue::from_bytes(&problem.encode_to_vec());
    status.metadata_mut().insert_bin(PROBLEM_KEY, value);
    status
}

/// The problem that a node attached to a status. A status without one is the
/// connection's own: no node has judged the call.
pub fn of_status(status: &Status) -> Option<Problem> {
    let value = status.metadata().get_bin(PROBLEM_KEY)?;
    Problem::decode(value.to_bytes().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients and nodes that only know gRPC act on these: what may pass, what
    /// another node may have, and what is nobody's fault but the caller's.
    #[test]
    fn codes_say_what_to_do() {
        for (kind, code) in [
            ("no-leader", Code::Unavailable),
            ("unavailable-bytes", Code::Unavailable),
            ("unreachable", Code::Unavailable),
            ("disk-full", Code::ResourceExhausted),
            ("too-many-uploads", Code::ResourceExhausted),
            ("too-many-jobs", Code::ResourceExhausted),
            ("old-epoch", Code::Aborted),
            ("hash-mismatch", Code::DataLoss),
            ("bad-spec", Code::InvalidArgument),
            ("request-id-reused", Code::AlreadyExists),
            ("timed-out", Code::DeadlineExceeded),
            ("not-finished", Code::FailedPrecondition),
            ("a kind of a later version", Code::FailedPrecondition),
        ] {
            assert_eq!(code_of(kind), code, "{kind}");
        }
    }

    #[test]
    fn a_problem_crosses_the_wire_whole() {
        let problem = Problem {
            kind: "not-found".into(),
            cause: "there is no job 7".into(),
            hint: "see `reelraft job list`".into(),
        };
        let status = to_status(&problem);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), problem.cause);
        assert_eq!(of_status(&status), Some(problem));
        assert_eq!(of_status(&Status::unavailable("connection reset")), None);
    }
}
