//! Uploading a job's source: the node asks for chunks, the client sends them.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use reelraft_model::{Job, JobEntry, Problem, Scope};

use super::{
    Api, Consistency, Outgoing, Pass,
    limits::{CLIENT_STALL, UPLOAD_CHUNKS_MAX},
    not_yet,
    submit::DEFAULT_TENANT,
};
use crate::data::{
    limits::{CHUNK_BYTES, UPLOAD_IDLE, UPLOAD_WINDOW},
    upload::{self, BrokenOff, Order, Pace, Turn, UploadReply, UploadRequest},
};

impl Api {
    /// One upload stream of a client that gives its chunks in this order. It begins with [`UploadRequest::Open`], and ends with
    /// [`UploadReply::Sealed`] or a problem. What was acknowledged is kept
    /// whatever becomes of the stream: open another on any node.
    ///
    /// # Errors
    /// `not-found`, `too-busy`, and `client-lost` where the client says nothing.
    pub async fn upload<S>(
        &self,
        mut incoming: S,
        order: Order,
    ) -> Result<Outgoing<UploadReply>, Problem>
    where
        S: Stream<Item = Result<UploadRequest, BrokenOff>> + Send + Unpin + 'static,
    {
        let first = tokio::time::timeout(UPLOAD_IDLE, incoming.next()).await;
        let first = first.map_err(|_| {
            let cause = "the client did not say whose bytes it has";
            Problem::new("client-lost", cause, "open the upload again")
        })?;
        self.check_owner(first.as_ref()).await?;
        let (tenant, chunks) = self.chunks_held(first.as_ref())?;
        let pass = self.doors().uploads.enter_as(&tenant, chunks, 1)?;
        let window = pass.share();
        let incoming: Pin<Box<dyn Stream<Item = _> + Send>> =
            Box::pin(stream::iter(first).chain(incoming));
        let turn = Turn::default();
        let replies = upload::serve(
            self.context().data.clone(),
            incoming,
            turn.clone(),
            Pace { order, window },
        );
        let replies = replies.map_err(|error| error.problem());
        Ok(Outgoing::new(replies, pass, self.welcome(), CLIENT_STALL).that_waits(turn))
    }

    /// Refuses the job of another tenant as one that there is not. Whether a job
    /// can be uploaded is told by the upload itself.
    async fn check_owner(
        &self,
        first: Option<&Result<UploadRequest, BrokenOff>>,
    ) -> Result<(), Problem> {
        let seen = self.seen(Scope::Submit, Consistency::Local).await?;
        if self.sees_all() {
            return Ok(());
        }
        let Some(Ok(UploadRequest::Open { job })) = first else {
            return Ok(());
        };
        if seen.remembered(job).is_ok() {
            return Ok(());
        }
        drop(seen);
        // This replica may be behind.
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        seen.remembered(job).map(drop)
    }

    /// A job whose source is uploaded, or was.
    ///
    /// # Errors
    /// `not-found`, `not-kept` of one that ended before its source was whole, and
    /// what keeps the cluster from reading.
    pub async fn upload_of(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let entry = self
            .entry(Scope::Submit, id, Consistency::Linearizable)
            .await?;
        if entry.job.state().ended() && entry.job.source_root.is_empty() {
            let lacks = ", and its upload was not whole";
            return Err(not_yet("not-kept", &entry, lacks, "begin another upload"));
        }
        Ok(entry)
    }

    /// The same, and how many bytes of its source are safe from the beginning on.
    ///
    /// # Errors
    /// Those of [`Api::upload_of`], and what keeps the homes from answering.
    pub async fn uploaded(&self, id: &str) -> Result<(Job, u64), Problem> {
        let entry = self.upload_of(id).await?;
        let job = entry.job.clone();
        let bytes = upload::reached(&self.context().data, entry).await;
        Ok((job, bytes.map_err(|error| error.problem())?))
    }

    /// Room for what is held of a body before it may be given to an upload.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn room_for_upload(&self, bytes: u64) -> Result<Pass, Problem> {
        let chunks = bytes.div_ceil(CHUNK_BYTES as u64);
        let share = chunks.clamp(1, UPLOAD_CHUNKS_MAX as u64);
        let (tenant, share) = (self.uploader()?, share as u32);
        self.doors().uploads.enter_as(tenant, share, share)
    }

    /// Whose uploads the caller's are, where no job says so.
    fn uploader(&self) -> Result<&str, Problem> {
        match self.tenant(Scope::Submit, "")? {
            "" => Ok(DEFAULT_TENANT),
            own => Ok(own),
        }
    }

    /// Whose an upload is and how many chunks it would hold at once, by its first message.
    fn chunks_held(
        &self,
        first: Option<&Result<UploadRequest, BrokenOff>>,
    ) -> Result<(String, u32), Problem> {
        let own = self.uploader()?.to_string();
        let Some(Ok(UploadRequest::Open { job })) = first else {
            return Ok((own, 1));
        };
        let window = UPLOAD_WINDOW as u64;
        Ok(match self.table().local().job(job) {
            Some(entry) => {
                let chunks = entry.job.source_bytes.div_ceil(CHUNK_BYTES as u64);
                (entry.job.tenant.clone(), chunks.clamp(1, window) as u32)
            }
            // This replica may be behind.
            None => (own, window as u32),
        })
    }
}
