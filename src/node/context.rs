//! What the parts of a node have in common: its settings, the table, the bytes,
//! the encoders, and what the leader last said.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use reelraft_consensus::Cluster;
use reelraft_media::{Complaints, Index, likeness, shards_of_proof};
use reelraft_model::{History, JobEntry, ModelError, Problem, Task};
use tokio::sync::{OnceCell, Semaphore, watch};

use super::{
    cramped::Cramped,
    encoders::Encoders,
    engines::EnginesHere,
    joined_ahead::AllJoined,
    messages::{Certificate, Lack, ScrubTold, UpkeepTold},
    picture_cache::Pictures,
    report::LatestReport,
    tally::Tally,
    work_threads::WorkThreads,
};
use crate::{
    config::NodeConfig,
    data::{DataPlane, byte_cache::ByteCache},
    limits::{HISTORY_CACHE_BYTES, INDEX_CACHE_BYTES, PREVIEWS_MAX, ROOM_BYTES_MIN},
    outside::{Outside, SystemLookup},
};

/// What the parts of a node have in common.
pub struct NodeContext {
    /// Its settings.
    pub config: NodeConfig,
    /// The replicated table.
    pub cluster: Cluster,
    /// The bytes.
    pub data: Arc<DataPlane>,
    /// ffmpeg, once it was looked for.
    encoders: OnceCell<Encoders>,
    /// Requests to URLs that clients named.
    pub outside: Outside,
    /// Where attempts run.
    pub work_threads: WorkThreads,
    /// What the leader last said.
    pub report: LatestReport,
    /// What this process has done.
    pub tally: Arc<Tally>,
    /// Why this node must end, once it must.
    pub failure: watch::Sender<Option<Problem>>,
    /// Names this process among those that the node has been.
    pub process: u64,
    /// Analyses that were read lately.
    indexes: ByteCache<Index>,
    /// Histories that were read lately.
    histories: ByteCache<History>,
    /// Pictures of sources that were made lately.
    pub pictures: Pictures,
    /// Leave to make a preview, and to keep it while it is read.
    pub previews: Arc<Semaphore>,
    /// Films that are joined while others of their shards are encoded.
    pub joined: AllJoined,
    /// The engines that are connected to it.
    pub engines: Arc<EnginesHere>,
    /// Set when the node is to stop. It waits a moment for those that hold a receiver.
    pub stopping: watch::Sender<bool>,
    /// Work that waits for room on the disk.
    pub cramped: Cramped,
}

impl NodeContext {
    /// A node's context, before its encoders have been looked for.
    ///
    /// # Errors
    /// Where no threads can be started.
    pub fn new(
        config: NodeConfig,
        cluster: Cluster,
        data: Arc<DataPlane>,
    ) -> Result<Arc<Self>, Problem> {
        let reach = config.reach.clone();
        Ok(Arc::new(NodeContext {
            outside: Outside::new(reach.allowed, reach.buckets, Arc::new(SystemLookup)),
            config,
            cluster,
            data,
            encoders: OnceCell::new(),
            work_threads: WorkThreads::start()?,
            report: LatestReport::default(),
            tally: Arc::default(),
            failure: watch::Sender::new(None),
            process: rand::random(),
            indexes: ByteCache::new(INDEX_CACHE_BYTES),
            histories: ByteCache::new(HISTORY_CACHE_BYTES),
            pictures: Pictures::default(),
            previews: Arc::new(Semaphore::new(PREVIEWS_MAX)),
            joined: AllJoined::default(),
            engines: Arc::default(),
            stopping: watch::Sender::new(false),
            cramped: Cramped::default(),
        }))
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.cluster.identity().node
    }

    /// ffmpeg. The first to ask waits until its encoders have been tried.
    pub async fn encoders(&self) -> &Encoders {
        self.encoders.get_or_init(Encoders::find).await
    }

    /// This node's encoder build; empty without ffmpeg, and before it was
    /// tried.
    pub fn build(&self) -> String {
        let found = self.encoders.get();
        found.map_or_else(String::new, |found| found.build.clone())
    }

    /// Whether its disk takes more files.
    pub fn has_room(&self) -> bool {
        self.data.store().check_room(ROOM_BYTES_MIN).is_ok()
    }

    /// What is told of this node's certificate.
    pub fn certificate(&self) -> Option<Certificate> {
        self.cluster.trust().note().map(|note| Certificate {
            sha256: note.sha256,
            authority_sha256: note.authority_sha256,
            until_unix_ms: note.until_unix_ms,
            renewals: note.renewals,
        })
    }

    /// What is told of copies and scrubs.
    pub fn upkeep(&self) -> UpkeepTold {
        let now = self.data.upkeep_now();
        UpkeepTold {
            copy_jobs: now.copy_jobs,
            copy_bytes: now.copy_bytes,
            copied_bytes: now.copied_bytes,
            copy_rate: now.copy_rate,
            scrub: ScrubTold {
                running: now.scrub.running,
                done_bytes: now.scrub.done_bytes,
                total_bytes: now.scrub.total_bytes,
                ended_unix_ms: now.scrub.ended_unix_ms,
                blobs: now.scrub.last.blobs,
                bytes: now.scrub.last.bytes,
                damaged: now.scrub.last.damaged,
                unread: now.scrub.last.unread,
            },
        }
    }

    /// The versions behind the build, for people.
    pub fn build_words(&self) -> String {
        let found = self.encoders.get();
        found.map_or_else(String::new, |found| found.words.clone())
    }

    /// What this node's build can't make, as far as it was tried.
    pub fn lacks(&self) -> Vec<Lack> {
        self.encoders.get().map_or_else(Vec::new, Encoders::lacks)
    }

    /// How fast it encodes, by codec, as far as that was measured.
    pub fn speeds(&self) -> BTreeMap<String, u64> {
        let found = self.encoders.get();
        found.map_or_else(BTreeMap::new, Encoders::speeds)
    }

    /// Where a member listens.
    pub fn address_of(&self, node: u64) -> Option<String> {
        self.cluster
            .members()
            .into_iter()
            .find(|member| member.id == node && !member.address.is_empty())
            .map(|member| member.address)
    }

    /// The folder under which attempts work.
    pub fn work_root(&self) -> PathBuf {
        work_root(&self.config.data)
    }

    /// A whole blob of a job from any home.
    ///
    /// # Errors
    /// A [`Problem`] where no home can give it.
    pub async fn blob(&self, entry: &JobEntry, hash: &str) -> Result<Vec<u8>, Problem> {
        self.data
            .read_whole(entry, hash)
            .await
            .map_err(|error| error.problem())
    }

    /// A job's analysis.
    ///
    /// # Errors
    /// A [`Problem`] where no home can give it, or it can't be read.
    pub async fn index(&self, entry: &JobEntry) -> Result<Arc<Index>, Problem> {
        self.index_of(entry, &entry.job.index_hash).await
    }

    /// An analysis of a job, or a part of it, by its blob.
    ///
    /// # Errors
    /// As [`NodeContext::index`].
    pub async fn index_of(&self, entry: &JobEntry, hash: &str) -> Result<Arc<Index>, Problem> {
        if let Some(index) = self.indexes.get(hash) {
            return Ok(index);
        }
        let bytes = self.blob(entry, hash).await?;
        let index = Index::from_bytes(&bytes)
            .map_err(|error| Problem::new("internal", error.to_string(), "submit the job again"))?;
        let index = Arc::new(index);
        self.indexes.put(hash, bytes.len(), index.clone());
        Ok(index)
    }

    /// What ffmpeg complained of in a part, by its report: how often, and the first
    /// of it.
    ///
    /// # Errors
    /// A [`Problem`] where no home can give the report, or it can't be read.
    pub async fn complaints(
        &self,
        entry: &JobEntry,
        task: &Task,
    ) -> Result<(u64, Vec<String>), Problem> {
        let report = self.blob(entry, &task.report).await?;
        let found = Complaints::of_part(task.kind(), &report);
        let found = found.map_err(|error| {
            let hint = "the nodes may run other versions; the output is not concerned";
            Problem::new("internal", error.to_string(), hint)
        })?;
        Ok((found.total, found.first))
    }

    /// The tasks of a finished job, once they have left the table.
    ///
    /// # Errors
    /// A [`Problem`] where no home can give them, or they can't be read.
    pub async fn history(&self, entry: &JobEntry) -> Result<Arc<History>, Problem> {
        let hash = &entry.job.history_hash;
        if let Some(history) = self.histories.get(hash) {
            return Ok(history);
        }
        let bytes = self.blob(entry, hash).await?;
        let unread = |error: ModelError| {
            let hint = "the nodes may run other versions; the output is not concerned";
            Problem::new("internal", error.to_string(), hint)
        };
        let history = History::decode(&bytes).map_err(unread)?;
        let history = Arc::new(history);
        self.histories.put(hash, bytes.len(), history.clone());
        Ok(history)
    }

    /// How many shards a finished job's output has, by its proof.
    ///
    /// # Errors
    /// A [`Problem`] where no home can give it, or it can't be read.
    pub async fn shards_of_proof(&self, entry: &JobEntry) -> Result<u32, Problem> {
        let proof = self.blob(entry, &entry.job.proof_hash).await?;
        shards_of_proof(&proof)
            .map_err(|error| Problem::new("internal", error.to_string(), "submit the job again"))
    }

    /// A job's reference command (P3), and how like its pictures are to the job's, if
    /// that is to be said.
    ///
    /// # Errors
    /// A [`Problem`] where the analysis can't be read.
    pub async fn reference(
        &self,
        entry: &JobEntry,
    ) -> Result<(Vec<String>, &'static str), Problem> {
        let index = self.index(entry).await?;
        let job = &entry.job;
        let output = format!("reference.{}", job.spec.container().name());
        let args = reelraft_media::reference(
            &index,
            &entry.film_spec(),
            job.single,
            &job.source_name,
            &output,
        );
        let like = if entry.is_searching() {
            "its -crf is still searched for"
        } else if entry.mixes_rates() {
            "its pictures are near those of the job, some of whose shards have another crf"
        } else {
            likeness(&index, &job.spec, job.single)
        };
        Ok((args, like))
    }
}

/// The folder under which attempts work, in a data folder.
pub fn work_root(data: &Path) -> PathBuf {
    data.join("work")
}
