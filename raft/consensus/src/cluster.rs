//! The handle to the cluster that the rest of the node holds.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use reelraft_model::{Command, State};
use reelraft_proto::v1::peer_server::PeerServer;
use reelraft_storage::{Identity, TableHash};
use reelraft_trust::Trust;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking};
use tonic::service::{Interceptor, interceptor::InterceptedService};

use crate::{
    config::ClusterConfig,
    core::{Core, Leadership},
    error::ConsensusError,
    heartbeats::election_timeout_ms,
    limits::{MESSAGE_BYTES_MAX, SHUTDOWN_TIME},
    members::{MemberChange, Members},
    propose::{Committed, encode},
    raft_clock::needed_percent,
    runtime::RaftRuntime,
    service::PeerService,
    start::start,
    turns::Turns,
    types::LogId,
};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    /// Where it listens; empty where another node does by now.
    pub address: String,
    /// Whether it votes; otherwise it is a learner.
    pub voter: bool,
}

/// How far this node is, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last index in its log.
    pub last_index: u64,
    /// The last index that it knows is committed.
    pub committed_index: u64,
    pub applied_index: u64,
    /// The index of its newest snapshot; 0 if there is none.
    pub snapshot_index: u64,
    /// The last index that was purged; 0 if none was.
    pub purged_index: u64,
}

impl Progress {
    /// Entries that are committed and not applied here yet.
    pub fn lag(&self) -> u64 {
        self.committed_index.saturating_sub(self.applied_index)
    }
}

/// This node's part in the cluster. Clones share it. When the last one is
/// dropped, Raft ends as if the process were killed.
///
/// What reaches into openraft is a boxed future, so that openraft is compiled with
/// this crate and not with each that polls one.
#[derive(Clone, Debug)]
pub struct Cluster {
    core: Arc<Core>,
    runtime: Arc<RaftRuntime>,
}

impl Cluster {
    /// Opens the disk and starts Raft. A disk that has taken part before goes on;
    /// an empty one waits for [`Cluster::bootstrap`].
    ///
    /// # Errors
    /// [`ConsensusError::BadConfig`], [`ConsensusError::Storage`],
    /// [`ConsensusError::Model`] and [`ConsensusError::Stopped`].
    pub fn open(config: ClusterConfig) -> BoxFuture<'static, Result<Self, ConsensusError>> {
        Box::pin(Cluster::open_disk(config))
    }

    async fn open_disk(config: ClusterConfig) -> Result<Self, ConsensusError> {
        config.check()?;
        let runtime = RaftRuntime::start()?;
        let handle = runtime.handle().clone();
        let starting = runtime.handle().spawn(start(config, handle));
        let (core, folder) = starting.await.map_err(|error| ConsensusError::Stopped {
            cause: error.to_string(),
        })??;
        runtime.hold(folder);
        let runtime = Arc::new(runtime);
        Ok(Cluster { core, runtime })
    }

    /// The service for the other nodes, behind the secret's check.
    pub fn peer_service<G: Interceptor>(
        &self,
        gate: G,
    ) -> InterceptedService<PeerServer<PeerService>, G> {
        let server = PeerServer::new(PeerService::new(self.core.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        InterceptedService::new(server, gate)
    }

    /// Has this disk admitted, and founds the cluster if that is this node's
    /// part. Call it at every start, once the peer service listens. It returns
    /// when the node may take part: a new cluster needs all its voters for
    /// that, later starts need none.
    ///
    /// # Errors
    /// [`ConsensusError::OtherIncarnation`] for an empty disk under an id that
    /// the cluster knows with another, [`ConsensusError::OtherCluster`],
    /// [`ConsensusError::Storage`] and [`ConsensusError::Stopped`].
    pub fn bootstrap(&self) -> BoxFuture<'_, Result<(), ConsensusError>> {
        let core = self.core.clone();
        Box::pin(async move {
            let admit = async move { core.admit().await };
            let admitting = self.runtime.handle().spawn(admit);
            admitting.await.map_err(|_| self.core.stopped())?
        })
    }

    /// Proposes commands as one entry, from any node. Returns when they are
    /// committed and applied on the leader; [`Cluster::state_at`] the index of
    /// the answer shows them here.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`] if none is found in time,
    /// [`ConsensusError::Unconfirmed`] if one took them and did not answer,
    /// [`ConsensusError::TooManyCommands`], [`ConsensusError::EntryTooLong`]
    /// and [`ConsensusError::Stopped`].
    pub fn propose(
        &self,
        commands: Vec<Command>,
    ) -> BoxFuture<'_, Result<Committed, ConsensusError>> {
        Box::pin(async { self.core.propose(encode(commands)?).await })
    }

    /// Proposes commands if this node leads.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`], and as [`Cluster::propose`].
    pub fn propose_local(
        &self,
        commands: Vec<Command>,
    ) -> BoxFuture<'_, Result<Committed, ConsensusError>> {
        Box::pin(async { self.core.propose_local(encode(commands)?).await })
    }

    /// The state with everything that was acknowledged anywhere before this
    /// call. Costs a round to a quorum, which concurrent reads share.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::Behind`] and
    /// [`ConsensusError::Stopped`].
    pub fn read(&self) -> BoxFuture<'_, Result<Arc<State>, ConsensusError>> {
        Box::pin(self.core.read())
    }

    /// This replica's state as it is.
    pub fn local(&self) -> Arc<State> {
        self.core.replica.state()
    }

    /// The same, and the last index that is in it.
    pub fn local_at(&self) -> (Arc<State>, u64) {
        self.core.replica.state_and_index()
    }

    /// The turns that jobs took lately, as this replica applied them.
    pub fn turns(&self) -> &Turns {
        self.core.replica.turns()
    }

    /// This replica's state once it has applied an index: with the index of a
    /// [`Committed`] proposal, a read of one's own write.
    ///
    /// # Errors
    /// [`ConsensusError::Behind`] and [`ConsensusError::Stopped`].
    pub async fn state_at(&self, index: u64) -> Result<Arc<State>, ConsensusError> {
        self.core.state_at(index).await
    }

    /// The last applied index. It changes with each apply.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.core.replica.applied()
    }

    /// Waits until this replica has applied an index.
    ///
    /// # Errors
    /// [`ConsensusError::Behind`] and [`ConsensusError::Stopped`].
    pub async fn wait_applied(&self, index: u64, limit: Duration) -> Result<(), ConsensusError> {
        self.core.wait_applied(index, limit).await
    }

    /// Who leads, as this node sees it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    /// The members, or the configured nodes before the cluster is founded.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.core.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        let peers = &self.core.peers;
        let voters: Vec<u64> = membership.voter_ids().collect();
        if voters.is_empty() {
            let known = peers.first_known().into_iter();
            return known
                .map(|(id, address)| Member {
                    id,
                    address,
                    voter: self.core.config.voters.contains(&id),
                })
                .collect();
        }
        let state = self.core.replica.state();
        let nowhere = |id: u64| state.is_superseded(id);
        membership
            .nodes()
            .map(|(id, node)| Member {
                id: *id,
                address: peers.address(*id).unwrap_or_else(|| match nowhere(*id) {
                    true => String::new(),
                    false => node.addr.clone(),
                }),
                voter: voters.contains(id),
            })
            .collect()
    }

    /// How long this node hears nothing of a leader, at most, before it seeks
    /// another while some job is open. It follows what heartbeats and syncs take on this machine.
    pub fn election_timeout_ms(&self) -> u64 {
        election_timeout_ms(needed_percent())
    }

    pub fn identity(&self) -> &Identity {
        self.core.identity()
    }

    /// Certificates, where nodes speak by TLS.
    pub fn trust(&self) -> &Trust {
        self.core.peers.trust()
    }

    pub fn progress(&self) -> Progress {
        let metrics = self.core.raft.metrics();
        let now = metrics.borrow_watched();
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index());
        Progress {
            last_index: now.last_log_index.unwrap_or(0),
            committed_index: index(&now.local_committed),
            applied_index: *self.core.replica.applied().borrow(),
            snapshot_index: index(&now.snapshot),
            purged_index: index(&now.purged),
        }
    }

    /// The table's index and its hash there. Replicas at the same index have the
    /// same hash.
    ///
    /// # Errors
    /// [`ConsensusError::Stopped`].
    pub async fn table_hash(&self) -> Result<(u64, TableHash), ConsensusError> {
        let replica = self.core.replica.clone();
        let (index, hash) = spawn_blocking(move || replica.table_hash())
            .await
            .map_err(|_| self.core.stopped())?;
        Ok((index.unwrap_or(0), hash))
    }

    /// The latest index at which this replica's table can be compared with
    /// others.
    pub fn hashed_index(&self) -> Option<u64> {
        self.core.replica.hashed_index()
    }

    /// The table's hash at an index, if a write ended there lately. Replicas have
    /// the same at the same index.
    pub fn table_hash_at(&self, index: u64) -> Option<TableHash> {
        self.core.replica.hash_at(index)
    }

    /// Asks for a snapshot, which is made soon.
    ///
    /// # Errors
    /// [`ConsensusError::Stopped`].
    pub fn snapshot(&self) -> BoxFuture<'_, Result<(), ConsensusError>> {
        Box::pin(async {
            let triggered = self.core.raft.trigger().snapshot().await;
            triggered.map_err(|error| ConsensusError::Stopped {
                cause: error.to_string(),
            })
        })
    }

    /// Why Raft has stopped, once it has. The node must end then.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.core.fatal.subscribe()
    }

    /// Whether Raft has stopped because the cluster was recovered without this disk, as a
    /// refusal that says so.
    pub fn left_out(&self) -> Option<ConsensusError> {
        self.core.left_out.refusal()
    }

    /// Why the others refuse this node's program, once they do. The node must end then.
    pub fn outdated(&self) -> watch::Receiver<Option<String>> {
        self.core.outdated.subscribe()
    }

    /// Raft's runtime. What its peers wait for may run there too.
    pub fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Who takes part, and how far each is.
    pub fn membership(&self) -> Members {
        self.core.members()
    }

    /// Changes the members, if this node leads. Changes wait for one another.
    ///
    /// # Errors
    /// [`ConsensusError::MembersUnchanged`] and [`ConsensusError::Stopped`].
    pub fn change_members<'a>(
        &'a self,
        change: &'a MemberChange,
    ) -> BoxFuture<'a, Result<(), ConsensusError>> {
        Box::pin(self.core.change_members(change))
    }

    /// Has another node lead: the one named, or else the voter with the longest log;
    /// who leads then.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::NotLeader`],
    /// [`ConsensusError::MembersUnchanged`] and [`ConsensusError::Stopped`].
    pub fn transfer_leader(&self, to: Option<u64>) -> BoxFuture<'_, Result<u64, ConsensusError>> {
        Box::pin(self.core.transfer_leader(to))
    }

    /// Who of this cluster listens at an address, if anybody does.
    pub fn node_at<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Option<u64>> {
        Box::pin(self.core.node_at(address))
    }

    /// The highest id of a node that this one was told of at its start.
    pub fn highest_configured(&self) -> u64 {
        let known = self.core.peers.first_known();
        known.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether this node was removed from the cluster. It must end then.
    pub fn removed(&self) -> watch::Receiver<bool> {
        self.core.peers.removed().subscribe()
    }

    /// If this node leads, hands the leadership to the voter with the longest
    /// log, and waits a moment for that to happen.
    pub fn hand_over(&self) -> BoxFuture<'_, ()> {
        // Alone, or late, it goes without.
        Box::pin(async { drop(self.core.hand_over(None).await) })
    }

    /// Hands the leadership over and stops Raft. Afterwards another process may
    /// open the disk.
    pub fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.hand_over().await;
            let stopped = tokio::time::timeout(SHUTDOWN_TIME, self.core.raft.shutdown()).await;
            if stopped.is_err() {
                tracing::warn!("raft did not stop in time");
            }
            self.runtime.end();
        })
    }

    /// Blocks writes to the table while `held` runs, as a disk that hangs would;
    /// for tests.
    #[doc(hidden)]
    pub fn hold_table<T>(&self, held: impl FnOnce() -> T) -> T {
        self.core.replica.hold_table(held)
    }

    /// Ends Raft at once, as a kill of the process would; for tests.
    #[doc(hidden)]
    pub fn abort(&self) {
        self.runtime.end();
    }
}
