//! One running node: opens its disk, joins the others, serves the faces, and
//! runs the loops (leader, worker, duties) until it is told to stop.

pub mod duties;
pub mod hang;
pub mod leader;
pub mod load;
pub mod session_service;
pub mod sessions;
pub mod start;
pub mod tasks;
pub mod view;
pub mod work_threads;
pub mod worker;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use reelraft_consensus::Cluster;
use reelraft_media::Index;
use reelraft_model::{JobEntry, Problem};
use reelraft_proto::{
    auth::Secret,
    v1::{
        self, blobs_server::BlobsServer, cluster_server::ClusterServer, jobs_server::JobsServer,
        workers_server::WorkersServer,
    },
};
use tokio::{
    net::TcpListener,
    sync::{OnceCell, watch},
};
use tracing::info;

use crate::{
    config::NodeConfig,
    data::DataPlane,
    faces::{cluster::ClusterFace, jobs::JobsFace},
    limits::{INDEX_CACHE, STOP_GRACE},
    node::{
        session_service::SessionService, sessions::Sessions, start::Encoders, view::View,
        work_threads::WorkThreads, worker::Worker,
    },
};

/// What the parts of a node have in common.
pub struct Shared {
    /// Its settings.
    pub config: NodeConfig,
    /// The replicated table.
    pub cluster: Cluster,
    /// The bytes.
    pub data: Arc<DataPlane>,
    /// ffmpeg, once it was looked for.
    encoders: OnceCell<Encoders>,
    /// Where attempts run.
    pub work_threads: WorkThreads,
    /// Analyses that were read lately, by hash.
    indexes: Mutex<VecDeque<(String, Arc<Index>)>>,
}

impl Shared {
    /// This node's id.
    pub fn node(&self) -> u64 {
        self.config.id
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

    /// The secret for calls to other nodes.
    pub fn secret(&self) -> Secret {
        self.config.secret.clone()
    }

    /// Where a member listens.
    pub fn address_of(&self, node: u64) -> Option<String> {
        self.cluster
            .members()
            .into_iter()
            .find(|member| member.id == node)
            .map(|member| member.address)
    }

    /// The folder under which attempts work.
    pub fn work_root(&self) -> PathBuf {
        self.config.data.join("work")
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
        let hash = &entry.job.index_hash;
        let cache = || self.indexes.lock().expect("no holder of this lock panics");
        if let Some((_, index)) = cache().iter().find(|(known, _)| known == hash) {
            return Ok(index.clone());
        }
        let bytes = self.blob(entry, hash).await?;
        let index = Index::from_bytes(&bytes)
            .map_err(|error| Problem::new("internal", error.to_string(), "submit the job again"))?;
        let index = Arc::new(index);
        let mut cache = cache();
        cache.push_front((hash.clone(), index.clone()));
        cache.truncate(INDEX_CACHE);
        Ok(index)
    }

    /// A job's reference command (P3).
    ///
    /// # Errors
    /// A [`Problem`] where the analysis can't be read.
    pub async fn reference(&self, entry: &JobEntry) -> Result<Vec<String>, Problem> {
        let index = self.index(entry).await?;
        let job = &entry.job;
        let output = format!("reference.{}", job.spec.container().name());
        Ok(reelraft_media::reference(
            &index,
            &job.spec,
            job.single,
            &job.source_name,
            &output,
        ))
    }
}

/// Runs a node until `stop` is set.
///
/// # Errors
/// A [`Problem`] where it can't start, or had to end itself.
pub async fn run(config: NodeConfig, mut stop: watch::Receiver<bool>) -> Result<(), Problem> {
    // Only to be told soon if the address is taken: a port that is open and
    // not served, for as long as a disk takes, would hold clients up.
    drop(start::listen(config.listen).await?);
    let Some(cluster) = start::open_cluster(&config, &mut stop).await? else {
        return Ok(());
    };
    let _ = std::fs::remove_dir_all(config.data.join("work"));
    let data = DataPlane::open(cluster.clone(), &config.data, config.secret.clone())
        .await
        .map_err(|error| error.problem())?;
    let listener = start::listen(config.listen).await?;
    let shared = Arc::new(Shared {
        config,
        cluster,
        data,
        encoders: OnceCell::new(),
        work_threads: WorkThreads::start()?,
        indexes: Mutex::default(),
    });
    serve(shared, listener, stop).await
}

async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Problem> {
    let view = Arc::new(View::default());
    let sessions = Arc::new(Sessions::default());
    let gate = shared.secret().gate();
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<JobsServer<JobsFace>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1()
        .expect("the descriptors are our own build's");
    // Older clients of reflection, grpcurl among them, know only v1alpha.
    let older_reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1alpha()
        .expect("the descriptors are our own build's");
    let routes = tonic::service::Routes::new(health)
        .add_service(reflection)
        .add_service(older_reflection)
        .add_service(shared.cluster.peer_service(gate.clone()))
        .add_service(tonic::service::interceptor::InterceptedService::new(
            BlobsServer::new(shared.data.blob_service())
                .max_decoding_message_size(crate::data::limits::MESSAGE_BYTES_MAX),
            gate.clone(),
        ))
        .add_service(WorkersServer::with_interceptor(
            SessionService::new(shared.cluster.clone(), sessions.clone()),
            gate.clone(),
        ))
        .add_service(JobsServer::with_interceptor(
            JobsFace::new(shared.clone(), view.clone()),
            gate.clone(),
        ))
        .add_service(ClusterServer::with_interceptor(
            ClusterFace::new(shared.clone(), view.clone()),
            gate,
        ));

    let (stop_serving, serving_stopped) = watch::channel(false);
    let server = tokio::spawn(async move {
        let mut serving_stopped = serving_stopped;
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        crate::data::tuned(tonic::transport::Server::builder())
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, async move {
                let _ = serving_stopped.wait_for(|stop| *stop).await;
            })
            .await
    });
    shared
        .cluster
        .bootstrap()
        .await
        .map_err(|error| error.problem())?;
    info!(node = shared.node(), listen = %shared.config.listen, "this node votes and stores");

    let worker = Worker::new(shared.clone(), view);
    let mut working = tokio::spawn(worker.run(stop.clone()));
    let loops = [
        tokio::spawn(leader::run(shared.cluster.clone(), sessions, stop.clone())),
        tokio::spawn(duties::run(shared.clone(), stop.clone())),
    ];
    let mut fatal = shared.cluster.fatal();
    let failed = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => None,
        broken = fatal.wait_for(Option::is_some) => broken.ok().and_then(|cause| cause.clone()),
        cause = shared.data.failed() => Some(cause),
    };
    if let Some(cause) = failed {
        return Err(Problem::new(
            "storage-failed",
            cause,
            "look at the disk; the node rejoins when it is started again",
        ));
    }
    info!("stopping");
    // The worker gives its attempts back while there is a cluster to tell.
    let _ = tokio::time::timeout(STOP_GRACE, &mut working).await;
    shared.cluster.shutdown().await;
    let _ = stop_serving.send(true);
    for task in loops {
        let _ = tokio::time::timeout(STOP_GRACE, task).await;
    }
    let _ = tokio::time::timeout(STOP_GRACE, server).await;
    Ok(())
}
