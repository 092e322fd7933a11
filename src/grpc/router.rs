//! All services of a node, behind the checks of its secrets, on one listener.

use std::sync::Arc;

use reelraft_consensus::Cluster;
use reelraft_proto::{
    auth::Secret,
    v1::{
        self, blobs_server::BlobsServer, cluster_server::ClusterServer, jobs_server::JobsServer,
        workers_server::WorkersServer,
    },
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{Error, Server},
};

use super::{
    blobs::BlobService,
    cluster::ClusterService,
    jobs::JobsService,
    limits::{
        CONNECTION_WINDOW_BYTES, CONNECTIONS_MAX, FRAME_BYTES, KEEPALIVE_EVERY, KEEPALIVE_TIMEOUT,
        MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
    },
    line::lines,
    workers::WorkerService,
};
use crate::{api::Api, data::DataPlane, node::leader::intake::Intake};

/// The services of one node. What nodes ask of each other takes their own
/// secret; what clients ask takes either.
pub async fn services(
    secret: &Secret,
    peer_secret: &Secret,
    data: &Arc<DataPlane>,
    cluster: &Cluster,
    intake: Intake,
    api: Api,
) -> Routes {
    let (for_peers, for_clients) = (peer_secret.gate(), secret.gate_or(peer_secret));
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<JobsServer<JobsService>>()
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
    };
    let blobs = BlobsServer::new(BlobService::new(data.local_store()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let jobs =
        JobsServer::new(JobsService::new(api.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(health)
        .add_service(
            reflection()
                .build_v1()
                .expect("the descriptors are our own build's"),
        )
        // Older clients of reflection, grpcurl among them, know only v1alpha.
        .add_service(
            reflection()
                .build_v1alpha()
                .expect("the descriptors are our own build's"),
        )
        .add_service(cluster.peer_service(for_peers.clone()))
        .add_service(InterceptedService::new(blobs, for_peers.clone()))
        .add_service(WorkersServer::with_interceptor(
            WorkerService::new(intake),
            for_peers,
        ))
        .add_service(InterceptedService::new(jobs, for_clients.clone()))
        .add_service(ClusterServer::with_interceptor(
            ClusterService::new(api),
            for_clients,
        ))
}

/// Serves until `stop` is set and the open calls have ended.
///
/// # Errors
/// What the transport says.
pub async fn serve(
    services: Routes,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    tuned(Server::builder())
        .add_routes(services)
        .serve_with_incoming_shutdown(lines(listener, CONNECTIONS_MAX), async move {
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
}

/// A server with the windows and frames that bytes want, and one that notices
/// when a reader is gone: its stream would hold a thread and a file.
pub fn tuned(server: Server) -> Server {
    server
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}
