//! Who is let in, and how many: no client may take all that a node has.

use std::{path::Path, sync::Arc};

use futures::{StreamExt, stream};
use reelraft::{
    api::{
        Access,
        limits::{UPLOAD_CHUNKS_MAX, WATCHES_MAX},
    },
    data::upload::{Order, UploadRequest},
    grpc::{
        listener::{self, Entrance},
        places::Places,
        router,
    },
    node::{context::NodeContext, joining::Joining, leader::intake::Intake},
};
use reelraft_proto::{
    auth::Secret,
    problem,
    v1::{
        IdentifyRequest, JobRef, ListRequest, StatRequest, WatchRequest, blobs_client::BlobsClient,
        jobs_client::JobsClient, peer_client::PeerClient, workers_client::WorkersClient,
    },
};
use reelraft_trust::{Acceptor, Port, Trust};
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::node::{access, kind, request, start_without_worker};

type Link = InterceptedService<Channel, Secret>;

/// Serves a node on loopback; gives its address.
async fn serve(context: &Arc<NodeContext>, intake: Intake, secrets: [&str; 2]) -> Endpoint {
    serve_in(Places::default(), context, intake, secrets).await
}

/// The same, with room for so many connections.
async fn serve_in(
    places: Places,
    context: &Arc<NodeContext>,
    intake: Intake,
    secrets: [&str; 2],
) -> Endpoint {
    let [secret, peer_secret] = secrets.map(|text| Secret::new(text).unwrap());
    let services = router::services(
        peer_secret.gate(),
        &context.data,
        &context.cluster,
        intake,
        Joining::new(context.clone()),
        Access::new(context.clone(), secret.gate_or(&peer_secret)),
    )
    .await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stopper, stop) = watch::channel(false);
    let trust = Trust::default();
    let acceptor = Acceptor::new(&trust, Port::Grpc).unwrap();
    let entrance = Entrance {
        places,
        acceptor,
        trust,
    };
    tokio::spawn(async move {
        let _stopper = stopper;
        listener::serve(services, entrance, socket, stop).await;
    });
    Endpoint::from_shared(format!("http://{address}")).unwrap()
}

async fn link(endpoint: &Endpoint, secret: &str) -> Link {
    let channel = endpoint.connect().await.unwrap();
    InterceptedService::new(channel, Secret::new(secret).unwrap())
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

async fn node(folder: &Path) -> (Arc<NodeContext>, Intake, watch::Sender<bool>) {
    start_without_worker(&folder.join("node")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_not_speak_as_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = node(folder.path()).await;
    let endpoint = serve(&context, intake, ["of the clients", "of the nodes"]).await;
    for (secret, jobs, peers) in [
        ("of the clients", Code::Ok, Code::Unauthenticated),
        ("of the nodes", Code::Ok, Code::Ok),
        ("another", Code::Unauthenticated, Code::Unauthenticated),
        ("", Code::Unauthenticated, Code::Unauthenticated),
    ] {
        let link = link(&endpoint, secret).await;
        let listed = JobsClient::new(link.clone())
            .list(ListRequest::default())
            .await;
        assert_eq!(code(listed), jobs, "jobs with {secret:?}");
        let known = PeerClient::new(link.clone())
            .identify(IdentifyRequest::default())
            .await;
        assert_eq!(code(known), peers, "peer with {secret:?}");
        let request = StatRequest {
            job: "jnone".into(),
            hashes: Vec::new(),
        };
        let stat = BlobsClient::new(link.clone()).stat(request).await;
        assert_eq!(code(stat), peers, "blobs with {secret:?}");
        let session = WorkersClient::new(link).session(stream::empty()).await;
        let refused = code(session) == Code::Unauthenticated;
        assert_eq!(refused, peers != Code::Ok, "workers with {secret:?}");
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_let_in_though_clients_have_taken_all_their_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = node(folder.path()).await;
    let secrets = ["of the clients", "of the nodes"];
    let endpoint = serve_in(Places::new(1, 1, 8), &context, intake, secrets).await;
    let list = async |link: &Link| {
        let mut client = JobsClient::new(link.clone());
        client.list(ListRequest::default()).await
    };
    let (first, second) = (
        link(&endpoint, secrets[0]).await,
        link(&endpoint, secrets[0]).await,
    );
    list(&first).await.unwrap();
    let refused = list(&second).await.unwrap_err();
    assert_eq!(problem::of_status(&refused).unwrap().kind, "too-busy");
    list(&first).await.unwrap();
    let peer = link(&endpoint, secrets[1]).await;
    let mut node = PeerClient::new(peer.clone());
    node.identify(IdentifyRequest::default()).await.unwrap();
    list(&peer).await.unwrap();
    drop(first);
    // Its place is free once the node has noticed.
    while list(&second).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_beyond_the_limit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (context, intake, stopper) = node(folder.path()).await;
    let endpoint = serve(&context, intake, ["", ""]).await;
    let api = access(&context).operator();
    let job = api.submit(request(b"film")).await.unwrap().job.job.id;
    // Several connections: each has its own limit of calls.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(JobsClient::new(link(&endpoint, "").await));
    }
    let watch = async |number: usize| {
        let request = WatchRequest { job: job.clone() };
        clients[number % 4].clone().watch(request).await
    };
    let mut held = Vec::new();
    for number in 0..WATCHES_MAX {
        held.push(watch(number).await.unwrap());
    }
    let refused = watch(0).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let problem = problem::of_status(&refused).unwrap();
    assert_eq!(problem.kind, "too-busy");
    assert!(!problem.hint.is_empty());
    let reference = JobRef { job: job.clone() };
    assert!(clients[0].clone().cancel(reference).await.is_ok());
    held.clear();
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_let_in_by_what_they_may_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (context, _, stopper) = node(folder.path()).await;
    let api = access(&context).operator();
    let job = async |source_bytes: u64, name: &str, tenant: &str| {
        let mut request = request(b"film");
        (request.source_bytes, request.request_id) = (source_bytes, name.into());
        request.tenant = tenant.into();
        api.submit(request).await.unwrap().job.job.id
    };
    let (film, small) = (job(1 << 40, "film", "").await, job(4, "small", "").await);
    let others = job(1 << 40, "film", "studio").await;
    let open = async |job: &str| {
        let job = job.to_string();
        // A client that says whose bytes it has and then nothing.
        let said = stream::iter([Ok(UploadRequest::Open { job })]);
        api.upload(said.chain(stream::pending()).boxed(), Order::Any)
            .await
    };
    let mut held = Vec::new();
    while let Ok(upload) = open(&film).await {
        held.push(upload);
        assert!(held.len() < UPLOAD_CHUNKS_MAX);
    }
    assert!(held.len() > 16, "the later ones hold less");
    assert_eq!(kind(open(&film)).await, "too-busy");
    assert_eq!(kind(open("jnone")).await, "too-busy", "it may be a film");
    assert_eq!(kind(open(&small)).await, "too-busy");
    assert!(open(&others).await.is_ok(), "of another tenant");
    held.remove(0);
    assert!(open(&film).await.is_ok(), "one has gone");
    stopper.send(true).unwrap();
}
