//! Fetching a finished job's output.

use std::sync::Arc;

use futures::TryStreamExt;
use reelraft_model::{JobEntry, JobState, Problem, Scope};

use super::{Api, JobView, Outgoing, bad_request, limits::CLIENT_STALL, not_yet};
use crate::data::output::read_output;

/// A finished output, from an offset on.
pub struct Output {
    /// Where its bytes begin.
    pub offset: u64,
    /// Size of the whole.
    pub total_bytes: u64,
    /// BLAKE3 of the whole, hex.
    pub hash: String,
    /// The bytes, in order. Each part was checked where it was read.
    pub parts: Outgoing<bytes::Bytes>,
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
        let pass = self.doors().fetches.enter(1)?;
        let (total_bytes, hash) = (job.output_bytes, job.output_hash.clone());
        let parts = read_output(self.context().data.clone(), entry, offset);
        let parts = parts.map_err(|error| error.problem());
        Ok(Output {
            offset,
            total_bytes,
            hash,
            parts: Outgoing::new(parts, pass, self.welcome(), CLIENT_STALL),
        })
    }
}
