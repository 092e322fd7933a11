//! Opening a node's consensus: its disk, its Raft, and the tasks around it.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
};

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use reelraft_storage::{DataFolder, Storage};
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking};

use crate::{
    admission::{Founders, read_founders},
    config::ClusterConfig,
    core::{Core, Leadership, Raft},
    disk_work::DiskWork,
    error::ConsensusError,
    heartbeats,
    log_store::LogStore,
    members,
    network::Network,
    outdated,
    peers::Peers,
    reads,
    state_machine::StateMachine,
    upkeep,
    watchdog::Watchdog,
};

/// Opens the disk and starts all tasks, on Raft's runtime.
///
/// # Errors
/// [`ConsensusError::Storage`], [`ConsensusError::Model`],
/// [`ConsensusError::OlderProgram`] and [`ConsensusError::Stopped`].
pub async fn start(
    config: ClusterConfig,
    runtime: Handle,
) -> Result<(Arc<Core>, DataFolder), ConsensusError> {
    let (founders, storage) = open_disk(&config).await?;
    let used = storage.log.vote().is_some() || storage.log.bounds().last.is_some();
    let watchdog = Watchdog::default();
    let flusher = storage.table.flusher();
    let peers = Arc::new(Peers::new(
        storage.identity().clone(),
        (config.secret.clone(), config.trust.clone()),
        (config.peers.clone(), config.seeds.clone()),
        runtime.clone(),
        watchdog.clone(),
    ));
    let machine = StateMachine::new(
        storage.table,
        storage.rows,
        storage.snapshots.clone(),
        storage.newest.map(Arc::new),
        watchdog.clone(),
    )?;
    let replica = machine.replica();
    outdated::check_table(&replica.state(), config.node)?;
    let raft = Raft::new(
        config.node,
        config.raft()?,
        Network::new(peers.clone()),
        LogStore::new(storage.log, watchdog.clone()),
        machine,
    );
    let (reads, waiting) = reads::queue();
    let core = Arc::new(Core {
        raft: raft.await.map_err(stopped)?,
        data: config.data.clone(),
        config,
        replica,
        peers,
        snapshots: storage.snapshots,
        leadership: watch::Sender::new(Leadership::default()),
        fatal: watch::Sender::new(None),
        left_out: Default::default(),
        outdated: watch::Sender::new(None),
        admitted: watch::Sender::new(used),
        founders: founders.into(),
        reads,
        heard: Default::default(),
        watchdog,
        changing: Default::default(),
    });
    core.learn_addresses();
    start_watchdog(&core)?;
    runtime.spawn(upkeep::flush_table(core.clone(), flusher));
    runtime.spawn(upkeep::watch_raft(core.clone()));
    runtime.spawn(heartbeats::beat(core.clone()));
    runtime.spawn(upkeep::make_snapshots(core.clone()));
    runtime.spawn(upkeep::maintain_members(core.clone()));
    runtime.spawn(members::watch_removal(core.clone()));
    runtime.spawn(reads::run_read_rounds(core.clone(), waiting));
    Ok((core, storage.folder))
}

fn stopped(error: impl std::fmt::Display) -> ConsensusError {
    ConsensusError::Stopped {
        cause: error.to_string(),
    }
}

async fn open_disk(config: &ClusterConfig) -> Result<(Founders, Storage), ConsensusError> {
    let node = config.node;
    let data: PathBuf = config.data.clone();
    let cluster_id = config.cluster_id();
    let opening = spawn_blocking(move || {
        let founders = read_founders(&data)?;
        Storage::open(&data, &cluster_id, node).map(|storage| (founders, storage))
    });
    Ok(opening.await.map_err(stopped)??)
}

/// The watchdog must not keep the node alive, so it holds it weakly.
fn start_watchdog(core: &Arc<Core>) -> Result<(), ConsensusError> {
    let node: Weak<Core> = Arc::downgrade(core);
    let hung = node.clone();
    let on_hang = core.config.on_hang.clone();
    core.watchdog
        .start(
            DiskWork::under(&core.data.join("log")),
            DiskWork::under(&core.data.join("table")),
            move || node.upgrade().map(|core| replaceable_leader(&core)),
            move |hang| {
                on_hang.call(hang);
                if let Some(core) = hung.upgrade() {
                    core.stop_for_good(hang.to_string());
                }
            },
        )
        .map_err(|error| stopped(format!("its watchdog can't be started: {error}")))
}

/// Whether this node leads and another could do so instead.
fn replaceable_leader(core: &Core) -> bool {
    let metrics = core.raft.metrics();
    let now = metrics.borrow_watched();
    now.state == ServerState::Leader && now.membership_config.voter_ids().count() > 1
}
