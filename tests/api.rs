//! What a client may ask, asked without any transport: a node of one, put
//! together in this process with no listener, submits, uploads, watches and
//! fetches through `api` alone.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use reelraft::{
    api::{Api, Consistency, ListRequest, SubmitRequest, TasksRequest, WatchEvent},
    config::NodeConfig,
    data::{
        Answer, DataError, DataPlane, HomeTransport, Parts, Peer, PutTicket,
        upload::{UploadReply, UploadRequest},
    },
    node::{
        context::NodeContext,
        leader::{self, intake::Intake, sessions::Sessions},
        messages::{FromWorker, Hello},
        worker::{
            Worker,
            link::{LeaderLink, LeaderSession, LinkError},
        },
    },
};
use reelraft_consensus::{Cluster, ClusterConfig};
use reelraft_model::{JobState, spec::SpecRequest};
use reelraft_proto::auth::Secret;
use reelraft_storage::journal::Chunk;
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
    fn put_chunk(&self, to: &Peer, _: &PutTicket, _: u64, _: &str, _: Bytes) -> Answer<()> {
        self.nobody(to)
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

/// A node of one, with its leader and its worker.
async fn start(folder: &Path) -> (Api, watch::Sender<bool>) {
    let address = "127.0.0.1:1".to_string();
    let peers = BTreeMap::from([(1, address.clone())]);
    let config = NodeConfig {
        id: 1,
        listen: address.parse().unwrap(),
        advertise: address,
        data: folder.to_path_buf(),
        peers: peers.clone(),
        voters: vec![1],
        slots: 2,
        scrub_every_s: 3600,
        rehome_after_s: 600,
        secret: Secret::default(),
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
    let link = Arc::new(Direct(Intake::new(cluster.clone(), sessions.clone())));
    tokio::spawn(leader::run(cluster, sessions, 600, stop.clone()));
    tokio::spawn(Worker::new(context.clone(), link).run(stop));
    (Api::new(context), stopper)
}

/// Three seconds of a test picture with a tone.
fn film(folder: &Path) -> Vec<u8> {
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
async fn upload(api: &Api, job: &str, source: &[u8]) -> String {
    let (up, incoming) = mpsc::channel(16);
    let job = job.to_string();
    up.send(Ok(UploadRequest::Open { job })).await.unwrap();
    let replies = api.upload(ReceiverStream::new(incoming));
    let mut replies = std::pin::pin!(replies);
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

fn request(source: &[u8]) -> SubmitRequest {
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

async fn kind<T>(asked: impl Future<Output = Result<T, reelraft_model::Problem>>) -> String {
    match asked.await {
        Ok(_) => "nothing was refused".to_string(),
        Err(problem) => problem.kind,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_made_without_any_transport() {
    let folder = tempfile::tempdir().unwrap();
    let source = film(folder.path());
    let (api, stopper) = start(&folder.path().join("node")).await;

    let submitted = api.submit(request(&source)).await.unwrap();
    assert!(!submitted.existed);
    let id = submitted.job.job.id.clone();
    assert_eq!(submitted.job.job.state(), JobState::Uploading);
    assert!(api.submit(request(&source)).await.unwrap().existed);
    assert_eq!(kind(api.reference(&id)).await, "not-analysed");
    assert_eq!(kind(api.proof(&id)).await, "not-finished");
    assert_eq!(kind(api.fetch(&id, 0)).await, "not-finished");

    let root = upload(&api, &id, &source).await;
    let events = api.watch(&id).await.unwrap();
    let events = tokio::time::timeout(Duration::from_secs(120), events.try_collect());
    let events: Vec<WatchEvent> = events.await.expect("the job ends").unwrap();
    let last = &events.last().unwrap().job;
    assert_eq!(last.job.state(), JobState::Succeeded, "{:?}", last.job);
    assert_eq!(last.job.source_root, root);
    assert_eq!((last.frames_done, last.job.frames_total), (30, 30));
    assert_eq!((last.shards_done, last.job.shards_total), (3, 3));

    let output = api.fetch(&id, 0).await.unwrap();
    let hash = output.hash.clone();
    let total_bytes = output.total_bytes;
    let bytes = output
        .parts
        .try_collect::<Vec<Bytes>>()
        .await
        .unwrap()
        .concat();
    assert_eq!(bytes.len() as u64, total_bytes);
    assert_eq!(blake3::hash(&bytes).to_hex().to_string(), hash);
    let end = api.fetch(&id, total_bytes - 7).await.unwrap();
    let end = end
        .parts
        .try_collect::<Vec<Bytes>>()
        .await
        .unwrap()
        .concat();
    assert_eq!(end, bytes[bytes.len() - 7..]);
    assert_eq!(kind(api.fetch(&id, total_bytes + 1)).await, "bad-request");

    assert!(api.proof(&id).await.unwrap().contains("\"shards\""));
    let reference = api.reference(&id).await.unwrap();
    assert_eq!(reference.args.first().map(String::as_str), Some("ffmpeg"));
    let status = api.cluster_status(Consistency::Linearizable);
    assert_eq!((status.leader, status.nodes.len()), (Some(1), 1));
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let (api, stopper) = start(folder.path()).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let request = SubmitRequest {
            request_id: format!("r{number}"),
            tenant: if number == 4 { "other" } else { "" }.into(),
            ..request(b"film")
        };
        ids.push(api.submit(request).await.unwrap().job.job.id);
    }
    ids.reverse();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let asked = ListRequest {
            page_size: 2,
            page_token,
            ..Default::default()
        };
        let page = api.list(asked).await.unwrap();
        assert!(page.items.len() <= 2);
        listed.extend(page.items.into_iter().map(|view| view.job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
    let asked = ListRequest {
        tenant: "other".into(),
        consistency: Consistency::Local,
        ..Default::default()
    };
    assert_eq!(api.list(asked).await.unwrap().items.len(), 1);
    let asked = ListRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    assert_eq!(kind(api.list(asked)).await, "bad-request");
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (api, stopper) = start(folder.path()).await;
    let broken = [
        SubmitRequest {
            request_id: String::new(),
            ..request(b"film")
        },
        SubmitRequest {
            source_name: "n".repeat(5_000),
            ..request(b"film")
        },
        SubmitRequest {
            source_fingerprint: "z".repeat(64),
            ..request(b"film")
        },
        SubmitRequest {
            source_bytes: u64::MAX,
            ..request(b"film")
        },
    ];
    for request in broken {
        assert_eq!(kind(api.submit(request)).await, "bad-request");
    }
    let empty = SubmitRequest {
        source_bytes: 0,
        ..request(b"film")
    };
    assert_eq!(kind(api.submit(empty)).await, "empty-source");
    let mut odd = request(b"film");
    odd.spec.codec = "mpeg1".into();
    assert_eq!(kind(api.submit(odd)).await, "bad-spec");
    stopper.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_and_deleted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (api, stopper) = start(folder.path()).await;
    let id = api.submit(request(b"film")).await.unwrap().job.job.id;
    let tasks = TasksRequest {
        job: id.clone(),
        ..Default::default()
    };
    let page = api.tasks(tasks).await.unwrap();
    assert!(page.next_page_token.is_empty());
    let cancelled = api.cancel(&id).await.unwrap();
    assert_eq!(cancelled.job.state(), JobState::Cancelled);
    let deleted = api.delete(&id).await.unwrap();
    assert_eq!(deleted.job.state(), JobState::Deleted);
    assert!(
        api.delete(&id).await.is_ok(),
        "the first answer may be lost"
    );
    for asked in [id.as_str(), "jnone"] {
        assert_eq!(
            kind(api.job(asked, Consistency::Linearizable)).await,
            "not-found"
        );
        assert_eq!(kind(api.watch(asked)).await, "not-found");
    }
    stopper.send(true).unwrap();
}
