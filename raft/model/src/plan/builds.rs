//! Encoder builds: which of them a job may be bound to, and when a job's own is
//! gone for so long that it is planned anew under another.

use std::collections::BTreeMap;

use super::health::ClusterHealth;
use crate::{
    command::Replan,
    limits::REPLAN_LEVEL,
    rows::{Job, Problem, Task, TaskKind, TaskState},
    state::{JobEntry, State},
};

/// The builds of the nodes as a leader sees them now.
pub(super) struct Builds<'a> {
    pub(super) health: &'a ClusterHealth,
    /// Nodes that may be given work, by build.
    able: BTreeMap<&'a str, usize>,
    /// Nodes that live, by build: trouble passes.
    living: BTreeMap<&'a str, usize>,
    /// Nodes that are silent and may come back, or are starting, with whatever
    /// build.
    away: usize,
    /// How many nodes of one build it takes to assemble a job.
    wanted: usize,
    /// How many nodes have the build that most have.
    most: usize,
}

impl<'a> Builds<'a> {
    pub(super) fn of(health: &'a ClusterHealth) -> Self {
        let mut builds = Builds {
            health,
            able: BTreeMap::new(),
            living: BTreeMap::new(),
            away: 0,
            wanted: health.faults() + 1,
            most: 0,
        };
        for (&id, node) in &health.nodes {
            if node.alive && node.starting {
                builds.away += 1;
            } else if !node.alive {
                builds.away += usize::from(node.silent_ms < health.replan_after_ms);
            } else if !node.build.is_empty() {
                *builds.living.entry(&node.build).or_default() += 1;
                if health.can_run(id, &node.build) {
                    *builds.able.entry(&node.build).or_default() += 1;
                }
            }
        }
        builds.most = builds.able.values().copied().max().unwrap_or(0);
        builds
    }

    /// Whether an analysis may bind its job to a build: one that enough nodes
    /// have to assemble the output too. Where none is so, and none may come to
    /// be so, the one that most have, and of equals that of the least node.
    pub(super) fn may_bind(&self, build: &str) -> bool {
        match self.most >= self.wanted {
            true => self.has_enough(build),
            false => !self.may_grow() && self.commonest() == Some(build),
        }
    }

    /// How many nodes with one build are waited for: there are too few, and
    /// those that are silent may be so many. A leader that has just been elected
    /// has not heard of most.
    pub(super) fn waited_for(&self) -> Option<usize> {
        (self.most < self.wanted && self.may_grow()).then_some(self.wanted)
    }

    fn may_grow(&self) -> bool {
        self.most + self.away >= self.wanted
    }

    /// Whether a node may be given a job's work. A job without a build is bound
    /// to that of the node that is given its analysis.
    pub(super) fn suits(&self, node: u64, build: &str) -> bool {
        let own = self.health.nodes.get(&node).map(|node| node.build.as_str());
        let bound = !build.is_empty() || own.is_some_and(|own| self.may_bind(own));
        bound && self.health.can_run(node, build)
    }

    /// Whether a task has failed for want of an encoder on a node of this one's
    /// build.
    pub(super) fn lacks_encoder(&self, node: u64, task: &Task) -> bool {
        let build = |node: u64| self.health.nodes.get(&node).map(|node| &node.build);
        let mut failures = task.failures.iter();
        failures.any(|failure| {
            let missing = failure.problem.kind == Problem::ENCODER_MISSING;
            missing && (failure.node == node || build(failure.node) == build(node))
        })
    }

    /// Whether a task that found no encoder in one build can't find it in
    /// another: in none that lives, nor in one that may come back.
    pub(super) fn all_lack_encoder(&self, task: &Task) -> bool {
        let mut nodes = self.health.nodes.keys();
        self.away == 0 && !nodes.any(|&id| self.suits(id, "") && !self.lacks_encoder(id, task))
    }

    fn commonest(&self) -> Option<&'a str> {
        let mut nodes = self.health.nodes.values();
        let common = |build: &str| self.able.get(build) == Some(&self.most);
        nodes
            .find(|node| node.alive && common(&node.build))
            .map(|node| node.build.as_str())
    }

    fn has_enough(&self, build: &str) -> bool {
        self.able.get(build).copied().unwrap_or(0) >= self.wanted
    }

    /// Whether a job can't be assembled under its build: not by the nodes that
    /// live, nor with those that may come back.
    pub(super) fn is_missing(&self, entry: &JobEntry) -> bool {
        let build = entry.job.build.as_str();
        let left = self.left_of(build);
        if build.is_empty() || left >= self.wanted {
            return false;
        }
        // What has assembled the output need not do so again.
        let foreign = |node: u64| {
            let node = self.health.nodes.get(&node);
            node.is_some_and(|node| node.alive && !node.starting && node.build != build)
        };
        let done = entry.job.current_homes().filter(|home| {
            let task = entry.tasks.get(&(TaskKind::Assemble, home.node as u32));
            foreign(home.node) && task.is_some_and(|task| task.state() == TaskState::Done)
        });
        left + done.count() < self.wanted
    }

    /// How jobs are planned anew whose build is missing, by their ids. Where no
    /// other build can end them, moving them would only lose work, and they wait.
    pub(super) fn replans<'s>(&self, state: &'s State) -> BTreeMap<&'s String, Replan> {
        let written = state.feature_level() >= REPLAN_LEVEL;
        if !written || self.most < self.wanted {
            return BTreeMap::new();
        }
        let places = state.open().places();
        let missed =
            places.filter(|(_, build, _)| !build.is_empty() && self.left_of(build) < self.wanted);
        let entries = missed.flat_map(|(_, _, jobs)| jobs.iter().filter_map(|id| state.job(id)));
        entries
            .filter(|entry| self.is_missing(entry))
            .map(|entry| (&entry.job.id, self.replan(&entry.job)))
            .collect()
    }

    /// Nodes of a build that live or may come back.
    fn left_of(&self, build: &str) -> usize {
        self.living.get(build).copied().unwrap_or(0) + self.away
    }

    fn replan(&self, job: &Job) -> Replan {
        let living = self.living.get(job.build.as_str()).copied().unwrap_or(0);
        Replan {
            job: job.id.clone(),
            build: job.build.clone(),
            replans: job.replans,
            note: format!(
                "planned anew under another encoder build, as of its own, {}, {living} of the {} \
                 nodes that it takes are left",
                short(&job.build),
                self.wanted
            ),
        }
    }
}

/// The beginning of a build, as people see it.
pub(super) fn short(build: &str) -> &str {
    build.get(..12).unwrap_or(build)
}
