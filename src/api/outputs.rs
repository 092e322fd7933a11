//! Fetching a finished job's output.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use reelraft_model::{JobEntry, JobState, Problem, Scope};

use super::{
    Api, JobView, Outgoing, bad_request,
    limits::{FETCH_PIECE_BYTES, FETCH_STALL},
    not_yet,
};
use crate::data::output::read_blob;

/// A finished output, from an offset on.
pub struct Output {
    /// Where its bytes begin.
    pub offset: u64,
    /// Size of the whole.
    pub total_bytes: u64,
    /// BLAKE3 of the whole, hex.
    pub hash: String,
    /// The bytes, in order. Each part was checked where it was read.
    pub parts: Outgoing<Bytes>,
}

/// The same bytes in pieces, so that a reader is seen to read while it has not taken all of
/// a large part.
pub(super) fn in_pieces(
    parts: impl Stream<Item = Result<Bytes, Problem>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send + 'static {
    let pieces = |mut part: Bytes| {
        stream::iter(std::iter::from_fn(move || {
            let bytes = part.len().min(FETCH_PIECE_BYTES);
            (bytes > 0).then(|| Ok(part.split_to(bytes)))
        }))
    };
    parts.map_ok(pieces).try_flatten()
}

impl Api {
    /// A job that has an output.
    ///
    /// # Errors
    /// `not-found`, `not-finished`.
    pub async fn finished(&self, id: &str) -> Result<JobView, Problem> {
        Ok(self.view(&*self.finished_entry(id).await?))
    }

    async fn finished_entry(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let entry = self.entry_or_local(Scope::Read, id).await?;
        if entry.job.state() != JobState::Succeeded {
            let hint = "wait for it with `reelraft job wait`";
            return Err(not_yet(
                "not-finished",
                &entry,
                ": there is no output",
                hint,
            ));
        }
        Ok(entry)
    }

    /// The output of a finished job from `offset` on.
    ///
    /// # Errors
    /// `not-found`, `not-finished`, `bad-request` for an offset beyond the
    /// end, `too-busy`; the parts may end with what keeps the homes from giving them.
    pub async fn fetch(&self, id: &str, offset: u64) -> Result<Output, Problem> {
        let entry = self.finished_entry(id).await?;
        let job = &entry.job;
        if offset > job.output_bytes {
            let bytes = job.output_bytes;
            return Err(bad_request(
                format!("offset {offset} lies beyond the output's {bytes} bytes"),
                "remove the partial file and fetch again",
            ));
        }
        let named = (job.output_hash.clone(), job.output_bytes);
        self.give(entry, named, offset)
    }

    /// The bytes of a job's blob, which has so many, from `offset` on, to one of
    /// as many clients as may fetch at once.
    pub(super) fn give(
        &self,
        entry: Arc<JobEntry>,
        (hash, total_bytes): (String, u64),
        offset: u64,
    ) -> Result<Output, Problem> {
        let pass = self.doors().fetches.enter(1)?;
        let named = (hash.clone(), total_bytes);
        let parts = read_blob(self.context().data.clone(), entry, named, offset);
        let parts = parts.map_err(|error| error.problem());
        Ok(Output {
            offset,
            total_bytes,
            hash,
            parts: Outgoing::new(in_pieces(parts), pass, self.welcome(), FETCH_STALL),
        })
    }
}
