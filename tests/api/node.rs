//! A node of one, put together in this process, and what a client has in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use reelraft::{
    api::{Access, Api, CreatedKey, KeyRequest, SubmitRequest},
    config::{LogFormat, NodeConfig, Reach},
    data::{
        Answer, DataError, DataPlane, HomeTransport, Parts, Peer, PutTicket,
        upload::{Order, UploadReply, UploadRequest},
    },
    node::{
        context::NodeContext,
        home,
        leader::{self, Patience, intake::Intake, sessions::Sessions},
        messages::{FromWorker, Hello},
        worker::{
            Worker,
            link::{LeaderLink, LeaderSession, LinkError},
        },
    },
};
use reelraft_consensus::{Cluster, ClusterConfig};
use reelraft_model::{Scope, spec::SpecRequest};
use reelraft_proto::auth::Secret;
use reelraft_storage::journal::Chunk;
use reelraft_trust::{Acceptor, Port, Trust};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

/// A cluster of one has no other node to ask.
struct NoPeers;

impl NoPeers {
    fn nobody<T: Send + 'static>(&self, peer: &Peer) -> Answer<T> {
        let node = peer.node;
        let cause = "there is no transport".to_string();
        async move { Err(DataError::Unreachable { node, cause }) }.boxed()
    }
}

impl HomeTransport for NoPeers {
    fn put_chunk(&self, to: &Peer, _: &PutTicket, _: u64, _: &str, _: Bytes) -> Answer<Vec<u64>> {
        self.nobody(to)
    }

    fn await_chunk(&self, of: &Peer, _: &str, _: u64) -> Answer<Option<String>> {
        self.nobody(of)
    }

    fn put(
        &self,
        to: &Peer,
        _: &PutTicket,
        _: &str,
        _: u64,
        _: mpsc::Receiver<Bytes>,
    ) -> Answer<()> {
        self.nobody(to)
    }

    fn read(&self, from: &Peer, _: &str, _: &str, _: u64, _: u64) -> Answer<Parts> {
        self.nobody(from)
    }

    fn journal(&self, of: &Peer, _: &str, _: u64) -> Answer<BTreeMap<u64, Chunk>> {
        self.nobody(of)
    }

    fn begin_scrub(&self, of: &Peer) -> Answer<()> {
        self.nobody(of)
    }

    fn stat(&self, of: &Peer, _: &str, _: Vec<String>) -> Answer<Vec<bool>> {
        self.nobody(of)
    }
}

/// A session that hands messages over as they are.
struct Direct(Intake);

impl LeaderLink for Direct {
    fn open(&self, _: &str, hello: Hello) -> BoxFuture<'static, Result<LeaderSession, LinkError>> {
        let intake = self.0.clone();
        async move {
            let opened = intake.open(hello).await;
            let (session, out) = opened.map_err(|problem| problem.to_string())?;
            let (to_leader, mut said) = mpsc::channel::<FromWorker>(64);
            tokio::spawn(async move {
                while let Some(message) = said.recv().await {
                    session.receive(message);
                }
            });
            Ok(LeaderSession {
                to_leader,
                from_leader: ReceiverStream::new(out).map(Ok).boxed(),
            })
        }
        .boxed()
    }
}

/// What operators of these nodes know.
pub const SECRET: &str = "swordfish";

/// The way in to a node.
pub fn access(context: &Arc<NodeContext>) -> Access {
    Access::new(context.clone(), Secret::new(SECRET).unwrap().gate())
}

/// A node of one, with its leader, its worker and its duties as a home.
pub async fn start(folder: &Path) -> (Access, watch::Sender<bool>) {
    let (context, intake, stopper) = start_without_worker(folder).await;
    let link = Arc::new(Direct(intake));
    tokio::spawn(Worker::new(context.clone(), link).run(stopper.subscribe()));
    tokio::spawn(home::run(context.clone(), stopper.subscribe()));
    (access(&context), stopper)
}

const PATIENCE: Patience = Patience {
    rehome_after_s: 600,
    replan_after_s: 600,
    replace_voter_after_s: 60,
    uploads_expire_after_s: 86_400,
    keep_finished_s: 0,
    keep_sources_s: 600,
    reuse_outputs: true,
};

/// What browsers call it.
pub const ORIGIN: &str = "http://127.0.0.1:8401";

/// A node of one that waits for a worker.
pub async fn start_without_worker(
    folder: &Path,
) -> (Arc<NodeContext>, Intake, watch::Sender<bool>) {
    let address = "127.0.0.1:1".to_string();
    let peers = BTreeMap::from([(1, address.clone())]);
    let config = NodeConfig {
        id: Some(1),
        listen: address.parse().unwrap(),
        http: None,
        http_public: Some(ORIGIN.into()),
        advertise: address,
        data: folder.to_path_buf(),
        join: None,
        peers: peers.clone(),
        voters: vec![1],
        slots: 2,
        scrub_every_s: 3600,
        rehome_after_s: PATIENCE.rehome_after_s,
        replan_after_s: PATIENCE.replan_after_s,
        replace_voter_after_s: PATIENCE.replace_voter_after_s,
        uploads_expire_after_s: PATIENCE.uploads_expire_after_s,
        keep_finished_s: PATIENCE.keep_finished_s,
        reach: Reach {
            allowed: "127.0.0.0/8".parse().unwrap(),
            ..Default::default()
        },
        keep_sources_s: PATIENCE.keep_sources_s,
        reuse_outputs: PATIENCE.reuse_outputs,
        keeping: Default::default(),
        verify_engines: 0,
        log_format: LogFormat::Text,
        secret: Secret::new(SECRET).unwrap(),
        peer_secret: Secret::default(),
        watch: Vec::new(),
        tls: Default::default(),
        shown: Vec::new(),
    };
    let settings = ClusterConfig::new(
        1,
        peers,
        BTreeSet::from([1]),
        folder.to_path_buf(),
        Secret::default(),
    );
    let cluster = Cluster::open(settings).await.unwrap();
    let table = Arc::new(cluster.clone());
    let data = DataPlane::open(table, folder, Arc::new(NoPeers))
        .await
        .unwrap();
    cluster.bootstrap().await.unwrap();
    let context = NodeContext::new(config, cluster.clone(), data).unwrap();
    let sessions = Arc::new(Sessions::default());
    let (stopper, stop) = watch::channel(false);
    let intake = Intake::new(cluster.clone(), sessions.clone());
    tokio::spawn(leader::deliveries::run(context.clone(), stop.clone()));
    tokio::spawn(leader::run(cluster, sessions, PATIENCE, stop));
    (context, intake, stopper)
}

/// Takes connections in as they come.
pub fn without_tls() -> Acceptor {
    Acceptor::new(&Trust::default(), Port::Http).unwrap()
}

/// Three seconds of a test picture with a tone.
pub fn film(folder: &Path) -> Vec<u8> {
    let path = folder.join("film.mp4");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=3"])
        .args(["-f", "lavfi", "-i", "sine=d=3"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "10"])
        .args(["-c:a", "aac", "-shortest"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read(path).unwrap()
}

/// Uploads a source as a client does, and gives its root.
pub async fn upload(api: &Api, job: &str, source: &[u8]) -> String {
    let (up, incoming) = mpsc::channel(16);
    let job = job.to_string();
    up.send(Ok(UploadRequest::Open { job })).await.unwrap();
    let mut replies = api
        .upload(ReceiverStream::new(incoming), Order::Any)
        .await
        .unwrap();
    let mut chunk = 0;
    loop {
        match replies.next().await.unwrap().unwrap() {
            UploadReply::Plan { chunk_bytes, have } => {
                assert!(have.is_empty());
                chunk = chunk_bytes as usize;
            }
            UploadReply::Ask { numbers } => {
                for number in numbers {
                    let from = number as usize * chunk;
                    let to = source.len().min(from + chunk);
                    let data = Bytes::copy_from_slice(&source[from..to]);
                    let request = UploadRequest::Chunk { number, data };
                    up.send(Ok(request)).await.unwrap();
                }
            }
            UploadReply::Acked { .. } => {}
            UploadReply::Sealed { root } => return root,
        }
    }
}

pub fn request(source: &[u8]) -> SubmitRequest {
    SubmitRequest {
        request_id: "one".into(),
        spec: SpecRequest {
            codec: "h264".into(),
            preset: "ultrafast".into(),
            container: "mp4".into(),
            shard_ms: Some(1_000),
            ..Default::default()
        },
        source_name: "film.mp4".into(),
        source_bytes: source.len() as u64,
        source_fingerprint: blake3::hash(source).to_hex().to_string(),
        ..Default::default()
    }
}

/// The kind of a refusal.
pub async fn kind<T>(asked: impl Future<Output = Result<T, reelraft_model::Problem>>) -> String {
    match asked.await {
        Ok(_) => "nothing was refused".to_string(),
        Err(problem) => problem.kind,
    }
}

/// The kind of a refusal, once the node has said what it can read of the log.
pub async fn kind_in_time(refused: impl AsyncFn() -> String) -> String {
    let begun = Instant::now();
    loop {
        let kind = refused().await;
        if kind != "too-early" || begun.elapsed() > Duration::from_secs(30) {
            return kind;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A key of a tenant, once this node's worker has said its version.
pub async fn made_key(access: &Access, name: &str, tenant: &str, scope: Scope) -> CreatedKey {
    let request = KeyRequest {
        name: format!("{name}-{}", scope.name()),
        tenant: tenant.into(),
        scope,
        expires_in_s: 0,
        text: None,
    };
    loop {
        match access.operator().create_key(request.clone()).await {
            Ok(made) => return made,
            Err(problem) => assert_eq!(problem.kind, "too-early"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
