//! What the frames of a film may take, and what its file holds beside them: sound,
//! extras, and the container's own.

use crate::{
    job_entry::JobEntry,
    rows::TaskKind,
    spec::{Aim, Container},
};

/// Bytes that all frames may have together; none where that is not the aim.
pub(crate) fn budget(entry: &JobEntry, aim: Aim) -> Option<u64> {
    match aim {
        Aim::Size(bytes) => Some(bytes.saturating_sub(beside(entry))),
        Aim::Bitrate(bits) => {
            let bytes = u128::from(bits) * u128::from(entry.job.duration_us) / 8_000_000;
            Some(bytes.min(u64::MAX.into()) as u64)
        }
        Aim::Quality(..) => None,
    }
}

/// What is aimed at of a budget: a quarter of a percent less, so that what comes out
/// a little larger than expected is within it, and as much again for each time that it
/// was missed.
pub(crate) fn aimed_at(budget: u64, misses: u32) -> u64 {
    budget.saturating_sub(budget / 400 * (1 + u64::from(misses)))
}

/// Whether a film needs no correction: it has no byte too much, and less than a
/// percent is left over.
pub(crate) fn is_within(bytes: u64, budget: u64) -> bool {
    (budget - budget / 128..=budget).contains(&bytes)
}

/// What containers take, measured of ffmpeg's muxers and rounded up.
struct Cost {
    /// Bytes of a file of nothing: headers, and what names streams.
    file: u64,
    /// Of each frame: its size, place and times.
    frame: u64,
    /// Of each packet of sound, beyond what its own file has of it.
    packet: u64,
}

fn cost(container: Container) -> Cost {
    match container {
        Container::Mp4 | Container::Mov => Cost {
            file: 2_000,
            frame: 20,
            packet: 4,
        },
        _ => Cost {
            file: 1_500,
            frame: 12,
            packet: 4,
        },
    }
}

/// Bytes of the file beside its frames: as an assembly had them, or before by what
/// is known of the parts.
pub(super) fn beside(entry: &JobEntry) -> u64 {
    let known = entry.job.rate.map_or(0, |rate| rate.beside_bytes);
    if known != 0 {
        return known;
    }
    let cost = cost(entry.job.spec.container());
    let others = entry.parts().filter(|task| task.kind() != TaskKind::Shard);
    let others = others.map(|task| match task.kind() {
        TaskKind::Audio => task.bytes_out + task.frames * cost.packet,
        _ => task.bytes_out,
    });
    let frames: u64 = entry.shards().map(|task| task.frames).sum();
    cost.file + frames * cost.frame + others.sum::<u64>()
}
