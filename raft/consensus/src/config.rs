//! A node's configuration, checked before anything is opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use reelraft_proto::auth::Secret;
use reelraft_trust::Trust;

use crate::{
    error::ConsensusError,
    limits::{
        BACKOFF, ELECTION_MS_MAX, ELECTION_MS_MIN, HEARTBEAT_ANSWER_MS, LEADER_WAIT,
        LOG_KEEP_ENTRIES, SNAPSHOT_EVERY_ENTRIES, SNAPSHOT_TIME, VOTERS_MAX,
    },
    snapshot_pace::spread,
    watchdog::HangAction,
};

/// A node's place in a cluster. The times default to those of [`crate::limits`].
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    pub node: u64,
    /// The addresses (`host:port`) of this node and of others that it is told of, by
    /// id. They win over what the cluster says.
    pub peers: BTreeMap<u64, String>,
    /// Where other members listened when this node was let in: used for those of
    /// which the cluster has said nothing yet.
    pub seeds: BTreeMap<u64, String>,
    /// Who votes when the cluster is founded; all other peers become learners. None
    /// where this node was let in.
    pub voters: BTreeSet<u64>,
    /// The id of the cluster; without one it is made of voters and addresses, as nodes
    /// that found a cluster together have to agree on it.
    pub cluster_id: Option<String>,
    pub data: PathBuf,
    /// Goes with every call to another node.
    pub secret: Secret,
    /// Certificates, where nodes speak by TLS.
    pub trust: Trust,
    pub snapshot_every_entries: u64,
    pub log_keep_entries: u64,
    pub leader_wait: Duration,
    /// What to do once the disk hangs.
    pub on_hang: HangAction,
}

impl ClusterConfig {
    /// A configuration with the default times.
    pub fn new(
        node: u64,
        peers: BTreeMap<u64, String>,
        voters: BTreeSet<u64>,
        data: PathBuf,
        secret: Secret,
    ) -> Self {
        ClusterConfig {
            node,
            peers,
            seeds: BTreeMap::new(),
            voters,
            cluster_id: None,
            data,
            secret,
            trust: Trust::default(),
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
            log_keep_entries: LOG_KEEP_ENTRIES,
            leader_wait: LEADER_WAIT,
            on_hang: HangAction::default(),
        }
    }

    /// Refuses a configuration that can't work.
    ///
    /// # Errors
    /// [`ConsensusError::BadConfig`].
    pub(crate) fn check(&self) -> Result<(), ConsensusError> {
        let bad = |cause: String| Err(ConsensusError::BadConfig { cause });
        if !self.peers.contains_key(&self.node) {
            return bad(format!("node {} is not among the peers", self.node));
        }
        if let Some(voter) = self.voters.iter().find(|id| !self.peers.contains_key(id)) {
            return bad(format!("voter {voter} is not among the peers"));
        }
        let let_in = self.voters.is_empty() && self.cluster_id.is_some();
        if !let_in && !(1..=VOTERS_MAX).contains(&self.voters.len()) {
            return bad(format!(
                "there must be 1 to {VOTERS_MAX} voters, not {}",
                self.voters.len()
            ));
        }
        let addresses: BTreeSet<&String> = self.peers.values().collect();
        if addresses.len() != self.peers.len() {
            return bad("two peers have the same address".to_string());
        }
        Ok(())
    }

    /// The id of a new cluster: nodes that are started with the same voters at
    /// the same addresses form one. The disk keeps it from then on, so that
    /// addresses may change later.
    pub(crate) fn cluster_id(&self) -> String {
        if let Some(id) = &self.cluster_id {
            return id.clone();
        }
        let mut hasher = blake3::Hasher::new();
        for voter in &self.voters {
            let address = self.peers.get(voter).map_or("", String::as_str);
            hasher.update(&voter.to_le_bytes());
            hasher.update(&(address.len() as u64).to_le_bytes());
            hasher.update(address.as_bytes());
        }
        format!("c{}", &hasher.finalize().to_hex()[..16])
    }

    pub(crate) fn raft(&self) -> Result<Arc<openraft::Config>, ConsensusError> {
        let config = openraft::Config {
            cluster_name: "reelraft".to_string(),
            heartbeat_interval: HEARTBEAT_ANSWER_MS,
            // `heartbeats` sends them.
            enable_heartbeat: false,
            election_timeout_min: ELECTION_MS_MIN,
            election_timeout_max: ELECTION_MS_MAX,
            install_snapshot_timeout: SNAPSHOT_TIME.as_millis() as u64,
            // By length they are made earlier; this bounds the number of entries.
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(spread(
                self.node,
                self.snapshot_every_entries,
            )),
            replication_lag_threshold: self.snapshot_every_entries.saturating_mul(2),
            max_in_snapshot_log_to_keep: self.log_keep_entries,
            // A leader that lost its quorum falls silent for a while. Otherwise
            // one that half the nodes still hear would block an election.
            quorum_loss_probe_interval: Some(2 * ELECTION_MS_MAX),
            enable_pre_vote: Some(true),
            // A leader that restarts must be elected again. A quorum need not
            // include the leader's own disk, so the others may have committed
            // entries of its term that it lost with its power. In the same
            // term it would give their places to new entries, and the others
            // could not tell the two apart.
            enable_leader_restore: Some(false),
            backoff: BACKOFF.to_string(),
            ..Default::default()
        };
        let config = config
            .validate()
            .map_err(|error| ConsensusError::BadConfig {
                cause: error.to_string(),
            })?;
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(node: u64, peers: &[u64], voters: &[u64]) -> ClusterConfig {
        let peers = peers.iter().map(|id| (*id, format!("h{id}:1")));
        ClusterConfig::new(
            node,
            peers.collect(),
            voters.iter().copied().collect(),
            PathBuf::from("d"),
            Secret::default(),
        )
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(config(1, &[1, 2, 3], &[1, 2, 3]).check().is_ok());
        assert!(config(4, &[1, 2, 3, 4], &[1, 2, 3]).check().is_ok());
        assert!(config(4, &[1, 2, 3], &[1, 2, 3]).check().is_err());
        assert!(config(1, &[1, 2], &[1, 2, 3]).check().is_err());
        let mut none = config(1, &[1, 2], &[]);
        assert!(none.check().is_err());
        none.cluster_id = Some("c1".to_string());
        assert!(none.check().is_ok(), "it was let in");
        let mut twice = config(1, &[1, 2, 3], &[1, 2, 3]);
        twice.peers.insert(2, "h1:1".to_string());
        assert!(twice.check().is_err());
    }

    #[test]
    fn the_usual_times_are_valid() {
        config(1, &[1], &[1]).raft().unwrap();
    }

    #[test]
    fn learners_find_the_cluster_of_the_voters() {
        let voter = config(1, &[1, 2, 3], &[1, 2, 3]);
        let learner = config(4, &[1, 2, 3, 4], &[1, 2, 3]);
        assert_eq!(voter.cluster_id(), learner.cluster_id());
        assert_ne!(voter.cluster_id(), config(1, &[1, 2], &[1, 2]).cluster_id());
    }
}
