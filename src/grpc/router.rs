//! All services of a node, behind the checks of its secrets.

use std::sync::Arc;

use axum::routing::any_service;
use reelraft_consensus::Cluster;
use reelraft_proto::{
    auth::Gate,
    v1::{
        self, access_server::AccessServer, blobs_server::BlobsServer,
        cluster_server::ClusterServer, jobs_server::JobsServer, join_server::JoinServer,
        workers_server::WorkersServer,
    },
};
use tokio::sync::Semaphore;
use tonic::{
    server::NamedService,
    service::{Routes, interceptor::InterceptedService},
};
use tonic_web::GrpcWebLayer;

use super::{
    access::AccessService,
    blobs::BlobService,
    cluster::ClusterService,
    jobs::JobsService,
    join::JoinService,
    limits::{JOINS_MAX, MESSAGE_BYTES_MAX, REFLECTIONS_MAX, SMALL_REQUEST_BYTES_MAX},
    places::Admission,
    small_calls::{FewCalls, SmallCalls},
    workers::WorkerService,
};
use crate::{
    api::Access,
    data::DataPlane,
    node::{joining::Joining, leader::intake::Intake},
};

/// The services of one node. What nodes ask of each other takes their own
/// secret; what clients ask is let in by `access`.
pub async fn services(
    peers: Gate,
    data: &Arc<DataPlane>,
    cluster: &Cluster,
    intake: Intake,
    joining: Joining,
    access: Access,
) -> Routes {
    let for_clients = Admission::Clients(access);
    let for_peers = Admission::Peers(peers, cluster.trust().clone());
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<JobsServer<JobsService>>()
        .await;
    let health = FewCalls::on_a_connection(SmallCalls::new(health));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
    };
    let room = Arc::new(Semaphore::new(REFLECTIONS_MAX));
    let newer = reflection()
        .build_v1()
        .expect("the descriptors are our own build's")
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    // Older clients of reflection, grpcurl among them, know only v1alpha.
    let older = reflection()
        .build_v1alpha()
        .expect("the descriptors are our own build's")
        .max_decoding_message_size(SMALL_REQUEST_BYTES_MAX);
    let joins = SmallCalls::new(JoinServer::new(JoinService::new(joining)));
    let blobs = BlobsServer::new(BlobService::new(data.local_store()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (jobs, cluster_status, keys) = for_any_client();
    Routes::new(health)
        .add_service(FewCalls::within(newer, room.clone()))
        .add_service(FewCalls::within(older, room))
        .add_service(FewCalls::within(joins, Arc::new(Semaphore::new(JOINS_MAX))))
        .add_service(cluster.peer_service(for_peers.clone()))
        .add_service(InterceptedService::new(blobs, for_peers.clone()))
        .add_service(WorkersServer::with_interceptor(
            WorkerService::new(intake),
            for_peers,
        ))
        .add_service(InterceptedService::new(jobs, for_clients.clone()))
        .add_service(InterceptedService::new(keys, for_clients.clone()))
        .add_service(InterceptedService::new(cluster_status, for_clients))
}

/// What clients ask, as gRPC-Web: for the HTTP port, whose proxies pass no
/// gRPC, and which says of each call who makes it. Uploads, which are streams in
/// both directions, go another way there.
pub fn web_services() -> axum::Router {
    let (jobs, cluster_status, keys) = for_any_client();
    let served = Routes::new(jobs)
        .add_service(cluster_status)
        .add_service(keys)
        .into_axum_router()
        .layer(GrpcWebLayer::new());
    let names = [
        JobsServer::<JobsService>::NAME,
        ClusterServer::<ClusterService>::NAME,
        AccessServer::<AccessService>::NAME,
    ];
    names.iter().fold(axum::Router::new(), |router, name| {
        router.route(&format!("/{name}/{{call}}"), any_service(served.clone()))
    })
}

/// What clients ask, on whichever port.
type ForClients = (
    SmallCalls<JobsServer<JobsService>>,
    SmallCalls<ClusterServer<ClusterService>>,
    SmallCalls<AccessServer<AccessService>>,
);

fn for_any_client() -> ForClients {
    let jobs = JobsServer::new(JobsService).max_decoding_message_size(MESSAGE_BYTES_MAX);
    (
        SmallCalls::new(jobs).but("Upload"),
        SmallCalls::new(ClusterServer::new(ClusterService)),
        SmallCalls::new(AccessServer::new(AccessService)),
    )
}
