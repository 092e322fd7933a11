//! Looking at the beginning of a film while the rest of it is encoded.

use std::io::{self, Read};

use bytes::Bytes;
use futures::stream;
use reelraft_model::{Problem, Scope, spec::Container};

use super::{
    Api, Outgoing, Output, bad_request,
    limits::{FETCH_STALL, PREVIEW_MS_MAX},
    not_yet,
    outputs::in_pieces,
};
use crate::{data::limits::PART_BYTES, node::previews::Preview};

impl Api {
    /// What is encoded of a film's beginning, at most so many milliseconds and the
    /// rest of a shard, as a film of its own; and in which container it is.
    ///
    /// # Errors
    /// `not-found`, `not-finished` while nothing of it is encoded, `not-kept` once the
    /// job has ended, `bad-request` for more than there may be, `too-busy` while the
    /// node makes another, and what keeps it from making this one.
    pub async fn preview(&self, id: &str, ms: u64) -> Result<(Output, Container), Problem> {
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
        let parts = Outgoing::new(
            in_pieces(pieces(preview)),
            pass,
            self.welcome(),
            FETCH_STALL,
        );
        let output = Output {
            offset: 0,
            total_bytes,
            hash,
            parts,
        };
        Ok((output, entry.job.spec.container()))
    }
}

/// A preview's bytes in order. It goes when all are read, or the reader does.
fn pieces(preview: Preview) -> impl futures::Stream<Item = Result<Bytes, Problem>> + Send {
    stream::try_unfold(preview, |preview| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PART_BYTES];
            let read = (&preview.file).read(&mut piece)?;
            piece.truncate(read);
            io::Result::Ok((Bytes::from(piece), preview))
        });
        let gone = |error: io::Error| {
            let cause = format!("the preview can't be read: {error}");
            Problem::new("disk-error", cause, "ask for it again")
        };
        let read = read.await.map_err(|error| gone(io::Error::other(error)))?;
        let (piece, preview) = read.map_err(gone)?;
        Ok((!piece.is_empty()).then_some((piece, preview)))
    })
}
