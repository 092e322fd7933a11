//! The beginning of a film that is still encoded, for people who look at it: a few at
//! a time a node, from the parts that the homes have, by ffmpeg in its box.

use std::{
    io::{self, Seek},
    path::PathBuf,
    sync::Arc,
};

use futures::TryStreamExt;
use reelraft_media::{Cancel, Context, Index, Input, MediaError, PreviewParts};
use reelraft_model::{JobEntry, Problem, Task, TaskKind, TaskState};
use tokio::{fs::File, io::AsyncWriteExt, sync::OwnedSemaphorePermit};

use super::{context::NodeContext, work_dir::WorkDir};
use crate::{
    data::output::read_blob,
    limits::{PREVIEW_BYTES_MAX, PREVIEW_COPIES, PREVIEW_TIME_MAX, ROOM_BYTES_MIN},
};

/// A film of what is encoded. Its file goes with it, and its place among those that
/// a node may have.
pub struct Preview {
    pub file: std::fs::File,
    pub bytes: u64,
    /// BLAKE3, hex.
    pub hash: String,
    _folder: WorkDir,
    _place: OwnedSemaphorePermit,
}

/// What is known of a film, and which parts its preview is made of.
struct Chosen {
    index: Arc<Index>,
    shards: Vec<Arc<Task>>,
    audio: Vec<Arc<Task>>,
    /// Of all of them.
    bytes: u64,
}

impl NodeContext {
    /// The first shards of a job as a film, so many as begin within `ms` of its start
    /// and have been encoded one after the other, with the audio tracks that are done.
    ///
    /// # Errors
    /// `not-finished` before the first one is, `too-busy` while another is made,
    /// `timed-out`, `disk-full`, and what keeps the homes from giving the parts or
    /// ffmpeg from running.
    pub async fn preview(&self, entry: &Arc<JobEntry>, ms: u64) -> Result<Preview, Problem> {
        let chosen = self.chosen(entry, ms).await?;
        let busy = |_| {
            let cause = "this node makes or gives as many previews as it may";
            let hint = "ask again in a moment, or ask another node";
            Problem::new("too-busy", cause, hint)
        };
        let place = self.previews.clone().try_acquire_owned().map_err(busy)?;
        let store = self.data.store();
        let needed = ROOM_BYTES_MIN.saturating_add(PREVIEW_COPIES * chosen.bytes);
        store.check_room(needed).map_err(|error| {
            let hint = "ask another node, or free some space here";
            Problem::new("disk-full", error.to_string(), hint)
        })?;
        let made = self.make_preview(entry, &chosen, place);
        let made = tokio::time::timeout(PREVIEW_TIME_MAX, made).await;
        made.map_err(|_| {
            let seconds = PREVIEW_TIME_MAX.as_secs();
            let cause = format!("no preview was made within {seconds} s");
            Problem::new("timed-out", cause, "ask for fewer seconds of the film")
        })?
    }

    async fn chosen(&self, entry: &JobEntry, ms: u64) -> Result<Chosen, Problem> {
        let job = &entry.job;
        let too_early = || {
            let cause = format!("the beginning of job {} is not encoded yet", job.id);
            let hint = "ask again when its first shard is done: see `reelraft job tasks`";
            Problem::new("not-finished", cause, hint)
        };
        let is_done = |task: &Arc<Task>| task.state() == TaskState::Done;
        let mut shards: Vec<Arc<Task>> =
            entry.shards().take_while(|t| is_done(t)).cloned().collect();
        // Before the whole source is here each part knows as much of it as it needs.
        let hash = match (job.index_hash.as_str(), shards.last()) {
            (_, None) => return Err(too_early()),
            ("", Some(last)) => last.early.as_ref().map_or("", |early| &early.index),
            (whole, _) => whole,
        };
        let index = self.index_of(entry, hash).await?;
        let within = shards.partition_point(|shard| index.is_within(shard.from_pts, ms));
        shards.truncate(within.max(1));
        let tracks = (TaskKind::Audio, 0)..=(TaskKind::Audio, u32::MAX);
        let tracks = entry.tasks.range(tracks).map(|(_, task)| task);
        let mut left = PREVIEW_BYTES_MAX;
        for shard in &shards {
            left = left.checked_sub(shard.bytes_out).ok_or_else(|| {
                let cause = format!("so much of it has more than {PREVIEW_BYTES_MAX} bytes");
                Problem::new("bad-request", cause, "ask for fewer seconds of the film")
            })?;
        }
        let audio = tracks.filter(|task| {
            let rest = left.checked_sub(task.bytes_out).filter(|_| is_done(task));
            left = rest.unwrap_or(left);
            rest.is_some()
        });
        let audio = audio.cloned().collect();
        Ok(Chosen {
            index,
            shards,
            audio,
            bytes: PREVIEW_BYTES_MAX - left,
        })
    }

    async fn make_preview(
        &self,
        entry: &Arc<JobEntry>,
        chosen: &Chosen,
        place: OwnedSemaphorePermit,
    ) -> Result<Preview, Problem> {
        let tools = self.encoders().await.tools.as_ref().map_err(Clone::clone)?;
        // Several may be made at once, and read while others are made.
        let name = format!("preview-{:016x}", rand::random::<u64>());
        let folder = WorkDir::new(&self.work_root(), &name).map_err(|e| on_disk(&e))?;
        let mut parts = PreviewParts::default();
        for shard in &chosen.shards {
            let file = self.copied(entry, shard, &folder).await?;
            let report = self.blob(entry, &shard.report).await?;
            parts.shards.push((file, report));
        }
        for track in &chosen.audio {
            let file = self.copied(entry, track, &folder).await?;
            parts.audio.push((track.number as usize, file));
        }
        let context = Context {
            tools,
            input: &Input::File(PathBuf::new()),
            spec: &entry.job.spec,
            work_dir: folder.path(),
            cancel: &Cancel::new(),
        };
        let made = reelraft_media::preview(&context, &chosen.index, &parts).await;
        let path = made.map_err(|error| of_media(&error))?;
        let used = parts.shards.into_iter().map(|(file, _)| file);
        let used: Vec<PathBuf> = used.chain(parts.audio.into_iter().map(|it| it.1)).collect();
        let opened = tokio::task::spawn_blocking(move || {
            used.iter().try_for_each(std::fs::remove_file)?;
            let file = std::fs::File::open(path)?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&file)?;
            (&file).rewind()?;
            io::Result::Ok((file, hasher.count(), hasher.finalize().to_hex().to_string()))
        });
        let opened = opened.await.map_err(|e| on_disk(&io::Error::other(e)))?;
        let (file, bytes, hash) = opened.map_err(|error| on_disk(&error))?;
        Ok(Preview {
            file,
            bytes,
            hash,
            _folder: folder,
            _place: place,
        })
    }

    /// A finished part as a file in a folder.
    async fn copied(
        &self,
        entry: &Arc<JobEntry>,
        task: &Task,
        folder: &WorkDir,
    ) -> Result<PathBuf, Problem> {
        let name = format!("{}-{}", task.kind().name(), task.number);
        let path = folder.path().join(name);
        let mut file = File::create(&path).await.map_err(|e| on_disk(&e))?;
        let named = (task.hash.clone(), task.bytes_out);
        let mut pieces = Box::pin(read_blob(self.data.clone(), entry.clone(), named, 0));
        while let Some(piece) = pieces.try_next().await.map_err(|error| error.problem())? {
            file.write_all(&piece).await.map_err(|e| on_disk(&e))?;
        }
        file.flush().await.map_err(|e| on_disk(&e))?;
        Ok(path)
    }
}

fn on_disk(error: &io::Error) -> Problem {
    let cause = format!("the preview can't be written: {error}");
    Problem::new("disk-error", cause, "ask another node")
}

fn of_media(error: &MediaError) -> Problem {
    let hint = "the output is not concerned; get single parts with `reelraft job get-part`";
    Problem::new("no-preview", error.to_string(), hint)
}
