//! What a node tells all who follow it, found once and shared.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::{estimate::Estimate, limits::PROGRESS_KEPT};
use crate::node::messages::NodeStatus;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterStatus {
    pub cluster_id: String,
    /// None during an election.
    pub leader: Option<u64>,
    pub term: u64,
    pub answered_by: u64,
    /// How far the answering node has applied the log.
    pub applied_index: u64,
    /// How long the answering node bears a silent leader.
    pub election_timeout_ms: u64,
    /// Up to which level the log may be written.
    pub feature_level: u32,
    /// How many voters are wanted.
    pub voters_wanted: u32,
    pub nodes: Vec<NodeStatus>,
}

/// Something that many are told, in the form that the first of them made of it.
#[derive(Debug)]
pub struct Shared<T> {
    pub value: T,
    pub text: OnceLock<Bytes>,
}

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Arc<Self> {
        let text = OnceLock::new();
        Arc::new(Shared { value, text })
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobNews {
    pub job: String,
    pub tenant: String,
    pub shards_total: u32,
    pub shards_done: u32,
    pub shards_running: u32,
    pub frames_total: u64,
    pub frames_done: u64,
    pub estimate: Estimate,
}

impl JobNews {
    /// Whether nothing happened since another: what is expected changes by itself
    /// as time passes.
    fn tells_no_more_than(&self, other: &JobNews) -> bool {
        let estimate = other.estimate;
        JobNews {
            estimate,
            ..self.clone()
        } == *other
    }
}

/// A job as it is looked at to tell of it.
#[derive(Clone)]
pub(super) struct Look {
    pub news: JobNews,
    /// Whether the frames of its running shards are known.
    pub reported: bool,
}

impl Look {
    /// What is to be told. Frames that nobody reports just now are as they were.
    fn after(self, former: Option<&JobNews>) -> JobNews {
        let mut news = self.news;
        if news.shards_running > 0 && !self.reported {
            let kept = former.map_or(0, |former| former.frames_done);
            news.frames_done = news.frames_done.max(kept);
        }
        news
    }
}

type Told = Arc<Shared<JobNews>>;

/// The latest progress of the jobs that are worked on.
pub(super) struct Progress {
    latest: Mutex<BTreeMap<String, Told>>,
    changes: broadcast::Sender<Told>,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            latest: Mutex::default(),
            changes: broadcast::Sender::new(PROGRESS_KEPT),
        }
    }

    /// All that is known now, and what changes from then on.
    pub fn join(&self) -> (Vec<Told>, broadcast::Receiver<Told>) {
        // Held, so that nothing comes twice or between the two.
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        (latest.values().cloned().collect(), self.changes.subscribe())
    }

    /// Tells what has changed. A job that is worked on no longer is looked at and
    /// told once more.
    pub fn tell(&self, now: Vec<Look>, left: impl Fn(&str) -> Option<Look>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *latest);
        for look in now {
            let known = former.remove(&look.news.job);
            let news = look.after(known.as_ref().map(|known| &known.value));
            let told = known.filter(|known| news.tells_no_more_than(&known.value));
            let told = told.unwrap_or_else(|| self.send(news));
            latest.insert(told.value.job.clone(), told);
        }
        for (job, known) in former {
            let news = left(&job).map(|look| look.after(Some(&known.value)));
            if let Some(news) = news.filter(|news| !news.tells_no_more_than(&known.value)) {
                self.send(news);
            }
        }
    }

    fn send(&self, news: JobNews) -> Told {
        let news = Shared::new(news);
        // Nobody may be there to hear it.
        let _ = self.changes.send(news.clone());
        news
    }
}

/// What this node tells of progress and the cluster, while somebody follows.
pub(super) struct Hub {
    pub progress: Progress,
    pub cluster: watch::Sender<ClusterNews>,
}

/// The cluster for those who see all of it, and for all others.
#[derive(Clone)]
pub(super) struct ClusterNews {
    pub whole: Arc<Shared<ClusterStatus>>,
    pub short: Arc<Shared<ClusterStatus>>,
}

impl ClusterNews {
    pub fn new(whole: ClusterStatus) -> Self {
        let mut short = whole.clone();
        short.nodes = short.nodes.into_iter().map(in_short).collect();
        ClusterNews {
            whole: Shared::new(whole),
            short: Shared::new(short),
        }
    }
}

/// The hub, while there is one.
#[derive(Default)]
pub(super) struct CurrentHub(pub Mutex<Weak<Hub>>);

/// What a tenant may know of a node.
pub(super) fn in_short(node: NodeStatus) -> NodeStatus {
    NodeStatus {
        id: node.id,
        http: node.http,
        role: node.role,
        reachable: node.reachable,
        starting: node.starting,
        slots: node.slots,
        slots_busy: node.slots_busy,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn look(job: &str, frames_done: u64, reported: bool) -> Look {
        let news = JobNews {
            job: job.into(),
            tenant: "t".into(),
            shards_total: 4,
            shards_done: 1,
            shards_running: 1,
            frames_total: 100,
            frames_done,
            estimate: Estimate::default(),
        };
        Look { news, reported }
    }

    fn heard(changes: &mut broadcast::Receiver<Told>) -> Vec<(String, u64)> {
        let next = || Some(changes.try_recv().ok()?.value.clone());
        let news = std::iter::from_fn(next);
        news.map(|news| (news.job, news.frames_done)).collect()
    }

    #[test]
    fn a_newcomer_has_the_latest_and_who_leaves_is_told_once_more() {
        let progress = Progress::new();
        let (latest, mut changes) = progress.join();
        assert!(latest.is_empty());
        let both = vec![look("a", 10, true), look("b", 20, true)];
        progress.tell(both.clone(), |_| None);
        assert_eq!(heard(&mut changes), [("a".into(), 10), ("b".into(), 20)]);
        progress.tell(both, |_| None);
        assert_eq!(heard(&mut changes), [], "nothing has changed");
        let (latest, mut newcomer) = progress.join();
        let latest: Vec<_> = latest.iter().map(|told| told.value.frames_done).collect();
        assert_eq!(latest, [10, 20]);
        assert_eq!(heard(&mut newcomer), [], "it has that already");
        let end = |job: &str| Some(look(job, 100, true));
        progress.tell(vec![look("b", 20, true)], end);
        assert_eq!(heard(&mut changes), [("a".into(), 100)]);
        progress.tell(vec![look("b", 20, true)], end);
        assert_eq!(heard(&mut changes), [], "once");
        assert_eq!(progress.join().0.len(), 1);
    }

    #[test]
    fn frames_do_not_run_backwards_while_there_is_no_report() {
        let progress = Progress::new();
        let (_, mut changes) = progress.join();
        for (frames, reported) in [(40, true), (30, false), (50, false), (35, true)] {
            progress.tell(vec![look("a", frames, reported)], |_| None);
        }
        let frames: Vec<u64> = heard(&mut changes).into_iter().map(|(_, it)| it).collect();
        // An attempt that is lost takes its frames with it.
        assert_eq!(frames, [40, 50, 35]);
    }
}
