//! How fast jobs go on the nodes: what was measured, or else what their benchmarks
//! promise.

use super::{health::ClusterHealth, speeds::Rates};
use crate::{
    engine_rows::is_engine,
    limits::{
        ENGINE_SPEED_TIMES_MAX, SPEED_CLASSES, SPEED_DEFAULT_MFPS, SPEED_MFPS_MAX,
        SPEED_SAMPLE_NODES,
    },
    rows::Job,
};

/// The speeds of a job on all nodes.
pub(super) fn rates_of<'a>(health: &'a ClusterHealth, job: &'a Job) -> Rates<'a> {
    let codec = job.spec.codec().name();
    let nodes = health.nodes.values();
    let known = nodes.filter_map(|node| node.speeds.get(codec).copied());
    let known = known.take(SPEED_SAMPLE_NODES);
    let known = known.map(|speed| speed.min(SPEED_MFPS_MAX));
    let (sum, count) = known.fold((0, 0), |(sum, count), speed| (sum + speed, count + 1));
    let usual = match count {
        0 => SPEED_DEFAULT_MFPS,
        count => (sum / count).max(1),
    };
    let own = move |id: u64| {
        let node = health.worker(id);
        let own = node.and_then(|node| node.speeds.get(codec)).copied();
        let own = match (own, is_engine(id)) {
            // Nobody has checked what it says of itself.
            (Some(own), true) => Some(own.min(usual.saturating_mul(ENGINE_SPEED_TIMES_MAX))),
            (own, _) => own,
        };
        own.unwrap_or_else(|| health.speeds.unmeasured(id, usual))
            .clamp(1, SPEED_MFPS_MAX)
    };
    health.speeds.of(&job.id, own)
}

/// How fast a node is among others, the fastest of which has a rate of `most`.
pub(super) fn class_of(rate: u64, most: u64) -> u64 {
    (u128::from(rate) * u128::from(SPEED_CLASSES) / u128::from(most.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NodeHealth;

    #[test]
    fn no_speed_that_a_node_says_is_out_of_bounds() {
        let job = Job::default();
        let codec = job.spec.codec().name().to_string();
        let node = |speed: u64| NodeHealth {
            speeds: [(codec.clone(), speed)].into(),
            ..Default::default()
        };
        let speeds = [u64::MAX, u64::MAX, 0, 25_000];
        let health = ClusterHealth {
            nodes: (1..).zip(speeds.map(node)).collect(),
            ..Default::default()
        };
        let rates = rates_of(&health, &job);
        let found = [1, 2, 3, 4, 5].map(|node| rates.rate(node));
        assert_eq!(found[..4], [SPEED_MFPS_MAX, SPEED_MFPS_MAX, 1, 25_000]);
        assert!((1..=SPEED_MFPS_MAX).contains(&found[4]), "{found:?}");
    }

    #[test]
    fn an_engine_is_not_much_faster_than_nodes_for_saying_so() {
        let job = Job::default();
        let codec = job.spec.codec().name().to_string();
        let node = |speed: u64| NodeHealth {
            speeds: [(codec.clone(), speed)].into(),
            ..Default::default()
        };
        let engine = crate::engine_rows::ENGINE_ID_MIN + 1;
        let health = ClusterHealth {
            nodes: [(1, node(1_000))].into(),
            engines: [(engine, node(u64::MAX)), (engine + 1, node(500))].into(),
            ..Default::default()
        };
        let rates = rates_of(&health, &job);
        assert_eq!([engine, engine + 1].map(|id| rates.rate(id)), [4_000, 500]);
    }
}
