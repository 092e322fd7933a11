//! The cluster as this node sees it: who is who, from the members, this node's
//! own knowledge, and the leader's last word on liveness.

use std::collections::BTreeMap;

use reelraft_model::{JobState, Problem};

use super::{
    Api, Consistency,
    news::{ClusterStatus, in_short},
};
use crate::node::messages::{NodeStatus, Role};

/// The states that a job may be seen in.
const STATES: [JobState; 7] = [
    JobState::Uploading,
    JobState::Analyzing,
    JobState::Encoding,
    JobState::Assembling,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

/// What a node knows of the cluster, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    pub status: ClusterStatus,
    /// Jobs in the table by state, deleted ones left out.
    pub jobs: BTreeMap<JobState, u64>,
    /// Tasks of all open jobs.
    pub tasks_pending: u64,
    pub tasks_running: u64,
}

impl Api {
    /// The cluster, and what is in this node's own table.
    ///
    /// # Errors
    /// `forbidden` to all but the operator.
    pub fn census(&self, consistency: Consistency) -> Result<Census, Problem> {
        self.operator_only()?;
        let state = self.table().local();
        let shown = STATES.into_iter().map(|state| (state, 0));
        let mut jobs: BTreeMap<JobState, u64> = shown.collect();
        jobs.extend(state.counts_by_state());
        let (mut tasks_pending, mut tasks_running) = (0, 0);
        for entry in state.active() {
            tasks_pending += entry.pending.len() as u64;
            tasks_running += entry.running.len() as u64;
        }
        drop(state);
        Ok(Census {
            status: self.cluster_status(consistency),
            jobs,
            tasks_pending,
            tasks_running,
        })
    }

    /// The cluster; [`Consistency::Local`] leaves out what the leader said. The
    /// holder of a key is told of each node whether it works and how busy it is.
    pub fn cluster_status(&self, consistency: Consistency) -> ClusterStatus {
        let cluster = self.table();
        let identity = cluster.identity();
        let leadership = cluster.leadership().borrow().clone();
        let applied_index = *cluster.applied().borrow();
        let report = match consistency {
            Consistency::Local => None,
            Consistency::Linearizable => self.context().report.fresh(),
        };
        let mut reported: BTreeMap<u64, NodeStatus> = report
            .into_iter()
            .flat_map(|report| report.nodes)
            .map(|node| (node.id, node))
            .collect();
        let nodes = cluster.members().into_iter().map(|member| {
            let mut node = reported.remove(&member.id).unwrap_or_default();
            node.id = member.id;
            node.address = member.address;
            node.role = Some(match (leadership.leader == Some(member.id), member.voter) {
                (true, _) => Role::Leader,
                (false, true) => Role::Voter,
                (false, false) => Role::Learner,
            });
            if member.id == identity.node {
                node.reachable = true;
                node.pid = std::process::id();
                node.slots = self.context().config.slots;
                node.build = self.context().build();
                node.build_words = self.context().build_words();
                node.lacks = self.context().lacks();
                node.applied_index = applied_index;
                node.incarnation = identity.incarnation.clone();
                node.version = env!("CARGO_PKG_VERSION").to_string();
            }
            match self.sees_all() {
                true => node,
                false => in_short(node),
            }
        });
        ClusterStatus {
            cluster_id: identity.cluster_id.clone(),
            leader: leadership.leader,
            term: leadership.term,
            answered_by: identity.node,
            applied_index,
            election_timeout_ms: cluster.election_timeout_ms(),
            nodes: nodes.collect(),
        }
    }
}
