//! What a leader sees: the members, and what their sessions say.

use reelraft_consensus::Cluster;
use reelraft_model::{State, plan::ClusterHealth};
use tokio::time::Instant;

use super::{LEASE, Patience, sessions::Sessions};
use crate::clock::unix_ms;

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
