//! What all of the data plane works on: the table, this disk, the other nodes'
//! disks, and the range server.

use std::{path::Path, sync::Arc};

use reelraft_storage::blobs::BlobStore;

use super::{
    byte_cache::ByteCache,
    error::DataError,
    limits::{FAILURE_TICK, MANIFEST_CACHE_BYTES},
    local_store::{LocalStore, blocking},
    manifest::Manifest,
    pace::Pace,
    peers::{HomePeers, HomeTransport},
    source::range_server::RangeServer,
    table::Table,
    upkeep::{Upkeep, UpkeepNow},
};

/// The bytes of jobs, as one node sees them.
pub struct DataPlane {
    pub(super) table: Arc<dyn Table>,
    pub(super) store: BlobStore,
    pub(super) local: LocalStore,
    pub(super) homes: HomePeers,
    pub(super) range_server: RangeServer,
    pub(super) upkeep: Arc<Upkeep>,
    /// How fast it copies what it lacks.
    pub(super) pace: Pace,
    /// Manifests that were read lately.
    pub(super) manifests: ByteCache<Manifest>,
}

impl DataPlane {
    /// Opens the blobs in the data folder and starts the range server.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn open(
        table: Arc<dyn Table>,
        data: &Path,
        transport: Arc<dyn HomeTransport>,
    ) -> Result<Arc<Self>, DataError> {
        let root = data.join("blobs");
        let store = blocking(move || {
            let parent = root.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(parent).map_err(|error| DataError::Internal {
                cause: format!("{}: {error}", parent.display()),
            })?;
            Ok(BlobStore::open(&root)?)
        });
        Self::with_store(table, store.await?, transport).await
    }

    /// The data plane over a store that is open already.
    ///
    /// # Errors
    /// [`DataError::Internal`] if the range server can't listen.
    pub async fn with_store(
        table: Arc<dyn Table>,
        store: BlobStore,
        transport: Arc<dyn HomeTransport>,
    ) -> Result<Arc<Self>, DataError> {
        let upkeep: Arc<Upkeep> = Arc::default();
        let local = LocalStore::new(table.clone(), store.clone(), upkeep.clone());
        Ok(Arc::new(DataPlane {
            upkeep,
            pace: Pace::default(),
            homes: HomePeers::new(local.clone(), transport),
            range_server: RangeServer::start().await?,
            manifests: ByteCache::new(MANIFEST_CACHE_BYTES),
            table,
            store,
            local,
        }))
    }

    /// This node's id.
    pub fn node(&self) -> u64 {
        self.table.node()
    }

    /// What this home does for what it keeps.
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The same, to be told.
    pub fn upkeep_now(&self) -> UpkeepNow {
        self.upkeep.now(self.pace.rate())
    }

    /// Has this node copy so many bytes a second at most; 0: as many as come.
    pub fn set_copy_rate(&self, bytes_per_s: u64) {
        self.pace.set(bytes_per_s);
    }

    /// Has a node check all that it keeps, soon.
    ///
    /// # Errors
    /// [`DataError::Unreachable`].
    pub async fn begin_scrub(&self, node: u64) -> Result<(), DataError> {
        self.homes.begin_scrub(node).await
    }

    /// This node's disk as the other nodes reach it.
    pub fn local_store(&self) -> LocalStore {
        self.local.clone()
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
}
