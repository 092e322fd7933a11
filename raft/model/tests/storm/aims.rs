//! Jobs that aim at a size, and what their shards come to.

use reelraft_model::{
    AttemptKey, Complete, JobEntry, Task, TaskKind,
    spec::{Amount, Spec, SpecRequest, resolve},
};

use crate::bugs::{Bug, Bugs};

/// The spec of the jobs with so many chunks: every fourth aims at a size, with an
/// encoder that takes fractions or one that does not. Every third has its source held.
pub fn spec_of(chunks: u64) -> Spec {
    let (codec, size_bytes) = match chunks % 8 {
        3 => ("h264", 400_000),
        7 => ("av1", 500_000),
        _ => ("", 0),
    };
    let request = SpecRequest {
        codec: codec.into(),
        amount: Amount {
            size_bytes,
            hold_source: is_held(chunks),
            ..Default::default()
        },
        ..Default::default()
    };
    resolve(&request).expect("valid")
}

/// Whether a client with a source of so many chunks wants its output compared.
pub fn is_held(chunks: u64) -> bool {
    chunks.is_multiple_of(3)
}

/// Bytes of a shard's frames at a rate factor: about half for each six, and not quite
/// evenly.
fn payload(shard: u32, single: bool, centi: u32) -> u64 {
    let of_shard = match single {
        true => 1_500_000,
        false => 400_000 + 150_000 * u64::from(shard),
    };
    let halved = (of_shard * 16) >> (centi / 600);
    let even = halved - halved * u64::from(centi % 600) / 1_200;
    even + even * u64::from((centi * 7 + shard * 13) % 29) / 1_000
}

/// The shard that a task encodes, if it encodes one.
pub fn shard_of(task: &Task) -> Option<u32> {
    match task.kind() {
        TaskKind::Shard => Some(task.number),
        TaskKind::Probe => Some(task.shard),
        _ => None,
    }
}

/// Bytes of the frames of a shard or probe, where its job aims at a size.
pub fn payload_of(entry: &JobEntry, task: Option<&Task>) -> u64 {
    let encoded = task.and_then(|task| Some((shard_of(task)?, entry.rate_centi(task))));
    match encoded.filter(|_| entry.job.spec.aim().is_some()) {
        Some((shard, centi)) => payload(shard, entry.job.single, centi),
        None => 0,
    }
}

/// Whether a task encodes the first shard of its film.
pub fn is_first_shard(key: &AttemptKey, entry: &JobEntry) -> bool {
    let task = entry.tasks.get(&key.task());
    task.is_some_and(|task| shard_of(task) == Some(0))
}

/// A result with bytes that depend on how often it was tried, if that is planted.
pub fn with_bug(bugs: Bugs, mut made: Complete) -> Complete {
    let too_much = 10_000 * u64::from(made.key.attempt);
    made.payload += if bugs.has(Bug::SizeByAttempt) {
        too_much
    } else {
        0
    };
    made
}

/// Whether an attempt is at a shard or a probe.
pub fn encodes(key: &AttemptKey, entry: &JobEntry) -> bool {
    let task = entry.tasks.get(&key.task());
    task.is_some_and(|task| shard_of(task).is_some())
}

/// The size of a result: an output has its frames, and what is beside them.
pub fn bytes_of(key: &AttemptKey, entry: &JobEntry) -> u64 {
    let frames: u64 = entry.shards().map(|task| task.payload).sum();
    match key.kind() {
        TaskKind::Assemble => frames + 9_000,
        _ => 10,
    }
}
