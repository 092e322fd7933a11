//! What a leader sees: the members, and what their sessions say.

use std::time::Duration;

use reelraft_consensus::Cluster;
use reelraft_model::{
    State,
    plan::{ClusterHealth, LEASE_MS},
};
use tokio::time::Instant;

use super::sessions::Sessions;
use crate::clock::unix_ms;

/// A worker that was not heard for so long has lost its attempts.
pub const LEASE: Duration = Duration::from_millis(LEASE_MS);

/// How long a leader waits before it acts, by the settings, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the silent home of a finished output, before another node copies it.
    pub rehome_after_s: u64,
    /// For a silent node's encoder build, before its jobs are made anew under
    /// another.
    pub replan_after_s: u64,
    /// For a silent voter, before a learner takes its vote.
    pub replace_voter_after_s: u64,
    /// For an upload without progress.
    pub uploads_expire_after_s: u64,
    /// For whoever may want a job tried again that ended without an output.
    pub keep_sources_s: u64,
    /// Whether a job takes the output of an equal one that was made before.
    pub reuse_outputs: bool,
    /// Before it deletes a job that has ended; 0: for ever.
    pub keep_finished_s: u64,
}

/// One term's view of the nodes.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    pub cluster: &'a Cluster,
    pub sessions: &'a Sessions,
    pub patience: Patience,
    /// When the term began: silence of nodes that were never heard counts from there.
    since: Instant,
}

impl<'a> Sight<'a> {
    /// The view of a term that begins now.
    pub fn new(cluster: &'a Cluster, sessions: &'a Sessions, patience: Patience) -> Self {
        Sight {
            cluster,
            sessions,
            patience,
            since: Instant::now(),
        }
    }

    /// The nodes as the plan sees them.
    pub fn health(&self, state: &State) -> ClusterHealth {
        let members = self.cluster.membership();
        let mut nodes = self.sessions.health(&members.all, self.since, LEASE);
        for (id, node) in &mut nodes {
            node.votes = members.voters.contains(id);
            node.behind = members.behind.get(id).copied();
        }
        let mut health = ClusterHealth {
            nodes,
            engines: self.sessions.engines_health(state, self.since, LEASE),
            voters: members.voters.len() as u32,
            leader: self.cluster.identity().node,
            joint: members.joint,
            replace_voter_after_ms: self.patience.replace_voter_after_s.saturating_mul(1000),
            speeds: self.sessions.speeds(|job| {
                let entry = state.current(job);
                entry.is_some_and(|entry| !entry.job.state().ended())
            }),
            unix_ms: unix_ms(),
            rehome_after_ms: self.patience.rehome_after_s.saturating_mul(1000),
            replan_after_ms: self.patience.replan_after_s.saturating_mul(1000),
            upload_expiry_ms: self.patience.uploads_expire_after_s.saturating_mul(1000),
            reuse_outputs: self.patience.reuse_outputs,
            keep_source_ms: self.patience.keep_sources_s.saturating_mul(1000),
            keep_ended_ms: match self.patience.keep_finished_s {
                0 => None,
                keep_s => Some(keep_s.saturating_mul(1000)),
            },
        };
        health.take_standings(state);
        health
    }
}
