//! Work on a source that is still being uploaded, or whose plan is not whole yet.
//! What is made of it counts once the sealed source has confirmed it.

use std::{sync::Arc, time::Duration};

use reelraft_media::{Cancel, EarlyShards, Index, MediaError};
use reelraft_model::{
    AttemptKey, ChunksRead, Command, EarlyPlan, FailureClass, JobEntry, PlanAppend, Problem, Task,
    TaskKind, TaskState,
    limits::{EARLY_LEVEL, EARLY_SOURCE_BYTES_MIN, PARTS_LEVEL},
    spec::Spec,
};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{
    data::{
        DataError, Source,
        limits::{SHARD_SOURCE_PATIENCE, SOURCE_PATIENCE},
    },
    node::{context::NodeContext, messages::Failed},
};

/// An attempt that may be early.
pub(super) struct EarlyWork<'a> {
    pub context: &'a Arc<NodeContext>,
    pub key: &'a AttemptKey,
    /// The job as it was when the attempt began.
    pub entry: &'a Arc<JobEntry>,
    pub cancel: &'a Cancel,
}

/// What determines the bytes of each part of a plan, beside source and build.
pub(super) struct PartKeys {
    pub shards: Vec<String>,
    pub audio: Vec<String>,
}

impl PartKeys {
    pub fn of(index: &Index, spec: &Spec) -> Self {
        let shards = index.shards().iter();
        PartKeys {
            shards: shards.map(|range| index.shard_key(spec, *range)).collect(),
            audio: (0..index.audio_tracks())
                .map(|track| index.audio_key(spec, track))
                .collect(),
        }
    }
}

impl EarlyWork<'_> {
    /// The source, which may still be uploaded.
    pub async fn source(&self) -> Result<Source, DataError> {
        let data = &self.context.data;
        match self.entry.job.manifest.is_empty() {
            true => Ok(Source::growing(data.clone(), self.entry, self.patience())),
            false => data.source(self.entry).await,
        }
    }

    /// How long a chunk that has not come is waited for.
    fn patience(&self) -> Duration {
        match self.key.kind() {
            TaskKind::Shard => SHARD_SOURCE_PATIENCE,
            _ => SOURCE_PATIENCE,
        }
    }

    /// Analyzes the source, and plans those shards early that are certain by then.
    pub async fn analyze_as_it_comes(
        &self,
        context: &reelraft_media::Context<'_>,
    ) -> Result<Index, MediaError> {
        let source_bytes = self.entry.job.source_bytes;
        let level = self.context.cluster.local().feature_level();
        // A rate factor that is to be found takes the whole film.
        let aims = self.entry.job.spec.aim().is_some();
        if level < EARLY_LEVEL || source_bytes < EARLY_SOURCE_BYTES_MIN || aims {
            return reelraft_media::analyze(context, source_bytes).await;
        }
        let (sink, shards) = mpsc::channel(1);
        let analyze =
            async move { reelraft_media::analyze_early(context, source_bytes, &sink).await };
        let (index, ()) = futures::join!(analyze, self.plan_early(shards));
        index
    }

    /// Writes early shards down as they come, as long as that goes well.
    async fn plan_early(&self, mut shards: mpsc::Receiver<EarlyShards>) {
        let mut first = 0;
        while let Some(early) = shards.recv().await {
            let count = early.ranges.len() as u32;
            if let Err(cause) = self.append_early(first, early).await {
                debug!(key = %self.key, first, cause, "no shards are planned early any more");
                return;
            }
            first += count;
        }
    }

    async fn append_early(&self, first: u32, shards: EarlyShards) -> Result<(), String> {
        let EarlyShards {
            index,
            ranges,
            keys,
            audio_keys,
            mut shard_memory_mib,
        } = shards;
        if self.context.cluster.local().feature_level() < PARTS_LEVEL {
            shard_memory_mib = 0;
        }
        let put = self.context.data.put_bytes(&self.entry.job.id, index).await;
        let index = put.map_err(|error| error.to_string())?;
        let append = Command::PlanAppend(PlanAppend {
            key: self.key.clone(),
            first,
            ranges,
            early: Some(EarlyPlan {
                index,
                keys,
                audio_keys,
                shard_memory_mib,
            }),
            replace: false,
            shard_keys: Vec::new(),
        });
        let committed = self.context.cluster.propose(vec![append]).await;
        let committed = committed.map_err(|error| error.to_string())?;
        match committed.replies.first() {
            Some(reply) if reply.stale => Err("the table has passed on".to_string()),
            _ => Ok(()),
        }
    }

    /// The job as this node knows it now.
    fn now(&self) -> Result<Arc<JobEntry>, Failed> {
        let job = self.entry.job.id.clone();
        let entry = self.context.cluster.local().job(&job);
        entry.ok_or_else(|| DataError::NoSuchJob { job }.into())
    }

    /// Waits for the seal, and compares what was read with it.
    pub async fn confirm(&self, source: &Source) -> Result<(), Failed> {
        if source.read_unsealed().is_none() {
            return Ok(());
        }
        let mut applied = self.context.cluster.applied();
        let sealed = loop {
            applied.borrow_and_update();
            let entry = self.now()?;
            if !entry.job.manifest.is_empty() {
                break entry;
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() {
                    return Err(MediaError::Stopped.into());
                },
                () = self.cancel.cancelled() => return Err(MediaError::Stopped.into()),
            }
        };
        match source.is_confirmed_by(&sealed).await? {
            true => Ok(()),
            false => Err(changed()),
        }
    }

    /// What a shard has read of a source that is not sealed yet; none where it is
    /// sealed, and has what was read.
    pub async fn unsealed_chunks(&self, source: &Source) -> Result<Option<ChunksRead>, Failed> {
        let Some(read) = source.read_unsealed() else {
            return Ok(None);
        };
        if !self.now()?.job.manifest.is_empty() {
            return self.confirm(source).await.map(|()| None);
        }
        match read.fits() {
            true => Ok(Some(read)),
            false => {
                let cause = "it read its source here and there, too much for a row";
                let hint = "it is made again by itself once the source is whole";
                let problem = Problem::new("scattered-source", cause, hint);
                Err(Failed::new(FailureClass::Stopped, problem))
            }
        }
    }

    /// How many shards and audio tracks that were begun early are those of the plan,
    /// and rest on what was sealed. What runs still confirms that by itself.
    pub async fn kept_of(&self, index: &Index, keys: &PartKeys) -> Result<(u32, u32), Failed> {
        let entry = self.now()?;
        let mut shards = 0;
        let planned = index.shards().iter().zip(&keys.shards);
        for (task, (range, key)) in entry.shards().zip(planned) {
            let same = (task.from_pts, task.to_pts) == (range.from_pts, range.to_pts);
            if !same || !self.is_kept(&entry, task, key).await? {
                break;
            }
            shards += 1;
        }
        let mut tracks = 0;
        for key in &keys.audio {
            let task = entry.tasks.get(&(TaskKind::Audio, tracks));
            match task {
                Some(task) if self.is_kept(&entry, task, key).await? => tracks += 1,
                _ => break,
            }
        }
        Ok((shards, tracks))
    }

    async fn is_kept(&self, entry: &JobEntry, task: &Task, key: &str) -> Result<bool, DataError> {
        let Some(early) = &task.early else {
            return Ok(false);
        };
        if early.key != key {
            return Ok(false);
        }
        match &early.read {
            Some(read) if task.state() == TaskState::Done => {
                self.context.data.confirms(entry, read).await
            }
            _ => Ok(true),
        }
    }
}

/// The source is not the one that was read.
fn changed() -> Failed {
    let cause = "the source was sealed with other bytes than were read before";
    let hint = "it is made again by itself";
    Failed::new(
        FailureClass::OutOfReach,
        Problem::new("source-changed", cause, hint),
    )
}
