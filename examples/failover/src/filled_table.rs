//! A table as large as you like, without encoding anything: it is proposed
//! entry by entry through the real log, as a peer of the nodes may, and what
//! the homes of its jobs must hold is written to their disks. Open jobs look
//! like such that were analysed by an encoder build that no node has any more,
//! so that each waits with all its shards; finished ones as if assembled.

use std::{fs, path::Path, time::Duration};

use reelraft_model::{
    Assign, AttemptKey, Command, Complete, CreateJob, Entry, PlanAppend, SealSource, SetHomes,
    ShardRange, TaskKind, Tick, job_id, limits::COMMANDS_PER_ENTRY_MAX,
    limits::PLAN_SHARDS_PER_COMMAND_MAX,
};
use reelraft_proto::v1::{IdentifyRequest, ProposeRequest, Sender, peer_client::PeerClient};
use tonic::transport::{Channel, Endpoint};

/// A node that nobody knows: the table has no disk on record for it.
const STRANGER: u64 = 999;

/// Nodes of the cluster; each job has two of them as homes.
const NODES: u64 = 3;

/// Bytes in a chunk of a source, as manifests say it.
const CHUNK_BYTES: u32 = 1 << 20;

/// Bytes of each source: one chunk.
const SOURCE_BYTES: u64 = 1_000;

/// How long one proposal may take, on a machine that is busy.
const PROPOSE_PATIENCE: Duration = Duration::from_secs(120);

/// Pause before a proposal that found no leader is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// Who proposes to a cluster as its nodes do. Clones share a connection.
#[derive(Clone)]
pub struct Proposer {
    peers: Vec<PeerClient<Channel>>,
    sender: Sender,
}

impl Proposer {
    /// Connects to all nodes, which must run without a secret.
    ///
    /// # Errors
    /// If one does not answer.
    pub async fn connect(endpoints: &[String]) -> Result<Self, String> {
        let mut peers = Vec::new();
        let mut sender = Sender::default();
        for endpoint in endpoints {
            let endpoint = Endpoint::from_shared(format!("http://{endpoint}"));
            let endpoint = endpoint.map_err(|error| error.to_string())?;
            let mut peer = PeerClient::new(endpoint.connect_lazy());
            let identified = peer.identify(IdentifyRequest::default()).await;
            let own = identified.map_err(|status| status.to_string())?;
            sender.cluster_id = own.into_inner().own.unwrap_or_default().cluster_id;
            peers.push(peer);
        }
        sender.node = STRANGER;
        Ok(Proposer { peers, sender })
    }

    /// Has the leader propose one entry; its index.
    ///
    /// # Errors
    /// If no node does so in time.
    pub async fn propose(&self, commands: Vec<Command>) -> Result<u64, String> {
        let request = ProposeRequest {
            sender: Some(self.sender.clone()),
            command: Entry::new(commands).encode().into(),
        };
        let asked = async {
            loop {
                for peer in &self.peers {
                    if let Ok(answer) = peer.clone().propose(request.clone()).await {
                        return answer.into_inner().index;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let answer = tokio::time::timeout(PROPOSE_PATIENCE, asked).await;
        answer.map_err(|_| "no node took a proposal in time".to_string())
    }

    /// Proposes `count` entries that say nothing new, `at_once` at a time: the
    /// log grows as in a cluster at work.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    pub async fn churn(&self, count: u64, at_once: u64) -> Result<(), String> {
        let lanes = (0..at_once).map(|_| {
            let proposer = self.clone();
            tokio::spawn(async move {
                for _ in 0..count / at_once {
                    let tick = Command::Tick(Tick { cluster_ms: 0 });
                    proposer.propose(vec![tick]).await?;
                }
                Ok::<(), String>(())
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

/// The jobs to fill a table with.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    pub jobs: u64,
    /// Shards of each.
    pub shards: u32,
    /// Whether they have succeeded.
    pub finished: bool,
}

/// The blobs of every job. All films are the same.
struct Blobs {
    chunk: Vec<u8>,
    manifest: Vec<u8>,
    index: Vec<u8>,
    output: Vec<u8>,
    proof: Vec<u8>,
}

impl Blobs {
    fn new() -> Self {
        let chunk = vec![7; SOURCE_BYTES as usize];
        let mut manifest = b"RLMF".to_vec();
        manifest.extend(1u32.to_le_bytes());
        manifest.extend(SOURCE_BYTES.to_le_bytes());
        manifest.extend(CHUNK_BYTES.to_le_bytes());
        manifest.extend(blake3::hash(&chunk).as_bytes());
        Blobs {
            chunk,
            manifest,
            index: b"index".to_vec(),
            output: b"output".to_vec(),
            proof: b"proof".to_vec(),
        }
    }

    fn write(&self, folder: &Path, finished: bool) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let blobs = match finished {
            true => [&self.index, &self.output, &self.proof],
            false => [&self.manifest, &self.chunk, &self.index],
        };
        blobs
            .iter()
            .try_for_each(|blob| fs::write(folder.join(hash(blob)), blob))
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The id of the job of a number.
pub fn id_of(number: u64) -> String {
    job_id("big-table", &number.to_string())
}

fn homes_of(number: u64) -> [u64; 2] {
    [number % NODES + 1, (number + 1) % NODES + 1]
}

impl Filling {
    /// Puts the jobs into the table of a running cluster, and their blobs on
    /// the disks of their homes; `data` gives a node's data folder.
    ///
    /// # Errors
    /// If a disk or the cluster refuses.
    pub async fn fill(
        &self,
        proposer: &Proposer,
        data: impl Fn(u64) -> std::path::PathBuf,
    ) -> Result<(), String> {
        let blobs = Blobs::new();
        for number in 0..self.jobs {
            for home in homes_of(number) {
                let folder = data(home).join("blobs").join(id_of(number));
                let written = blobs.write(&folder, self.finished);
                written.map_err(|error| format!("{}: {error}", folder.display()))?;
            }
        }
        let numbers: Vec<u64> = (0..self.jobs).collect();
        let a_job = self.life(0, 0, &blobs).len();
        for numbers in numbers.chunks((COMMANDS_PER_ENTRY_MAX / a_job).max(1)) {
            let created = numbers.iter().flat_map(|&number| created(number));
            let epoch = proposer.propose(created.collect()).await?;
            let lives = numbers
                .iter()
                .flat_map(|&number| self.life(number, epoch, &blobs));
            proposer.propose(lives.collect()).await?;
        }
        Ok(())
    }

    /// All that happens to a job once it has its homes.
    fn life(&self, number: u64, epoch: u64, blobs: &Blobs) -> Vec<Command> {
        let manifest = hash(&blobs.manifest);
        let mut life = vec![Command::SealSource(SealSource {
            job: id_of(number),
            epoch,
            manifest,
            // Films that were the same would take one another's outputs.
            root: hash(&number.to_le_bytes()),
            keep_source: false,
        })];
        let analysis = attempt(number, TaskKind::Analyze, 0);
        life.push(assign(&analysis));
        let all: Vec<ShardRange> = (0..self.shards)
            .map(|shard| ShardRange {
                from_pts: i64::from(shard) * 90_000,
                to_pts: i64::from(shard + 1) * 90_000,
                frames: 150 + u64::from(shard % 3),
            })
            .collect();
        for (part, ranges) in all.chunks(PLAN_SHARDS_PER_COMMAND_MAX).enumerate() {
            life.push(Command::PlanAppend(PlanAppend {
                key: analysis.clone(),
                first: (part * PLAN_SHARDS_PER_COMMAND_MAX) as u32,
                ranges: ranges.to_vec(),
                ..Default::default()
            }));
        }
        let done = |key: AttemptKey, blob: &[u8], report: Option<&[u8]>, shards_total| {
            Command::Complete(Complete {
                key,
                hash: hash(blob),
                report: report.map(hash).unwrap_or_default(),
                frames: 150,
                shards_total,
                ..Default::default()
            })
        };
        life.push(done(analysis, &blobs.index, None, self.shards));
        if self.finished {
            let shards = (0..self.shards).map(|shard| (TaskKind::Shard, shard));
            let assemblies = homes_of(number).map(|home| (TaskKind::Assemble, home as u32));
            for (kind, task) in shards.chain(assemblies) {
                let key = attempt(number, kind, task);
                life.push(assign(&key));
                life.push(done(key, &blobs.output, Some(&blobs.proof), 0));
            }
        }
        life
    }
}

fn created(number: u64) -> [Command; 2] {
    let create = CreateJob {
        tenant: "big-table".into(),
        request_id: number.to_string(),
        source_name: format!("a film with a name of some length {number}.mp4"),
        source_bytes: SOURCE_BYTES,
        ..Default::default()
    };
    let homes = SetHomes {
        job: id_of(number),
        epoch: 0,
        homes: homes_of(number).into(),
        retiring: Vec::new(),
        ..Default::default()
    };
    [Command::CreateJob(create), Command::SetHomes(homes)]
}

fn attempt(number: u64, kind: TaskKind, task: u32) -> AttemptKey {
    AttemptKey {
        job: id_of(number),
        kind: kind.into(),
        number: task,
        attempt: 1,
    }
}

fn assign(key: &AttemptKey) -> Command {
    Command::Assign(Assign {
        key: key.clone(),
        node: 1,
        build: "0".repeat(64),
        unix_ms: 1,
        twin: false,
    })
}
