//! The chunks of a source that is still being uploaded. One that is not here yet
//! is waited for, and the client is asked for it next.
//!
//! What the homes say of a chunk may differ from what is sealed, where they are
//! lost and the client has another file by then. So each chunk that was read is
//! remembered, and whoever made something of it compares it with the manifest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use blake3::Hash;
use futures::stream::{FuturesUnordered, StreamExt};
use reelraft_model::{ChunksRead, Job, JobEntry};
use tokio::time::Instant;

use crate::data::{
    error::DataError, limits::AWAIT_PAUSE, manifest::Manifest, plane::DataPlane, read::home_ids,
};

/// The chunks of an unsealed source.
pub(super) struct Growing {
    data: Arc<DataPlane>,
    job: String,
    /// How long a chunk is waited for.
    patience: Duration,
    /// By number, what each chunk was when it was first read.
    seen: Mutex<BTreeMap<u64, Hash>>,
}

impl Growing {
    pub fn new(data: Arc<DataPlane>, job: &Job, patience: Duration) -> Self {
        Growing {
            data,
            patience,
            job: job.id.clone(),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, Hash>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of a chunk, once it is there.
    ///
    /// # Errors
    /// [`DataError::Unavailable`] where it does not come for long, and that the
    /// job has ended.
    pub async fn chunk(&self, number: u64) -> Result<String, DataError> {
        let known = self.seen().get(&number).copied();
        let hash = match known {
            Some(hash) => hash,
            None => {
                let found = self.wait_for(number).await?;
                *self.seen().entry(number).or_insert(found)
            }
        };
        Ok(hash.to_hex().to_string())
    }

    async fn wait_for(&self, number: u64) -> Result<Hash, DataError> {
        let begun = Instant::now();
        let mut cause = "the client has not sent it".to_string();
        while begun.elapsed() < self.patience {
            let entry = self.entry()?;
            if !entry.job.manifest.is_empty() {
                let manifest = self.data.manifest(&entry).await?;
                return manifest.hash_of(number).ok_or_else(|| self.not_one(number));
            }
            let homes = home_ids(&entry.job);
            let ask = |home| self.data.homes.await_chunk(home, &self.job, number);
            let mut answers: FuturesUnordered<_> = homes.into_iter().map(ask).collect();
            let mut asked = false;
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(Some(hash)) => {
                        return Hash::from_hex(&hash).map_err(|_| self.not_one(number));
                    }
                    Ok(None) => asked = true,
                    Err(error) => cause = error.to_string(),
                }
            }
            if !asked {
                tokio::time::sleep(AWAIT_PAUSE).await;
            }
        }
        Err(DataError::Unavailable {
            job: self.job.clone(),
            hash: format!("of chunk {number}"),
            cause,
        })
    }

    /// The job as this node knows it now, if it goes on.
    fn entry(&self) -> Result<Arc<JobEntry>, DataError> {
        let gone = || DataError::NoSuchJob {
            job: self.job.clone(),
        };
        let entry = self.data.table.local().job(&self.job).ok_or_else(gone)?;
        match entry.job.state() {
            state if state.ended() => Err(DataError::JobEnded {
                job: self.job.clone(),
                state: state.name(),
            }),
            _ => Ok(entry),
        }
    }

    fn not_one(&self, number: u64) -> DataError {
        DataError::BadChunk {
            job: self.job.clone(),
            number,
            cause: "is not one of the source".to_string(),
        }
    }

    /// What was read so far.
    pub fn read_so_far(&self) -> ChunksRead {
        ChunksRead::of(self.seen().iter().map(|(number, hash)| (*number, *hash)))
    }

    /// Whether all that was read is what was sealed.
    pub fn agrees(&self, manifest: &Manifest) -> bool {
        let seen = self.seen();
        let mut seen = seen.iter();
        seen.all(|(number, hash)| manifest.hash_of(*number) == Some(*hash))
    }
}
