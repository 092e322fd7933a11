//! Why a job makes no progress: the reason as data, and its words for the
//! job's owner.

use std::fmt;

use super::health::ClusterHealth;
use crate::{
    home_rules::holders,
    rows::{Home, JobState},
    state::JobEntry,
};

/// What a job waits for. `Display` goes on with "waits".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Too few nodes are alive to give the job its first homes.
    HomesToBePlaced { wanted: usize },
    /// These nodes hold the bytes, or are to take them, and all are silent:
    /// without one there is nothing to read or nowhere to write.
    AnyHomeToReturn { homes: Vec<u64> },
    /// No living node has the encoder build that the job is bound to.
    NodeOfBuild { build: String },
    /// These homes live, but cannot run the job's encoder build.
    HomesToAssemble { homes: Vec<u64> },
    /// These homes are silent while the job is assembled.
    HomesToReturn { homes: Vec<u64> },
    /// Tasks are ready and all slots are taken.
    FreeSlot,
}

/// Why a job makes no progress; `None` if it does, or has ended.
pub fn waiting(entry: &JobEntry, health: &ClusterHealth) -> Option<Waiting> {
    let job = &entry.job;
    let state = job.state();
    if state.ended() {
        return None;
    }
    if job.homes.is_empty() {
        let wanted = health.faults() + 1;
        return Some(Waiting::HomesToBePlaced { wanted });
    }
    let homes_where = |found: &dyn Fn(&Home) -> bool| -> Vec<u64> {
        let homes = job.current_homes().filter(|home| found(home));
        homes.map(|home| home.node).collect()
    };
    let lost = homes_where(&|home| !health.alive(home.node));
    let mut holders: Vec<u64> = holders(job).collect();
    holders.sort_unstable();
    let held = holders.iter().any(|&node| health.alive(node));
    // An upload finds what is safe, and asks its client for the rest.
    if !held && state != JobState::Uploading {
        return Some(Waiting::AnyHomeToReturn { homes: holders });
    }
    if lost.len() == job.current_homes().count() {
        return Some(Waiting::AnyHomeToReturn { homes: lost });
    }
    let capable = health
        .nodes
        .keys()
        .any(|&node| health.can_run(node, &job.build));
    if !capable && state != JobState::Uploading {
        let build = job.build.clone();
        return Some(Waiting::NodeOfBuild { build });
    }
    if state == JobState::Assembling {
        let unable = homes_where(&|home| !health.can_run(home.node, &job.build));
        match (lost.is_empty(), unable.is_empty()) {
            (true, false) => return Some(Waiting::HomesToAssemble { homes: unable }),
            (false, _) => return Some(Waiting::HomesToReturn { homes: lost }),
            (true, true) => {}
        }
    }
    let idle = entry.running.is_empty() && !entry.pending.is_empty();
    (idle && state != JobState::Uploading).then_some(Waiting::FreeSlot)
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::HomesToBePlaced { wanted } => {
                write!(f, "for {wanted} living nodes to keep its bytes")
            }
            Waiting::AnyHomeToReturn { homes } => {
                write!(f, "for one of its homes to return: node {}", list(homes))
            }
            Waiting::NodeOfBuild { build } => {
                let build = build.get(..12).unwrap_or("of any kind");
                write!(f, "for a node with encoder build {build}")
            }
            Waiting::HomesToAssemble { homes } => {
                write!(f, "for home {} to be able to assemble", list(homes))
            }
            Waiting::HomesToReturn { homes } => {
                write!(f, "for home {} to return or be replaced", list(homes))
            }
            Waiting::FreeSlot => f.write_str("for a free slot"),
        }
    }
}

fn list(nodes: &[u64]) -> String {
    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
    nodes.join(", ")
}
