//! What a node does before it takes part: its address and its disk.
//!
//! A disk that is full, or fails for now, is waited for in here: a node that
//! ended instead would be started again after ever longer pauses, and would
//! come back long after its disk did. Every other refusal ends the node.

use std::{io::ErrorKind, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use reelraft_consensus::{Cluster, ClusterConfig, ConsensusError};
use reelraft_model::Problem;
use reelraft_storage::{Reserve, ReserveTurn};
use reelraft_trust::{Acceptor, Port, Trust, TrustError};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use tracing::{info, warn};

use crate::{
    config::NodeConfig,
    data::DataPlane,
    limits::{
        COUNT_PATIENCE, COUNT_RETRY, DISK_REPORT_EVERY, DISK_RETRY, LISTEN_PATIENCE, LISTEN_RETRY,
        RESERVE_EVERY, START_ROOM_BYTES,
    },
    node::{certificates::Keeper, context::NodeContext, load::Load, worker::Worker},
};

/// Listens on the node's address, once a killed predecessor has let go of it.
///
/// # Errors
/// `address-in-use`.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Problem> {
    let begun = Instant::now();
    loop {
        let error = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if error.kind() != ErrorKind::AddrInUse || begun.elapsed() > LISTEN_PATIENCE {
            return Err(Problem::new(
                "address-in-use",
                format!("can't listen on {address}: {error}"),
                "stop what listens there, or choose another --listen",
            ));
        }
        tokio::time::sleep(LISTEN_RETRY).await;
    }
}

/// Opens the disk and starts Raft, as soon as the disk lets it; `None` where
/// the node was told to stop before that.
///
/// # Errors
/// What the disk refuses for good.
pub async fn open_cluster(
    config: &NodeConfig,
    settings: &ClusterConfig,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Cluster>, Problem> {
    let mut reported: Option<Instant> = None;
    loop {
        // That of a node which ended as its disk was full.
        say(Reserve::of(&config.data).give_way());
        let problem = match full(config) {
            Some(problem) => problem,
            None => match Cluster::open(settings.clone()).await {
                Ok(cluster) => {
                    if reported.is_some() {
                        info!("the disk is well again");
                    }
                    return Ok(Some(cluster));
                }
                Err(error) if may_pass(&error) => error.problem(),
                Err(error) => return Err(error.problem()),
            },
        };
        if reported.is_none_or(|at| at.elapsed() >= DISK_REPORT_EVERY) {
            reported = Some(Instant::now());
            warn!(%problem, "waiting for the disk");
        }
        if stopped_within(stop, DISK_RETRY).await {
            return Ok(None);
        }
    }
}

/// Says what became of the reserve, where anything did.
fn say(turn: std::io::Result<ReserveTurn>) {
    match turn {
        Ok(ReserveTurn::Same) => {}
        Ok(ReserveTurn::GivenUp { left_bytes }) => warn!(
            left_bytes,
            "the disk is full: some of the reserve is given up, so that the log goes on; make room"
        ),
        Ok(ReserveTurn::Whole { bytes }) => info!(bytes, "room is reserved for the log"),
        Err(error) => warn!(%error, "no room can be reserved for the log"),
    }
}

/// Keeps some room for the log until `stop` is set, and gives it up where the disk is
/// full. What else writes to the disk is ended before that.
pub async fn keep_reserve(data: PathBuf, worker: Arc<Worker>, mut stop: watch::Receiver<bool>) {
    let reserve = Reserve::of(&data);
    let mut failed = false;
    loop {
        let (looking, working) = (reserve.clone(), worker.clone());
        let look = move || {
            working.spare_disk();
            looking.keep()
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let looked = looked.unwrap_or(Ok(ReserveTurn::Same));
        // Where it can't be had it is said once.
        let again = failed && looked.is_err();
        failed = looked.is_err();
        if !again {
            say(looked);
        }
        if stopped_within(&mut stop, RESERVE_EVERY).await {
            return;
        }
    }
}

async fn stopped_within(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::time::timeout(time, stop.wait_for(|stop| *stop))
        .await
        .is_ok()
}

/// What takes connections in at a port.
///
/// # Errors
/// `no-certificate`, never in practice.
pub fn acceptor(trust: &Trust, port: Port) -> Result<Acceptor, Problem> {
    Acceptor::new(trust, port).map_err(|error| bad_tls(&error))
}

fn bad_tls(error: &TrustError) -> Problem {
    let hint = "see the files of --tls-cert and --tls-key";
    Problem::new("bad-config", error.to_string(), hint)
}

/// Keeps up this node's certificate, and shows clients the public one, if there is
/// one.
///
/// # Errors
/// `bad-config` for public files that can't be used.
pub fn follow_certificates(
    context: &Arc<NodeContext>,
    keeper: Option<Keeper>,
    stop: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, Problem> {
    let mut following = Vec::new();
    if let Some(keeper) = keeper {
        following.push(tokio::spawn(keeper.keep(context.clone(), stop.clone())));
    }
    if let Some(files) = context.config.tls.public.clone() {
        let shown = files.show(context.cluster.trust());
        following.push(tokio::spawn(shown.map_err(|error| bad_tls(&error))?));
    }
    Ok(following)
}

/// Has the data plane keep and copy as much as the settings allow.
pub async fn take_keeping(config: &NodeConfig, data: &Arc<DataPlane>) {
    data.set_copy_rate(config.keeping.copy_bytes_per_s);
    let store = data.store();
    store.limit_to(config.keeping.disk_limit_bytes);
    // A large disk is counted while the node serves; it takes no more until then.
    let begun = Instant::now();
    while !store.is_counted() && begun.elapsed() < COUNT_PATIENCE {
        tokio::time::sleep(COUNT_RETRY).await;
    }
}

fn may_pass(error: &ConsensusError) -> bool {
    matches!(error, ConsensusError::Storage(error) if error.may_pass())
}

/// Whether the disk is too full to begin. Zeros say that it can't be asked,
/// as where the folder is not there yet.
fn full(config: &NodeConfig) -> Option<Problem> {
    let (free_bytes, total_bytes) = Load::new(config.data.clone()).disk();
    (total_bytes > 0 && free_bytes < START_ROOM_BYTES).then(|| {
        Problem::new(
            "disk-full",
            format!(
                "{} has {free_bytes} bytes free, a node begins with {START_ROOM_BYTES}",
                config.data.display()
            ),
            "make room: the node goes on by itself",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_address_is_taken_when_it_is_let_go_and_refused_when_it_is_not() {
        let held = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = held.local_addr().unwrap();
        let refused = listen(address).await.unwrap_err();
        assert_eq!(refused.kind, "address-in-use");
        let (taken, ()) = tokio::join!(listen(address), async move {
            tokio::time::sleep(2 * LISTEN_RETRY).await;
            drop(held);
        });
        assert_eq!(taken.unwrap().local_addr().unwrap(), address);
    }
}
