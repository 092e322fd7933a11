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
        "request-id-reused" | "key-exists" | "engine-exists" | "address-taken" => {
            Code::AlreadyExists
        }
        "bad-spec" | "bad-request" | "empty-source" | "bad-name" | "bad-chunk" | "too-large"
        | "bad-url" | "refused-address" | "unknown-bucket" | "read-only-bucket"
        | "too-many-commands" | "entry-too-long" | "bad-entry" => Code::InvalidArgument,
        "past-the-end" => Code::OutOfRange,
        "hash-mismatch" | "corrupt-blob" | "lost-bytes" | "bad-manifest" => Code::DataLoss,
        "disk-full" | "too-many-uploads" | "too-many-jobs" | "too-many-bytes" | "too-many-keys"
        | "too-many-quotas" | "too-many-webhooks" | "too-many-tokens" | "too-many-nodes"
        | "too-many-engines" => Code::ResourceExhausted,
        "old-epoch" => Code::Aborted,
        // A node that is too busy is no reason to give up: another may not be.
        "no-leader" | "not-leader" | "unconfirmed" | "behind" | "stopped" | "no-homes"
        | "unreachable" | "unavailable-bytes" | "too-busy" | "too-many-requests" | "too-early" => {
            Code::Unavailable
        }
        "unauthenticated" | "bad-token" | "token-used" | "token-expired" => Code::Unauthenticated,
        "forbidden" | "node-removed" => Code::PermissionDenied,
        "client-lost" => Code::Cancelled,
        "timed-out" => Code::DeadlineExceeded,
        "internal" | "sync-failed" | "disk-error" | "damaged-state" => Code::Internal,
        _ => Code::FailedPrecondition,
    }
}

/// The status of HTTP for a kind of problem (RFC 9110; 429 is RFC 6585's, 507
/// RFC 4918's).
pub fn http_status_of(kind: &str) -> u16 {
    match kind {
        "method-not-allowed" => 405,
        "client-lost" => 408,
        "not-kept" | "task-over" => 410,
        "length-required" => 411,
        "unknown-version" => 412,
        "too-large" => 413,
        "unsupported-type" => 415,
        "source-unreachable" | "source-refused" | "source-length-unknown" => 422,
        "too-many-requests" => 429,
        // As tus says.
        "checksum-mismatch" => 460,
        "disk-full" => 507,
        kind => match code_of(kind) {
            Code::NotFound => 404,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 409,
            Code::InvalidArgument => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::OutOfRange => 416,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            Code::DeadlineExceeded => 504,
            _ => 500,
        },
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
            ("too-many-requests", Code::Unavailable),
            ("unauthenticated", Code::Unauthenticated),
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
    fn statuses_of_http_say_the_same() {
        for (kind, status) in [
            ("not-found", 404),
            ("bad-spec", 400),
            ("too-large", 413),
            ("request-id-reused", 409),
            ("not-finished", 409),
            ("too-busy", 503),
            ("no-leader", 503),
            ("too-many-jobs", 429),
            ("too-many-requests", 429),
            ("unauthenticated", 401),
            ("forbidden", 403),
            ("disk-full", 507),
            ("timed-out", 504),
            ("past-the-end", 416),
            ("internal", 500),
        ] {
            assert_eq!(http_status_of(kind), status, "{kind}");
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
