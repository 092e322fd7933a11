//! The members: who they are, how they are changed, and who leads next. What is
//! to be changed is judged elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use openraft::{BasicNode, ChangeMembers, async_runtime::watch::WatchReceiver, errors::RaftError};
use reelraft_model::{Node, State};
use reelraft_proto::v1;
use tokio::time::timeout;

use crate::{
    core::Core,
    error::ConsensusError,
    limits::{CHANGE_TIME, HAND_OVER_TIME, IDENTIFY_TIME, REMOVAL_LOOK_EVERY},
    peers::{ChannelKind, within},
    raft_clock::stretched,
    types::{LogId, Membership},
};

/// Who takes part, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes, or is to vote once a change under way is done.
    pub voters: BTreeSet<u64>,
    /// Whether such a change is under way.
    pub joint: bool,
    /// All that have the log, voters included.
    pub all: BTreeSet<u64>,
    /// By node: entries of the log that it lacks. Known to the leader alone.
    pub behind: BTreeMap<u64, u64>,
}

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// These are to vote, and no others; who voted so far becomes a learner.
    Voters(BTreeSet<u64>),
    /// This learner goes.
    Drop(u64),
}

fn newest_voters(membership: &Membership) -> BTreeSet<u64> {
    let newest = membership.get_joint_config().last();
    newest.cloned().unwrap_or_default()
}

impl Core {
    /// Who takes part now.
    pub fn members(&self) -> Members {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let membership = now.membership_config.membership();
        let last = now.last_log_index.unwrap_or(0);
        let index = |at: &Option<LogId>| at.as_ref().map_or(0, |at| at.index());
        let behind = now.replication.iter().flatten();
        let behind = behind.map(|(id, at)| (*id, last.saturating_sub(index(at))));
        Members {
            voters: newest_voters(membership),
            joint: membership.get_joint_config().len() > 1,
            all: membership.nodes().map(|(id, _)| *id).collect(),
            behind: behind.chain([(self.node(), 0)]).collect(),
        }
    }

    /// Changes the members, if this node leads, one change after the other, and sees
    /// that what was asked for is what there is.
    ///
    /// # Errors
    /// [`ConsensusError::MembersUnchanged`] and [`ConsensusError::Stopped`].
    pub async fn change_members(&self, change: &MemberChange) -> Result<(), ConsensusError> {
        let _alone = self.changing.lock().await;
        let asked = match change {
            MemberChange::Voters(voters) => ChangeMembers::ReplaceAllVoters(voters.clone()),
            MemberChange::Drop(node) => ChangeMembers::RemoveNodes(BTreeSet::from([*node])),
        };
        let written = self.write_members(asked).await?;
        let done = written.get_joint_config().len() == 1
            && match change {
                MemberChange::Voters(voters) => newest_voters(&written) == *voters,
                MemberChange::Drop(node) => written.get_node(node).is_none(),
            };
        match done {
            true => Ok(()),
            false => Err(unchanged("another change came in between")),
        }
    }

    /// Makes nodes learners.
    ///
    /// # Errors
    /// As [`Core::change_members`].
    pub async fn add_learners(
        &self,
        nodes: BTreeMap<u64, BasicNode>,
    ) -> Result<(), ConsensusError> {
        let _alone = self.changing.lock().await;
        self.write_members(ChangeMembers::AddNodes(nodes))
            .await
            .map(drop)
    }

    async fn write_members(
        &self,
        change: ChangeMembers<u64, BasicNode>,
    ) -> Result<Membership, ConsensusError> {
        let written = self.raft.change_membership(change, true);
        match timeout(stretched(CHANGE_TIME), written).await {
            Ok(Ok(written)) => {
                let membership = written.membership;
                membership.ok_or_else(|| unchanged("the answer names no members"))
            }
            Ok(Err(RaftError::APIError(error))) => Err(unchanged(error)),
            Ok(Err(RaftError::Fatal(error))) => Err(ConsensusError::Stopped {
                cause: error.to_string(),
            }),
            Err(_) => Err(unchanged("it was not confirmed in time")),
        }
    }

    /// Has this node's address book say what the table says.
    pub fn learn_addresses(&self) {
        let state = self.replica.state();
        let known = state.nodes().filter(|node| !node.address.is_empty());
        let address = |node: &Node| match state.is_superseded(node.id) {
            true => None,
            false => Some(node.address.clone()),
        };
        let known = known.map(|node| (node.id, address(node)));
        self.peers.learn_all(known.collect());
    }

    /// Nodes of the table that are to have the log and do not yet.
    pub fn missing_learners(&self, state: &State) -> BTreeMap<u64, BasicNode> {
        let members = self.members().all;
        let missing = state
            .nodes()
            .filter(|node| !members.contains(&node.id) && !state.is_superseded(node.id));
        let address = |node: &Node| self.peers.address(node.id);
        let missing = missing.filter_map(|node| Some((node.id, BasicNode::new(address(node)?))));
        missing.collect()
    }

    /// Who listens at an address, if anybody of this cluster does.
    pub async fn node_at(&self, address: &str) -> Option<u64> {
        let mut client = self.peers.client_at(address).ok()?;
        let request = v1::IdentifyRequest {
            sender: Some(self.peers.sender()),
            about: self.node(),
        };
        let answer = within(IDENTIFY_TIME, client.identify(request)).await.ok()?;
        let own = answer.own?;
        (own.cluster_id == self.identity().cluster_id).then_some(own.node)
    }

    /// Has another node lead, wherever the leader is: the one named, or else the voter
    /// with the longest log; who leads then.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`] where there is none, [`ConsensusError::NotLeader`]
    /// where it has just changed, [`ConsensusError::MembersUnchanged`] where it did
    /// not in time.
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, ConsensusError> {
        let leader = self
            .leader()
            .ok_or(ConsensusError::NoLeader { waited_ms: 0 })?;
        if leader == self.node() {
            return self.hand_over(to).await;
        }
        let request = v1::HandOverRequest {
            sender: Some(self.peers.sender()),
            to: to.unwrap_or(0),
        };
        let asked = async {
            let mut client = self.peers.client(leader, ChannelKind::Call)?;
            within(2 * HAND_OVER_TIME, client.hand_over(request)).await
        };
        let answer = asked.await.map_err(|status| unchanged(status.message()))?;
        Ok(answer.leader)
    }

    /// Hands the leadership over, if this node leads, and waits a moment for that to
    /// happen; who leads then.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`] and [`ConsensusError::MembersUnchanged`].
    pub async fn hand_over(&self, to: Option<u64>) -> Result<u64, ConsensusError> {
        let own = self.node();
        let mut leadership = self.leadership.subscribe();
        let leader = leadership.borrow().leader;
        if leader != Some(own) {
            return Err(ConsensusError::NotLeader { leader });
        }
        if to == Some(own) {
            return Ok(own);
        }
        let next = to.or_else(|| self.furthest_voter());
        let next = next.filter(|next| self.members().voters.contains(next));
        let next = next.ok_or_else(|| unchanged("there is no other voter of that name"))?;
        tracing::info!(to = next, "handing the leadership over");
        if self.raft.trigger().transfer_leader(next).await.is_err() {
            return Err(self.stopped());
        }
        let moved = leadership.wait_for(|now| now.leader.is_some_and(|id| id != own));
        // If not in time, the others elect a leader by themselves.
        match timeout(stretched(HAND_OVER_TIME), moved).await {
            Ok(Ok(now)) => Ok(now.leader.unwrap_or(next)),
            _ => Err(unchanged("no other node led in time")),
        }
    }

    /// Asks the others whether they have removed this node: nobody tells one that has
    /// no vote, and was down when it was removed. Where they have not, and look for it
    /// where it does not listen any more, it tells them where it does.
    async fn ask_others(&self) {
        let known = self.peers.first_known().into_keys();
        let all: BTreeSet<u64> = known.chain(self.members().all).collect();
        let others = all.into_iter().filter(|id| *id != self.node());
        let answers = join_all(others.map(|id| self.identify(id))).await;
        // Another cluster may have an address by now, and has removed others.
        let ours = answers.into_iter().flatten();
        let ours = ours.filter(|(peer, _)| peer.cluster_id == self.identity().cluster_id);
        let ours: Vec<_> = ours.collect();
        if ours.iter().any(|(_, answer)| answer.removed) {
            self.peers.removed().send_replace(true);
            return;
        }
        // Its own table may be older than its registration; nodes of older programs don't
        // say what theirs has.
        let own = self.peers.address(self.node()).unwrap_or_default();
        let told = ours.iter().map(|(_, answer)| answer.known_address.clone());
        let state = self.replica.state();
        let listed = state.node(self.node()).map(|node| node.address.clone());
        let mut known = told.chain(listed);
        let Some(former) = known.find(|known| !known.is_empty() && *known != own) else {
            return;
        };
        if self.node_at(&former).await == Some(self.node()) {
            tracing::error!(at = former, "another process runs on a copy of this disk");
            return;
        }
        let members: Vec<u64> = ours.iter().map(|(peer, _)| peer.node).collect();
        if let Err(error) = self.register_through(&members).await {
            tracing::warn!(%error, "the others don't know where this node listens now");
        }
    }

    fn furthest_voter(&self) -> Option<u64> {
        let voters = self.members().voters;
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let others = now.replication.iter().flatten();
        let others = others.filter(|(id, _)| voters.contains(id) && **id != self.node());
        let furthest = others.max_by_key(|(_, at)| at.as_ref().map(|at| at.index()));
        furthest.map(|(id, _)| *id)
    }
}

fn unchanged(cause: impl std::fmt::Display) -> ConsensusError {
    ConsensusError::MembersUnchanged {
        cause: cause.to_string(),
    }
}

/// Notices that this node was removed: by its own table, or from others, where it
/// hears of no leader.
pub async fn watch_removal(core: Arc<Core>) {
    let mut applied = core.replica.applied();
    loop {
        applied.borrow_and_update();
        if core.replica.state().is_removed(core.node()) {
            core.peers.removed().send_replace(true);
            return;
        }
        match timeout(REMOVAL_LOOK_EVERY, applied.changed()).await {
            Ok(Err(_)) => return,
            Err(_) if core.leader().is_none() => core.ask_others().await,
            _ => {}
        }
    }
}
