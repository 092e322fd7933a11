//! Pictures of sources, for people who watch a job: one at a time a node, beside
//! its work, by ffmpeg in its box.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use reelraft_media::{BytesServed, Cancel, Context, Input, MediaError, take_picture};
use reelraft_model::{JobEntry, Problem};
use tokio::sync::Semaphore;

use super::context::NodeContext;
use crate::limits::{PICTURE_TIME_MAX, PICTURES_KEPT};

/// Which picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureOf {
    /// The job's analysis, which stands for its source.
    pub index: String,
    pub at_ms: u64,
    pub width: u32,
}

/// The pictures that were made lately, and leave to make another.
pub struct Pictures {
    room: Semaphore,
    kept: Mutex<VecDeque<(PictureOf, Bytes)>>,
}

impl Default for Pictures {
    fn default() -> Self {
        Pictures {
            room: Semaphore::new(1),
            kept: Mutex::default(),
        }
    }
}

impl Pictures {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(PictureOf, Bytes)>> {
        // Nothing is left half-done while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, wanted: &PictureOf) -> Option<Bytes> {
        let kept = self.kept();
        let found = kept.iter().find(|(of, _)| of == wanted);
        found.map(|(_, picture)| picture.clone())
    }

    fn keep(&self, of: PictureOf, picture: Bytes) {
        let mut kept = self.kept();
        kept.truncate(PICTURES_KEPT - 1);
        kept.push_front((of, picture));
    }
}

impl NodeContext {
    /// The picture of a job's source at a time, as a JPEG.
    ///
    /// # Errors
    /// `too-busy` while another is made, `past-the-end` where there is none, and
    /// what keeps the source from being read or ffmpeg from running.
    pub async fn picture(
        &self,
        entry: &JobEntry,
        at_ms: u64,
        width: u32,
    ) -> Result<Bytes, Problem> {
        let of = PictureOf {
            index: entry.job.index_hash.clone(),
            at_ms,
            width,
        };
        if let Some(picture) = self.pictures.find(&of) {
            return Ok(picture);
        }
        let busy = |_| {
            let cause = "this node makes another picture just now";
            Problem::new(
                "too-busy",
                cause,
                "ask again in a moment, or ask another node",
            )
        };
        let _room = self.pictures.room.try_acquire().map_err(busy)?;
        let made = tokio::time::timeout(PICTURE_TIME_MAX, self.make(entry, &of)).await;
        let picture = made.map_err(|_| {
            let cause = format!(
                "no picture was made within {} s",
                PICTURE_TIME_MAX.as_secs()
            );
            Problem::new(
                "timed-out",
                cause,
                "ask again when the nodes have less to do",
            )
        })??;
        self.pictures.keep(of, picture.clone());
        Ok(picture)
    }

    async fn make(&self, entry: &JobEntry, of: &PictureOf) -> Result<Bytes, Problem> {
        let tools = self.encoders().await.tools.as_ref().map_err(Clone::clone)?;
        let index = self.index(entry).await?;
        let served = self.data.serve_source(entry).await;
        let served = served.map_err(|error| error.problem())?;
        let input = Input::Http {
            url: served.url().to_string(),
            served: BytesServed::new(served.counter()),
        };
        let folder = self.work_root().join("picture");
        // What an earlier one has left, which may have been given up half-way.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| on_disk(&error))?;
        let context = Context {
            tools,
            input: &input,
            spec: &entry.job.spec,
            work_dir: &folder,
            cancel: &Cancel::new(),
        };
        let made = take_picture(&context, &index, of.at_ms, of.width).await;
        let path = made.map_err(|error| served.trouble().unwrap_or_else(|| of_media(&error)))?;
        let path = path.ok_or_else(|| {
            let cause = format!("the film has no picture at {} ms", of.at_ms);
            Problem::new("past-the-end", cause, "ask for a time within it")
        })?;
        let picture = std::fs::read(path).map_err(|error| on_disk(&error))?;
        let _ = std::fs::remove_dir_all(&folder);
        Ok(picture.into())
    }
}

fn on_disk(error: &io::Error) -> Problem {
    let cause = format!("the picture can't be written: {error}");
    Problem::new("disk-error", cause, "ask another node")
}

fn of_media(error: &MediaError) -> Problem {
    let hint = "the film may be damaged here; ask for another time";
    Problem::new("no-picture", error.to_string(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pictures_are_kept() {
        let pictures = Pictures::default();
        let of = |at_ms| PictureOf {
            index: "i".into(),
            at_ms,
            width: 320,
        };
        for at_ms in 0..=PICTURES_KEPT as u64 {
            pictures.keep(of(at_ms), Bytes::from_static(b"jpeg"));
        }
        assert!(pictures.find(&of(0)).is_none());
        assert!(pictures.find(&of(1)).is_some());
        assert_eq!(pictures.kept().len(), PICTURES_KEPT);
    }
}
