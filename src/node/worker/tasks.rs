//! What an attempt does: reads its inputs from the homes, calls the media
//! room, gives the result to the homes, and says what came of it. A result is
//! reported only when every reachable home has its bytes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use reelraft_media::{Assembled, BytesServed, Cancel, Encoded, FilmPart, Index, Input, Parts};
use reelraft_model::{
    AttemptKey, FailureClass, JobEntry, Reuse, Task, TaskKind, is_engine, spec::Spec,
};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    blame::{blame, bytes_missing, node_fault, other_build, without_source},
    early::{EarlyWork, PartKeys},
    engine_shard::{EngineShard, made_by_engines},
    room::{Room, after_full},
};
use crate::{
    data::{Payload, ServedSource},
    limits::{PUT_AGAIN, PUT_PATIENCE},
    node::{
        context::NodeContext,
        joined_ahead::JoinedAhead,
        messages::{Analysis, Done, Failed, Outcome},
        work_dir::WorkDir,
    },
};

fn input_of(source: &ServedSource) -> Input {
    Input::Http {
        url: source.url().to_string(),
        served: BytesServed::new(source.counter()),
    }
}

/// Runs one attempt to its end.
pub async fn run(
    context: &Arc<NodeContext>,
    key: &AttemptKey,
    runner: u64,
    cancel: &Cancel,
    frames: &Arc<AtomicU64>,
) -> Outcome {
    let attempt = async {
        let state = context.cluster.local();
        let gone = || node_fault("gone", format!("{key} is not in the table"));
        let entry = state.job(&key.job).ok_or_else(gone)?;
        let task = entry.tasks.get(&key.task()).cloned().ok_or_else(gone)?;
        drop(state);
        let encoders = context.encoders().await;
        let tools = encoders
            .tools
            .as_ref()
            .map_err(|problem| Failed::new(FailureClass::NodeFault, problem.clone()))?;
        // Assigned to the process that this node was before, with its ffmpeg.
        if entry.job.build != encoders.build {
            return Err(other_build(&encoders.build, &entry.job.build));
        }
        let work = WorkDir::of_attempt(&context.work_root(), key)
            .map_err(|error| node_fault("work-folder", error.to_string()))?;
        let run = Run {
            context,
            key,
            engine: Some(runner).filter(|id| is_engine(*id)),
            spec: entry.spec_of(&task),
            entry,
            task,
            tools,
            work,
            cancel,
            frames,
        };
        match key.kind() {
            TaskKind::Analyze => run.analyze().await,
            TaskKind::Audio => run.audio().await,
            TaskKind::Extras => run.extras().await,
            TaskKind::Shard | TaskKind::Probe => run.shard().await,
            TaskKind::Measure => run.measure().await,
            TaskKind::Assemble => match &run.entry.job.reuse {
                Some(reuse) => run.take_output(reuse).await,
                None => match run.assemble().await {
                    Err(failed) => Err(after_full(failed, &context.cramped, cancel).await),
                    done => done,
                },
            },
        }
    };
    match attempt.await {
        Ok(done) => Outcome::Done(done),
        Err(failed) => Outcome::Failed(failed),
    }
}

/// One attempt with all that it works on.
struct Run<'a> {
    context: &'a Arc<NodeContext>,
    key: &'a AttemptKey,
    /// The engine whose attempt it is.
    engine: Option<u64>,
    /// That of the job, with the rate factor of this task.
    spec: Spec,
    entry: Arc<JobEntry>,
    task: Arc<Task>,
    tools: &'a reelraft_media::Tools,
    work: WorkDir,
    cancel: &'a Cancel,
    frames: &'a Arc<AtomicU64>,
}

impl Run<'_> {
    fn media<'c>(&'c self, input: &'c Input) -> reelraft_media::Context<'c> {
        reelraft_media::Context {
            tools: self.tools,
            input,
            spec: &self.spec,
            work_dir: self.work.path(),
            cancel: self.cancel,
        }
    }

    fn progress(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let frames = self.frames.clone();
        move |count| frames.store(count, Ordering::Relaxed)
    }

    async fn index(&self) -> Result<Arc<Index>, Failed> {
        let whole = &self.entry.job.index_hash;
        let hash = match &self.task.early {
            Some(early) if whole.is_empty() => &early.index,
            _ => whole,
        };
        let index = self.context.index_of(&self.entry, hash).await;
        index.map_err(bytes_missing)
    }

    fn early(&self) -> EarlyWork<'_> {
        EarlyWork {
            context: self.context,
            key: self.key,
            entry: &self.entry,
            cancel: self.cancel,
        }
    }

    async fn analyze(&self) -> Result<Done, Failed> {
        let source = self.early().source().await?;
        let served = self.context.data.serve(&source);
        let input = input_of(&served);
        let context = self.media(&input);
        let index = self
            .early()
            .analyze_as_it_comes(&context)
            .await
            .map_err(|error| blame(error, &served))?;
        self.early().confirm(&source).await?;
        let bytes = index.to_bytes();
        let size = bytes.len() as u64;
        let (hash, epoch) = self.put_everywhere(bytes).await?;
        // They take a moment for a film of many hours.
        let (index, spec) = (Arc::new(index), self.spec.clone());
        let of = index.clone();
        let keys = tokio::task::spawn_blocking(move || PartKeys::of(&of, &spec)).await;
        let keys = keys.map_err(|error| node_fault("internal", error.to_string()))?;
        let (kept, audio_kept) = self.early().kept_of(&index, &keys).await?;
        Ok(Done {
            hash,
            bytes_out: size,
            bytes_in: served.bytes_served(),
            frames: index.frames_total(),
            analysis: Some(Analysis {
                plan: index.shards().to_vec(),
                plan_note: index.note(),
                audio_tracks: index.audio_tracks(),
                extras: index.has_extras(),
                epoch,
                kept,
                audio_kept,
                shard_keys: keys.shards,
                audio_keys: keys.audio,
                shard_memory_mib: index.shard_memory_mib(&self.spec),
                shares_parts: self.context.config.reuse_outputs,
                duration_us: index.duration_us(),
            }),
            ..Default::default()
        })
    }

    /// Puts the analysis on every home; gives its hash and their epoch. A lost
    /// part can be encoded again from it; it itself can't be made again once the
    /// job relies on it.
    async fn put_everywhere(&self, bytes: Vec<u8>) -> Result<(String, u64), Failed> {
        let begun = Instant::now();
        let bytes = Bytes::from(bytes);
        let (size, hash) = (
            bytes.len() as u64,
            blake3::hash(&bytes).to_hex().to_string(),
        );
        loop {
            let payload = Payload::Bytes(bytes.clone());
            let put = self
                .context
                .data
                .put_to_homes(&self.entry.job.id, &hash, size, payload)
                .await?;
            let state = self.context.cluster.local();
            let now = state.job(&self.entry.job.id).map(|entry| entry.job.epoch);
            drop(state);
            match put.missed.into_values().next() {
                None if now == Some(put.epoch) => return Ok((hash, put.epoch)),
                // The homes have changed meanwhile.
                None => {}
                Some(error) if begun.elapsed() > PUT_PATIENCE => return Err(error.into()),
                Some(_) => tokio::time::sleep(PUT_AGAIN).await,
            }
        }
    }

    async fn shard(&self) -> Result<Done, Failed> {
        let index = self.index().await?;
        let source = self.early().source().await?;
        let served = self.context.data.serve(&source);
        let read = Arc::new(AtomicU64::new(0));
        let input = match self.engine {
            Some(engine) => {
                let shard = EngineShard {
                    context: self.context,
                    engine,
                    key: self.key,
                    index: &index,
                    spec: &self.spec,
                    range: self.task.range(),
                };
                shard.input(&source, &read)
            }
            None => input_of(&served),
        };
        let context = self.media(&input);
        let range = self.task.range();
        let single = self.entry.job.single;
        let encoded =
            reelraft_media::encode_shard(&context, &index, range, single, &self.progress())
                .await
                .map_err(|error| blame(error, &served))?;
        let bytes_in = served.bytes_served() + read.load(Ordering::Relaxed);
        let done = self.keep(encoded, bytes_in).await?;
        let read = self.early().unsealed_chunks(&source).await?;
        Ok(Done { read, ..done })
    }

    async fn audio(&self) -> Result<Done, Failed> {
        let index = self.index().await?;
        let source = self.early().source().await?;
        let served = self.context.data.serve(&source);
        let input = input_of(&served);
        let context = self.media(&input);
        let track = self.task.number;
        let encoded = reelraft_media::encode_audio(&context, &index, track, &self.progress())
            .await
            .map_err(|error| blame(error, &served))?;
        let done = self.keep(encoded, served.bytes_served()).await?;
        let read = self.early().unsealed_chunks(&source).await?;
        Ok(Done { read, ..done })
    }

    async fn extras(&self) -> Result<Done, Failed> {
        let index = self.index().await?;
        let source = self.context.data.serve_source(&self.entry).await?;
        let input = input_of(&source);
        let context = self.media(&input);
        let taken = reelraft_media::take_extras(&context, &index)
            .await
            .map_err(|error| blame(error, &source))?;
        self.keep(taken, source.bytes_served()).await
    }

    /// Compares a part of a finished job's output, which is on this disk, with its source.
    async fn measure(&self) -> Result<Done, Failed> {
        let (data, job) = (&self.context.data, &self.entry.job);
        let index = self.index().await?;
        let proof = data.read_whole(&self.entry, &job.proof_hash).await?;
        let output = data.local_path(&self.entry, &job.output_hash).await?;
        let source = data.serve_source(&self.entry).await;
        let source = source.map_err(|error| without_source(error.problem()))?;
        let input = input_of(&source);
        let context = self.media(&input);
        let gone = || node_fault("gone", format!("nobody measures job {} any more", job.id));
        let measurement = job.measurement.as_ref().ok_or_else(gone)?;
        let part = FilmPart {
            output,
            proof,
            shards: measurement.shards_of(self.task.number),
        };
        let measured = reelraft_media::measure_output(&context, &index, &part, &self.progress())
            .await
            .map_err(|error| match source.trouble() {
                Some(problem) => without_source(problem),
                None => error.into(),
            })?;
        let report = data.put_bytes(&job.id, measured.json).await?;
        Ok(Done {
            hash: report.clone(),
            report,
            frames: measured.frames,
            bytes_in: source.bytes_served(),
            ..Default::default()
        })
    }

    /// Gives a result to the homes.
    async fn keep(&self, encoded: Encoded, bytes_in: u64) -> Result<Done, Failed> {
        let Encoded {
            path,
            report,
            frames,
            bytes,
            blake3,
            payload,
            score_micro,
        } = encoded;
        let (data, job) = (&self.context.data, &self.entry.job.id);
        let report = data.put_bytes(job, report).await?;
        let file = Payload::File(path);
        data.put_to_homes(job, &blake3, bytes, file).await?;
        Ok(Done {
            hash: blake3,
            bytes_out: bytes,
            frames,
            bytes_in,
            report,
            payload,
            score_micro,
            ..Default::default()
        })
    }

    /// Takes the output of an equal job. Where its bytes can't be had, the job makes
    /// its own.
    async fn take_output(&self, reuse: &Reuse) -> Result<Done, Failed> {
        let (data, id) = (&self.context.data, &self.entry.job.id);
        let other = self.context.cluster.local().job(&reuse.job);
        let other = other.filter(|other| other.job.output_hash == reuse.output_hash);
        let gone = || node_fault("output-gone", format!("job {} is gone", reuse.job));
        let other = other.ok_or_else(gone)?;
        for hash in [&reuse.index_hash, &reuse.output_hash, &reuse.proof_hash] {
            data.take_over(&other, hash, id).await?;
        }
        Ok(Done {
            hash: reuse.output_hash.clone(),
            bytes_out: other.job.output_bytes,
            report: reuse.proof_hash.clone(),
            frames: other.job.frames_total,
            ..Default::default()
        })
    }

    async fn assemble(&self) -> Result<Done, Failed> {
        let index = self.index().await?;
        let data = &self.context.data;
        // Once all homes have assembled, each counts as a full copy.
        data.local_path(&self.entry, &self.entry.job.index_hash)
            .await?;
        let joined = self.context.joined.take(&self.entry).await;
        let room = Room {
            store: data.store(),
            cramped: &self.context.cramped,
            cancel: self.cancel,
        };
        room.await_for(&self.entry, joined.as_deref()).await?;
        let ahead = match joined {
            Some(joined) => match self.output(&index, Some(joined)).await {
                // Whatever it was, it is no reason to fail before all was tried.
                Err(failed) if failed.class == FailureClass::Work => {
                    debug!(problem = %failed.problem, "what was joined ahead is of no use");
                    None
                }
                ended => Some(ended?),
            },
            None => None,
        };
        let assembled = match ahead {
            Some(assembled) => assembled,
            None => self.output(&index, None).await?,
        };
        let (hash, bytes) = data
            .keep_local_file(&self.entry.job.id, &assembled.path)
            .await?;
        let report = data
            .keep_local_bytes(&self.entry.job.id, assembled.proof)
            .await?;
        Ok(Done {
            hash,
            bytes_out: bytes,
            report,
            frames: self.entry.job.frames_total,
            analysis: Some(Analysis {
                plan_note: assembled.note,
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    /// Makes the output of its parts, of which some may be joined already.
    async fn output(
        &self,
        index: &Index,
        joined: Option<Box<JoinedAhead>>,
    ) -> Result<Assembled, Failed> {
        let parts = self.parts(joined.as_deref()).await?;
        // The parts are local files; the source itself is not read again.
        let input = Input::File(PathBuf::new());
        let context = self.media(&input);
        let single = self.entry.job.single;
        let assembled = match joined {
            Some(joined) => {
                let (job, ahead) = (&self.entry.job.id, joined.count());
                info!(job, ahead, left = parts.shards.len(), "joins the rest");
                let JoinedAhead {
                    joining, folder, ..
                } = *joined;
                let rest = reelraft_media::assemble_rest(&context, index, single, &parts, joining);
                let assembled = rest.await;
                drop(folder);
                assembled
            }
            None => reelraft_media::assemble(&context, index, single, &parts).await,
        };
        Ok(assembled?)
    }

    /// The parts of the output on this disk, but for the shards that are joined.
    async fn parts(&self, joined: Option<&JoinedAhead>) -> Result<Parts, Failed> {
        let data = &self.context.data;
        let mut lost = Vec::new();
        let mut parts = Parts {
            engines: made_by_engines(&self.entry),
            ..Default::default()
        };
        let is_joined = |task: &Task| {
            task.kind() == TaskKind::Shard && joined.is_some_and(|joined| joined.has(task.number))
        };
        for task in self.entry.parts().filter(|task| !is_joined(task)) {
            match data.part(&self.entry, task).await {
                Ok(part) => match task.kind() {
                    TaskKind::Audio => parts.audio.push(part),
                    TaskKind::Extras => parts.extras = Some(part),
                    _ => parts.shards.push(part),
                },
                Err(error) if error.is_worth_remaking() => {
                    lost.push(AttemptKey::of(&self.entry.job.id, task));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if lost.is_empty() {
            return Ok(parts);
        }
        let cause = format!("{} finished parts are on no home any more", lost.len());
        Err(Failed {
            lost,
            ..node_fault("lost-bytes", cause)
        })
    }
}
