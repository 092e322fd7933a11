//! Who is to blame for an attempt that gave no result: the work, this node, or the
//! bytes that it could not have.

use reelraft_media::{Class, MediaError};
use reelraft_model::{FailureClass, Problem, source_gone};

use crate::{
    data::{DataError, LOST_BYTES, ServedSource, is_out_of_reach},
    node::messages::{Failed, Outcome},
};

/// A failure of this node, not of the work.
pub(super) fn node_fault(kind: &str, cause: String) -> Failed {
    let problem = Problem::new(kind, cause, "the cluster tries again by itself");
    Failed::new(FailureClass::NodeFault, problem)
}

/// Nothing was tried, so nobody is to blame.
pub(super) fn other_build(own: &str, wanted: &str) -> Failed {
    let cause = format!("this node has encoder build {own} by now, and the job's is {wanted}");
    let hint = "the cluster gives it to another node by itself";
    Failed::new(
        FailureClass::Stopped,
        Problem::new("other-build", cause, hint),
    )
}

/// Whether something went wrong with an attempt where it ran; `None` of one that says
/// nothing of that.
pub(super) fn is_blamed(outcome: &Outcome) -> Option<bool> {
    let passing = [FailureClass::Stopped, FailureClass::OutOfReach];
    match outcome {
        Outcome::Done(_) => Some(false),
        Outcome::Failed(failed) => (!passing.contains(&failed.class)).then_some(true),
    }
}

/// What the homes could not give or take. Bytes that are out of reach are
/// waited for, and nobody is to blame.
pub(super) fn bytes_missing(problem: Problem) -> Failed {
    let class = match is_out_of_reach(&problem.kind) {
        true => FailureClass::OutOfReach,
        false => FailureClass::NodeFault,
    };
    Failed::new(class, problem)
}

/// The same of a finished job's source: no home owes it to anyone, so that its loss
/// ends what needs it.
pub(super) fn without_source(problem: Problem) -> Failed {
    match problem.kind == LOST_BYTES {
        true => Failed::new(FailureClass::Final, source_gone(&problem.cause)),
        false => bytes_missing(problem),
    }
}

impl From<DataError> for Failed {
    fn from(error: DataError) -> Self {
        bytes_missing(error.problem())
    }
}

impl From<MediaError> for Failed {
    fn from(error: MediaError) -> Self {
        let class = match error.class() {
            Class::Work => FailureClass::Work,
            Class::NodeFault => FailureClass::NodeFault,
            Class::Final => FailureClass::Final,
            Class::PlanMismatch => FailureClass::PlanMismatch,
            Class::Stopped => FailureClass::Stopped,
        };
        let problem = Problem::new(error.kind(), error.to_string(), error.hint());
        Failed::new(class, problem)
    }
}

/// Where the source could not be served, the bytes are to blame and not the
/// work, whatever ffmpeg made of the end of its input.
pub(super) fn blame(error: MediaError, source: &ServedSource) -> Failed {
    match source.trouble() {
        Some(problem) => bytes_missing(problem),
        None => error.into(),
    }
}
