//! Why a job makes no progress: the reason as data, and its words for the
//! job's owner.

use std::fmt;

use super::{
    builds::{Builds, short},
    health::{ClusterHealth, encoder_of},
};
use crate::{
    home_rules::holders,
    job_entry::JobEntry,
    rows::{JobState, TaskKind, TaskState},
};

/// What a job waits for. `Display` goes on with "waits".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Too few nodes are alive to give the job its first homes.
    HomesToBePlaced { wanted: usize },
    /// These nodes hold the bytes, or are to take them, and all are silent:
    /// without one there is nothing to read or nowhere to write.
    AnyHomeToReturn { homes: Vec<u64> },
    /// So many nodes must have the same encoder build, and some that are silent
    /// may have it.
    NodesOfOneBuild { wanted: usize },
    /// No living node can make what its spec names.
    NodeThatMakes { what: &'static str },
    /// No living node has the encoder build that the job is bound to.
    NodeOfBuild { job: String, build: String },
    /// These homes have another encoder build than the job is bound to, and no
    /// other node could take their place.
    HomesOfBuild {
        job: String,
        build: String,
        homes: Vec<u64>,
    },
    /// The disks of these nodes are full, and no other has its build.
    Room { nodes: Vec<u64> },
    /// These homes live and have the build, but take no work.
    HomesToAssemble { homes: Vec<u64> },
    /// These homes are silent while the job is assembled.
    HomesToReturn { homes: Vec<u64> },
    /// These nodes live and still try their encoders, and no other can do it.
    NodesToStart { nodes: Vec<u64> },
    /// No living node of its build has memory for a shard, which takes so many MiB; the
    /// largest may give that many.
    NodeWithMemory { wanted_mib: u64, most_mib: u64 },
    /// Tasks are ready, and all slots are taken of the nodes that are there: these
    /// are silent or starting.
    FreeSlot { absent: Vec<u64> },
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
    let homes = job.current_homes().map(|home| home.node);
    let lost: Vec<u64> = homes.filter(|&node| !health.alive(node)).collect();
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
    let starting = health.starting();
    if !capable && state != JobState::Uploading && !starting.is_empty() {
        return Some(Waiting::NodesToStart { nodes: starting });
    }
    let full = full_nodes(health, &job.build);
    if !capable && state != JobState::Uploading && !full.is_empty() {
        return Some(Waiting::Room { nodes: full });
    }
    if !capable && state != JobState::Uploading {
        let (job, build) = (job.id.clone(), job.build.clone());
        return Some(Waiting::NodeOfBuild { job, build });
    }
    if state == JobState::Assembling
        && let Some(waiting) = assembly_waiting(entry, health, lost)
    {
        return Some(waiting);
    }
    if state == JobState::Analyzing && job.build.is_empty() {
        let builds = Builds::of(health);
        if let Some(what) = builds.missing_everywhere(&job.spec) {
            return Some(Waiting::NodeThatMakes { what });
        }
        if let Some(wanted) = builds.waited_for() {
            return Some(Waiting::NodesOfOneBuild { wanted });
        }
    }
    if let Some(waiting) = memory_waiting(entry, health) {
        return Some(waiting);
    }
    let idle = entry.running.is_empty() && !entry.pending.is_empty();
    let absent = health.nodes.iter().filter(|(_, node)| !node.alive);
    let absent = absent.map(|(id, _)| *id).chain(starting).collect();
    (idle && state != JobState::Uploading).then_some(Waiting::FreeSlot { absent })
}

/// Nodes that would work for a build, had their disks room.
fn full_nodes(health: &ClusterHealth, build: &str) -> Vec<u64> {
    let of_build = |known: &str| build.is_empty() || known == build;
    let full = health
        .nodes
        .iter()
        .filter(|(_, node)| node.alive && node.full && !node.draining && of_build(&node.build));
    full.map(|(id, _)| *id).collect()
}

/// The memory that the shards of a job wait for, if no node has it.
fn memory_waiting(entry: &JobEntry, health: &ClusterHealth) -> Option<Waiting> {
    let wanted_mib = u64::from(entry.job.shard_memory_mib);
    let shards = (TaskKind::Shard, 0)..=(TaskKind::Shard, u32::MAX);
    entry.pending.range(shards).next()?;
    let able = health
        .nodes
        .iter()
        .filter(|(id, _)| health.can_run(**id, &entry.job.build));
    let given = able.map(|(_, node)| match node.memory_mib {
        0 => u64::MAX,
        memory_mib => memory_mib,
    });
    let most_mib = given.max()?;
    (most_mib < wanted_mib).then_some(Waiting::NodeWithMemory {
        wanted_mib,
        most_mib,
    })
}

/// What the assembly of a job waits for, besides a slot; `lost` are the homes that
/// are silent.
fn assembly_waiting(entry: &JobEntry, health: &ClusterHealth, lost: Vec<u64>) -> Option<Waiting> {
    let job = &entry.job;
    let open = |node: u64| {
        let task = entry.tasks.get(&(TaskKind::Assemble, node as u32));
        task.is_none_or(|task| task.state() != TaskState::Done)
    };
    let unable = job
        .current_homes()
        .map(|home| home.node)
        .filter(|&node| open(node) && !health.can_run(node, &job.build));
    let starting = health.starting();
    let (starting, unable): (Vec<u64>, Vec<u64>) = unable.partition(|node| starting.contains(node));
    let foreign = |id: &&u64| {
        let node = health.nodes.get(*id);
        node.is_some_and(|node| node.build != job.build)
    };
    let homes: Vec<u64> = unable.iter().filter(foreign).copied().collect();
    if !lost.is_empty() {
        Some(Waiting::HomesToReturn { homes: lost })
    } else if !starting.is_empty() {
        Some(Waiting::NodesToStart { nodes: starting })
    } else if !homes.is_empty() {
        let (job, build) = (job.id.clone(), job.build.clone());
        Some(Waiting::HomesOfBuild { job, build, homes })
    } else if let full = full_nodes(health, &job.build)
        && unable.iter().any(|node| full.contains(node))
    {
        Some(Waiting::Room { nodes: full })
    } else {
        (!unable.is_empty()).then_some(Waiting::HomesToAssemble { homes: unable })
    }
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
            Waiting::NodesOfOneBuild { wanted } => {
                write!(f, "for {wanted} living nodes with the same encoder build")
            }
            Waiting::NodeThatMakes { what } => write!(f, "for a node with {}", encoder_of(what)),
            Waiting::NodeOfBuild { build, .. } if build.is_empty() => {
                f.write_str("for a node with an encoder build of any kind")
            }
            Waiting::NodeOfBuild { job, build } => write!(
                f,
                "for a node with encoder build {}; {}",
                short(build),
                Anew(job)
            ),
            Waiting::HomesOfBuild { job, build, homes } => write!(
                f,
                "for home {} to have encoder build {} to assemble it with; {}",
                list(homes),
                short(build),
                Anew(job)
            ),
            Waiting::Room { nodes } => write!(
                f,
                "for room on the disk of node {}: delete finished jobs, or make room there",
                list(nodes)
            ),
            Waiting::HomesToAssemble { homes } => {
                write!(f, "for home {} to be able to assemble", list(homes))
            }
            Waiting::HomesToReturn { homes } => {
                write!(f, "for home {} to return or be replaced", list(homes))
            }
            Waiting::NodesToStart { nodes } => {
                write!(f, "for node {} to have tried its encoders", list(nodes))
            }
            Waiting::NodeWithMemory {
                wanted_mib,
                most_mib,
            } => write!(
                f,
                "for a node that can give a shard {wanted_mib} MiB of memory; the largest has {most_mib}"
            ),
            Waiting::FreeSlot { absent } if absent.is_empty() => f.write_str("for a free slot"),
            Waiting::FreeSlot { absent } => {
                write!(
                    f,
                    "for a free slot; node {} can't be asked now",
                    list(absent)
                )
            }
        }
    }
}

/// How a job's owner can have it made under another build.
struct Anew<'a>(&'a str);

impl fmt::Display for Anew<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`reelraft job replan {}` makes it anew with another",
            self.0
        )
    }
}

fn list(nodes: &[u64]) -> String {
    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
    nodes.join(", ")
}
