//! What an attempt does: reads its inputs from the homes, calls the media
//! room, gives the result to the homes, and says what came of it. A result is
//! reported only when every reachable home has its bytes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use reelraft_media::{Cancel, Class, Index, Input, MediaError, Parts, ShardRange};
use reelraft_model::{AttemptKey, FailureClass, JobEntry, Problem, Task, TaskKind, spec::Spec};
use reelraft_proto::v1;

use crate::{
    data::{DataError, Payload, ServedSource},
    limits::{PUT_AGAIN, PUT_PATIENCE},
    node::Shared,
};

/// What came of an attempt.
pub enum Outcome {
    /// The result, its bytes on the homes.
    Done(v1::Done),
    /// No result.
    Failed(Failed),
}

/// Why there is no result.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub problem: Problem,
    /// Who is to blame.
    pub class: FailureClass,
    /// Finished tasks whose bytes are gone everywhere.
    pub lost: Vec<AttemptKey>,
}

impl Failed {
    fn node(kind: &str, cause: String) -> Self {
        let problem = Problem::new(kind, cause, "the cluster tries again by itself");
        Failed {
            problem,
            class: FailureClass::NodeFault,
            lost: Vec::new(),
        }
    }
}

impl From<DataError> for Failed {
    fn from(error: DataError) -> Self {
        Failed {
            problem: error.problem(),
            class: FailureClass::NodeFault,
            lost: Vec::new(),
        }
    }
}

impl From<MediaError> for Failed {
    fn from(error: MediaError) -> Self {
        let class = match error.class() {
            Class::Work => FailureClass::Work,
            Class::NodeFault => FailureClass::NodeFault,
            Class::Final => FailureClass::Final,
            Class::PlanMismatch => FailureClass::PlanMismatch,
            Class::Stopped => FailureClass::Stopped,
        };
        let problem = Problem::new(error.kind(), error.to_string(), error.hint());
        Failed {
            problem,
            class,
            lost: Vec::new(),
        }
    }
}

/// Where the source could not be served, the bytes are to blame and not the
/// work, whatever ffmpeg made of the end of its input.
fn blame(error: MediaError, source: &ServedSource) -> Failed {
    match source.trouble() {
        Some(problem) => Failed {
            problem,
            class: FailureClass::NodeFault,
            lost: Vec::new(),
        },
        None => error.into(),
    }
}

/// The folder of one attempt, removed with all in it when the attempt ends.
struct WorkDir(PathBuf);

impl WorkDir {
    fn new(root: &Path, key: &AttemptKey) -> Result<Self, Failed> {
        let name = format!(
            "{}-{}-{}-{}",
            key.job,
            key.kind().name(),
            key.number,
            key.attempt
        );
        let path = root.join(name);
        let failed = |error: std::io::Error| {
            Failed::node("work-folder", format!("{}: {error}", path.display()))
        };
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        Ok(WorkDir(path))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one attempt to its end.
pub async fn run(
    shared: &Arc<Shared>,
    key: &AttemptKey,
    cancel: &Cancel,
    frames: &Arc<AtomicU64>,
) -> Outcome {
    let attempt = async {
        let state = shared.cluster.local();
        let gone = || Failed::node("gone", format!("{key} is not in the table"));
        let entry = state.job(&key.job).cloned().ok_or_else(gone)?;
        let task = entry.tasks.get(&key.task()).cloned().ok_or_else(gone)?;
        drop(state);
        let tools = shared
            .encoders()
            .await
            .tools
            .as_ref()
            .map_err(|problem| Failed {
                problem: problem.clone(),
                class: FailureClass::NodeFault,
                lost: Vec::new(),
            })?;
        let work = WorkDir::new(&shared.work_root(), key)?;
        let run = Run {
            shared,
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
            TaskKind::Shard => run.shard().await,
            TaskKind::Assemble => run.assemble().await,
        }
    };
    match attempt.await {
        Ok(done) => Outcome::Done(done),
        Err(failed) => Outcome::Failed(failed),
    }
}

/// One attempt with all that it works on.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    entry: Arc<JobEntry>,
    task: Arc<Task>,
    tools: &'a reelraft_media::Tools,
    work: WorkDir,
    cancel: &'a Cancel,
    frames: &'a Arc<AtomicU64>,
}

impl Run<'_> {
    fn spec(&self) -> &Spec {
        &self.entry.job.spec
    }

    fn context<'c>(&'c self, input: &'c Input) -> reelraft_media::Context<'c> {
        reelraft_media::Context {
            tools: self.tools,
            input,
            spec: self.spec(),
            work_dir: &self.work.0,
            cancel: self.cancel,
        }
    }

    fn progress(&self) -> impl Fn(u64) + Send + Sync + 'static {
        let frames = self.frames.clone();
        move |count| frames.store(count, Ordering::Relaxed)
    }

    async fn index(&self) -> Result<Arc<Index>, Failed> {
        self.shared
            .index(&self.entry)
            .await
            .map_err(|problem| Failed {
                problem,
                class: FailureClass::NodeFault,
                lost: Vec::new(),
            })
    }

    async fn analyze(&self) -> Result<v1::Done, Failed> {
        let source = self.shared.data.serve_source(&self.entry).await?;
        let input = Input::Http {
            url: source.url().to_string(),
        };
        let context = self.context(&input);
        let index = reelraft_media::analyze(&context, self.entry.job.source_bytes)
            .await
            .map_err(|error| blame(error, &source))?;
        let bytes = index.to_bytes();
        let size = bytes.len() as u64;
        let hash = self.put_everywhere(bytes).await?;
        Ok(v1::Done {
            hash,
            bytes_out: size,
            bytes_in: source.bytes_served(),
            plan: index
                .shards()
                .iter()
                .map(|range| v1::Range {
                    from_pts: range.from_pts,
                    to_pts: range.to_pts,
                    frames: range.frames,
                })
                .collect(),
            frames_total: index.frames_total(),
            plan_note: index.note(),
            audio_tracks: index.audio_tracks(),
            extras: index.has_extras(),
            ..Default::default()
        })
    }

    /// Puts the analysis on every home. A lost part can be encoded again from
    /// it; it itself can't be made again once the job relies on it.
    async fn put_everywhere(&self, bytes: Vec<u8>) -> Result<String, Failed> {
        let begun = Instant::now();
        let bytes = Bytes::from(bytes);
        let (size, hash) = (
            bytes.len() as u64,
            blake3::hash(&bytes).to_hex().to_string(),
        );
        loop {
            let payload = Payload::Bytes(bytes.clone());
            let put = self
                .shared
                .data
                .put_to_homes(&self.entry.job.id, &hash, size, payload)
                .await?;
            match put.missed.into_values().next() {
                None => return Ok(hash),
                Some(error) if begun.elapsed() > PUT_PATIENCE => return Err(error.into()),
                Some(_) => tokio::time::sleep(PUT_AGAIN).await,
            }
        }
    }

    async fn shard(&self) -> Result<v1::Done, Failed> {
        let index = self.index().await?;
        let source = self.shared.data.serve_source(&self.entry).await?;
        let input = Input::Http {
            url: source.url().to_string(),
        };
        let context = self.context(&input);
        let range = ShardRange {
            from_pts: self.task.from_pts,
            to_pts: self.task.to_pts,
            frames: self.task.frames,
        };
        let single = self.entry.job.single;
        let encoded =
            reelraft_media::encode_shard(&context, &index, range, single, self.progress())
                .await
                .map_err(|error| blame(error, &source))?;
        self.keep(encoded, source.bytes_served()).await
    }

    async fn audio(&self) -> Result<v1::Done, Failed> {
        let index = self.index().await?;
        let source = self.shared.data.serve_source(&self.entry).await?;
        let input = Input::Http {
            url: source.url().to_string(),
        };
        let context = self.context(&input);
        let track = self.task.number;
        let encoded = reelraft_media::encode_audio(&context, &index, track, self.progress())
            .await
            .map_err(|error| blame(error, &source))?;
        self.keep(encoded, source.bytes_served()).await
    }

    async fn extras(&self) -> Result<v1::Done, Failed> {
        let index = self.index().await?;
        let source = self.shared.data.serve_source(&self.entry).await?;
        let input = Input::Http {
            url: source.url().to_string(),
        };
        let context = self.context(&input);
        let taken = reelraft_media::take_extras(&context, &index)
            .await
            .map_err(|error| blame(error, &source))?;
        self.keep(taken, source.bytes_served()).await
    }

    /// Gives a result to the homes.
    async fn keep(
        &self,
        encoded: reelraft_media::Encoded,
        bytes_in: u64,
    ) -> Result<v1::Done, Failed> {
        let job = &self.entry.job.id;
        let report = self.shared.data.put_bytes(job, encoded.report).await?;
        let (hash, bytes) = self.shared.data.put_file(job, &encoded.path).await?;
        Ok(v1::Done {
            hash,
            bytes_out: bytes,
            frames: encoded.frames,
            bytes_in,
            report,
            ..Default::default()
        })
    }

    async fn assemble(&self) -> Result<v1::Done, Failed> {
        let index = self.index().await?;
        let data = &self.shared.data;
        let mut lost = Vec::new();
        let mut parts = Parts::default();
        for task in self.entry.parts() {
            let path = data.local_path(&self.entry, &task.hash).await;
            let report = data.read_whole(&self.entry, &task.report).await;
            match (path, report) {
                (Ok(path), Ok(report)) => match task.kind() {
                    TaskKind::Audio => parts.audio.push((path, report)),
                    TaskKind::Extras => parts.extras = Some((path, report)),
                    _ => parts.shards.push((path, report)),
                },
                (path, report) => {
                    let error = path
                        .err()
                        .or(report.err())
                        .expect("one of them failed in this arm");
                    if !error.is_lost() {
                        return Err(error.into());
                    }
                    lost.push(AttemptKey::of(&self.entry.job.id, task));
                }
            }
        }
        if !lost.is_empty() {
            let cause = format!("{} finished parts are on no home any more", lost.len());
            return Err(Failed {
                lost,
                ..Failed::node("lost-bytes", cause)
            });
        }
        // The parts are local files; the source itself is not read again.
        let input = Input::File(PathBuf::new());
        let context = self.context(&input);
        let single = self.entry.job.single;
        let assembled = reelraft_media::assemble(&context, &index, single, &parts).await?;
        let (hash, bytes) = data
            .keep_local_file(&self.entry.job.id, &assembled.path)
            .await?;
        let report = data
            .keep_local_bytes(&self.entry.job.id, assembled.proof)
            .await?;
        Ok(v1::Done {
            hash,
            bytes_out: bytes,
            report,
            frames: self.entry.job.frames_total,
            ..Default::default()
        })
    }
}
