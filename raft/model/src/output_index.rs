//! Index of the finished jobs that keep an output, by their homes: what a lost
//! node held is found without a walk over all jobs ever made.

use std::collections::BTreeMap;

use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};

use crate::rows::Job;

/// Finished jobs by where their outputs are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OutputIndex {
    /// By node: the jobs that it is a home of, also while it retires.
    at: Map<u64, Set<String>>,
    /// Jobs with a home that is not filled yet.
    filling: Set<String>,
}

impl OutputIndex {
    /// Keeps the index when a job's row changes.
    pub fn update(&mut self, before: Option<&Job>, after: &Job) {
        if let Some(before) = before.filter(|job| is_kept(job)) {
            self.filling.remove_mut(&before.id);
            for home in &before.homes {
                if let Some(jobs) = self.at.get_mut(&home.node) {
                    jobs.remove_mut(&before.id);
                    if jobs.is_empty() {
                        self.at.remove_mut(&home.node);
                    }
                }
            }
        }
        if !is_kept(after) {
            return;
        }
        for home in &after.homes {
            if !self.at.contains_key(&home.node) {
                self.at.insert_mut(home.node, Set::default());
            }
            if let Some(jobs) = self.at.get_mut(&home.node) {
                jobs.insert_mut(after.id.clone());
            }
        }
        if after.is_filling() {
            self.filling.insert_mut(after.id.clone());
        }
    }

    /// The jobs with an output on a node.
    pub fn at(&self, node: u64) -> impl Iterator<Item = &String> {
        self.at.get(&node).into_iter().flat_map(Set::iter)
    }

    /// How many outputs each node holds.
    pub fn counts(&self) -> BTreeMap<u64, usize> {
        let counts = self.at.iter().map(|(node, jobs)| (*node, jobs.size()));
        counts.collect()
    }

    /// The jobs of which a home is not filled yet.
    pub fn filling(&self) -> impl Iterator<Item = &String> {
        self.filling.iter()
    }
}

fn is_kept(job: &Job) -> bool {
    job.state().ended() && job.state().keeps_bytes()
}
