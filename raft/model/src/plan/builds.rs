//! Encoder builds: which of them a job may be bound to, and when a job's own is
//! gone for so long that it is planned anew under another.

use std::{borrow::Cow, collections::BTreeMap};

use super::health::ClusterHealth;
use crate::{
    command::Replan,
    engine_rows::is_engine,
    job_entry::JobEntry,
    limits::REPLAN_LEVEL,
    rows::{Job, JobState, Task, TaskKind, TaskState},
    spec::Spec,
    state::State,
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
    /// Whether some node can't make all that a spec may ask for.
    unlike: bool,
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
            unlike: health.nodes.values().any(|node| !node.lacks.is_empty()),
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

    /// Whether a job takes the output of an equal one: its build is one that the job
    /// might be given anyway, and some home of it lives.
    pub(super) fn takes(&self, job: &Job, other: &Job) -> bool {
        let mut homes = other.current_homes();
        self.health.reuse_outputs
            && job.is_made_by(other)
            && homes.any(|home| self.health.alive(home.node))
            && self.may_bind(&other.build, &job.spec)
    }

    /// Whether an analysis may bind its job to a build: one that can make it, and
    /// that enough nodes have to assemble the output too. Where none is so, and
    /// none may come to be so, the one that most have, and of equals that of the
    /// least node.
    fn may_bind(&self, build: &str, spec: &Spec) -> bool {
        let able = self.able_to_make(spec);
        let most = able.values().copied().max().unwrap_or(0);
        let own = able.get(build).copied().unwrap_or(0);
        match most >= self.wanted {
            true => own >= self.wanted,
            false => most + self.away < self.wanted && self.first_of(&able, most) == Some(build),
        }
    }

    /// Nodes that may be given work and can make a spec, by build.
    fn able_to_make(&self, spec: &Spec) -> Cow<'_, BTreeMap<&'a str, usize>> {
        if !self.unlike {
            return Cow::Borrowed(&self.able);
        }
        let mut able: BTreeMap<&str, usize> = BTreeMap::new();
        for (&id, node) in &self.health.nodes {
            if self.health.can_run(id, &node.build) && node.lacking(spec).is_none() {
                *able.entry(&node.build).or_default() += 1;
            }
        }
        Cow::Owned(able)
    }

    /// What no living node can make of a spec, if no silent one may bring it.
    pub(super) fn missing_everywhere(&self, spec: &Spec) -> Option<&'static str> {
        let mut nodes = self.health.nodes.values();
        let living = nodes
            .clone()
            .find(|node| node.alive && !node.build.is_empty())?;
        let first = living.lacking(spec)?;
        let able =
            nodes.any(|node| !node.build.is_empty() && node.alive && node.lacking(spec).is_none());
        (!able && self.away == 0).then_some(first)
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
    pub(super) fn suits(&self, node: u64, build: &str, spec: &Spec) -> bool {
        let own = self.health.nodes.get(&node);
        let may_bind =
            own.is_some_and(|own| own.lacking(spec).is_none() && self.may_bind(&own.build, spec));
        (!build.is_empty() || may_bind) && self.health.can_run(node, build)
    }

    /// Whether a task has failed for want of an encoder, or of a decoder of its
    /// source, on a node; an analysis, on any node of its build, but one that is
    /// known to lack it alone.
    pub(super) fn lacks_encoder(&self, node: u64, task: &Task, spec: &Spec) -> bool {
        let known = |node: u64| self.health.nodes.get(&node);
        let alike = |other: u64| {
            let build = known(other).map(|other| &other.build);
            let alone = known(other).is_some_and(|other| other.lacking(spec).is_some());
            task.kind() == TaskKind::Analyze
                && build == known(node).map(|node| &node.build)
                && !alone
        };
        let mut failures = task.failures.iter();
        failures.any(|failure| {
            let missing = failure.problem.is_of_build();
            missing && (failure.node == node || alike(failure.node))
        })
    }

    /// Whether a living node of a job's build may well have the encoder or decoder
    /// that a task did not find elsewhere.
    pub(super) fn may_find_encoder(&self, job: &Job, task: &Task) -> bool {
        let mut nodes = self.own_able(job);
        task.kind() != TaskKind::Assemble
            && nodes.any(|node| !self.lacks_encoder(node, task, &job.spec))
    }

    /// Whether a member of a build lives.
    pub(super) fn has_living(&self, build: &str) -> bool {
        let mut nodes = self.health.nodes.values();
        nodes.any(|node| node.alive && node.build == build)
    }

    /// Whether a node lacks what a job needs, where others of its build do not:
    /// it gets none of its work but assemblies. An engine that lacks it, or may not
    /// work on the job, gets none.
    pub(super) fn shuns(&self, node: u64, job: &Job) -> bool {
        if is_engine(node) {
            let engine = self.health.engines.get(&node);
            let able = engine.is_some_and(|engine| engine.lacking(&job.spec).is_none());
            return !able || !job.takes_engines();
        }
        let lacking = || {
            let known = self.health.nodes.get(&node);
            known.is_some_and(|known| known.lacking(&job.spec).is_some())
        };
        self.unlike && lacking() && self.own_able(job).next().is_some()
    }

    /// The living nodes of a job's build that lack nothing for it.
    fn own_able(&self, job: &Job) -> impl Iterator<Item = u64> {
        let nodes = self.health.nodes.iter();
        let own = nodes.filter(|(_, node)| node.alive && node.build == job.build);
        own.filter(|(_, node)| node.lacking(&job.spec).is_none())
            .map(|(id, _)| *id)
    }

    /// Whether a task that found no encoder or decoder in one build can't find it in
    /// another: in none that lives, nor in one that may come back.
    pub(super) fn all_lack_encoder(&self, task: &Task, spec: &Spec) -> bool {
        let mut nodes = self.health.nodes.keys();
        let may = |id: u64| self.suits(id, "", spec) && !self.lacks_encoder(id, task, spec);
        self.away == 0 && !nodes.any(|&id| may(id))
    }

    /// The build of the least node among those that so many nodes have.
    fn first_of(&self, able: &BTreeMap<&'a str, usize>, most: usize) -> Option<&'a str> {
        let mut nodes = self.health.nodes.values();
        let common = |build: &str| able.get(build) == Some(&most);
        nodes
            .find(|node| node.alive && common(&node.build))
            .map(|node| node.build.as_str())
    }

    /// Whether a job that can't be made under its build goes to another.
    pub(super) fn can_go_elsewhere(&self, job: &Job) -> bool {
        self.is_unable(job) && self.enough_can_make(&job.spec)
    }

    /// Whether a job is bound to a build that can't make it after all.
    fn is_unable(&self, job: &Job) -> bool {
        let begun = matches!(job.state(), JobState::Analyzing | JobState::Encoding);
        let nodes = self.health.nodes.values();
        let mut own = nodes
            .filter(|node| node.alive && node.build == job.build)
            .peekable();
        begun && own.peek().is_some() && own.all(|node| node.lacking(&job.spec).is_some())
    }

    /// Whether enough nodes of one build can make a spec.
    fn enough_can_make(&self, spec: &Spec) -> bool {
        let able = self.able_to_make(spec);
        able.values().any(|&nodes| nodes >= self.wanted)
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
        let lacking = |build: &str| {
            let mut nodes = self.health.nodes.values();
            nodes.any(|node| node.build == build && !node.lacks.is_empty())
        };
        let missed = places.filter(|(_, build, _)| {
            !build.is_empty() && (self.left_of(build) < self.wanted || lacking(build))
        });
        let entries =
            missed.flat_map(|(_, _, jobs)| jobs.iter().filter_map(|id| state.current(id)));
        entries
            .filter(|entry| self.is_missing(entry) || self.is_unable(&entry.job))
            .filter(|entry| self.enough_can_make(&entry.job.spec))
            .map(|entry| (&entry.job.id, self.replan(&entry.job)))
            .collect()
    }

    /// Nodes of a build that live or may come back.
    fn left_of(&self, build: &str) -> usize {
        self.living.get(build).copied().unwrap_or(0) + self.away
    }

    fn replan(&self, job: &Job) -> Replan {
        let living = self.living.get(job.build.as_str()).copied().unwrap_or(0);
        let build = short(&job.build);
        let note = match self.is_unable(job) {
            true => format!(
                "planned anew under another encoder build, as its own, {build}, can't make it"
            ),
            false => format!(
                "planned anew under another encoder build, as of its own, {build}, {living} of the \
                 {} nodes that it takes are left",
                self.wanted
            ),
        };
        Replan {
            job: job.id.clone(),
            build: job.build.clone(),
            replans: job.replans,
            note,
        }
    }
}

/// The beginning of a build, as people see it.
pub(super) fn short(build: &str) -> &str {
    build.get(..12).unwrap_or(build)
}
