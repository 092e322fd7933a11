//! Looking at the beginning of a film while the rest of it is encoded.

use bytes::Bytes;
use futures::{StreamExt, stream};
use reelraft_model::{Problem, Scope};
use tokio::{fs::File, io::AsyncReadExt};

use super::{
    Api, Outgoing, Output, bad_request,
    limits::{CLIENT_STALL, PREVIEW_MS_MAX},
    not_yet,
};
use crate::{data::limits::PART_BYTES, node::previews::Preview};

impl Api {
    /// What is encoded of a film's beginning, at most so many milliseconds and the
    /// rest of a shard, as a film of its own.
    ///
    /// # Errors
    /// `not-found`, `not-finished` while nothing of it is encoded, `not-kept` once the
    /// job has ended, `bad-request` for more than there may be, `too-busy` while the
    /// node makes another, and what keeps it from making this one.
    pub async fn preview(&self, id: &str, ms: u64) -> Result<Output, Problem> {
        if !(1..=PREVIEW_MS_MAX).contains(&ms) {
            let cause = format!("a preview of {ms} ms");
            let most = PREVIEW_MS_MAX / 1000;
            return Err(bad_request(cause, &format!("ask for 1 to {most} seconds")));
        }
        let entry = self.entry_or_local(Scope::Read, id).await?;
        if entry.job.state().ended() {
            let lacks = ": there is no preview any more";
            let hint = "fetch the output with `reelraft job fetch`, if it has one";
            return Err(not_yet("not-kept", &entry, lacks, hint));
        }
        let pass = self.doors().fetches.enter(1)?;
        let preview = self.context().preview(&entry, ms).await?;
        let (total_bytes, hash) = (preview.bytes, preview.hash.clone());
        let parts = Outgoing::new(pieces(preview), pass, self.welcome(), CLIENT_STALL);
        Ok(Output {
            offset: 0,
            total_bytes,
            hash,
            parts,
        })
    }
}

/// A preview's bytes in order. It goes when all are read, or the reader does.
fn pieces(preview: Preview) -> impl futures::Stream<Item = Result<Bytes, Problem>> + Send {
    let opened = async move { (File::open(&preview.path).await, preview) };
    stream::once(opened).flat_map(|(file, preview)| {
        stream::try_unfold((file, preview), |(file, preview)| async move {
            let gone = |error: std::io::Error| {
                let cause = format!("the preview can't be read: {error}");
                Problem::new("disk-error", cause, "ask for it again")
            };
            let mut file = file.map_err(gone)?;
            let mut piece = vec![0; PART_BYTES];
            let read = file.read(&mut piece).await.map_err(gone)?;
            piece.truncate(read);
            let next = (Bytes::from(piece), (Ok(file), preview));
            Ok((read > 0).then_some(next))
        })
    })
}
