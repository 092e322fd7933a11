//! Index of the jobs that have ended and keep something, by their homes: what a lost
//! node held is found without a walk over all jobs ever made.

use std::collections::BTreeMap;

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::{
    open_index::with,
    pages::Pages,
    rows::{Home, Job},
};

/// What a home is to have of a job changes only with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The epoch of its homes.
    pub epoch: u64,
    /// The comparison with its source whose findings it has, by
    /// [`crate::Measurement::begun_index`]; 0 for none.
    pub measured: u64,
}

impl Kept {
    /// What of it follows from a job's row.
    pub fn of(job: &Job) -> Self {
        Kept {
            epoch: job.epoch,
            measured: match &job.measurement {
                Some(measurement) if !measurement.parts.is_empty() => measurement.begun_index,
                _ => 0,
            },
        }
    }
}

/// Jobs that have ended by where their outputs, or their sources, are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OutputIndex {
    /// By homes, of which there are few sets: the jobs by age.
    at: Map<Vec<Home>, Pages<u64, Kept>>,
    /// The same of those without an output that may be tried again: their ages.
    sources: Map<Vec<Home>, Set<u64>>,
}

impl OutputIndex {
    /// Keeps the index when a job's row changes.
    pub fn update(&mut self, before: Option<&Job>, after: &Job) {
        if let Some(before) = before.filter(|job| is_kept(job))
            && let Some(jobs) = self.at.get_mut(&before.homes)
        {
            jobs.remove_mut(&before.created_index);
            if jobs.is_empty() {
                self.at.remove_mut(&before.homes);
            }
        }
        if is_kept(after) {
            with(&mut self.at, after.homes.clone(), |jobs| {
                jobs.insert_mut(after.created_index, Kept::of(after));
            });
        }
        self.update_sources(before, after);
    }

    fn update_sources(&mut self, before: Option<&Job>, after: &Job) {
        if let Some(before) = before.filter(|job| job.keeps_source())
            && let Some(jobs) = self.sources.get_mut(&before.homes)
        {
            jobs.remove_mut(&before.created_index);
            if jobs.is_empty() {
                self.sources.remove_mut(&before.homes);
            }
        }
        if after.keeps_source() {
            with(&mut self.sources, after.homes.clone(), |jobs| {
                jobs.insert_mut(after.created_index);
            });
        }
    }

    /// The jobs with the same homes, by age.
    pub fn groups(&self) -> impl Iterator<Item = (&Vec<Home>, &Pages<u64, Kept>)> {
        self.at.iter()
    }

    /// The jobs without an output whose homes keep their source, by homes: their ages.
    pub fn sources(&self) -> impl Iterator<Item = (&Vec<Home>, &Set<u64>)> {
        self.sources.iter()
    }

    /// How many outputs each node is a home of, also while it retires.
    pub fn counts(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for (homes, jobs) in self.groups() {
            for home in homes {
                *counts.entry(home.node).or_default() += jobs.size();
            }
        }
        counts
    }
}

fn is_kept(job: &Job) -> bool {
    job.state().ended() && job.state().keeps_bytes()
}
