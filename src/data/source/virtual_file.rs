//! A job's source as a file that can be read at any offset, though it lies in
//! chunks on the homes. Each chunk is checked by its hash; the ones read lately
//! are kept, and of a sealed source the next one is fetched ahead.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use reelraft_model::{ChunksRead, JobEntry};
use tokio::sync::OnceCell;

use super::{
    growing::Growing,
    range_server::{Ranged, ServedSource},
};
use crate::data::{
    error::DataError,
    limits::{CHUNK_BYTES, SOURCE_CACHE_CHUNKS},
    manifest::Manifest,
    plane::DataPlane,
};

type Slot = Arc<OnceCell<Bytes>>;

impl DataPlane {
    /// A job's sealed source, to be read here at any offset.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn source(self: &Arc<Self>, entry: &JobEntry) -> Result<Source, DataError> {
        Source::open(self.clone(), entry).await
    }

    /// The manifest of a sealed source, which each of its shards asks for.
    pub(super) async fn manifest(&self, entry: &JobEntry) -> Result<Arc<Manifest>, DataError> {
        let hash = &entry.job.manifest;
        if let Some(manifest) = self.manifests.get(hash) {
            return Ok(manifest);
        }
        let bytes = self.read_whole(entry, hash).await?;
        let manifest = Arc::new(Manifest::decode(hash, &bytes)?);
        self.manifests.put(hash, bytes.len(), manifest.clone());
        Ok(manifest)
    }

    /// Whether chunks that were read of a source before it was sealed are those of
    /// the seal.
    ///
    /// # Errors
    /// What keeps the homes from giving its manifest.
    pub async fn confirms(&self, sealed: &JobEntry, read: &ChunksRead) -> Result<bool, DataError> {
        let manifest = self.manifest(sealed).await?;
        Ok(read.agrees(|number| manifest.hash_of(number)))
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
        Ok(self.serve(&self.source(entry).await?))
    }

    /// Serves a source that is open already.
    pub fn serve(&self, source: &Source) -> ServedSource {
        self.range_server.serve(source.clone())
    }
}

/// A source. Clones share what is kept in memory.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    data: Arc<DataPlane>,
    entry: Arc<JobEntry>,
    chunks: Chunks,
    /// The chunks read lately, the latest first.
    lately: Mutex<VecDeque<(u64, Slot)>>,
}

/// Where the hashes of a source's chunks are known from.
enum Chunks {
    Sealed(Arc<Manifest>),
    Growing(Growing),
}

impl Source {
    /// A source that is still being uploaded. What is not here yet is waited for so
    /// long.
    pub fn growing(data: Arc<DataPlane>, entry: &JobEntry, patience: Duration) -> Self {
        let growing = Growing::new(data.clone(), &entry.job, patience);
        Source::of(data, entry, Chunks::Growing(growing))
    }

    fn of(data: Arc<DataPlane>, entry: &JobEntry, chunks: Chunks) -> Self {
        let inner = Inner {
            data,
            entry: Arc::new(entry.clone()),
            chunks,
            lately: Mutex::default(),
        };
        Source {
            inner: Arc::new(inner),
        }
    }

    /// What was read of a source that was not sealed when it was opened. None of
    /// one that was.
    pub fn read_unsealed(&self) -> Option<ChunksRead> {
        match &self.inner.chunks {
            Chunks::Sealed(_) => None,
            Chunks::Growing(growing) => Some(growing.read_so_far()),
        }
    }

    /// Whether all that was read is in the sealed source, once that is sealed.
    ///
    /// # Errors
    /// What keeps the homes from giving its manifest.
    pub async fn is_confirmed_by(&self, sealed: &JobEntry) -> Result<bool, DataError> {
        match &self.inner.chunks {
            Chunks::Sealed(_) => Ok(true),
            Chunks::Growing(growing) => {
                let manifest = self.inner.data.manifest(sealed).await?;
                Ok(growing.agrees(&manifest))
            }
        }
    }

    /// Reads the manifest of a sealed source.
    ///
    /// # Errors
    /// [`DataError::BadManifest`], also for a source that is not sealed, and
    /// what keeps the homes from giving it.
    pub async fn open(data: Arc<DataPlane>, entry: &JobEntry) -> Result<Self, DataError> {
        let hash = &entry.job.manifest;
        let bad = |cause| DataError::BadManifest {
            hash: hash.clone(),
            cause,
        };
        if hash.is_empty() {
            return Err(bad("the source is not sealed yet"));
        }
        let manifest = data.manifest(entry).await?;
        if manifest.source_bytes() != entry.job.source_bytes {
            return Err(bad("it is that of another source"));
        }
        Ok(Source::of(data, entry, Chunks::Sealed(manifest)))
    }

    fn total(&self) -> u64 {
        self.inner.entry.job.source_bytes
    }

    /// Bytes from `offset` on, up to the end of their chunk; none at the end
    /// of the source.
    ///
    /// # Errors
    /// What keeps the homes from giving the chunk.
    pub async fn read(&self, offset: u64) -> Result<Bytes, DataError> {
        if offset >= self.total() {
            return Ok(Bytes::new());
        }
        let number = offset / CHUNK_BYTES as u64;
        let (slot, fresh) = self.slot(number);
        let chunk = self.chunk(number, &slot).await?;
        if fresh {
            self.read_ahead(number + 1);
        }
        Ok(chunk.slice((offset % CHUNK_BYTES as u64) as usize..))
    }

    /// The place of a chunk, and whether it is new.
    fn slot(&self, number: u64) -> (Slot, bool) {
        let mut lately = self
            .inner
            .lately
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = lately.iter().position(|(known, _)| *known == number);
        let fresh = known.is_none();
        let slot = match known.and_then(|at| lately.remove(at)) {
            Some((_, slot)) => slot,
            None => Slot::default(),
        };
        lately.push_front((number, slot.clone()));
        lately.truncate(SOURCE_CACHE_CHUNKS);
        (slot, fresh)
    }

    async fn chunk(&self, number: u64, slot: &Slot) -> Result<Bytes, DataError> {
        let inner = &self.inner;
        let fetched = slot.get_or_try_init(|| async {
            let hash = match &inner.chunks {
                Chunks::Sealed(manifest) => {
                    manifest
                        .chunk(number)
                        .ok_or_else(|| DataError::BadManifest {
                            hash: inner.entry.job.manifest.clone(),
                            cause: "it has no such chunk",
                        })?
                }
                Chunks::Growing(growing) => growing.chunk(number).await?,
            };
            let chunk = inner
                .data
                .read_range(&inner.entry, &hash, 0, CHUNK_BYTES as u64)
                .await?;
            Ok::<_, DataError>(Bytes::from(chunk))
        });
        fetched.await.cloned()
    }

    /// Fetches a chunk that will be wanted soon; its errors show when it is.
    fn read_ahead(&self, number: u64) {
        // What is not here yet would be asked of the client before its turn.
        let Chunks::Sealed(manifest) = &self.inner.chunks else {
            return;
        };
        if manifest.chunk(number).is_none() {
            return;
        }
        let (slot, fresh) = self.slot(number);
        if fresh {
            let source = self.clone();
            tokio::spawn(async move {
                if let Err(error) = source.chunk(number, &slot).await {
                    tracing::debug!(number, %error, "a chunk could not be read ahead");
                }
            });
        }
    }
}

impl Ranged for Source {
    fn total_bytes(&self) -> u64 {
        self.total()
    }

    fn read(&self, offset: u64) -> BoxFuture<'_, Result<Bytes, DataError>> {
        Source::read(self, offset).boxed()
    }
}
