//! Uploading a job's source: the node asks for chunks, the client sends them.

use futures::{Stream, StreamExt};
use reelraft_model::Problem;

use super::Api;
use crate::data::upload::{self, BrokenOff, UploadReply, UploadRequest};

impl Api {
    /// One upload stream. It begins with [`UploadRequest::Open`], and ends with
    /// [`UploadReply::Sealed`] or a problem. What was acknowledged is kept
    /// whatever becomes of the stream: open another on any node.
    pub fn upload<S>(
        &self,
        incoming: S,
    ) -> impl Stream<Item = Result<UploadReply, Problem>> + Send + use<S>
    where
        S: Stream<Item = Result<UploadRequest, BrokenOff>> + Send + Unpin + 'static,
    {
        let replies = upload::serve(self.context.data.clone(), incoming);
        replies.map(|reply| reply.map_err(|error| error.problem()))
    }
}
