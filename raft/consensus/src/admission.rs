//! Which disks may take part.
//!
//! A disk that has taken part before goes on. An empty one is either new, or
//! replaces one that was lost. In the second case it must not vote: it has
//! forgotten what its predecessor acknowledged. So until it is *admitted*, it
//! answers no Raft message. It is admitted
//!
//! 1. by the founding: the voter with the lowest id has heard from every
//!    other voter that it is new, has written their incarnations down, and
//!    tells each that it is known;
//! 2. or by the cluster: a token has let it in, or it registers its incarnation
//!    through the leader. A majority without it commits that before it votes for the
//!    first time. Another incarnation under its id is refused by name.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use futures::future::join_all;
use openraft::BasicNode;
use reelraft_model::{Command, Problem, RegisterNode, Reply, limits::FEATURE_LEVEL};
use reelraft_proto::v1;
use reelraft_storage::{StorageError, seal, unseal, write_file};
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    core::Core,
    error::ConsensusError,
    limits::{IDENTIFY_EVERY, IDENTIFY_REPORT_EVERY, IDENTIFY_TIME},
    peers::{ChannelKind, within},
    propose::encode,
};

/// The disks that founded the cluster: incarnations by node.
pub type Founders = BTreeMap<u64, String>;

const FOUNDERS: &str = "FOUNDERS";

/// What one round of questions to the other nodes found.
enum AdmissionStatus {
    /// This disk may take part.
    Admitted,
    /// Every other voter is new too: these incarnations found the cluster.
    AllNew(Founders),
    /// The cluster exists and does not know this disk yet: these are its nodes.
    Unknown(Vec<u64>),
    /// Answers are missing from these voters.
    Waiting(Vec<u64>),
}

/// Reads who founded the cluster; empty if this node has not written it down.
///
/// # Errors
/// [`StorageError::DamagedIdentity`] and [`StorageError::Io`].
pub fn read_founders(data: &Path) -> Result<Founders, StorageError> {
    let path = data.join(FOUNDERS);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Founders::new()),
        Err(error) => return Err(StorageError::io(format!("read {}", path.display()))(error)),
    };
    founders_in(&String::from_utf8_lossy(&bytes)).ok_or(StorageError::DamagedIdentity {
        path,
        cause: "its checksum differs".to_string(),
    })
}

/// The text of the founders' file. It has a checksum: a damaged incarnation
/// would refuse a founder that the table does not know yet.
fn founders_text(founders: &Founders) -> String {
    let lines = founders
        .iter()
        .map(|(node, incarnation)| format!("{node}={incarnation}\n"));
    seal(&lines.collect::<String>())
}

fn founders_in(text: &str) -> Option<Founders> {
    let lines = unseal(text)?.lines().map(|line| {
        let (node, incarnation) = line.split_once('=')?;
        Some((node.parse().ok()?, incarnation.to_string()))
    });
    lines.collect()
}

impl Core {
    /// Has this disk admitted, and founds the cluster if that is this node's
    /// part. Returns once it may take part, even if there is no leader yet.
    ///
    /// # Errors
    /// [`ConsensusError::OtherIncarnation`], [`ConsensusError::OtherCluster`],
    /// [`ConsensusError::Storage`] and [`ConsensusError::Stopped`].
    pub async fn admit(self: &Arc<Self>) -> Result<(), ConsensusError> {
        let mut reported: Option<Instant> = None;
        while !*self.admitted.borrow() {
            if self.fatal.borrow().is_some() {
                return Err(self.stopped());
            }
            match self.admission_status().await? {
                AdmissionStatus::Admitted => {
                    self.admitted.send_replace(true);
                    return Ok(());
                }
                AdmissionStatus::AllNew(founders) if self.is_founder() => {
                    self.found(founders).await?;
                    return Ok(());
                }
                AdmissionStatus::AllNew(_) => {}
                AdmissionStatus::Unknown(members) => {
                    if self.register_through(&members).await? {
                        self.admitted.send_replace(true);
                        return Ok(());
                    }
                }
                AdmissionStatus::Waiting(missing) => {
                    if reported.is_none_or(|last| last.elapsed() >= IDENTIFY_REPORT_EVERY) {
                        tracing::info!(?missing, "this disk is new: waiting for all voters");
                        reported = Some(Instant::now());
                    }
                }
            }
            tokio::time::sleep(IDENTIFY_EVERY).await;
        }
        Ok(())
    }

    /// Whether it is this node that founds a new cluster.
    fn is_founder(&self) -> bool {
        self.config.voters.first() == Some(&self.node())
    }

    /// Asks all configured nodes who they are and which disk of this node they
    /// know.
    async fn admission_status(&self) -> Result<AdmissionStatus, ConsensusError> {
        let own = self.identity();
        let others: Vec<u64> = self.peers.first_known().into_keys().collect();
        let others = others.into_iter().filter(|id| *id != own.node);
        let answers = join_all(others.map(|id| async move { (id, self.identify(id).await) })).await;

        let mut founders = BTreeMap::from([(own.node, own.incarnation.clone())]);
        let mut members = Vec::new();
        let mut missing = Vec::new();
        let mut known = false;
        for (id, answer) in answers {
            let voter = self.config.voters.contains(&id);
            let Some((peer, answer)) = answer else {
                if voter {
                    missing.push(id);
                }
                continue;
            };
            if peer.cluster_id != own.cluster_id {
                return Err(ConsensusError::OtherCluster {
                    node: id,
                    found: peer.cluster_id,
                    own: own.cluster_id.clone(),
                });
            }
            known |= self.matches_own_disk(&answer.known_incarnation)?;
            if answer.initialized {
                members.push(id);
            } else if voter {
                founders.insert(id, peer.incarnation);
            }
        }
        Ok(match (known, members.is_empty(), missing.is_empty()) {
            (true, _, _) => AdmissionStatus::Admitted,
            (false, false, _) => AdmissionStatus::Unknown(members),
            (false, true, true) => AdmissionStatus::AllNew(founders),
            (false, true, false) => AdmissionStatus::Waiting(missing),
        })
    }

    /// Whether the incarnation that another node knows under this id is this
    /// disk's; an empty one says that it knows none.
    fn matches_own_disk(&self, known: &str) -> Result<bool, ConsensusError> {
        let own = self.identity();
        match known {
            "" => Ok(false),
            known if known == own.incarnation => Ok(true),
            known => Err(ConsensusError::OtherIncarnation {
                node: own.node,
                known: known.to_string(),
                own: own.incarnation.clone(),
            }),
        }
    }

    /// A node's answer, if it really comes from that node.
    pub async fn identify(&self, node: u64) -> Option<(v1::Sender, v1::IdentifyResponse)> {
        let mut client = self.peers.client(node, ChannelKind::Call).ok()?;
        let request = v1::IdentifyRequest {
            sender: Some(self.peers.sender()),
            about: self.node(),
        };
        let mut answer = within(IDENTIFY_TIME, client.identify(request))
            .await
            .inspect_err(|status| {
                self.peers.note_refusal(status);
                tracing::debug!(node, %status, "no answer");
            })
            .ok()?;
        let peer = answer.own.take()?;
        (peer.node == node).then_some((peer, answer))
    }

    /// Writes the founders down, then starts the cluster with all voters.
    async fn found(&self, founders: Founders) -> Result<(), ConsensusError> {
        let text = founders_text(&founders);
        let path = self.data.join(FOUNDERS);
        spawn_blocking(move || write_file(&path, text.as_bytes()))
            .await
            .map_err(|_| self.stopped())??;
        {
            let mut known = self
                .founders
                .write()
                .expect("no holder of this lock panics");
            *known = founders;
        }
        let voters: BTreeMap<u64, BasicNode> = self
            .config
            .voters
            .iter()
            .filter_map(|id| Some((*id, BasicNode::new(self.peers.address(*id)?))))
            .collect();
        self.admitted.send_replace(true);
        tracing::info!(voters = ?self.config.voters, "founding the cluster");
        if let Err(error) = self.raft.initialize(voters).await {
            // An earlier run of this node did it already: that is as good.
            tracing::debug!(%error, "founded already");
        }
        Ok(())
    }

    /// Registers this disk through the member that leads; `false` if none does.
    ///
    /// # Errors
    /// The table's refusal.
    pub async fn register_through(&self, members: &[u64]) -> Result<bool, ConsensusError> {
        let entry = encode(vec![self.own_registration()])?;
        for member in members {
            match self.ask_to_propose(*member, entry.clone()).await {
                Ok(committed) => return self.registered(&committed.replies).map(|()| true),
                Err(status) => tracing::debug!(member, %status, "not registered yet"),
            }
        }
        Ok(false)
    }

    /// Whether the table took this node's registration.
    pub(crate) fn registered(&self, replies: &[Reply]) -> Result<(), ConsensusError> {
        let own = self.identity();
        match replies.first().and_then(|reply| reply.refused.as_ref()) {
            None => Ok(()),
            Some(problem) if problem.kind == Problem::NODE_REMOVED => {
                Err(ConsensusError::Removed { node: own.node })
            }
            Some(problem) if problem.kind == Problem::OLDER_PROGRAM => {
                let cause = problem.cause.clone();
                Err(ConsensusError::OlderProgram { cause })
            }
            Some(_) => Err(ConsensusError::OtherIncarnation {
                node: own.node,
                known: self
                    .known_incarnation(own.node)
                    .unwrap_or_else(|| "another".to_string()),
                own: own.incarnation.clone(),
            }),
        }
    }

    fn own_registration(&self) -> Command {
        let own = self.identity();
        self.registration(own.node, &own.incarnation, FEATURE_LEVEL)
    }

    fn registration(&self, node: u64, incarnation: &str, feature_level: u32) -> Command {
        Command::RegisterNode(RegisterNode {
            node,
            incarnation: incarnation.to_string(),
            address: self.peers.address(node).unwrap_or_default(),
            feature_level,
            left_behind: false,
        })
    }

    /// Registrations of disks and addresses that the table lacks.
    pub fn missing_registrations(&self) -> Vec<Command> {
        let own = self.identity();
        let state = self.replica.state();
        let mut missing = Vec::new();
        let address = self.peers.address(own.node).unwrap_or_default();
        let listed = state.nodes().find(|node| node.id == own.node);
        if listed.is_none_or(|node| node.address != address || node.feature_level != FEATURE_LEVEL)
        {
            missing.push(self.own_registration());
        }
        let founders = self.founders.read().expect("no holder of this lock panics");
        for (node, incarnation) in founders.iter().filter(|(node, _)| **node != own.node) {
            if state.incarnation_of(*node).is_none() {
                // Only the node itself knows what it can read.
                missing.push(self.registration(*node, incarnation, 0));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn founders_are_read_as_written_and_refused_when_a_bit_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FOUNDERS);
        assert_eq!(read_founders(folder.path()).unwrap(), BTreeMap::new());
        let founders = BTreeMap::from([1, 2, 3].map(|node| (node, format!("{node:032x}"))));
        let text = founders_text(&founders).into_bytes();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read_founders(folder.path()).unwrap(), founders);
        for at in 0..text.len() {
            let mut bad = text.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            let error = read_founders(folder.path()).unwrap_err();
            assert_eq!(error.kind(), "damaged-identity", "byte {at}");
            std::fs::write(&path, &text[..at]).unwrap();
            let error = read_founders(folder.path()).unwrap_err();
            assert_eq!(error.kind(), "damaged-identity", "cut at {at}");
        }
    }
}
