//! What a client and a node say to each other in an upload.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reelraft_model::Problem;
use tokio::time::Instant;

use crate::data::{
    error::DataError,
    limits::{UPLOAD_IDLE, UPLOAD_WINDOW},
};

/// How a client is asked for its chunks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub order: Order,
    /// How many may be asked for and not have come, at most.
    pub window: usize,
}

impl From<Order> for Pace {
    fn from(order: Order) -> Self {
        Pace {
            order,
            window: UPLOAD_WINDOW,
        }
    }
}

/// In which order a client can give its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In any: it has a file.
    Any,
    /// From the first to the last.
    Rising,
}

/// What the client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadRequest {
    /// Whose bytes they are. First, and once.
    Open { job: String },
    /// A chunk that was asked for.
    Chunk { number: u64, data: Bytes },
    /// The client can't give what was asked for: its source is gone or shrank.
    Gone(Problem),
}

/// What the node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadReply {
    /// First: the size of a chunk, and the chunks that are safe already.
    Plan {
        chunk_bytes: u32,
        have: Vec<SafeChunk>,
    },
    /// Please send these chunks, in this order.
    Ask { numbers: Vec<u64> },
    /// This chunk is safe now, one of so many.
    Acked { number: u64, chunks_safe: u64 },
    /// Last: all is safe, and sealed under this root.
    Sealed { root: String },
}

/// A chunk that lies on all homes of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeChunk {
    pub number: u64,
    /// BLAKE3, hex.
    pub hash: String,
}

/// Whether an upload waits for nothing but its client. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Mutex<Option<Instant>>>);

impl Turn {
    /// Since when it has been the client's turn; none while the homes are
    /// waited for too.
    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is the client's turn, as it may have been before.
    pub fn begin(&self) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
    }

    /// It is not.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// How a client's stream broke off, in words that follow "the client".
pub type BrokenOff = String;

/// What the client says next.
pub(super) async fn next_request<S>(incoming: &mut S) -> Result<UploadRequest, DataError>
where
    S: Stream<Item = Result<UploadRequest, BrokenOff>> + Unpin,
{
    let lost = |cause: &str| DataError::ClientLost {
        cause: cause.to_string(),
    };
    let next = tokio::time::timeout(UPLOAD_IDLE, incoming.next()).await;
    match next.map_err(|_| lost("sent nothing of what it was asked for"))? {
        Some(Ok(request)) => Ok(request),
        Some(Err(broken_off)) => Err(lost(&broken_off)),
        None => Err(lost("ended the stream before all was sent")),
    }
}
