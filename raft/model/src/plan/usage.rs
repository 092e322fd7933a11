//! Slots in use while assignments are planned.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{health::ClusterHealth, rates::rates_of, speeds::Rates};
use crate::{
    engine_rows::is_engine,
    limits::{
        ASSEMBLIES_BESIDE_SLOTS, EARLY_BESIDE_SLOTS, MEASURE_MEMORY_MIB_MIN, SMALL_JOBS_SHARE,
        SMALL_TASK_MS,
    },
    rows::{Job, JobState, TaskKind},
    state::State,
};

/// The slots in use, by the table and by what this plan has handed out so far.
pub(super) struct Usage<'a> {
    pub health: &'a ClusterHealth,
    state: &'a State,
    /// In the order of their ids.
    nodes: Vec<NodeUse<'a>>,
    /// By build: the nodes that may be given work and have a free slot, and those that
    /// may be given an assembly.
    free: BTreeMap<&'a str, [BTreeSet<u64>; 2]>,
    by_tenant: BTreeMap<&'a str, Running>,
    /// By node: how long what runs there will run on. Asked for at the end of a job
    /// alone.
    busy_ms: OnceCell<BTreeMap<u64, Vec<u64>>>,
}

/// A node's slots.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    pub node: u64,
    pub all: u32,
    pub free: u32,
}

struct NodeUse<'a> {
    id: u64,
    slots: u32,
    /// Whether it takes nothing but the assemblies of what it is still a home of.
    draining: bool,
    busy: u32,
    /// Of those that are busy, with assemblies.
    assemblies: u32,
    /// With comparisons.
    comparisons: u32,
    /// What reads along with an upload, and takes no slot.
    early: u32,
    /// What its shards may take, and what those that run do.
    memory_mib: u64,
    taken_mib: u64,
    /// Empty where it may be given nothing.
    build: &'a str,
}

/// What runs of a tenant.
#[derive(Clone, Copy, Default)]
struct Running {
    all: u32,
    /// Of its small jobs.
    small: u32,
}

impl NodeUse<'_> {
    fn free(&self, kind: TaskKind) -> u32 {
        // The place beside the slots is nobody else's.
        let engine = is_engine(self.id);
        let beside = match kind {
            TaskKind::Assemble if engine => return 0,
            _ if self.slots == 0 || engine => 0,
            _ if self.draining => return 0,
            TaskKind::Assemble => ASSEMBLIES_BESIDE_SLOTS,
            _ => self.assemblies.min(ASSEMBLIES_BESIDE_SLOTS),
        };
        let free = (self.slots + beside).saturating_sub(self.busy);
        match kind {
            // Where a node has several slots, one is none that a film waits for.
            TaskKind::Measure => {
                let most = self.slots.saturating_sub(1).max(1);
                free.min(most.saturating_sub(self.comparisons))
            }
            _ => free,
        }
    }

    fn has_place_beside(&self) -> bool {
        !self.draining && !is_engine(self.id) && self.early < EARLY_BESIDE_SLOTS
    }
}

/// What an attempt of a kind at a job takes of a node's memory, in MiB. All but the
/// encoding of pictures takes little.
fn memory_of(job: &Job, kind: TaskKind) -> u64 {
    match kind {
        TaskKind::Shard | TaskKind::Probe => job.shard_memory_mib.into(),
        TaskKind::Measure => u64::from(job.shard_memory_mib).max(MEASURE_MEMORY_MIB_MIN),
        _ => 0,
    }
}

/// Which of the two sets of free nodes counts for a kind.
fn set_of(kind: TaskKind) -> usize {
    usize::from(kind == TaskKind::Assemble)
}

/// Whether a task of a job has its place beside the slots: those that read along
/// with an upload wait for its client for the most part.
pub(super) fn is_beside(job: &Job, kind: TaskKind) -> bool {
    let along = matches!(kind, TaskKind::Analyze | TaskKind::Audio);
    along && job.state() == JobState::Uploading
}

impl<'a> Usage<'a> {
    pub fn of(state: &'a State, health: &'a ClusterHealth) -> Self {
        let nodes = health.workers().map(|(id, node)| NodeUse {
            id,
            slots: node.slots,
            draining: node.draining,
            busy: 0,
            assemblies: 0,
            comparisons: 0,
            early: 0,
            memory_mib: node.memory_mib,
            taken_mib: 0,
            build: match health.can_run(id, &node.build) {
                true => &node.build,
                false => "",
            },
        });
        let mut usage = Usage {
            health,
            state,
            nodes: nodes.collect(),
            free: BTreeMap::new(),
            by_tenant: BTreeMap::new(),
            busy_ms: OnceCell::new(),
        };
        for entry in state.eventful() {
            for task in entry.running.iter().filter_map(|key| entry.tasks.get(key)) {
                for (_, node) in task.attempts_running() {
                    usage.count(node, task.kind(), &entry.job);
                }
            }
        }
        for node in usage.nodes.iter().filter(|node| !node.build.is_empty()) {
            for kind in [TaskKind::Shard, TaskKind::Assemble] {
                if node.free(kind) > 0 {
                    let sets = usage.free.entry(node.build).or_default();
                    sets[set_of(kind)].insert(node.id);
                }
            }
        }
        usage
    }

    fn at(&self, node: u64) -> Option<usize> {
        self.nodes.binary_search_by_key(&node, |node| node.id).ok()
    }

    fn count(&mut self, node: u64, kind: TaskKind, job: &'a Job) {
        let beside = is_beside(job, kind);
        if let Some(at) = self.at(node) {
            if beside {
                self.nodes[at].early += 1;
                return;
            }
            self.nodes[at].busy += 1;
            self.nodes[at].taken_mib += memory_of(job, kind);
            self.nodes[at].assemblies += u32::from(kind == TaskKind::Assemble);
            self.nodes[at].comparisons += u32::from(kind == TaskKind::Measure);
        }
        let running = self.by_tenant.entry(&job.tenant).or_default();
        running.all += 1;
        running.small += u32::from(job.is_small());
    }

    /// Takes a slot.
    pub fn take(&mut self, node: u64, kind: TaskKind, job: &'a Job) {
        self.count(node, kind, job);
        let Some(at) = self.at(node) else { return };
        let of = &self.nodes[at];
        let Some(sets) = self.free.get_mut(of.build) else {
            return;
        };
        for kind in [TaskKind::Shard, TaskKind::Assemble] {
            if of.free(kind) == 0 {
                sets[set_of(kind)].remove(&node);
            }
        }
    }

    /// Whether a node may run one more task that takes no slot of it.
    pub fn has_place_beside(&self, node: u64) -> bool {
        self.at(node)
            .is_some_and(|at| self.nodes[at].has_place_beside())
    }

    /// Whether some node may.
    pub fn any_place_beside(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| !node.build.is_empty() && node.has_place_beside())
    }

    /// How many more attempts of a kind the node may run.
    pub fn free(&self, node: u64, kind: TaskKind) -> u32 {
        self.at(node).map_or(0, |at| self.nodes[at].free(kind))
    }

    /// Whether a node has memory for one more attempt of a kind at a job.
    pub fn has_memory(&self, node: u64, kind: TaskKind, job: &Job) -> bool {
        self.shards_by_memory(node, memory_of(job, kind)) > 0
    }

    /// For how many more that take so much a node has memory.
    fn shards_by_memory(&self, node: u64, each_mib: u64) -> u64 {
        let at = self.at(node).map(|at| &self.nodes[at]);
        let known = at.filter(|of| of.memory_mib > 0);
        let left = known.map(|of| of.memory_mib.saturating_sub(of.taken_mib));
        left.and_then(|left| left.checked_div(each_mib))
            .unwrap_or(u64::MAX)
    }

    /// The nodes of a build that may run one more attempt of a kind; of any build
    /// where none is named.
    pub fn free_of(&self, build: &str, kind: TaskKind) -> impl Iterator<Item = u64> {
        let named = self.free.get(build).into_iter();
        let all = build.is_empty().then(|| self.free.values());
        let sets = named.chain(all.into_iter().flatten());
        sets.flat_map(move |sets| sets[set_of(kind)].iter().copied())
    }

    /// The slots of all nodes of a build that may be given shards of a job.
    pub fn slots_of(&self, build: &str, job: &Job) -> impl Iterator<Item = Slots> {
        let each_mib = memory_of(job, TaskKind::Shard);
        let nodes = self.nodes.iter();
        let works = |node: &NodeUse<'_>| node.slots > 0 && !node.draining;
        let nodes = nodes.filter(move |node| node.build == build && works(node));
        let slots = nodes.map(move |node| {
            let most = match node.memory_mib {
                0 => None,
                memory_mib => memory_mib.checked_div(each_mib),
            };
            let most = most.unwrap_or(u64::MAX).min(node.slots.into()) as u32;
            let left = self.shards_by_memory(node.id, each_mib);
            let free = u64::from(node.free(TaskKind::Shard)).min(left) as u32;
            Slots {
                node: node.id,
                all: most,
                free,
            }
        });
        slots.filter(|slots| slots.all > 0)
    }

    /// How long each thing that runs on a node will run on.
    pub fn busy_ms(&self, node: u64) -> &[u64] {
        let busy = self
            .busy_ms
            .get_or_init(|| busy_ms(self.state, self.health));
        busy.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Whether a node of this build may run one more attempt of a kind.
    pub fn any_free(&self, build: &str, kind: TaskKind) -> bool {
        self.free_of(build, kind).next().is_some()
    }

    /// The same of the nodes that are not `left_out`.
    pub fn any_free_but(
        &self,
        build: &str,
        kind: TaskKind,
        left_out: impl Fn(u64) -> bool,
    ) -> bool {
        self.free_of(build, kind).any(|node| !left_out(node))
    }

    pub fn running_of(&self, tenant: &str) -> u32 {
        self.by_tenant.get(tenant).map_or(0, |running| running.all)
    }

    /// Whether a small job of a tenant may overtake its older ones.
    pub fn may_overtake(&self, tenant: &str) -> bool {
        let running = self.by_tenant.get(tenant).copied().unwrap_or_default();
        running.small * SMALL_JOBS_SHARE <= running.all
    }
}

fn busy_ms(state: &State, health: &ClusterHealth) -> BTreeMap<u64, Vec<u64>> {
    let mut busy: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in state.eventful() {
        let rates = rates_of(health, &entry.job);
        let running = entry.running.iter().filter_map(|key| entry.tasks.get(key));
        // What takes no slot keeps none from being free.
        for task in running.filter(|task| !is_beside(&entry.job, task.kind())) {
            for (attempt, node) in task.attempts_running() {
                let left_ms = match task.kind() {
                    TaskKind::Shard | TaskKind::Probe => {
                        rates.left_ms(task.key(), attempt, node, task.frames)
                    }
                    // The sound of a film takes a part of its pictures' time.
                    TaskKind::Audio => Rates::ms(entry.job.frames_total / 10, rates.rate(node)),
                    // All the tasks that are left of such a job are these.
                    TaskKind::Measure => {
                        let frames = entry.job.frames_total / entry.tasks.len().max(1) as u64;
                        Rates::ms(frames, rates.rate(node))
                    }
                    _ => SMALL_TASK_MS,
                };
                busy.entry(node).or_default().push(left_ms);
            }
        }
    }
    busy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_takes_memory_whatever_its_film_says() {
        let mut job = Job::default();
        assert_eq!(memory_of(&job, TaskKind::Shard), 0);
        assert_eq!(memory_of(&job, TaskKind::Measure), MEASURE_MEMORY_MIB_MIN);
        job.shard_memory_mib = 2_000;
        assert_eq!(memory_of(&job, TaskKind::Measure), 2_000);
    }
}
