//! The handle that the rest of the node holds.
//!
//! Raft runs on a runtime of its own, with its own threads: whatever else the
//! node does, heartbeats go on.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver;
use reelraft_model::{Command, State};
use reelraft_proto::{auth::Gate, v1::peer_server::PeerServer};
use reelraft_storage::{DataFolder, Identity, Storage, TableHash};
use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
    task::spawn_blocking,
};
use tonic::service::interceptor::InterceptedService;

use crate::{
    admission::read_founders,
    config::ClusterConfig,
    core::{Core, Leadership},
    error::ConsensusError,
    limits::{HAND_OVER_TIME, MESSAGE_BYTES_MAX, RAFT_THREADS, SHUTDOWN_TIME},
    log_store::LogStore,
    network::Network,
    peers::Peers,
    propose::{Committed, encode},
    reads,
    service::PeerService,
    state_machine::StateMachine,
    types::Raft,
    upkeep,
    watchdog::Watchdog,
};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where it listens.
    pub address: String,
    /// Whether it votes; if not, it is a learner.
    pub voter: bool,
}

/// How far this node is, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last index in its log.
    pub last_index: u64,
    /// The last index that it knows to be committed.
    pub committed_index: u64,
    /// The last index that it has applied.
    pub applied_index: u64,
    /// The index of its newest snapshot; 0 if there is none.
    pub snapshot_index: u64,
    /// The last index that was purged; 0 if none was.
    pub purged_index: u64,
}

/// This node's part in the cluster. Clones share it; when the last is
/// dropped, Raft ends as if the process were killed.
#[derive(Clone, Debug)]
pub struct Cluster {
    core: Arc<Core>,
    life: Arc<Life>,
}

/// What lives as long as the handle does.
#[derive(Debug)]
struct Life {
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    folder: Mutex<Option<DataFolder>>,
}

impl Life {
    /// Ends all of Raft's tasks, wherever they are.
    fn end(&self) {
        let runtime = self.runtime.lock().map(|mut runtime| runtime.take());
        if let Ok(Some(runtime)) = runtime {
            runtime.shutdown_background();
        }
        if let Ok(mut folder) = self.folder.lock() {
            folder.take();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

impl Cluster {
    /// Opens the disk and starts Raft. A disk that has taken part before does
    /// so again; an empty one waits for [`Cluster::bootstrap`].
    ///
    /// # Errors
    /// [`ConsensusError::BadConfig`], [`ConsensusError::Storage`],
    /// [`ConsensusError::Model`] and [`ConsensusError::Stopped`].
    pub async fn open(config: ClusterConfig) -> Result<Self, ConsensusError> {
        config.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RAFT_THREADS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(|error| ConsensusError::Stopped {
                cause: format!("its threads can't be started: {error}"),
            })?;
        let handle = runtime.handle().clone();
        let life = Arc::new(Life {
            runtime: Mutex::new(Some(runtime)),
            handle: handle.clone(),
            folder: Mutex::new(None),
        });
        let starting = handle.spawn(start(config, handle.clone()));
        let (core, folder) = starting.await.map_err(|error| ConsensusError::Stopped {
            cause: error.to_string(),
        })??;
        if let Ok(mut kept) = life.folder.lock() {
            *kept = Some(folder);
        }
        Ok(Cluster { core, life })
    }

    /// The service for the other nodes, behind the check of the secret.
    pub fn peer_service(&self, gate: Gate) -> InterceptedService<PeerServer<PeerService>, Gate> {
        let server = PeerServer::new(PeerService::new(self.core.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        InterceptedService::new(server, gate)
    }

    /// Has this disk admitted, and founds the cluster where that is this
    /// node's part. To be called at every start, once the peer service
    /// listens. Returns when the node may take part; a new cluster needs all
    /// its voters for that, later starts need none.
    ///
    /// # Errors
    /// [`ConsensusError::OtherIncarnation`] for an empty disk under an id that
    /// the cluster knows with another, [`ConsensusError::OtherCluster`],
    /// [`ConsensusError::Storage`] and [`ConsensusError::Stopped`].
    pub async fn bootstrap(&self) -> Result<(), ConsensusError> {
        let core = self.core.clone();
        let admitting = self.life.handle.spawn(async move { core.admit().await });
        admitting.await.map_err(|_| self.core.stopped())?
    }

    /// Proposes commands as one entry, from any node. Returns when they are
    /// committed and applied on the leader.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`] when none is found in time,
    /// [`ConsensusError::Unconfirmed`] when one took them and did not answer,
    /// [`ConsensusError::TooManyCommands`], [`ConsensusError::EntryTooLong`]
    /// and [`ConsensusError::Stopped`].
    pub async fn propose(&self, commands: Vec<Command>) -> Result<Committed, ConsensusError> {
        self.core.propose(encode(commands)?).await
    }

    /// Proposes commands if this node leads.
    ///
    /// # Errors
    /// [`ConsensusError::NotLeader`], and as [`Cluster::propose`].
    pub async fn propose_local(&self, commands: Vec<Command>) -> Result<Committed, ConsensusError> {
        self.core.propose_local(encode(commands)?).await
    }

    /// The state with everything that anyone was told before this call.
    ///
    /// # Errors
    /// [`ConsensusError::NoLeader`], [`ConsensusError::Behind`] and
    /// [`ConsensusError::Stopped`].
    pub async fn read(&self) -> Result<Arc<State>, ConsensusError> {
        self.core.read().await
    }

    /// This replica's state as it is.
    pub fn local(&self) -> Arc<State> {
        self.core.replica.state()
    }

    /// The last applied index; it changes on each apply.
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

    /// The members; before the cluster is founded, the configured nodes.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.core.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        let peers = &self.core.peers;
        let voters: Vec<u64> = membership.voter_ids().collect();
        if voters.is_empty() {
            let configured = peers.configured().iter();
            return configured
                .map(|(id, address)| Member {
                    id: *id,
                    address: address.clone(),
                    voter: self.core.config.voters.contains(id),
                })
                .collect();
        }
        membership
            .nodes()
            .map(|(id, node)| Member {
                id: *id,
                address: peers.address(*id).unwrap_or_else(|| node.addr.clone()),
                voter: voters.contains(id),
            })
            .collect()
    }

    /// Whose disk this is.
    pub fn identity(&self) -> &Identity {
        self.core.identity()
    }

    /// How far this node is.
    pub fn progress(&self) -> Progress {
        let metrics = self.core.raft.metrics();
        let now = metrics.borrow_watched();
        let index = |id: &Option<crate::types::LogId>| id.as_ref().map_or(0, |id| id.index());
        Progress {
            last_index: now.last_log_index.unwrap_or(0),
            committed_index: index(&now.local_committed),
            applied_index: *self.core.replica.applied().borrow(),
            snapshot_index: index(&now.snapshot),
            purged_index: index(&now.purged),
        }
    }

    /// The hash of the table and the index at which it stands. Replicas at
    /// the same index have the same.
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

    /// Makes a snapshot soon.
    ///
    /// # Errors
    /// [`ConsensusError::Stopped`].
    pub async fn snapshot(&self) -> Result<(), ConsensusError> {
        let triggered = self.core.raft.trigger().snapshot().await;
        triggered.map_err(|error| ConsensusError::Stopped {
            cause: error.to_string(),
        })
    }

    /// Why Raft has stopped, once it has: the node must end then.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.core.fatal.subscribe()
    }

    /// Raft's runtime: what its peers wait for may run there too.
    pub fn runtime(&self) -> Handle {
        self.life.handle.clone()
    }

    /// Hands the leadership to the voter that is furthest, if this node has
    /// it, and waits a moment for that to happen.
    pub async fn hand_over(&self) {
        let mut leadership = self.leadership();
        let own = self.core.node();
        if leadership.borrow().leader != Some(own) {
            return;
        }
        let next = {
            let metrics = self.core.raft.metrics();
            let now = metrics.borrow_watched();
            let voters: Vec<u64> = now.membership_config.voter_ids().collect();
            now.replication.as_ref().and_then(|replication| {
                replication
                    .iter()
                    .filter(|(id, _)| voters.contains(id) && **id != own)
                    .max_by_key(|(_, at)| at.as_ref().map(|at| at.index()))
                    .map(|(id, _)| *id)
            })
        };
        let Some(next) = next else {
            return;
        };
        tracing::info!(to = next, "handing the leadership over");
        if self.core.raft.trigger().transfer_leader(next).await.is_ok() {
            let moved = leadership.wait_for(|now| now.leader.is_some_and(|id| id != own));
            // Not in time: the others elect one by themselves.
            let _ = tokio::time::timeout(HAND_OVER_TIME, moved).await;
        }
    }

    /// Hands the leadership over and stops Raft. The disk is free for another
    /// opener afterwards.
    pub async fn shutdown(&self) {
        self.hand_over().await;
        let stopped = tokio::time::timeout(SHUTDOWN_TIME, self.core.raft.shutdown()).await;
        if stopped.is_err() {
            tracing::warn!("raft did not stop in time");
        }
        self.life.end();
    }

    /// Keeps the table from being written while `held` runs, as a disk that
    /// hangs does; for tests.
    #[doc(hidden)]
    pub fn hold_table<T>(&self, held: impl FnOnce() -> T) -> T {
        self.core.replica.hold_table(held)
    }

    /// Ends Raft at once, as a kill of the process would; for tests.
    #[doc(hidden)]
    pub fn abort(&self) {
        self.life.end();
    }
}

/// Opens the disk and starts all tasks, on Raft's runtime.
async fn start(
    config: ClusterConfig,
    runtime: Handle,
) -> Result<(Arc<Core>, DataFolder), ConsensusError> {
    let node = config.node;
    let data: PathBuf = config.data.clone();
    let cluster_id = config.cluster_id();
    let opening = spawn_blocking(move || {
        let founders = read_founders(&data)?;
        Storage::open(&data, &cluster_id, node).map(|storage| (founders, storage))
    });
    let (founders, storage) = opening.await.map_err(|error| ConsensusError::Stopped {
        cause: error.to_string(),
    })??;
    let identity = storage.identity().clone();
    let used = storage.log.vote().is_some() || storage.log.bounds().last.is_some();
    let watchdog = Watchdog::default();
    let flusher = storage.table.flusher();
    let machine = StateMachine::new(
        storage.table,
        storage.rows,
        storage.snapshots.clone(),
        storage.newest.map(Arc::new),
        watchdog.clone(),
    )?;
    let replica = machine.replica();
    let peers = Arc::new(Peers::new(
        identity,
        config.secret.clone(),
        config.peers.clone(),
        runtime.clone(),
        watchdog.clone(),
    ));
    let raft = Raft::new(
        node,
        config.raft()?,
        Network::new(peers.clone()),
        LogStore::new(storage.log, watchdog.clone()),
        machine,
    )
    .await
    .map_err(|error| ConsensusError::Stopped {
        cause: error.to_string(),
    })?;
    let (reads, waiting) = reads::queue();
    let core = Arc::new(Core {
        data: config.data.clone(),
        config,
        raft,
        replica,
        peers,
        snapshots: storage.snapshots,
        leadership: watch::Sender::new(Leadership::default()),
        fatal: watch::Sender::new(None),
        admitted: watch::Sender::new(used),
        founders: founders.into(),
        reads,
        heard_leader: Mutex::default(),
        watchdog: watchdog.clone(),
    });
    let watching = watchdog.start(Arc::downgrade(&core));
    watching.map_err(|error| ConsensusError::Stopped {
        cause: format!("its watchdog can't be started: {error}"),
    })?;
    runtime.spawn(upkeep::flush_table(core.clone(), flusher));
    runtime.spawn(upkeep::watch_raft(core.clone()));
    runtime.spawn(upkeep::keep_up(core.clone()));
    runtime.spawn(reads::run_rounds(core.clone(), waiting));
    Ok((core, storage.folder))
}
