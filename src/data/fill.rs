//! Filling a home: a node that became one later, or was away, copies what the
//! job has from the other homes, those that retire too. What it needs is a query over the table, so
//! a copy that was cut off just goes on with the next look.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use futures::{StreamExt, TryStreamExt, stream};
use reelraft_model::{
    JobEntry, JobState, State,
    home_rules::{holders, sources},
};
use reelraft_storage::{blobs::Removal, journal::Chunk};

use super::{
    error::DataError, limits::COPY_WINDOW, local_store::blocking, manifest::Manifest,
    plane::DataPlane,
};

impl DataPlane {
    /// The blobs of a job that a home must have and this disk has not: those
    /// of the table, and the source's chunks once the manifest is here. With
    /// `source_known` the chunks are known to be here, and are not looked for:
    /// a long source has a hundred thousand.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn lacking(
        &self,
        entry: &JobEntry,
        source_known: bool,
    ) -> Result<Vec<String>, DataError> {
        let (store, job, manifest) = (
            self.store.clone(),
            entry.job.id.clone(),
            entry.job.manifest.clone(),
        );
        let blobs = entry.blobs();
        blocking(move || {
            let whole = blobs.contains(&manifest);
            let mut lacking = Vec::new();
            for hash in blobs {
                if !store.has(&job, &hash)? {
                    lacking.push(hash);
                }
            }
            if source_known || !whole || lacking.contains(&manifest) {
                return Ok(lacking);
            }
            let bytes = store.reader(&job, &manifest)?;
            let bytes = bytes.read(0, bytes.total_bytes() as usize)?;
            for hash in Manifest::decode(&manifest, &bytes)?.chunks() {
                if !store.has(&job, &hash)? {
                    lacking.push(hash);
                }
            }
            Ok(lacking)
        })
        .await
    }

    /// Copies to this home all that the job has: when it returns, this home
    /// has everything that was acknowledged under the entry's epoch.
    /// `source_known` says that it was found to have the source's chunks. What keeps
    /// this home from having how an output compares with its source is given back: the
    /// film does not wait for it.
    ///
    /// # Errors
    /// [`DataError::Unavailable`] if no filled home can be asked now, and
    /// [`DataError::Lost`] if something is on no home any more.
    pub async fn fill(
        &self,
        entry: &JobEntry,
        source_known: bool,
    ) -> Result<Option<DataError>, DataError> {
        if entry.job.state() == JobState::Uploading {
            return self.fill_journal(entry).await.map(|()| None);
        }
        // Twice at most: the manifest first, then the chunks that it names.
        for _ in 0..2 {
            let lacking = match self.lacking(entry, source_known).await {
                Err(error) if error.is_missing() => continue,
                lacking => lacking?,
            };
            if lacking.is_empty() {
                return Ok(None);
            }
            // All are tried before the first failure counts: one lost blob must
            // not keep the others on a single home.
            let copies = lacking.into_iter().map(|hash| async move {
                let copied = self.copy_here(entry, &hash, true).await;
                copied.map_err(|error| (entry.is_measured_blob(&hash), error))
            });
            let copied: Vec<_> = stream::iter(copies)
                .buffer_unordered(COPY_WINDOW)
                .collect()
                .await;
            let failed = copied.into_iter().filter_map(Result::err);
            // A loss is what must be known, whatever else went wrong.
            let failed = failed.min_by_key(|(beside, error)| (*beside, !error.is_lost()));
            if let Some((beside, error)) = failed {
                let error = self.confirm_lost(entry, error).await;
                return if beside { Ok(Some(error)) } else { Err(error) };
            }
        }
        match self.lacking(entry, source_known).await?.into_iter().next() {
            None => Ok(None),
            Some(hash) => Err(DataError::Unavailable {
                job: entry.job.id.clone(),
                hash,
                cause: "it was copied, and is not here".to_string(),
            }),
        }
    }

    /// What no home has any more is lost only if the job still needs it: where
    /// the job has succeeded or given it up since `entry` was read, the homes
    /// have removed it.
    async fn confirm_lost(&self, entry: &JobEntry, error: DataError) -> DataError {
        let DataError::Lost { job, hash } = error else {
            return error;
        };
        let unsure = |cause: String| DataError::Unavailable {
            job: job.clone(),
            hash: hash.clone(),
            cause,
        };
        let state = match self.table.read().await {
            Ok(state) => state,
            Err(problem) => return unsure(problem.cause),
        };
        let needed = state.job(&job).is_some_and(|now| {
            let blobs = now.blobs();
            // What the table does not name is a chunk of the manifest.
            let is_chunk = !entry.blobs().contains(&hash);
            let name = if is_chunk { &now.job.manifest } else { &hash };
            now.job.is_kept() && blobs.contains(name)
        });
        match needed {
            true => DataError::Lost { job, hash },
            false => unsure("the job does not need it any more".to_string()),
        }
    }

    /// Copies the chunks of an unsealed source. Each acknowledged chunk is in
    /// the journal of every filled home; where none answers, it is in that of
    /// some other home, also of one that retires.
    async fn fill_journal(&self, entry: &JobEntry) -> Result<(), DataError> {
        let job = &entry.job;
        let whole: Vec<u64> = holders(job).collect();
        let mut others: Vec<u64> = sources(job).filter(|&node| node != self.node()).collect();
        others.sort_by_key(|node| !whole.contains(node));
        let mut chunks: BTreeMap<u64, Chunk> = BTreeMap::new();
        let mut silent = others.is_empty().then(|| DataError::NoHomes {
            job: job.id.clone(),
        });
        for node in others {
            // The home answers only when it knows of this epoch, and so takes
            // no chunk under an older one afterwards.
            match self.homes.journal(node, &job.id, job.epoch).await {
                Ok(journal) => {
                    for (number, chunk) in journal {
                        chunks.entry(number).or_insert(chunk);
                    }
                    if whole.contains(&node) {
                        silent = None;
                        break;
                    }
                }
                Err(error) => silent = Some(error),
            }
        }
        let here = self.local.journal(&job.id, job.epoch).await?;
        let missing = chunks
            .into_iter()
            .filter(|(number, chunk)| here.get(number) != Some(chunk));
        stream::iter(missing.map(Ok::<_, DataError>))
            .try_for_each_concurrent(COPY_WINDOW, |(number, chunk)| {
                self.copy_chunk(entry, number, chunk)
            })
            .await?;
        silent.map_or(Ok(()), Err)
    }

    async fn copy_chunk(
        &self,
        entry: &JobEntry,
        number: u64,
        chunk: Chunk,
    ) -> Result<(), DataError> {
        self.copy_here(entry, &chunk.hash, true).await?;
        let (store, job) = (self.store.clone(), entry.job.id.clone());
        blocking(move || Ok(store.record_chunk(&job, number, &chunk)?)).await
    }

    /// The jobs that have bytes on this disk.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn jobs_held(&self) -> Result<Vec<String>, DataError> {
        let store = self.store.clone();
        blocking(move || Ok(store.jobs()?)).await
    }

    /// Removes all blobs of a finished job but those that are `kept`, and the chunks of
    /// its source where that is held here. What is kept is asked of this node's table,
    /// when nobody can put; where it gives nothing, all stays. Returns how many went;
    /// none where somebody uses the job.
    ///
    /// # Errors
    /// What the disk refuses, and what keeps the manifest of a source that is held from
    /// being read.
    pub async fn prune(
        &self,
        entry: &JobEntry,
        kept: impl Fn(&State) -> Option<BTreeSet<String>> + Send + 'static,
    ) -> Result<Option<usize>, DataError> {
        let (job, mut held) = (&entry.job, BTreeSet::new());
        if job.holds_source() && job.source_at.contains(&self.node()) {
            match self.read_whole(entry, &job.manifest).await {
                Ok(bytes) => held.extend(Manifest::decode(&job.manifest, &bytes)?.chunks()),
                // Nobody can read the source any more.
                Err(error) if error.is_lost() => {}
                Err(error) => return Err(error),
            }
        }
        let (store, table, job) = (self.store.clone(), self.table.clone(), job.id.clone());
        blocking(move || {
            let kept = || kept(&table.local());
            let Some(now) = kept() else {
                return Ok(None);
            };
            let mut going = store.last_puts(&job)?;
            going.retain(|hash, _| !now.contains(hash) && !held.contains(hash));
            Ok(match store.remove_blobs_if(&job, &going, kept)? {
                Removal::Removed => Some(going.len()),
                Removal::Wanted | Removal::InUse => None,
            })
        })
        .await
    }

    /// The blobs on this disk that an unfinished job does not need, with their last
    /// put: the table does not name them, and they are no chunks of its source.
    ///
    /// # Errors
    /// What the disk refuses, also where the source's manifest is not here.
    pub async fn unneeded(
        &self,
        entry: &JobEntry,
    ) -> Result<BTreeMap<String, SystemTime>, DataError> {
        let (store, job, manifest) = (
            self.store.clone(),
            entry.job.id.clone(),
            entry.job.manifest.clone(),
        );
        let mut needed: BTreeSet<String> = entry.blobs().into_iter().collect();
        blocking(move || {
            let bytes = store.reader(&job, &manifest)?;
            let bytes = bytes.read(0, bytes.total_bytes() as usize)?;
            needed.extend(Manifest::decode(&manifest, &bytes)?.chunks());
            let mut unneeded = store.last_puts(&job)?;
            unneeded.retain(|hash, _| !needed.contains(hash));
            Ok(unneeded)
        })
        .await
    }

    /// Removes those of some [`DataPlane::unneeded`] blobs that were not put since,
    /// and that this node's table does not name either, as long as it says that
    /// they `may_go`. It is asked when nobody can put.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn remove_unneeded(
        &self,
        job: &str,
        blobs: BTreeMap<String, SystemTime>,
        may_go: impl Fn(&JobEntry) -> bool + Send + 'static,
    ) -> Result<Removal, DataError> {
        let (store, table, job) = (self.store.clone(), self.table.clone(), job.to_string());
        blocking(move || {
            let needed = || {
                let state = table.local();
                let entry = state.current(&job).filter(|entry| may_go(entry))?;
                Some(entry.blobs().into_iter().collect())
            };
            Ok(store.remove_blobs_if(&job, &blobs, needed)?)
        })
        .await
    }

    /// Removes all bytes of a job from this disk, unless they are in use or
    /// this node's table says that they are wanted again. It is asked for the
    /// last time when nobody can put any more.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn remove_job_if(
        &self,
        job: &str,
        still_unwanted: impl FnOnce(&State) -> bool + Send + 'static,
    ) -> Result<Removal, DataError> {
        let (store, table, job) = (self.store.clone(), self.table.clone(), job.to_string());
        blocking(move || Ok(store.remove_job_if(&job, || still_unwanted(&table.local()))?)).await
    }

    /// Deletes what removals that were cut off have left.
    ///
    /// # Errors
    /// What the disk refuses.
    pub async fn empty_trash(&self) -> Result<(), DataError> {
        let store = self.store.clone();
        blocking(move || Ok(store.empty_trash()?)).await
    }
}
