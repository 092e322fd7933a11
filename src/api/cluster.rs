//! The cluster as this node sees it: who is who, from the members, this node's
//! own knowledge, and the leader's last word on liveness.

use std::collections::BTreeMap;

use reelraft_consensus::Progress;
use reelraft_model::{JobState, Problem};

use super::{
    Api, Consistency,
    limits::READY_LAG_MAX,
    news::{ClusterStatus, in_short},
};
use crate::node::{
    messages::{NodeStatus, Role},
    tally::Counts,
};

/// The states that a job may be seen in.
pub(super) const STATES: [JobState; 7] = [
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
    /// How far the answering node is with the log.
    pub progress: Progress,
    /// What its process has done.
    pub counts: Counts,
}

/// One thing that a node needs to serve clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    /// What is wrong; none if nothing is.
    pub trouble: Option<&'static str>,
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
            progress: self.table().progress(),
            counts: self.context().tally.counts(),
        })
    }

    /// Whether this node can serve clients, by what it knows itself.
    pub fn checks(&self) -> [Check; 4] {
        let check = |name, good: bool, trouble| Check {
            name,
            trouble: (!good).then_some(trouble),
        };
        let lag = self.table().progress().lag();
        let room = self.context().has_room();
        [
            check(
                "leader",
                self.table().leadership().borrow().leader.is_some(),
                "no leader is known",
            ),
            check("table", lag <= READY_LAG_MAX, "it is far behind the log"),
            check(
                "encoders",
                !self.context().build().is_empty(),
                "they are being tried, or can't be used",
            ),
            check("disk", room, "it is full"),
        ]
    }

    /// One node of the cluster.
    ///
    /// # Errors
    /// `not-found` where there is no such member.
    pub fn node(&self, id: &str) -> Result<NodeStatus, Problem> {
        let nodes = self.cluster_status(Consistency::Linearizable).nodes;
        let mut nodes = nodes.into_iter();
        nodes.find(|node| node.id.to_string() == id).ok_or_else(|| {
            let cause = format!("there is no node {id}");
            Problem::new("not-found", cause, "see `reelraft cluster nodes`")
        })
    }

    /// The cluster; [`Consistency::Local`] leaves out what the leader said. The
    /// holder of a key is told of each node whether it works and how busy it is.
    pub fn cluster_status(&self, consistency: Consistency) -> ClusterStatus {
        let reported = match consistency {
            Consistency::Local => None,
            Consistency::Linearizable => self.context().report.nodes(<[_]>::to_vec),
        };
        self.status_from(reported.unwrap_or_default())
    }

    /// The cluster for who sees what each of its nodes can read.
    ///
    /// # Errors
    /// `forbidden` to all but the operator.
    pub fn upgrade_status(&self) -> Result<ClusterStatus, Problem> {
        self.operator_only()?;
        Ok(self.cluster_status(Consistency::Linearizable))
    }

    /// What browsers call the HTTP port of each node, as far as this one has
    /// heard: also of a node that is silent, whose page goes on here.
    pub fn origins(&self) -> BTreeMap<u64, String> {
        let mut origins = self.context().report.origins();
        // Whatever listens there once a node was removed is none of it.
        let members = self.table().members();
        origins.retain(|id, _| members.iter().any(|member| member.id == *id));
        let own = self.context().config.http_public.clone();
        origins.extend(own.map(|own| (self.table().identity().node, own)));
        origins
    }

    /// The same, with what the leader said of the nodes.
    pub(super) fn status_from(&self, reported: Vec<NodeStatus>) -> ClusterStatus {
        let cluster = self.table();
        let identity = cluster.identity();
        let leadership = cluster.leadership().borrow().clone();
        let applied_index = *cluster.applied().borrow();
        let reported = reported.into_iter().map(|node| (node.id, node));
        let mut reported: BTreeMap<u64, NodeStatus> = reported.collect();
        let mut origins = self.origins();
        let mut notes = self.context().report.notes();
        let state = cluster.local();
        let voters = cluster.membership().voters.len();
        let nodes = cluster.members().into_iter().map(|member| {
            let mut node = reported.remove(&member.id).unwrap_or_default();
            node.id = member.id;
            node.address = member.address;
            if let Some(origin) = origins.remove(&member.id) {
                node.http = origin;
            }
            node.role = Some(match (leadership.leader == Some(member.id), member.voter) {
                (true, _) => Role::Leader,
                (false, true) => Role::Voter,
                (false, false) => Role::Learner,
            });
            node.note = notes.remove(&member.id).unwrap_or_default();
            let row = state.node(member.id);
            node.feature_level = row.map_or(0, |row| row.feature_level);
            if member.id == identity.node {
                node.reachable = true;
                node.pid = std::process::id();
                node.slots = self.context().config.slots;
                node.build = self.context().build();
                node.build_words = self.context().build_words();
                node.lacks = self.context().lacks();
                node.speeds = self.context().speeds();
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
            feature_level: state.feature_level(),
            voters_wanted: state.voters_wanted(voters) as u32,
            nodes: nodes.collect(),
        }
    }
}
