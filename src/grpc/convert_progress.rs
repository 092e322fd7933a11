//! Attempts and how far they are, on the wire.

use reelraft_model::{AttemptKey, TaskKind};
use reelraft_proto::v1;

use crate::node::messages::Progress;

pub(super) fn wire_attempt(key: &AttemptKey) -> v1::AttemptRef {
    v1::AttemptRef {
        job: key.job.clone(),
        kind: key.kind().name().to_string(),
        number: key.number,
        attempt: key.attempt,
    }
}

pub(super) fn model_attempt(attempt: v1::AttemptRef) -> Option<AttemptKey> {
    Some(AttemptKey {
        kind: TaskKind::parse(&attempt.kind)?.into(),
        job: attempt.job,
        number: attempt.number,
        attempt: attempt.attempt,
    })
}

pub(super) fn wire_progress(progress: Progress) -> Vec<v1::AttemptProgress> {
    let wire = |(key, frames)| v1::AttemptProgress {
        attempt: Some(wire_attempt(&key)),
        frames,
    };
    progress.into_iter().map(wire).collect()
}

pub(super) fn model_progress(progress: Vec<v1::AttemptProgress>) -> Progress {
    let model =
        |running: v1::AttemptProgress| Some((model_attempt(running.attempt?)?, running.frames));
    progress.into_iter().filter_map(model).collect()
}
