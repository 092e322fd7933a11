//! Slots in use while assignments are planned.

use std::collections::BTreeMap;

use super::health::ClusterHealth;
use crate::{
    limits::{ASSEMBLIES_BESIDE_SLOTS, EARLY_BESIDE_SLOTS},
    rows::{Job, JobState, TaskKind},
    state::State,
};

/// The slots in use, by the table and by what this plan has handed out so far.
pub(super) struct Usage<'a> {
    pub health: &'a ClusterHealth,
    by_node: BTreeMap<u64, u32>,
    /// Of those by node, assemblies.
    assemblies: BTreeMap<u64, u32>,
    by_tenant: BTreeMap<&'a str, u32>,
    /// Tasks that read along with an upload. They take no slot.
    early: BTreeMap<u64, u32>,
}

/// Whether a task of a job has its place beside the slots: those that read along
/// with an upload wait for its client for the most part.
pub(super) fn is_beside(job: &Job, kind: TaskKind) -> bool {
    let along = matches!(kind, TaskKind::Analyze | TaskKind::Audio);
    along && job.state() == JobState::Uploading
}

impl<'a> Usage<'a> {
    pub fn of(state: &'a State, health: &'a ClusterHealth) -> Self {
        let mut usage = Usage {
            health,
            by_node: BTreeMap::new(),
            assemblies: BTreeMap::new(),
            by_tenant: BTreeMap::new(),
            early: BTreeMap::new(),
        };
        for entry in state.eventful() {
            for task in entry.running.iter().filter_map(|key| entry.tasks.get(key)) {
                usage.take(task.node, task.kind(), &entry.job);
            }
        }
        usage
    }

    pub fn take(&mut self, node: u64, kind: TaskKind, job: &'a Job) {
        if is_beside(job, kind) {
            *self.early.entry(node).or_default() += 1;
            return;
        }
        *self.by_node.entry(node).or_default() += 1;
        if kind == TaskKind::Assemble {
            *self.assemblies.entry(node).or_default() += 1;
        }
        *self.by_tenant.entry(&job.tenant).or_default() += 1;
    }

    /// Whether a node may run one more task that takes no slot of it.
    pub fn has_place_beside(&self, node: u64) -> bool {
        let early = self.early.get(&node).copied().unwrap_or(0);
        early < EARLY_BESIDE_SLOTS
    }

    /// How many more attempts of a kind the node may run.
    pub fn free(&self, node: u64, kind: TaskKind) -> u32 {
        let count = |of: &BTreeMap<u64, u32>| of.get(&node).copied().unwrap_or(0);
        let slots = self.health.nodes.get(&node).map_or(0, |node| node.slots);
        // The place beside the slots is nobody else's.
        let beside = match kind {
            _ if slots == 0 => 0,
            TaskKind::Assemble => ASSEMBLIES_BESIDE_SLOTS,
            _ => count(&self.assemblies).min(ASSEMBLIES_BESIDE_SLOTS),
        };
        (slots + beside).saturating_sub(count(&self.by_node))
    }

    /// Whether a node of this build may run one more attempt of a kind.
    pub fn any_free(&self, build: &str, kind: TaskKind) -> bool {
        self.any_free_but(build, kind, |_| false)
    }

    /// The same of the nodes that are not `left_out`.
    pub fn any_free_but(
        &self,
        build: &str,
        kind: TaskKind,
        left_out: impl Fn(u64) -> bool,
    ) -> bool {
        let mut nodes = self.health.nodes.keys().copied();
        nodes.any(|node| {
            self.free(node, kind) > 0 && self.health.can_run(node, build) && !left_out(node)
        })
    }

    pub fn running_of(&self, tenant: &str) -> u32 {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }
}
