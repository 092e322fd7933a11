//! Zones: what fails together. A job's homes are in different ones where there are
//! several; where they are not, that is said by name.

use std::collections::{BTreeMap, BTreeSet};

use super::health::ClusterHealth;
use crate::{rows::Home, state::State};

impl ClusterHealth {
    /// Whether a node is in the zone of one of these. One that names no zone is in one
    /// of its own.
    pub(super) fn shares_zone(&self, node: u64, others: &[u64]) -> bool {
        let zone = |id: u64| self.nodes.get(&id).map_or("", |node| node.zone.as_str());
        let own = zone(node);
        !own.is_empty()
            && others
                .iter()
                .any(|other| *other != node && zone(*other) == own)
    }
}

/// By node: of which jobs another home is in its zone, so that both may be lost at once,
/// in words.
pub fn zone_notes(state: &State, health: &ClusterHealth) -> BTreeMap<u64, String> {
    let zones: BTreeSet<&str> = health
        .nodes
        .values()
        .map(|node| node.zone.as_str())
        .filter(|zone| !zone.is_empty())
        .collect();
    if zones.is_empty() {
        return BTreeMap::new();
    }
    let mut shared: BTreeMap<u64, usize> = BTreeMap::new();
    let mut note = |homes: &[Home], jobs: usize| {
        let current = homes.iter().filter(|home| !home.retiring);
        let ids: Vec<u64> = current.map(|home| home.node).collect();
        for id in &ids {
            if health.shares_zone(*id, &ids) {
                *shared.entry(*id).or_default() += jobs;
            }
        }
    };
    for (homes, jobs) in state.outputs().groups() {
        note(homes, jobs.size());
    }
    for entry in state.active() {
        note(&entry.job.homes, 1);
    }
    let words = |(id, jobs): (u64, usize)| {
        let zone = health.nodes.get(&id).map_or("", |node| node.zone.as_str());
        let noun = if jobs == 1 { "job" } else { "jobs" };
        let text = format!("keeps {jobs} {noun} whose other copies are in its zone {zone} too");
        (id, text)
    };
    shared.into_iter().map(words).collect()
}
