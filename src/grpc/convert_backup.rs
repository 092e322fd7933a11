//! A backup on the wire.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reelraft_model::Problem;
use reelraft_proto::v1::{self, backup_part::Part};
use tonic::Status;

use super::{convert::status, limits::FETCH_PART_BYTES};
use crate::data::backup::{BackupDone, BackupGap, BackupPart};

/// The parts as they are sent.
pub type BackupParts = Pin<Box<dyn Stream<Item = Result<v1::BackupPart, Status>> + Send>>;

/// Cuts the bytes so that a slow line gets a message in time.
pub fn wire_backup(
    parts: impl Stream<Item = Result<BackupPart, Problem>> + Send + 'static,
) -> BackupParts {
    let parts = parts.map_err(status).map_ok(|part| {
        let parts = match part {
            BackupPart::Bytes(bytes) => small(bytes).map(Part::Data).collect(),
            BackupPart::Put(bytes) => vec![Part::PutBytes(bytes)],
            BackupPart::Done(done) => vec![Part::Done(wire_done(*done))],
        };
        stream::iter(parts).map(|part| Ok(v1::BackupPart { part: Some(part) }))
    });
    Box::pin(parts.try_flatten())
}

fn small(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let next = bytes.split_to(bytes.len().min(FETCH_PART_BYTES));
        (!next.is_empty()).then_some(next)
    })
}

fn wire_done(done: BackupDone) -> v1::BackupDone {
    let BackupDone {
        hash,
        bytes,
        index,
        table_hash,
        jobs,
        jobs_whole,
        gaps,
    } = done;
    let gap = |BackupGap { job, cause }| v1::BackupGap { job, cause };
    v1::BackupDone {
        hash,
        bytes,
        index,
        table_hash,
        jobs,
        jobs_whole,
        gaps: gaps.into_iter().map(gap).collect(),
    }
}
