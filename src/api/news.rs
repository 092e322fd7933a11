//! What a node tells all who follow it, found once and shared.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

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
}

/// What this node tells of progress and the cluster, while somebody follows.
pub(super) struct Hub {
    pub progress: broadcast::Sender<Arc<Shared<JobNews>>>,
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
        role: node.role,
        reachable: node.reachable,
        starting: node.starting,
        slots: node.slots,
        slots_busy: node.slots_busy,
        ..Default::default()
    }
}
