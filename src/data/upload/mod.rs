//! One upload, on any node: asks the client for the chunks that are not safe
//! yet, puts each on all homes of the job, and seals the source when all are
//! there. What readers of the source wait for is asked for first.
//!
//! ```text
//! settle -> transfer -> seal
//!    ^---------'----------'     a home failed, or the homes changed
//! ```
//! *settle* reads the job's row and the homes' journals: a chunk is safe when
//! all homes have it. It is the same on a first upload, on a resumed one, and
//! when a lost home was replaced; what some homes lack is copied from another
//! before the client is asked for it. All state here may be lost at any time:
//! the client opens the stream again, on any node.

mod ahead;
mod messages;
mod reached;
mod taking;
mod transfer;

use std::sync::Arc;

use futures::Stream;
pub use messages::{BrokenOff, Order, Pace, SafeChunk, Turn, UploadReply, UploadRequest};
pub use reached::reached;
use reelraft_storage::blobs::check_job;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    error::DataError,
    limits::{UPLOAD_OUTAGE, UPLOAD_WINDOW},
    plane::DataPlane,
    retry::RetryBudget,
};
use ahead::Ahead;
use messages::next_request;
use transfer::{Out, Upload};

/// Serves one upload of a client that is asked for its chunks at this pace. `turn`
/// is kept up to date.
pub fn serve<S>(
    data: Arc<DataPlane>,
    mut incoming: S,
    turn: Turn,
    pace: impl Into<Pace>,
) -> impl Stream<Item = Result<UploadReply, DataError>> + Send + 'static
where
    S: Stream<Item = Result<UploadRequest, BrokenOff>> + Send + Unpin + 'static,
{
    let (out, answers) = mpsc::channel(UPLOAD_WINDOW);
    let pace = pace.into();
    tokio::spawn(async move {
        let end = tokio::select! {
            end = run(data, &mut incoming, &out, (turn, pace)) => end,
            () = out.closed() => return,
        };
        if let Err(error) = &end {
            tracing::debug!(%error, "an upload ended");
        }
        // A client that has gone needs no answer.
        let _ = out.send(end.map(|root| UploadReply::Sealed { root })).await;
    });
    ReceiverStream::new(answers)
}

async fn run<S>(
    data: Arc<DataPlane>,
    incoming: &mut S,
    out: &Out,
    (turn, pace): (Turn, Pace),
) -> Result<String, DataError>
where
    S: Stream<Item = Result<UploadRequest, BrokenOff>> + Unpin,
{
    let UploadRequest::Open { job } = next_request(incoming).await? else {
        return Err(DataError::ClientLost {
            cause: "sent something else before it named its job".to_string(),
        });
    };
    check_job(&job)?;
    let mut upload = Upload::new(data, out, job, turn, Ahead::new(pace));
    if let Some(root) = upload.settle().await? {
        return Ok(root);
    }
    upload.send_plan().await?;
    let mut budget = RetryBudget::new(UPLOAD_OUTAGE);
    loop {
        if let Some(root) = upload.transfer(incoming).await? {
            return Ok(root);
        }
        match upload.seal().await {
            Ok(Some(root)) => return Ok(root),
            Ok(None) => {}
            Err(error) => budget.wait(error).await?,
        }
        if let Some(root) = upload.settle().await? {
            return Ok(root);
        }
    }
}
