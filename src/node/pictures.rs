//! Pictures of sources, for people who watch a job: one at a time a node, beside
//! its work, by ffmpeg in its box.

use std::io;

use bytes::Bytes;
use reelraft_media::{BytesServed, Cancel, Context, Input, MediaError, take_picture};
use reelraft_model::{JobEntry, Problem};

use super::{context::NodeContext, picture_cache::PictureOf};
use crate::limits::PICTURE_TIME_MAX;

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
        let _room = self.pictures.enter().map_err(busy)?;
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
