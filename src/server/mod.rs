//! One running node, put together: opens its disk, joins the others, serves
//! clients and nodes, and runs the loops until it is told to stop.

mod place;
pub mod privacy;
pub mod recovery;
pub mod restore;
mod restore_bucket;
mod start;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use reelraft_consensus::{ConsensusError, HangAction};
use reelraft_model::Problem;
use reelraft_proto::auth::Secret;
use reelraft_trust as tls;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::{JoinError, JoinHandle},
};
use tracing::{info, warn};

use crate::{
    api::Access,
    config::NodeConfig,
    data::DataPlane,
    grpc::{
        blob_client::BlobClients,
        listener::{Entrance, serve as serve_calls},
        places::Places,
        router::{self, web_services},
        worker_client::WorkerClient,
    },
    http::{self, Port},
    limits::STOP_GRACE,
    node::{
        certificates::Keeper,
        context::{NodeContext, work_root},
        hang, home,
        joining::Joining,
        leader,
        leader::{Patience, intake::Intake, sessions::Sessions},
        worker::Worker,
    },
};

/// The way to a node that serves, for whoever asks it from within its process.
pub struct OwnDoor {
    /// Where it listens, as this machine reaches it.
    pub address: SocketAddr,
    /// What its clients must know.
    pub secret: Secret,
    /// How it speaks.
    pub trust: tls::Trust,
}

impl OwnDoor {
    fn of(context: &NodeContext) -> Self {
        let mut address = context.config.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        OwnDoor {
            address,
            secret: context.config.secret.clone(),
            trust: context.cluster.trust().clone(),
        }
    }
}

/// Runs a node until `stop` is set, and says once that it is `ready`: it serves,
/// votes and stores. Whether there is a leader is another question, which the first
/// of three nodes can't answer before the second is started.
///
/// # Errors
/// A [`Problem`] where it can't start, or had to end itself.
///
/// Boxed, so that a node's futures are compiled with this library and not again
/// with each program that polls one.
pub fn run(
    config: NodeConfig,
    stop: watch::Receiver<bool>,
    ready: oneshot::Sender<OwnDoor>,
) -> BoxFuture<'static, Result<(), Problem>> {
    Box::pin(run_node(config, stop, ready))
}

async fn run_node(
    mut config: NodeConfig,
    mut stop: watch::Receiver<bool>,
    ready: oneshot::Sender<OwnDoor>,
) -> Result<(), Problem> {
    // Only to be told soon if the address is taken: a port that is open and
    // not served, for as long as a disk takes, would hold clients up.
    drop(start::listen(config.listen).await?);
    let Some(mut settings) = place::find(&mut config, &mut stop).await? else {
        return Ok(());
    };
    settings.on_hang = HangAction::new(hang::end_process);
    if config.tls.on {
        settings.trust = tls::Trust::on();
    }
    if config.clients_know_peer_secret() {
        warn!(
            "clients have the nodes' own secret: give all nodes another one, as REELRAFT_PEER_SECRET"
        );
    }
    let Some(cluster) = start::open_cluster(&config, &settings, &mut stop).await? else {
        return Ok(());
    };
    let _ = std::fs::remove_dir_all(work_root(&config.data));
    let trust = cluster.trust().clone();
    let keeper = match trust.is_on() {
        true => Some(Keeper::begin(&config, &cluster).await?),
        false => None,
    };
    let transport = Arc::new(BlobClients::new(config.peer_secret.clone(), trust));
    let data = DataPlane::open(Arc::new(cluster.clone()), &config.data, transport)
        .await
        .map_err(|error| error.problem())?;
    start::take_keeping(&config, &data).await;
    let listener = start::listen(config.listen).await?;
    let http = match config.http {
        Some(address) => Some(start::listen(address).await?),
        None => None,
    };
    let context = NodeContext::new(config, cluster, data)?;
    let followed = start::follow_certificates(&context, keeper, &stop)?;
    let ended = serve(context, listener, http, stop, ready).await;
    followed.iter().for_each(JoinHandle::abort);
    ended
}

async fn serve(
    context: Arc<NodeContext>,
    listener: TcpListener,
    http: Option<TcpListener>,
    mut stop: watch::Receiver<bool>,
    ready: oneshot::Sender<OwnDoor>,
) -> Result<(), Problem> {
    let cluster = context.cluster.clone();
    let sessions = Arc::new(Sessions::default());
    let (stop_serving, serving_stopped) = watch::channel(false);
    let (secret, peer_secret) = (&context.config.secret, &context.config.peer_secret);
    let access = Access::new(context.clone(), secret.gate_or(peer_secret));
    let trust = cluster.trust().clone();
    let acceptor = |port| start::acceptor(&trust, port);
    let (acceptor, http_acceptor) = (acceptor(tls::Port::Grpc)?, acceptor(tls::Port::Http)?);
    let http = http.map(|listener| (listener, http_acceptor));
    let serving_http = serve_http(access.clone(), http, serving_stopped.clone());
    let services = router::services(
        peer_secret.gate(),
        &context.data,
        &cluster,
        Intake::new(cluster.clone(), sessions.clone()).checking(context.config.verify_engines),
        Joining::new(context.clone()),
        access,
    )
    .await;
    let entrance = Entrance {
        places: Places::default(),
        acceptor,
        trust: trust.clone(),
    };
    tokio::spawn(context.tally.clone().follow(cluster.leadership()));
    let serving = tokio::spawn(serve_calls(services, entrance, listener, serving_stopped));
    cluster.bootstrap().await.map_err(|error| error.problem())?;
    info!(node = context.node(), listen = %context.config.listen, "this node votes and stores");
    let _ = ready.send(OwnDoor::of(&context));

    let link = Arc::new(WorkerClient::new(context.config.peer_secret.clone(), trust));
    let worker = Worker::new(context.clone(), link);
    let (stop_working, work_stops) = watch::channel(false);
    let working = tokio::spawn(worker.clone().run(work_stops.clone()));
    let patience = patience(&context.config);
    let leading = leader::run(cluster.clone(), sessions, patience, work_stops.clone());
    let loops = [
        tokio::spawn(leading),
        tokio::spawn(leader::deliveries::run(context.clone(), work_stops.clone())),
        tokio::spawn(home::run(context.clone(), work_stops.clone())),
        tokio::spawn(start::keep_reserve(
            context.config.data.clone(),
            worker,
            work_stops,
        )),
    ];
    until_stopped(&context, &mut stop).await?;
    info!("stopping");
    context.stopping.send_replace(true);
    // First, so that the next leader gives what is given back to others at once.
    cluster.hand_over().await;
    let _ = stop_working.send(true);
    // The worker gives its attempts back while there is a cluster to tell.
    let _ = ended(working).await;
    cluster.shutdown().await;
    let _ = stop_serving.send(true);
    for task in loops.into_iter().chain([serving, serving_http]) {
        let _ = ended(task).await;
    }
    // What others keep for it is tidied up.
    let _ = tokio::time::timeout(STOP_GRACE, context.stopping.closed()).await;
    Ok(())
}

/// How long a leader waits for what, by its node's settings.
fn patience(config: &NodeConfig) -> Patience {
    Patience {
        rehome_after_s: config.rehome_after_s,
        replan_after_s: config.replan_after_s,
        replace_voter_after_s: config.replace_voter_after_s,
        uploads_expire_after_s: config.uploads_expire_after_s,
        keep_finished_s: config.keep_finished_s,
        keep_sources_s: config.keep_sources_s,
        reuse_outputs: config.reuse_outputs,
    }
}

/// Waits until the node is to stop.
///
/// # Errors
/// Why it has to end by itself.
async fn until_stopped(
    context: &NodeContext,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), Problem> {
    let mut fatal = context.cluster.fatal();
    let mut removed = context.cluster.removed();
    let mut outdated = context.cluster.outdated();
    let mut failure = context.failure.subscribe();
    let failed = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => None,
        broken = fatal.wait_for(Option::is_some) => {
            let left_out = || context.cluster.left_out().map(|it| it.problem());
            let cause = broken.ok().and_then(|cause| cause.clone());
            cause.map(|cause| left_out().unwrap_or_else(|| storage_failed(cause)))
        }
        cause = context.data.failed() => Some(storage_failed(cause)),
        problem = failure.wait_for(Option::is_some) => problem.ok().and_then(|it| it.clone()),
        _ = removed.wait_for(|removed| *removed) => Some(Problem::node_removed(context.node())),
        cause = outdated.wait_for(Option::is_some) => {
            let refused = |cause| ConsensusError::OlderProgram { cause }.problem();
            cause.ok().and_then(|cause| cause.clone()).map(refused)
        }
    };
    match failed {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// The HTTP port, where the node has one.
fn serve_http(
    access: Access,
    listener: Option<(TcpListener, tls::Acceptor)>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let port = Port::new(access);
    tokio::spawn(async move {
        if let Some((listener, acceptor)) = listener {
            let router = http::router(port, web_services());
            http::server::serve(router, listener, acceptor, stop).await;
        }
    })
}

fn storage_failed(cause: String) -> Problem {
    let hint = "look at the disk; the node rejoins when it is started again";
    Problem::new("storage-failed", cause, hint)
}

/// Waits a moment for a task that was told to stop.
async fn ended<T>(task: JoinHandle<T>) -> Option<Result<T, JoinError>> {
    tokio::time::timeout(STOP_GRACE, task).await.ok()
}
