//! A job as clients see it: the row of the table, counted up, with what only
//! the leader knows.

use std::fmt;

use reelraft_model::{
    AttemptKey, EngineShare, Job, JobEntry, Rate, TaskKind, TaskState,
    plan::{encoder_of, needs},
    shown_url,
    spec::Spec,
};

use super::estimate::{Estimate, estimate};
use crate::{
    clock::unix_ms,
    node::messages::{JobProgress, NodeStatus},
};

/// A job as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The table's own row.
    pub job: Job,
    pub shards_done: u32,
    pub shards_running: u32,
    /// Encoded frames, those of running attempts included.
    pub frames_done: u64,
    pub estimate: Estimate,
    /// Its place among the jobs of its tenant that wait for a slot, from 1; 0 for
    /// one that does not wait, and where nobody has looked.
    pub queue_position: u32,
    /// Why the job waits, in words; empty if it does not.
    pub waiting: String,
    /// Which nodes alone can make it, in words; empty if all can.
    pub makers: String,
    /// How its rate factor was found, if it aims at something.
    pub rate: Option<RateView>,
    /// What engines made of it.
    pub engines: Vec<EngineShare>,
}

/// How the rate factor of a job was found, or how far the search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateView {
    pub rate: Rate,
    /// Encodes of sampled shards, and how many of them are done.
    pub probes: u32,
    pub probes_done: u32,
}

impl RateView {
    fn of(entry: &JobEntry) -> Option<Self> {
        let rate = entry.job.rate?;
        let (probes, probes_done) = match &entry.job.summary {
            Some(summary) => {
                let probes = summary.of(TaskKind::Probe);
                (probes.total, probes.done)
            }
            None => {
                let done = entry.probes();
                let done = done.filter(|task| task.state() == TaskState::Done);
                (entry.probes().count() as u32, done.count() as u32)
            }
        };
        Some(RateView {
            rate,
            probes,
            probes_done,
        })
    }
}

/// What is done before the first shard of a job that aims at something; empty where
/// nothing is.
fn search_words(entry: &JobEntry, rate: Option<RateView>) -> String {
    match rate.filter(|_| entry.is_searching()) {
        Some(view) => format!(
            "its crf is searched: {} of {} probes are done",
            view.probes_done, view.probes
        ),
        None => String::new(),
    }
}

/// Which nodes can make a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Makers {
    pub able: Vec<u64>,
    /// What some others lack, and why; `None` if all can.
    pub lacking: Option<(String, String)>,
}

impl Makers {
    /// From what all nodes say of themselves; `None` where none has ffmpeg, and
    /// while a node is silent or starting: it may be the one that can.
    pub fn of(nodes: &[&NodeStatus], spec: &Spec) -> Option<Self> {
        if nodes.iter().any(|node| !node.reachable || node.starting) {
            return None;
        }
        let mut makers = Makers {
            able: Vec::new(),
            lacking: None,
        };
        for node in nodes.iter().filter(|node| !node.build.is_empty()) {
            let lack =
                needs(spec).find_map(|what| node.lacks.iter().find(|lack| lack.what == what));
            match lack {
                None => makers.able.push(node.id),
                Some(lack) => {
                    let lack = || (lack.what.clone(), lack.why.clone());
                    makers.lacking.get_or_insert_with(lack);
                }
            }
        }
        (!makers.able.is_empty() || makers.lacking.is_some()).then_some(makers)
    }
}

impl fmt::Display for Makers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((what, _)) = &self.lacking else {
            return Ok(());
        };
        let able: Vec<String> = self.able.iter().map(u64::to_string).collect();
        match able.as_slice() {
            [] => write!(f, "no node has {}", encoder_of(what)),
            [one] => write!(f, "node {one} alone has {}", encoder_of(what)),
            _ => write!(
                f,
                "nodes {} alone have {}",
                able.join(", "),
                encoder_of(what)
            ),
        }
    }
}

/// What is counted of a job's shards.
pub(super) struct Counted {
    pub shards_done: u32,
    pub shards_running: u32,
    pub frames_done: u64,
}

/// Counts a job's shards; `progress` is the leader's last word on it.
pub(super) fn counted(entry: &JobEntry, progress: Option<&JobProgress>) -> Counted {
    let counts = entry.counts;
    let (shards_done, encoded) = match &entry.job.summary {
        Some(summary) => {
            let shards = summary.of(TaskKind::Shard);
            (shards.done, shards.frames)
        }
        None => (counts.shards_done, counts.frames_done),
    };
    Counted {
        shards_done,
        shards_running: counts.shards_running,
        frames_done: encoded + progress.map_or(0, |progress| frames_running(entry, progress)),
    }
}

impl JobView {
    /// A view of a job; `progress` is the leader's last word on it.
    pub fn new(entry: &JobEntry, progress: Option<&JobProgress>) -> Self {
        let Counted {
            shards_done,
            shards_running,
            frames_done,
        } = counted(entry, progress);
        let waiting = progress.map(|progress| progress.waiting.clone());
        let waiting = waiting.filter(|waiting| !waiting.is_empty());
        let rate = RateView::of(entry);
        let own = fetch_words(&entry.job) + &search_words(entry, rate);
        JobView {
            job: entry.job.clone(),
            shards_done,
            shards_running,
            frames_done,
            estimate: estimate(entry, frames_done, progress, unix_ms()),
            queue_position: 0,
            waiting: waiting.unwrap_or(own),
            makers: String::new(),
            rate,
            engines: match &entry.job.summary {
                Some(summary) => summary.engines.clone(),
                None => entry.made_by_engines(),
            },
        }
    }
}

/// Who fetches a job's source, while that is so; empty otherwise.
fn fetch_words(job: &Job) -> String {
    match (job.fetches_from(), job.current_homes().next()) {
        (Some(url), Some(home)) => format!("node {} fetches {}", home.node, shown_url(url)),
        _ => String::new(),
    }
}

/// Frames of the attempts that the table still has as running: one that has
/// just been written down counts as done already.
fn frames_running(entry: &JobEntry, progress: &JobProgress) -> u64 {
    let current = |key: &AttemptKey| {
        let task = entry.tasks.get(&key.task());
        task.is_some_and(|task| task.state() == TaskState::Running && task.attempt == key.attempt)
    };
    let running = progress.running.iter().filter(|(key, _)| current(key));
    running.map(|(_, frames)| frames).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use reelraft_model::spec::{SpecRequest, resolve};

    use super::*;
    use crate::node::messages::Lack;

    #[test]
    fn a_node_that_is_silent_or_starting_may_be_the_one_that_can() {
        let spec = resolve(&SpecRequest::default()).unwrap();
        let lack = Lack {
            what: spec.codec().name().into(),
            why: "it is not there".into(),
        };
        let lacking = NodeStatus {
            id: 1,
            reachable: true,
            build: "b".into(),
            lacks: vec![lack],
            ..Default::default()
        };
        let node = |reachable, starting| NodeStatus {
            id: 2,
            reachable,
            starting,
            ..Default::default()
        };
        let of = |second: &NodeStatus| Makers::of(&[&lacking, second], &spec);
        assert_eq!(of(&node(true, true)), None);
        assert_eq!(of(&node(false, false)), None);
        // It has no ffmpeg.
        let makers = of(&node(true, false)).unwrap();
        assert!(makers.able.is_empty() && makers.lacking.is_some());
    }
}
