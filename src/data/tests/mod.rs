//! The data plane of three nodes in one process: real disks and real gRPC over
//! loopback, above one table in memory that applies what is proposed at once.
#![allow(clippy::unwrap_used)]

mod backup;
mod findings;
mod growing;
mod kept_sources;
mod range_server;
mod refusals;
mod replication;
mod upload;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use reelraft_consensus::Committed;
use reelraft_model::{
    Command, CreateJob, Entry, JobEntry, Problem, SetHomes, State, job_id, spec::Spec,
};
use reelraft_proto::{auth::Secret, v1::blobs_server::BlobsServer};
use reelraft_trust::{Acceptor, Port, Trust};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;

use super::{
    DataError, DataPlane, Table,
    limits::CHUNK_BYTES,
    upload::{BrokenOff, Order, SafeChunk, Turn, UploadReply, UploadRequest},
};
use crate::grpc::{
    blob_client::BlobClients,
    blobs::BlobService,
    listener::{Entrance, serve},
    places::Places,
};

/// The table that all nodes of a test share.
struct Shared {
    state: Mutex<(u64, Arc<State>)>,
    applied: watch::Sender<u64>,
    addresses: Mutex<BTreeMap<u64, String>>,
}

impl Shared {
    fn apply(&self, commands: Vec<Command>) -> Committed {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        let index = state.0;
        let applied = Arc::make_mut(&mut state.1).apply(index, &Entry::new(commands));
        self.applied.send_replace(index);
        Committed {
            index,
            replies: applied.replies,
        }
    }
}

/// One node's view of it.
struct OneTable {
    node: u64,
    shared: Arc<Shared>,
}

impl Table for OneTable {
    fn node(&self) -> u64 {
        self.node
    }

    fn address(&self, node: u64) -> Option<String> {
        self.shared.addresses.lock().unwrap().get(&node).cloned()
    }

    fn local(&self) -> Arc<State> {
        self.shared.state.lock().unwrap().1.clone()
    }

    fn local_at(&self) -> (Arc<State>, u64) {
        let now = self.shared.state.lock().unwrap();
        (now.1.clone(), now.0)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    fn read(&self) -> BoxFuture<'_, Result<Arc<State>, Problem>> {
        async { Ok(self.local()) }.boxed()
    }

    fn wait_applied(&self, index: u64, _: Duration) -> BoxFuture<'_, Result<(), Problem>> {
        async move {
            // Far shorter than the real one: a test waits for it on purpose.
            let mut applied = self.applied();
            let reached = applied.wait_for(|applied| *applied >= index);
            let waited = tokio::time::timeout(Duration::from_millis(100), reached).await;
            waited
                .map(drop)
                .map_err(|_| Problem::new("behind", "too slow", ""))
        }
        .boxed()
    }

    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Committed, Problem>> {
        async move { Ok(self.shared.apply(commands)) }.boxed()
    }
}

struct Node {
    data: Arc<DataPlane>,
    stop: Option<watch::Sender<bool>>,
}

/// Three nodes, 1 to 3.
struct ThreeNodes {
    shared: Arc<Shared>,
    nodes: BTreeMap<u64, Node>,
    folder: tempfile::TempDir,
}

impl ThreeNodes {
    async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            applied: watch::Sender::new(0),
            addresses: Mutex::default(),
        });
        let mut nodes = ThreeNodes {
            shared,
            nodes: BTreeMap::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        for node in 1..=3 {
            nodes.start_node(node).await;
        }
        nodes
    }

    async fn start_node(&mut self, node: u64) {
        let table = Arc::new(OneTable {
            node,
            shared: self.shared.clone(),
        });
        let folder = self.folder.path().join(node.to_string());
        let data = DataPlane::open(table, &folder, transport()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = BlobsServer::new(BlobService::new(data.local_store()))
            .max_decoding_message_size(crate::grpc::limits::MESSAGE_BYTES_MAX);
        let (stop, stopped) = watch::channel(false);
        let trust = Trust::default();
        let entrance = Entrance {
            places: Places::default(),
            acceptor: Acceptor::new(&trust, Port::Grpc).unwrap(),
            trust,
        };
        tokio::spawn(serve(Routes::new(service), entrance, listener, stopped));
        self.shared.addresses.lock().unwrap().insert(node, address);
        self.nodes.insert(
            node,
            Node {
                data,
                stop: Some(stop),
            },
        );
    }

    /// Takes a node off the network; its disk stays as it is.
    async fn stop_node(&mut self, node: u64) {
        self.nodes.get_mut(&node).unwrap().stop.take();
        // A port where nobody listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        self.shared.addresses.lock().unwrap().insert(node, address);
    }

    /// Gives a node another address; the one that it had.
    fn move_node(&self, node: u64, address: String) -> String {
        let mut addresses = self.shared.addresses.lock().unwrap();
        addresses.insert(node, address).unwrap()
    }

    fn data(&self, node: u64) -> Arc<DataPlane> {
        self.nodes[&node].data.clone()
    }

    /// Makes a job for a source of this size, with these homes if any.
    fn job(&self, source_bytes: u64, homes: &[u64]) -> String {
        self.shared.apply(vec![Command::CreateJob(CreateJob {
            tenant: "t".into(),
            request_id: "r".into(),
            spec: Spec::default(),
            source_bytes,
            ..Default::default()
        })]);
        let job = job_id("t", "r");
        if !homes.is_empty() {
            self.set_homes(&job, homes);
        }
        job
    }

    /// Gives a job these homes; filled ones that leave retire.
    fn set_homes(&self, job: &str, homes: &[u64]) {
        self.move_homes(job, homes, &self.leaving(job, homes));
    }

    fn move_homes(&self, job: &str, homes: &[u64], retiring: &[u64]) {
        self.shared.apply(vec![Command::SetHomes(SetHomes {
            job: job.to_string(),
            epoch: self.entry(job).job.epoch,
            homes: homes.to_vec(),
            retiring: retiring.to_vec(),
            ..Default::default()
        })]);
    }

    /// The filled homes of now that are not among those to come.
    fn leaving(&self, job: &str, homes: &[u64]) -> Vec<u64> {
        let entry = self.entry(job);
        let held = entry.job.homes.iter().filter(|home| home.filled);
        let leaving = held.filter(|home| !homes.contains(&home.node));
        leaving.map(|home| home.node).collect()
    }

    fn entry(&self, job: &str) -> Arc<JobEntry> {
        self.shared
            .state
            .lock()
            .unwrap()
            .1
            .job(job)
            .unwrap()
            .clone()
    }

    fn applied(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    /// The file of a blob on a node's disk.
    fn blob_file(&self, node: u64, job: &str, hash: &str) -> std::path::PathBuf {
        self.folder
            .path()
            .join(node.to_string())
            .join("blobs")
            .join(job)
            .join(hash)
    }

    fn chunks_on(&self, node: u64, job: &str) -> usize {
        self.data(node)
            .store()
            .journal(job)
            .unwrap()
            .chunks()
            .unwrap()
            .len()
    }

    /// Uploads the whole of a source through a node, as a client does.
    async fn upload(&self, node: u64, job: &str, source: &[u8]) -> Result<String, DataError> {
        let mut client = Client::open(self.data(node), job);
        loop {
            match client.next().await? {
                UploadReply::Ask { numbers } => {
                    for number in numbers {
                        client.send_chunk(number, source).await;
                    }
                }
                UploadReply::Sealed { root } => return Ok(root),
                _ => {}
            }
        }
    }
}

/// A client's end of an upload.
struct Client {
    up: mpsc::Sender<Result<UploadRequest, BrokenOff>>,
    turn: Turn,
    down: BoxStream<'static, Result<UploadReply, DataError>>,
}

impl Client {
    fn open(data: Arc<DataPlane>, job: &str) -> Self {
        let (up, incoming) = mpsc::channel(64);
        let job = job.to_string();
        up.try_send(Ok(UploadRequest::Open { job })).unwrap();
        let turn = Turn::default();
        let down = super::upload::serve(
            data,
            ReceiverStream::new(incoming),
            turn.clone(),
            Order::Any,
        )
        .boxed();
        Client { up, turn, down }
    }

    async fn next(&mut self) -> Result<UploadReply, DataError> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.down.next());
        next.await
            .expect("the server says something")
            .expect("the stream goes on")
    }

    async fn send(&self, number: u64, data: Bytes) {
        let chunk = UploadRequest::Chunk { number, data };
        self.up.send(Ok(chunk)).await.unwrap();
    }

    async fn send_chunk(&self, number: u64, source: &[u8]) {
        self.send(number, chunk(source, number)).await;
    }

    /// The chunks that are safe already.
    async fn plan(&mut self) -> Vec<SafeChunk> {
        match self.next().await.unwrap() {
            UploadReply::Plan { have, .. } => have,
            other => panic!("a plan should come first, not {other:?}"),
        }
    }

    async fn asked(&mut self) -> Vec<u64> {
        match self.next().await.unwrap() {
            UploadReply::Ask { numbers } => numbers,
            other => panic!("it should ask for chunks, not {other:?}"),
        }
    }
}

fn chunk(source: &[u8], number: u64) -> Bytes {
    let from = number as usize * CHUNK_BYTES;
    Bytes::copy_from_slice(&source[from..source.len().min(from + CHUNK_BYTES)])
}

/// Bytes that differ from block to block.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| (at * 31 + at / 251 + at / CHUNK_BYTES * 7) as u8)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// How a node reaches the others.
fn transport() -> Arc<BlobClients> {
    Arc::new(BlobClients::new(Secret::default(), Trust::default()))
}
