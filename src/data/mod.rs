//! The data plane of a node: bytes of jobs, here and on the other homes.
//!
//! ```text
//! upload   the client's source, chunk by chunk, to all homes; then the seal
//! homes    results to every reachable home; reads from the nearest one
//! fill     what a home lacks, copied from the others
//! scrub    looks for rot in what nobody reads
//! source   a sealed source as one file;  loopback serves it to ffmpeg
//! fetch    a finished output to the client
//! service  what other nodes ask of this one;  client: what it asks of them
//! ```
//! The table says whose bytes they are and who keeps them; nothing here
//! decides that. How bytes last on a disk is the business of the storage room.

mod client;
mod cluster_table;
mod error;
pub mod fetch;
mod fill;
mod home;
mod homes;
pub mod limits;
mod loopback;
pub mod manifest;
mod merge;
mod request;
mod retry;
mod scrub;
mod service;
mod source;
mod table;
pub mod upload;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub use client::{Payload, Peers};
pub use error::DataError;
pub use home::{LocalHome, PutTicket};
pub use homes::PutOutcome;
use limits::FAILURE_TICK;
pub use loopback::{Loopback, Ranged, ServedSource};
use reelraft_consensus::Cluster;
use reelraft_model::JobEntry;
use reelraft_proto::auth::Secret;
use reelraft_storage::blobs::BlobStore;
pub use scrub::Scrubbed;
pub use service::{BlobService, tuned};
pub use source::Source;
pub use table::Table;

/// The bytes of jobs, as one node sees them.
pub struct DataPlane {
    table: Arc<dyn Table>,
    store: BlobStore,
    home: LocalHome,
    peers: Peers,
    loopback: Loopback,
}

impl DataPlane {
    /// Opens the blobs of a node of a cluster; see [`DataPlane::with_table`].
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn open(
        cluster: Cluster,
        data: &Path,
        secret: Secret,
    ) -> Result<Arc<Self>, DataError> {
        Self::with_table(Arc::new(cluster), data, secret).await
    }

    /// Opens the blobs in the data folder and starts the range server.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn with_table(
        table: Arc<dyn Table>,
        data: &Path,
        secret: Secret,
    ) -> Result<Arc<Self>, DataError> {
        let root = data.join("blobs");
        let store = home::blocking(move || {
            let parent = root.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(parent).map_err(|error| DataError::Internal {
                cause: format!("{}: {error}", parent.display()),
            })?;
            Ok(BlobStore::open(&root)?)
        });
        Self::with_store(table, store.await?, secret).await
    }

    /// The data plane over a store that is open already.
    ///
    /// # Errors
    /// [`DataError::Internal`] if the range server can't listen.
    pub async fn with_store(
        table: Arc<dyn Table>,
        store: BlobStore,
        secret: Secret,
    ) -> Result<Arc<Self>, DataError> {
        let home = LocalHome {
            table: table.clone(),
            store: store.clone(),
        };
        Ok(Arc::new(DataPlane {
            peers: Peers::new(home.clone(), secret),
            loopback: Loopback::start().await?,
            table,
            store,
            home,
        }))
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.table.node()
    }

    /// The gRPC service by which other nodes reach this one's bytes.
    pub fn blob_service(&self) -> BlobService {
        BlobService::new(self.home.clone())
    }

    /// The blobs on this disk. Its calls block.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Waits until a sync fails, and says which: the node must then stop for
    /// good, as it no longer knows what its disk holds.
    pub async fn failed(&self) -> String {
        loop {
            if let Some(cause) = self.store.failure() {
                return cause;
            }
            tokio::time::sleep(FAILURE_TICK).await;
        }
    }

    /// A job's sealed source, to be read here at any offset.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn source(self: &Arc<Self>, entry: &JobEntry) -> Result<Source, DataError> {
        Source::open(self.clone(), entry).await
    }

    /// Serves a job's sealed source to a program on this machine until the
    /// answer is dropped.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn serve_source(
        self: &Arc<Self>,
        entry: &JobEntry,
    ) -> Result<ServedSource, DataError> {
        Ok(self.loopback.serve(self.source(entry).await?))
    }
}
