//! Index of the jobs that have not ended, by what the leader's plan looks for:
//! who runs something or has failed at something, whose homes need care, and
//! who waits for a slot, in which order. With it a plan costs what there is to
//! do, and not how many jobs there are.

use std::collections::BTreeMap;

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::state::JobEntry;

/// Jobs with the same encoder build, empty before their first assignment.
pub(crate) type Build = String;

/// The index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OpenIndex {
    /// Jobs with a running task, or one that has failed before.
    eventful: Set<String>,
    /// Jobs without homes, or with homes that are not settled: one is to be
    /// filled, or retires.
    unsettled: Set<String>,
    /// By home, also one that retires, and build: its jobs.
    at: Map<(u64, Build), Set<String>>,
    /// How many jobs each node is a home of, those that retire not counted.
    load: Map<u64, usize>,
    /// By build and tenant: the jobs with a pending task, by age.
    waiting: Map<(Build, String), Map<u64, String>>,
}

/// What a change of a job's tasks may change here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    eventful: bool,
    waits: bool,
}

impl Standing {
    /// How a job's tasks stand.
    pub fn of(entry: &JobEntry) -> Self {
        Standing {
            eventful: !entry.running.is_empty() || !entry.failed.is_empty(),
            waits: !entry.pending.is_empty(),
        }
    }
}

impl OpenIndex {
    /// Takes a job out, as it was entered.
    pub fn remove(&mut self, entry: &JobEntry) {
        let job = &entry.job;
        if job.state().ended() {
            return;
        }
        self.eventful.remove_mut(&job.id);
        self.unsettled.remove_mut(&job.id);
        for home in &job.homes {
            let place = (home.node, job.build.clone());
            if let Some(jobs) = self.at.get_mut(&place) {
                jobs.remove_mut(&job.id);
                if jobs.is_empty() {
                    self.at.remove_mut(&place);
                }
            }
        }
        for home in job.current_homes() {
            let load = self.load.get(&home.node).copied().unwrap_or(0);
            match load {
                0 | 1 => drop(self.load.remove_mut(&home.node)),
                load => self.load.insert_mut(home.node, load - 1),
            }
        }
        self.wait(entry, false);
    }

    /// Enters a job, unless it has ended.
    pub fn insert(&mut self, entry: &JobEntry) {
        let job = &entry.job;
        if job.state().ended() {
            return;
        }
        let Standing { eventful, waits } = Standing::of(entry);
        if eventful {
            self.eventful.insert_mut(job.id.clone());
        }
        if job.homes.is_empty() || job.is_filling() || job.retiring_homes().next().is_some() {
            self.unsettled.insert_mut(job.id.clone());
        }
        for home in &job.homes {
            let place = (home.node, job.build.clone());
            with(&mut self.at, place, |jobs| jobs.insert_mut(job.id.clone()));
        }
        for home in job.current_homes() {
            let load = self.load.get(&home.node).copied().unwrap_or(0);
            self.load.insert_mut(home.node, load + 1);
        }
        if waits {
            self.wait(entry, true);
        }
    }

    /// Keeps the index when a job's tasks have changed.
    pub fn update(&mut self, before: Standing, entry: &JobEntry) {
        let now = Standing::of(entry);
        let job = &entry.job;
        if now == before || job.state().ended() {
            return;
        }
        match now.eventful {
            true => self.eventful.insert_mut(job.id.clone()),
            false => drop(self.eventful.remove_mut(&job.id)),
        }
        if now.waits != before.waits {
            self.wait(entry, now.waits);
        }
    }

    fn wait(&mut self, entry: &JobEntry, waits: bool) {
        let job = &entry.job;
        let line = (job.build.clone(), job.tenant.clone());
        if waits {
            with(&mut self.waiting, line, |jobs| {
                jobs.insert_mut(job.created_index, job.id.clone());
            });
        } else if let Some(jobs) = self.waiting.get_mut(&line) {
            jobs.remove_mut(&job.created_index);
            if jobs.is_empty() {
                self.waiting.remove_mut(&line);
            }
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

    /// The jobs that wait for a slot, in a line for each build and tenant, the
    /// oldest first.
    pub fn lines(&self) -> impl Iterator<Item = (&Build, &Map<u64, String>)> {
        let lines = self.waiting.iter();
        lines.map(|((build, _), jobs)| (build, jobs))
    }
}

/// Changes a value of a map, which it makes first where there is none.
fn with<K: Ord + Clone, V: Clone + Default>(
    map: &mut Map<K, V>,
    key: K,
    change: impl FnOnce(&mut V),
) {
    match map.get_mut(&key) {
        Some(value) => change(value),
        None => {
            let mut value = V::default();
            change(&mut value);
            map.insert_mut(key, value);
        }
    }
}
