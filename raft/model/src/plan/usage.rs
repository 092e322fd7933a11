//! Slots in use while assignments are planned.

use std::collections::BTreeMap;

use super::health::ClusterHealth;
use crate::{limits::ASSEMBLIES_BESIDE_SLOTS, rows::TaskKind, state::State};

/// The slots in use, by the table and by what this plan has handed out so far.
pub(super) struct Usage<'a> {
    pub health: &'a ClusterHealth,
    by_node: BTreeMap<u64, u32>,
    by_tenant: BTreeMap<&'a str, u32>,
}

impl<'a> Usage<'a> {
    pub fn of(state: &'a State, health: &'a ClusterHealth) -> Self {
        let mut usage = Usage {
            health,
            by_node: BTreeMap::new(),
            by_tenant: BTreeMap::new(),
        };
        for entry in state.eventful() {
            for task in entry.running.iter().filter_map(|key| entry.tasks.get(key)) {
                usage.take(task.node, &entry.job.tenant);
            }
        }
        usage
    }

    pub fn take(&mut self, node: u64, tenant: &'a str) {
        *self.by_node.entry(node).or_default() += 1;
        *self.by_tenant.entry(tenant).or_default() += 1;
    }

    /// How many more attempts of a kind the node may run.
    pub fn free(&self, node: u64, kind: TaskKind) -> u32 {
        let used = self.by_node.get(&node).copied().unwrap_or(0);
        let slots = self.health.nodes.get(&node).map_or(0, |node| node.slots);
        let beside = match kind {
            TaskKind::Assemble if slots > 0 => ASSEMBLIES_BESIDE_SLOTS,
            _ => 0,
        };
        (slots + beside).saturating_sub(used)
    }

    /// Whether a node of this build may run one more attempt of a kind.
    pub fn any_free(&self, build: &str, kind: TaskKind) -> bool {
        let mut nodes = self.health.nodes.keys().copied();
        nodes.any(|node| self.free(node, kind) > 0 && self.health.can_run(node, build))
    }

    pub fn running_of(&self, tenant: &str) -> u32 {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }
}
