//! How fast jobs go on the nodes: what was measured, or else what their benchmarks
//! promise.

use super::{health::ClusterHealth, speeds::Rates};
use crate::{
    limits::{SPEED_CLASSES, SPEED_DEFAULT_MFPS, SPEED_SAMPLE_NODES},
    rows::Job,
};

/// The speeds of a job on all nodes.
pub(super) fn rates_of<'a>(health: &'a ClusterHealth, job: &'a Job) -> Rates<'a> {
    let codec = job.spec.codec().name();
    let nodes = health.nodes.values();
    let known = nodes.filter_map(|node| node.speeds.get(codec));
    let known = known.take(SPEED_SAMPLE_NODES);
    let (sum, count) = known.fold((0, 0), |(sum, count), speed| (sum + speed, count + 1));
    let usual = match count {
        0 => SPEED_DEFAULT_MFPS,
        count => (sum / count).max(1),
    };
    let own = move |id: u64| {
        let node = health.nodes.get(&id);
        let own = node.and_then(|node| node.speeds.get(codec)).copied();
        own.unwrap_or_else(|| health.speeds.unmeasured(id, usual))
            .max(1)
    };
    health.speeds.of(&job.id, own)
}

/// How fast a node is among others, the fastest of which has a rate of `most`.
pub(super) fn class_of(rate: u64, most: u64) -> u64 {
    (u128::from(rate) * u128::from(SPEED_CLASSES) / u128::from(most.max(1))) as u64
}
