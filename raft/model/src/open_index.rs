//! Index of the jobs that have not ended, by what the leader's plan looks for:
//! who runs something or has failed at something, whose homes need care, and
//! who waits for a slot, in which order. With it a plan costs what there is to
//! do, and not how many jobs there are.

use std::collections::BTreeMap;

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{
    place::Place,
    rows::{Job, JobState},
};

/// Jobs with the same encoder build, empty before their first assignment.
pub(crate) type Build = String;

/// Jobs in the order in which they are next, by priority, deadline and age.
pub(crate) type Line = Map<Place, String>;

/// The index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OpenIndex {
    /// Jobs with a running task, or one that has failed before.
    eventful: Set<String>,
    /// Jobs without homes, or with homes that are not settled: one is to be
    /// filled, or retires.
    unsettled: Set<String>,
    /// Jobs with an offer that is not decided.
    offered: Set<String>,
    /// Finished jobs whose output is compared with their source. Of all else here they
    /// stand in line alone, and among those that run something.
    measuring: Set<String>,
    /// By home, also one that retires, and build: its jobs.
    at: Map<(u64, Build), Set<String>>,
    /// How many jobs each node is a home of, those that retire not counted.
    load: Map<u64, usize>,
    /// By their number of homes, those that retire not counted: jobs. A cluster
    /// with more voters keeps more copies.
    by_copies: Map<usize, Set<String>>,
    /// By build, tenant and whether they are small: the jobs with a pending task, in
    /// line, but for those that are assembled.
    waiting: Map<(Build, String, bool), Line>,
    /// By build: frames of shards that wait.
    frames_waiting: Map<Build, u64>,
    /// By home, build and tenant: jobs with a pending assembly there, in line. They
    /// stand in no line of shards.
    assembling: Map<(u64, Build, String), Line>,
}

/// What a change of a job's tasks may change here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether a task runs, or has failed before.
    pub eventful: bool,
    /// Whether a task waits for a node.
    pub waits: bool,
    /// The nodes for which an assembly waits.
    pub assemblies: Vec<u64>,
    /// Frames of its shards that wait.
    pub frames_waiting: u64,
}

impl OpenIndex {
    /// Takes a job out, as it was entered.
    pub fn remove(&mut self, job: &Job, standing: &Standing) {
        if job.state().ended() {
            self.measure(job, standing, false);
            return;
        }
        self.eventful.remove_mut(&job.id);
        self.unsettled.remove_mut(&job.id);
        self.offered.remove_mut(&job.id);
        for home in &job.homes {
            let place = (home.node, job.build.clone());
            if let Some(jobs) = self.at.get_mut(&place) {
                jobs.remove_mut(&job.id);
                if jobs.is_empty() {
                    self.at.remove_mut(&place);
                }
            }
        }
        let copies = job.current_homes().count();
        if let Some(jobs) = self.by_copies.get_mut(&copies) {
            jobs.remove_mut(&job.id);
            if jobs.is_empty() {
                self.by_copies.remove_mut(&copies);
            }
        }
        for home in job.current_homes() {
            let load = self.load.get(&home.node).copied().unwrap_or(0);
            match load {
                0 | 1 => drop(self.load.remove_mut(&home.node)),
                load => self.load.insert_mut(home.node, load - 1),
            }
        }
        self.wait(job, standing, false);
        self.count_frames(job, standing.frames_waiting, 0);
    }

    /// Enters a job, unless it has ended.
    pub fn insert(&mut self, job: &Job, standing: &Standing) {
        if job.state().ended() {
            self.measure(job, standing, true);
            return;
        }
        if standing.eventful {
            self.eventful.insert_mut(job.id.clone());
        }
        if job.homes.is_empty() || job.is_filling() || job.retiring_homes().next().is_some() {
            self.unsettled.insert_mut(job.id.clone());
        }
        for home in &job.homes {
            let place = (home.node, job.build.clone());
            with(&mut self.at, place, |jobs| jobs.insert_mut(job.id.clone()));
        }
        if job.offer().is_some() {
            self.offered.insert_mut(job.id.clone());
        }
        let copies = job.current_homes().count();
        with(&mut self.by_copies, copies, |jobs| {
            jobs.insert_mut(job.id.clone())
        });
        for home in job.current_homes() {
            let load = self.load.get(&home.node).copied().unwrap_or(0);
            self.load.insert_mut(home.node, load + 1);
        }
        self.wait(job, standing, true);
        self.count_frames(job, 0, standing.frames_waiting);
    }

    /// Enters a job that has ended, or takes it out, if its output is compared.
    fn measure(&mut self, job: &Job, standing: &Standing, enter: bool) {
        if !job.is_measuring() {
            return;
        }
        let id = job.id.clone();
        match enter && standing.eventful {
            true => self.eventful.insert_mut(id.clone()),
            false => drop(self.eventful.remove_mut(&id)),
        }
        match enter {
            true => self.measuring.insert_mut(id),
            false => drop(self.measuring.remove_mut(&id)),
        }
        self.wait(job, standing, enter);
    }

    fn count_frames(&mut self, job: &Job, before: u64, now: u64) {
        let all = self.frames_waiting(&job.build) + now - before;
        match all {
            0 => drop(self.frames_waiting.remove_mut(&job.build)),
            all => self.frames_waiting.insert_mut(job.build.clone(), all),
        }
    }

    /// Frames of all shards that wait for nodes of a build.
    pub fn frames_waiting(&self, build: &str) -> u64 {
        self.frames_waiting.get(build).copied().unwrap_or(0)
    }

    /// Keeps the index when a job's tasks have changed.
    pub fn update(&mut self, job: &Job, before: &Standing, now: &Standing) {
        if now == before || (job.state().ended() && !job.is_measuring()) {
            return;
        }
        match now.eventful {
            true => self.eventful.insert_mut(job.id.clone()),
            false => drop(self.eventful.remove_mut(&job.id)),
        }
        if now.frames_waiting != before.frames_waiting {
            self.count_frames(job, before.frames_waiting, now.frames_waiting);
        }
        if (now.waits, &now.assemblies) != (before.waits, &before.assemblies) {
            self.wait(job, before, false);
            self.wait(job, now, true);
        }
    }

    /// Has a job stand where this standing puts it, or no more.
    fn wait(&mut self, job: &Job, standing: &Standing, waits: bool) {
        match job.state() {
            JobState::Assembling => {
                for &node in &standing.assemblies {
                    let line = (node, job.build.clone(), job.tenant.clone());
                    enter(&mut self.assembling, line, job, waits);
                }
            }
            _ if standing.waits => {
                let line = (job.build.clone(), job.tenant.clone(), job.is_small());
                enter(&mut self.waiting, line, job, waits);
            }
            _ => {}
        }
    }

    /// Jobs with a running task, or one that has failed before, by id.
    pub fn eventful(&self) -> impl Iterator<Item = &String> {
        self.eventful.iter()
    }

    /// Jobs that lack homes, or are changing them.
    pub fn unsettled(&self) -> impl Iterator<Item = &String> {
        self.unsettled.iter()
    }

    /// Whether the output of some job is compared with its source.
    pub fn is_measuring(&self) -> bool {
        !self.measuring.is_empty()
    }

    /// Finished jobs whose output is compared with their source.
    pub fn measuring(&self) -> impl Iterator<Item = &String> {
        self.measuring.iter()
    }

    /// Jobs with an offer that is not decided.
    pub fn offered(&self) -> impl Iterator<Item = &String> {
        self.offered.iter()
    }

    /// Jobs with another number of homes than `wanted`.
    pub fn other_than(&self, wanted: usize) -> impl Iterator<Item = &String> {
        let others = self.by_copies.iter();
        let others = others.filter(move |(copies, _)| **copies != wanted);
        others.flat_map(|(_, jobs)| jobs.iter())
    }

    /// The jobs of each home and build.
    pub fn places(&self) -> impl Iterator<Item = (u64, &Build, &Set<String>)> {
        let places = self.at.iter();
        places.map(|((node, build), jobs)| (*node, build, jobs))
    }

    /// How many jobs each node is a home of.
    pub fn load(&self) -> BTreeMap<u64, usize> {
        let load = self.load.iter();
        load.map(|(node, jobs)| (*node, *jobs)).collect()
    }

    /// The jobs that wait for a slot, in two lines for each build and tenant: one of
    /// small jobs, which it says, and one of the others.
    pub fn lines(&self) -> impl Iterator<Item = (&Build, bool, &Line)> {
        let lines = self.waiting.iter();
        lines.map(|((build, _, small), jobs)| (build, *small, jobs))
    }

    /// The jobs of a tenant that wait for a slot, next first.
    pub fn line_of(&self, tenant: &str) -> Vec<&str> {
        let lines = self.waiting.iter();
        let own = lines.filter(|((_, of, _), _)| of == tenant);
        let mut line: Vec<(&Place, &str)> = own
            .flat_map(|(_, jobs)| jobs.iter().map(|(place, job)| (place, job.as_str())))
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, job)| job).collect()
    }

    /// The jobs that wait for their assembly, in a line for each home, build and
    /// tenant.
    pub fn assembling(&self) -> impl Iterator<Item = (u64, &Build, &Line)> {
        let lines = self.assembling.iter();
        lines.map(|((node, build, _), jobs)| (*node, build, jobs))
    }
}

/// Has a job stand in its line, or not.
fn enter<K: Ord + Clone>(lines: &mut Map<K, Line>, line: K, job: &Job, waits: bool) {
    if waits {
        with(lines, line, |jobs| {
            jobs.insert_mut(job.place(), job.id.clone());
        });
    } else if let Some(jobs) = lines.get_mut(&line) {
        jobs.remove_mut(&job.place());
        if jobs.is_empty() {
            lines.remove_mut(&line);
        }
    }
}

/// Changes a value of a map, which it makes first where there is none.
pub(crate) fn with<K: Ord + Clone, V: Clone + Default, R>(
    map: &mut Map<K, V>,
    key: K,
    change: impl FnOnce(&mut V) -> R,
) -> R {
    match map.get_mut(&key) {
        Some(value) => change(value),
        None => {
            let mut value = V::default();
            let result = change(&mut value);
            map.insert_mut(key, value);
            result
        }
    }
}
