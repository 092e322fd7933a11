//! A cluster on loopback for tests: nodes that can be killed and started
//! again at their old addresses.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use reelraft_consensus::{Cluster, ClusterConfig, ConsensusError, Hang, HangAction};
use reelraft_model::{Command, Tick};
use reelraft_proto::auth::Secret;
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;

/// The simplest command: raises the cluster's time.
pub fn tick(cluster_ms: u64) -> Command {
    Command::Tick(Tick { cluster_ms })
}

/// Nodes with their disks.
pub struct Nodes {
    dir: TempDir,
    addresses: BTreeMap<u64, SocketAddr>,
    voters: Vec<u64>,
    running: BTreeMap<u64, Cluster>,
    snapshots: Option<(u64, u64)>,
    on_hang: BTreeMap<u64, HangAction>,
    let_in: bool,
}

impl Nodes {
    /// Nodes that are not started yet.
    pub async fn new(ids: &[u64], voters: &[u64]) -> Self {
        // Held together until all have one, so that no two are the same.
        let listeners: Vec<TcpListener> = ids
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses = listeners.iter().map(|one| one.local_addr().unwrap());
        Nodes {
            dir: tempfile::tempdir().unwrap(),
            addresses: ids.iter().copied().zip(addresses).collect(),
            voters: voters.to_vec(),
            running: BTreeMap::new(),
            snapshots: None,
            on_hang: BTreeMap::new(),
            let_in: false,
        }
    }

    /// Has nodes know only of themselves, and where the others listened first.
    pub fn be_let_in(&mut self) {
        self.let_in = true;
    }

    /// Gives a node another address; it must be down.
    pub fn move_one(&mut self, id: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.addresses.insert(id, listener.local_addr().unwrap());
    }

    /// Gives all nodes new addresses; they must be down.
    pub fn move_all(&mut self) {
        let listeners: Vec<TcpListener> = self
            .addresses
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        for (address, listener) in self.addresses.values_mut().zip(&listeners) {
            *address = listener.local_addr().unwrap();
        }
    }

    pub fn snapshot_every(&mut self, every: u64, keep: u64) {
        self.snapshots = Some((every, keep));
    }

    /// What each node does once its disk hangs.
    pub fn on_hang(&mut self, action: impl Fn(u64) -> Box<dyn Fn(&Hang) + Send + Sync>) {
        let ids = self.addresses.keys();
        self.on_hang = ids.map(|id| (*id, HangAction::new(action(*id)))).collect();
    }

    pub fn data(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub fn config(&self, id: u64) -> ClusterConfig {
        let peers = self.addresses.iter();
        let mut config = ClusterConfig::new(
            id,
            peers.map(|(id, at)| (*id, at.to_string())).collect(),
            self.voters.iter().copied().collect(),
            self.data(id),
            Secret::default(),
        );
        if self.let_in {
            config.seeds = std::mem::take(&mut config.peers);
            config.peers.extend(config.seeds.remove_entry(&id));
            config.voters.retain(|voter| *voter == id);
            config.cluster_id = Some("c1".into());
        }
        // A busy machine's elections are not what these tests are about.
        config.leader_wait = Duration::from_secs(5);
        config.on_hang = self.on_hang.get(&id).cloned().unwrap_or_default();
        if let Some((every, keep)) = self.snapshots {
            config.snapshot_every_entries = every;
            config.log_keep_entries = keep;
        }
        config
    }

    pub fn url(&self, id: u64) -> String {
        format!("http://{}", self.addresses[&id])
    }

    pub async fn start_without_bootstrap(&mut self, id: u64) -> Result<(), ConsensusError> {
        let started = Instant::now();
        let cluster = loop {
            match Cluster::open(self.config(id)).await {
                // A killed node's tasks let go of the disk a moment later.
                Err(error) if error.kind() == "data-in-use" && started.elapsed().as_secs() < 5 => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => break opened?,
            }
        };
        let service = cluster.peer_service(Secret::default().gate());
        let address = self.addresses[&id];
        let (up, listens) = tokio::sync::oneshot::channel();
        // On the node's own runtime, so that a kill ends it too.
        cluster.runtime().spawn(async move {
            let listener = loop {
                match tokio::net::TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            up.send(()).unwrap();
            tonic::transport::Server::builder()
                .tcp_nodelay(true)
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        listens.await.unwrap();
        self.running.insert(id, cluster);
        Ok(())
    }

    pub async fn start(&mut self, id: u64) -> Result<(), ConsensusError> {
        self.start_without_bootstrap(id).await?;
        self.get(id).bootstrap().await
    }

    pub async fn start_in_background(&mut self, id: u64) {
        self.start_without_bootstrap(id).await.unwrap();
        let cluster = self.get(id).clone();
        tokio::spawn(async move { cluster.bootstrap().await });
    }

    /// Starts all at once, as a new cluster must be.
    pub async fn start_all(&mut self) {
        let ids: Vec<u64> = self.addresses.keys().copied().collect();
        for id in ids.into_iter().rev() {
            self.start_in_background(id).await;
        }
        self.leader().await;
    }

    pub fn kill(&mut self, id: u64) {
        self.running.remove(&id).unwrap().abort();
    }

    pub fn get(&self, id: u64) -> &Cluster {
        &self.running[&id]
    }

    /// Waits for a node that leads.
    pub async fn leader(&self) -> u64 {
        let started = Instant::now();
        loop {
            let leading = |cluster: &&Cluster| cluster.leadership().borrow().leading;
            if let Some(cluster) = self.running.values().find(leading) {
                return cluster.identity().node;
            }
            assert!(started.elapsed().as_secs() < 20, "no leader");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until(&self, limit: Duration, what: &str, done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < limit, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As [`Self::until`], for what must be asked.
    pub async fn until_async(
        &self,
        limit: Duration,
        what: &str,
        mut done: impl AsyncFnMut() -> bool,
    ) {
        let started = Instant::now();
        while !done().await {
            assert!(started.elapsed() < limit, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All replicas reach the same index with the same table.
    pub async fn agree(&self) {
        let started = Instant::now();
        loop {
            let mut hashes = Vec::new();
            for cluster in self.running.values() {
                hashes.push(cluster.table_hash().await.unwrap());
            }
            if hashes.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            let same_index = hashes.windows(2).all(|pair| pair[0].0 == pair[1].0);
            assert!(!same_index, "replicas differ: {hashes:?}");
            assert!(started.elapsed().as_secs() < 20, "not in time: {hashes:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
