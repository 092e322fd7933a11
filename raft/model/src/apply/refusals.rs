//! Refusals that several commands have.

use crate::{
    command::Reply,
    rows::{JobState, Problem},
};

pub(super) fn already_ended(id: &str, state: JobState) -> Reply {
    let cause = match state {
        JobState::Cancelled => format!("job {id} was cancelled"),
        state => format!("job {id} has already {}", state.name()),
    };
    let hint = "delete it if it is no longer needed";
    Reply::refused(id, Problem::new("already-ended", cause, hint))
}

pub(super) fn not_found(id: &str) -> Reply {
    Reply::refused(
        id,
        Problem::new(
            "not-found",
            format!("there is no job {id}"),
            "see `reelraft job list`",
        ),
    )
}
